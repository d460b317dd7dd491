//! Signature Version 2, which S3 still accepts in its oldest regions: the AWS CLI presigns with it in us-east-1.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use percent_encoding::percent_decode_str;
use sha1::Sha1;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::{SKEW, Words};
use crate::credentials::{Access, Identity};
use kit::answer::Refusal;
use kit::call::{Request, pairs};
use kit::s3_address;

/// The regions that are older than Version 4 (S3 API reference, "Authenticating Requests (AWS Signature Version 2)").
const REGIONS: &[&str] = &[
    "ap-northeast-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "eu-west-1",
    "sa-east-1",
    "us-east-1",
    "us-west-1",
    "us-west-2",
];

/// The query parameters that the signature covers (`QSAOfInterest` of botocore's `auth.py`).
const SIGNED: &[&str] = &[
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// The signature of a request and the values it was made with.
struct Signed {
    access_key: String,
    signature: String,
    /// The date in the string to sign: the `Date` header, nothing if there is `x-amz-date`, or the expiry time of a
    /// presigned URL.
    date: String,
    token: Option<String>,
}

/// Whether a request is signed with Version 2.
pub(super) fn is_signed(request: &Request) -> bool {
    let in_header = request.header("authorization").is_some_and(|text| text.starts_with("AWS "));
    in_header || (!request.headers.contains_key("authorization") && request.has("AWSAccessKeyId"))
}

/// Verifies the signature of `request`, and returns its caller.
pub(super) fn verify(
    request: &Request,
    access: &Access,
    region: &str,
    words: &Words,
    now: OffsetDateTime,
) -> Result<Identity, Refusal> {
    check_region(region)?;
    let signed = match request.header("authorization") {
        Some(text) => in_header(request, text, words, now)?,
        None => in_query(request, now)?,
    };
    let identity = access.identity(&signed.access_key).ok_or_else(|| words.unknown_key())?;
    super::check_session(&identity, signed.token.as_deref(), words, now)?;
    let text = string_to_sign(request, &signed.date);
    if mac(&identity.secret_key, &text) != signed.signature {
        return Err(words.mismatch());
    }
    Ok(identity)
}

pub(super) fn check_region(region: &str) -> Result<(), Refusal> {
    if REGIONS.contains(&region) { Ok(()) } else { Err(unsupported()) }
}

/// The error for signatures that are not supported, such as Version 2 in newer regions.
pub(super) fn unsupported() -> Refusal {
    let text = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
    Refusal::new(400, "InvalidRequest", text)
}

/// The signature of `text` with this key, in Base64.
pub(super) fn mac(secret_key: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret_key.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

fn in_header(request: &Request, text: &str, words: &Words, now: OffsetDateTime) -> Result<Signed, Refusal> {
    let (access_key, signature) =
        text.strip_prefix("AWS ").and_then(|rest| rest.trim().split_once(':')).ok_or_else(|| words.malformed())?;
    let sent = request.header("x-amz-date").or_else(|| request.header("date"));
    let date = sent.and_then(|text| OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok());
    let unusable = || {
        let text = "AWS authentication requires a valid Date or x-amz-date header";
        Refusal::new(403, "AccessDenied", text)
    };
    if (date.ok_or_else(unusable)? - now).abs() > SKEW {
        return Err(words.skewed());
    }
    let date = if request.headers.contains_key("x-amz-date") { "" } else { request.header("date").unwrap_or_default() };
    Ok(Signed {
        access_key: access_key.to_owned(),
        signature: signature.to_owned(),
        date: date.to_owned(),
        token: request.header("x-amz-security-token").map(str::to_owned),
    })
}

fn in_query(request: &Request, now: OffsetDateTime) -> Result<Signed, Refusal> {
    let denied = |text: String| Refusal::new(403, "AccessDenied", text);
    let parameter = |name: &str| request.parameter(name).filter(|value| !value.is_empty());
    let (Some(access_key), Some(signature), Some(date)) =
        (parameter("AWSAccessKeyId"), parameter("Signature"), parameter("Expires"))
    else {
        let text = "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters";
        return Err(denied(text.to_owned()));
    };
    let end = date.parse().ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let end = end.ok_or_else(|| denied(format!("Invalid date (should be seconds since epoch): {date}")))?;
    if end <= now {
        return Err(denied("Request has expired".to_owned()));
    }
    let token = request.header("x-amz-security-token").map(str::to_owned).or_else(|| parameter("x-amz-security-token"));
    Ok(Signed { access_key, signature, date, token })
}

/// The string to sign, which includes the sorted `x-amz-` headers, and the path with the signed parameters.
fn string_to_sign(request: &Request, date: &str) -> String {
    let or_parameter =
        |name: &str| request.header(name).map(str::to_owned).or_else(|| request.parameter(name)).unwrap_or_default();
    let in_headers = request.headers.keys().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    let in_query = pairs(&request.query).map(|(name, _)| name.to_ascii_lowercase());
    let mut names: Vec<String> =
        in_headers.into_iter().chain(in_query).filter(|name| name.starts_with("x-amz-")).collect();
    names.sort();
    names.dedup();
    let headers: String = names
        .iter()
        .map(|name| match request.headers.contains_key(name.as_str()) {
            true => format!("{name}:{}\n", super::header_text(request, name)),
            false => format!("{name}:{}\n", request.parameter(name).unwrap_or_default()),
        })
        .collect();
    format!(
        "{}\n{}\n{}\n{date}\n{headers}{}",
        request.method,
        or_parameter("content-md5"),
        or_parameter("content-type"),
        resource(request)
    )
}

fn resource(request: &Request) -> String {
    let in_host = match s3_address::target(request) {
        (Some(bucket), _) if s3_address::is_named_by_host(request) => format!("/{bucket}"),
        _ => String::new(),
    };
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let parts = request.query.split('&').map(|part| part.split_once('=').map_or((part, None), |(k, v)| (k, Some(v))));
    let mut signed: Vec<(String, Option<String>)> = parts
        .filter(|(name, _)| SIGNED.contains(name))
        .map(|(name, value)| (name.to_owned(), value.map(decoded)))
        .collect();
    signed.sort();
    let signed: Vec<String> =
        signed.into_iter().map(|(name, value)| value.map_or(name.clone(), |value| format!("{name}={value}"))).collect();
    let query = if signed.is_empty() { String::new() } else { format!("?{}", signed.join("&")) };
    // The path of a bucket is signed with a slash at its end.
    let end = if s3_address::target(request).1.is_none() && !request.path.ends_with('/') { "/" } else { "" };
    format!("{in_host}{}{end}{query}", request.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_documentation_are_signed_as_they_are_there() {
        // "Signing and Authenticating REST Requests", for the key wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY.
        let key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let request = |method: &str, path: &str, query: &str, headers: &[(&'static str, &str)]| Request {
            method: method.parse().unwrap(),
            path: path.into(),
            query: query.into(),
            headers: headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect(),
            body: bytes::Bytes::new(),
            upload: None,
        };
        let get = request("GET", "/awsexamplebucket1/photos/puppy.jpg", "", &[]);
        let text = string_to_sign(&get, "Tue, 27 Mar 2007 19:36:42 +0000");
        assert_eq!(text, "GET\n\n\nTue, 27 Mar 2007 19:36:42 +0000\n/awsexamplebucket1/photos/puppy.jpg");
        assert_eq!(mac(key, &text), "qgk2+6Sv9/oM7G3qLEjTH1a1l1g=");
        let put = [("content-type", "image/jpeg"), ("x-amz-meta-b", "2"), ("x-amz-date", "today"), ("x-other", "3")];
        let put =
            request("PUT", "/k", "uploadId=a%20b&x=1&acl", &[put.as_slice(), &[("host", "b.localhost:1")]].concat());
        let list = request("GET", "/b", "prefix=a&acl", &[]);
        assert_eq!(string_to_sign(&list, "1"), "GET\n\n\n1\n/b/?acl");
        assert_eq!(
            string_to_sign(&put, ""),
            "PUT\n\nimage/jpeg\n\nx-amz-date:today\nx-amz-meta-b:2\n/b/k?acl&uploadId=a b"
        );
    }
}
