//! End-to-end stories of posts and pictures.

use std::time::SystemTime;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_types::{DateTime, date_time::Format};
use serde_json::{Value, json};

use crate::support::{
    self, BLUE, BUCKET, RED, Subject, TYPE, TestLabeler, event, labels, stripes, text, with_segments,
};

const POST: &str = "018f2f6e-0000-7000-8000-00000000000a";
const OTHER_POST: &str = "018f2f6e-0000-7000-8000-00000000000b";
const NOON: &str = "2026-11-23T12:00:00.000Z";
const LATER: &str = "2026-11-23T12:00:00.250Z";
/// [`LATER`] in milliseconds since 1970.
const LATER_MS: &str = "1795435200250";

const NO_KEYS: [&str; 0] = [];

/// The current time, in the format of events.
fn now() -> String {
    DateTime::from(SystemTime::now()).fmt(Format::DateTime).unwrap()
}

/// The key of a picture of ada's post.
fn picture(file: &str) -> String {
    format!("ada/{POST}/5b1f7c1e-0000-4000-8000-000000000001{file}")
}

/// A labeler whose table has ada's post.
async fn with_post() -> TestLabeler {
    let test = TestLabeler::start().await;
    test.add_post("ada", POST).await;
    test
}

/// An attribute of ada's post.
async fn attribute(test: &TestLabeler, name: &str) -> Option<AttributeValue> {
    test.attribute_of("ada", POST, name).await
}

fn labels_of(subject: &Subject) -> Option<AttributeValue> {
    Some(labels(subject.labels))
}

#[tokio::test]
async fn the_five_surest_labels_and_the_picture_are_written_into_the_post() {
    let test = with_post().await;
    let key = picture("cat.png");
    test.upload(&key, stripes(&[([255; 3], 39), ([99; 3], 25)])).await;
    let surest = ["Monochrome", "White", "Bright", "Gray", "High Contrast"];
    assert_eq!(test.all_labels(&key, 75.0).await, [&surest[..], &["Landscape Format"]].concat());
    test.handle(&event(&[(&key, NOON)])).await.unwrap();
    assert_eq!(attribute(&test, "labels").await, Some(labels(&surest)));
    assert_eq!(attribute(&test, "image").await, Some(text(&key)));
    assert_eq!(attribute(&test, "size").await, Some(text("64x32")));
    assert_eq!(attribute(&test, "title").await, Some(text("Hello")));
    assert_eq!(test.keys().await, [key]);
}

#[tokio::test]
async fn labels_below_the_minimum_confidence_are_dropped() {
    let test = with_post().await;
    let key = picture("fog.png");
    // The confidence of a colour follows from its share: 75.4 for red, 74.9 for green.
    test.upload(&key, stripes(&[([220, 20, 20], 10), ([20, 220, 20], 9), ([128, 128, 128], 45)])).await;
    let seen = ["Gray", "Low Contrast", "Landscape Format", "Red"];
    assert_eq!(test.all_labels(&key, 74.5).await, [&seen[..], &["Green"]].concat());
    test.handle(&event(&[(&key, NOON)])).await.unwrap();
    assert_eq!(attribute(&test, "labels").await, Some(labels(&seen)));
}

#[tokio::test]
async fn a_picture_of_a_deleted_post_is_removed_and_no_row_is_written() {
    let test = with_post().await;
    let key = format!("ada/{OTHER_POST}/5b1f7c1e-0000-4000-8000-000000000001cat.jpg");
    test.upload(&key, BLUE.jpeg()).await;
    test.handle(&event(&[(&key, NOON)])).await.unwrap();
    assert_eq!(test.rows().await.len(), 1);
    assert_eq!(test.keys().await, NO_KEYS);
    assert_eq!(test.calls("DetectLabels"), 0, "Rekognition is not called");
}

#[tokio::test]
async fn a_post_deleted_during_recognition_stays_deleted() {
    let test = with_post().await;
    let key = picture("cat.jpg");
    test.upload(&key, BLUE.jpeg()).await;
    let delete = async |_| test.delete_post("ada", POST).await;
    test.handle_while(&event(&[(&key, NOON)]), 1, delete).await.unwrap();
    assert_eq!(test.rows().await, []);
    assert_eq!(test.keys().await, NO_KEYS);
}

#[tokio::test]
async fn a_repeated_event_changes_nothing_and_calls_rekognition_once() {
    let test = with_post().await;
    let key = picture("cat.jpg");
    test.upload(&key, BLUE.jpeg()).await;
    let event = event(&[(&key, NOON)]);
    test.handle(&event).await.unwrap();
    let rows = test.rows().await;
    test.handle(&event).await.unwrap();
    assert_eq!(test.rows().await, rows);
    assert_eq!(test.keys().await, [key]);
    assert_eq!(test.calls("DetectLabels"), 1);
}

#[tokio::test]
async fn a_second_picture_replaces_the_first() {
    let test = with_post().await;
    let (first, second) = (picture("z.jpg"), picture("a.jpg"));
    test.upload(&first, BLUE.jpeg()).await;
    test.handle(&event(&[(&first, NOON)])).await.unwrap();
    test.upload(&second, RED.jpeg()).await;
    test.handle(&event(&[(&second, LATER)])).await.unwrap();
    assert_eq!(attribute(&test, "labels").await, labels_of(&RED));
    assert_eq!(attribute(&test, "image").await, Some(text(&second)));
    assert_eq!(test.keys().await, [second.as_str()]);
    // The first picture's event again: its object is gone, and the post keeps the second.
    test.handle(&event(&[(&first, NOON)])).await.unwrap();
    assert_eq!(attribute(&test, "labels").await, labels_of(&RED));
    assert_eq!(test.keys().await, [second.as_str()]);
}

#[tokio::test]
async fn the_newest_picture_stays_when_events_arrive_out_of_order() {
    let test = with_post().await;
    let (first, second) = (picture("z.jpg"), picture("a.jpg"));
    test.upload(&first, BLUE.jpeg()).await;
    test.upload(&second, RED.jpeg()).await;
    test.handle(&event(&[(&second, LATER), (&first, NOON)])).await.unwrap();
    assert_eq!(attribute(&test, "labels").await, labels_of(&RED));
    assert_eq!(test.keys().await, [second]);
}

#[tokio::test]
async fn of_two_pictures_from_one_millisecond_the_same_one_stays_in_either_order() {
    for reversed in [false, true] {
        let test = with_post().await;
        let (one, two) = (picture("a.jpg"), picture("b.jpg"));
        test.upload(&one, BLUE.jpeg()).await;
        test.upload(&two, RED.jpeg()).await;
        let mut uploads = [(one.as_str(), NOON), (two.as_str(), NOON)];
        if reversed {
            uploads.reverse();
        }
        test.handle(&event(&uploads)).await.unwrap();
        assert_eq!(attribute(&test, "labels").await, labels_of(&RED), "reversed: {reversed}");
        assert_eq!(test.keys().await, [two]);
    }
}

#[tokio::test]
async fn a_newer_picture_labelled_during_recognition_of_an_older_one_stays() {
    let test = with_post().await;
    let (first, second) = (picture("z.jpg"), picture("a.jpg"));
    test.upload(&first, BLUE.jpeg()).await;
    test.upload(&second, RED.jpeg()).await;
    // Another instance of the function finishes the second picture first.
    let newer = [
        ("image", text(&second)),
        ("labels", labels(RED.labels)),
        ("uploaded", AttributeValue::N(LATER_MS.to_owned())),
    ];
    let finish = async |_| test.set("ada", POST, &newer).await;
    test.handle_while(&event(&[(&first, NOON)]), 1, finish).await.unwrap();
    assert_eq!(attribute(&test, "labels").await, labels_of(&RED));
    assert_eq!(test.keys().await, [second.as_str()]);
    // Delivered only now, the second picture's own event changes nothing: the row already has its time.
    test.handle(&event(&[(&second, LATER)])).await.unwrap();
    assert_eq!(test.calls("DetectLabels"), 1);
}

#[tokio::test]
async fn an_overwritten_picture_is_labelled_again_and_not_removed() {
    let test = with_post().await;
    let key = picture("cat.jpg");
    test.upload(&key, BLUE.jpeg()).await;
    test.handle(&event(&[(&key, NOON)])).await.unwrap();
    test.upload(&key, RED.jpeg()).await;
    // The delayed event of the first content, once more.
    test.handle(&event(&[(&key, LATER), (&key, NOON)])).await.unwrap();
    assert_eq!(attribute(&test, "labels").await, labels_of(&RED));
    assert_eq!(test.keys().await, [key]);
}

#[tokio::test]
async fn user_and_file_names_may_contain_spaces_signs_slashes_and_any_script() {
    for (user, file) in [
        ("ada b", "my cat.jpg"),
        ("a+b", "1+1=2 & more?.jpg"),
        ("Zoé Мария", "été 猫.jpg"),
        ("team/a/b", "cat.jpg"),
        ("100%25", "%41.jpg"),
        ("#1, \"x\"", "a#b;c.jpg"),
    ] {
        let test = with_post().await;
        test.add_post(user, OTHER_POST).await;
        let key = format!("{user}/{OTHER_POST}/5b1f7c1e-0000-4000-8000-000000000001{file}");
        test.upload(&key, BLUE.jpeg()).await;
        test.handle(&event(&[(&key, NOON)])).await.unwrap();
        assert_eq!(test.attribute_of(user, OTHER_POST, "labels").await, labels_of(&BLUE), "{key}");
        assert_eq!(test.attribute_of(user, OTHER_POST, "image").await, Some(text(&key)));
        assert_eq!(attribute(&test, "image").await, None, "the other post has no picture");
    }
}

#[tokio::test]
async fn an_object_that_cannot_be_shown_is_removed_and_the_row_has_the_reason() {
    let mut large = BLUE.jpeg();
    let end = large.split_off(large.len() - 2);
    large.resize(large.len() + (15 << 20), b'x');
    large.extend(end);
    let broken = &with_metadata(&BLUE)[..20];
    for (bytes, reason) in [
        (&b""[..], "empty"),
        (&b"just some words"[..], "unsupported"),
        (&b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"[..], "unsupported"),
        (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "unsupported"),
        (broken, "unreadable"),
        (&large[..], "too_large"),
    ] {
        let test = with_post().await;
        let bad = picture("notes.jpg");
        test.upload(&bad, bytes).await;
        test.handle(&event(&[(&bad, NOON)])).await.unwrap();
        assert_eq!(attribute(&test, "labels").await, None, "{reason}");
        assert_eq!(attribute(&test, "refused").await, Some(text(reason)));
        assert_eq!(attribute(&test, "size").await, None, "{reason}");
        assert_eq!(attribute(&test, "image").await, Some(text(&bad)), "{reason}");
        assert_eq!((test.keys().await, test.calls("DetectLabels")), (vec![], 0), "{reason}");
        // A picture that replaces it clears the reason.
        let cat = picture("cat.jpg");
        test.upload(&cat, BLUE.jpeg()).await;
        test.handle(&event(&[(&cat, LATER)])).await.unwrap();
        assert_eq!(attribute(&test, "labels").await, labels_of(&BLUE));
        assert_eq!(attribute(&test, "refused").await, None);
        assert_eq!(test.keys().await, [cat]);
    }
}

#[tokio::test]
async fn an_object_that_could_not_be_removed_is_removed_by_the_next_event_unless_it_was_replaced() {
    let test = with_post().await;
    let key = picture("notes.jpg");
    test.upload(&key, "just some words").await;
    test.refuse("DeleteObject", 503, "SlowDown").await;
    let first = event(&[(&key, NOON)]);
    test.handle(&first).await.unwrap_err();
    assert_eq!((attribute(&test, "refused").await, test.keys().await), (Some(text("unsupported")), vec![key.clone()]));
    test.handle(&first).await.unwrap();
    assert_eq!(test.keys().await, NO_KEYS);
    // The upload URL can be used more than once.
    test.upload(&key, BLUE.jpeg()).await;
    test.handle(&first).await.unwrap();
    assert_eq!(test.keys().await, [key.as_str()], "it is not the object that the row is about");
    test.handle(&event(&[(&key, LATER)])).await.unwrap();
    assert_eq!(attribute(&test, "labels").await, labels_of(&BLUE));
}

#[tokio::test]
async fn metadata_is_stripped_and_rekognition_is_called_once() {
    let test = with_post().await;
    let key = picture("cat.jpg");
    test.upload(&key, with_metadata(&BLUE)).await;
    let uploaded = test.event_of(&key, NOON).await;
    test.handle(&uploaded).await.unwrap();
    assert_eq!(attribute(&test, "labels").await, labels_of(&BLUE));
    assert_eq!(test.object(&key).await, Some((TYPE.to_owned(), BLUE.jpeg())), "it keeps its type");
    // S3 also sends an event for the object that the labeler wrote, and the event of the first upload once more.
    let stripped = test.event_of(&key, LATER).await;
    let rows = test.rows().await;
    for event in [&stripped, &uploaded, &stripped] {
        test.handle(event).await.unwrap();
    }
    assert_eq!(test.rows().await, rows);
    assert_eq!((test.calls("PutObject"), test.calls("DetectLabels")), (1, 1));
}

#[tokio::test]
async fn a_picture_without_metadata_is_not_rewritten() {
    let test = with_post().await;
    let key = picture("cat.jpg");
    test.upload(&key, BLUE.jpeg()).await;
    test.handle(&event(&[(&key, NOON)])).await.unwrap();
    assert_eq!((test.calls("GetObject"), test.calls("PutObject")), (1, 0));
}

#[tokio::test]
async fn metadata_is_stripped_even_if_recognition_fails() {
    let test = with_post().await;
    let key = picture("cat.jpg");
    test.upload(&key, with_metadata(&BLUE)).await;
    test.refuse("DetectLabels", 500, "InternalServerError").await;
    let event = event(&[(&key, NOON)]);
    test.handle(&event).await.unwrap_err();
    assert_eq!(test.object(&key).await, Some((TYPE.to_owned(), BLUE.jpeg())));
    assert_eq!(attribute(&test, "labels").await, None);
    test.handle(&event).await.unwrap();
    assert_eq!(attribute(&test, "labels").await, labels_of(&BLUE));
    assert_eq!(test.calls("PutObject"), 1);
}

#[tokio::test]
async fn a_newer_upload_is_not_overwritten_by_the_stripped_picture() {
    for newer in [Some(RED.jpeg()), None] {
        let test = with_post().await;
        let key = picture("cat.jpg");
        test.upload(&key, with_metadata(&BLUE)).await;
        let replace = async |_| match &newer {
            Some(bytes) => test.upload(&key, bytes.clone()).await,
            None => test.delete(&key).await,
        };
        test.handle_while(&event(&[(&key, NOON)]), 1, replace).await.unwrap();
        assert_eq!(test.object(&key).await.map(|(_, bytes)| bytes), newer);
        assert_eq!(attribute(&test, "labels").await, None, "the newer upload has its own event");
    }
}

#[tokio::test]
async fn a_format_that_rekognition_does_not_read_is_shown_without_labels() {
    let gif = b"GIF89a\x01\0\x01\0\0\0\0\x2C\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0\x3B";
    let test = with_post().await;
    let key = picture("cat.gif");
    test.upload(&key, [&gif[..], b"and a film"].concat()).await;
    test.handle(&event(&[(&key, NOON)])).await.unwrap();
    assert_eq!(attribute(&test, "labels").await, Some(labels(&[])));
    assert_eq!(attribute(&test, "refused").await, Some(text("unsupported")));
    assert_eq!(test.object(&key).await, Some((TYPE.to_owned(), gif.to_vec())));
    assert_eq!(test.calls("DetectLabels"), 0);
}

/// A picture with metadata as cameras add it.
fn with_metadata(subject: &Subject) -> Vec<u8> {
    let exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0 48.8584 N, 2.2945 E";
    with_segments(&subject.jpeg(), &[(0xE1, exif), (0xFE, b"a note")])
}

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
