//! The versions that buckets keep of their objects.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, CompletedMultipartUpload, CompletedPart, Delete, MetadataDirective, ObjectIdentifier,
    VersioningConfiguration,
};
use testkit::LocalAws;

const BUCKET: &str = "past";
const KEY: &str = "Zoé/a b";

async fn bucket(s3: &Client) {
    s3.create_bucket().bucket(BUCKET).send().await.unwrap();
}

async fn set(s3: &Client, status: BucketVersioningStatus) {
    let configuration = VersioningConfiguration::builder().status(status.clone()).build();
    s3.put_bucket_versioning().bucket(BUCKET).versioning_configuration(configuration).send().await.unwrap();
    assert_eq!(s3.get_bucket_versioning().bucket(BUCKET).send().await.unwrap().status(), Some(&status));
}

/// Writes the object and returns the id of the version.
async fn put(s3: &Client, text: &'static str) -> Option<String> {
    let body = ByteStream::from_static(text.as_bytes());
    s3.put_object().bucket(BUCKET).key(KEY).body(body).send().await.unwrap().version_id
}

/// The text and version of the object, or of one version of it.
async fn get(s3: &Client, version: Option<&str>) -> (String, Option<String>) {
    let got = s3.get_object().bucket(BUCKET).key(KEY).set_version_id(version.map(str::to_owned)).send().await.unwrap();
    let head = s3.head_object().bucket(BUCKET).key(KEY).set_version_id(version.map(str::to_owned));
    assert_eq!(head.send().await.unwrap().version_id(), got.version_id());
    let version = got.version_id.clone();
    (String::from_utf8(got.body.collect().await.unwrap().to_vec()).unwrap(), version)
}

/// The ids of all versions and of all delete markers, newest first; the latest one is marked with a star.
async fn listed(s3: &Client) -> (Vec<String>, Vec<String>) {
    let found = s3.list_object_versions().bucket(BUCKET).send().await.unwrap();
    let shown = |id: Option<&str>, latest: Option<bool>| {
        format!("{}{}", id.unwrap(), if latest == Some(true) { "*" } else { "" })
    };
    let versions = found.versions().iter().map(|one| shown(one.version_id(), one.is_latest()));
    let markers = found.delete_markers().iter().map(|one| shown(one.version_id(), one.is_latest()));
    (versions.collect(), markers.collect())
}

fn top(id: &str) -> String {
    format!("{id}*")
}

/// The status, the code, and the id of the delete marker in an error.
fn refused<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    answer: Result<T, SdkError<E>>,
) -> (u16, Option<String>, Option<String>) {
    let fault = answer.unwrap_err();
    let answer = fault.raw_response().unwrap();
    let marker = answer.headers().get("x-amz-delete-marker").and_then(|_| answer.headers().get("x-amz-version-id"));
    (answer.status().as_u16(), fault.code().map(str::to_owned), marker.map(str::to_owned))
}

#[tokio::test]
async fn objects_from_before_versioning_are_the_null_version() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    bucket(&s3).await;
    assert_eq!(put(&s3, "one").await, None);
    assert_eq!(get(&s3, None).await, ("one".to_owned(), None));
    assert_eq!(get(&s3, Some("null")).await, ("one".to_owned(), None));

    set(&s3, BucketVersioningStatus::Enabled).await;
    let null = Some("null".to_owned());
    assert_eq!(get(&s3, None).await, ("one".to_owned(), null.clone()));
    let two = put(&s3, "two").await.unwrap();
    let three = put(&s3, "three").await.unwrap();
    assert_eq!(listed(&s3).await, (vec![top(&three), two.clone(), "null".to_owned()], vec![]));
    assert_eq!(get(&s3, Some("null")).await, ("one".to_owned(), null));

    let deleted = s3.delete_object().bucket(BUCKET).key(KEY).send().await.unwrap();
    assert_eq!(deleted.delete_marker(), Some(true));
    let marker = deleted.version_id().unwrap();
    let gone = s3.get_object().bucket(BUCKET).key(KEY);
    let marker_id = Some(marker.to_owned());
    assert_eq!(refused(gone.clone().send().await), (404, Some("NoSuchKey".into()), marker_id.clone()));
    assert_eq!(
        refused(gone.clone().version_id(marker).send().await),
        (405, Some("MethodNotAllowed".into()), marker_id)
    );
    assert_eq!(refused(gone.version_id("none").send().await), (404, Some("NoSuchVersion".into()), None));
    let four = put(&s3, "four").await.unwrap();

    // All of it is stored on disk.
    let expected = (vec![top(&four), three.clone(), two.clone(), "null".to_owned()], vec![marker.to_owned()]);
    assert_eq!(listed(&s3).await, expected);
    let aws = aws.restarted().await;
    let s3 = aws.s3();
    assert_eq!(listed(&s3).await, expected);
    for (id, text) in [(four.as_str(), "four"), (&three, "three"), (&two, "two"), ("null", "one")] {
        assert_eq!(get(&s3, Some(id)).await, (text.to_owned(), Some(id.to_owned())));
    }

    // Permanently deleting a version uncovers the previous one.
    let delete = s3.delete_object().bucket(BUCKET).key(KEY);
    let deleted = delete.clone().version_id(&four).send().await.unwrap();
    assert_eq!((deleted.version_id(), deleted.delete_marker()), (Some(four.as_str()), None));
    assert_eq!(listed(&s3).await.1, [top(marker)]);
    let deleted = delete.clone().version_id(marker).send().await.unwrap();
    assert_eq!((deleted.version_id(), deleted.delete_marker()), (Some(marker), Some(true)));
    assert_eq!(get(&s3, None).await, ("three".to_owned(), Some(three.clone())));
    delete.version_id("null").send().await.unwrap();
    let aws = aws.restarted().await;
    assert_eq!(listed(&aws.s3()).await, (vec![top(&three), two], vec![]));
    aws.stop().await;
}

#[tokio::test]
async fn with_versioning_suspended_only_the_null_version_is_replaced() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    bucket(&s3).await;
    set(&s3, BucketVersioningStatus::Enabled).await;
    let first = put(&s3, "first").await.unwrap();
    set(&s3, BucketVersioningStatus::Suspended).await;
    let null = Some("null".to_owned());
    for text in ["second", "third"] {
        assert_eq!(put(&s3, text).await, None);
        assert_eq!(listed(&s3).await, (vec![top("null"), first.clone()], vec![]));
        assert_eq!(get(&s3, None).await, (text.to_owned(), null.clone()));
    }
    assert_eq!(get(&s3, Some(&first)).await.0, "first");
    assert_eq!(upload(&s3, "in parts").await, None);
    assert_eq!(get(&s3, Some("null")).await, ("in parts".to_owned(), null.clone()));

    // An older version is restored by copying it, and a version may be copied onto itself.
    let source = format!("{BUCKET}/Zo%C3%A9/a%20b");
    let copy = s3.copy_object().bucket(BUCKET).key(KEY);
    let copied = copy.clone().copy_source(format!("{source}?versionId={first}")).send().await.unwrap();
    assert_eq!((copied.version_id(), copied.copy_source_version_id()), (None, Some(first.as_str())));
    assert_eq!(get(&s3, None).await, ("first".to_owned(), null.clone()));
    let copy = copy.metadata_directive(MetadataDirective::Replace).metadata("colour", "red");
    copy.copy_source(source).send().await.unwrap();
    assert_eq!(get(&s3, Some("null")).await, ("first".to_owned(), null.clone()));
    let head = s3.head_object().bucket(BUCKET).key(KEY).send().await.unwrap();
    assert_eq!(head.metadata().unwrap()["colour"], "red");
    assert_eq!(listed(&s3).await, (vec![top("null"), first.clone()], vec![]));

    for _ in 0..2 {
        let deleted = s3.delete_object().bucket(BUCKET).key(KEY).send().await.unwrap();
        assert_eq!((deleted.delete_marker(), deleted.version_id()), (Some(true), Some("null")));
        assert_eq!(listed(&s3).await, (vec![first.clone()], vec![top("null")]));
    }
    let aws = aws.restarted().await;
    let s3 = aws.s3();
    assert_eq!(listed(&s3).await, (vec![first.clone()], vec![top("null")]));

    let one = |id: &str| ObjectIdentifier::builder().key(KEY).version_id(id).build().unwrap();
    let delete = Delete::builder().objects(one(&first)).objects(one("null")).build().unwrap();
    let deleted = s3.delete_objects().bucket(BUCKET).delete(delete).send().await.unwrap();
    let results: Vec<_> =
        deleted.deleted().iter().map(|one| (one.version_id(), one.delete_marker_version_id())).collect();
    assert_eq!(results, [(Some(first.as_str()), None), (Some("null"), Some("null"))]);
    assert_eq!(listed(&s3).await, (vec![], vec![]));
    s3.delete_bucket().bucket(BUCKET).send().await.unwrap();
    aws.stop().await;
}

/// Like `put`, with a multipart upload.
async fn upload(s3: &Client, text: &'static str) -> Option<String> {
    let begun = s3.create_multipart_upload().bucket(BUCKET).key(KEY).send().await.unwrap();
    let id = begun.upload_id().unwrap();
    let part = s3.upload_part().bucket(BUCKET).key(KEY).upload_id(id).part_number(1);
    let part = part.body(ByteStream::from_static(text.as_bytes())).send().await.unwrap();
    let part = CompletedPart::builder().part_number(1).e_tag(part.e_tag().unwrap()).build();
    let whole = CompletedMultipartUpload::builder().parts(part).build();
    let done = s3.complete_multipart_upload().bucket(BUCKET).key(KEY).upload_id(id).multipart_upload(whole);
    done.send().await.unwrap().version_id
}
