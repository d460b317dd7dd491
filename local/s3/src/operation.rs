//! Every operation of S3: how it is identified, the permissions it needs, the parameters and headers it reads, and its
//! handler.

use futures::future::BoxFuture;
use http::Method;

use super::request::S3Request;
use super::{S3, needs};
use kit::answer::{Refusal, Response};
use kit::call::Effect::{Reads, Writes};
use kit::call::{Effect, Needs, Operation, Pagination, Request, Row, Rows};
use kit::parameters::ANYTHING;

/// The name of the operation that a request calls, and its row if it is implemented.
pub fn identify(request: &Request) -> (&'static str, Option<&'static Row>) {
    let fits = |row: &&S3Operation, at: At| {
        row.method == request.method && row.at == at && (row.flag.is_empty() || request.has(row.flag))
    };
    let named = TABLE.iter().find(|row| fits(row, shape(request)));
    // Only operations that create an object or a part can copy it from another object.
    let made = named.filter(|row| copies(request) && matches!(row.name, "PutObject" | "UploadPart"));
    let copied = made.and_then(|_| TABLE.iter().find(|row| fits(row, At::Copy)));
    match copied.or(named) {
        Some(row) => (row.name, row.answered.as_ref().map(|answered| &answered.row)),
        None if request.method == Method::OPTIONS => ("Preflight", None),
        None => ("UnknownOperation", None),
    }
}

fn copies(request: &Request) -> bool {
    request.headers.contains_key("x-amz-copy-source")
}

/// The kind of resource that the path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Root,
    Bucket,
    Object,
    /// An object that is copied from another.
    Copy,
}

fn shape(request: &Request) -> At {
    match super::target(request) {
        (None, _) => At::Root,
        (Some(_), None) => At::Bucket,
        (Some(_), Some(_)) => At::Object,
    }
}

/// The handler of an operation.
pub(super) type Run = for<'a> fn(&'a S3, &'a S3Request<'a>) -> BoxFuture<'a, Result<Response, Refusal>>;

/// An operation.
pub(super) struct S3Operation {
    method: Method,
    at: At,
    /// The parameter that identifies it; empty if there is none.
    pub flag: &'static str,
    pub name: &'static str,
    /// The parameters it reads, of those that have a meaning on S3.
    pub parameters: &'static [&'static str],
    /// The headers it reads, of those that begin with `x-amz-`, besides those that every request may have.
    pub headers: &'static [&'static str],
    /// `None` if the operation is refused by name.
    pub answered: Option<Operation<Run>>,
}

#[expect(clippy::too_many_arguments, reason = "a row says all of it")]
const fn row(
    method: Method,
    at: At,
    flag: &'static str,
    name: &'static str,
    effect: Effect,
    needs: Needs,
    page: Option<Pagination>,
    parameters: &'static [&'static str],
    headers: &'static [&'static str],
    run: Run,
) -> S3Operation {
    // `parameters` and `headers` of the row restrict the input instead.
    let answered = Some(Operation::new(name, effect, needs, page, ANYTHING, run));
    S3Operation { method, at, flag, name, parameters, headers, answered }
}

const fn refused(method: Method, at: At, flag: &'static str, name: &'static str) -> S3Operation {
    S3Operation { method, at, flag, name, parameters: &[], headers: &[], answered: None }
}

/// An action on the bucket whose name differs from that of the operation.
macro_rules! bucket {
    ($action:literal) => {
        Needs::Of(|asked| needs::on_bucket(asked, $action))
    };
}

/// The same on the object.
macro_rules! object {
    ($action:literal) => {
        Needs::Of(|asked| needs::on_object(asked, $action))
    };
}

/// A synchronous handler.
macro_rules! now {
    ($name:ident) => {
        |s3, request| Box::pin(std::future::ready(s3.$name(request)))
    };
}

/// An asynchronous handler: it reads or writes bytes.
macro_rules! later {
    ($name:ident) => {
        |s3, request| Box::pin(s3.$name(request))
    };
}

/// The headers with which an upload describes its object.
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

/// All operations. A request calls the first one that matches it, so those without a flag come after those with one.
#[rustfmt::skip]
pub(super) const TABLE: &[S3Operation] = &[
    row(Method::GET, At::Root, "", "ListBuckets", Reads, needs::ALL_BUCKETS, Some(Pagination::Own("max-buckets")), &["max-buckets", "continuation-token", "prefix", "bucket-region"], &[], now!(list_buckets)),
    row(Method::PUT, At::Bucket, "accelerate", "PutBucketAccelerateConfiguration", Writes, bucket!("PutAccelerateConfiguration"), None, &[], &[], now!(put_setting)),
    row(Method::PUT, At::Bucket, "acl", "PutBucketAcl", Writes, needs::BUCKET, None, &[], &["x-amz-acl", "x-amz-grant-full-control", "x-amz-grant-read", "x-amz-grant-read-acp", "x-amz-grant-write", "x-amz-grant-write-acp"], now!(put_bucket_acl)),
    refused(Method::PUT, At::Bucket, "analytics", "PutBucketAnalyticsConfiguration"),
    row(Method::PUT, At::Bucket, "cors", "PutBucketCors", Writes, bucket!("PutBucketCORS"), None, &[], &[], now!(put_setting)),
    row(Method::PUT, At::Bucket, "encryption", "PutBucketEncryption", Writes, bucket!("PutEncryptionConfiguration"), None, &[], &[], now!(put_setting)),
    refused(Method::PUT, At::Bucket, "intelligent-tiering", "PutBucketIntelligentTieringConfiguration"),
    refused(Method::PUT, At::Bucket, "inventory", "PutBucketInventoryConfiguration"),
    row(Method::PUT, At::Bucket, "lifecycle", "PutBucketLifecycleConfiguration", Writes, bucket!("PutLifecycleConfiguration"), None, &[], &["x-amz-transition-default-minimum-object-size"], now!(put_setting)),
    row(Method::PUT, At::Bucket, "logging", "PutBucketLogging", Writes, needs::BUCKET, None, &[], &[], now!(put_setting)),
    refused(Method::PUT, At::Bucket, "metrics", "PutBucketMetricsConfiguration"),
    row(Method::PUT, At::Bucket, "notification", "PutBucketNotificationConfiguration", Writes, bucket!("PutBucketNotification"), None, &[], &["x-amz-skip-destination-validation"], now!(put_notifications)),
    row(Method::PUT, At::Bucket, "object-lock", "PutObjectLockConfiguration", Writes, bucket!("PutBucketObjectLockConfiguration"), None, &[], &[], now!(put_lock)),
    row(Method::PUT, At::Bucket, "ownershipControls", "PutBucketOwnershipControls", Writes, needs::BUCKET, None, &[], &[], now!(put_setting)),
    row(Method::PUT, At::Bucket, "policy", "PutBucketPolicy", Writes, needs::BUCKET, None, &[], &["x-amz-confirm-remove-self-bucket-access"], now!(put_policy)),
    row(Method::PUT, At::Bucket, "publicAccessBlock", "PutPublicAccessBlock", Writes, bucket!("PutBucketPublicAccessBlock"), None, &[], &[], now!(put_setting)),
    row(Method::PUT, At::Bucket, "replication", "PutBucketReplication", Writes, bucket!("PutReplicationConfiguration"), None, &[], &[], now!(put_setting)),
    row(Method::PUT, At::Bucket, "requestPayment", "PutBucketRequestPayment", Writes, needs::BUCKET, None, &[], &[], now!(put_setting)),
    row(Method::PUT, At::Bucket, "tagging", "PutBucketTagging", Writes, needs::BUCKET, None, &[], &[], now!(put_setting)),
    row(Method::PUT, At::Bucket, "versioning", "PutBucketVersioning", Writes, needs::BUCKET, None, &[], &[], now!(put_versioning)),
    row(Method::PUT, At::Bucket, "website", "PutBucketWebsite", Writes, needs::BUCKET, None, &[], &[], now!(put_setting)),
    row(Method::PUT, At::Bucket, "", "CreateBucket", Writes, needs::NEW_BUCKET, None, &[], &["x-amz-acl", "x-amz-bucket-namespace", "x-amz-bucket-object-lock-enabled", "x-amz-object-ownership"], now!(create_bucket)),
    row(Method::GET, At::Bucket, "accelerate", "GetBucketAccelerateConfiguration", Reads, bucket!("GetAccelerateConfiguration"), None, &[], &[], now!(get_setting)),
    row(Method::GET, At::Bucket, "acl", "GetBucketAcl", Reads, needs::BUCKET, None, &[], &[], now!(get_bucket_acl)),
    row(Method::GET, At::Bucket, "analytics", "GetBucketAnalyticsConfiguration", Reads, bucket!("GetAnalyticsConfiguration"), None, &["continuation-token", "id"], &[], now!(get_report)),
    row(Method::GET, At::Bucket, "cors", "GetBucketCors", Reads, bucket!("GetBucketCORS"), None, &[], &[], now!(get_setting)),
    row(Method::GET, At::Bucket, "encryption", "GetBucketEncryption", Reads, bucket!("GetEncryptionConfiguration"), None, &[], &[], now!(get_setting)),
    row(Method::GET, At::Bucket, "intelligent-tiering", "GetBucketIntelligentTieringConfiguration", Reads, bucket!("GetIntelligentTieringConfiguration"), None, &["continuation-token", "id"], &[], now!(get_report)),
    row(Method::GET, At::Bucket, "inventory", "GetBucketInventoryConfiguration", Reads, bucket!("GetInventoryConfiguration"), None, &["continuation-token", "id"], &[], now!(get_report)),
    row(Method::GET, At::Bucket, "lifecycle", "GetBucketLifecycleConfiguration", Reads, bucket!("GetLifecycleConfiguration"), None, &[], &[], now!(get_setting)),
    row(Method::GET, At::Bucket, "location", "GetBucketLocation", Reads, needs::BUCKET, None, &[], &[], now!(get_location)),
    row(Method::GET, At::Bucket, "logging", "GetBucketLogging", Reads, needs::BUCKET, None, &[], &[], now!(get_setting)),
    row(Method::GET, At::Bucket, "metrics", "GetBucketMetricsConfiguration", Reads, bucket!("GetMetricsConfiguration"), None, &["continuation-token", "id"], &[], now!(get_report)),
    row(Method::GET, At::Bucket, "notification", "GetBucketNotificationConfiguration", Reads, bucket!("GetBucketNotification"), None, &[], &[], now!(get_notifications)),
    row(Method::GET, At::Bucket, "object-lock", "GetObjectLockConfiguration", Reads, bucket!("GetBucketObjectLockConfiguration"), None, &[], &[], now!(get_lock)),
    row(Method::GET, At::Bucket, "ownershipControls", "GetBucketOwnershipControls", Reads, needs::BUCKET, None, &[], &[], now!(get_setting)),
    row(Method::GET, At::Bucket, "policyStatus", "GetBucketPolicyStatus", Reads, needs::BUCKET, None, &[], &[], now!(get_policy_status)),
    row(Method::GET, At::Bucket, "policy", "GetBucketPolicy", Reads, needs::BUCKET, None, &[], &[], now!(get_policy)),
    row(Method::GET, At::Bucket, "publicAccessBlock", "GetPublicAccessBlock", Reads, bucket!("GetBucketPublicAccessBlock"), None, &[], &[], now!(get_setting)),
    row(Method::GET, At::Bucket, "replication", "GetBucketReplication", Reads, bucket!("GetReplicationConfiguration"), None, &[], &[], now!(get_setting)),
    row(Method::GET, At::Bucket, "requestPayment", "GetBucketRequestPayment", Reads, needs::BUCKET, None, &[], &[], now!(get_setting)),
    row(Method::GET, At::Bucket, "tagging", "GetBucketTagging", Reads, needs::BUCKET, None, &[], &[], now!(get_setting)),
    row(Method::GET, At::Bucket, "uploads", "ListMultipartUploads", Reads, bucket!("ListBucketMultipartUploads"), Some(Pagination::Own("max-uploads")), &["delimiter", "encoding-type", "prefix", "key-marker", "max-uploads", "upload-id-marker"], &[], now!(list_uploads)),
    row(Method::GET, At::Bucket, "versioning", "GetBucketVersioning", Reads, needs::BUCKET, None, &[], &[], now!(get_versioning)),
    row(Method::GET, At::Bucket, "versions", "ListObjectVersions", Reads, bucket!("ListBucketVersions"), Some(Pagination::Own("max-keys")), &["delimiter", "encoding-type", "prefix", "key-marker", "max-keys", "version-id-marker"], &["x-amz-optional-object-attributes"], now!(list_versions)),
    row(Method::GET, At::Bucket, "website", "GetBucketWebsite", Reads, needs::BUCKET, None, &[], &[], now!(get_setting)),
    row(Method::GET, At::Bucket, "list-type", "ListObjectsV2", Reads, bucket!("ListBucket"), Some(Pagination::Own("max-keys")), &["delimiter", "encoding-type", "prefix", "continuation-token", "fetch-owner", "max-keys", "start-after"], &["x-amz-optional-object-attributes"], now!(list_objects_v2)),
    row(Method::GET, At::Bucket, "", "ListObjects", Reads, bucket!("ListBucket"), Some(Pagination::Own("max-keys")), &["delimiter", "encoding-type", "prefix", "marker", "max-keys"], &["x-amz-optional-object-attributes"], now!(list_objects)),
    row(Method::HEAD, At::Bucket, "", "HeadBucket", Reads, bucket!("ListBucket"), None, &[], &[], now!(head_bucket)),
    // Each key has its own permission and result.
    row(Method::POST, At::Bucket, "delete", "DeleteObjects", Writes, Needs::Nothing, None, &[], &["x-amz-bypass-governance-retention"], now!(delete_objects)),
    row(Method::POST, At::Bucket, "", "PostObject", Writes, needs::WRITE, None, &[], WRITE, later!(put_object)),
    row(Method::DELETE, At::Bucket, "cors", "DeleteBucketCors", Writes, bucket!("PutBucketCORS"), None, &[], &[], now!(delete_setting)),
    row(Method::DELETE, At::Bucket, "encryption", "DeleteBucketEncryption", Writes, bucket!("PutEncryptionConfiguration"), None, &[], &[], now!(delete_setting)),
    row(Method::DELETE, At::Bucket, "lifecycle", "DeleteBucketLifecycle", Writes, bucket!("PutLifecycleConfiguration"), None, &[], &[], now!(delete_setting)),
    row(Method::DELETE, At::Bucket, "ownershipControls", "DeleteBucketOwnershipControls", Writes, bucket!("PutBucketOwnershipControls"), None, &[], &[], now!(delete_setting)),
    row(Method::DELETE, At::Bucket, "policy", "DeleteBucketPolicy", Writes, needs::BUCKET, None, &[], &[], now!(delete_policy)),
    row(Method::DELETE, At::Bucket, "publicAccessBlock", "DeletePublicAccessBlock", Writes, bucket!("PutBucketPublicAccessBlock"), None, &[], &[], now!(delete_setting)),
    row(Method::DELETE, At::Bucket, "replication", "DeleteBucketReplication", Writes, bucket!("PutReplicationConfiguration"), None, &[], &[], now!(delete_setting)),
    row(Method::DELETE, At::Bucket, "tagging", "DeleteBucketTagging", Writes, bucket!("PutBucketTagging"), None, &[], &[], now!(delete_setting)),
    row(Method::DELETE, At::Bucket, "website", "DeleteBucketWebsite", Writes, needs::BUCKET, None, &[], &[], now!(delete_setting)),
    row(Method::DELETE, At::Bucket, "", "DeleteBucket", Writes, needs::BUCKET, None, &[], &[], now!(delete_bucket)),
    row(Method::PUT, At::Object, "acl", "PutObjectAcl", Writes, needs::OBJECT, None, &["versionId"], &["x-amz-acl", "x-amz-grant-full-control", "x-amz-grant-read", "x-amz-grant-read-acp", "x-amz-grant-write", "x-amz-grant-write-acp"], now!(put_object_acl)),
    row(Method::PUT, At::Object, "legal-hold", "PutObjectLegalHold", Writes, needs::OBJECT, None, &["versionId"], &[], now!(put_hold)),
    row(Method::PUT, At::Object, "retention", "PutObjectRetention", Writes, needs::OBJECT, None, &["versionId"], &["x-amz-bypass-governance-retention"], now!(put_retention)),
    row(Method::PUT, At::Object, "tagging", "PutObjectTagging", Writes, needs::OBJECT, None, &["versionId"], &[], now!(put_object_tagging)),
    row(Method::PUT, At::Object, "partNumber", "UploadPart", Writes, needs::WRITE, None, &["uploadId"], &[], later!(put_part)),
    row(Method::PUT, At::Copy, "partNumber", "UploadPartCopy", Writes, needs::COPY, None, &["uploadId"], COPY_PART, later!(copy_part)),
    row(Method::PUT, At::Object, "", "PutObject", Writes, needs::WRITE, None, &[], WRITE, later!(put_object)),
    row(Method::PUT, At::Copy, "", "CopyObject", Writes, needs::COPY, None, &[], COPY, later!(copy_object)),
    row(Method::GET, At::Object, "acl", "GetObjectAcl", Reads, needs::OBJECT, None, &["versionId"], &[], now!(get_object_acl)),
    row(Method::GET, At::Object, "attributes", "GetObjectAttributes", Reads, needs::ATTRIBUTES, None, &["versionId"], &["x-amz-max-parts", "x-amz-object-attributes", "x-amz-part-number-marker"], now!(get_attributes)),
    row(Method::GET, At::Object, "legal-hold", "GetObjectLegalHold", Reads, needs::OBJECT, None, &["versionId"], &[], now!(get_hold)),
    row(Method::GET, At::Object, "retention", "GetObjectRetention", Reads, needs::OBJECT, None, &["versionId"], &[], now!(get_retention)),
    row(Method::GET, At::Object, "tagging", "GetObjectTagging", Reads, needs::OBJECT, None, &["versionId"], &[], now!(get_object_tagging)),
    refused(Method::GET, At::Object, "torrent", "GetObjectTorrent"),
    row(Method::GET, At::Object, "uploadId", "ListParts", Reads, object!("ListMultipartUploadParts"), Some(Pagination::Own("max-parts")), &["max-parts", "part-number-marker"], &[], now!(list_parts)),
    row(Method::GET, At::Object, "", "GetObject", Reads, needs::OBJECT, None, &["versionId", "partNumber", "response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language", "response-content-type", "response-expires"], &["x-amz-checksum-mode"], later!(get_object)),
    row(Method::HEAD, At::Object, "", "HeadObject", Reads, object!("GetObject"), None, &["versionId", "partNumber", "response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language", "response-content-type", "response-expires"], &["x-amz-checksum-mode"], later!(get_object)),
    row(Method::POST, At::Object, "uploads", "CreateMultipartUpload", Writes, needs::WRITE, None, &[], BEGIN, now!(begin_upload)),
    row(Method::POST, At::Object, "uploadId", "CompleteMultipartUpload", Writes, needs::WRITE, None, &[], &["x-amz-checksum-type", "x-amz-mp-object-size"], later!(complete_upload)),
    refused(Method::POST, At::Object, "restore", "RestoreObject"),
    refused(Method::POST, At::Object, "select", "SelectObjectContent"),
    row(Method::DELETE, At::Object, "tagging", "DeleteObjectTagging", Writes, needs::OBJECT, None, &["versionId"], &[], now!(delete_object_tagging)),
    row(Method::DELETE, At::Object, "uploadId", "AbortMultipartUpload", Writes, needs::OBJECT, None, &[], &[], now!(abort_upload)),
    row(Method::DELETE, At::Object, "", "DeleteObject", Writes, needs::OBJECT, None, &["versionId"], &["x-amz-bypass-governance-retention"], now!(delete_object)),
];

/// The row of an operation.
pub(super) fn named(operation: &str) -> Option<&'static S3Operation> {
    TABLE.iter().find(|row| row.name == operation)
}

/// The rows of all implemented operations.
pub fn rows() -> Rows {
    Box::new(TABLE.iter().filter_map(|row| row.answered.as_ref()).map(|answered| &answered.row))
}
