//! Writes, reads and copies objects, and sends event notifications.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use serde_json::{Value, json};

use super::blobs::{Blob, Trouble};
use super::body::Body;
use super::checksum::{Algorithm, Checksum, Sum};
use super::encryption::{self, ObjectKey};
use super::lock::Retention;
use super::metadata::{self, REDIRECT, check_acl, set};
use super::precondition::{self, Outcome, Precondition, http_date};
use super::request::S3Request;
use super::spool::LARGEST;
use super::store::{Bucket, Change, Content, Metadata, NULL, Object, State, Version, now, unwritten};
use super::xml::{self, element, wrap};
use super::{S3, copied, listing, object_arn, operation, refused, tags};
use identity::permissions::{Caller, Need};
use kit::answer::{Refusal, Response, Streamed, empty};
use kit::call::Request;

/// The most bytes that are read in full before the response begins, so that damage anywhere in them is answered with
/// 500.
const AT_ONCE: u64 = 4 << 20;
/// The error code for an object that is too large for its use.
pub const TOO_LARGE: &str = "EntityTooLarge";

/// A requested version.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub version: Version,
    pub object: Object,
    /// Whether the bucket has ever been versioned, so that responses carry version IDs.
    pub is_versioned: bool,
    /// When a lifecycle rule will expire the object, as in `x-amz-expiration`.
    expiry: Option<String>,
}

/// Why a version cannot be read.
#[derive(Debug)]
pub(super) enum Absence {
    NoKey,
    /// The newest version is a delete marker with this ID.
    Hidden(String),
    NoVersion,
    /// The requested version is a delete marker with this ID and modification time.
    Marker(String, i64),
}

/// An object's content that an operation has written and that no version references yet.
pub(super) struct Draft {
    pub etag: String,
    pub size: u64,
    pub sum: Option<Sum>,
    pub content: Content,
}

/// The version that a draft has become.
pub(super) struct Made {
    pub id: String,
    pub modified: i64,
    pub is_versioned: bool,
    metadata: Metadata,
}

impl Absence {
    fn refusal(&self) -> Refusal {
        match self {
            Absence::NoKey | Absence::Hidden(_) => Refusal::new(404, "NoSuchKey", "The specified key does not exist."),
            Absence::NoVersion => Refusal::new(404, "NoSuchVersion", "The specified version does not exist."),
            Absence::Marker(..) => {
                let text = "The specified method is not allowed against this resource.";
                Refusal::new(405, "MethodNotAllowed", text)
            }
        }
    }

    fn answer(&self, request: &S3Request) -> Response {
        let mut answer = refused(&self.refusal(), &request.http);
        let headers = answer.headers_mut();
        match self {
            Absence::Hidden(id) => mark(headers, id),
            Absence::Marker(id, modified) => {
                mark(headers, id);
                set(headers, "last-modified", &http_date(*modified));
                headers.insert(header::ALLOW, HeaderValue::from_static("DELETE"));
            }
            Absence::NoKey | Absence::NoVersion => (),
        }
        answer
    }
}

/// Sets the headers of a delete marker.
pub(super) fn mark(headers: &mut http::HeaderMap, id: &str) {
    set(headers, "x-amz-delete-marker", "true");
    set(headers, VERSION, id);
}

/// The header that names a version.
pub(super) const VERSION: &str = "x-amz-version-id";

/// Finds the version with this ID, or the newest one.
pub(super) fn find(bucket: &Bucket, key: &str, id: Option<&str>) -> Result<Found, Absence> {
    let version = match id {
        Some(id) => bucket.version(key, id).ok_or(Absence::NoVersion)?,
        None => bucket.versions(key).last().ok_or(Absence::NoKey)?,
    };
    match (&version.object, id) {
        (Some(object), _) => {
            let is_versioned = bucket.settings.versioning.is_some();
            let expiry = super::lifecycle::expiry(bucket, key, version).filter(|_| id.is_none());
            Ok(Found { version: version.clone(), object: (**object).clone(), is_versioned, expiry })
        }
        (None, None) => Err(Absence::Hidden(version.id.clone())),
        (None, Some(_)) => Err(Absence::Marker(version.id.clone(), version.modified)),
    }
}

impl S3 {
    /// Finds the version that a request names.
    pub(super) fn find(&self, request: &S3Request) -> Result<Result<Found, Absence>, Refusal> {
        let id = request.version()?;
        self.store.read(|state| Ok(find(state.bucket(&request.bucket)?, &request.key, id.as_deref())))
    }

    /// Puts an object for a caller whose permission has been checked.
    pub async fn put_for(&self, caller: &Caller, bucket: &str, key: &str, body: Bytes) -> Result<(), Refusal> {
        let row = operation::named("PutObject").expect("the table has it");
        let http = Request { method: Method::PUT, path: format!("/{bucket}/{key}"), body, ..Request::default() };
        let request = S3Request { row, http, bucket: bucket.to_owned(), key: key.to_owned(), caller };
        self.put_object(&request).await.map(drop)
    }

    /// Reads a whole object of at most `most` bytes.
    ///
    /// Errors: `EntityTooLarge` for a larger one.
    pub async fn object(&self, bucket: &str, key: &str, most: u64) -> Result<Bytes, Refusal> {
        self.strangers.refuse_source(bucket)?;
        let look = |state: &State| find(state.bucket(bucket)?, key, None).map_err(|absence| absence.refusal());
        let find = || self.store.read(look);
        let mut found = find()?;
        loop {
            let size = found.object.size;
            if size > most {
                let text = format!("The object has {size} bytes, and {most} are the most that can be used");
                return Err(Refusal::new(400, TOO_LARGE, text));
            }
            match self.store.blobs.read(found.object.content.blobs(), 0..size).await {
                Ok(bytes) => return Ok(bytes),
                Err(trouble) => found = found_again(&found, trouble, find)?,
            }
        }
    }

    /// The key of KMS that the object of an upload is to be encrypted with.
    fn key_for(&self, request: &S3Request<'_>) -> Result<Option<ObjectKey>, Refusal> {
        let asked = request.header(metadata::ENCRYPTION);
        self.store.read(|state| state.bucket(&request.bucket)?.settings.key_for(asked, &self.region))
    }

    /// `PutObject` and `PostObject`.
    pub(super) async fn put_object(&self, request: &S3Request<'_>) -> Result<Response, Refusal> {
        if request.key.is_empty() {
            // No object has an empty key, and only a form can leave the key out.
            return Err(Refusal::new(400, "InvalidArgument", "Bucket POST must contain a field named 'key'."));
        }
        let key = self.key_for(request)?;
        let etag = |md5: &[u8]| key.as_ref().map_or_else(|| hex::encode(md5), |key| key.etag(md5));
        let metadata = Metadata { key: key.clone(), ..Metadata::of(request)? };
        let precondition = precondition::of_write(request)?;
        let announced = Checksum::announced(&request.http)?;
        self.check_lock_is_sure(request, &metadata, announced.is_some())?;
        let body = Body::of(&request.http);
        let sum = match announced {
            Some(announced) => announced.sum(),
            None => body.sum(Algorithm::Crc64Nvme)?,
        };
        let draft = Draft {
            etag: etag(&body.md5()),
            size: body.size(),
            sum: Some(sum),
            content: Content::Whole(self.keep(&body).await?),
        };
        let mut answer = empty(200);
        draft.write_headers(answer.headers_mut());
        let made = self.put(request, metadata, draft, &precondition)?;
        made.write_headers(answer.headers_mut());
        Ok(answer)
    }

    /// A version that will be locked must be sent with a checksum ("PutObject", Content-MD5).
    fn check_lock_is_sure(&self, request: &S3Request, metadata: &Metadata, has_checksum: bool) -> Result<(), Refusal> {
        let locks = metadata.retention.is_some()
            || metadata.is_held
            || self.store.read(|state| Ok::<_, Refusal>(state.bucket(&request.bucket)?.settings.locks_by_default()))?;
        if !locks || has_checksum || request.header("content-md5").is_some() {
            return Ok(());
        }
        let text = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters";
        Err(Refusal::new(400, "InvalidRequest", text))
    }

    /// Stores a body as a blob of its own.
    pub(super) async fn keep(&self, body: &Body) -> Result<Blob, Refusal> {
        let kept = match body {
            Body::Memory(bytes) => self.store.blobs.write(bytes.clone()).await,
            Body::Disk(upload) => self.store.blobs.keep(upload),
        };
        kept.map_err(|fault| unwritten(&fault.to_string()))
    }

    /// Makes a draft the newest version of its key, and notifies functions of it.
    fn put(
        &self,
        request: &S3Request,
        metadata: Metadata,
        draft: Draft,
        expected: &Precondition,
    ) -> Result<Made, Refusal> {
        let (facts, content) = (draft.facts(), draft.content.blobs());
        let made = self.put_with(request, metadata, draft, expected, Vec::new());
        let made = made.inspect_err(|_| self.store.blobs.remove(&content))?;
        self.announce_made(request, &made, facts);
        Ok(made)
    }

    /// Makes a draft the newest version of its key, together with other changes, and notifies no functions.
    pub(super) fn put_with(
        &self,
        request: &S3Request,
        metadata: Metadata,
        draft: Draft,
        expected: &Precondition,
        and: Vec<Change>,
    ) -> Result<Made, Refusal> {
        let Draft { etag, size, sum, content } = draft;
        self.store.change(|state, ids| {
            let bucket = state.bucket(&request.bucket)?;
            check_acl(&bucket.settings, request.header("x-amz-acl"))?;
            let metadata = bucket.settings.locked(metadata)?;
            expected.check(bucket.current(&request.key).map(|(_, there)| there.etag.as_str()))?;
            let (id, modified) = (bucket.next_id(ids), now());
            if let Some(replaced) = bucket.version(&request.key, &id) {
                replaced.check_unlocked(false)?;
            }
            let is_versioned = id != NULL;
            let object = Some(Box::new(Object { metadata: metadata.clone(), etag, size, sum, content }));
            let version = Version { id: id.clone(), modified, object };
            let mut changes = vec![Change::Put { bucket: request.bucket.clone(), key: request.key.clone(), version }];
            changes.extend(and);
            Ok((changes, Made { id, modified, is_versioned, metadata }))
        })
    }

    pub(super) fn announce_made(&self, request: &S3Request, made: &Made, mut facts: Value) {
        let Some(event) = super::events::of(request.row.name) else { return };
        if made.is_versioned {
            facts["versionId"] = made.id.as_str().into();
        }
        self.announce(event, &request.bucket, &request.key, &facts);
    }

    /// `GetObject` and `HeadObject`.
    pub(super) async fn get_object(&self, request: &S3Request<'_>) -> Result<Response, Refusal> {
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
    fn write_headers(&self, request: &S3Request, found: &Found, headers: &mut http::HeaderMap) {
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

    /// `CopyObject`.
    pub(super) async fn copy_object(&self, request: &S3Request<'_>) -> Result<Response, Refusal> {
        let key = self.key_for(request)?;
        let etag = |md5: &[u8]| key.as_ref().map_or_else(|| hex::encode(md5), |key| key.etag(md5));
        let directives = Directives::of(request)?;
        let algorithm = |object: &Object| match request.header("x-amz-checksum-algorithm") {
            Some(name) => Algorithm::named(name).ok_or_else(|| super::multipart::unknown_algorithm(name)),
            None => Ok(object.sum.as_ref().map_or(Algorithm::Crc64Nvme, |sum| sum.algorithm)),
        };
        let precondition = precondition::of_write(request);
        let wanted = |object: &Object| {
            directives.metadata(request, object)?;
            Ok((0..object.size, algorithm(object)?))
        };
        let (found, body) = self.source(request, wanted).await?;
        let metadata = Metadata { key: key.clone(), ..directives.metadata(request, &found.object)? };
        let precondition = precondition?;
        let sum = body.sum(algorithm(&found.object)?)?;
        let draft = Draft {
            etag: etag(&body.md5()),
            size: body.size(),
            sum: Some(sum.clone()),
            content: Content::Whole(self.keep(&body).await?),
        };
        let etag = format!("\"{}\"", draft.etag);
        let made = self.put(request, metadata, draft, &precondition)?;
        let facts =
            element("LastModified", &listing::moment(made.modified)) + &element("ETag", &etag) + &sum.xml_of_object();
        let mut answer = xml::document("CopyObjectResult", &facts);
        made.write_headers(answer.headers_mut());
        if found.is_versioned {
            set(answer.headers_mut(), "x-amz-copy-source-version-id", &found.version.id);
        }
        Ok(answer)
    }

    /// Copies the range of the source that `wanted` returns, with the checksum that it returns, if the preconditions on
    /// the source hold.
    pub(super) async fn source(
        &self,
        request: &S3Request<'_>,
        wanted: impl Fn(&Object) -> Result<(Range<u64>, Algorithm), Refusal>,
    ) -> Result<(Found, Body), Refusal> {
        if request.header("x-amz-source-expected-bucket-owner").is_some_and(|owner| owner != kit::ACCOUNT) {
            return Err(Refusal::new(403, "AccessDenied", "Access Denied"));
        }
        let (bucket, key, version) = copied(&request.http)?;
        self.strangers.refuse_source(&bucket)?;
        let find = || {
            let look = |state: &State| Ok::<_, Refusal>(find(state.bucket(&bucket)?, &key, version.as_deref()));
            self.store.read(look)?.map_err(|absence| match absence {
                Absence::Marker(..) => {
                    let text =
                        "The source of a copy request may not specifically refer to a delete marker by version id.";
                    Refusal::new(400, "InvalidRequest", text)
                }
                absence => absence.refusal(),
            })
        };
        let mut found = find()?;
        match precondition::of_read(request, "x-amz-copy-source-", &found.object.etag, found.version.modified) {
            Outcome::Read => (),
            Outcome::NotModified | Outcome::Failed => {
                let text = "At least one of the pre-conditions you specified did not hold";
                return Err(Refusal::new(412, "PreconditionFailed", text));
            }
        }
        loop {
            let (range, algorithm) = wanted(&found.object)?;
            // docs/aws.md §4.3.
            if range.end - range.start > LARGEST {
                let text = format!(
                    "The specified copy source is larger than the maximum allowable size for a copy source: {LARGEST}"
                );
                return Err(Refusal::new(400, "InvalidRequest", text));
            }
            match self.store.blobs.copy(found.object.content.blobs(), range, vec![algorithm]).await {
                Ok(copy) => return Ok((found, Body::Disk(Arc::new(copy)))),
                Err(trouble) => found = found_again(&found, trouble, find)?,
            }
        }
    }

    pub(super) fn metadata(
        &self,
        request: &S3Request,
        check: impl FnOnce(&Bucket) -> Result<(), Refusal>,
    ) -> Result<(Option<String>, Metadata), Refusal> {
        let id = request.version()?;
        self.store.read(|state| {
            let bucket = state.bucket(&request.bucket)?;
            check(bucket)?;
            let found = find(bucket, &request.key, id.as_deref()).map_err(|absence| absence.refusal())?;
            Ok((found.is_versioned.then_some(found.version.id), found.object.metadata))
        })
    }

    /// Changes the metadata of a version.
    pub(super) fn change_metadata(
        &self,
        request: &S3Request,
        change: impl FnOnce(&Bucket, &mut Metadata) -> Result<(), Refusal>,
    ) -> Result<Response, Refusal> {
        let id = request.version()?;
        let told = self.store.change(|state, _| {
            let bucket = state.bucket(&request.bucket)?;
            let found = find(bucket, &request.key, id.as_deref()).map_err(|absence| absence.refusal())?;
            let mut metadata = found.object.metadata;
            change(bucket, &mut metadata)?;
            let id = found.version.id;
            let told = found.is_versioned.then(|| id.clone());
            Ok((
                vec![Change::SetMetadata { bucket: request.bucket.clone(), key: request.key.clone(), id, metadata }],
                told,
            ))
        })?;
        Ok(of_version(empty(200), told))
    }

    pub(super) fn put_object_tagging(&self, request: &S3Request) -> Result<Response, Refusal> {
        let tags = tags::of_document(&request.http.body, tags::Of::Object)?;
        self.change_metadata(request, |_, metadata| {
            metadata.tags = tags;
            Ok(())
        })
    }

    pub(super) fn get_object_tagging(&self, request: &S3Request) -> Result<Response, Refusal> {
        let (id, metadata) = self.metadata(request, |_| Ok(()))?;
        Ok(of_version(kit::answer::xml(200, tags::document(&metadata.tags)), id))
    }

    pub(super) fn delete_object_tagging(&self, request: &S3Request) -> Result<Response, Refusal> {
        let mut answer = self.change_metadata(request, |_, metadata| {
            metadata.tags.clear();
            Ok(())
        })?;
        *answer.status_mut() = http::StatusCode::NO_CONTENT;
        Ok(answer)
    }

    pub(super) fn get_object_acl(&self, request: &S3Request) -> Result<Response, Refusal> {
        let (id, _) = self.metadata(request, |_| Ok(()))?;
        Ok(of_version(super::bucket::owners_acl(), id))
    }

    pub(super) fn put_object_acl(&self, request: &S3Request) -> Result<Response, Refusal> {
        self.metadata(request, |bucket| super::bucket::check_acl_call(request, &bucket.settings))?;
        Ok(empty(200))
    }

    /// `GetObjectAttributes`.
    pub(super) fn get_attributes(&self, request: &S3Request) -> Result<Response, Refusal> {
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
                "ObjectParts" => super::multipart::attributes(request, content, sum.as_ref())?,
                "StorageClass" => element("StorageClass", &metadata.class.0),
                _ => element("ObjectSize", &size.to_string()),
            };
        }
        let mut answer = xml::document("GetObjectAttributesResponse", &inside);
        set(answer.headers_mut(), "last-modified", &http_date(found.version.modified));
        Ok(of_version(answer, found.is_versioned.then_some(found.version.id)))
    }
}

/// A response with the version ID, if the bucket is versioned.
pub(super) fn of_version(mut answer: Response, id: Option<String>) -> Response {
    if let Some(id) = id {
        set(answer.headers_mut(), VERSION, &id);
    }
    answer
}

impl Draft {
    /// Sets the headers of the response to a write.
    pub(super) fn write_headers(&self, headers: &mut http::HeaderMap) {
        set(headers, "etag", &format!("\"{}\"", self.etag));
        if let Some(sum) = &self.sum {
            sum.write_of_object(headers);
        }
    }

    /// The attributes that events contain.
    pub(super) fn facts(&self) -> Value {
        json!({ "size": self.size, "eTag": self.etag })
    }
}

impl Made {
    /// Sets the headers of the response to a write.
    pub(super) fn write_headers(&self, headers: &mut http::HeaderMap) {
        encryption::write(self.metadata.key.as_ref(), headers);
        if self.metadata.class != super::store::Class::default() {
            set(headers, "x-amz-storage-class", &self.metadata.class.0);
        }
        if self.is_versioned {
            set(headers, VERSION, &self.id);
        }
    }
}

/// Finds an object again that could not be read, because it may have been replaced meanwhile.
///
/// Errors: it was not replaced, or the reason is not a missing file.
fn found_again(found: &Found, trouble: Trouble, find: impl Fn() -> Result<Found, Refusal>) -> Result<Found, Refusal> {
    let again = find()?;
    let is_same = again.object.content.blobs() == found.object.content.blobs();
    if is_same || !matches!(trouble, Trouble::Missing(_)) { Err(unread(&trouble)) } else { Ok(again) }
}

/// The error for an object that cannot be read or copied.
pub(super) fn unread(trouble: &Trouble) -> Refusal {
    if let Trouble::Unwritten(fault) = trouble {
        return unwritten(&fault.to_string());
    }
    tracing::error!("an object cannot be read: {trouble}");
    let text = format!("We encountered an internal error. Please try again. ({trouble})");
    Refusal::new(500, "InternalError", text)
}

/// The bytes of an object that a reader requests.
struct Wanted {
    range: Range<u64>,
    /// Whether the request asks for a range or a part, even if it covers the whole object.
    is_part: bool,
    /// The checksum of exactly these bytes.
    sum: Option<Sum>,
}

fn wanted(request: &S3Request, object: &Object) -> Result<Wanted, Refusal> {
    let whole = || Wanted { range: 0..object.size, is_part: false, sum: object.sum.clone() };
    match (request.count("partNumber")?, request.header("range")) {
        (Some(_), Some(_)) => {
            let text = "Cannot specify both Range header and partNumber query parameter";
            Err(Refusal::new(400, "InvalidRequest", text))
        }
        (Some(number), None) => part(number, object),
        (None, Some(text)) => Ok(range(text, object.size)?.map_or_else(whole, |range| Wanted {
            sum: object.sum.clone().filter(|_| range == (0..object.size)),
            range,
            is_part: true,
        })),
        (None, None) => Ok(whole()),
    }
}

/// The bytes of a part. An object that was written in one piece has only part 1.
fn part(number: usize, object: &Object) -> Result<Wanted, Refusal> {
    if !(1..=10_000).contains(&number) {
        let text = "Part number must be an integer between 1 and 10000, inclusive";
        return Err(Refusal::new(400, "InvalidArgument", text));
    }
    let Content::Parts(parts) = &object.content else {
        return match number {
            1 => Ok(Wanted { range: 0..object.size, is_part: true, sum: object.sum.clone() }),
            _ => Err(no_part()),
        };
    };
    let at = parts.iter().position(|part| usize::try_from(part.number) == Ok(number)).ok_or_else(no_part)?;
    let begin: u64 = parts[..at].iter().map(|part| part.blob.size).sum();
    Ok(Wanted { range: begin..begin + parts[at].blob.size, is_part: true, sum: parts[at].sum.clone() })
}

fn no_part() -> Refusal {
    Refusal::new(416, "InvalidPartNumber", "The requested partnumber is not satisfiable")
}

/// Parses a `Range` header. Returns `None`, for the whole object, if it is invalid or, as on S3, has several ranges.
fn range(text: &str, size: u64) -> Result<Option<Range<u64>>, Refusal> {
    let unsatisfiable = || Refusal::new(416, "InvalidRange", "The requested range is not satisfiable");
    let Some((first, last)) = text.trim().strip_prefix("bytes=").and_then(|text| text.split_once('-')) else {
        return Ok(None);
    };
    let (first, last) = (first.trim(), last.trim());
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Err(_), Ok(count)) if first.is_empty() => size.saturating_sub(count)..size,
        (Ok(first), Err(_)) if last.is_empty() => first..size,
        (Ok(first), Ok(last)) if first <= last => first..size.min(last.saturating_add(1)),
        _ => return Ok(None),
    };
    if range.start >= range.end { Err(unsatisfiable()) } else { Ok(Some(range)) }
}

fn refused_range(request: &S3Request, object: &Object, refusal: &Refusal) -> Response {
    let mut answer = refused(refusal, &request.http);
    if refusal.status == 416 {
        set(answer.headers_mut(), "content-range", &format!("bytes */{}", object.size));
    }
    answer
}

/// Response headers that a reader may override.
const OVERRIDES: &[&str] =
    &["cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires"];

/// Which attributes a copy replaces with those in its own headers, rather than taking them from its source.
struct Directives {
    replaces_metadata: bool,
    replaces_tags: bool,
}

impl Directives {
    fn of(request: &S3Request) -> Result<Directives, Refusal> {
        let replaces = |name: &str, what: &str| match request.header(name) {
            None | Some("COPY") => Ok(false),
            Some("REPLACE") => Ok(true),
            Some(_) => Err(Refusal::new(400, "InvalidArgument", format!("Unknown {what} directive."))),
        };
        let replaces_tags = replaces("x-amz-tagging-directive", "tagging")?;
        if request.header("x-amz-tagging").is_some_and(|tags| !tags.is_empty()) && !replaces_tags {
            let text = "x-amz-tagging has no effect unless x-amz-tagging-directive is REPLACE";
            return Err(Refusal::new(400, "InvalidArgument", text));
        }
        Ok(Directives { replaces_metadata: replaces("x-amz-metadata-directive", "metadata")?, replaces_tags })
    }

    fn metadata(&self, request: &S3Request, source: &Object) -> Result<Metadata, Refusal> {
        let own = Metadata::of(request)?;
        let (bucket, key, version) = copied(&request.http)?;
        let says = |name: &str| request.header(name).is_some();
        let changes = self.replaces_metadata
            || self.replaces_tags
            || says(REDIRECT)
            || says(metadata::ENCRYPTION)
            || request.header("x-amz-storage-class").is_some_and(|class| class != source.metadata.class.0);
        if (bucket, key, version) == (request.bucket.clone(), request.key.clone(), None) && !changes {
            let text = "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.";
            return Err(Refusal::new(400, "InvalidRequest", text));
        }
        let mut headers = if self.replaces_metadata { own.headers.clone() } else { source.metadata.headers.clone() };
        // The redirect is not copied; it has to be given again.
        headers.remove(REDIRECT);
        headers.extend(own.headers.get_key_value(REDIRECT).map(|(name, value)| (name.clone(), value.clone())));
        let tags = if self.replaces_tags { own.tags.clone() } else { source.metadata.tags.clone() };
        Ok(Metadata { headers, tags, ..own })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_within_the_object_or_refused() {
        for (text, found) in [
            ("bytes=0-0", Some(Some(0..1))),
            ("bytes=8-100", Some(Some(8..10))),
            ("bytes=5-", Some(Some(5..10))),
            ("bytes=-30", Some(Some(0..10))),
            ("bytes=9-18446744073709551615", Some(Some(9..10))),
            ("bytes=4-2", Some(None)),
            ("bytes=0-1,3-4", Some(None)),
            ("lines=1-2", Some(None)),
            ("bytes=-", Some(None)),
            ("bytes=10-", None),
            ("bytes=-0", None),
        ] {
            assert_eq!(range(text, 10).ok(), found, "{text}");
        }
        assert!(range("bytes=0-0", 0).is_err());
    }
}
