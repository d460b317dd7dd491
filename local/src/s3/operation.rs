//! Which S3 operation a request is, by method, shape of the path and the query's flag.

use http::Method;

use crate::call::Request;

/// The name of the operation, as in IAM policies and SDKs.
pub(crate) fn operation(request: &Request) -> &'static str {
    let shape = shape(request);
    let named = TABLE.iter().find(|(method, at, flag, _)| {
        *method == request.method && *at == shape && (flag.is_empty() || request.has(flag))
    });
    match named {
        Some((_, _, "", "PutObject")) if copies(request) => "CopyObject",
        Some((_, _, _, "UploadPart")) if copies(request) => "UploadPartCopy",
        Some((_, _, _, name)) => name,
        None if request.method == Method::OPTIONS => "Preflight",
        None => "UnknownOperation",
    }
}

fn copies(request: &Request) -> bool {
    request.headers.contains_key("x-amz-copy-source")
}

/// What the path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Root,
    Bucket,
    Object,
}

fn shape(request: &Request) -> At {
    match super::target(request) {
        (None, _) => At::Root,
        (Some(_), None) => At::Bucket,
        (Some(_), Some(_)) => At::Object,
    }
}

/// The first row that fits; rows without a flag come last.
const TABLE: &[(Method, At, &str, &str)] = &[
    (Method::GET, At::Root, "", "ListBuckets"),
    (Method::PUT, At::Bucket, "accelerate", "PutBucketAccelerateConfiguration"),
    (Method::PUT, At::Bucket, "acl", "PutBucketAcl"),
    (Method::PUT, At::Bucket, "analytics", "PutBucketAnalyticsConfiguration"),
    (Method::PUT, At::Bucket, "cors", "PutBucketCors"),
    (Method::PUT, At::Bucket, "encryption", "PutBucketEncryption"),
    (Method::PUT, At::Bucket, "intelligent-tiering", "PutBucketIntelligentTieringConfiguration"),
    (Method::PUT, At::Bucket, "inventory", "PutBucketInventoryConfiguration"),
    (Method::PUT, At::Bucket, "lifecycle", "PutBucketLifecycleConfiguration"),
    (Method::PUT, At::Bucket, "logging", "PutBucketLogging"),
    (Method::PUT, At::Bucket, "metrics", "PutBucketMetricsConfiguration"),
    (Method::PUT, At::Bucket, "notification", "PutBucketNotificationConfiguration"),
    (Method::PUT, At::Bucket, "object-lock", "PutObjectLockConfiguration"),
    (Method::PUT, At::Bucket, "ownershipControls", "PutBucketOwnershipControls"),
    (Method::PUT, At::Bucket, "policy", "PutBucketPolicy"),
    (Method::PUT, At::Bucket, "publicAccessBlock", "PutPublicAccessBlock"),
    (Method::PUT, At::Bucket, "replication", "PutBucketReplication"),
    (Method::PUT, At::Bucket, "requestPayment", "PutBucketRequestPayment"),
    (Method::PUT, At::Bucket, "tagging", "PutBucketTagging"),
    (Method::PUT, At::Bucket, "versioning", "PutBucketVersioning"),
    (Method::PUT, At::Bucket, "website", "PutBucketWebsite"),
    (Method::PUT, At::Bucket, "", "CreateBucket"),
    (Method::GET, At::Bucket, "accelerate", "GetBucketAccelerateConfiguration"),
    (Method::GET, At::Bucket, "acl", "GetBucketAcl"),
    (Method::GET, At::Bucket, "analytics", "GetBucketAnalyticsConfiguration"),
    (Method::GET, At::Bucket, "cors", "GetBucketCors"),
    (Method::GET, At::Bucket, "encryption", "GetBucketEncryption"),
    (Method::GET, At::Bucket, "inventory", "GetBucketInventoryConfiguration"),
    (Method::GET, At::Bucket, "lifecycle", "GetBucketLifecycleConfiguration"),
    (Method::GET, At::Bucket, "location", "GetBucketLocation"),
    (Method::GET, At::Bucket, "logging", "GetBucketLogging"),
    (Method::GET, At::Bucket, "notification", "GetBucketNotificationConfiguration"),
    (Method::GET, At::Bucket, "object-lock", "GetObjectLockConfiguration"),
    (Method::GET, At::Bucket, "ownershipControls", "GetBucketOwnershipControls"),
    (Method::GET, At::Bucket, "policyStatus", "GetBucketPolicyStatus"),
    (Method::GET, At::Bucket, "policy", "GetBucketPolicy"),
    (Method::GET, At::Bucket, "publicAccessBlock", "GetPublicAccessBlock"),
    (Method::GET, At::Bucket, "replication", "GetBucketReplication"),
    (Method::GET, At::Bucket, "requestPayment", "GetBucketRequestPayment"),
    (Method::GET, At::Bucket, "tagging", "GetBucketTagging"),
    (Method::GET, At::Bucket, "uploads", "ListMultipartUploads"),
    (Method::GET, At::Bucket, "versioning", "GetBucketVersioning"),
    (Method::GET, At::Bucket, "versions", "ListObjectVersions"),
    (Method::GET, At::Bucket, "website", "GetBucketWebsite"),
    (Method::GET, At::Bucket, "list-type", "ListObjectsV2"),
    (Method::GET, At::Bucket, "", "ListObjects"),
    (Method::HEAD, At::Bucket, "", "HeadBucket"),
    (Method::POST, At::Bucket, "delete", "DeleteObjects"),
    (Method::POST, At::Bucket, "", "PostObject"),
    (Method::DELETE, At::Bucket, "cors", "DeleteBucketCors"),
    (Method::DELETE, At::Bucket, "encryption", "DeleteBucketEncryption"),
    (Method::DELETE, At::Bucket, "lifecycle", "DeleteBucketLifecycle"),
    (Method::DELETE, At::Bucket, "ownershipControls", "DeleteBucketOwnershipControls"),
    (Method::DELETE, At::Bucket, "policy", "DeleteBucketPolicy"),
    (Method::DELETE, At::Bucket, "publicAccessBlock", "DeletePublicAccessBlock"),
    (Method::DELETE, At::Bucket, "replication", "DeleteBucketReplication"),
    (Method::DELETE, At::Bucket, "tagging", "DeleteBucketTagging"),
    (Method::DELETE, At::Bucket, "website", "DeleteBucketWebsite"),
    (Method::DELETE, At::Bucket, "", "DeleteBucket"),
    (Method::PUT, At::Object, "acl", "PutObjectAcl"),
    (Method::PUT, At::Object, "legal-hold", "PutObjectLegalHold"),
    (Method::PUT, At::Object, "retention", "PutObjectRetention"),
    (Method::PUT, At::Object, "tagging", "PutObjectTagging"),
    (Method::PUT, At::Object, "partNumber", "UploadPart"),
    (Method::PUT, At::Object, "", "PutObject"),
    (Method::GET, At::Object, "acl", "GetObjectAcl"),
    (Method::GET, At::Object, "attributes", "GetObjectAttributes"),
    (Method::GET, At::Object, "legal-hold", "GetObjectLegalHold"),
    (Method::GET, At::Object, "retention", "GetObjectRetention"),
    (Method::GET, At::Object, "tagging", "GetObjectTagging"),
    (Method::GET, At::Object, "torrent", "GetObjectTorrent"),
    (Method::GET, At::Object, "uploadId", "ListParts"),
    (Method::GET, At::Object, "", "GetObject"),
    (Method::HEAD, At::Object, "", "HeadObject"),
    (Method::POST, At::Object, "uploads", "CreateMultipartUpload"),
    (Method::POST, At::Object, "uploadId", "CompleteMultipartUpload"),
    (Method::POST, At::Object, "restore", "RestoreObject"),
    (Method::POST, At::Object, "select", "SelectObjectContent"),
    (Method::DELETE, At::Object, "tagging", "DeleteObjectTagging"),
    (Method::DELETE, At::Object, "uploadId", "AbortMultipartUpload"),
    (Method::DELETE, At::Object, "", "DeleteObject"),
];

/// Every operation that is answered.
#[cfg(test)]
pub(crate) fn operations() -> Vec<&'static str> {
    let named = TABLE.iter().map(|(_, _, _, name)| *name);
    named.chain(["CopyObject", "UploadPartCopy"]).filter(|name| is_there(name)).collect()
}

/// Whether the server has the operation; the others are refused by name.
pub(crate) fn is_there(operation: &str) -> bool {
    const ABSENT: &[&str] = &[
        "GetBucketAnalyticsConfiguration",
        "GetBucketInventoryConfiguration",
        "GetObjectAttributes",
        "GetObjectTorrent",
        "PostObject",
        "PutBucketAnalyticsConfiguration",
        "PutBucketIntelligentTieringConfiguration",
        "PutBucketInventoryConfiguration",
        "PutBucketMetricsConfiguration",
        "RestoreObject",
        "SelectObjectContent",
        "UnknownOperation",
    ];
    !ABSENT.contains(&operation)
}
