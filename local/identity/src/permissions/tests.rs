//! Callers, resource policies and conditions.

use kit::answer::Protocol;
use kit::call::Call;

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
    let all = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::images/*"}}"#;
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
    let account_only =
        r#"{"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"s3:*","Resource":"arn:aws:s3:::b/*"}"#;
    assert_eq!(may(elsewhere, &theirs("Allow")), Ok(()));
    assert_eq!(may(&own("Allow"), account_only), Ok(()));
    let unmentioned = "because no identity-based policy allows the s3:GetObject action";
    assert_eq!(may(elsewhere, account_only).unwrap_err(), unmentioned);
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
    let caller = Caller::in_role("me".into(), "AROA:i-1".into(), "us-east-1", Some(Arc::new(grants)), Arc::default());
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
    let expected = |holds: bool| (holds, !holds);
    for (operator, key, fits, differs, missing) in SEMANTICS {
        for (set, holds) in SETS.iter().zip(missing) {
            let plain = format!("{set}{operator}");
            assert_eq!(both(&plain, key, fits), expected(true), "{plain} {key} {fits}");
            if !differs.is_empty() {
                assert_eq!(both(&plain, key, differs), expected(false), "{plain} {key} {differs}");
            }
            assert_eq!(both(&plain, "aws:PrincipalTag/none", fits), expected(*holds), "{plain} on a missing key");
            let if_exists = format!("{plain}IfExists");
            assert_eq!(both(&if_exists, key, fits), expected(true), "{if_exists} {key} {fits}");
            assert_eq!(both(&if_exists, "aws:PrincipalTag/none", fits), expected(true), "{if_exists} on a missing key");
            for unknown in ["dynamodb:LeadingKeys", "aws:TagKeys", "aws:ResourceTag/team", "no:such"] {
                for operator in [&plain, &if_exists] {
                    assert_eq!(both(operator, unknown, fits), (false, false), "{operator} {unknown}");
                }
            }
        }
    }
    for (key, there) in [("aws:userid", true), ("aws:PrincipalTag/none", false), ("aws:username", false)] {
        assert_eq!(both("Null", key, "true"), expected(!there), "{key}");
        assert_eq!(both("Null", key, "false"), expected(there), "{key}");
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
