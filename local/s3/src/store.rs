//! The state of S3: buckets, their keys, the versions of each key, and uploads in progress.
//!
//! The state is in memory, its changes are in a chronicle, and the bytes are in files that the state names. A change is
//! decided, logged and applied atomically: no reader sees half of it, and a change that cannot be logged does not
//! happen.

mod change;
mod ids;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use parking_lot::{RwLock, RwLockReadGuard};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::blobs::{Blob, Blobs};
use super::checksum::{Algorithm, Sum};
use super::encryption::ObjectKey;
use super::lock::{Lock, Retention};
use kit::answer::Refusal;
use kit::chronicle::{Chronicle, Past};

pub(super) use change::Change;
use change::named;
use ids::upload_order;
pub(super) use ids::{Ids, place};

/// The ID of versions that were written or deleted before versioning was enabled, or while it was suspended.
pub(super) const NULL: &str = "null";

/// The whole state.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    pub buckets: BTreeMap<String, Bucket>,
    /// By id.
    pub uploads: BTreeMap<String, MultipartUpload>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Bucket {
    /// In Unix milliseconds, like all times here.
    pub created: i64,
    pub settings: BucketSettings,
    /// The versions of each key, the newest last. Every key has at least one; at most one has the null ID.
    pub keys: BTreeMap<String, Vec<Version>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct BucketSettings {
    /// `None` if versioning was never set.
    pub versioning: Option<Versioning>,
    /// Whether versions can be locked, and their default retention.
    pub lock: Option<Lock>,
    /// The documents of the other settings, by the name of their subresource.
    pub documents: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Versioning {
    /// Writes and deletions leave the existing versions.
    Enabled,
    /// Writes and deletions replace the null version, and leave the others.
    Suspended,
}

/// A version of a key: an object, or a delete marker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Version {
    pub id: String,
    pub modified: i64,
    pub object: Option<Box<Object>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Object {
    #[serde(alias = "about")]
    pub metadata: Metadata,
    /// Without its quotes.
    pub etag: String,
    pub size: u64,
    pub sum: Option<Sum>,
    pub content: Content,
}

/// The metadata that an upload gives an object. States that an earlier version wrote have it under the name `about`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Metadata {
    /// Headers that every reader gets, by name, including the user-defined metadata.
    pub headers: BTreeMap<String, String>,
    pub tags: Vec<(String, String)>,
    pub class: Class,
    pub retention: Option<Retention>,
    pub is_held: bool,
    /// The key of KMS that it is encrypted with, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<ObjectKey>,
}

/// The name of a storage class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Class(pub String);

impl Default for Class {
    fn default() -> Class {
        Class("STANDARD".to_owned())
    }
}

/// The location of an object's bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Content {
    Whole(Blob),
    Parts(Vec<Part>),
}

impl Default for Content {
    fn default() -> Content {
        Content::Parts(Vec::new())
    }
}

impl Content {
    pub(super) fn blobs(&self) -> Vec<Blob> {
        self.iter().cloned().collect()
    }

    fn iter(&self) -> impl Iterator<Item = &Blob> {
        let (whole, parts) = match self {
            Content::Whole(blob) => (Some(blob), &[][..]),
            Content::Parts(parts) => (None, parts.as_slice()),
        };
        whole.into_iter().chain(parts.iter().map(|part| &part.blob))
    }
}

/// A part of an upload, and of the object that it became.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Part {
    pub number: u32,
    pub written: i64,
    pub etag: String,
    pub sum: Option<Sum>,
    pub blob: Blob,
}

/// A multipart upload in progress.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct MultipartUpload {
    pub bucket: String,
    pub key: String,
    pub begun: i64,
    #[serde(alias = "about")]
    pub metadata: Metadata,
    /// The checksum algorithm that the client chose, if any, and what the object's checksum is computed from.
    pub algorithm: Option<(Algorithm, ChecksumType)>,
    pub parts: BTreeMap<u32, Part>,
}

/// The input of a multipart object's checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ChecksumType {
    /// The checksums of its parts.
    Composite,
    /// All bytes.
    FullObject,
}

impl State {
    pub(super) fn bucket(&self, name: &str) -> Result<&Bucket, Refusal> {
        let absent = || Refusal::new(404, "NoSuchBucket", "The specified bucket does not exist");
        self.buckets.get(name).ok_or_else(absent)
    }

    fn blobs(&self) -> impl Iterator<Item = &Blob> {
        let versions = self.buckets.values().flat_map(|bucket| bucket.keys.values().flatten());
        let objects = versions.filter_map(|version| version.object.as_ref());
        let parts = self.uploads.values().flat_map(|upload| upload.parts.values());
        objects.flat_map(|object| object.content.iter()).chain(parts.map(|part| &part.blob))
    }
}

impl Bucket {
    /// The versions of a key, the newest last.
    pub(super) fn versions(&self, key: &str) -> &[Version] {
        self.keys.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// The version that a read without a version ID gets; `None` if there is none, or the newest is a delete marker.
    pub(super) fn current(&self, key: &str) -> Option<(&Version, &Object)> {
        let version = self.versions(key).last()?;
        Some((version, version.object.as_deref()?))
    }

    pub(super) fn version(&self, key: &str, id: &str) -> Option<&Version> {
        self.versions(key).iter().rev().find(|version| version.id == id)
    }

    /// The ID of the next version to be written.
    pub(super) fn next_id(&self, ids: &Ids) -> String {
        match self.settings.versioning {
            Some(Versioning::Enabled) => ids.next(),
            None | Some(Versioning::Suspended) => NULL.to_owned(),
        }
    }
}

/// The current time in Unix milliseconds.
pub(super) fn now() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}

/// The state and its storage.
pub(super) struct Store {
    inner: RwLock<Inner>,
    pub blobs: Blobs,
    pub ids: Ids,
}

struct Inner {
    state: State,
    chronicle: Chronicle,
}

impl Store {
    /// Loads the data of an earlier server in `dir`.
    ///
    /// Errors: a file is damaged or missing; the error names it.
    pub(super) fn open(dir: &Path) -> anyhow::Result<Store> {
        refuse_older(dir)?;
        let (chronicle, Past { snapshot, changes }) = Chronicle::open(dir, "s3")?;
        let mut state: State = match snapshot {
            Some(snapshot) => serde_json::from_value(snapshot)
                .with_context(|| format!("{} is damaged", dir.join("s3.json").display()))?,
            None => State::default(),
        };
        let mut freed = Vec::new();
        for line in changes {
            let changes: Vec<Change> = serde_json::from_slice(&line)
                .with_context(|| format!("the log of {} is damaged", dir.join("s3.json").display()))?;
            changes.into_iter().for_each(|change| state.apply(change, &mut freed));
        }
        let blobs = Blobs::new(dir.join("objects"));
        blobs.check(state.blobs())?;
        let ids = Ids::default();
        let versions = state.buckets.values().flat_map(|bucket| bucket.keys.values().flatten());
        versions.for_each(|version| ids.seen(&version.id));
        state.uploads.keys().for_each(|id| ids.seen(upload_order(id)));
        Ok(Store { inner: RwLock::new(Inner { state, chronicle }), blobs, ids })
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.inner().state)
    }

    fn inner(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read()
    }

    /// Calls `decide` with the current state, and applies the changes that it returns: all of them or, if they cannot
    /// be written, none.
    pub(super) fn change<T>(
        &self,
        decide: impl FnOnce(&State, &Ids) -> Result<(Vec<Change>, T), Refusal>,
    ) -> Result<T, Refusal> {
        let mut guard = self.inner.write();
        let Inner { state, chronicle } = &mut *guard;
        let (changes, decided) = decide(state, &self.ids)?;
        if changes.is_empty() {
            return Ok(decided);
        }
        let line = serde_json::to_vec(&changes).map_err(|fault| unwritten(&fault.to_string()))?;
        chronicle.append(&line).map_err(|fault| unwritten(&fault.to_string()))?;
        let kept: Vec<Blob> = changes.iter().flat_map(named).cloned().collect();
        let mut freed = Vec::new();
        changes.into_iter().for_each(|change| state.apply(change, &mut freed));
        if chronicle.is_long()
            && let Err(fault) = chronicle.rewrite(state)
        {
            tracing::warn!(%fault, "the log of the buckets could not be made shorter");
        }
        drop(guard);
        freed.retain(|blob| !kept.iter().any(|kept| kept.id == blob.id));
        self.blobs.remove(&freed);
        Ok(decided)
    }
}

/// The error for a failed write, which had no effect.
pub(super) fn unwritten(why: &str) -> Refusal {
    tracing::error!("the local AWS cannot write its objects: {why}");
    let text =
        format!("We encountered an internal error. Please try again. (the local AWS cannot write its objects: {why})");
    Refusal::new(500, "InternalError", text)
}

/// Refuses the directory of an earlier version, which stored objects in another way.
fn refuse_older(dir: &Path) -> anyhow::Result<()> {
    let old = dir.join("s3");
    if !old.is_dir() {
        return Ok(());
    }
    anyhow::bail!(
        "{} holds the objects of an earlier version, which this one cannot read: `deployer local reset` removes them with everything else of this local AWS",
        old.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(id: &str, blob: Blob) -> Version {
        let object = Object { size: blob.size, content: Content::Whole(blob), ..Object::default() };
        Version { id: id.to_owned(), modified: now(), object: Some(Box::new(object)) }
    }

    fn put(store: &Store, id: &str, blob: &Blob) -> Result<(), Refusal> {
        let version = version(id, blob.clone());
        store.change(|_, _| Ok((vec![Change::Put { bucket: "b".into(), key: "k".into(), version }], ())))
    }

    fn ids(store: &Store) -> Vec<String> {
        store.read(|state| state.buckets["b"].versions("k").iter().map(|version| version.id.clone()).collect())
    }

    #[test]
    fn metadata_is_read_under_the_name_that_earlier_versions_wrote() {
        let metadata = Metadata { tags: vec![("a".into(), "b".into())], ..Metadata::default() };
        let mut object = serde_json::to_value(Object { metadata: metadata.clone(), ..Object::default() }).unwrap();
        object["about"] = object.as_object_mut().unwrap().remove("metadata").unwrap();
        assert_eq!(serde_json::from_value::<Object>(object).unwrap().metadata, metadata);
        let change = serde_json::json!({ "Retell": { "bucket": "b", "key": "k", "id": "v", "about": metadata } });
        let change: Change = serde_json::from_value(change).unwrap();
        assert!(matches!(change, Change::SetMetadata { metadata: read, .. } if read == metadata));
    }

    #[tokio::test]
    async fn changes_are_read_back_and_orphaned_bytes_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let settings = BucketSettings::default();
        let new = Change::NewBucket { bucket: "b".into(), created: 1, settings };
        store.change(|_, _| Ok((vec![new], ()))).unwrap();
        let mut blobs = Vec::new();
        for text in ["one", "two", "three"] {
            blobs.push(store.blobs.write(text.into()).await.unwrap());
        }
        put(&store, NULL, &blobs[0]).unwrap();
        put(&store, "a", &blobs[1]).unwrap();
        put(&store, NULL, &blobs[2]).unwrap();
        assert_eq!(ids(&store), ["a", NULL]);
        assert!(store.blobs.read(vec![blobs[0].clone()], 0..1).await.is_err());
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(ids(&store), ["a", NULL]);
        let remove = Change::Remove { bucket: "b".into(), key: "k".into(), id: "a".into() };
        store.change(|_, _| Ok((vec![remove], ()))).unwrap();
        assert!(store.blobs.read(vec![blobs[1].clone()], 0..1).await.is_err());
        std::fs::remove_file(dir.path().join("objects").join(&blobs[2].id)).unwrap();
        let fault = Store::open(dir.path()).err().map(|fault| format!("{fault:#}")).unwrap();
        assert!(fault.contains(&blobs[2].id) && fault.contains("is missing"), "{fault}");
    }

    #[test]
    fn ids_also_grow_after_the_clock_has_gone_back() {
        let later = |hours: u64| {
            let ns =
                u64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos()).unwrap() + hours * 3_600_000_000_000;
            format!("{ns:016x}{:016x}", 0)
        };
        let bucket = || "b".to_owned();
        let upload = MultipartUpload {
            bucket: bucket(),
            key: "k".to_owned(),
            begun: 1,
            metadata: Metadata::default(),
            algorithm: None,
            parts: BTreeMap::new(),
        };
        for changes in [
            vec![Change::Begin { id: format!("{}{}", later(2), "0".repeat(32)), upload }],
            vec![
                Change::NewBucket { bucket: bucket(), created: 1, settings: BucketSettings::default() },
                Change::Put {
                    bucket: bucket(),
                    key: "k".into(),
                    version: Version { id: later(2), modified: 1, object: None },
                },
            ],
        ] {
            let dir = tempfile::tempdir().unwrap();
            Store::open(dir.path()).unwrap().change(|_, _| Ok((changes, ()))).unwrap();
            let next = Store::open(dir.path()).unwrap().ids.next();
            assert!(next > later(1), "{next}");
        }
    }

    #[test]
    fn ids_grow_and_an_older_directory_is_refused_with_a_remedy() {
        let ids = Ids::default();
        let (one, two) = (ids.next(), ids.next());
        assert!(place(&one) < place(&two) && place(NULL).is_none());
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("s3")).unwrap();
        let fault = Store::open(dir.path()).err().unwrap().to_string();
        assert!(fault.contains("deployer local reset"), "{fault}");
    }
}
