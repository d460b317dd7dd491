//! The policy simulator: what policies say about an action, for a request with given condition keys (docs/aws.md §3.5).

use std::collections::BTreeSet;

use super::Keys;
use super::policy::{Policy, Verdict, judge};

/// The result for one action on one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulated {
    /// `allowed`, `explicitDeny` or `implicitDeny`.
    pub decision: &'static str,
    /// Condition keys that statements on the action compare, and that were not given, in lower case.
    pub missing: Vec<String>,
}

/// Evaluates policies for an action on a resource. A key that is not given is absent from the request.
pub fn simulate(policies: &[Policy], action: &str, resource: &str, given: &[(String, Vec<String>)]) -> Simulated {
    let mut keys = Keys { is_whole: true, ..Keys::default() };
    for (key, values) in given {
        values.iter().for_each(|value| keys.add(key, value));
    }
    let compared: BTreeSet<String> =
        policies.iter().flat_map(|policy| policy.keys_of(action)).map(str::to_ascii_lowercase).collect();
    Simulated {
        decision: match judge(policies, action, resource, &keys) {
            Verdict::Allowed => "allowed",
            Verdict::Denied => "explicitDeny",
            Verdict::Unmentioned => "implicitDeny",
        },
        missing: compared.into_iter().filter(|key| keys.all(key).is_empty()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_not_given_is_absent_and_named() {
        let text = r#"{"Version":"2012-10-17","Statement":[
            {"Effect":"Allow","Action":"ec2:CreateVpc","Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/owner":"ada"}}},
            {"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::images/*"},
            {"Effect":"Deny","Action":"s3:Delete*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}
        ]}"#;
        let policies = [Policy::parse(text).unwrap()];
        let check = |action: &str, resource: &str, given: &[(&str, &str)], decision: &str, missing: &[&str]| {
            let given: Vec<_> =
                given.iter().map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()])).collect();
            let simulated = simulate(&policies, action, resource, &given);
            assert_eq!(
                (simulated.decision, simulated.missing),
                (decision, missing.iter().map(|it| (*it).to_owned()).collect())
            );
        };
        let object = "arn:aws:s3:::images/a";
        check("ec2:CreateVpc", "*", &[("aws:RequestTag/owner", "ada")], "allowed", &[]);
        check("ec2:CreateVpc", "*", &[("aws:RequestTag/owner", "eve")], "implicitDeny", &[]);
        check("ec2:CreateVpc", "*", &[], "implicitDeny", &["aws:requesttag/owner"]);
        check("s3:GetObject", object, &[], "allowed", &[]);
        check("s3:DeleteObject", object, &[], "allowed", &["aws:securetransport"]);
        check("s3:DeleteObject", object, &[("aws:SecureTransport", "false")], "explicitDeny", &[]);
        check("s3:GetObject", "arn:aws:s3:::other/a", &[], "implicitDeny", &[]);
    }
}
