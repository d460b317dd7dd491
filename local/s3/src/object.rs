//! Writes, reads and copies objects, and sends event notifications.

mod copy;
mod range;
mod read;

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use serde_json::{Value, json};

use super::blobs::Blob;
use super::body::Body;
use super::checksum::{Algorithm, Checksum, Sum};
use super::encryption::{self, ObjectKey};
use super::metadata::{self, check_acl, set};
use super::precondition::{self, Precondition, http_date};
use super::request::S3Request;
use super::store::{Bucket, Change, Content, Metadata, NULL, Object, State, Version, now, unwritten};
use super::{S3, operation, refused, tags};
use identity::permissions::Caller;
use kit::answer::{Refusal, Response, empty};
use kit::call::Request;

use read::found_again;
pub(super) use read::unread;

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
