//! Events, and what becomes of posts and pictures.

use std::time::SystemTime;

use aws_smithy_types::{DateTime, date_time::Format};
use labeler::Labeler;
use serde_json::{Value, json};

use crate::cloud::{self, BUCKET, Cloud, TABLE, event, jpeg};

const POST: &str = "018f2f6e-0000-7000-8000-00000000000a";
const OTHER_POST: &str = "018f2f6e-0000-7000-8000-00000000000b";
const NOON: &str = "2026-11-23T12:00:00.000Z";
const LATER: &str = "2026-11-23T12:00:00.250Z";

/// This moment, as events have it.
fn now() -> String {
    DateTime::from(SystemTime::now()).fmt(Format::DateTime).unwrap()
}

/// The key of a picture of ada's post.
fn picture(file: &str) -> String {
    format!("ada/{POST}/5b1f7c1e-0000-4000-8000-000000000001{file}")
}

/// A cloud with ada's post in it.
async fn with_post() -> (Cloud, Labeler) {
    let cloud = Cloud::start().await;
    cloud.state().add_post("ada", POST);
    let labeler = Labeler::new(&cloud.config(), BUCKET.into(), TABLE.into());
    (cloud, labeler)
}

/// An attribute of ada's post in DynamoDB's JSON; null if absent.
fn attribute(cloud: &Cloud, name: &str) -> Value {
    attribute_of(cloud, "ada", POST, name)
}

fn attribute_of(cloud: &Cloud, user: &str, post: &str, name: &str) -> Value {
    let key = (format!("USER#{user}"), format!("POST#{post}"));
    cloud.state().rows[&key].get(name).cloned().unwrap_or_default()
}

fn labels(names: &[&str]) -> Value {
    json!({ "L": names.iter().map(|name| json!({ "S": name })).collect::<Vec<_>>() })
}

#[tokio::test]
async fn labels_and_picture_are_written_into_the_post() {
    let (cloud, labeler) = with_post().await;
    let key = picture("cat.jpg");
    cloud.upload(&key, "Cat 99.1, Pet 98, Sofa 91, Plant 90, Lamp 80, Rug 79");
    labeler.handle(&event(&[(&key, NOON)])).await.unwrap();
    assert_eq!(attribute(&cloud, "labels"), labels(&["Cat", "Pet", "Sofa", "Plant", "Lamp"]));
    assert_eq!(attribute(&cloud, "image"), json!({ "S": key }));
    assert_eq!(attribute(&cloud, "title"), json!({ "S": "Hello" }));
    assert_eq!(cloud.keys(), [key]);
}

#[tokio::test]
async fn guesses_are_no_labels() {
    let (cloud, labeler) = with_post().await;
    let key = picture("fog.jpg");
    cloud.upload(&key, "Fog 75, Ghost 74.9");
    labeler.handle(&event(&[(&key, NOON)])).await.unwrap();
    assert_eq!(attribute(&cloud, "labels"), labels(&["Fog"]));
}

#[tokio::test]
async fn a_deleted_post_does_not_come_back_and_its_picture_goes() {
    let (cloud, labeler) = with_post().await;
    let key = format!("ada/{OTHER_POST}/5b1f7c1e-0000-4000-8000-000000000001cat.jpg");
    cloud.upload(&key, "Cat 99");
    labeler.handle(&event(&[(&key, NOON)])).await.unwrap();
    assert_eq!(cloud.state().rows.len(), 1);
    assert_eq!(cloud.keys(), [""; 0]);
    assert_eq!(cloud.calls("DetectLabels"), 0, "a look at it would be paid for nothing");
}

#[tokio::test]
async fn a_post_deleted_while_its_picture_is_looked_at_stays_deleted() {
    let (cloud, labeler) = with_post().await;
    let key = picture("cat.jpg");
    cloud.upload(&key, "Cat 99");
    cloud.meanwhile(|state| state.rows.clear());
    labeler.handle(&event(&[(&key, NOON)])).await.unwrap();
    assert!(cloud.state().rows.is_empty());
    assert_eq!(cloud.keys(), [""; 0]);
}

#[tokio::test]
async fn an_event_that_comes_twice_changes_nothing_and_costs_no_second_look() {
    let (cloud, labeler) = with_post().await;
    let key = picture("cat.jpg");
    cloud.upload(&key, "Cat 99");
    let event = event(&[(&key, NOON)]);
    labeler.handle(&event).await.unwrap();
    let rows = cloud.state().rows.clone();
    labeler.handle(&event).await.unwrap();
    assert_eq!(cloud.state().rows, rows);
    assert_eq!(cloud.keys(), [key]);
    assert_eq!(cloud.calls("DetectLabels"), 1);
}

#[tokio::test]
async fn a_second_picture_replaces_the_first() {
    let (cloud, labeler) = with_post().await;
    let (first, second) = (picture("z.jpg"), picture("a.jpg"));
    cloud.upload(&first, "Cat 99");
    labeler.handle(&event(&[(&first, NOON)])).await.unwrap();
    cloud.upload(&second, "Dog 99");
    labeler.handle(&event(&[(&second, LATER)])).await.unwrap();
    assert_eq!(attribute(&cloud, "labels"), labels(&["Dog"]));
    assert_eq!(attribute(&cloud, "image"), json!({ "S": second }));
    assert_eq!(cloud.keys(), [second.as_str()]);
    // The first one's event again: its picture is gone, and the post keeps the second.
    labeler.handle(&event(&[(&first, NOON)])).await.unwrap();
    assert_eq!(attribute(&cloud, "labels"), labels(&["Dog"]));
    assert_eq!(cloud.keys(), [second.as_str()]);
}

#[tokio::test]
async fn the_newest_picture_stays_when_events_come_the_wrong_way_round() {
    let (cloud, labeler) = with_post().await;
    let (first, second) = (picture("z.jpg"), picture("a.jpg"));
    cloud.upload(&first, "Cat 99");
    cloud.upload(&second, "Dog 99");
    labeler.handle(&event(&[(&second, LATER), (&first, NOON)])).await.unwrap();
    assert_eq!(attribute(&cloud, "labels"), labels(&["Dog"]));
    assert_eq!(cloud.keys(), [second]);
}

#[tokio::test]
async fn of_two_pictures_of_one_millisecond_the_same_one_stays_in_either_order() {
    for turned in [false, true] {
        let (cloud, labeler) = with_post().await;
        let (one, two) = (picture("a.jpg"), picture("b.jpg"));
        cloud.upload(&one, "Cat 99");
        cloud.upload(&two, "Dog 99");
        let mut uploads = [(one.as_str(), NOON), (two.as_str(), NOON)];
        if turned {
            uploads.reverse();
        }
        labeler.handle(&event(&uploads)).await.unwrap();
        assert_eq!(attribute(&cloud, "labels"), labels(&["Dog"]), "turned: {turned}");
        assert_eq!(cloud.keys(), [two]);
    }
}

#[tokio::test]
async fn a_newer_picture_labelled_while_the_older_is_looked_at_stays() {
    let (cloud, labeler) = with_post().await;
    let (first, second) = (picture("z.jpg"), picture("a.jpg"));
    cloud.upload(&first, "Cat 99");
    cloud.upload(&second, "Dog 99");
    // Another instance of the function finishes the second picture first.
    let (row, later_ms) = (("USER#ada".into(), format!("POST#{POST}")), "1795435200250");
    let shown = json!({ "S": second });
    cloud.meanwhile(move |state| {
        let row = state.rows.get_mut(&row).unwrap();
        row.insert("image".into(), shown);
        row.insert("labels".into(), labels(&["Dog"]));
        row.insert("uploaded".into(), json!({ "N": later_ms }));
    });
    labeler.handle(&event(&[(&first, NOON)])).await.unwrap();
    assert_eq!(attribute(&cloud, "labels"), labels(&["Dog"]));
    assert_eq!(cloud.keys(), [second.as_str()]);
    // And its own event, had it come only now, would have been of this very time.
    labeler.handle(&event(&[(&second, LATER)])).await.unwrap();
    assert_eq!(cloud.calls("DetectLabels"), 1);
}

#[tokio::test]
async fn an_overwritten_picture_is_labelled_anew_and_not_removed() {
    let (cloud, labeler) = with_post().await;
    let key = picture("cat.jpg");
    cloud.upload(&key, "Cat 99");
    labeler.handle(&event(&[(&key, NOON)])).await.unwrap();
    cloud.upload(&key, "Dog 99");
    // The event of the first content once more, late.
    labeler.handle(&event(&[(&key, LATER), (&key, NOON)])).await.unwrap();
    assert_eq!(attribute(&cloud, "labels"), labels(&["Dog"]));
    assert_eq!(cloud.keys(), [key]);
}

#[tokio::test]
async fn names_and_files_may_hold_blanks_signs_slashes_and_every_alphabet() {
    for (user, file) in [
        ("ada b", "my cat.jpg"),
        ("a+b", "1+1=2 & more?.jpg"),
        ("Zoé Мария", "été 猫.jpg"),
        ("team/a/b", "cat.jpg"),
        ("100%25", "%41.jpg"),
        ("#1, \"x\"", "a#b;c.jpg"),
    ] {
        let (cloud, labeler) = with_post().await;
        cloud.state().add_post(user, OTHER_POST);
        let key = format!("{user}/{OTHER_POST}/5b1f7c1e-0000-4000-8000-000000000001{file}");
        cloud.upload(&key, "Cat 99");
        labeler.handle(&event(&[(&key, NOON)])).await.unwrap();
        assert_eq!(attribute_of(&cloud, user, OTHER_POST, "labels"), labels(&["Cat"]), "{key}");
        assert_eq!(attribute_of(&cloud, user, OTHER_POST, "image"), json!({ "S": key }));
        assert_eq!(attribute(&cloud, "image"), Value::Null, "the other post has none");
    }
}

#[tokio::test]
async fn what_cannot_be_shown_is_removed_and_the_row_says_why() {
    let large = jpeg(&[], &"x".repeat(15 << 20));
    let broken = &jpeg(&[(0xE1, b"Exif\0\0")], "Cat 99")[..20];
    for (bytes, reason) in [
        (&b""[..], "empty"),
        (&b"just some words"[..], "unsupported"),
        (&b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"[..], "unsupported"),
        (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "unsupported"),
        (broken, "unreadable"),
        (&large[..], "too_large"),
    ] {
        let (cloud, labeler) = with_post().await;
        let bad = picture("notes.jpg");
        cloud.upload_bytes(&bad, bytes.into());
        labeler.handle(&event(&[(&bad, NOON)])).await.unwrap();
        assert_eq!(attribute(&cloud, "labels"), Value::Null, "{reason}");
        assert_eq!(attribute(&cloud, "refused"), json!({ "S": reason }));
        assert_eq!(attribute(&cloud, "image"), json!({ "S": bad }), "{reason}");
        assert_eq!((cloud.keys(), cloud.calls("DetectLabels")), (vec![], 0), "{reason}");
        // A picture in its place takes the reason away.
        let cat = picture("cat.jpg");
        cloud.upload(&cat, "Cat 99");
        labeler.handle(&event(&[(&cat, LATER)])).await.unwrap();
        assert_eq!(attribute(&cloud, "labels"), labels(&["Cat"]));
        assert_eq!(attribute(&cloud, "refused"), Value::Null);
        assert_eq!(cloud.keys(), [cat]);
    }
}

#[tokio::test]
async fn what_could_not_be_removed_goes_with_the_next_event_unless_something_better_came() {
    let (cloud, labeler) = with_post().await;
    let key = picture("notes.jpg");
    cloud.upload(&key, "just some words");
    cloud.refuse("DELETE object", 503, "SlowDown");
    let first = event(&[(&key, NOON)]);
    labeler.handle(&first).await.unwrap_err();
    assert_eq!((attribute(&cloud, "refused"), cloud.keys()), (json!({ "S": "unsupported" }), vec![key.clone()]));
    labeler.handle(&first).await.unwrap();
    assert_eq!(cloud.keys(), [""; 0]);
    // The address is good for more than one upload.
    cloud.upload(&key, "Cat 99");
    labeler.handle(&first).await.unwrap();
    assert_eq!(cloud.keys(), [key.as_str()], "it is not what the row speaks of");
    labeler.handle(&event(&[(&key, LATER)])).await.unwrap();
    assert_eq!(attribute(&cloud, "labels"), labels(&["Cat"]));
}

#[tokio::test]
async fn a_picture_loses_its_metadata_and_is_looked_at_once() {
    let (cloud, labeler) = with_post().await;
    let key = picture("cat.jpg");
    cloud.upload_bytes(&key, with_metadata("Cat 99"));
    let uploaded = cloud.event(&key, NOON);
    labeler.handle(&uploaded).await.unwrap();
    assert_eq!(attribute(&cloud, "labels"), labels(&["Cat"]));
    assert_eq!(cloud.state().objects[&key], jpeg(&[], "Cat 99"));
    // S3 tells of what the labeler wrote, too, and of the first upload once more.
    let cleaned = cloud.event(&key, LATER);
    let rows = cloud.state().rows.clone();
    for event in [&cleaned, &uploaded, &cleaned] {
        labeler.handle(event).await.unwrap();
    }
    assert_eq!(cloud.state().rows, rows);
    assert_eq!((cloud.calls("PUT object"), cloud.calls("DetectLabels")), (1, 1));
}

#[tokio::test]
async fn a_clean_picture_is_not_written() {
    let (cloud, labeler) = with_post().await;
    let key = picture("cat.jpg");
    cloud.upload(&key, "Cat 99");
    labeler.handle(&event(&[(&key, NOON)])).await.unwrap();
    assert_eq!((cloud.calls("GET object"), cloud.calls("PUT object")), (1, 0));
}

#[tokio::test]
async fn a_picture_is_cleaned_whatever_else_fails() {
    let (cloud, labeler) = with_post().await;
    let key = picture("cat.jpg");
    cloud.upload_bytes(&key, with_metadata("Cat 99"));
    cloud.refuse("DetectLabels", 500, "InternalServerError");
    let event = event(&[(&key, NOON)]);
    labeler.handle(&event).await.unwrap_err();
    assert_eq!(cloud.state().objects[&key], jpeg(&[], "Cat 99"));
    assert_eq!(attribute(&cloud, "labels"), Value::Null);
    labeler.handle(&event).await.unwrap();
    assert_eq!(attribute(&cloud, "labels"), labels(&["Cat"]));
    assert_eq!(cloud.calls("PUT object"), 1);
}

#[tokio::test]
async fn a_newer_upload_is_not_overwritten_by_the_cleaned_one() {
    for newer in [Some(jpeg(&[], "Dog 99")), None] {
        let (cloud, labeler) = with_post().await;
        let key = picture("cat.jpg");
        cloud.upload_bytes(&key, with_metadata("Cat 99"));
        let (at, bytes) = (key.clone(), newer.clone());
        cloud.meanwhile(move |state| {
            state.objects.remove(&at);
            state.objects.extend(bytes.map(|bytes| (at, bytes)));
        });
        labeler.handle(&event(&[(&key, NOON)])).await.unwrap();
        assert_eq!(cloud.state().objects.get(&key), newer.as_ref());
        assert_eq!(attribute(&cloud, "labels"), Value::Null, "its own event is on the way");
    }
}

#[tokio::test]
async fn what_only_browsers_read_is_shown_without_a_look_at_it() {
    let gif = b"GIF89a\x01\0\x01\0\0\0\0\x2C\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0\x3B";
    let (cloud, labeler) = with_post().await;
    let key = picture("cat.gif");
    cloud.upload_bytes(&key, [&gif[..], b"and a film"].concat());
    labeler.handle(&event(&[(&key, NOON)])).await.unwrap();
    assert_eq!(
        (attribute(&cloud, "labels"), attribute(&cloud, "refused")),
        (labels(&[]), json!({ "S": "unsupported" }))
    );
    assert_eq!(cloud.state().objects[&key], gif);
    assert_eq!(cloud.calls("DetectLabels"), 0);
}

/// A picture with what a camera says of it.
fn with_metadata(content: &str) -> Vec<u8> {
    jpeg(&[(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0 48.8584 N, 2.2945 E"), (0xFE, b"a note")], content)
}

#[tokio::test]
async fn what_rekognition_refuses_for_good_ends_without_labels_too() {
    for (code, reason) in [
        ("ImageTooLargeException", "too_large"),
        ("InvalidImageFormatException", "unsupported"),
        ("InvalidParameterException", "unreadable"),
    ] {
        let (cloud, labeler) = with_post().await;
        let key = picture("wall.jpg");
        cloud.upload(&key, "Wall 99");
        cloud.refuse("DetectLabels", 400, code);
        let event = event(&[(&key, NOON)]);
        labeler.handle(&event).await.unwrap();
        labeler.handle(&event).await.unwrap();
        assert_eq!(attribute(&cloud, "labels"), labels(&[]), "{code}");
        assert_eq!(attribute(&cloud, "refused"), json!({ "S": reason }), "{code}");
        assert_eq!(attribute(&cloud, "image"), json!({ "S": key }), "{code}");
        assert_eq!(cloud.calls("DetectLabels"), 1, "{code}: it is not looked at again");
    }
}

#[tokio::test]
async fn what_stays_unreadable_is_told_in_the_end() {
    let (cloud, labeler) = with_post().await;
    let key = picture("cat.jpg");
    cloud.upload(&key, "Cat 99");
    // Long after the upload, and nobody can say whether the object is still there: that may pass.
    let late = event(&[(&key, NOON)]);
    cloud.refuse("DetectLabels", 400, "InvalidS3ObjectException");
    cloud.refuse("HEAD object", 503, "");
    labeler.handle(&late).await.unwrap_err();
    assert_eq!(attribute(&cloud, "labels"), Value::Null);
    // It is there, and a new role would be known by now.
    cloud.refuse("DetectLabels", 400, "InvalidS3ObjectException");
    labeler.handle(&late).await.unwrap();
    assert_eq!(attribute(&cloud, "labels"), labels(&[]));
    assert_eq!(attribute(&cloud, "refused"), json!({ "S": "unreadable" }));
    assert_eq!(attribute(&cloud, "image"), json!({ "S": key }));
}

#[tokio::test]
async fn a_post_that_keeps_changing_is_left_to_the_queue() {
    let (cloud, labeler) = with_post().await;
    let key = picture("cat.jpg");
    cloud.upload(&key, "Cat 99");
    // Five times an older picture gets into the row first.
    for turn in 0..5 {
        cloud.meanwhile(move |state| {
            let row = state.rows.get_mut(&("USER#ada".into(), format!("POST#{POST}"))).unwrap();
            row.insert("image".into(), json!({ "S": picture(&format!("{turn}.jpg")) }));
            row.insert("uploaded".into(), json!({ "N": turn.to_string() }));
        });
    }
    let event = event(&[(&key, NOON)]);
    let error = labeler.handle(&event).await.unwrap_err();
    assert!(error.to_string().ends_with("failed to write the labels: the post kept changing"), "{error}");
    assert_eq!(cloud.calls("DetectLabels"), 5);
    assert_eq!((attribute(&cloud, "labels"), cloud.keys()), (Value::Null, vec![key.clone()]));
    // Once the others are through.
    labeler.handle(&event).await.unwrap();
    assert_eq!(attribute(&cloud, "labels"), labels(&["Cat"]));
    assert_eq!(attribute(&cloud, "image"), json!({ "S": key }));
}

#[tokio::test]
async fn what_a_retry_can_cure_is_told_to_the_queue_and_cured_by_it() {
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
        ("GET object", 503, "SlowDown"),
        ("GET object", 403, "AccessDenied"),
    ] {
        let (cloud, labeler) = with_post().await;
        let key = picture("cat.jpg");
        cloud.upload(&key, "Cat 99");
        cloud.refuse(operation, status, code);
        let event = event(&[(&key, &now())]);
        let error = labeler.handle(&event).await.unwrap_err();
        assert!(error.to_string().contains(code), "{operation} {code}: {error}");
        assert_eq!(cloud.keys(), [key], "{operation} {code}");
        labeler.handle(&event).await.unwrap();
        assert_eq!(attribute(&cloud, "labels"), labels(&["Cat"]), "{operation} {code}");
    }
}

#[tokio::test]
async fn what_no_retry_can_cure_is_not_told_to_the_queue() {
    for (operation, code) in [("GetItem", "ResourceNotFoundException"), ("UpdateItem", "ValidationException")] {
        let (cloud, labeler) = with_post().await;
        let key = picture("cat.jpg");
        cloud.upload(&key, "Cat 99");
        cloud.refuse(operation, 400, code);
        labeler.handle(&event(&[(&key, NOON)])).await.unwrap();
        assert_eq!(attribute(&cloud, "labels"), Value::Null, "{operation}");
        assert_eq!(cloud.keys(), [key], "{operation}");
    }
}

#[tokio::test]
async fn a_stray_picture_that_cannot_be_removed_now_is_removed_by_the_retry() {
    let (cloud, labeler) = with_post().await;
    cloud.state().rows.clear();
    let key = picture("cat.jpg");
    cloud.upload(&key, "Cat 99");
    cloud.refuse("DELETE object", 503, "SlowDown");
    let event = event(&[(&key, NOON)]);
    labeler.handle(&event).await.unwrap_err();
    labeler.handle(&event).await.unwrap();
    assert_eq!(cloud.keys(), [""; 0]);
}

#[tokio::test]
async fn every_record_has_its_turn_whatever_happens_to_the_others() {
    let (cloud, labeler) = with_post().await;
    cloud.state().add_post("bob", OTHER_POST);
    let (ours, theirs) = (picture("cat.jpg"), format!("bob/{OTHER_POST}/5b1f-dog.jpg"));
    cloud.upload(&ours, "Cat 99");
    cloud.upload(&theirs, "Dog 99");
    cloud.refuse("DetectLabels", 400, "ThrottlingException");
    let event = event(&[("no picture of a post", NOON), (&ours, NOON), (&theirs, NOON)]);
    let error = labeler.handle(&event).await.unwrap_err();
    assert!(error.to_string().starts_with("1 of the event's pictures must wait"), "{error}");
    assert_eq!(attribute(&cloud, "labels"), Value::Null);
    assert_eq!(attribute_of(&cloud, "bob", OTHER_POST, "labels"), labels(&["Dog"]));
    labeler.handle(&event).await.unwrap();
    assert_eq!(attribute(&cloud, "labels"), labels(&["Cat"]));
    assert_eq!(cloud.calls("DetectLabels"), 3, "bob's picture was known the second time");
}

#[tokio::test]
async fn a_picture_that_is_gone_leaves_the_post_as_it_is() {
    let (cloud, labeler) = with_post().await;
    labeler.handle(&event(&[(&picture("cat.jpg"), NOON)])).await.unwrap();
    assert_eq!(attribute(&cloud, "labels"), Value::Null);
    assert_eq!(attribute(&cloud, "image"), Value::Null);
}

#[tokio::test]
async fn what_is_no_upload_to_our_bucket_is_left_alone() {
    let (cloud, labeler) = with_post().await;
    let key = picture("cat.jpg");
    cloud.upload(&key, "Cat 99");
    cloud.upload("readme.txt", "words");
    let changed = |pointer: &str, value: &str| {
        let mut event = event(&[(&key, NOON)]);
        *event.pointer_mut(pointer).unwrap() = value.into();
        event
    };
    for event in [
        json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET }),
        json!({ "Records": [{ "eventSource": "aws:sqs", "body": "x" }, "x", null] }),
        json!({ "Records": "x" }),
        json!(null),
        changed("/Records/0/eventName", "ObjectRemoved:Delete"),
        changed("/Records/0/s3/bucket/name", "another-bucket"),
        changed("/Records/0/eventTime", "yesterday"),
        cloud::event(&[("readme.txt", NOON)]),
    ] {
        labeler.handle(&event).await.unwrap();
        assert_eq!(cloud.state().calls, [""; 0], "{event}");
    }
}
