//! Resource policies, by which a bucket or function allows or denies its callers.
//!
//! Within an account, an allow in either the resource's or the caller's policies suffices, and a deny in either wins
//! (IAM user guide, "Policy evaluation logic").

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::Value;

use super::policy::{Listed, Statement, StatementEffect, Verdict, strings, texts};
use super::{Keys, Need};
use kit::ACCOUNT;

/// The ARN prefix of buckets and of the objects in them.
pub(super) const BUCKETS: &str = "arn:aws:s3:::";
/// The ARN prefix of functions.
const FUNCTIONS: &str = "arn:aws:lambda:";

/// All resource policies.
#[derive(Debug, Default)]
pub struct ResourcePolicies {
    /// By the bucket's name.
    pub buckets: Policies,
    /// By the function's name.
    pub functions: Policies,
}

impl ResourcePolicies {
    /// The policy of a function, or of the bucket that a resource is or is in.
    pub(super) fn of(&self, resource: &str) -> Option<Arc<ResourcePolicy>> {
        if let Some(rest) = resource.strip_prefix(BUCKETS) {
            return self.buckets.get(rest.split('/').next()?);
        }
        let (_, name) = resource.strip_prefix(FUNCTIONS)?.split_once(":function:")?;
        // A version may follow.
        self.functions.get(name.split(':').next()?)
    }
}

/// The policies of one kind of resource, by name.
#[derive(Debug, Default)]
pub struct Policies(RwLock<BTreeMap<String, Arc<ResourcePolicy>>>);

impl Policies {
    /// Sets a resource's policy, or removes it if `policy` is `None`.
    pub fn set(&self, name: &str, policy: Option<ResourcePolicy>) {
        let mut policies = self.0.write();
        match policy {
            Some(policy) => policies.insert(name.to_owned(), Arc::new(policy)),
            None => policies.remove(name),
        };
    }

    /// Replaces all policies with these.
    pub fn replace(&self, all: impl IntoIterator<Item = (String, ResourcePolicy)>) {
        let all = all.into_iter().map(|(name, policy)| (name, Arc::new(policy))).collect();
        *self.0.write() = all;
    }

    fn get(&self, name: &str) -> Option<Arc<ResourcePolicy>> {
        self.0.read().get(name).cloned()
    }
}

/// A policy of one resource.
#[derive(Debug, Clone, Default)]
pub struct ResourcePolicy {
    pub(super) is_current: bool,
    pub(super) rules: Vec<PrincipalStatement>,
}

/// A statement with its principals: accounts and ARNs, or `*`.
#[derive(Debug, Clone)]
pub(super) struct PrincipalStatement {
    pub principals: Listed<String>,
    /// The services of AWS that it names.
    pub services: Vec<String>,
    /// Whether it also names identity providers, whose users do not call here.
    pub is_federated: bool,
    pub statement: Statement,
}

/// A caller, by the ARNs that a policy may name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Principal<'a> {
    pub role: &'a str,
    pub session: &'a str,
}

impl ResourcePolicy {
    /// The users and roles of this account that it names, by ARN.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        let ours = format!("arn:aws:iam::{ACCOUNT}:");
        let named = self.rules.iter().flat_map(|rule| strings(&rule.principals)).map(String::as_str);
        named.filter(move |arn| arn.starts_with(&ours) && !arn.ends_with(":root"))
    }

    /// Evaluates the policy for the action that a caller needs.
    pub(super) fn judge(&self, need: &Need, keys: &Keys, who: Principal) -> Verdict {
        let action = need.action.to_ascii_lowercase();
        let mut verdict = Verdict::Unmentioned;
        for PrincipalStatement { principals, statement, .. } in &self.rules {
            let speaks = is_named(principals, statement.effect, who)
                && statement.speaks_of(&action, &need.resource, keys, self.is_current);
            match statement.effect {
                StatementEffect::Deny if speaks => return Verdict::Denied,
                StatementEffect::Allow if speaks => verdict = Verdict::Allowed,
                _ => (),
            }
        }
        verdict
    }
}

impl ResourcePolicy {
    /// Whether it allows a service of AWS what it needs for a resource, given by its ARN. Services have no other policies.
    fn lets_service(&self, service: &str, source: &str, need: &Need) -> bool {
        let keys = Keys::of_service_for(service, source, need);
        let action = need.action.to_ascii_lowercase();
        let speaks = |rule: &&PrincipalStatement| {
            let is_named = match &rule.principals {
                Listed::These(named) => {
                    named.iter().any(|named| named == "*") || rule.services.iter().any(|it| it == service)
                }
                Listed::AllBut(_) => !rule.services.iter().any(|it| it == service),
            };
            is_named && rule.statement.speaks_of(&action, &need.resource, &keys, self.is_current)
        };
        let effects: Vec<StatementEffect> =
            self.rules.iter().filter(speaks).map(|rule| rule.statement.effect).collect();
        effects.contains(&StatementEffect::Allow) && !effects.contains(&StatementEffect::Deny)
    }
}

impl ResourcePolicies {
    /// Whether the policy of a resource allows a service of AWS what it needs for another resource, given by its ARN.
    pub fn lets_service(&self, service: &str, source: &str, need: &Need) -> bool {
        self.of(&need.resource).is_some_and(|policy| policy.lets_service(service, source, need))
    }
}

/// In a deny statement, an account stands for all its principals. In an allow statement, it does not suffice: the
/// principal's own policies have to allow the call as well.
fn is_named(principals: &Listed<String>, effect: StatementEffect, who: Principal) -> bool {
    let is = |named: &String| named == "*" || named == who.role || named == who.session;
    match principals {
        Listed::These(named) => {
            named.iter().any(|named| is(named) || (effect == StatementEffect::Deny && is_account(named)))
        }
        Listed::AllBut(named) => !named.iter().any(is),
    }
}

fn is_account(named: &str) -> bool {
    named == ACCOUNT || named.strip_prefix("arn:aws:iam::").and_then(|rest| rest.strip_suffix(":root")) == Some(ACCOUNT)
}

/// Returns the services in a `Principal` element.
pub(super) fn services(written: Option<&Value>) -> Vec<String> {
    written.and_then(|written| texts(&written["Service"])).unwrap_or_default()
}

/// Parses a `Principal` element. Other kinds of principals are accepted but left out: services are listed separately, and
/// the others do not call here. Returns `None` if the element is invalid.
pub(super) fn principals(written: &Value) -> Option<Vec<String>> {
    let kinds = match written {
        Value::String(all) if all == "*" => return Some(vec!["*".to_owned()]),
        Value::Object(kinds) => kinds,
        _ => return None,
    };
    let mut all = Vec::new();
    for (kind, named) in kinds {
        let named = texts(named)?;
        match kind.as_str() {
            "AWS" if named.iter().all(|named| is_principal(named)) => all.extend(named),
            "Service" | "Federated" | "CanonicalUser" => (),
            _ => return None,
        }
    }
    Some(all)
}

fn is_principal(named: &str) -> bool {
    let is_id = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    let arn = named.strip_prefix("arn:aws:iam::").or_else(|| named.strip_prefix("arn:aws:sts::"));
    let has_name = arn.and_then(|rest| rest.split_once(':')).is_some_and(|(id, name)| is_id(id) && !name.is_empty());
    named == "*" || is_id(named) || has_name
}

#[cfg(test)]
mod tests {
    use super::super::bucket_policy;
    use super::*;

    const WEB: Principal = Principal {
        role: "arn:aws:iam::000000000000:role/web",
        session: "arn:aws:sts::000000000000:assumed-role/web/me",
    };

    fn verdict(effect: &str, principal: &str) -> Verdict {
        let rest = r#""Action":"s3:GetObject","Resource":"arn:aws:s3:::images/*""#;
        let policy =
            bucket_policy::parse(&format!(r#"{{"Statement":{{"Effect":"{effect}",{principal},{rest}}}}}"#), "images")
                .unwrap();
        policy.judge(&Need::new("s3:GetObject", "arn:aws:s3:::images/a"), &Keys::default(), WEB)
    }

    #[test]
    fn principals_are_roles_sessions_everyone_or_in_denials_the_account() {
        for (principal, allow, deny) in [
            (r#""Principal":"*""#, Verdict::Allowed, Verdict::Denied),
            (r#""Principal":{"AWS":"*"}"#, Verdict::Allowed, Verdict::Denied),
            (r#""Principal":{"AWS":["arn:aws:iam::000000000000:role/web"]}"#, Verdict::Allowed, Verdict::Denied),
            (
                r#""Principal":{"AWS":"arn:aws:sts::000000000000:assumed-role/web/me"}"#,
                Verdict::Allowed,
                Verdict::Denied,
            ),
            (r#""Principal":{"AWS":"000000000000"}"#, Verdict::Unmentioned, Verdict::Denied),
            (r#""Principal":{"AWS":"arn:aws:iam::000000000000:root"}"#, Verdict::Unmentioned, Verdict::Denied),
            (
                r#""Principal":{"AWS":"arn:aws:iam::000000000000:role/other"}"#,
                Verdict::Unmentioned,
                Verdict::Unmentioned,
            ),
            (r#""Principal":{"Service":"s3.amazonaws.com"}"#, Verdict::Unmentioned, Verdict::Unmentioned),
            (
                r#""NotPrincipal":{"AWS":"arn:aws:iam::000000000000:role/web"}"#,
                Verdict::Unmentioned,
                Verdict::Unmentioned,
            ),
            (r#""NotPrincipal":{"AWS":"arn:aws:iam::000000000000:role/other"}"#, Verdict::Allowed, Verdict::Denied),
        ] {
            assert_eq!((verdict("Allow", principal), verdict("Deny", principal)), (allow, deny), "{principal}");
        }
    }

    #[test]
    fn a_service_needs_a_policy_that_names_it_and_denies_it_nothing() {
        const DELIVERY: &str = "logdelivery.elasticloadbalancing.amazonaws.com";
        const SOURCE: &str = "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/web/1";
        let allow = |rest: &str| {
            format!(
                r#"{{"Effect":"Allow","Principal":{{"Service":"{DELIVERY}"}},"Action":"s3:PutObject","Resource":"arn:aws:s3:::images/logs/*"{rest}}}"#
            )
        };
        let deny = |condition: &str| {
            format!(
                r#"{{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::images/*"{condition}}}"#
            )
        };
        let insecure = r#","Condition":{"Bool":{"aws:SecureTransport":"false"}}"#;
        let of_account =
            |account: &str| format!(r#","Condition":{{"StringEquals":{{"aws:SourceAccount":"{account}"}}}}"#);
        for (statements, key, expected) in [
            (allow(""), "logs/a", true),
            (allow(""), "other/a", false),
            (format!("{},{}", allow(""), deny(insecure)), "logs/a", true),
            (format!("{},{}", allow(""), deny("")), "logs/a", false),
            (allow(&of_account("000000000000")), "logs/a", true),
            (allow(&of_account("999999999999")), "logs/a", false),
            (allow("").replace(DELIVERY, "delivery.logs.amazonaws.com"), "logs/a", false),
        ] {
            let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
            let policies = ResourcePolicies::default();
            let need = Need::new("s3:PutObject", format!("arn:aws:s3:::images/{key}"));
            assert!(!policies.lets_service(DELIVERY, SOURCE, &need), "without a policy");
            policies.buckets.set("images", Some(bucket_policy::parse(&text, "images").unwrap()));
            assert_eq!(policies.lets_service(DELIVERY, SOURCE, &need), expected, "{statements} {key}");
        }
    }

    #[test]
    fn a_policy_is_found_by_its_resource() {
        let policies = ResourcePolicies::default();
        policies.buckets.set("images", Some(ResourcePolicy::default()));
        policies.functions.set("labeler", Some(ResourcePolicy::default()));
        let is_there = |resource: &str| policies.of(resource).is_some();
        assert!(is_there("arn:aws:s3:::images") && is_there("arn:aws:s3:::images/a/b"));
        assert!(!is_there("arn:aws:s3:::images2") && !is_there("arn:aws:s3:::labeler") && !is_there("*"));
        let function = |name: &str| format!("arn:aws:lambda:us-east-1:000000000000:function:{name}");
        assert!(is_there(&function("labeler")) && !is_there(&function("images")));
        policies.buckets.replace([("other".to_owned(), ResourcePolicy::default())]);
        assert!(!is_there("arn:aws:s3:::images") && is_there("arn:aws:s3:::other") && is_there(&function("labeler")));
        policies.buckets.set("other", None);
        assert!(!is_there("arn:aws:s3:::other"));
    }
}
