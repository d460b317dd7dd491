//! The permissions that calls on buckets and objects need.

use super::{bucket_arn, copied, object_arn, target};
use kit::call::{Asked, Need, Needs, Request};

/// The action with the operation's own name, on the bucket or on the object.
pub(super) const BUCKET: Needs = Needs::Of(|asked| on_bucket(asked, &asked.call.operation));
pub(super) const OBJECT: Needs = Needs::Of(|asked| on_object(asked, &asked.call.operation));
pub(super) const ALL_BUCKETS: Needs = Needs::Of(|_| vec![Need::new("s3:ListAllMyBuckets", "arn:aws:s3:::*")]);
pub(super) const NEW_BUCKET: Needs = Needs::Of(new_bucket);
pub(super) const WRITE: Needs = Needs::Of(write);
pub(super) const COPY: Needs = Needs::Of(copy);
pub(super) const ATTRIBUTES: Needs = Needs::Of(attributes);

/// Actions with a separate action for a specific version of an object.
const OF_VERSIONS: &[(&str, &str)] = &[
    ("DeleteObject", "DeleteObjectVersion"),
    ("DeleteObjectTagging", "DeleteObjectVersionTagging"),
    ("GetObject", "GetObjectVersion"),
    ("GetObjectAcl", "GetObjectVersionAcl"),
    ("GetObjectAttributes", "GetObjectVersionAttributes"),
    ("GetObjectTagging", "GetObjectVersionTagging"),
    ("PutObjectAcl", "PutObjectVersionAcl"),
    ("PutObjectTagging", "PutObjectVersionTagging"),
];

/// The actions that creating a bucket needs besides its own, by the header that requires them.
const WITH_BUCKET: &[(&str, &str)] = &[
    ("x-amz-acl", "s3:PutBucketAcl"),
    ("x-amz-bucket-object-lock-enabled", "s3:PutBucketObjectLockConfiguration"),
    ("x-amz-bucket-object-lock-enabled", "s3:PutBucketVersioning"),
    ("x-amz-object-ownership", "s3:PutBucketOwnershipControls"),
];

/// The same for writing an object. A conditional write reveals what exists.
const WITH_OBJECT: &[(&str, &str)] = &[
    ("if-match", "s3:GetObject"),
    ("x-amz-acl", "s3:PutObjectAcl"),
    ("x-amz-object-lock-legal-hold", "s3:PutObjectLegalHold"),
    ("x-amz-object-lock-mode", "s3:PutObjectRetention"),
    ("x-amz-tagging", "s3:PutObjectTagging"),
];

/// A header, which may be in the query of a presigned request.
fn header(request: &Request, name: &str) -> Option<String> {
    request.header(name).map(str::to_owned).or_else(|| request.parameter(name))
}

fn with(request: &Request, and: &[(&str, &str)], resource: &str) -> Vec<Need> {
    let and = and.iter().filter(|(name, _)| header(request, name).is_some());
    and.map(|(_, action)| Need::new(*action, resource)).collect()
}

/// An action on the bucket of a request.
pub(super) fn on_bucket(asked: &Asked, action: &str) -> Vec<Need> {
    let request = asked.request;
    let parameter = |name: &str| request.parameter(name);
    let need = Need::new(format!("s3:{action}"), bucket_arn(&target(request).0.unwrap_or_default()));
    vec![
        need.knowing("s3:x-amz-acl", header(request, "x-amz-acl"))
            .knowing("s3:prefix", parameter("prefix"))
            .knowing("s3:delimiter", parameter("delimiter"))
            .knowing("s3:max-keys", parameter("max-keys")),
    ]
}

/// The element of a new bucket's tags.
const TAGS: &[u8] = b"<Tags>";

fn new_bucket(asked: &Asked) -> Vec<Need> {
    let namespace = header(asked.request, "x-amz-bucket-namespace");
    let create = on_bucket(asked, "CreateBucket").into_iter();
    let mut needs: Vec<Need> =
        create.map(|need| need.knowing("s3:x-amz-bucket-namespace", namespace.clone())).collect();
    // Giving it tags needs a permission of its own (docs/aws.md §2.5).
    if asked.request.body.windows(TAGS.len()).any(|part| part == TAGS) {
        needs.extend(on_bucket(asked, "TagResource"));
    }
    needs.extend(with(asked.request, WITH_BUCKET, &bucket_arn(&target(asked.request).0.unwrap_or_default())));
    needs
}

fn object_of(request: &Request) -> String {
    let (bucket, key) = target(request);
    object_arn(&bucket.unwrap_or_default(), &key.unwrap_or_default())
}

/// An action on the object of a request.
pub(super) fn on_object(asked: &Asked, action: &str) -> Vec<Need> {
    let request = asked.request;
    let known = |name: &str| header(request, name);
    vec![
        object_need(action, &object_of(request), request.parameter("versionId"))
            .knowing("s3:x-amz-acl", known("x-amz-acl"))
            .knowing("s3:x-amz-storage-class", known("x-amz-storage-class"))
            .knowing("s3:x-amz-server-side-encryption", known("x-amz-server-side-encryption")),
    ]
}

fn write(asked: &Asked) -> Vec<Need> {
    let mut needs = on_object(asked, "PutObject");
    needs.extend(with(asked.request, WITH_OBJECT, &object_of(asked.request)));
    needs
}

/// A copy also reads its source. An invalid source needs no permission here, because the operation refuses it.
fn copy(asked: &Asked) -> Vec<Need> {
    let source = copied(asked.request).ok();
    let read = source.map(|(bucket, key, version)| object_need("GetObject", &object_arn(&bucket, &key), version));
    write(asked).into_iter().chain(read).collect()
}

fn attributes(asked: &Asked) -> Vec<Need> {
    let mut needs = on_object(asked, "GetObjectAttributes");
    needs.extend(on_object(asked, "GetObject"));
    needs
}

/// The permission that an action on an object, or on one version of it, needs.
pub fn object_need(action: &str, arn: &str, version: Option<String>) -> Need {
    let of_version = OF_VERSIONS.iter().find(|(name, _)| *name == action).map_or(action, |(_, action)| action);
    match version {
        Some(version) => Need::new(format!("s3:{of_version}"), arn).knowing("s3:VersionId", Some(version)),
        None => Need::new(format!("s3:{action}"), arn),
    }
}
