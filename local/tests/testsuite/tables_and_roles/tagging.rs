//! Tags of several services.

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::Tag;
use testkit::LocalAws;
use testkit::clients::code;

use super::support::{TRUST, active_table};

/// The code of an error; empty on success.
fn code_of<T, E: ProvideErrorMetadata, R>(answer: Result<T, aws_sdk_dynamodb::error::SdkError<E, R>>) -> String {
    answer.err().map_or_else(String::new, |refused| refused.code().unwrap_or("none").to_owned())
}

#[tokio::test]
async fn tags_are_listed_ten_at_a_time() {
    let aws = LocalAws::start().await;
    let client = active_table(&aws).await;
    let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/posts";
    let tag = |number: usize| Tag::builder().key(format!("k{number:02}")).value("v").build().unwrap();
    client.tag_resource().resource_arn(arn).set_tags(Some((0..22).map(tag).collect())).send().await.unwrap();
    let (mut keys, mut sizes, mut token) = (Vec::new(), Vec::new(), None);
    loop {
        let page = client.list_tags_of_resource().resource_arn(arn).set_next_token(token).send().await.unwrap();
        sizes.push(page.tags().len());
        keys.extend(page.tags().iter().map(|tag| tag.key().to_owned()));
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    let expected = (0..22).map(|number| format!("k{number:02}"));
    assert_eq!(sizes, [10, 10, 3]);
    assert_eq!(keys, ["deployer:stack".to_owned()].into_iter().chain(expected).collect::<Vec<_>>());
    let refused = client.list_tags_of_resource().resource_arn(arn).next_token("no token!").send().await;
    assert_eq!(code(refused), "ValidationException");
    aws.stop().await;
}

#[tokio::test]
async fn invalid_tags_are_refused_with_the_errors_of_each_service() {
    let aws = LocalAws::start().await;
    let tables = active_table(&aws).await;
    let iam = aws_sdk_iam::Client::new(&aws.config);
    let logs = aws_sdk_cloudwatchlogs::Client::new(&aws.config);
    iam.create_role().role_name("web").assume_role_policy_document(TRUST).send().await.unwrap();
    logs.create_log_group().log_group_name("group").send().await.unwrap();
    let group = logs.describe_log_groups().send().await.unwrap().log_groups()[0].log_group_arn().unwrap().to_owned();
    let table = "arn:aws:dynamodb:us-east-1:000000000000:table/posts";
    let keys: Vec<String> = (0..51).map(|number| format!("k{number}")).collect();
    let (long, longer) = ("k".repeat(129), "v".repeat(257));
    let role = async |keys: &[&str], value: &str| {
        let tag = |key: &&str| aws_sdk_iam::types::Tag::builder().key(*key).value(value).build().unwrap();
        code_of(iam.tag_role().role_name("web").set_tags(Some(keys.iter().map(tag).collect())).send().await)
    };
    let log = async |keys: &[&str], value: &str| {
        let tags = keys.iter().map(|key| ((*key).to_owned(), value.to_owned())).collect();
        code_of(logs.tag_resource().resource_arn(&group).set_tags(Some(tags)).send().await)
    };
    let row = async |keys: &[&str], value: &str| {
        let tag = |key: &&str| Tag::builder().key(*key).value(value).build().unwrap();
        let tags = Some(keys.iter().map(tag).collect());
        code_of(tables.tag_resource().resource_arn(table).set_tags(tags).send().await)
    };
    let (invalid, input, value) = ("ValidationException", "InvalidInput", "ValidationError");
    let parameter = "InvalidParameterException";
    for (keys, text, in_iam, in_logs, in_dynamodb) in [
        (vec![long.as_str()], "v", value, parameter, invalid),
        (vec!["k"], longer.as_str(), value, parameter, invalid),
        (vec!["k"], "a(b)", value, parameter, ""),
        (vec!["aws:k"], "v", input, parameter, invalid),
        (vec!["k", "K"], "v", input, "", ""),
        (keys.iter().map(String::as_str).collect(), "v", "LimitExceeded", "TooManyTagsException", invalid),
    ] {
        assert_eq!(role(&keys, text).await, in_iam, "{keys:?}");
        assert_eq!(log(&keys, text).await, in_logs, "{keys:?}");
        assert_eq!(row(&keys, text).await, in_dynamodb, "{keys:?}");
    }
    // Existing tags count towards the limit.
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert_eq!(role(&keys[..50], "v").await, "");
    assert_eq!(role(&["K1"], "v").await, "", "IAM's tag keys are case-insensitive");
    assert_eq!(role(&keys[50..], "v").await, "LimitExceeded");
    assert_eq!([log(&keys[..48], "v").await, log(&keys[50..], "v").await], ["", "TooManyTagsException"]);
    assert_eq!([row(&keys[..47], "v").await, row(&keys[50..], "v").await], ["", invalid]);
    aws.stop().await;
}
