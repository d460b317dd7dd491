//! The body of a request, decoded and verified.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue};
use md5::{Digest, Md5};

use super::checksum::{Algorithm, Checksum, Sum, check_md5, without_checksum};
use super::spool::decoded_length;
use identity::signature::is_chunked;
use kit::answer::Refusal;
use kit::call::Request;
use kit::chunked::{ChunkPiece, Decoder, TRAILER_SIGNATURE, Trailers, incomplete};
use kit::upload::Upload;

/// The bytes of a body, in memory or on disk.
pub(super) enum Body {
    Memory(Bytes),
    Disk(Arc<Upload>),
}

impl Body {
    pub(super) fn of(request: &Request) -> Body {
        request.upload.clone().map_or_else(|| Body::Memory(request.body.clone()), Body::Disk)
    }

    pub(super) fn size(&self) -> u64 {
        match self {
            Body::Memory(bytes) => bytes.len() as u64,
            Body::Disk(upload) => upload.size,
        }
    }

    pub(super) fn md5(&self) -> Vec<u8> {
        match self {
            Body::Memory(bytes) => Md5::digest(bytes).to_vec(),
            Body::Disk(upload) => upload.md5.clone(),
        }
    }

    /// A checksum of these bytes. For those on disk, only one that was requested when they were written.
    pub(super) fn checksum(&self, algorithm: Algorithm) -> Result<Vec<u8>, Refusal> {
        let upload = match self {
            Body::Memory(bytes) => return Ok(algorithm.of(bytes)),
            Body::Disk(upload) => upload,
        };
        let found = upload.checksums.iter().find(|(header, _)| *header == algorithm.header());
        let absent = || {
            let text = format!("the {} of this upload was not computed", algorithm.name());
            Refusal::new(500, "InternalError", text)
        };
        found.map(|(_, sum)| sum.clone()).ok_or_else(absent)
    }

    pub(super) fn sum(&self, algorithm: Algorithm) -> Result<Sum, Refusal> {
        Ok(Sum::new(algorithm, &self.checksum(algorithm)?))
    }
}

/// Operations whose documents S3 accepts only with `Content-MD5` or another checksum (docs/aws.md §4.3).
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

/// Decodes an `aws-chunked` request, whose trailers become headers, and verifies the announced length and checksums of
/// the body.
pub(super) fn whole(operation: &str, request: &Request) -> Result<Request, Refusal> {
    let whole = match (&request.upload, is_chunked(request)) {
        (_, false) => request.clone(),
        (Some(upload), true) => with_trailers(request.clone(), &upload.trailers)?,
        (None, true) => unchunk(request)?,
    };
    let body = Body::of(&whole);
    check_md5(&whole, &body)?;
    if CHECKSUM_REQUIRED.contains(&operation) && whole.header("content-md5").is_none() {
        Checksum::announced(&whole)?.ok_or_else(without_checksum)?;
    }
    // `CompleteMultipartUpload` announces the checksum of the object rather than that of its own body.
    if operation != "CompleteMultipartUpload"
        && let Some(checksum) = Checksum::announced(&whole)?
    {
        checksum.check(&body.checksum(checksum.algorithm)?)?;
    }
    Ok(whole)
}

fn unchunk(request: &Request) -> Result<Request, Refusal> {
    let (mut decoder, mut body) = (Decoder::default(), BytesMut::with_capacity(request.body.len()));
    decoder.take(&request.body, |piece| {
        if let ChunkPiece::Bytes(bytes) = piece {
            body.extend_from_slice(bytes);
        }
        Ok(())
    })?;
    let trailers = decoder.end()?;
    if decoded_length(request)? != body.len() as u64 {
        return Err(incomplete());
    }
    with_trailers(Request { body: body.freeze(), ..request.clone() }, &trailers)
}

/// Adds the trailers to the headers. They must be exactly those that `x-amz-trailer` announces.
fn with_trailers(mut whole: Request, trailers: &Trailers) -> Result<Request, Refusal> {
    let announced = whole.header("x-amz-trailer").unwrap_or_default().to_ascii_lowercase();
    let mut missing: Vec<&str> = announced.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    for (name, value) in trailers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(TRAILER_SIGNATURE)) {
        let name = HeaderName::try_from(name).map_err(|_| malformed_trailer())?;
        let at = missing.iter().position(|missing| *missing == name.as_str()).ok_or_else(malformed_trailer)?;
        missing.swap_remove(at);
        let value = HeaderValue::from_str(value).map_err(|_| malformed_trailer())?;
        whole.headers.insert(name, value);
    }
    if missing.is_empty() { Ok(whole) } else { Err(malformed_trailer()) }
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
        Request { method: Method::PUT, path: "/b/k".into(), query: query.into(), headers: map, body, upload: None }
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
        // This checksum is that of the object, whose parts are already there.
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
