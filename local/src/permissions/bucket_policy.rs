//! Bucket policies: what the owner of a bucket lets others do with it, and keeps everybody from doing.
//!
//! In one account an allowance of theirs is as good as one of the caller's own policies, and a denial of either wins
//! (IAM user guide, "Policy evaluation logic").

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Map, Value};

use super::condition::Condition;
use super::policy::{Effect, Listed, Statement, Verdict, listed, statements, strings, texts};
use super::{Keys, Need};
use crate::ACCOUNT;

/// The policies of all buckets that have one.
#[derive(Debug, Default)]
pub(crate) struct BucketPolicies(RwLock<BTreeMap<String, Arc<BucketPolicy>>>);

impl BucketPolicies {
    /// Gives a bucket a policy in place of the one it has, or takes that away.
    pub(crate) fn set(&self, bucket: &str, policy: Option<BucketPolicy>) {
        let mut policies = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match policy {
            Some(policy) => policies.insert(bucket.to_owned(), Arc::new(policy)),
            None => policies.remove(bucket),
        };
    }

    /// Forgets all for these.
    pub(crate) fn replace(&self, all: impl IntoIterator<Item = (String, BucketPolicy)>) {
        let all = all.into_iter().map(|(bucket, policy)| (bucket, Arc::new(policy))).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = all;
    }

    /// The policy of the bucket that a resource is, or is in.
    pub(super) fn of(&self, resource: &str) -> Option<Arc<BucketPolicy>> {
        let bucket = resource.strip_prefix(BUCKETS)?.split('/').next()?;
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(bucket).cloned()
    }
}

/// A policy of one bucket.
#[derive(Debug, Clone, Default)]
pub(crate) struct BucketPolicy {
    is_current: bool,
    rules: Vec<Rule>,
}

/// What is said, and to whom: accounts and ARNs, or `*`.
#[derive(Debug, Clone)]
struct Rule {
    principals: Listed<String>,
    statement: Statement,
}

/// Somebody as policies name principals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Principal<'a> {
    pub role: &'a str,
    pub session: &'a str,
}

const BUCKETS: &str = "arn:aws:s3:::";
const INVALID_PRINCIPAL: &str = "Invalid principal in policy";

impl BucketPolicy {
    /// Reads the policy of a bucket.
    ///
    /// Errors: the sentence that S3 answers with `MalformedPolicy`.
    pub(crate) fn parse(text: &str, bucket: &str) -> Result<BucketPolicy, String> {
        let Ok(Value::Object(document)) = serde_json::from_str(text) else {
            return Err("Policies must be valid JSON and the first byte must be '{'".to_owned());
        };
        only(&document, &["Version", "Id", "Statement"])?;
        let is_current = match document.get("Version").map(Value::as_str) {
            None | Some(Some("2008-10-17")) => false,
            Some(Some("2012-10-17")) => true,
            Some(_) => return Err("The policy must contain a valid version string".to_owned()),
        };
        let written = statements(&document).map_err(|_| "Missing required field Statement")?;
        let rules = written.into_iter().map(|one| rule(one, bucket)).collect::<Result<_, _>>()?;
        Ok(BucketPolicy { is_current, rules })
    }

    /// Whether it lets everybody in. A condition keeps it from that, which S3 believes of most conditions only ("The
    /// meaning of public").
    pub(crate) fn is_public(&self) -> bool {
        let all = |rule: &Rule| match &rule.principals {
            Listed::These(named) => named.iter().any(|named| named == "*"),
            Listed::AllBut(_) => true,
        };
        let lets = |rule: &&Rule| rule.statement.effect == Effect::Allow && rule.statement.conditions.is_empty();
        self.rules.iter().filter(lets).any(all)
    }

    /// The users and roles of this account that it names, by ARN.
    pub(crate) fn named(&self) -> impl Iterator<Item = &str> {
        let ours = format!("arn:aws:iam::{ACCOUNT}:");
        let named = self.rules.iter().flat_map(|rule| strings(&rule.principals)).map(String::as_str);
        named.filter(move |arn| arn.starts_with(&ours) && !arn.ends_with(":root"))
    }

    /// What it says about somebody who needs something.
    pub(super) fn judge(&self, need: &Need, keys: &Keys, who: Principal) -> Verdict {
        let action = need.action.to_ascii_lowercase();
        let mut verdict = Verdict::Unmentioned;
        for Rule { principals, statement } in &self.rules {
            let speaks = is_named(principals, statement.effect, who)
                && statement.speaks_of(&action, &need.resource, keys, self.is_current);
            match statement.effect {
                Effect::Deny if speaks => return Verdict::Denied,
                Effect::Allow if speaks => verdict = Verdict::Allowed,
                _ => (),
            }
        }
        verdict
    }
}

/// An account stands for everybody in it where it is kept out. Where it is let in, its own policies still have to say
/// whom they let.
fn is_named(principals: &Listed<String>, effect: Effect, who: Principal) -> bool {
    let is = |named: &String| named == "*" || named == who.role || named == who.session;
    match principals {
        Listed::These(named) => named.iter().any(|named| is(named) || (effect == Effect::Deny && is_account(named))),
        Listed::AllBut(named) => !named.iter().any(is),
    }
}

fn is_account(named: &str) -> bool {
    named == ACCOUNT || named.strip_prefix("arn:aws:iam::").and_then(|rest| rest.strip_suffix(":root")) == Some(ACCOUNT)
}

fn rule(written: &Map<String, Value>, bucket: &str) -> Result<Rule, String> {
    const KNOWN: &[&str] =
        &["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];
    only(written, KNOWN)?;
    let effect = match written.get("Effect").map(Value::as_str) {
        Some(Some("Allow")) => Effect::Allow,
        Some(Some("Deny")) => Effect::Deny,
        Some(other) => return Err(format!("Invalid effect: {}", other.unwrap_or_default())),
        None => return Err("Missing required field Effect".to_owned()),
    };
    let principals = match (written.get("Principal"), written.get("NotPrincipal")) {
        (Some(these), None) => Listed::These(principals(these).ok_or(INVALID_PRINCIPAL)?),
        (None, Some(all_but)) => Listed::AllBut(principals(all_but).ok_or(INVALID_PRINCIPAL)?),
        _ => return Err("Missing required field Principal".to_owned()),
    };
    let required = |these: &str, all_but: &str| {
        let found = listed(written, these, all_but).map_err(|_| "Invalid policy syntax.".to_owned())?;
        found.ok_or_else(|| format!("Missing required field {these}"))
    };
    let actions = required("Action", "NotAction")?;
    let resources = required("Resource", "NotResource")?;
    if !strings(&actions).iter().all(|action| action == "*" || action.to_ascii_lowercase().starts_with("s3:")) {
        return Err("Policy has invalid action".to_owned());
    }
    if !strings(&resources).iter().all(|resource| is_within(resource, bucket)) {
        return Err("Policy has invalid resource".to_owned());
    }
    if let (Listed::These(actions), Listed::These(resources)) = (&actions, &resources)
        && !actions.iter().all(|action| applies(action, resources))
    {
        return Err("Action does not apply to any resource(s) in statement".to_owned());
    }
    let conditions = Condition::all(written.get("Condition")).ok_or("Invalid policy syntax.")?;
    Ok(Rule { principals, statement: Statement::new(effect, actions, resources, conditions) })
}

fn only(written: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
    match written.keys().find(|key| !known.contains(&key.as_str())) {
        Some(unknown) => Err(format!("Unknown field {unknown}")),
        None => Ok(()),
    }
}

/// Everybody whom a `Principal` names; services are nobody who calls here.
fn principals(written: &Value) -> Option<Vec<String>> {
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

/// Whether a resource is the bucket, or in it.
fn is_within(resource: &str, bucket: &str) -> bool {
    let rest = resource.strip_prefix(BUCKETS).and_then(|name| name.strip_prefix(bucket));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '*', '?']))
}

/// Whether an action is one of objects where there are objects, and one of buckets where there is a bucket.
fn applies(action: &str, resources: &[String]) -> bool {
    let name = action.to_ascii_lowercase();
    if name.contains(['*', '?']) {
        return true;
    }
    let is_of_objects = OF_OBJECTS.iter().any(|start| name.starts_with(start));
    resources.iter().any(|resource| match resource.split_once('/') {
        Some((bucket, _)) => is_of_objects || bucket.contains(['*', '?']),
        None => !is_of_objects || resource.contains(['*', '?']),
    })
}

/// How the actions of objects begin.
const OF_OBJECTS: &[&str] = &[
    "s3:abortmultipartupload",
    "s3:bypassgovernanceretention",
    "s3:deleteobject",
    "s3:getobject",
    "s3:listmultipartuploadparts",
    "s3:putobject",
    "s3:replicate",
    "s3:restoreobject",
];

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: Principal = Principal {
        role: "arn:aws:iam::000000000000:role/web",
        session: "arn:aws:sts::000000000000:assumed-role/web/me",
    };

    fn parse(statement: &str) -> Result<BucketPolicy, String> {
        BucketPolicy::parse(&format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#), "images")
    }

    fn verdict(effect: &str, principal: &str) -> Verdict {
        let rest = r#""Action":"s3:GetObject","Resource":"arn:aws:s3:::images/*""#;
        let policy = parse(&format!(r#"{{"Effect":"{effect}",{principal},{rest}}}"#)).unwrap();
        policy.judge(&Need::new("s3:GetObject", "arn:aws:s3:::images/a"), &Keys::default(), WEB)
    }

    #[test]
    fn principals_are_roles_sessions_everybody_or_the_account_where_it_is_kept_out() {
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
    fn a_policy_is_found_by_what_it_is_about() {
        let policies = BucketPolicies::default();
        policies.set("images", Some(BucketPolicy::default()));
        assert!(policies.of("arn:aws:s3:::images").is_some() && policies.of("arn:aws:s3:::images/a/b").is_some());
        assert!(policies.of("arn:aws:s3:::images2").is_none() && policies.of("*").is_none());
        policies.replace([("other".to_owned(), BucketPolicy::default())]);
        assert!(policies.of("arn:aws:s3:::images").is_none() && policies.of("arn:aws:s3:::other").is_some());
        policies.set("other", None);
        assert!(policies.of("arn:aws:s3:::other").is_none());
    }

    #[test]
    fn one_that_lets_everybody_in_without_a_condition_is_public() {
        let rest = r#""Action":"s3:GetObject","Resource":"arn:aws:s3:::images/*""#;
        let condition = r#""Condition":{"StringEquals":{"aws:PrincipalAccount":"000000000000"}}"#;
        for (statement, public) in [
            (format!(r#"{{"Effect":"Allow","Principal":"*",{rest}}}"#), true),
            (format!(r#"{{"Effect":"Deny","Principal":"*",{rest}}}"#), false),
            (format!(r#"{{"Effect":"Allow","Principal":"*",{condition},{rest}}}"#), false),
            (format!(r#"{{"Effect":"Allow","Principal":{{"AWS":"000000000000"}},{rest}}}"#), false),
        ] {
            assert_eq!(parse(&statement).unwrap().is_public(), public, "{statement}");
        }
    }

    #[test]
    fn malformed_ones_are_refused_in_the_words_of_s3() {
        let object = r#""Resource":"arn:aws:s3:::images/*""#;
        for (statement, expected) in [
            (format!(r#"{{"Principal":"*","Action":"s3:GetObject",{object}}}"#), "Missing required field Effect"),
            (
                format!(r#"{{"Effect":"allow","Principal":"*","Action":"s3:GetObject",{object}}}"#),
                "Invalid effect: allow",
            ),
            (format!(r#"{{"Effect":"Allow","Action":"s3:GetObject",{object}}}"#), "Missing required field Principal"),
            (format!(r#"{{"Effect":"Allow","Principal":"*",{object}}}"#), "Missing required field Action"),
            (
                r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject"}"#.to_owned(),
                "Missing required field Resource",
            ),
            (
                format!(r#"{{"Effect":"Allow","Principal":{{"AWS":"web"}},"Action":"s3:GetObject",{object}}}"#),
                INVALID_PRINCIPAL,
            ),
            (
                format!(r#"{{"Effect":"Allow","Principal":"*","Action":"sqs:SendMessage",{object}}}"#),
                "Policy has invalid action",
            ),
            (
                r#"{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}"#.to_owned(),
                "Policy has invalid resource",
            ),
            (
                r#"{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::images2"}"#.to_owned(),
                "Policy has invalid resource",
            ),
            (
                r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::images"}"#
                    .to_owned(),
                "Action does not apply to any resource(s) in statement",
            ),
            (
                format!(r#"{{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket",{object}}}"#),
                "Action does not apply to any resource(s) in statement",
            ),
            (
                format!(r#"{{"Effect":"Allow","Principal":"*","Action":"s3:*","Colour":"red",{object}}}"#),
                "Unknown field Colour",
            ),
        ] {
            assert_eq!(parse(&statement).unwrap_err(), expected, "{statement}");
        }
        for text in ["", "[]", "no policy"] {
            let refused = BucketPolicy::parse(text, "images").unwrap_err();
            assert_eq!(refused, "Policies must be valid JSON and the first byte must be '{'", "{text}");
        }
        assert_eq!(BucketPolicy::parse("{}", "images").unwrap_err(), "Missing required field Statement");
        let old = r#"{"Version":"2013-10-17","Statement":[]}"#;
        assert_eq!(BucketPolicy::parse(old, "images").unwrap_err(), "The policy must contain a valid version string");
    }
}
