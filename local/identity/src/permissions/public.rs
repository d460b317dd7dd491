//! Whether a bucket policy is public by S3's definition (docs/aws.md §4.3; S3 user guide, "The meaning of public").

use std::net::IpAddr;

use super::policy::{Listed, StatementEffect};
use super::resource_policy::{PrincipalStatement, ResourcePolicy};

/// Whether a value of a condition key restricts a statement.
type Restricts = fn(&str) -> bool;

/// The condition keys that can restrict a statement to callers that its author trusts, and which of their values do.
const RESTRICTING: &[(&str, Restricts)] = &[
    ("aws:PrincipalOrgID", is_fixed),
    ("aws:SourceAccount", is_fixed),
    ("aws:SourceArn", is_fixed),
    ("aws:SourceIp", is_narrow),
    ("aws:SourceOwner", is_fixed),
    ("aws:SourceVpc", is_fixed),
    ("aws:SourceVpce", is_fixed),
    ("aws:userid", is_user),
    ("s3:DataAccessPointAccount", is_fixed),
    ("s3:DataAccessPointArn", is_of_account),
    ("s3:x-amz-server-side-encryption-aws-kms-key-id", is_fixed),
];

/// Whether the policy of a bucket is public: it is unless each of its allow statements names its principals, or has a
/// condition that demands a fixed value of one of the `RESTRICTING` keys.
pub fn is_public(policy: &ResourcePolicy) -> bool {
    let allows = |rule: &&PrincipalStatement| rule.statement.effect == StatementEffect::Allow;
    policy.rules.iter().filter(allows).any(|rule| is_for_everyone(rule) && !is_restricted(rule))
}

/// The users of an identity provider are not fixed principals either.
fn is_for_everyone(rule: &PrincipalStatement) -> bool {
    match &rule.principals {
        Listed::These(named) => rule.is_federated || named.iter().any(|named| named == "*"),
        Listed::AllBut(_) => true,
    }
}

fn is_restricted(rule: &PrincipalStatement) -> bool {
    rule.statement.conditions.iter().filter_map(|condition| condition.demanded()).any(|(key, values)| {
        let row = RESTRICTING.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        row.is_some_and(|(_, restricts)| values.iter().all(|value| restricts(value)))
    })
}

/// Whether a value contains neither a wildcard nor a policy variable.
fn is_fixed(value: &str) -> bool {
    !value.contains(['*', '?']) && !value.contains("${")
}

/// The ID of a user. That of a role is followed by the name of a session.
fn is_user(value: &str) -> bool {
    is_fixed(value) && !value.contains(':')
}

/// Access points of one account: their names may contain a wildcard.
fn is_of_account(value: &str) -> bool {
    let parts: Vec<&str> = value.splitn(6, ':').collect();
    match parts.split_last() {
        Some((name, head)) => head.len() == 5 && head.iter().all(|part| is_fixed(part)) && !name.contains("${"),
        None => false,
    }
}

/// An address, or a network that is not broader than `/8` for IPv4 and `/32` for IPv6.
fn is_narrow(value: &str) -> bool {
    let (address, length) = match value.split_once('/') {
        // Anything else is not a network.
        Some((address, length)) => (address, Some(length.parse().unwrap_or(u32::MAX))),
        None => (value, None),
    };
    match address.parse() {
        Ok(IpAddr::V4(_)) => length.is_none_or(|length| (8..=32).contains(&length)),
        Ok(IpAddr::V6(_)) => length.is_none_or(|length| (32..=128).contains(&length)),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::bucket_policy::parse;
    use super::*;

    fn public(effect: &str, principal: &str, condition: &str) -> bool {
        let rest = r#""Action":"s3:GetObject","Resource":"arn:aws:s3:::images/*""#;
        let statement = format!(r#"{{"Effect":"{effect}",{principal},"Condition":{{{condition}}},{rest}}}"#);
        is_public(&parse(&format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#), "images").unwrap())
    }

    #[test]
    fn an_allow_statement_without_a_fixed_principal_is_public() {
        for (effect, principal, expected) in [
            ("Allow", r#""Principal":"*""#, true),
            ("Allow", r#""Principal":{"AWS":["000000000000","*"]}"#, true),
            ("Allow", r#""NotPrincipal":{"AWS":"000000000000"}"#, true),
            ("Allow", r#""Principal":{"Federated":"graph.facebook.com"}"#, true),
            ("Deny", r#""Principal":"*""#, false),
            ("Allow", r#""Principal":{"AWS":"000000000000"}"#, false),
            ("Allow", r#""Principal":{"Service":"cloudtrail.amazonaws.com"}"#, false),
        ] {
            assert_eq!(public(effect, principal, ""), expected, "{effect} {principal}");
        }
    }

    #[test]
    fn only_conditions_that_demand_a_fixed_value_make_a_statement_non_public() {
        for (condition, expected) in [
            // The examples of the user guide.
            (r#""StringLike":{"aws:SourceVpc":"vpc-*"}"#, true),
            (r#""StringEquals":{"aws:SourceVpc":"vpc-91237329"}"#, false),
            // Every key.
            (r#""StringEquals":{"aws:PrincipalOrgID":"o-1"}"#, false),
            (r#""StringEquals":{"aws:SourceAccount":"111122223333"}"#, false),
            (r#""ArnLike":{"aws:SourceArn":"arn:aws:sns:us-east-1:111122223333:t"}"#, false),
            (r#""ArnLike":{"aws:SourceArn":"arn:aws:sns:us-east-1:111122223333:*"}"#, true),
            (r#""StringEquals":{"aws:SourceOwner":"111122223333"}"#, false),
            (r#""StringEquals":{"AWS:sourcevpce":"vpce-1"}"#, false),
            (r#""StringEquals":{"aws:userid":"AIDAEXAMPLE"}"#, false),
            (r#""StringLike":{"aws:userid":"AROAEXAMPLE:*"}"#, true),
            (r#""StringEquals":{"aws:userid":"AROAEXAMPLE:me"}"#, true),
            (r#""StringEquals":{"s3:DataAccessPointAccount":"111122223333"}"#, false),
            (r#""StringLike":{"s3:DataAccessPointArn":"arn:aws:s3:us-west-2:123456789012:accesspoint/*"}"#, false),
            (r#""StringLike":{"s3:DataAccessPointArn":"arn:aws:s3:us-west-2:*:accesspoint/a"}"#, true),
            (r#""StringEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"arn:aws:kms:1"}"#, false),
            (r#""StringLike":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"*"}"#, true),
            // Networks.
            (r#""IpAddress":{"aws:SourceIp":["54.240.143.0/24","10.0.0.0/8"]}"#, false),
            (r#""IpAddress":{"aws:SourceIp":"54.240.143.188"}"#, false),
            (r#""IpAddress":{"aws:SourceIp":"0.0.0.0/1"}"#, true),
            (r#""IpAddress":{"aws:SourceIp":["54.240.143.0/24","54.0.0.0/7"]}"#, true),
            (r#""IpAddress":{"aws:SourceIp":"2001:db8::/32"}"#, false),
            (r#""IpAddress":{"aws:SourceIp":"2001:d00::/24"}"#, true),
            (r#""IpAddress":{"aws:SourceIp":"2001:db8::1/128"}"#, false),
            (r#""IpAddress":{"aws:SourceIp":"2001:db8::1"}"#, false),
            (r#""NotIpAddress":{"aws:SourceIp":"54.240.143.0/24"}"#, true),
            // Conditions that do not restrict access.
            (r#""StringEquals":{"s3:prefix":"a"}"#, true),
            (r#""Bool":{"aws:SecureTransport":"true"}"#, true),
            (r#""StringNotEquals":{"aws:SourceVpc":"vpc-1"}"#, true),
            (r#""StringEqualsIfExists":{"aws:SourceVpc":"vpc-1"}"#, true),
            (r#""ForAllValues:StringEquals":{"aws:SourceVpc":"vpc-1"}"#, true),
            (r#""Null":{"aws:SourceVpc":"false"}"#, true),
            (r#""StringEquals":{"aws:SourceVpc":["vpc-1","${aws:username}"]}"#, true),
            // One of several conditions suffices.
            (r#""Bool":{"aws:SecureTransport":"true"},"StringEquals":{"aws:SourceVpc":"vpc-1"}"#, false),
        ] {
            assert_eq!(public("Allow", r#""Principal":"*""#, condition), expected, "{condition}");
        }
        let facebook = r#""Principal":{"Federated":"graph.facebook.com"}"#;
        assert!(!public("Allow", facebook, r#""StringEquals":{"aws:SourceVpc":"vpc-1"}"#));
    }

    #[test]
    fn a_network_is_narrow_only_with_a_length_that_exists() {
        for (network, expected) in [
            ("54.240.143.0/7", false),
            ("54.240.143.0/8", true),
            ("54.240.143.0/32", true),
            ("54.240.143.0/33", false),
            ("54.240.143.0/", false),
            ("54.240.143.0/4294967295", false),
            ("54.240.143.0/4294967296", false),
            ("2001:db8::/31", false),
            ("2001:db8::/128", true),
            ("2001:db8::/129", false),
            ("54.240.143.0", true),
            ("2001:db8::", true),
            ("everywhere", false),
        ] {
            assert_eq!(is_narrow(network), expected, "{network}");
        }
    }

    #[test]
    fn one_public_statement_makes_the_policy_public() {
        let statement = |principal: &str| {
            format!(r#"{{"Effect":"Allow","Principal":{principal},"Action":"s3:*","Resource":"arn:aws:s3:::images"}}"#)
        };
        let (ours, all) = (statement(r#"{"AWS":"000000000000"}"#), statement(r#""*""#));
        let policy = |statements: &str| parse(&format!(r#"{{"Statement":[{statements}]}}"#), "images").unwrap();
        assert!(!is_public(&policy(&ours)) && is_public(&policy(&format!("{ours},{all}"))));
    }
}
