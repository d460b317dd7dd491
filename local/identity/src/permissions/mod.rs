//! Authorization: a call needs actions on resources, which its caller's role policies and the resource policies allow
//! or deny.
//!
//! The account's own key may do everything. Decisions are not cached: a changed policy applies to the next call.

pub mod bucket_policy;
mod condition;
pub mod function_policy;
mod pattern;
mod policy;
mod public;
mod resource_policy;
pub mod simulation;
mod trust;
mod used;

use std::collections::BTreeMap;
use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use kit::ACCOUNT;
use kit::answer::{Denied, Protocol, Refusal, Response};
use kit::call::Call;
pub use kit::call::Need;
pub use pattern::Pattern;
pub use policy::Policy;
use policy::{Verdict, judge};
pub use public::is_public;
use resource_policy::Principal;
pub use resource_policy::{ResourcePolicies, ResourcePolicy};
pub use trust::Trust;
pub use used::Used;

/// The condition keys of a request, for conditions and policy variables. Names are case-insensitive.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    values: BTreeMap<String, Vec<String>>,
    /// Whether the caller is a service. On AWS, a service also names the resource it acts for (`SOURCES`).
    by_service: bool,
    /// Whether all tags of the resource are known.
    has_tags: bool,
    /// Whether all keys are known: those of a simulated request are given.
    is_whole: bool,
}

/// The condition keys that are computed here, in lower case: a request that lacks one also lacks it on AWS. A key that
/// is in none of these lists is unknown.
const COMPUTED: &[&str] = &[
    "acm:domainnames",
    "acm:keyalgorithm",
    "acm:validationmethod",
    "aws:currenttime",
    "aws:epochtime",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principaltype",
    "aws:requestedregion",
    "aws:resourceaccount",
    "aws:securetransport",
    "aws:sourceip",
    "aws:viaawsservice",
    "aws:userid",
    "dynamodb:select",
    "iam:passedtoservice",
    "kms:resourcealiases",
    "kms:viaservice",
    "route53:changeresourcerecordsetsactions",
    "route53:changeresourcerecordsetsnormalizedrecordnames",
    "route53:changeresourcerecordsetsrecordtypes",
    "s3:delimiter",
    "s3:max-keys",
    "s3:prefix",
    "s3:versionid",
    "s3:x-amz-acl",
    "s3:x-amz-bucket-namespace",
    "s3:x-amz-server-side-encryption",
    "s3:x-amz-storage-class",
    "sts:externalid",
    "sts:rolesessionname",
];

const EC2: &str = "ec2.amazonaws.com";

/// Keys that no request has here, nor would have on AWS in the same setup: there is no organization, VPC endpoint,
/// federation or MFA, roles have no user names, and only services call on behalf of others (IAM user guide, "AWS global
/// condition context keys").
const NEVER_THERE: &[&str] = &[
    "aws:calledvia",
    "aws:calledviafirst",
    "aws:calledvialast",
    "aws:federatedprovider",
    "aws:multifactorauthage",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalservicename",
    "aws:principalservicenameslist",
    "aws:resourceorgid",
    "aws:resourceorgpaths",
    "aws:sourceidentity",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:username",
    "aws:vpcsourceip",
];

/// Keys that only services set, about the resource they act for.
const SOURCES: &[&str] = &["aws:sourceaccount", "aws:sourcearn", "aws:sourceorgid", "aws:sourceorgpaths"];

/// The prefix of the keys of the resource's tags.
const RESOURCE_TAG: &str = "aws:resourcetag/";

/// The prefix of the keys of the caller's tags, followed by the tag key. All tags of the caller are known.
const PRINCIPAL_TAG: &str = "aws:principaltag/";

impl Keys {
    /// Whether this key is either computed here or known to be absent.
    fn knows(&self, key: &str) -> bool {
        let key = key.to_ascii_lowercase();
        let is_in = |list: &[&str]| list.contains(&key.as_str());
        let is_missing = is_in(NEVER_THERE) || (is_in(SOURCES) && !self.by_service);
        let is_tag = key.starts_with(PRINCIPAL_TAG) || (self.has_tags && key.starts_with(RESOURCE_TAG));
        self.is_whole || is_in(COMPUTED) || is_missing || is_tag
    }

    /// The keys of a service's request on behalf of this account. EC2 names neither account nor resource when it assumes
    /// the role of an instance (docs/aws.md §6.1).
    fn of_service(service: &str) -> Keys {
        let mut keys = Keys { by_service: service != EC2, ..Keys::default() };
        if keys.by_service {
            keys.set("aws:SourceAccount", ACCOUNT);
        }
        keys
    }

    /// The same, for a service that needs something for a resource, given by its ARN. Services use HTTPS.
    fn of_service_for(service: &str, source: &str, need: &Need) -> Keys {
        let mut keys = Keys::of_service(service);
        keys.set("aws:SourceArn", source);
        keys.set("aws:SecureTransport", "true");
        for (key, value) in &need.keys {
            keys.add(key, value);
        }
        keys
    }

    fn set(&mut self, key: &str, value: impl Into<String>) {
        self.values.insert(key.to_ascii_lowercase(), vec![value.into()]);
    }

    /// Adds a value of a key, which may have several.
    fn add(&mut self, key: &str, value: &str) {
        self.values.entry(key.to_ascii_lowercase()).or_default().push(value.to_owned());
    }

    fn all(&self, key: &str) -> &[String] {
        self.values.get(&key.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// The value of a key that has exactly one; a policy variable cannot refer to a multivalued key.
    fn one(&self, key: &str) -> Option<String> {
        match self.all(key) {
            [one] => Some(one.clone()),
            _ => None,
        }
    }
}

/// A role's identity and policies, which determine its permissions.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// The role's ARN.
    pub role_arn: String,
    /// The role's tags, for conditions.
    pub tags: BTreeMap<String, String>,
    /// Its policies, inline and attached.
    pub policies: Vec<Policy>,
}

/// The caller of a request, with its permissions.
#[derive(Debug, Clone)]
pub struct Caller {
    arn: String,
    user_id: String,
    region: String,
    power: Power,
    used: Option<Arc<Used>>,
}

#[derive(Debug, Clone)]
enum Power {
    /// The account's owner.
    Everything,
    /// A role's grants, `None` if the role was deleted, and the resource policies.
    Granted(Option<Arc<Grants>>, Arc<ResourcePolicies>),
}

impl Caller {
    /// The account's owner.
    pub fn owner(arn: String, region: &str) -> Caller {
        Caller { arn, user_id: String::new(), region: region.to_owned(), power: Power::Everything, used: None }
    }

    /// A session of a role.
    pub fn in_role(
        arn: String,
        user_id: String,
        region: &str,
        grants: Option<Arc<Grants>>,
        resources: Arc<ResourcePolicies>,
    ) -> Caller {
        Caller { arn, user_id, region: region.to_owned(), power: Power::Granted(grants, resources), used: None }
    }

    /// The same caller; the permissions that it needs are recorded here.
    #[must_use]
    pub fn noted_in(self, used: Arc<Used>) -> Caller {
        Caller { used: Some(used), ..self }
    }

    /// The principal's ARN, as in policies and error messages.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Whether everything is allowed, so that no policy needs to be evaluated.
    pub fn may_everything(&self) -> bool {
        matches!(self.power, Power::Everything)
    }

    /// Checks that the caller is allowed an action now.
    ///
    /// Errors: the denial, worded as on AWS (docs/aws.md §3.1).
    pub fn may(&self, need: &Need) -> Result<(), Denial> {
        let Power::Granted(grants, resources) = &self.power else { return Ok(()) };
        if let Some(used) = &self.used {
            used.note(&self.arn, need);
        }
        let denied = |reason| Err(Denial { caller: self.arn.clone(), need: need.clone(), reason });
        let Some(grants) = grants else { return denied(Reason::NothingAllows) };
        let keys = self.keys(need, Some(grants));
        let own = judge(&grants.policies, &need.action, &need.resource, &keys);
        let who = Principal { role: &grants.role_arn, session: &self.arn };
        let theirs = resources.of(&need.resource).map_or(Verdict::Unmentioned, |policy| policy.judge(need, &keys, who));
        match (own, theirs) {
            (Verdict::Denied, _) => denied(Reason::IdentityPolicy),
            (_, Verdict::Denied) => denied(Reason::ResourcePolicy),
            (Verdict::Allowed, _) | (_, Verdict::Allowed) => Ok(()),
            (Verdict::Unmentioned, Verdict::Unmentioned) => denied(Reason::NothingAllows),
        }
    }

    /// The condition keys of this caller's request, for evaluating a policy other than the caller's own.
    pub fn says(&self, need: &Need) -> Keys {
        match &self.power {
            Power::Granted(grants, _) => self.keys(need, grants.as_deref()),
            Power::Everything => {
                let mut keys = self.keys(need, None);
                keys.set("aws:PrincipalType", "User");
                keys.set("aws:PrincipalArn", &self.arn);
                keys
            }
        }
    }

    fn keys(&self, need: &Need, grants: Option<&Grants>) -> Keys {
        let mut keys = Keys::default();
        let now = OffsetDateTime::now_utc();
        keys.set("aws:CurrentTime", now.format(&Rfc3339).unwrap_or_default());
        keys.set("aws:EpochTime", now.unix_timestamp().to_string());
        keys.set("aws:PrincipalAccount", ACCOUNT);
        keys.set("aws:PrincipalType", "AssumedRole");
        keys.set("aws:RequestedRegion", &self.region);
        keys.set("aws:ResourceAccount", ACCOUNT);
        // Requests over the loopback interface count as secure: TLS protects against eavesdropping, which is no threat
        // there.
        keys.set("aws:SecureTransport", "true");
        keys.set("aws:SourceIp", "127.0.0.1");
        keys.set("aws:ViaAWSService", "false");
        keys.set("aws:userid", &self.user_id);
        if let Some(grants) = grants {
            keys.set("aws:PrincipalArn", &grants.role_arn);
            for (key, value) in &grants.tags {
                keys.set(&format!("aws:PrincipalTag/{key}"), value);
            }
        }
        for (key, value) in &need.keys {
            keys.add(key, value);
        }
        keys.has_tags = need.has_tags;
        keys
    }
}

/// A denied action.
#[derive(Debug, Clone)]
pub struct Denial {
    caller: String,
    need: Need,
    reason: Reason,
}

#[derive(Debug, Clone, Copy)]
enum Reason {
    NothingAllows,
    /// A policy of the role denies it.
    IdentityPolicy,
    /// The policy of the resource denies it.
    ResourcePolicy,
}

impl Denial {
    /// The error message, worded as on AWS.
    pub fn text(&self) -> String {
        let Denial { caller, need: Need { action, resource, .. }, reason } = self;
        let place = match resource.as_str() {
            "*" => String::new(),
            // Only S3 quotes the resource.
            resource if action.starts_with("s3:") => format!(" on resource: \"{resource}\""),
            resource => format!(" on resource: {resource}"),
        };
        let why = match reason {
            Reason::IdentityPolicy => "with an explicit deny in an identity-based policy".to_owned(),
            Reason::ResourcePolicy => "with an explicit deny in a resource-based policy".to_owned(),
            Reason::NothingAllows => format!("because no identity-based policy allows the {action} action"),
        };
        format!("User: {caller} is not authorized to perform: {action}{place} {why}")
    }

    /// The error response to a call, with the status and code of its protocol.
    pub fn refusal(&self, call: &Call) -> Refusal {
        let text = self.text();
        match call.protocol {
            Protocol::RestXml | Protocol::Query => Refusal::new(403, "AccessDenied", text),
            Protocol::Ec2 => {
                let text = format!("You are not authorized to perform this operation. {text}");
                Refusal::new(403, "UnauthorizedOperation", text)
            }
            Protocol::Cbor | Protocol::Json10 | Protocol::Json11 => Refusal::new(400, "AccessDeniedException", text),
            Protocol::RestJson => Refusal::new(403, "AccessDeniedException", text),
        }
    }

    /// Records in the response why it was denied, for the journal, whatever the caller gets to read.
    pub fn mark(&self, answer: &mut Response) {
        answer.extensions_mut().insert(Denied(self.text()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(policy: &str, need: &Need) -> Denial {
        let grants = Grants { policies: vec![Policy::parse(policy).unwrap()], ..Grants::default() };
        let arn = "arn:aws:sts::000000000000:assumed-role/web/i-1".to_owned();
        let buckets = Arc::default();
        let caller = Caller::in_role(arn, "AROA:i-1".to_owned(), "us-east-1", Some(Arc::new(grants)), buckets);
        caller.may(need).unwrap_err()
    }

    #[test]
    fn a_denial_has_the_message_of_aws() {
        let nothing = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"a:b","Resource":"*"}}"#;
        let deny = r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#;
        let put = Need::new("dynamodb:PutItem", "arn:aws:dynamodb:us-east-1:000000000000:table/posts");
        let call = |service: &str, protocol| Call::bare(service, "x", protocol);
        let denied = denial(nothing, &put);
        assert_eq!(
            denied.text(),
            "User: arn:aws:sts::000000000000:assumed-role/web/i-1 is not authorized to perform: dynamodb:PutItem on resource: arn:aws:dynamodb:us-east-1:000000000000:table/posts because no identity-based policy allows the dynamodb:PutItem action"
        );
        let refusal = denied.refusal(&call("dynamodb", Protocol::Json10));
        assert_eq!((refusal.status, refusal.code.as_str()), (400, "AccessDeniedException"));
        let explicit = denial(deny, &put);
        assert!(explicit.text().ends_with("table/posts with an explicit deny in an identity-based policy"));
        let vpcs = denial(nothing, &Need::new("ec2:DescribeVpcs", "*")).refusal(&call("ec2", Protocol::Ec2));
        assert_eq!((vpcs.status, vpcs.code.as_str()), (403, "UnauthorizedOperation"));
        assert!(vpcs.message.contains("perform: ec2:DescribeVpcs because no identity-based"), "{}", vpcs.message);
        let list = denial(nothing, &Need::new("s3:ListBucket", "arn:aws:s3:::images"));
        assert!(list.text().contains("on resource: \"arn:aws:s3:::images\" because"), "{}", list.text());
    }

    #[test]
    fn a_deleted_role_may_do_nothing_and_the_owner_everything() {
        let need = Need::new("s3:GetObject", "arn:aws:s3:::images/a");
        let all =
            r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::images/*"}}"#;
        let resources = Arc::new(ResourcePolicies::default());
        resources.buckets.set("images", Some(bucket_policy::parse(all, "images").unwrap()));
        assert!(Caller::in_role("arn".into(), "id".into(), "us-east-1", None, resources).may(&need).is_err());
        assert!(Caller::owner("arn".into(), "us-east-1").may(&need).is_ok());
    }
    #[test]
    fn a_bucket_allows_beside_the_own_policies_and_a_denial_of_either_wins() {
        let may = |own: &str, theirs: &str| {
            let own = format!(r#"{{"Version":"2012-10-17","Statement":{own}}}"#);
            let grants = Grants { policies: vec![Policy::parse(&own).unwrap()], ..Grants::default() };
            let resources = Arc::new(ResourcePolicies::default());
            let theirs = bucket_policy::parse(&format!(r#"{{"Statement":{theirs}}}"#), "b").unwrap();
            resources.buckets.set("b", Some(theirs));
            let caller = Caller::in_role("me".into(), "id".into(), "us-east-1", Some(Arc::new(grants)), resources);
            let answer = caller.may(&Need::new("s3:GetObject", "arn:aws:s3:::b/a"));
            answer.map_err(|denial| denial.text().rsplit_once("a\" ").unwrap().1.to_owned())
        };
        let own = |effect: &str| format!(r#"{{"Effect":"{effect}","Action":"s3:GetObject","Resource":"*"}}"#);
        let theirs = |effect: &str| {
            format!(r#"{{"Effect":"{effect}","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::b/*"}}"#)
        };
        let elsewhere = r#"{"Effect":"Allow","Action":"sqs:*","Resource":"*"}"#;
        let nobody =
            r#"{"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"s3:*","Resource":"arn:aws:s3:::b/*"}"#;
        assert_eq!(may(elsewhere, &theirs("Allow")), Ok(()));
        assert_eq!(may(&own("Allow"), nobody), Ok(()));
        let unmentioned = "because no identity-based policy allows the s3:GetObject action";
        assert_eq!(may(elsewhere, nobody).unwrap_err(), unmentioned);
        let theirs_deny = "with an explicit deny in a resource-based policy";
        assert_eq!(may(&own("Allow"), &theirs("Deny")).unwrap_err(), theirs_deny);
        let own_deny = "with an explicit deny in an identity-based policy";
        assert_eq!(may(&own("Deny"), &theirs("Allow")).unwrap_err(), own_deny);
    }

    /// Whether a role may read an object if its allow statement has this condition ("Allow"), or if a deny statement
    /// with this condition accompanies an unconditional allow ("Deny").
    fn may_under(effect: &str, condition: &str) -> bool {
        let condition = format!(r#","Condition":{condition}"#);
        let (of_allowance, of_denial) = match effect {
            "Allow" => (condition.as_str(), ""),
            _ => ("", condition.as_str()),
        };
        let mut statements = format!(r#"{{"Effect":"Allow","Action":"*","Resource":"*"{of_allowance}}}"#);
        if effect == "Deny" {
            statements += &format!(r#",{{"Effect":"Deny","Action":"*","Resource":"*"{of_denial}}}"#);
        }
        let policy = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
        let grants = Grants {
            role_arn: "arn:aws:iam::000000000000:role/web".to_owned(),
            tags: BTreeMap::from([("team".to_owned(), "red".to_owned())]),
            policies: vec![Policy::parse(&policy).unwrap()],
        };
        let caller =
            Caller::in_role("me".into(), "AROA:i-1".into(), "us-east-1", Some(Arc::new(grants)), Arc::default());
        caller.may(&Need::new("s3:GetObject", "arn:aws:s3:::b/a")).is_ok()
    }

    /// The operator, a key of the request, a value that matches it, and one that does not (or an empty string); then
    /// whether the condition holds for a missing key: plain, with `ForAllValues`, and with `ForAnyValue`.
    type Semantics = (&'static str, &'static str, &'static str, &'static str, [bool; 3]);

    const SEMANTICS: &[Semantics] = &[
        ("StringEquals", "aws:PrincipalTag/team", "red", "blue", [false, true, false]),
        ("StringNotEquals", "aws:PrincipalTag/team", "blue", "red", [true, true, false]),
        ("StringEqualsIgnoreCase", "aws:PrincipalTag/team", "RED", "BLUE", [false, true, false]),
        ("StringNotEqualsIgnoreCase", "aws:PrincipalTag/team", "BLUE", "RED", [true, true, false]),
        ("StringLike", "aws:PrincipalTag/team", "r*", "b*", [false, true, false]),
        ("StringNotLike", "aws:PrincipalTag/team", "b*", "r*", [true, true, false]),
        ("NumericLessThan", "aws:EpochTime", "99999999999", "1", [false, true, false]),
        ("NumericNotEquals", "aws:EpochTime", "1", "", [true, true, false]),
        ("DateGreaterThan", "aws:CurrentTime", "2020-01-01", "2999-01-01", [false, true, false]),
        ("DateNotEquals", "aws:CurrentTime", "2020-01-01", "", [true, true, false]),
        ("Bool", "aws:SecureTransport", "true", "false", [false, true, false]),
        ("BinaryEquals", "aws:PrincipalTag/team", "red", "blue", [false, true, false]),
        ("IpAddress", "aws:SourceIp", "127.0.0.0/8", "10.0.0.0/8", [false, true, false]),
        ("NotIpAddress", "aws:SourceIp", "10.0.0.0/8", "127.0.0.0/8", [true, true, false]),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:role/w*", "arn:aws:iam::*:user/*", [false, true, false]),
        ("ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::*:user/*", "arn:aws:iam::*:role/w*", [true, true, false]),
    ];

    const SETS: [&str; 3] = ["", "ForAllValues:", "ForAnyValue:"];

    #[test]
    fn each_operator_is_evaluated_for_present_missing_and_unknown_keys() {
        let both = |operator: &str, key: &str, value: &str| {
            let condition = format!(r#"{{"{operator}":{{"{key}":"{value}"}}}}"#);
            (may_under("Allow", &condition), may_under("Deny", &condition))
        };
        // While the condition holds, an allow statement with it admits the caller, and a deny statement with it rejects
        // the caller.
        let told = |holds: bool| (holds, !holds);
        for (operator, key, fits, differs, missing) in SEMANTICS {
            for (set, holds) in SETS.iter().zip(missing) {
                let plain = format!("{set}{operator}");
                assert_eq!(both(&plain, key, fits), told(true), "{plain} {key} {fits}");
                if !differs.is_empty() {
                    assert_eq!(both(&plain, key, differs), told(false), "{plain} {key} {differs}");
                }
                assert_eq!(both(&plain, "aws:PrincipalTag/none", fits), told(*holds), "{plain} on a missing key");
                let if_exists = format!("{plain}IfExists");
                assert_eq!(both(&if_exists, key, fits), told(true), "{if_exists} {key} {fits}");
                assert_eq!(both(&if_exists, "aws:PrincipalTag/none", fits), told(true), "{if_exists} on a missing key");
                for unknown in ["dynamodb:LeadingKeys", "aws:TagKeys", "aws:ResourceTag/team", "no:such"] {
                    for operator in [&plain, &if_exists] {
                        assert_eq!(both(operator, unknown, fits), (false, false), "{operator} {unknown}");
                    }
                }
            }
        }
        for (key, there) in [("aws:userid", true), ("aws:PrincipalTag/none", false), ("aws:username", false)] {
            assert_eq!(both("Null", key, "true"), told(!there), "{key}");
            assert_eq!(both("Null", key, "false"), told(there), "{key}");
        }
        for value in ["true", "false"] {
            assert_eq!(both("Null", "dynamodb:LeadingKeys", value), (false, false), "Null {value}");
        }
    }

    #[test]
    fn a_tag_that_a_resource_lacks_is_known_to_be_absent_where_all_its_tags_are_known() {
        let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ssm:PutParameter",
            "Resource":"*","Condition":{"StringEqualsIfExists":{"aws:ResourceTag/team":"red"}}}]}"#;
        let grants = Grants { policies: vec![Policy::parse(policy).unwrap()], ..Grants::default() };
        let caller = Caller::in_role("me".into(), "id".into(), "us-east-1", Some(Arc::new(grants)), Arc::default());
        let need = |has_tags: bool, team: Option<&str>| {
            let need = Need { has_tags, ..Need::new("ssm:PutParameter", "arn:aws:ssm:us-east-1:1:parameter/a") };
            caller.may(&need.knowing("aws:ResourceTag/team", team.map(str::to_owned))).is_ok()
        };
        assert!(need(true, None) && need(true, Some("red")));
        assert!(!need(false, None) && !need(true, Some("blue")));
    }

    #[test]
    fn a_policy_variable_without_a_value_never_allows_and_always_denies() {
        let may = |statements: &str| {
            let policy = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
            let grants = Grants { policies: vec![Policy::parse(&policy).unwrap()], ..Grants::default() };
            let caller = Caller::in_role("me".into(), "id".into(), "us-east-1", Some(Arc::new(grants)), Arc::default());
            caller.may(&Need::new("s3:GetObject", "arn:aws:s3:::b/a")).is_ok()
        };
        let all = r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#;
        for element in ["Resource", "NotResource"] {
            let of = |effect: &str| {
                format!(r#"{{"Effect":"{effect}","Action":"*","{element}":"arn:aws:s3:::b/${{aws:username}}"}}"#)
            };
            assert!(!may(&of("Allow")), "{element}");
            assert!(!may(&format!("{all},{}", of("Deny"))), "{element}");
        }
        assert!(may(all));
    }

    #[test]
    fn every_key_that_a_call_can_have_is_known_to_be_computed() {
        let grants = Grants { tags: BTreeMap::from([("team".to_owned(), "red".to_owned())]), ..Grants::default() };
        let caller = Caller::in_role("me".into(), "id".into(), "us-east-1", Some(Arc::new(grants)), Arc::default());
        let keys = caller.says(&Need::new("a:b", "*"));
        let unknown: Vec<&String> = keys.values.keys().filter(|key| !keys.knows(key)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
