//! Versions of objects, and locks on them.

use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{
    BucketVersioningStatus, Delete, ObjectIdentifier, ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockMode,
    ObjectLockRetention, ObjectLockRetentionMode, VersioningConfiguration,
};
use testkit::LocalAws;
use testkit::clients::code;

use super::support::bucket;

#[tokio::test]
async fn a_locked_version_cannot_be_deleted() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let (name, key) = ("locked", "k");
    s3.create_bucket().bucket(name).object_lock_enabled_for_bucket(true).send().await.unwrap();
    let versioning = s3.get_bucket_versioning().bucket(name).send().await.unwrap();
    assert_eq!(versioning.status(), Some(&BucketVersioningStatus::Enabled));
    let off = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
    let suspended = s3.put_bucket_versioning().bucket(name).versioning_configuration(off).send().await;
    assert_eq!(code(suspended), "InvalidBucketState");

    let at = |days: u64| DateTime::from(std::time::SystemTime::now() + Duration::from_secs(days * 86_400));
    let put = s3.put_object().bucket(name).key(key).object_lock_mode(ObjectLockMode::Governance);
    let put = put.object_lock_retain_until_date(at(2)).send().await.unwrap();
    let id = put.version_id().unwrap().to_owned();
    let delete = || s3.delete_object().bucket(name).key(key).version_id(&id);
    let retain = |mode: ObjectLockRetentionMode, days: u64| {
        let retention = ObjectLockRetention::builder().mode(mode).retain_until_date(at(days)).build();
        s3.put_object_retention().bucket(name).key(key).version_id(&id).retention(retention)
    };
    assert_eq!(code(delete().send().await), "AccessDenied");
    let doomed = ObjectIdentifier::builder().key(key).version_id(&id).build().unwrap();
    let many = Delete::builder().objects(doomed).build().unwrap();
    let many = s3.delete_objects().bucket(name).delete(many).send().await.unwrap();
    assert_eq!(many.errors()[0].code(), Some("AccessDenied"));
    // A delete marker hides the object, and deletes nothing.
    let marker = s3.delete_object().bucket(name).key(key).send().await.unwrap();
    s3.delete_object().bucket(name).key(key).set_version_id(marker.version_id).send().await.unwrap();
    assert_eq!(code(retain(ObjectLockRetentionMode::Governance, 1).send().await), "AccessDenied");
    retain(ObjectLockRetentionMode::Governance, 3).send().await.unwrap();
    let bypass = retain(ObjectLockRetentionMode::Compliance, 4).bypass_governance_retention(true);
    bypass.send().await.unwrap();

    let aws = aws.restarted().await;
    let s3 = aws.s3();
    let delete = || s3.delete_object().bucket(name).key(key).version_id(&id);
    assert_eq!(code(delete().bypass_governance_retention(true).send().await), "AccessDenied");
    let shorter =
        ObjectLockRetention::builder().mode(ObjectLockRetentionMode::Compliance).retain_until_date(at(3)).build();
    let shorter = s3.put_object_retention().bucket(name).key(key).retention(shorter).bypass_governance_retention(true);
    assert_eq!(code(shorter.send().await), "AccessDenied");
    let head = s3.head_object().bucket(name).key(key).send().await.unwrap();
    assert_eq!(head.object_lock_mode().map(|mode| mode.as_str()), Some("COMPLIANCE"));

    let held = s3.put_object().bucket(name).key("held").send().await.unwrap();
    for (status, expected) in
        [(ObjectLockLegalHoldStatus::On, Some("AccessDenied")), (ObjectLockLegalHoldStatus::Off, None)]
    {
        let hold = ObjectLockLegalHold::builder().status(status.clone()).build();
        s3.put_object_legal_hold().bucket(name).key("held").legal_hold(hold).send().await.unwrap();
        let hold = s3.get_object_legal_hold().bucket(name).key("held").send().await.unwrap();
        assert_eq!(hold.legal_hold().unwrap().status(), Some(&status));
        let deleted = s3.delete_object().bucket(name).key("held").set_version_id(held.version_id.clone()).send().await;
        assert_eq!(deleted.err().and_then(|fault| fault.code().map(str::to_owned)).as_deref(), expected);
    }
    assert_eq!(code(s3.delete_bucket().bucket(name).send().await), "BucketNotEmpty");
    let plain = bucket(&s3).await;
    let hold = ObjectLockLegalHold::builder().status(ObjectLockLegalHoldStatus::On).build();
    s3.put_object().bucket(plain).key("k").send().await.unwrap();
    let refused = s3.put_object_legal_hold().bucket(plain).key("k").legal_hold(hold).send().await;
    assert_eq!(code(refused), "InvalidRequest");
    aws.stop().await;
}

#[tokio::test]
async fn versions_are_listed_page_by_page_while_they_are_deleted() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    s3.put_object().bucket(name).key("a").send().await.unwrap();
    s3.put_bucket_versioning().bucket(name).versioning_configuration(on).send().await.unwrap();
    for number in 0..9 {
        s3.put_object().bucket(name).key(["a", "b"][number % 2]).send().await.unwrap();
    }
    let (mut seen, mut key, mut version) = (0, None, None);
    loop {
        let page =
            s3.list_object_versions().bucket(name).max_keys(2).set_key_marker(key).set_version_id_marker(version);
        let page = page.send().await.unwrap();
        for one in page.versions() {
            seen += 1;
            let delete = s3.delete_object().bucket(name).set_key(one.key.clone());
            delete.set_version_id(one.version_id.clone()).send().await.unwrap();
        }
        (key, version) = (page.next_key_marker, page.next_version_id_marker);
        if key.is_none() {
            break;
        }
    }
    assert_eq!(seen, 10);
    for number in 0..5 {
        s3.create_multipart_upload().bucket(name).key(["a", "b"][number % 2]).send().await.unwrap();
    }
    let (mut seen, mut key, mut upload) = (0, None, None);
    loop {
        let page = s3.list_multipart_uploads().bucket(name).max_uploads(2).set_key_marker(key);
        let page = page.set_upload_id_marker(upload).send().await.unwrap();
        for one in page.uploads() {
            seen += 1;
            let abort = s3.abort_multipart_upload().bucket(name).set_key(one.key.clone());
            abort.set_upload_id(one.upload_id.clone()).send().await.unwrap();
        }
        (key, upload) = (page.next_key_marker, page.next_upload_id_marker);
        if key.is_none() {
            break;
        }
    }
    assert_eq!(seen, 5);
    s3.delete_bucket().bucket(name).send().await.unwrap();
    aws.stop().await;
}
