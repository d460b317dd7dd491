//! Notifications of buckets.

use std::time::Duration;

use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, Delete, Event, FilterRule, FilterRuleName, LambdaFunctionConfiguration,
    NotificationConfiguration, NotificationConfigurationFilter, ObjectIdentifier, S3KeyFilter, VersioningConfiguration,
};
use serde_json::Value;
use testkit::clients::code;
use testkit::{LocalAws, eventually};

use super::{log, made};

fn notification(function: &str, event: &str) -> NotificationConfiguration {
    let rule = FilterRule::builder().name(FilterRuleName::Suffix).value(".jpg").build();
    let filter =
        NotificationConfigurationFilter::builder().key(S3KeyFilter::builder().filter_rules(rule).build()).build();
    let function = LambdaFunctionConfiguration::builder()
        .id("images")
        .lambda_function_arn(function)
        .events(Event::from(event))
        .filter(filter)
        .build()
        .unwrap();
    NotificationConfiguration::builder().lambda_function_configurations(function).build()
}

#[tokio::test]
async fn an_upload_invokes_the_function_that_the_bucket_may_invoke() {
    let aws = LocalAws::start().await;
    let client = made(&aws).await;
    let s3 = aws.s3();
    s3.create_bucket().bucket("images").send().await.unwrap();
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:labeler";
    let wanted = notification(arn, "s3:ObjectCreated:*");
    let put = || s3.put_bucket_notification_configuration().bucket("images").notification_configuration(wanted.clone());

    let refused = put().send().await.unwrap_err();
    assert_eq!(refused.code(), Some("InvalidArgument"));
    assert!(refused.message().unwrap().contains("Unable to validate the following destination configurations"));

    let allow = client.add_permission().function_name("labeler").statement_id("images").action("lambda:InvokeFunction");
    let allow = allow.principal("s3.amazonaws.com").source_arn("arn:aws:s3:::images").source_account(local::ACCOUNT);
    allow.clone().send().await.unwrap();
    assert_eq!(code(allow.send().await), "ResourceConflictException");
    let policy = client.get_policy().function_name("labeler").send().await.unwrap();
    assert!(policy.policy().unwrap().contains("AWS:SourceAccount"));
    put().send().await.unwrap();
    let read = s3.get_bucket_notification_configuration().bucket("images").send().await.unwrap();
    assert_eq!(read.lambda_function_configurations()[0].id(), Some("images"));
    notifications_are_in_force().await;

    for key in ["Zoé/a b+c.jpg", "notes.txt"] {
        s3.put_object().bucket("images").key(key).body(ByteStream::from_static(b"12345")).send().await.unwrap();
    }
    s3.copy_object().bucket("images").key("copy.jpg").copy_source("images/notes.txt").send().await.unwrap();
    let lines = eventually("two events", async || {
        let lines = log(&aws, "Records").await;
        (lines.len() >= 2).then_some(lines)
    })
    .await;
    let events: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line.strip_prefix("event ").unwrap()).unwrap()).collect();
    let mut seen: Vec<(String, &str)> = events
        .iter()
        .map(|event| &event["Records"][0])
        .map(|record| {
            (record["s3"]["object"]["key"].as_str().unwrap().to_owned(), record["eventName"].as_str().unwrap())
        })
        .collect();
    seen.sort();
    let expected = [("Zo%C3%A9/a+b%2Bc.jpg", "ObjectCreated:Put"), ("copy.jpg", "ObjectCreated:Copy")];
    assert_eq!(seen, expected.map(|(key, event)| (key.to_owned(), event)));
    assert_eq!(events[0]["Records"][0]["s3"]["object"]["size"], 5);

    client.remove_permission().function_name("labeler").statement_id("images").send().await.unwrap();
    assert_eq!(code(client.get_policy().function_name("labeler").send().await), "ResourceNotFoundException");
    aws.stop().await;
}

#[tokio::test]
async fn a_deletion_invokes_the_function_that_is_notified_of_it() {
    let aws = LocalAws::start().await;
    let s3 = notified(&aws, "s3:ObjectRemoved:*").await;

    let upload = |key: &str| s3.put_object().bucket("images").key(key).body(ByteStream::from_static(b"x")).send();
    let delete = |key: &str| s3.delete_object().bucket("images").key(key);
    for key in ["a b.jpg", "b.jpg", "notes.txt"] {
        upload(key).await.unwrap();
    }
    for key in ["missing.jpg", "notes.txt", "a b.jpg"] {
        delete(key).send().await.unwrap();
    }
    let all = Delete::builder().objects(ObjectIdentifier::builder().key("b.jpg").build().unwrap()).build().unwrap();
    s3.delete_objects().bucket("images").delete(all).send().await.unwrap();
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    s3.put_bucket_versioning().bucket("images").versioning_configuration(enabled).send().await.unwrap();
    let version = upload("c.jpg").await.unwrap().version_id.unwrap();
    let marker = delete("c.jpg").send().await.unwrap().version_id.unwrap();
    delete("c.jpg").version_id(&marker).send().await.unwrap();
    delete("c.jpg").version_id(&version).send().await.unwrap();

    let removals = eventually("four events", async || {
        let events = log(&aws, "Records").await;
        let events = events.iter().map(|line| serde_json::from_str(line.strip_prefix("event ").unwrap()).unwrap());
        let mut removals: Vec<_> = events.map(removal).collect();
        removals.sort();
        (removals.len() >= 4).then_some(removals)
    })
    .await;
    let expected = [
        ("ObjectRemoved:Delete", "a+b.jpg", ""),
        ("ObjectRemoved:Delete", "b.jpg", ""),
        ("ObjectRemoved:Delete", "c.jpg", version.as_str()),
        ("ObjectRemoved:DeleteMarkerCreated", "c.jpg", marker.as_str()),
    ];
    assert_eq!(removals, expected.map(|(event, key, version)| (event.to_owned(), key.to_owned(), version.to_owned())));
    aws.stop().await;
}

#[tokio::test]
async fn a_change_succeeds_and_is_announced_even_if_its_event_cannot_be_written() {
    let aws = LocalAws::start().await;
    let s3 = notified(&aws, "s3:ObjectRemoved:*").await;
    for key in ["a.jpg", "b.jpg", "c.jpg"] {
        s3.put_object().bucket("images").key(key).body(ByteStream::from_static(b"x")).send().await.unwrap();
    }

    // No file can be created in something that is not a directory.
    std::fs::write(aws.dir.path().join("functions/events"), "").unwrap();
    s3.delete_object().bucket("images").key("a.jpg").send().await.unwrap();
    let objects = ["b.jpg", "c.jpg"].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    let both = Delete::builder().set_objects(Some(objects.to_vec())).build().unwrap();
    let deleted = s3.delete_objects().bucket("images").delete(both).send().await.unwrap();
    assert_eq!((deleted.deleted().len(), deleted.errors().len()), (2, 0));
    let keys = eventually("three events", async || {
        let events = log(&aws, "Records").await;
        let events = events.iter().map(|line| serde_json::from_str(line.strip_prefix("event ").unwrap()).unwrap());
        let mut keys: Vec<_> = events.map(removal).map(|(_, key, _)| key).collect();
        keys.sort();
        (keys.len() >= 3).then_some(keys)
    })
    .await;
    assert_eq!(keys, ["a.jpg", "b.jpg", "c.jpg"]);
    aws.stop().await;
}

/// Creates the function, and a bucket that notifies it of `event`.
async fn notified(aws: &LocalAws, event: &str) -> aws_sdk_s3::Client {
    let client = made(aws).await;
    let s3 = aws.s3();
    s3.create_bucket().bucket("images").send().await.unwrap();
    let allow = client.add_permission().function_name("labeler").statement_id("images").action("lambda:InvokeFunction");
    allow.principal("s3.amazonaws.com").source_arn("arn:aws:s3:::images").send().await.unwrap();
    let wanted = notification("arn:aws:lambda:us-east-1:000000000000:function:labeler", event);
    let put = s3.put_bucket_notification_configuration().bucket("images");
    put.notification_configuration(wanted).send().await.unwrap();
    notifications_are_in_force().await;
    s3
}

/// At the default speed a changed notification takes 0.6 seconds to be in force, and no call reports when it is.
async fn notifications_are_in_force() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// The event name, key and version id of a deletion.
fn removal(event: Value) -> (String, String, String) {
    let record = &event["Records"][0];
    let object = &record["s3"]["object"];
    assert!(object["size"].is_null() && object["sequencer"].is_string(), "{object}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&record["eventName"]), text(&object["key"]), text(&object["versionId"]))
}

#[tokio::test]
async fn with_notify_lag_uploads_are_delivered_late_and_twice_and_none_is_lost() {
    let chaos = local::Chaos { kinds: [local::ChaosKind::S3NotifyLag].into(), seed: 1 };
    let aws = LocalAws::start_with(chaos).await;
    let s3 = notified(&aws, "s3:ObjectCreated:*").await;
    const UPLOADS: usize = 12;
    for number in 0..UPLOADS {
        s3.put_object().bucket("images").key(format!("{number:02}.jpg")).send().await.unwrap();
    }
    // Delayed events also survive a restart of the server.
    let aws = aws.restarted().await;
    let keys_in = |lines: Vec<String>| -> Vec<String> {
        let key = |line: String| -> String {
            let event: Value = serde_json::from_str(line.strip_prefix("event ").unwrap()).unwrap();
            event["Records"][0]["s3"]["object"]["key"].as_str().unwrap().to_owned()
        };
        lines.into_iter().map(key).collect()
    };
    let keys = eventually("all uploads, some of them twice", async || {
        let keys = keys_in(log(&aws, "Records").await);
        let all = (0..UPLOADS).all(|number| keys.contains(&format!("{number:02}.jpg")));
        (all && keys.len() > UPLOADS).then_some(keys)
    })
    .await;
    assert!(!keys.is_sorted(), "{keys:?}");
    aws.stop().await;
}
