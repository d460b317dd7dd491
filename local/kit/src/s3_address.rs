//! How S3 requests and policies name buckets and objects.

use percent_encoding::percent_decode_str;

use crate::answer::Refusal;
use crate::call::Request;

/// A bucket's ARN in policies.
pub fn bucket_arn(bucket: &str) -> String {
    format!("arn:aws:s3:::{bucket}")
}

/// An object's ARN in policies.
pub fn object_arn(bucket: &str, key: &str) -> String {
    format!("arn:aws:s3:::{bucket}/{key}")
}

/// Returns the bucket and the key of a path-style or virtual-hosted-style request; the latter uses a subdomain of
/// localhost.
pub fn target(request: &Request) -> (Option<String>, Option<String>) {
    let path = request.path.strip_prefix('/').unwrap_or(&request.path);
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let some = |text: &str| (!text.is_empty()).then(|| decoded(text));
    if let Some(bucket) = request.header("host").and_then(bucket_of_host) {
        return (Some(bucket.to_owned()), some(path));
    }
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    (some(bucket), some(key))
}

/// Whether the request is virtual-hosted-style: the host name contains the bucket.
pub fn is_named_by_host(request: &Request) -> bool {
    request.header("host").and_then(bucket_of_host).is_some()
}

fn bucket_of_host(host: &str) -> Option<&str> {
    let name = host.split(':').next()?;
    name.strip_suffix(".s3.localhost").or_else(|| name.strip_suffix(".localhost")).filter(|name| *name != "s3")
}

/// Parses the bucket, key and version to copy from. Unlike other values, they may be sent unencoded.
pub fn copied(request: &Request) -> Result<(String, String, Option<String>), Refusal> {
    let refused = || Refusal::new(400, "InvalidArgument", "x-amz-copy-source is malformed");
    let source = request.headers.get("x-amz-copy-source").ok_or_else(refused)?;
    let source = std::str::from_utf8(source.as_bytes()).map_err(|_| refused())?;
    let (path, version) = match source.split_once("?versionId=") {
        Some((path, version)) => (path, Some(version.to_owned())),
        None => (source, None),
    };
    let decoded = percent_decode_str(path).decode_utf8().map_err(|_| refused())?;
    if decoded.starts_with("arn:") {
        let text = "A header you provided implies functionality that the local AWS does not have: an access point as \
                    x-amz-copy-source";
        return Err(Refusal::new(501, "NotImplemented", text));
    }
    let (bucket, key) = decoded.strip_prefix('/').unwrap_or(&decoded).split_once('/').ok_or_else(refused)?;
    if key.is_empty() {
        return Err(refused());
    }
    Ok((bucket.to_owned(), key.to_owned(), version))
}
