//! End-to-end stories of posts and pictures.

mod failures;
mod order;
mod stripping;

use std::time::SystemTime;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_types::{DateTime, date_time::Format};

use crate::support::{BLUE, Subject, TYPE, TestLabeler, event, labels, stripes, text};

use stripping::with_metadata;

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
