//! Parameters, call by call.

use super::*;

fn open(dir: &Path) -> Parameters {
    Parameters::open(dir, "us-east-1").unwrap()
}

#[test]
fn a_parameter_is_kept_over_restarts_and_decrypted_on_request_only() {
    let dir = tempfile::tempdir().unwrap();
    let put = json!({ "Name": "/app/token", "Value": "hunter2", "Type": "SecureString" });
    assert_eq!(open(dir.path()).call("PutParameter", &put).unwrap()["Version"], 1);
    let parameters = open(dir.path());
    let read = |decrypts: bool| {
        let input = json!({ "Name": "/app/token", "WithDecryption": decrypts });
        parameters.call("GetParameter", &input).unwrap()["Parameter"].clone()
    };
    assert_eq!(read(true)["Value"], "hunter2");
    assert_ne!(read(false)["Value"], "hunter2");
    assert_eq!(read(true)["ARN"], "arn:aws:ssm:us-east-1:000000000000:parameter/app/token");
    assert_eq!(parameters.call("PutParameter", &put).unwrap_err().code, "ParameterAlreadyExists");
    let over = json!({ "Name": "/app/token", "Value": "tiger3", "Overwrite": true });
    assert_eq!(parameters.call("PutParameter", &over).unwrap()["Version"], 2);
    assert_eq!((&read(true)["Value"], &read(true)["Type"]), (&json!("tiger3"), &json!("SecureString")));
    let described = parameters.call("DescribeParameters", &json!({})).unwrap();
    assert!(!described.to_string().contains("tiger3"), "metadata has no values");
    assert_eq!(parameters.call("DeleteParameter", &json!({ "Name": "none" })).unwrap_err().code, "ParameterNotFound");
}

#[test]
fn names_values_and_tags_have_limits() {
    let dir = tempfile::tempdir().unwrap();
    let parameters = open(dir.path());
    let long = "x".repeat(LARGEST + 1);
    let deep = "/a".repeat(MOST_LEVELS + 1);
    let tag = json!([{ "Key": "k", "Value": "v" }]);
    for (input, code) in [
        (json!({ "Name": "n", "Type": "String", "Value": "" }), "ValidationException"),
        (json!({ "Name": "n", "Type": "String", "Value": long }), "ValidationException"),
        (json!({ "Name": "aws-n", "Type": "String", "Value": "v" }), "ValidationException"),
        (json!({ "Name": "a/n", "Type": "String", "Value": "v" }), "ValidationException"),
        (json!({ "Name": "a b", "Type": "String", "Value": "v" }), "ValidationException"),
        (json!({ "Name": "/a//b", "Type": "String", "Value": "v" }), "ValidationException"),
        (json!({ "Name": "x".repeat(1011 - 45 + 1), "Type": "String", "Value": "v" }), "ValidationException"),
        (json!({ "Name": "n", "Type": "String", "Value": "a {{ssm:b}}" }), "ValidationException"),
        (json!({ "Name": "n", "Value": "v" }), "ValidationException"),
        (json!({ "Name": deep, "Type": "String", "Value": "v" }), "HierarchyLevelLimitExceededException"),
        (json!({ "Name": "n", "Type": "String", "Value": "v", "Overwrite": true, "Tags": tag }), "ValidationException"),
        (json!({ "Name": "n", "Type": "String", "Value": "v", "KeyId": "k" }), "NotImplementedException"),
    ] {
        assert_eq!(parameters.call("PutParameter", &input).unwrap_err().code, code, "{input}");
    }
    assert_eq!(arn_of("us-east-1", "").len(), 45);
    let longest = json!({ "Name": "x".repeat(1011 - 45), "Type": "String", "Value": "v" });
    assert!(parameters.call("PutParameter", &longest).is_ok());
}

#[test]
fn members_have_limits_and_types_and_some_are_required() {
    let dir = tempfile::tempdir().unwrap();
    let parameters = open(dir.path());
    parameters.call("PutParameter", &json!({ "Name": "n", "Type": "String", "Value": "v" })).unwrap();
    let (wrong, invalid, absent) = ("SerializationException", "ValidationException", "NotImplementedException");
    let tag = json!([{ "Key": "k", "Value": "v" }]);
    let arn = arn_of("us-east-1", "n");
    for (operation, input, expected) in [
        ("GetParameter", json!({}), invalid),
        ("GetParameter", json!({ "Name": "" }), invalid),
        ("GetParameter", json!({ "Name": "n".repeat(2049) }), invalid),
        ("GetParameter", json!({ "Name": ["n"] }), wrong),
        ("GetParameter", json!({ "Name": "n", "WithDecryption": "true" }), wrong),
        // AWS finds them.
        ("GetParameter", json!({ "Name": arn }), absent),
        ("GetParameter", json!({ "Name": "n:1" }), absent),
        ("GetParameter", json!({ "Name": "/aws/service/ami-amazon-linux-latest/x" }), absent),
        ("GetParameters", json!({ "Names": ["n", "n:label"] }), absent),
        ("GetParametersByPath", json!({ "Path": "/aws/service" }), absent),
        ("GetParameters", json!({}), invalid),
        ("GetParameters", json!({ "Names": [] }), invalid),
        ("GetParameters", json!({ "Names": [""] }), invalid),
        ("GetParameters", json!({ "Names": "n" }), wrong),
        ("DeleteParameters", json!({ "Names": vec!["n"; MOST_NAMES + 1] }), invalid),
        ("PutParameter", json!({ "Name": "m", "Type": "securestring", "Value": "v" }), invalid),
        ("PutParameter", json!({ "Name": "m", "Type": "", "Value": "v" }), invalid),
        ("PutParameter", json!({ "Name": "m", "Type": "String", "Value": 7 }), wrong),
        ("PutParameter", json!({ "Name": "n", "Value": "w", "Overwrite": "true" }), wrong),
        (
            "PutParameter",
            json!({ "Name": "m", "Type": "String", "Value": "v", "Description": "d".repeat(1025) }),
            invalid,
        ),
        ("PutParameter", json!({ "Name": "m", "Type": "String", "Value": "v", "Tags": [{ "Key": "k" }] }), invalid),
        ("AddTagsToResource", json!({ "ResourceId": "n", "Tags": tag }), invalid),
        ("AddTagsToResource", json!({ "ResourceId": "n", "ResourceType": "Parameter" }), invalid),
        ("AddTagsToResource", json!({ "ResourceId": "n", "ResourceType": "parameter", "Tags": tag }), absent),
        ("RemoveTagsFromResource", json!({ "ResourceId": "n", "ResourceType": "Parameter" }), invalid),
        ("RemoveTagsFromResource", json!({ "ResourceId": "n", "TagKeys": ["k"] }), invalid),
        ("ListTagsForResource", json!({ "ResourceId": "n" }), invalid),
        ("ListTagsForResource", json!({ "ResourceType": "Parameter" }), invalid),
        ("DescribeParameters", json!({ "ParameterFilters": { "Key": "Name" } }), wrong),
        ("DescribeParameters", json!({ "ParameterFilters": [{ "Key": "Name", "Values": [] }] }), invalid),
        ("DescribeParameters", json!({ "MaxResults": 51 }), invalid),
        ("DescribeParameters", json!({ "NextToken": "x" }), "InvalidNextToken"),
    ] {
        let refusal = parameters.call(operation, &input).unwrap_err();
        assert_eq!(refusal.code, expected, "{operation} {input}: {}", refusal.message);
    }
}

#[test]
fn the_type_of_a_parameter_stays_and_its_key_can_be_named() {
    let dir = tempfile::tempdir().unwrap();
    let parameters = open(dir.path());
    let put = |kind: &str, key: &str| {
        let input = json!({ "Name": "n", "Value": "v", "Type": kind, "KeyId": key, "Overwrite": true });
        parameters.call("PutParameter", &input).map(drop).map_err(|refusal| refusal.code)
    };
    let plain = json!({ "Name": "n", "Value": "v", "Type": "String" });
    parameters.call("PutParameter", &plain).unwrap();
    assert_eq!(put("SecureString", "alias/aws/ssm"), Err("HierarchyTypeMismatchException".to_owned()));
    parameters.call("DeleteParameter", &json!({ "Name": "n" })).unwrap();
    assert_eq!(put("SecureString", "alias/aws/ssm"), Ok(()));
    let described = parameters.call("DescribeParameters", &json!({})).unwrap();
    assert_eq!(described["Parameters"][0]["KeyId"], "alias/aws/ssm");
    assert_eq!(put("String", "alias/aws/ssm"), Err("HierarchyTypeMismatchException".to_owned()));
}

#[test]
fn parameters_are_found_by_name_tag_and_path() {
    let dir = tempfile::tempdir().unwrap();
    let parameters = open(dir.path());
    for (name, owner) in [("/a/one", "x"), ("/a/b/two", "x"), ("three", "y")] {
        let tags = json!([{ "Key": "owner", "Value": owner }]);
        let put = json!({ "Name": name, "Value": "v", "Type": "String", "Tags": tags });
        parameters.call("PutParameter", &put).unwrap();
    }
    let names = |operation: &str, input: Value| -> Vec<String> {
        let answer = parameters.call(operation, &input).unwrap();
        let found = answer["Parameters"].as_array().unwrap().iter();
        found.map(|it| it["Name"].as_str().unwrap().to_owned()).collect()
    };
    let filter = |key: &str, value: &str| json!({ "ParameterFilters": [{ "Key": key, "Values": [value] }] });
    assert_eq!(names("DescribeParameters", filter("tag:owner", "x")), ["/a/b/two", "/a/one"]);
    assert_eq!(names("DescribeParameters", filter("Name", "three")), ["three"]);
    assert_eq!(names("GetParametersByPath", json!({ "Path": "/a" })), ["/a/one"]);
    assert_eq!(names("GetParametersByPath", json!({ "Path": "/a/", "Recursive": true })).len(), 2);
    let several = json!({ "Names": ["three", "four"] });
    assert_eq!(parameters.call("GetParameters", &several).unwrap()["InvalidParameters"], json!(["four"]));
    let gone = parameters.call("DeleteParameters", &several).unwrap();
    assert_eq!(gone, json!({ "DeletedParameters": ["three"], "InvalidParameters": ["four"] }));
    let untag = json!({ "ResourceType": "Parameter", "ResourceId": "/a/one", "TagKeys": ["owner"] });
    parameters.call("RemoveTagsFromResource", &untag).unwrap();
    assert_eq!(names("DescribeParameters", filter("tag:owner", "x")), ["/a/b/two"]);
}
