//! Secrets and their versions, call by call.

use super::secret::{MOST_VERSIONS, PREVIOUS};
use super::*;

fn open(dir: &Path) -> SecretsManager {
    SecretsManager::open(dir, "us-east-1", Speed::REAL).unwrap()
}

fn code(answer: Result<Value, Refusal>) -> String {
    answer.map(drop).unwrap_err().code
}

fn stages(secrets: &SecretsManager) -> Vec<Vec<String>> {
    let described = secrets.call("DescribeSecret", &json!({ "SecretId": "s" })).unwrap();
    let stages: BTreeMap<String, Vec<String>> =
        serde_json::from_value(described["VersionIdsToStages"].clone()).unwrap();
    stages.into_values().collect()
}

#[test]
fn a_new_value_is_the_current_one_and_the_one_before_the_previous() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = open(dir.path());
    let put = |number: usize| {
        let token = format!("{number:032}");
        let input = json!({ "SecretId": "s", "SecretString": number.to_string(), "ClientRequestToken": token });
        secrets.call("PutSecretValue", &input).unwrap();
    };
    let made = secrets.call("CreateSecret", &json!({ "Name": "s", "SecretString": "0" })).unwrap();
    let arn = made["ARN"].as_str().unwrap().to_owned();
    let suffix = arn.strip_prefix("arn:aws:secretsmanager:us-east-1:000000000000:secret:s-").unwrap();
    assert_eq!(suffix.len(), 6);
    (1..=3).for_each(put);
    assert_eq!(stages(&secrets), [["AWSPREVIOUS"], ["AWSCURRENT"]]);
    // Read after a restart, by name, ARN and ARN without its suffix.
    let secrets = open(dir.path());
    for id in ["s", &arn, &arn[..arn.len() - 7]] {
        let read = |stage: &str| {
            let input = json!({ "SecretId": id, "VersionStage": stage });
            secrets.call("GetSecretValue", &input).unwrap()["SecretString"].as_str().unwrap().to_owned()
        };
        assert_eq!([read(CURRENT), read(PREVIOUS)], ["3", "2"]);
    }
    assert!(!format!("{secrets:?}").contains('3'));
}

#[test]
fn a_secret_has_a_hundred_versions_of_a_day_and_loses_older_ones() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = open(dir.path());
    secrets.call("CreateSecret", &json!({ "Name": "s", "SecretString": "0" })).unwrap();
    let put =
        |value: usize| secrets.call("PutSecretValue", &json!({ "SecretId": "s", "SecretString": value.to_string() }));
    (1..MOST_VERSIONS).for_each(|value| drop(put(value).unwrap()));
    assert_eq!(code(put(MOST_VERSIONS)), "LimitExceededException");
    let age = |secrets: &mut Secrets| {
        let versions = secrets.values_mut().flat_map(|secret| secret.versions.values_mut());
        versions.for_each(|version| version.created -= DAY_S + 1.0);
        Ok(())
    };
    secrets.state.change(age).unwrap();
    put(MOST_VERSIONS).unwrap();
    assert_eq!(secrets.state.read(|secrets| secrets["s"].versions.len()), MOST_VERSIONS);
    let stages = stages(&secrets);
    assert!(stages.contains(&vec![CURRENT.to_owned()]) && stages.contains(&vec![PREVIOUS.to_owned()]), "{stages:?}");
}

#[test]
fn a_repeated_request_changes_nothing_and_its_token_cannot_be_used_for_another_value() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = open(dir.path());
    let token = "t".repeat(32);
    let create = |value: &str| {
        let input = json!({ "Name": "s", "SecretString": value, "ClientRequestToken": token });
        secrets.call("CreateSecret", &input)
    };
    let first = create("one").unwrap();
    assert_eq!(create("one").unwrap(), first);
    assert_eq!(code(create("two")), "ResourceExistsException");
    let put = |value: &str| {
        let input = json!({ "SecretId": "s", "SecretString": value, "ClientRequestToken": token });
        secrets.call("PutSecretValue", &input)
    };
    assert!(put("one").is_ok());
    assert_eq!(code(put("two")), "ResourceExistsException");
    assert_eq!(stages(&secrets), [["AWSCURRENT"]]);
}

#[test]
fn a_deleted_secret_keeps_its_name_until_its_window_ends_and_can_be_restored() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = open(dir.path());
    let by_id = json!({ "SecretId": "s" });
    let make = json!({ "Name": "s", "SecretString": "v" });
    secrets.call("CreateSecret", &make).unwrap();
    for days in [json!(6), json!(31)] {
        let input = json!({ "SecretId": "s", "RecoveryWindowInDays": days });
        assert_eq!(code(secrets.call("DeleteSecret", &input)), "InvalidParameterException");
    }
    secrets.call("DeleteSecret", &json!({ "SecretId": "s", "RecoveryWindowInDays": 7 })).unwrap();
    assert!(secrets.call("DescribeSecret", &by_id).unwrap()["DeletedDate"].is_number());
    assert_eq!(code(secrets.call("GetSecretValue", &by_id)), "InvalidRequestException");
    assert_eq!(code(secrets.call("GetResourcePolicy", &by_id)), "InvalidRequestException");
    assert_eq!(code(secrets.call("CreateSecret", &make)), "InvalidRequestException");
    assert_eq!(secrets.call("ListSecrets", &json!({})).unwrap()["SecretList"], json!([]));
    let all = secrets.call("ListSecrets", &json!({ "IncludePlannedDeletion": true })).unwrap();
    assert_eq!(all["SecretList"].as_array().map(Vec::len), Some(1));
    secrets.call("RestoreSecret", &by_id).unwrap();
    assert!(secrets.call("GetResourcePolicy", &by_id).unwrap()["ResourcePolicy"].is_null());
    assert_eq!(secrets.call("GetSecretValue", &by_id).unwrap()["SecretString"], "v");
}

#[test]
fn a_deletion_without_recovery_ends_in_the_background_and_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = open(dir.path());
    let by_id = json!({ "SecretId": "s" });
    let make = json!({ "Name": "s", "SecretString": "v" });
    let force = json!({ "SecretId": "s", "ForceDeleteWithoutRecovery": true });
    // A secret that never existed is as good as deleted.
    assert_eq!(secrets.call("DeleteSecret", &force).unwrap()["Name"], "s");
    assert_eq!(code(secrets.call("DeleteSecret", &by_id)), "ResourceNotFoundException");
    secrets.call("CreateSecret", &make).unwrap();
    let first = secrets.call("DeleteSecret", &force).unwrap()["ARN"].clone();
    assert_eq!(secrets.call("DeleteSecret", &force).unwrap()["ARN"], first);
    for (operation, input) in
        [("CreateSecret", &make), ("DeleteSecret", &by_id), ("GetSecretValue", &by_id), ("RestoreSecret", &by_id)]
    {
        assert_eq!(code(secrets.call(operation, input)), "InvalidRequestException", "{operation}");
    }
    let end = |secrets: &mut Secrets| {
        secrets.values_mut().for_each(|secret| secret.deleted = Some([0.0, 0.0]));
        Ok(())
    };
    secrets.state.change(end).unwrap();
    assert_eq!(code(secrets.call("DescribeSecret", &by_id)), "ResourceNotFoundException");
    assert!(secrets.call("CreateSecret", &make).is_ok());
}

#[test]
fn members_have_limits_and_types_and_some_are_required() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = open(dir.path());
    secrets.call("CreateSecret", &json!({ "Name": "s", "SecretString": "v" })).unwrap();
    let (wrong, invalid) = ("SerializationException", "ValidationException");
    let stages: Vec<String> = (0..=MOST_STAGES).map(|number| number.to_string()).collect();
    let filter = json!({ "Key": "name", "Values": ["a"] });
    let filters = vec![filter; MOST_FILTERS + 1];
    for (operation, input, expected) in [
        ("DescribeSecret", json!({}), invalid),
        ("DescribeSecret", json!({ "SecretId": "" }), invalid),
        ("DescribeSecret", json!({ "SecretId": "s".repeat(2049) }), invalid),
        ("DescribeSecret", json!({ "SecretId": 1 }), wrong),
        ("DescribeSecret", json!([]), wrong),
        ("GetSecretValue", json!({ "SecretId": "s", "VersionId": "v".repeat(31) }), invalid),
        ("GetSecretValue", json!({ "SecretId": "s", "VersionId": "v".repeat(65) }), invalid),
        ("GetSecretValue", json!({ "SecretId": "s", "VersionStage": "" }), invalid),
        ("GetSecretValue", json!({ "SecretId": "s", "VersionStage": "v".repeat(257) }), invalid),
        ("PutSecretValue", json!({ "SecretId": "s", "SecretString": 7 }), wrong),
        ("PutSecretValue", json!({ "SecretId": "s", "SecretBinary": "no base64" }), wrong),
        ("PutSecretValue", json!({ "SecretId": "s", "SecretBinary": "" }), invalid),
        ("PutSecretValue", json!({ "SecretId": "s", "SecretString": "v", "VersionStages": [] }), invalid),
        ("PutSecretValue", json!({ "SecretId": "s", "SecretString": "v", "VersionStages": [""] }), invalid),
        ("PutSecretValue", json!({ "SecretId": "s", "SecretString": "v", "VersionStages": stages }), invalid),
        ("PutSecretValue", json!({ "SecretId": "s", "SecretString": "v", "VersionStages": "a" }), wrong),
        ("UpdateSecret", json!({ "SecretId": "s", "Description": "d".repeat(2049) }), invalid),
        ("CreateSecret", json!({ "Name": "t", "Description": "d".repeat(2049) }), invalid),
        ("CreateSecret", json!({ "Name": "t".repeat(513) }), invalid),
        ("TagResource", json!({ "SecretId": "s" }), invalid),
        ("TagResource", json!({ "SecretId": "s", "Tags": { "Key": "a" } }), wrong),
        ("UntagResource", json!({ "SecretId": "s" }), invalid),
        ("UntagResource", json!({ "SecretId": "s", "TagKeys": [""] }), invalid),
        ("DeleteSecret", json!({ "SecretId": "s", "ForceDeleteWithoutRecovery": "true" }), wrong),
        ("DeleteSecret", json!({ "SecretId": "s", "RecoveryWindowInDays": "7" }), wrong),
        ("ListSecrets", json!({ "Filters": filters }), invalid),
        ("ListSecrets", json!({ "Filters": [{ "Key": "name" }] }), invalid),
        ("ListSecrets", json!({ "Filters": [{ "Key": "name", "Values": [] }] }), invalid),
        ("ListSecrets", json!({ "MaxResults": 0 }), invalid),
        ("ListSecrets", json!({ "MaxResults": 101 }), invalid),
        ("ListSecrets", json!({ "NextToken": "x" }), "InvalidNextTokenException"),
    ] {
        assert_eq!(code(secrets.call(operation, &input)), expected, "{operation} {input}");
    }
    let binary = |length: usize| {
        let text = format!("{}{}", "AAAA".repeat(length / 3), ["", "AA==", "AAA="][length % 3]);
        secrets.call("PutSecretValue", &json!({ "SecretId": "s", "SecretBinary": text }))
    };
    assert!(binary(LARGEST).is_ok());
    assert_eq!(code(binary(LARGEST + 1)), invalid);
}

#[test]
fn values_have_limits_and_are_in_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = open(dir.path());
    let value = "hunter2".repeat(LARGEST / 7 + 1);
    for (input, expected) in [
        (json!({ "Name": "s", "SecretString": value }), "ValidationException"),
        (json!({ "Name": "s", "SecretString": "" }), "ValidationException"),
        (json!({ "Name": "a b", "SecretString": "hunter2" }), "ValidationException"),
        (json!({ "Name": "s", "SecretString": "hunter2", "SecretBinary": "eA==" }), "InvalidParameterException"),
        (json!({ "Name": "s", "SecretString": "hunter2", "ClientRequestToken": "x" }), "InvalidParameterException"),
        (json!({ "Name": "s", "SecretString": "hunter2", "KmsKeyId": "k" }), "NotImplementedException"),
    ] {
        let refusal = secrets.call("CreateSecret", &input).unwrap_err();
        assert_eq!(refusal.code, expected);
        assert!(!refusal.message.contains("hunter2"), "{}", refusal.message);
    }
}

#[test]
fn lists_are_filtered_by_prefix_and_come_in_pages() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = open(dir.path());
    for (name, owner) in [("a", "one"), ("b", "one"), ("c", "two")] {
        let tags = json!([{ "Key": "owner", "Value": owner }]);
        secrets.call("CreateSecret", &json!({ "Name": name, "SecretString": "v", "Tags": tags })).unwrap();
    }
    let list = |input: Value| {
        let answer = secrets.call("ListSecrets", &input).unwrap();
        let names = answer["SecretList"].as_array().unwrap().iter().map(|it| it["Name"].as_str().unwrap());
        (names.collect::<String>(), answer["NextToken"].as_str().map(str::to_owned))
    };
    let tagged = json!([{ "Key": "tag-value", "Values": ["on"] }]);
    assert_eq!(list(json!({ "Filters": tagged })), ("ab".into(), None));
    assert_eq!(list(json!({ "Filters": [{ "Key": "name", "Values": ["!a"] }] })), ("bc".into(), None));
    assert_eq!(list(json!({ "MaxResults": 2 })), ("ab".into(), Some("2".into())));
    assert_eq!(list(json!({ "MaxResults": 2, "NextToken": "2" })), ("c".into(), None));
}
