//! Metadata is stripped from pictures.

use super::{LATER, NOON, attribute, labels_of, picture, with_post};
use crate::support::{BLUE, RED, Subject, TYPE, event, with_segments};

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

/// A picture with metadata as cameras add it.
pub(super) fn with_metadata(subject: &Subject) -> Vec<u8> {
    let exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0 48.8584 N, 2.2945 E";
    with_segments(&subject.jpeg(), &[(0xE1, exif), (0xFE, b"a note")])
}
