//! Several pictures of a post, in any order.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{LATER, LATER_MS, NOON, POST, attribute, labels_of, picture, with_post};
use crate::support::{BLUE, RED, event, labels, text};

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
