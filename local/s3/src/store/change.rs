//! Changes of the state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Bucket, BucketSettings, Metadata, MultipartUpload, NULL, Part, State, Version};
use crate::blobs::Blob;

/// One change of the state.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Change {
    NewBucket {
        bucket: String,
        created: i64,
        settings: BucketSettings,
    },
    Settings {
        bucket: String,
        settings: BucketSettings,
    },
    NoBucket {
        bucket: String,
    },
    /// A new version of a key. One with the null ID replaces an existing one.
    Put {
        bucket: String,
        key: String,
        version: Version,
    },
    /// The metadata of a version changes.
    #[serde(alias = "Retell")]
    SetMetadata {
        bucket: String,
        key: String,
        id: String,
        #[serde(alias = "about")]
        metadata: Metadata,
    },
    Remove {
        bucket: String,
        key: String,
        id: String,
    },
    Begin {
        id: String,
        upload: MultipartUpload,
    },
    Part {
        id: String,
        part: Part,
    },
    /// An upload was completed or aborted.
    End {
        id: String,
    },
}

impl State {
    /// Applies a change, and adds the blobs that it leaves unreferenced to `freed`.
    pub(super) fn apply(&mut self, change: Change, freed: &mut Vec<Blob>) {
        match change {
            Change::NewBucket { bucket, created, settings } => {
                self.buckets.insert(bucket, Bucket { created, settings, keys: BTreeMap::new() });
            }
            Change::Settings { bucket, settings } => {
                self.buckets.entry(bucket).and_modify(|found| found.settings = settings);
            }
            Change::NoBucket { bucket } => {
                self.buckets.remove(&bucket);
            }
            Change::Put { bucket, key, version } => {
                let Some(found) = self.buckets.get_mut(&bucket) else { return };
                let versions = found.keys.entry(key).or_default();
                if version.id == NULL {
                    take(versions, NULL, freed);
                }
                versions.push(version);
            }
            Change::SetMetadata { bucket, key, id, metadata } => {
                let versions = self.buckets.get_mut(&bucket).and_then(|found| found.keys.get_mut(&key));
                let version = versions.into_iter().flatten().find(|version| version.id == id);
                if let Some(object) = version.and_then(|version| version.object.as_mut()) {
                    object.metadata = metadata;
                }
            }
            Change::Remove { bucket, key, id } => {
                let Some(found) = self.buckets.get_mut(&bucket) else { return };
                let Some(versions) = found.keys.get_mut(&key) else { return };
                take(versions, &id, freed);
                if versions.is_empty() {
                    found.keys.remove(&key);
                }
            }
            Change::Begin { id, upload } => {
                self.uploads.insert(id, upload);
            }
            Change::Part { id, part } => {
                if let Some(upload) = self.uploads.get_mut(&id) {
                    freed.extend(upload.parts.insert(part.number, part).map(|old| old.blob));
                }
            }
            Change::End { id } => {
                let parts = self.uploads.remove(&id).into_iter().flat_map(|upload| upload.parts.into_values());
                freed.extend(parts.map(|part| part.blob));
            }
        }
    }
}

fn take(versions: &mut Vec<Version>, id: &str, freed: &mut Vec<Blob>) {
    if let Some(at) = versions.iter().position(|version| version.id == id)
        && let Some(object) = versions.remove(at).object
    {
        freed.extend(object.content.iter().cloned());
    }
}

/// The blobs that a change references.
pub(super) fn named(change: &Change) -> Vec<&Blob> {
    match change {
        Change::Put { version, .. } => version.object.iter().flat_map(|object| object.content.iter()).collect(),
        _ => Vec::new(),
    }
}
