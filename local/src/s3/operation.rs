//! Every operation of S3: how it is recognised, which parameters and headers it reads, and what answers it.

use futures::future::BoxFuture;
use http::Method;

use super::S3;
use super::ask::Ask;
use crate::answer::{Refusal, Response};
use crate::call::Request;

/// The name of the operation, as in IAM policies and SDKs.
pub(crate) fn operation(request: &Request) -> &'static str {
    let fits = |row: &&Row, at: At| {
        row.method == request.method && row.at == at && (row.flag.is_empty() || request.has(row.flag))
    };
    let named = TABLE.iter().find(|row| fits(row, shape(request)));
    // Only what makes an object, or a part of one, makes it from another.
    let made = named.filter(|row| copies(request) && matches!(row.name, "PutObject" | "UploadPart"));
    let copied = made.and_then(|_| TABLE.iter().find(|row| fits(row, At::Copy)));
    match copied.or(named) {
        Some(row) => row.name,
        None if request.method == Method::OPTIONS => "Preflight",
        None => "UnknownOperation",
    }
}

fn copies(request: &Request) -> bool {
    request.headers.contains_key("x-amz-copy-source")
}

/// What the path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Root,
    Bucket,
    Object,
    /// An object that is made from another.
    Copy,
}

fn shape(request: &Request) -> At {
    match super::target(request) {
        (None, _) => At::Root,
        (Some(_), None) => At::Bucket,
        (Some(_), Some(_)) => At::Object,
    }
}

/// What answers an operation.
pub(super) type Run = for<'a> fn(&'a S3, &'a Ask<'a>) -> BoxFuture<'a, Result<Response, Refusal>>;

/// An operation.
pub(super) struct Row {
    method: Method,
    at: At,
    /// The parameter that identifies it; empty where there is none.
    pub flag: &'static str,
    pub name: &'static str,
    /// Of the parameters that mean something to S3, those that it reads.
    pub parameters: &'static [&'static str],
    /// Of the headers that begin with `x-amz-`, those that it reads beside those of every request.
    pub headers: &'static [&'static str],
    /// Nothing where the operation is refused by name.
    pub run: Option<Run>,
}

const fn row(
    method: Method,
    at: At,
    flag: &'static str,
    name: &'static str,
    parameters: &'static [&'static str],
    headers: &'static [&'static str],
    run: Option<Run>,
) -> Row {
    Row { method, at, flag, name, parameters, headers, run }
}

/// An operation that needs no time.
macro_rules! now {
    ($name:ident) => {
        |s3, ask| Box::pin(std::future::ready(s3.$name(ask)))
    };
}

/// An operation that reads or writes bytes, or notifies functions.
macro_rules! later {
    ($name:ident) => {
        |s3, ask| Box::pin(s3.$name(ask))
    };
}

/// What an upload may say of its object.
const WRITE: &[&str] = &[
    "x-amz-acl",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-server-side-encryption",
    "x-amz-storage-class",
    "x-amz-tagging",
    "x-amz-website-redirect-location",
];
const BEGIN: &[&str] = &[
    "x-amz-acl",
    "x-amz-checksum-algorithm",
    "x-amz-checksum-type",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-server-side-encryption",
    "x-amz-storage-class",
    "x-amz-tagging",
    "x-amz-website-redirect-location",
];
const COPY: &[&str] = &[
    "x-amz-acl",
    "x-amz-checksum-algorithm",
    "x-amz-copy-source",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-unmodified-since",
    "x-amz-metadata-directive",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-server-side-encryption",
    "x-amz-source-expected-bucket-owner",
    "x-amz-storage-class",
    "x-amz-tagging",
    "x-amz-tagging-directive",
    "x-amz-website-redirect-location",
];
const COPY_PART: &[&str] = &[
    "x-amz-copy-source",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-unmodified-since",
    "x-amz-copy-source-range",
    "x-amz-source-expected-bucket-owner",
];

/// The first row that fits; rows without a flag come last.
#[rustfmt::skip]
pub(super) const TABLE: &[Row] = &[
    row(Method::GET, At::Root, "", "ListBuckets", &["max-buckets", "continuation-token", "prefix", "bucket-region"], &[], Some(now!(list_buckets))),
    row(Method::PUT, At::Bucket, "accelerate", "PutBucketAccelerateConfiguration", &[], &[], Some(now!(put_setting))),
    row(Method::PUT, At::Bucket, "acl", "PutBucketAcl", &[], &["x-amz-acl", "x-amz-grant-full-control", "x-amz-grant-read", "x-amz-grant-read-acp", "x-amz-grant-write", "x-amz-grant-write-acp"], Some(now!(put_bucket_acl))),
    row(Method::PUT, At::Bucket, "analytics", "PutBucketAnalyticsConfiguration", &[], &[], None),
    row(Method::PUT, At::Bucket, "cors", "PutBucketCors", &[], &[], Some(now!(put_setting))),
    row(Method::PUT, At::Bucket, "encryption", "PutBucketEncryption", &[], &[], Some(now!(put_setting))),
    row(Method::PUT, At::Bucket, "intelligent-tiering", "PutBucketIntelligentTieringConfiguration", &[], &[], None),
    row(Method::PUT, At::Bucket, "inventory", "PutBucketInventoryConfiguration", &[], &[], None),
    row(Method::PUT, At::Bucket, "lifecycle", "PutBucketLifecycleConfiguration", &[], &["x-amz-transition-default-minimum-object-size"], Some(now!(put_setting))),
    row(Method::PUT, At::Bucket, "logging", "PutBucketLogging", &[], &[], Some(now!(put_setting))),
    row(Method::PUT, At::Bucket, "metrics", "PutBucketMetricsConfiguration", &[], &[], None),
    row(Method::PUT, At::Bucket, "notification", "PutBucketNotificationConfiguration", &[], &["x-amz-skip-destination-validation"], Some(later!(put_notifications))),
    row(Method::PUT, At::Bucket, "object-lock", "PutObjectLockConfiguration", &[], &[], Some(now!(put_lock))),
    row(Method::PUT, At::Bucket, "ownershipControls", "PutBucketOwnershipControls", &[], &[], Some(now!(put_setting))),
    row(Method::PUT, At::Bucket, "policy", "PutBucketPolicy", &[], &["x-amz-confirm-remove-self-bucket-access"], Some(now!(put_policy))),
    row(Method::PUT, At::Bucket, "publicAccessBlock", "PutPublicAccessBlock", &[], &[], Some(now!(put_setting))),
    row(Method::PUT, At::Bucket, "replication", "PutBucketReplication", &[], &[], Some(now!(put_setting))),
    row(Method::PUT, At::Bucket, "requestPayment", "PutBucketRequestPayment", &[], &[], Some(now!(put_setting))),
    row(Method::PUT, At::Bucket, "tagging", "PutBucketTagging", &[], &[], Some(now!(put_setting))),
    row(Method::PUT, At::Bucket, "versioning", "PutBucketVersioning", &[], &[], Some(now!(put_versioning))),
    row(Method::PUT, At::Bucket, "website", "PutBucketWebsite", &[], &[], Some(now!(put_setting))),
    row(Method::PUT, At::Bucket, "", "CreateBucket", &[], &["x-amz-acl", "x-amz-bucket-object-lock-enabled", "x-amz-object-ownership"], Some(now!(create_bucket))),
    row(Method::GET, At::Bucket, "accelerate", "GetBucketAccelerateConfiguration", &[], &[], Some(now!(get_setting))),
    row(Method::GET, At::Bucket, "acl", "GetBucketAcl", &[], &[], Some(now!(get_bucket_acl))),
    row(Method::GET, At::Bucket, "analytics", "GetBucketAnalyticsConfiguration", &["continuation-token", "id"], &[], Some(now!(get_report))),
    row(Method::GET, At::Bucket, "cors", "GetBucketCors", &[], &[], Some(now!(get_setting))),
    row(Method::GET, At::Bucket, "encryption", "GetBucketEncryption", &[], &[], Some(now!(get_setting))),
    row(Method::GET, At::Bucket, "intelligent-tiering", "GetBucketIntelligentTieringConfiguration", &["continuation-token", "id"], &[], Some(now!(get_report))),
    row(Method::GET, At::Bucket, "inventory", "GetBucketInventoryConfiguration", &["continuation-token", "id"], &[], Some(now!(get_report))),
    row(Method::GET, At::Bucket, "lifecycle", "GetBucketLifecycleConfiguration", &[], &[], Some(now!(get_setting))),
    row(Method::GET, At::Bucket, "location", "GetBucketLocation", &[], &[], Some(now!(get_location))),
    row(Method::GET, At::Bucket, "logging", "GetBucketLogging", &[], &[], Some(now!(get_setting))),
    row(Method::GET, At::Bucket, "metrics", "GetBucketMetricsConfiguration", &["continuation-token", "id"], &[], Some(now!(get_report))),
    row(Method::GET, At::Bucket, "notification", "GetBucketNotificationConfiguration", &[], &[], Some(now!(get_notifications))),
    row(Method::GET, At::Bucket, "object-lock", "GetObjectLockConfiguration", &[], &[], Some(now!(get_lock))),
    row(Method::GET, At::Bucket, "ownershipControls", "GetBucketOwnershipControls", &[], &[], Some(now!(get_setting))),
    row(Method::GET, At::Bucket, "policyStatus", "GetBucketPolicyStatus", &[], &[], Some(now!(get_policy_status))),
    row(Method::GET, At::Bucket, "policy", "GetBucketPolicy", &[], &[], Some(now!(get_policy))),
    row(Method::GET, At::Bucket, "publicAccessBlock", "GetPublicAccessBlock", &[], &[], Some(now!(get_setting))),
    row(Method::GET, At::Bucket, "replication", "GetBucketReplication", &[], &[], Some(now!(get_setting))),
    row(Method::GET, At::Bucket, "requestPayment", "GetBucketRequestPayment", &[], &[], Some(now!(get_setting))),
    row(Method::GET, At::Bucket, "tagging", "GetBucketTagging", &[], &[], Some(now!(get_setting))),
    row(Method::GET, At::Bucket, "uploads", "ListMultipartUploads", &["delimiter", "encoding-type", "prefix", "key-marker", "max-uploads", "upload-id-marker"], &[], Some(now!(list_uploads))),
    row(Method::GET, At::Bucket, "versioning", "GetBucketVersioning", &[], &[], Some(now!(get_versioning))),
    row(Method::GET, At::Bucket, "versions", "ListObjectVersions", &["delimiter", "encoding-type", "prefix", "key-marker", "max-keys", "version-id-marker"], &["x-amz-optional-object-attributes"], Some(now!(list_versions))),
    row(Method::GET, At::Bucket, "website", "GetBucketWebsite", &[], &[], Some(now!(get_setting))),
    row(Method::GET, At::Bucket, "list-type", "ListObjectsV2", &["delimiter", "encoding-type", "prefix", "continuation-token", "fetch-owner", "max-keys", "start-after"], &["x-amz-optional-object-attributes"], Some(now!(list_objects_v2))),
    row(Method::GET, At::Bucket, "", "ListObjects", &["delimiter", "encoding-type", "prefix", "marker", "max-keys"], &["x-amz-optional-object-attributes"], Some(now!(list_objects))),
    row(Method::HEAD, At::Bucket, "", "HeadBucket", &[], &[], Some(now!(head_bucket))),
    row(Method::POST, At::Bucket, "delete", "DeleteObjects", &[], &["x-amz-bypass-governance-retention"], Some(later!(delete_objects))),
    row(Method::POST, At::Bucket, "", "PostObject", &[], WRITE, Some(later!(put_object))),
    row(Method::DELETE, At::Bucket, "cors", "DeleteBucketCors", &[], &[], Some(now!(delete_setting))),
    row(Method::DELETE, At::Bucket, "encryption", "DeleteBucketEncryption", &[], &[], Some(now!(delete_setting))),
    row(Method::DELETE, At::Bucket, "lifecycle", "DeleteBucketLifecycle", &[], &[], Some(now!(delete_setting))),
    row(Method::DELETE, At::Bucket, "ownershipControls", "DeleteBucketOwnershipControls", &[], &[], Some(now!(delete_setting))),
    row(Method::DELETE, At::Bucket, "policy", "DeleteBucketPolicy", &[], &[], Some(now!(delete_policy))),
    row(Method::DELETE, At::Bucket, "publicAccessBlock", "DeletePublicAccessBlock", &[], &[], Some(now!(delete_setting))),
    row(Method::DELETE, At::Bucket, "replication", "DeleteBucketReplication", &[], &[], Some(now!(delete_setting))),
    row(Method::DELETE, At::Bucket, "tagging", "DeleteBucketTagging", &[], &[], Some(now!(delete_setting))),
    row(Method::DELETE, At::Bucket, "website", "DeleteBucketWebsite", &[], &[], Some(now!(delete_setting))),
    row(Method::DELETE, At::Bucket, "", "DeleteBucket", &[], &[], Some(now!(delete_bucket))),
    row(Method::PUT, At::Object, "acl", "PutObjectAcl", &["versionId"], &["x-amz-acl", "x-amz-grant-full-control", "x-amz-grant-read", "x-amz-grant-read-acp", "x-amz-grant-write", "x-amz-grant-write-acp"], Some(now!(put_object_acl))),
    row(Method::PUT, At::Object, "legal-hold", "PutObjectLegalHold", &["versionId"], &[], Some(now!(put_hold))),
    row(Method::PUT, At::Object, "retention", "PutObjectRetention", &["versionId"], &["x-amz-bypass-governance-retention"], Some(now!(put_retention))),
    row(Method::PUT, At::Object, "tagging", "PutObjectTagging", &["versionId"], &[], Some(now!(put_object_tagging))),
    row(Method::PUT, At::Object, "partNumber", "UploadPart", &["uploadId"], &[], Some(later!(put_part))),
    row(Method::PUT, At::Copy, "partNumber", "UploadPartCopy", &["uploadId"], COPY_PART, Some(later!(copy_part))),
    row(Method::PUT, At::Object, "", "PutObject", &[], WRITE, Some(later!(put_object))),
    row(Method::PUT, At::Copy, "", "CopyObject", &[], COPY, Some(later!(copy_object))),
    row(Method::GET, At::Object, "acl", "GetObjectAcl", &["versionId"], &[], Some(now!(get_object_acl))),
    row(Method::GET, At::Object, "attributes", "GetObjectAttributes", &["versionId"], &["x-amz-max-parts", "x-amz-object-attributes", "x-amz-part-number-marker"], Some(now!(get_attributes))),
    row(Method::GET, At::Object, "legal-hold", "GetObjectLegalHold", &["versionId"], &[], Some(now!(get_hold))),
    row(Method::GET, At::Object, "retention", "GetObjectRetention", &["versionId"], &[], Some(now!(get_retention))),
    row(Method::GET, At::Object, "tagging", "GetObjectTagging", &["versionId"], &[], Some(now!(get_object_tagging))),
    row(Method::GET, At::Object, "torrent", "GetObjectTorrent", &[], &[], None),
    row(Method::GET, At::Object, "uploadId", "ListParts", &["max-parts", "part-number-marker"], &[], Some(now!(list_parts))),
    row(Method::GET, At::Object, "", "GetObject", &["versionId", "partNumber", "response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language", "response-content-type", "response-expires"], &["x-amz-checksum-mode"], Some(later!(get_object))),
    row(Method::HEAD, At::Object, "", "HeadObject", &["versionId", "partNumber", "response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language", "response-content-type", "response-expires"], &["x-amz-checksum-mode"], Some(later!(get_object))),
    row(Method::POST, At::Object, "uploads", "CreateMultipartUpload", &[], BEGIN, Some(now!(begin_upload))),
    row(Method::POST, At::Object, "uploadId", "CompleteMultipartUpload", &[], &["x-amz-checksum-type", "x-amz-mp-object-size"], Some(later!(complete_upload))),
    row(Method::POST, At::Object, "restore", "RestoreObject", &[], &[], None),
    row(Method::POST, At::Object, "select", "SelectObjectContent", &[], &[], None),
    row(Method::DELETE, At::Object, "tagging", "DeleteObjectTagging", &["versionId"], &[], Some(now!(delete_object_tagging))),
    row(Method::DELETE, At::Object, "uploadId", "AbortMultipartUpload", &[], &[], Some(now!(abort_upload))),
    row(Method::DELETE, At::Object, "", "DeleteObject", &["versionId"], &["x-amz-bypass-governance-retention"], Some(later!(delete_object))),
];

/// The row of an operation.
pub(super) fn named(operation: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == operation)
}

/// Every operation that is answered.
#[cfg(test)]
pub(crate) fn operations() -> Vec<&'static str> {
    TABLE.iter().filter(|row| row.run.is_some()).map(|row| row.name).collect()
}
