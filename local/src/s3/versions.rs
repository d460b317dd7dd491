//! What a bucket keeps of each key once its versioning has been on: versions and delete markers, in their order.
//!
//! winterbaume stores the bytes, but loses versions without an id of their own and delete markers when something newer
//! comes. So the order is worked out here, as the user guide has it ("How S3 Versioning works", "Working with objects
//! in a versioning-suspended bucket"), and memory and disk are made to say it.

use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;
use winterbaume_core::StatefulService;
use winterbaume_s3::S3StateView;
use winterbaume_s3::views::{BucketStateView, DeleteMarkerView, ObjectView};

use super::{NAMESPACE, S3, Source, bare, copy_source, crooked, listing, part_of, records, refusal_in, refused};
use crate::ACCOUNT;
use crate::answer::{Protocol, Refusal, Response, escape, xml};
use crate::call::Request;

/// What a bucket does about versions; one that has never been told is neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Versioning {
    /// Whatever is written or deleted leaves what was there.
    Enabled,
    /// What is written or deleted replaces the null version and leaves the others.
    Suspended,
}

/// The id of what was written or deleted before versioning was enabled, or while it was suspended.
pub(super) const NULL: &str = "null";

/// What winterbaume may remove in place of the bytes of a version.
const STAND_IN: &str = "stand-in";

/// What there is of one key, the newest first. At most one of them has the null id.
#[derive(Debug, Clone, Default)]
pub(super) struct Stack(Vec<Entry>);

#[derive(Debug, Clone)]
enum Entry {
    Version(Box<ObjectView>),
    Marker(DeleteMarkerView),
}

impl Entry {
    fn id(&self) -> &str {
        match self {
            Entry::Version(object) => &object.version_id,
            Entry::Marker(marker) => &marker.version_id,
        }
    }

    /// In a form in which later dates are greater texts.
    fn date(&self) -> &str {
        let date = match self {
            Entry::Version(object) => &object.last_modified,
            Entry::Marker(marker) => &marker.last_modified,
        };
        date.as_deref().unwrap_or_default()
    }
}

/// What a deletion has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Removed {
    /// There was nothing to delete.
    Nothing,
    /// An object is gone, or the version with this id.
    Object(Option<String>),
    /// The delete marker with this id is gone.
    Marker(String),
    /// A delete marker with this id hides what was there.
    Hidden(String),
}

impl Stack {
    /// What a bucket has of a key, by its crooked name.
    pub(super) fn of(bucket: &BucketStateView, key: &str) -> Stack {
        let versions = records::versions(bucket, key).map(|object| Entry::Version(Box::new(object.clone())));
        let markers = bucket.delete_markers.get(key).into_iter().flatten().cloned().map(Entry::Marker);
        let mut entries: Vec<Entry> = versions.chain(markers).collect();
        entries.sort_by(|one, other| other.date().cmp(one.date()));
        let mut stack = Stack(entries);
        stack.keep_one_null();
        stack
    }

    /// Makes a bucket have this of a key.
    pub(super) fn store(&self, bucket: &mut BucketStateView, key: &str) {
        let versions = self.0.iter().filter_map(|entry| match entry {
            Entry::Version(object) => Some((**object).clone()),
            Entry::Marker(_) => None,
        });
        let markers = self.0.iter().filter_map(|entry| match entry {
            Entry::Version(_) => None,
            Entry::Marker(marker) => Some(marker.clone()),
        });
        set(&mut bucket.object_history, key, versions.collect());
        set(&mut bucket.delete_markers, key, markers.collect());
        match self.current() {
            Some(current) => bucket.objects.insert(key.to_owned(), current.clone()),
            None => bucket.objects.remove(key),
        };
    }

    /// What a reader who names no version gets.
    fn current(&self) -> Option<&ObjectView> {
        match self.0.first()? {
            Entry::Version(object) => Some(object),
            Entry::Marker(_) => None,
        }
    }

    /// The id of the delete marker on top.
    fn hidden_by(&self) -> Option<&str> {
        match self.0.first()? {
            Entry::Marker(marker) => Some(&marker.version_id),
            Entry::Version(_) => None,
        }
    }

    fn has_marker(&self, id: &str) -> bool {
        self.0.iter().any(|entry| matches!(entry, Entry::Marker(marker) if marker.version_id == id))
    }

    /// Whether these bytes are none of those that were there.
    fn lacks(&self, object: &ObjectView) -> bool {
        let same =
            |entry: &Entry| matches!(entry, Entry::Version(old) if old.blob_version_id == object.blob_version_id);
        object.blob_version_id != STAND_IN && !self.0.iter().any(same)
    }

    fn put(&mut self, object: ObjectView) {
        self.push(Entry::Version(Box::new(object)));
    }

    /// Deletes the version with this id for good, or hides them all behind a delete marker.
    pub(super) fn delete(&mut self, key: &str, version: Option<&str>, versioning: Versioning) -> Removed {
        let Some(id) = version else {
            let id = match versioning {
                Versioning::Enabled => Uuid::new_v4().to_string(),
                Versioning::Suspended => NULL.to_owned(),
            };
            let marker = DeleteMarkerView { key: key.to_owned(), version_id: id.clone(), last_modified: Some(now()) };
            self.push(Entry::Marker(marker));
            return Removed::Hidden(id);
        };
        match self.0.iter().position(|entry| entry.id() == id).map(|at| self.0.remove(at)) {
            None => Removed::Nothing,
            Some(Entry::Version(_)) => Removed::Object(Some(id.to_owned())),
            Some(Entry::Marker(_)) => Removed::Marker(id.to_owned()),
        }
    }

    fn push(&mut self, entry: Entry) {
        self.0.insert(0, entry);
        self.keep_one_null();
    }

    /// The newest one counts: it has replaced the others.
    fn keep_one_null(&mut self) {
        let mut found = false;
        self.0.retain(|entry| entry.id() != NULL || !std::mem::replace(&mut found, true));
    }
}

fn set<T>(lists: &mut HashMap<String, Vec<T>>, key: &str, list: Vec<T>) {
    match list.is_empty() {
        true => lists.remove(key),
        false => lists.insert(key.to_owned(), list),
    };
}

/// As winterbaume writes it.
fn now() -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]+00:00");
    OffsetDateTime::now_utc().format(format).unwrap_or_default()
}

/// Whether an operation changes which versions there are, where there are any.
pub(super) fn are_changed_by(operation: &str) -> bool {
    matches!(operation, "CompleteMultipartUpload" | "CopyObject" | "DeleteObject" | "DeleteObjects" | "PutObject")
}

/// Every key of which there is anything.
fn keys(bucket: &BucketStateView) -> Vec<String> {
    let all = bucket.objects.keys().chain(bucket.object_history.keys()).chain(bucket.delete_markers.keys());
    let mut all: Vec<String> = all.cloned().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Puts everything in a bucket that keeps versions in its order.
pub(super) fn put_in_order(bucket: &mut BucketStateView) {
    for key in keys(bucket) {
        Stack::of(bucket, &key).store(bucket, &key);
    }
}

impl S3 {
    /// What a bucket does about versions.
    pub(super) async fn versioning(&self, bucket: &str) -> Option<Versioning> {
        let answer = self.sub_call(Method::GET, bucket, None, "versioning", Bytes::new()).await;
        match part_of(answer.body(), "Status")?.as_str() {
            "Enabled" => Some(Versioning::Enabled),
            "Suspended" => Some(Versioning::Suspended),
            _ => None,
        }
    }

    /// `PutBucketVersioning`: from now on what is there is the null version.
    pub(super) async fn put_versioning(&self, bucket: &str, request: &Request) -> Result<Response, Refusal> {
        if !part_of(&request.body, "Status").is_some_and(|status| matches!(status.as_str(), "Enabled" | "Suspended")) {
            let text = "The Versioning element must be specified";
            return Err(Refusal::new(400, "IllegalVersioningConfigurationException", text));
        }
        let answer = self.pass(bucket, None, request).await;
        if answer.status().is_success() {
            let mut view = self.view().await;
            view.buckets.get_mut(bucket).into_iter().for_each(put_in_order);
            self.remember(view).await?;
        }
        Ok(answer)
    }

    /// Lets winterbaume make an object; where the bucket keeps versions, those that were there stay.
    pub(super) async fn make(&self, bucket: &str, key: &str, request: &Request) -> Response {
        match self.versioning(bucket).await {
            None => self.pass(bucket, Some(key), request).await,
            Some(versioning) => {
                let made = self.make_version(bucket, key, versioning, request).await;
                made.unwrap_or_else(|refusal| refusal.answer(Protocol::RestXml))
            }
        }
    }

    async fn make_version(
        &self,
        bucket: &str,
        key: &str,
        versioning: Versioning,
        request: &Request,
    ) -> Result<Response, Refusal> {
        let name = crooked(key);
        let mut stack = self.stack(bucket, &name).await;
        if let (Versioning::Suspended, Some(current)) = (versioning, stack.current()) {
            self.stand_in(bucket, current).await?;
        }
        let answer = self.pass(bucket, Some(key), request).await;
        if self.is_astray() {
            return Ok(answer);
        }
        let mut view = self.view().await;
        let newest = view.buckets.get_mut(bucket).and_then(|content| content.objects.remove(&name));
        if let Some(newest) = newest.filter(|newest| stack.lacks(newest)) {
            stack.put(newest);
        }
        self.install(bucket, [(name, stack)]).await?;
        Ok(answer)
    }

    /// While versioning is suspended winterbaume removes the bytes of what is current, whichever version it is. It gets
    /// something to remove that is not there.
    async fn stand_in(&self, bucket: &str, current: &ObjectView) -> Result<(), Refusal> {
        let stand_in = ObjectView { blob_version_id: STAND_IN.to_owned(), ..current.clone() };
        let content = BucketStateView { objects: [(current.key.clone(), stand_in)].into(), ..Default::default() };
        let view = S3StateView { buckets: [(bucket.to_owned(), content)].into() };
        let merged = self.service.merge(ACCOUNT, &self.region, view).await;
        merged.map_err(|fault| self.unwritten(&fault.to_string()))
    }

    async fn stack(&self, bucket: &str, name: &str) -> Stack {
        let view = self.view().await;
        view.buckets.get(bucket).map(|content| Stack::of(content, name)).unwrap_or_default()
    }

    /// Deletes from a bucket that keeps versions; each key is given with the version that is meant, if one is.
    pub(super) async fn remove_versions(
        &self,
        bucket: &str,
        doomed: &[(&str, Option<&str>)],
        versioning: Versioning,
    ) -> Result<Vec<Removed>, Refusal> {
        let view = self.view().await;
        let mut stacks: HashMap<String, Stack> = HashMap::new();
        let mut removed = Vec::with_capacity(doomed.len());
        if let Some(content) = view.buckets.get(bucket) {
            for (key, version) in doomed {
                let name = crooked(key);
                let stack = stacks.entry(name.clone()).or_insert_with(|| Stack::of(content, &name));
                removed.push(stack.delete(&name, *version, versioning));
            }
        }
        self.install(bucket, stacks).await?;
        Ok(removed)
    }

    /// Makes disk and memory have this of these keys. Nobody else may be calling.
    async fn install(&self, bucket: &str, stacks: impl IntoIterator<Item = (String, Stack)>) -> Result<(), Refusal> {
        let mut view = self.view().await;
        let Some(content) = view.buckets.get_mut(bucket) else {
            return Ok(());
        };
        for (name, stack) in stacks {
            stack.store(content, &name);
            let written = self.records.write(content, &name).await;
            written.map_err(|fault| self.unwritten(&format!("{fault:#}")))?;
        }
        self.remember(view).await
    }

    async fn remember(&self, view: S3StateView) -> Result<(), Refusal> {
        let restored = self.service.restore(ACCOUNT, &self.region, view).await;
        restored.map_err(|fault| self.unwritten(&fault.to_string()))
    }

    /// Says of which version an object is, or why the version that is asked for is not to be had.
    pub(super) async fn tell_version(
        &self,
        bucket: &str,
        key: &str,
        versioning: Option<Versioning>,
        request: &Request,
        mut answer: Response,
    ) -> Response {
        let asked = request.parameter("versionId");
        if answer.status() == 404 {
            return match (versioning, asked) {
                (None, None) => answer,
                (None, Some(_)) => refused(&no_such_version(), request),
                (Some(_), asked) => self.tell_absence(bucket, key, asked.as_deref(), request, answer).await,
            };
        }
        let is_there = answer.status().is_success() || answer.status() == 304;
        if is_there && versioning.is_some() && !answer.headers().contains_key(VERSION) {
            answer.headers_mut().insert(VERSION, HeaderValue::from_static(NULL));
        }
        answer
    }

    async fn tell_absence(
        &self,
        bucket: &str,
        key: &str,
        asked: Option<&str>,
        request: &Request,
        answer: Response,
    ) -> Response {
        let stack = self.stack(bucket, &crooked(key)).await;
        match asked {
            None => match stack.hidden_by() {
                Some(marker) => marked(answer, marker),
                None => answer,
            },
            Some(id) if stack.has_marker(id) => {
                let text = "The specified method is not allowed against this resource.";
                let mut answer = refused(&Refusal::new(405, "MethodNotAllowed", text), request);
                answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("DELETE"));
                marked(answer, id)
            }
            Some(_) => refused(&no_such_version(), request),
        }
    }

    /// Copies a version, or an object onto itself, by its bytes: winterbaume knows only what is current as a source, and
    /// has it no more once a null version is replaced.
    pub(super) async fn copy_version(&self, bucket: &str, key: &str, request: &Request) -> Result<Response, Refusal> {
        let found = self.source(request).await?;
        let version = found.headers().get(VERSION).cloned();
        let made = self.make(bucket, key, &upload_of(found, request)).await;
        if !made.status().is_success() {
            return Ok(made);
        }
        let etag = made.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default();
        let mut answer = xml(
            200,
            format!(
                "<CopyObjectResult xmlns=\"{NAMESPACE}\"><LastModified>{}</LastModified><ETag>{}</ETag></CopyObjectResult>",
                listing::moment(Some(&now())),
                escape(etag)
            ),
        );
        answer
            .headers_mut()
            .extend(made.headers().get(VERSION).map(|id| (HeaderName::from_static(VERSION), id.clone())));
        answer.headers_mut().extend(version.map(|id| (HeaderName::from_static(SOURCE_VERSION), id)));
        Ok(answer)
    }

    /// What a copy is made of, if its conditions hold.
    async fn source(&self, request: &Request) -> Result<Response, Refusal> {
        let Source { bucket, key, version } = copy_source(&request.headers)?;
        let mut get = bare(Method::GET);
        get.query = version.map(|id| format!("versionId={id}")).unwrap_or_default();
        for (of_source, condition) in SOURCE_CONDITIONS {
            get.headers.extend(
                request.headers.get(*of_source).map(|value| (HeaderName::from_static(condition), value.clone())),
            );
        }
        let versioning = self.versioning(&bucket).await;
        let found = self.pass(&bucket, Some(&key), &plainly(&get, versioning)).await;
        let found = self.tell_version(&bucket, &key, versioning, &get, found).await;
        match found.status().as_u16() {
            304 | 412 => {
                let text = "At least one of the pre-conditions you specified did not hold";
                Err(Refusal::new(412, "PreconditionFailed", text))
            }
            200 => Ok(found),
            _ => Err(refusal_in(&found)),
        }
    }
}

/// What a request asks of a bucket without versions, where the null version is the object itself.
pub(super) fn plainly(request: &Request, versioning: Option<Versioning>) -> Request {
    let mut plain = request.clone();
    if versioning.is_none() {
        let others: Vec<&str> = request.query.split('&').filter(|part| *part != "versionId=null").collect();
        plain.query = others.join("&");
    }
    plain
}

/// The upload that makes the same object again, with the metadata that the copy is to have.
fn upload_of(found: Response, request: &Request) -> Request {
    let (head, body) = found.into_parts();
    let is_replaced = request.header("x-amz-metadata-directive") == Some("REPLACE");
    let metadata = if is_replaced { &request.headers } else { &head.headers };
    let is_metadata = |name: &HeaderName| *name == header::CONTENT_TYPE || name.as_str().starts_with("x-amz-meta-");
    let headers = metadata.iter().filter(|(name, _)| is_metadata(name));
    let headers = headers.map(|(name, value)| (name.clone(), value.clone())).collect();
    Request { headers, body, ..bare(Method::PUT) }
}

fn no_such_version() -> Refusal {
    Refusal::new(404, "NoSuchVersion", "The specified version does not exist.")
}

/// An answer that tells of a delete marker.
pub(super) fn marked(mut answer: Response, id: &str) -> Response {
    answer.headers_mut().insert("x-amz-delete-marker", HeaderValue::from_static("true"));
    of_version(answer, id)
}

/// An answer that tells of a version.
pub(super) fn of_version(mut answer: Response, id: &str) -> Response {
    if let Ok(id) = HeaderValue::from_str(id) {
        answer.headers_mut().insert(VERSION, id);
    }
    answer
}

/// The header that names a version.
const VERSION: &str = "x-amz-version-id";
const SOURCE_VERSION: &str = "x-amz-copy-source-version-id";

/// Headers that make a copy depend on its source, each with the one that makes a `GET` depend on it.
const SOURCE_CONDITIONS: &[(&str, &str)] = &[
    ("x-amz-copy-source-if-match", "if-match"),
    ("x-amz-copy-source-if-none-match", "if-none-match"),
    ("x-amz-copy-source-if-modified-since", "if-modified-since"),
    ("x-amz-copy-source-if-unmodified-since", "if-unmodified-since"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// An object whose bytes are known by a name; the later in the alphabet the later it was written.
    fn object(name: &str, version: &str) -> ObjectView {
        serde_json::from_value(serde_json::json!({
            "key": "k", "content_type": "text/plain", "etag": "\"0\"", "storage_class": "STANDARD",
            "last_modified": format!("2026-01-02T03:04:05.{name}+00:00"),
            "version_id": version, "blob_version_id": name,
        }))
        .unwrap()
    }

    /// What is left of a key after some writes and deletions, the newest first, through a bucket and back.
    fn ids(stack: &Stack) -> Vec<String> {
        let mut bucket = BucketStateView::default();
        stack.store(&mut bucket, "k");
        let again = Stack::of(&bucket, "k");
        assert_eq!(bucket.objects.contains_key("k"), stack.current().is_some());
        let kind = |entry: &Entry| match entry {
            Entry::Version(object) => object.blob_version_id.clone(),
            Entry::Marker(marker) if marker.version_id == NULL => "null marker".to_owned(),
            Entry::Marker(_) => "marker".to_owned(),
        };
        again.0.iter().map(kind).collect()
    }

    #[test]
    fn what_was_there_before_versioning_is_the_null_version_and_stays() {
        let mut bucket =
            BucketStateView { objects: [("k".to_owned(), object("1", NULL))].into(), ..Default::default() };
        put_in_order(&mut bucket);
        assert_eq!(bucket.object_history["k"].len(), 1);
        let mut stack = Stack::of(&bucket, "k");
        stack.put(object("2", "a"));
        assert_eq!(ids(&stack), ["2", "1"]);
        assert_eq!(stack.delete("k", Some("a"), Versioning::Enabled), Removed::Object(Some("a".into())));
        assert_eq!(ids(&stack), ["1"]);
        assert_eq!(stack.delete("k", Some(NULL), Versioning::Enabled), Removed::Object(Some(NULL.into())));
        assert_eq!(stack.delete("k", Some(NULL), Versioning::Enabled), Removed::Nothing);
        assert!(ids(&stack).is_empty());
    }

    #[test]
    fn while_suspended_the_null_version_is_replaced_and_the_others_stay() {
        let mut stack = Stack::default();
        stack.put(object("1", NULL));
        stack.put(object("2", "a"));
        stack.put(object("3", NULL));
        assert_eq!(ids(&stack), ["3", "2"]);
        assert_eq!(stack.delete("k", None, Versioning::Suspended), Removed::Hidden(NULL.into()));
        assert_eq!(ids(&stack), ["null marker", "2"]);
        assert_eq!(stack.delete("k", None, Versioning::Suspended), Removed::Hidden(NULL.into()));
        assert_eq!(ids(&stack), ["null marker", "2"]);
        assert_eq!(stack.hidden_by(), Some(NULL));
        assert_eq!(stack.delete("k", Some(NULL), Versioning::Suspended), Removed::Marker(NULL.into()));
        assert_eq!(ids(&stack), ["2"]);
    }

    #[test]
    fn delete_markers_outlive_what_comes_after_them() {
        let mut stack = Stack::default();
        stack.put(object("1", "a"));
        let Removed::Hidden(first) = stack.delete("k", None, Versioning::Enabled) else { panic!("no marker") };
        let Removed::Hidden(second) = stack.delete("k", None, Versioning::Enabled) else { panic!("no marker") };
        assert_ne!(first, second);
        assert_eq!(ids(&stack), ["marker", "marker", "1"]);
        assert_eq!(stack.delete("k", Some(&second), Versioning::Enabled), Removed::Marker(second));
        assert_eq!(stack.hidden_by(), Some(first.as_str()));
        assert_eq!(stack.delete("k", Some(&first), Versioning::Enabled), Removed::Marker(first));
        assert_eq!(ids(&stack), ["1"]);
    }

    #[test]
    fn the_null_version_of_a_bucket_without_versions_is_the_object_itself() {
        let asking = |query: &str| Request { query: query.to_owned(), ..bare(Method::GET) };
        assert_eq!(plainly(&asking("versionId=null&x=1"), None).query, "x=1");
        assert_eq!(plainly(&asking("versionId=a"), None).query, "versionId=a");
        assert_eq!(plainly(&asking("versionId=null"), Some(Versioning::Suspended)).query, "versionId=null");
    }
}
