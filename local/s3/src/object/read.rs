//! Reads of objects.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderValue, Method, header};

use super::range::{Wanted, refused_range, wanted};
use super::{Found, VERSION, of_version};
use crate::blobs::Trouble;
use crate::lock::Retention;
use crate::metadata::set;
use crate::precondition::{self, Outcome, http_date};
use crate::request::S3Request;
use crate::store::{Content, Object, unwritten};
use crate::xml::{self, element, wrap};
use crate::{S3, object_arn};
use identity::permissions::Need;
use kit::answer::{Refusal, Response, Streamed, empty};

/// The most bytes that are read in full before the response begins, so that damage anywhere in them is answered with
/// 500.
const AT_ONCE: u64 = 4 << 20;

impl S3 {
    /// `GetObject` and `HeadObject`.
    pub(crate) async fn get_object(&self, request: &S3Request<'_>) -> Result<Response, Refusal> {
        let found = match self.find(request)? {
            Ok(found) => found,
            Err(absence) => return Ok(absence.answer(request)),
        };
        match precondition::of_read(request, "", &found.object.etag, found.version.modified) {
            Outcome::Failed => return Err(precondition::failed("If-Match")),
            Outcome::NotModified => {
                let mut answer = empty(304);
                self.write_headers(request, &found, answer.headers_mut());
                answer.headers_mut().remove(header::CONTENT_TYPE);
                return Ok(answer);
            }
            Outcome::Read => (),
        }
        if request.http.method == Method::HEAD {
            let wanted = match wanted(request, &found.object) {
                Ok(wanted) => wanted,
                Err(refusal) => return Ok(refused_range(request, &found.object, &refusal)),
            };
            let mut answer = self.show(request, &found, &wanted, Bytes::new());
            let length = wanted.range.end - wanted.range.start;
            answer.headers_mut().insert(header::CONTENT_LENGTH, length.into());
            return Ok(answer);
        }
        if let Err(refusal) = wanted(request, &found.object) {
            return Ok(refused_range(request, &found.object, &refusal));
        }
        self.read_object(request, found).await
    }

    /// Reads the requested bytes of an object. If it is replaced meanwhile, starts over with the new one.
    ///
    /// Errors: damaged bytes are never served; the error names the file.
    async fn read_object(&self, request: &S3Request<'_>, mut found: Found) -> Result<Response, Refusal> {
        let find = || self.find(request)?.map_err(|absence| absence.refusal());
        loop {
            let wanted = wanted(request, &found.object)?;
            let (blobs, range) = (found.object.content.blobs(), wanted.range.clone());
            let length = range.end - range.start;
            let trouble = if length <= AT_ONCE {
                match self.store.blobs.read(blobs, range).await {
                    Ok(bytes) => return Ok(self.show(request, &found, &wanted, bytes)),
                    Err(trouble) => trouble,
                }
            } else {
                match self.store.blobs.stream(blobs, range).await {
                    Ok(bytes) => {
                        let mut answer = self.show(request, &found, &wanted, Bytes::new());
                        Streamed::new(length, bytes).put_in(&mut answer);
                        return Ok(answer);
                    }
                    Err(trouble) => trouble,
                }
            };
            found = found_again(&found, trouble, find)?;
        }
    }

    fn show(&self, request: &S3Request, found: &Found, wanted: &Wanted, bytes: Bytes) -> Response {
        let Found { object, .. } = found;
        let mut answer = empty(if wanted.is_part { 206 } else { 200 });
        *answer.body_mut() = bytes;
        let headers = answer.headers_mut();
        self.write_headers(request, found, headers);
        if wanted.is_part {
            let Range { start, end } = wanted.range;
            set(headers, "content-range", &format!("bytes {start}-{}/{}", end.max(1) - 1, object.size));
        }
        if let Content::Parts(parts) = &object.content
            && request.parameter("partNumber").is_some()
        {
            set(headers, "x-amz-mp-parts-count", &parts.len().to_string());
        }
        if request.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("enabled"))
            && let Some(sum) = &wanted.sum
        {
            sum.write_of_object(headers);
        }
        for name in OVERRIDES {
            if let Some(value) = request.parameter(&format!("response-{name}"))
                && let Ok(value) = HeaderValue::from_bytes(value.as_bytes())
            {
                headers.insert(*name, value);
            }
        }
        answer
    }

    /// Sets the headers that every reader of an object gets.
    pub(super) fn write_headers(&self, request: &S3Request, found: &Found, headers: &mut http::HeaderMap) {
        let Found { version, object, is_versioned, expiry } = found;
        object.metadata.write(headers);
        set(headers, "etag", &format!("\"{}\"", object.etag));
        set(headers, "last-modified", &http_date(version.modified));
        set(headers, "accept-ranges", "bytes");
        if let Some(expiry) = expiry {
            set(headers, "x-amz-expiration", expiry);
        }
        if *is_versioned {
            set(headers, VERSION, &version.id);
        }
        let may =
            |action: &str| request.caller.may(&Need::new(action, object_arn(&request.bucket, &request.key))).is_ok();
        if let Some(kept) = object.metadata.retention.filter(|_| may("s3:GetObjectRetention")) {
            let Retention { mode, .. } = kept;
            set(headers, "x-amz-object-lock-mode", mode.name());
            set(headers, "x-amz-object-lock-retain-until-date", &kept.until_text());
        }
        if object.metadata.is_held && may("s3:GetObjectLegalHold") {
            set(headers, "x-amz-object-lock-legal-hold", "ON");
        }
    }

    /// `GetObjectAttributes`.
    pub(crate) fn get_attributes(&self, request: &S3Request) -> Result<Response, Refusal> {
        let found = match self.find(request)? {
            Ok(found) => found,
            Err(absence) => return Ok(absence.answer(request)),
        };
        let sent =
            request.http.headers.get_all("x-amz-object-attributes").iter().filter_map(|value| value.to_str().ok());
        let wanted: Vec<&str> = sent.flat_map(|text| text.split(',')).map(str::trim).collect();
        let is_known = |name: &&str| ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"].contains(name);
        if wanted.is_empty() || !wanted.iter().all(is_known) {
            return Err(Refusal::new(400, "InvalidArgument", "Invalid attribute name specified."));
        }
        let Object { metadata, etag, size, sum, content } = &found.object;
        let mut inside = String::new();
        for name in wanted {
            inside += &match name {
                "ETag" => element("ETag", etag),
                "Checksum" => sum.as_ref().map(|sum| wrap("Checksum", &sum.xml_of_object())).unwrap_or_default(),
                "ObjectParts" => crate::multipart::attributes(request, content, sum.as_ref())?,
                "StorageClass" => element("StorageClass", &metadata.class.0),
                _ => element("ObjectSize", &size.to_string()),
            };
        }
        let mut answer = xml::document("GetObjectAttributesResponse", &inside);
        set(answer.headers_mut(), "last-modified", &http_date(found.version.modified));
        Ok(of_version(answer, found.is_versioned.then_some(found.version.id)))
    }
}

/// Finds an object again that could not be read, because it may have been replaced meanwhile.
///
/// Errors: it was not replaced, or the reason is not a missing file.
pub(super) fn found_again(
    found: &Found,
    trouble: Trouble,
    find: impl Fn() -> Result<Found, Refusal>,
) -> Result<Found, Refusal> {
    let again = find()?;
    let is_same = again.object.content.blobs() == found.object.content.blobs();
    if is_same || !matches!(trouble, Trouble::Missing(_)) { Err(unread(&trouble)) } else { Ok(again) }
}

/// The error for an object that cannot be read or copied.
pub(crate) fn unread(trouble: &Trouble) -> Refusal {
    if let Trouble::Unwritten(fault) = trouble {
        return unwritten(&fault.to_string());
    }
    tracing::error!("an object cannot be read: {trouble}");
    let text = format!("We encountered an internal error. Please try again. ({trouble})");
    Refusal::new(500, "InternalError", text)
}

/// Response headers that a reader may override.
const OVERRIDES: &[&str] =
    &["cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires"];
