//! What the disk holds of buckets and objects, and how it becomes memory again.
//!
//! winterbaume keeps a record beside the bytes of every object, but forgets to write some of them (tags, retention,
//! removed delete markers) and to remove others (what an overwrite or a kill left behind). Here the records are made
//! to say what is true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use winterbaume_core::{StatefulService, Vfs, VfsError};
use winterbaume_s3::views::{BucketStateView, DeleteMarkerView, ObjectView};
use winterbaume_s3::{S3Service, S3StateView};

use super::blobs::Blobs;
use super::versions;
use crate::ACCOUNT;

/// Where in the store everything of a region is.
#[derive(Debug, Clone)]
pub(super) struct Records {
    blobs: Arc<Blobs>,
    region: String,
}

/// The kinds of records, by their directories.
const VERSIONS: &str = "meta/version-meta";
const MARKERS: &str = "meta/delete-markers";
const BUCKETS: &str = "meta/bucket-config";

impl Records {
    pub(super) fn new(blobs: Arc<Blobs>, region: &str) -> Records {
        Records { blobs, region: region.to_owned() }
    }

    /// The state the records tell of.
    ///
    /// Errors: a record is damaged. winterbaume would skip it, and its object would silently be gone.
    pub(super) async fn read(&self) -> anyhow::Result<S3StateView> {
        self.drop_half_deleted().await?;
        let service = S3Service::recover_with_vfs(self.blobs.clone()).await?;
        let mut view = service.snapshot(ACCOUNT, &self.region).await;
        for bucket in view.buckets.values_mut() {
            match bucket.versioning_status {
                // Recovery lists every object as a version; a bucket without versions has only objects.
                None => bucket.object_history.clear(),
                Some(_) => versions::put_in_order(bucket),
            }
        }
        self.sweep(&view).await?;
        Ok(view)
    }

    /// Makes the disk have of a key what `bucket` says, and nothing else.
    pub(super) async fn write(&self, bucket: &BucketStateView, key: &str) -> anyhow::Result<()> {
        for object in versions(bucket, key) {
            let record = record(&bucket.name, object);
            let path = self.path(&format!("{VERSIONS}/{}/{}", object.blob_key, object.blob_version_id));
            self.blobs.put(&path, &mut record.to_string().as_bytes()).await?;
        }
        for marker in markers(bucket, key) {
            let record = marker_record(&bucket.name, marker);
            let path = self.path(&format!("{MARKERS}/{}/{}", blob_key(&bucket.name, key), marker.version_id));
            self.blobs.put(&path, &mut record.to_string().as_bytes()).await?;
        }
        self.drop_others(bucket, key).await
    }

    /// Removes what the disk has of a key beside what `bucket` says; bytes before their record, as winterbaume does.
    async fn drop_others(&self, bucket: &BucketStateView, key: &str) -> anyhow::Result<()> {
        let stored_as = blob_key(&bucket.name, key);
        let kept: BTreeSet<&str> = markers(bucket, key).iter().map(|marker| marker.version_id.as_str()).collect();
        for id in self.list(&format!("{MARKERS}/{stored_as}")).await? {
            if !kept.contains(id.as_str()) {
                self.drop(&format!("{MARKERS}/{stored_as}/{id}")).await?;
            }
        }
        let kept: BTreeSet<&str> = versions(bucket, key).map(|object| object.blob_version_id.as_str()).collect();
        for id in self.list(&format!("{VERSIONS}/{stored_as}")).await? {
            if !kept.contains(id.as_str()) {
                self.drop(&format!("data/{stored_as}/{id}")).await?;
                self.drop(&format!("{VERSIONS}/{stored_as}/{id}")).await?;
            }
        }
        Ok(())
    }

    /// Removes a file, if it is there.
    async fn drop(&self, name: &str) -> anyhow::Result<()> {
        match self.blobs.delete(&self.path(name)).await {
            Err(VfsError::NotFound(_)) => Ok(()),
            dropped => Ok(dropped?),
        }
    }

    /// Bytes go before their record: a record without bytes is a deletion that was under way when the server was killed.
    async fn drop_half_deleted(&self) -> anyhow::Result<()> {
        let stored: BTreeSet<String> = self.list("data").await?.into_iter().collect();
        for kind in [VERSIONS, MARKERS, BUCKETS] {
            for name in self.list(kind).await? {
                let path = self.path(&format!("{kind}/{name}"));
                let record = self.record_at(&path).await?;
                if kind == VERSIONS && !stored.contains(&name) {
                    tracing::warn!(key = %record["key"], bucket = %record["bucket"], "a deletion is brought to its end");
                    self.blobs.delete(&path).await?;
                }
            }
        }
        Ok(())
    }

    async fn record_at(&self, path: &str) -> anyhow::Result<Value> {
        let mut text = Vec::new();
        self.blobs.get(path).await?.read_to_end(&mut text).await?;
        let record: Value = serde_json::from_slice(&text).with_context(|| self.damaged(path))?;
        if record["bucket"].is_string() { Ok(record) } else { bail!(self.damaged(path)) }
    }

    fn damaged(&self, path: &str) -> String {
        format!("{} is damaged: it does not describe what is stored", self.blobs.place(path).display())
    }

    /// Removes what nothing refers to: overwritten versions, parts, bytes whose record was never written.
    async fn sweep(&self, view: &S3StateView) -> anyhow::Result<()> {
        let mut kept = BTreeSet::new();
        for (name, bucket) in &view.buckets {
            kept.insert(format!("{BUCKETS}/{name}"));
            let keys = bucket.objects.keys().chain(bucket.object_history.keys());
            for object in keys.flat_map(|key| versions(bucket, key)) {
                let ObjectView { blob_key, blob_version_id, .. } = object;
                kept.insert(format!("data/{blob_key}/{blob_version_id}"));
                kept.insert(format!("{VERSIONS}/{blob_key}/{blob_version_id}"));
                kept.insert(format!("meta/current/{blob_key}"));
            }
            for marker in bucket.delete_markers.values().flatten() {
                kept.insert(format!("{MARKERS}/{}/{}", blob_key(name, &marker.key), marker.version_id));
            }
        }
        let root = self.path("");
        for entry in self.blobs.list(&root).await? {
            if !kept.contains(&entry.key[root.len()..]) {
                self.blobs.delete(&entry.key).await?;
            }
        }
        Ok(())
    }

    /// The names below one of the store's directories.
    async fn list(&self, kind: &str) -> anyhow::Result<Vec<String>> {
        let dir = self.path(&format!("{kind}/"));
        let entries = self.blobs.list(&dir).await?;
        Ok(entries.into_iter().map(|entry| entry.key[dir.len()..].to_owned()).collect())
    }

    fn path(&self, name: &str) -> String {
        format!("s3/{ACCOUNT}/{}/{name}", self.region)
    }
}

/// Every version there is of a key, the current one included, each once. Of the current one, what is told apart from the
/// others counts: only there winterbaume changes tags and the like.
pub(super) fn versions<'a>(bucket: &'a BucketStateView, key: &str) -> impl Iterator<Item = &'a ObjectView> {
    let history = bucket.object_history.get(key).into_iter().flatten();
    let all = history.chain(bucket.objects.get(key));
    all.map(|object| (object.blob_version_id.as_str(), object)).collect::<BTreeMap<_, _>>().into_values()
}

fn markers<'a>(bucket: &'a BucketStateView, key: &str) -> &'a [DeleteMarkerView] {
    bucket.delete_markers.get(key).map(Vec::as_slice).unwrap_or_default()
}

/// Under which name winterbaume stores the bytes of a key.
fn blob_key(bucket: &str, key: &str) -> String {
    format!("{bucket}/{}", key.replace('/', "%2F"))
}

fn record(bucket: &str, object: &ObjectView) -> Value {
    json!({
        "bucket": bucket,
        "key": object.key,
        "blob_key": object.blob_key,
        "version_id": object.version_id,
        "blob_version_id": object.blob_version_id,
        "etag": object.etag,
        "content_type": object.content_type,
        "content_length": object.content_length,
        "last_modified": object.last_modified,
        "storage_class": object.storage_class,
        "metadata": object.metadata,
        "tags": object.tags,
        "acl": object.acl,
        "legal_hold_status": object.legal_hold_status,
        "retention_mode": object.retention_mode,
        "retain_until_date": object.retain_until_date,
    })
}

fn marker_record(bucket: &str, marker: &DeleteMarkerView) -> Value {
    json!({
        "bucket": bucket,
        "key": marker.key,
        "blob_key": blob_key(bucket, &marker.key),
        "version_id": marker.version_id,
        "last_modified": marker.last_modified,
    })
}
