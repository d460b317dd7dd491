//! Errors of AWS: which are final, and which are retried.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use super::{NO_KEYS, NOON, OTHER_POST, POST, attribute, labels_of, now, picture, with_post};
use crate::support::{self, BLUE, BUCKET, RED, TestLabeler, event, labels, text};

#[tokio::test]
async fn a_final_refusal_by_rekognition_is_recorded_in_the_row() {
    for (code, reason) in [
        ("ImageTooLargeException", "too_large"),
        ("InvalidImageFormatException", "unsupported"),
        ("InvalidParameterException", "unreadable"),
    ] {
        let test = with_post().await;
        let key = picture("wall.jpg");
        test.upload(&key, BLUE.jpeg()).await;
        test.refuse("DetectLabels", 400, code).await;
        let event = event(&[(&key, NOON)]);
        test.handle(&event).await.unwrap();
        test.handle(&event).await.unwrap();
        assert_eq!(attribute(&test, "labels").await, Some(labels(&[])), "{code}");
        assert_eq!(attribute(&test, "refused").await, Some(text(reason)), "{code}");
        assert_eq!(attribute(&test, "image").await, Some(text(&key)), "{code}");
        assert_eq!(test.calls("DetectLabels"), 1, "{code}: it is not retried");
    }
}

#[tokio::test]
async fn an_object_that_stays_unreadable_is_refused_in_the_end() {
    let test = with_post().await;
    let key = picture("cat.jpg");
    test.upload(&key, BLUE.jpeg()).await;
    // Long after the upload, S3 cannot confirm whether the object still exists: that may be temporary.
    let late = event(&[(&key, NOON)]);
    test.refuse("DetectLabels", 400, "InvalidS3ObjectException").await;
    test.refuse("HeadObject", 503, "SlowDown").await;
    test.handle(&late).await.unwrap_err();
    assert_eq!(attribute(&test, "labels").await, None);
    // The object exists, and a new role would have propagated by now.
    test.refuse("DetectLabels", 400, "InvalidS3ObjectException").await;
    test.handle(&late).await.unwrap();
    assert_eq!(attribute(&test, "labels").await, Some(labels(&[])));
    assert_eq!(attribute(&test, "refused").await, Some(text("unreadable")));
    assert_eq!(attribute(&test, "image").await, Some(text(&key)));
}

#[tokio::test]
async fn a_post_that_keeps_changing_is_retried_by_the_queue() {
    let test = with_post().await;
    let key = picture("cat.jpg");
    test.upload(&key, BLUE.jpeg()).await;
    let event = event(&[(&key, NOON)]);
    // Five times, an older picture is written to the row first.
    let older = async |turn: usize| {
        let older =
            [("image", text(&picture(&format!("{turn}.jpg")))), ("uploaded", AttributeValue::N(turn.to_string()))];
        test.set("ada", POST, &older).await;
    };
    let error = test.handle_while(&event, 5, older).await.unwrap_err();
    assert!(error.to_string().ends_with("failed to write the labels: the post kept changing"), "{error}");
    assert_eq!(test.calls("DetectLabels"), 5);
    assert_eq!((attribute(&test, "labels").await, test.keys().await), (None, vec![key.clone()]));
    // Once the others have finished.
    test.handle(&event).await.unwrap();
    assert_eq!(attribute(&test, "labels").await, labels_of(&BLUE));
    assert_eq!(attribute(&test, "image").await, Some(text(&key)));
}

#[tokio::test]
async fn a_transient_error_fails_the_event_and_the_retry_succeeds() {
    for (operation, status, code) in [
        ("DetectLabels", 400, "ThrottlingException"),
        ("DetectLabels", 400, "ProvisionedThroughputExceededException"),
        ("DetectLabels", 400, "TooManyRequestsException"),
        ("DetectLabels", 500, "InternalServerError"),
        ("DetectLabels", 400, "AccessDeniedException"),
        ("DetectLabels", 400, "InvalidS3ObjectException"),
        ("GetItem", 400, "ThrottlingException"),
        ("GetItem", 400, "RequestThrottled"),
        ("UpdateItem", 400, "ProvisionedThroughputExceededException"),
        ("UpdateItem", 503, "ServiceUnavailable"),
        ("GetObject", 503, "SlowDown"),
        ("GetObject", 403, "AccessDenied"),
    ] {
        let test = with_post().await;
        let key = picture("cat.jpg");
        test.upload(&key, BLUE.jpeg()).await;
        test.refuse(operation, status, code).await;
        let event = event(&[(&key, &now())]);
        let error = test.handle(&event).await.unwrap_err();
        assert!(error.to_string().contains(code), "{operation} {code}: {error}");
        assert_eq!(test.keys().await, [key], "{operation} {code}");
        test.handle(&event).await.unwrap();
        assert_eq!(attribute(&test, "labels").await, labels_of(&BLUE), "{operation} {code}");
    }
}

#[tokio::test]
async fn a_permanent_error_does_not_fail_the_event() {
    for (operation, code) in [("GetItem", "ResourceNotFoundException"), ("UpdateItem", "ValidationException")] {
        let test = with_post().await;
        let key = picture("cat.jpg");
        test.upload(&key, BLUE.jpeg()).await;
        test.refuse(operation, 400, code).await;
        test.handle(&event(&[(&key, NOON)])).await.unwrap();
        assert_eq!(attribute(&test, "labels").await, None, "{operation}");
        assert_eq!(test.keys().await, [key], "{operation}");
    }
}

#[tokio::test]
async fn a_picture_without_a_post_is_removed_by_the_retry_if_its_deletion_fails() {
    let test = TestLabeler::start().await;
    let key = picture("cat.jpg");
    test.upload(&key, BLUE.jpeg()).await;
    test.refuse("DeleteObject", 503, "SlowDown").await;
    let event = event(&[(&key, NOON)]);
    test.handle(&event).await.unwrap_err();
    test.handle(&event).await.unwrap();
    assert_eq!(test.keys().await, NO_KEYS);
}

#[tokio::test]
async fn a_failing_record_does_not_hold_up_the_others() {
    let test = with_post().await;
    test.add_post("bob", OTHER_POST).await;
    let (ours, theirs) = (picture("cat.jpg"), format!("bob/{OTHER_POST}/5b1f-dog.jpg"));
    test.upload(&ours, BLUE.jpeg()).await;
    test.upload(&theirs, RED.jpeg()).await;
    test.refuse("DetectLabels", 400, "ThrottlingException").await;
    let event = event(&[("no picture of a post", NOON), (&ours, NOON), (&theirs, NOON)]);
    let error = test.handle(&event).await.unwrap_err();
    assert!(error.to_string().starts_with("1 of the event's pictures must wait"), "{error}");
    assert_eq!(attribute(&test, "labels").await, None);
    assert_eq!(test.attribute_of("bob", OTHER_POST, "labels").await, labels_of(&RED));
    test.handle(&event).await.unwrap();
    assert_eq!(attribute(&test, "labels").await, labels_of(&BLUE));
    assert_eq!(test.calls("DetectLabels"), 3, "bob's picture is known the second time");
}

#[tokio::test]
async fn an_event_of_a_deleted_picture_leaves_the_post_unchanged() {
    let test = with_post().await;
    test.handle(&event(&[(&picture("cat.jpg"), NOON)])).await.unwrap();
    assert_eq!(attribute(&test, "labels").await, None);
    assert_eq!(attribute(&test, "image").await, None);
}

#[tokio::test]
async fn records_that_are_not_uploads_to_the_bucket_are_ignored() {
    let test = with_post().await;
    let key = picture("cat.jpg");
    test.upload(&key, BLUE.jpeg()).await;
    test.upload("readme.txt", "words").await;
    let changed = |pointer: &str, value: &str| {
        let mut event = event(&[(&key, NOON)]);
        *event.pointer_mut(pointer).unwrap() = value.into();
        event
    };
    for event in [
        json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET }),
        json!({ "Records": [{ "eventSource": "aws:sqs", "body": "x" }, "x", null] }),
        json!({ "Records": "x" }),
        Value::Null,
        changed("/Records/0/eventName", "ObjectRemoved:Delete"),
        changed("/Records/0/s3/bucket/name", "another-bucket"),
        changed("/Records/0/eventTime", "yesterday"),
        support::event(&[("readme.txt", NOON)]),
    ] {
        test.handle(&event).await.unwrap();
        assert_eq!(test.proxy.calls(), NO_KEYS, "{event}");
    }
}
