//! S3: winterbaume's buckets and objects, with what a browser and an event need around them.

mod blobs;
mod body;
mod bucket;
mod checksum;
mod cors;
mod events;
mod freed;
mod listing;
mod multipart;
mod not_yet;
mod notification;
mod operation;
mod policy;
mod precondition;
mod records;
mod removal;
mod strangers;
mod tags;
mod turns;
mod unfinished;
mod versions;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use winterbaume_core::StatefulService;
use winterbaume_s3::{S3Service, S3StateView};

use crate::ACCOUNT;
use crate::answer::{Protocol, Refusal, Response, empty, escape, not_implemented};
use crate::backend::{self, straight, straighten_body};
use crate::call::Request;
use crate::faults::Faults;
use crate::iam::Iam;
use crate::lambda::Lambda;
use crate::permissions::{Caller, Need};
use blobs::Blobs;
use checksum::Algorithm;
use freed::Freed;
use multipart::Uploads;
use not_yet::NotYet;
use notification::Notification;
pub(crate) use operation::operation;
#[cfg(test)]
pub(crate) use operation::operations;
use records::Records;
pub(crate) use strangers::{Strangers, moved};
use turns::{Turn, Turns};
use unfinished::Unfinished;

/// Headers of an upload that S3 gives back with the object and winterbaume forgets.
const KEPT_HEADERS: &[&str] =
    &["cache-control", "content-disposition", "content-encoding", "content-language", "expires"];
/// They travel as metadata of this name, which no user's metadata has.
const KEPT_AS: &str = "local-kept-";

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// The key that no object has stands for the bucket itself: one that is being made is not seen before it has its tags.
const THE_BUCKET: &str = "";

/// The buckets.
///
/// Guarantees: what was answered with success is in the hands of the operating system, so killing the server loses
/// nothing of it; only the machine itself may, when its power goes. What could not be written is answered with 500.
pub(crate) struct S3 {
    service: S3Service,
    region: String,
    lambda: Arc<Lambda>,
    iam: Arc<Iam>,
    faults: Arc<Faults>,
    /// Whose buckets are not ours.
    strangers: Arc<Strangers>,
    freed: Freed,
    not_yet: NotYet,
    records: Records,
    unfinished: Unfinished,
    uploads: Uploads,
    turns: Turns,
    /// Whether a write has failed, so that memory knows of something the disk does not have.
    astray: AtomicBool,
    /// Held by calls, and alone by who reads or replaces the whole memory.
    calls: RwLock<()>,
}

/// What keeps a call apart from those that replace the memory, until it is dropped.
enum Held<'a> {
    Together { _guard: RwLockReadGuard<'a, ()> },
    Alone { _guard: RwLockWriteGuard<'a, ()> },
}

impl S3 {
    /// Finds again what an earlier server stored below `dir`.
    pub(crate) async fn open(
        dir: &Path,
        region: &str,
        lambda: Arc<Lambda>,
        iam: Arc<Iam>,
        faults: Arc<Faults>,
        strangers: Arc<Strangers>,
    ) -> anyhow::Result<S3> {
        let speed = lambda.speed();
        let blobs = Arc::new(Blobs::new(dir.join("s3")));
        blobs.remove_unfinished()?;
        let records = Records::new(blobs.clone(), region);
        let service = S3Service::with_vfs(blobs);
        let view = records.read().await?;
        iam.resource_policies(region).buckets.replace(policy::of(&view));
        service.restore(ACCOUNT, region, view).await?;
        let uploads = Uploads::open(dir.join("uploads"))?;
        let s3 = S3 {
            service,
            region: region.to_owned(),
            lambda,
            iam,
            faults,
            strangers,
            freed: Freed::at(speed),
            not_yet: NotYet::at(speed),
            records,
            unfinished: Unfinished::new(dir.join("new-buckets")),
            uploads,
            turns: Turns::new(),
            astray: AtomicBool::new(false),
            calls: RwLock::new(()),
        };
        for bucket in s3.unfinished.left()? {
            s3.unmake_bucket(&bucket).await?;
        }
        Ok(s3)
    }

    /// Answers a request whose sender is known; `operation` is its name.
    pub(crate) async fn answer(&self, operation: &str, request: &Request, caller: &Caller) -> Response {
        let held = self.hold(operation, request).await;
        let acted = self.act(operation, request, caller).await;
        drop(held);
        if self.is_astray() {
            self.come_back().await;
        }
        let mut answer = match acted {
            Ok(answer) => answer,
            Err(refusal) => return self.refuse(&refusal, request).await,
        };
        if is_missing(operation, &answer)
            && let (Some(bucket), Some(_)) = target(request)
            && let Err(denial) = caller.may(&Need::new("s3:ListBucket", bucket_arn(&bucket)))
            && self.exists(&bucket).await
        {
            // Who may not list a bucket is not told what is missing in it.
            let refusal = Refusal::new(403, "AccessDenied", denial.text());
            answer = refused(&refusal, request);
            denial.mark(&mut answer);
        }
        self.let_page_read(request, &mut answer).await;
        answer
    }

    /// Calls go side by side, but for those that change which versions there are.
    async fn hold(&self, operation: &str, request: &Request) -> Held<'_> {
        let guard = self.calls.read().await;
        let is_alone = match target(request) {
            (Some(_), None) if operation == "PutBucketVersioning" => true,
            (Some(bucket), _) => versions::are_changed_by(operation) && self.versioning(&bucket).await.is_some(),
            (None, _) => false,
        };
        if !is_alone {
            return Held::Together { _guard: guard };
        }
        drop(guard);
        Held::Alone { _guard: self.calls.write().await }
    }

    fn is_astray(&self) -> bool {
        self.astray.load(Ordering::Acquire)
    }

    /// After a failed write the disk is right and the memory is not: it is read again.
    async fn come_back(&self) {
        let _alone = self.calls.write().await;
        if !self.is_astray() {
            return;
        }
        let restored = async {
            let view = self.records.read().await?;
            self.iam.resource_policies(&self.region).buckets.replace(policy::of(&view));
            Ok::<_, anyhow::Error>(self.service.restore(ACCOUNT, &self.region, view).await?)
        };
        match restored.await {
            Ok(()) => self.astray.store(false, Ordering::Release),
            Err(fault) => tracing::error!("the buckets could not be read again after a failed write: {fault:#}"),
        }
    }

    /// A refusal that a page of an allowed origin can read.
    pub(crate) async fn refuse(&self, refusal: &Refusal, request: &Request) -> Response {
        let mut answer = refused(refusal, request);
        self.let_page_read(request, &mut answer).await;
        answer
    }

    /// Refuses the name of a bucket that was deleted a moment ago.
    pub(crate) fn refuse_freed(&self, bucket: &str) -> Result<(), Refusal> {
        self.freed.refuse(bucket)
    }

    /// The whole of an object.
    pub(crate) async fn object(&self, bucket: &str, key: &str) -> Result<Bytes, Refusal> {
        let _turn = self.turns.reading(bucket, key).await;
        let answer = self.sub_call(Method::GET, bucket, Some(key), "", Bytes::new()).await;
        if answer.status().is_success() { Ok(answer.into_body()) } else { Err(refusal_in(&answer)) }
    }

    async fn act(&self, operation: &str, request: &Request, caller: &Caller) -> Result<Response, Refusal> {
        if !operation::is_there(operation) {
            return Ok(not_implemented(Protocol::RestXml, "s3", operation));
        }
        let (bucket, key) = target(request);
        let Some(bucket) = bucket else {
            return Ok(list_buckets(request, &[self]).await);
        };
        if let Some(answer) = self.strangers.refuse(&bucket, operation, request, &self.region) {
            return Ok(answer);
        }
        if operation == "Preflight" {
            return Ok(cors::preflight(request, &self.cors_rules(&bucket).await));
        }
        let request = &body::whole(operation, request)?;
        if operation == "CreateBucket" {
            let _turn = self.turns.writing(&bucket, &[THE_BUCKET]).await;
            return self.create_bucket(&bucket, request).await;
        }
        let turn = self.turns.reading(&bucket, THE_BUCKET).await;
        self.check_bucket(&bucket, request).await?;
        if operation == "GetBucketTagging" {
            return self.act_on_bucket(operation, &bucket, request, caller).await;
        }
        drop(turn);
        let Some(key) = key else {
            return self.act_on_bucket(operation, &bucket, request, caller).await;
        };
        self.act_on_object(operation, &bucket, &key, request).await
    }

    async fn act_on_object(
        &self,
        operation: &str,
        bucket: &str,
        key: &str,
        request: &Request,
    ) -> Result<Response, Refusal> {
        if key.len() > 1024 {
            return Err(Refusal::new(400, "KeyTooLongError", "Your key is too long"));
        }
        tags::check_header(request)?;
        let mut passed = request.clone();
        keep_headers(&mut passed.headers);
        match operation {
            "GetObjectAcl" => return Ok(bucket::owners_acl()),
            "PutObjectAcl" => return Err(bucket::no_acls()),
            "AbortMultipartUpload" | "CreateMultipartUpload" | "ListParts" | "UploadPart" | "UploadPartCopy" => {
                let mut answer = self.act_on_upload(operation, bucket, key, &passed).await?;
                give_back_checksums(request, &mut answer);
                return Ok(answer);
            }
            "CopyObject" => straight_copy_source(&mut passed.headers)?,
            "PutObjectTagging" => tags::check_document(&request.body, tags::Of::Object)?,
            _ => (),
        }
        let _turn = self.turn(operation, bucket, key, request).await?;
        if let Some(precondition) = precondition::of(operation, request) {
            precondition.check(&self.head_object(bucket, key, &bare(Method::HEAD)).await)?;
        }
        let answer = match operation {
            "GetObject" | "HeadObject" => return Ok(self.read_object(operation, bucket, key, &passed).await),
            "DeleteObject" => return self.delete_object(bucket, key, request).await,
            "CompleteMultipartUpload" => self.act_on_upload(operation, bucket, key, &passed).await?,
            _ => self.act_on_whole(operation, bucket, key, request, &passed).await?,
        };
        if let Some(event) = events::of(operation).filter(|_| answer.status().is_success()) {
            self.announce_made(event, bucket, key).await?;
        }
        Ok(answer)
    }

    async fn read_object(&self, operation: &str, bucket: &str, key: &str, request: &Request) -> Response {
        let versioning = self.versioning(bucket).await;
        let plain = versions::plainly(request, versioning);
        let answer = match operation {
            "HeadObject" if plain.headers.contains_key(header::RANGE) => self.head_of_range(bucket, key, &plain).await,
            "HeadObject" => self.head_object(bucket, key, &plain).await,
            _ => {
                let mut answer = self.pass(bucket, Some(key), &plain).await;
                finish_object(&mut answer, request);
                answer
            }
        };
        self.tell_version(bucket, key, versioning, request, answer).await
    }

    async fn act_on_whole(
        &self,
        operation: &str,
        bucket: &str,
        key: &str,
        request: &Request,
        passed: &Request,
    ) -> Result<Response, Refusal> {
        let mut answer = match operation {
            "CopyObject" if self.copies_bytes(bucket, key, passed).await? => {
                self.copy_version(bucket, key, passed).await?
            }
            "CopyObject" | "PutObject" => self.make(bucket, key, passed).await,
            _ => self.pass(bucket, Some(key), passed).await,
        };
        straighten_body(&mut answer);
        if !answer.status().is_success() || answer.body().starts_with(b"<Error") {
            return Ok(answer);
        }
        match operation {
            "PutObject" => {
                if let Some(tags) = request.header("x-amz-tagging").filter(|tags| !tags.is_empty()) {
                    self.tag_object(bucket, key, tags).await?;
                }
                give_back_checksums(request, &mut answer);
            }
            "DeleteObjectTagging" | "PutObjectLegalHold" | "PutObjectRetention" | "PutObjectTagging" => {
                self.write_records(bucket, &[key]).await?;
            }
            _ => (),
        }
        Ok(answer)
    }

    /// Whether a copy is of what winterbaume cannot copy: of a version, or within one key that has several.
    async fn copies_bytes(&self, bucket: &str, key: &str, request: &Request) -> Result<bool, Refusal> {
        let source = copy_source(&request.headers)?;
        let is_same = source.bucket == bucket && source.key == key;
        Ok(source.version.is_some() || (is_same && self.versioning(bucket).await.is_some()))
    }

    /// Waits for this call's turn at its keys.
    async fn turn(&self, operation: &str, bucket: &str, key: &str, request: &Request) -> Result<Turn<'_>, Refusal> {
        if operation == "CopyObject" {
            let source = copy_source(&request.headers)?;
            return Ok(self.turns.writing_both((bucket, key), (&source.bucket, &source.key)).await);
        }
        match operation.starts_with("Get") || operation.starts_with("Head") {
            true => Ok(self.turns.reading(bucket, key).await),
            false => Ok(self.turns.writing(bucket, &[key]).await),
        }
    }

    /// The tags an upload brings along as a form.
    async fn tag_object(&self, bucket: &str, key: &str, tags: &str) -> Result<(), Refusal> {
        let tags = url::form_urlencoded::parse(tags.as_bytes());
        let document = bucket::tagging(tags.map(|(key, value)| (key.into_owned(), value.into_owned())));
        let tagged = self.sub_call(Method::PUT, bucket, Some(key), "tagging", document).await;
        if !tagged.status().is_success() {
            return Err(refusal_in(&tagged));
        }
        self.write_records(bucket, &[key]).await
    }

    /// Writes down what winterbaume has only in memory of these keys.
    async fn write_records(&self, bucket: &str, keys: &[&str]) -> Result<(), Refusal> {
        let view = self.view().await;
        let Some(content) = view.buckets.get(bucket) else {
            return Ok(());
        };
        for key in keys {
            self.records.write(content, &crooked(key)).await.map_err(|fault| self.unwritten(&format!("{fault:#}")))?;
        }
        Ok(())
    }

    /// The refusal of a call whose effect is not on disk.
    fn unwritten(&self, why: &str) -> Refusal {
        self.astray.store(true, Ordering::Release);
        tracing::error!("S3 could not write: {why}");
        Refusal::new(500, "InternalError", format!("We encountered an internal error. Please try again. ({why})"))
    }

    /// winterbaume's `HEAD` forgets the metadata, so it is asked for the first byte instead.
    async fn head_object(&self, bucket: &str, key: &str, request: &Request) -> Response {
        let mut get = Request { method: Method::GET, ..request.clone() };
        get.headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-0"));
        let mut answer = self.pass(bucket, Some(key), &get).await;
        let whole = answer.headers_mut().remove(header::CONTENT_RANGE);
        let mut length =
            whole.and_then(|range| range.to_str().ok()?.rsplit('/').next()?.parse::<u64>().ok()).unwrap_or_default();
        if answer.status() == 416 {
            get.headers.remove(header::RANGE);
            answer = self.pass(bucket, Some(key), &get).await;
            length = answer.body().len() as u64;
        }
        *answer.body_mut() = Bytes::new();
        if answer.status().is_success() {
            *answer.status_mut() = http::StatusCode::OK;
            answer.headers_mut().insert(header::CONTENT_LENGTH, length.into());
            finish_object(&mut answer, request);
        } else {
            answer.headers_mut().remove(header::CONTENT_TYPE);
        }
        answer
    }

    /// The head of a part of an object: that of the same `GET`.
    async fn head_of_range(&self, bucket: &str, key: &str, request: &Request) -> Response {
        let get = Request { method: Method::GET, ..request.clone() };
        let mut answer = self.pass(bucket, Some(key), &get).await;
        let length = answer.body().len() as u64;
        *answer.body_mut() = Bytes::new();
        match answer.status().is_success() {
            true => {
                answer.headers_mut().insert(header::CONTENT_LENGTH, length.into());
                finish_object(&mut answer, request);
            }
            false => drop(answer.headers_mut().remove(header::CONTENT_TYPE)),
        }
        answer
    }

    async fn announce_made(&self, event: &str, bucket: &str, key: &str) -> Result<(), Refusal> {
        let waiting = self.waiting(event, bucket, key).await;
        if waiting.is_empty() {
            return Ok(());
        }
        let head = self.head_object(bucket, key, &bare(Method::HEAD)).await;
        self.announce(&waiting, event, bucket, key, &events::facts(&head)).await
    }

    /// Who waits for this event of this key.
    async fn waiting(&self, event: &str, bucket: &str, key: &str) -> Vec<Notification> {
        let all = self.not_yet.in_force(bucket, self.notifications(bucket).await);
        all.into_iter().filter(|one| one.wants(event, key)).collect()
    }

    /// Tells the functions that wait for it about an object, at least once each.
    async fn announce(
        &self,
        waiting: &[Notification],
        event: &str,
        bucket: &str,
        key: &str,
        facts: &Value,
    ) -> Result<(), Refusal> {
        for notification in waiting {
            let document = events::document(event, &notification.id, bucket, key, facts, &self.region);
            let source = format!("arn:aws:s3:::{bucket}");
            let delays = self.faults.deliveries(bucket, key);
            self.lambda.send_event(&notification.function, "s3.amazonaws.com", &source, document, &delays).await?;
        }
        Ok(())
    }

    async fn let_page_read(&self, request: &Request, answer: &mut Response) {
        if let (Some(bucket), true) = (target(request).0, request.headers.contains_key("origin")) {
            cors::allow(request, &self.cors_rules(&bucket).await, answer);
        }
    }

    async fn cors_rules(&self, bucket: &str) -> Vec<cors::Rule> {
        let answer = self.sub_call(Method::GET, bucket, None, "cors", Bytes::new()).await;
        if answer.status().is_success() { cors::rules(answer.body()) } else { Vec::new() }
    }

    async fn notifications(&self, bucket: &str) -> Vec<Notification> {
        let answer = self.sub_call(Method::GET, bucket, None, "notification", Bytes::new()).await;
        notification::read(answer.body()).unwrap_or_default()
    }

    async fn view(&self) -> S3StateView {
        self.service.snapshot(ACCOUNT, &self.region).await
    }

    /// A call of our own.
    async fn sub_call(
        &self,
        method: Method,
        bucket: &str,
        key: Option<&str>,
        query: &str,
        body: impl Into<Bytes>,
    ) -> Response {
        let request = Request { query: query.to_owned(), body: body.into(), ..bare(method) };
        self.pass(bucket, key, &request).await
    }

    /// Hands a request to winterbaume, which reads `%C3%A9` as two letters: within it a key is a string of its bytes.
    async fn pass(&self, bucket: &str, key: Option<&str>, request: &Request) -> Response {
        let mut passed = request.clone();
        passed.path = match key {
            Some(key) => format!("/{bucket}/{}", utf8_percent_encode(key, NON_ALPHANUMERIC)),
            None => format!("/{bucket}"),
        };
        passed.headers.remove(header::HOST);
        let call = backend::call(&self.service, &self.region, &passed);
        if matches!(request.method, Method::GET | Method::HEAD) {
            return call.await;
        }
        match blobs::watched(call).await {
            (answer, None) => answer,
            (_, Some(why)) => self.unwritten(&why).answer(Protocol::RestXml),
        }
    }
}

/// A bucket as policies name it.
pub(crate) fn bucket_arn(bucket: &str) -> String {
    format!("arn:aws:s3:::{bucket}")
}

/// An object as policies name it.
pub(crate) fn object_arn(bucket: &str, key: &str) -> String {
    format!("arn:aws:s3:::{bucket}/{key}")
}

/// Bucket, key and version that a request copies from.
pub(crate) fn copied(request: &Request) -> Option<(String, String, Option<String>)> {
    let Source { bucket, key, version } = copy_source(&request.headers).ok()?;
    Some((bucket, key, version))
}

/// Whether an answer tells that an object is not there.
fn is_missing(operation: &str, answer: &Response) -> bool {
    answer.status() == 404 && matches!(operation, "GetObject" | "HeadObject" | "GetObjectTagging" | "CopyObject")
}

fn bare(method: Method) -> Request {
    Request { method, path: "/".to_owned(), query: String::new(), headers: HeaderMap::new(), body: Bytes::new() }
}

/// The bucket and the key a request names, path-style or as a subdomain of localhost.
pub(crate) fn target(request: &Request) -> (Option<String>, Option<String>) {
    let path = request.path.strip_prefix('/').unwrap_or(&request.path);
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let some = |text: &str| (!text.is_empty()).then(|| decoded(text));
    if let Some(bucket) = request.header("host").and_then(bucket_of_host) {
        return (Some(bucket.to_owned()), some(path));
    }
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    (some(bucket), some(key))
}

fn bucket_of_host(host: &str) -> Option<&str> {
    let name = host.split(':').next()?;
    name.strip_suffix(".s3.localhost").or_else(|| name.strip_suffix(".localhost")).filter(|name| *name != "s3")
}

/// The text as winterbaume's string of bytes.
fn crooked(straight: &str) -> String {
    straight.bytes().map(char::from).collect()
}

/// `ListBuckets` of these regions.
pub(crate) async fn list_buckets(request: &Request, regions: &[&S3]) -> Response {
    let mut views = Vec::new();
    for s3 in regions {
        views.push((s3.region.as_str(), s3.view().await));
    }
    listing::buckets(request, &views)
}

/// The bucket that a copy comes from, where a request is one.
pub(crate) fn source_bucket(headers: &HeaderMap) -> Option<String> {
    copy_source(headers).ok().map(|source| source.bucket)
}

/// Where a copy comes from.
struct Source {
    bucket: String,
    key: String,
    version: Option<String>,
}

/// Unlike other values, the source of a copy may be sent unencoded.
fn copy_source(headers: &HeaderMap) -> Result<Source, Refusal> {
    let refused = || Refusal::new(400, "InvalidArgument", "x-amz-copy-source is malformed");
    let source = headers.get("x-amz-copy-source").ok_or_else(refused)?;
    let source = String::from_utf8_lossy(source.as_bytes()).into_owned();
    let (path, version) = match source.split_once("?versionId=") {
        Some((path, version)) => (path, Some(version.to_owned())),
        None => (source.as_str(), None),
    };
    let decoded = percent_decode_str(path).decode_utf8_lossy().into_owned();
    let (bucket, key) = decoded.strip_prefix('/').unwrap_or(&decoded).split_once('/').ok_or_else(refused)?;
    Ok(Source { bucket: bucket.to_owned(), key: key.to_owned(), version })
}

/// winterbaume reads a plus as a blank there.
fn straight_copy_source(headers: &mut HeaderMap) -> Result<(), Refusal> {
    let Source { bucket, key, version } = copy_source(headers)?;
    let version = version.map(|version| format!("?versionId={version}")).unwrap_or_default();
    let value = format!("/{bucket}/{}{version}", utf8_percent_encode(&key, NON_ALPHANUMERIC));
    let refused = |_| Refusal::new(400, "InvalidArgument", "x-amz-copy-source is malformed");
    headers.insert("x-amz-copy-source", value.parse().map_err(refused)?);
    Ok(())
}

fn keep_headers(headers: &mut HeaderMap) {
    for name in KEPT_HEADERS {
        let value = headers.get(*name).filter(|value| *value != "aws-chunked").cloned();
        let kept = HeaderName::try_from(format!("x-amz-meta-{KEPT_AS}{name}"));
        if let (Some(value), Ok(kept)) = (value, kept) {
            headers.insert(kept, value);
        }
    }
}

/// What an object's answer carries besides its bytes: the headers it was stored with, or those the request asks for.
fn finish_object(answer: &mut Response, request: &Request) {
    if !answer.status().is_success() {
        return straighten_body(answer);
    }
    for name in KEPT_HEADERS {
        if let Some(value) = answer.headers_mut().remove(format!("x-amz-meta-{KEPT_AS}{name}")) {
            answer.headers_mut().insert(*name, value);
        }
    }
    answer.headers_mut().insert("x-amz-server-side-encryption", HeaderValue::from_static("AES256"));
    for name in KEPT_HEADERS.iter().chain(&["content-type"]) {
        let asked = request.parameter(&format!("response-{name}"));
        if let Some(value) = asked.and_then(|value| value.parse().ok()) {
            answer.headers_mut().insert(*name, value);
        }
    }
}

/// S3 confirms the checksums it was sent.
fn give_back_checksums(request: &Request, answer: &mut Response) {
    answer.headers_mut().insert("x-amz-server-side-encryption", HeaderValue::from_static("AES256"));
    for name in Algorithm::ALL.map(Algorithm::header) {
        if let Some(value) = request.headers.get(name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
}

/// A refusal as S3 writes it; `HEAD` has no body to write it in.
fn refused(refusal: &Refusal, request: &Request) -> Response {
    if request.method == Method::HEAD {
        return empty(refusal.status);
    }
    let mut answer = refusal.answer(Protocol::RestXml);
    let resource = format!("<Resource>{}</Resource></Error>", escape(&request.path));
    let body = String::from_utf8_lossy(answer.body()).replace("</Error>", &resource);
    *answer.body_mut() = Bytes::from(body);
    answer
}

/// The refusal winterbaume wrote.
fn refusal_in(answer: &Response) -> Refusal {
    let part = |tag: &str| part_of(answer.body(), tag);
    Refusal {
        status: answer.status().as_u16(),
        code: part("Code").unwrap_or_else(|| "InternalError".to_owned()),
        message: part("Message").unwrap_or_default(),
    }
}

/// The text of the first element of this name.
fn part_of(body: &[u8], tag: &str) -> Option<String> {
    let body = straight(&String::from_utf8_lossy(body));
    let (_, rest) = body.split_once(&format!("<{tag}>"))?;
    Some(rest.split_once(&format!("</{tag}>"))?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_any_script_survive_winterbaume() {
        for key in ["Zoé/a b+c", "日本/écran.png", "plain"] {
            assert_eq!(straight(&crooked(key)), key);
        }
    }

    #[test]
    fn a_bucket_is_named_by_the_path_or_by_the_host() {
        let named = |host: &str, path: &str| {
            let mut request = Request { path: path.to_owned(), ..bare(Method::GET) };
            request.headers.insert("host", host.parse().unwrap());
            target(&request)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(named("127.0.0.1:4566", "/b/a%2Fb/c"), (some("b"), some("a/b/c")));
        assert_eq!(named("b.localhost:4566", "/a/b"), (some("b"), some("a/b")));
        assert_eq!(named("localhost", "/b/"), (some("b"), None));
        assert_eq!(named("localhost", "/"), (None, None));
    }
}
