//! The body of a request, decoded and verified.

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue};

use super::checksum::{Checksum, check_md5, without_checksum};
use crate::answer::Refusal;
use crate::call::Request;
use crate::chunked::{Chunked, TRAILER_SIGNATURE, incomplete};

/// Operations whose documents S3 takes only with `Content-MD5` or another checksum (docs/aws.md §4.3).
const CHECKSUM_REQUIRED: &[&str] = &[
    "DeleteObjects",
    "PutBucketCors",
    "PutBucketLifecycleConfiguration",
    "PutBucketReplication",
    "PutBucketTagging",
    "PutObjectLegalHold",
    "PutObjectLockConfiguration",
    "PutObjectRetention",
    "PutObjectTagging",
];

/// The request without `aws-chunked`: its trailers are headers. Announced lengths and checksums are those of the body.
pub(super) fn whole(operation: &str, request: &Request) -> Result<Request, Refusal> {
    let chunked = request.header("x-amz-content-sha256").is_some_and(|announced| announced.starts_with("STREAMING-"));
    let whole = if chunked { unchunk(request)? } else { request.clone() };
    check_md5(&whole, &whole.body)?;
    if CHECKSUM_REQUIRED.contains(&operation) && whole.header("content-md5").is_none() {
        Checksum::announced(&whole)?.ok_or_else(without_checksum)?;
    }
    // What completes an upload announces the checksum of the object rather than that of its own body.
    if operation != "CompleteMultipartUpload"
        && let Some(checksum) = Checksum::announced(&whole)?
    {
        checksum.check(&whole.body)?;
    }
    Ok(whole)
}

fn unchunk(request: &Request) -> Result<Request, Refusal> {
    let read = Chunked::read(&request.body)?;
    let Some(length) = request.header("x-amz-decoded-content-length") else {
        return Err(Refusal::new(411, "MissingContentLength", "You must provide the Content-Length HTTP header."));
    };
    if length.parse() != Ok(read.length()) {
        return Err(incomplete());
    }
    let mut whole = Request { body: joined(&read), ..request.clone() };
    add_trailers(&mut whole, &read.trailers)?;
    Ok(whole)
}

fn joined(read: &Chunked) -> Bytes {
    let mut body = BytesMut::with_capacity(read.length());
    read.chunks.iter().for_each(|chunk| body.extend_from_slice(chunk.bytes));
    body.freeze()
}

/// The trailers that a header announces, all of them and no others.
fn add_trailers(whole: &mut Request, trailers: &[(&str, &str)]) -> Result<(), Refusal> {
    let announced = whole.header("x-amz-trailer").unwrap_or_default().to_ascii_lowercase();
    let mut missing: Vec<&str> = announced.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    for (name, value) in trailers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(TRAILER_SIGNATURE)) {
        let name = HeaderName::try_from(*name).map_err(|_| malformed_trailer())?;
        let at = missing.iter().position(|missing| *missing == name.as_str()).ok_or_else(malformed_trailer)?;
        missing.swap_remove(at);
        let value = HeaderValue::from_str(value).map_err(|_| malformed_trailer())?;
        whole.headers.insert(name, value);
    }
    if missing.is_empty() { Ok(()) } else { Err(malformed_trailer()) }
}

fn malformed_trailer() -> Refusal {
    let text =
        "The request contained trailing data that was not well-formed or did not conform to our published schema.";
    Refusal::new(400, "MalformedTrailerError", text)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;

    const TEXT: &str = "Wikipedia";

    /// Checksums of the text, as Python computes them.
    const CHECKSUMS: &[(&str, &str)] = &[
        ("x-amz-checksum-crc32", "rarALg=="),
        ("x-amz-checksum-crc32c", "LQ42Yw=="),
        ("x-amz-checksum-crc64nvme", "6D8X39ZGO3g="),
        ("x-amz-checksum-sha1", "ZkrdQ4CX+9Qwf4FN6OYqEPiQVYg="),
        ("x-amz-checksum-sha256", "04s4ot1HbgRcKZ6O5dZGaDRFbZe9WSpxdGtCOmoF84Y="),
        ("content-md5", "nGdyhoZqrTj46bZg9UEYFA=="),
    ];

    fn request(body: &str, headers: &[(&str, &str)], query: &str) -> Request {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let body = Bytes::copy_from_slice(body.as_bytes());
        Request { method: Method::PUT, path: "/b/k".into(), query: query.into(), headers: map, body }
    }

    fn code(request: &Request) -> String {
        whole("PutObject", request).err().map_or_else(|| "none".to_owned(), |refusal| refusal.code)
    }

    #[test]
    fn every_checksum_detects_an_altered_byte() {
        for (name, value) in CHECKSUMS {
            assert_eq!(code(&request(TEXT, &[(name, value)], "")), "none", "{name}");
            assert_eq!(code(&request("Wikipedie", &[(name, value)], "")), "BadDigest", "{name}");
        }
        for (name, value) in &CHECKSUMS[..5] {
            let query = format!("{name}={}", value.replace('+', "%2B"));
            assert_eq!(code(&request(TEXT, &[], &query)), "none", "{name} in a presigned URL");
            assert_eq!(code(&request("Wikipedie", &[], &query)), "BadDigest", "{name} in a presigned URL");
        }
    }

    #[test]
    fn invalid_checksums_are_refused() {
        assert_eq!(code(&request(TEXT, &[("content-md5", "AAAA")], "")), "InvalidDigest");
        assert_eq!(code(&request(TEXT, &[("content-md5", "?")], "")), "InvalidDigest");
        assert_eq!(code(&request(TEXT, &[("x-amz-checksum-crc32", "?")], "")), "InvalidRequest");
        assert_eq!(code(&request(TEXT, &[("x-amz-checksum-sha1", "AAAAAA==")], "")), "InvalidRequest");
        assert_eq!(code(&request(TEXT, &CHECKSUMS[..2], "")), "InvalidRequest");
        // Of an object whose parts are there already.
        let complete = whole("CompleteMultipartUpload", &request("<Part/>", &CHECKSUMS[..1], ""));
        assert_eq!(complete.unwrap().body, "<Part/>");
    }

    #[test]
    fn some_documents_need_a_checksum() {
        let code = |operation: &str, headers: &[(&str, &str)]| {
            whole(operation, &request(TEXT, headers, "")).err().map_or_else(|| "none".to_owned(), |it| it.code)
        };
        for operation in CHECKSUM_REQUIRED {
            assert_eq!(code(operation, &[]), "InvalidRequest", "{operation}");
            for checksum in CHECKSUMS {
                assert_eq!(code(operation, &[*checksum]), "none", "{operation} {checksum:?}");
            }
        }
        assert_eq!(code("PutBucketVersioning", &[]), "none");
    }

    #[test]
    fn a_stream_is_checked_against_its_trailer_and_its_length() {
        for (name, value) in &CHECKSUMS[..5] {
            let sent = |text: &str, trailer: &str, length: &str| {
                let body = format!("4\r\n{}\r\n5\r\n{}\r\n0\r\n{trailer}\r\n", &text[..4], &text[4..]);
                let streamed = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
                let headers = [streamed, ("x-amz-trailer", *name), ("x-amz-decoded-content-length", length)];
                request(&body, &headers, "")
            };
            let trailer = format!("{name}:{value}\r\n");
            let read = whole("PutObject", &sent(TEXT, &trailer, "9")).unwrap();
            assert_eq!((read.body.as_ref(), read.header(name)), (TEXT.as_bytes(), Some(*value)));
            assert_eq!(code(&sent("Wikipedie", &trailer, "9")), "BadDigest", "{name}");
            assert_eq!(code(&sent(TEXT, &trailer, "8")), "IncompleteBody", "{name}");
            assert_eq!(code(&sent(TEXT, "", "9")), "MalformedTrailerError", "{name}");
            let another = format!("{trailer}x-amz-meta-other:1\r\n");
            assert_eq!(code(&sent(TEXT, &another, "9")), "MalformedTrailerError", "{name}");
        }
    }
}
