//! S3 events: of their records, only new objects in our bucket matter.

use std::slice;

use serde::Deserialize;
use serde_json::Value;

/// One record of an S3 event, as far as we read it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) event_name: String,
    pub(crate) event_time: String,
    pub(crate) s3: Entity,
}

/// What a record is about.
#[derive(Debug, Deserialize)]
pub(crate) struct Entity {
    pub(crate) bucket: Bucket,
    pub(crate) object: Object,
}

/// The bucket of a record.
#[derive(Debug, Deserialize)]
pub(crate) struct Bucket {
    pub(crate) name: String,
}

/// The object of a record.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Object {
    pub(crate) key: String,
    /// Without quotes.
    pub(crate) e_tag: Option<String>,
}

/// Why a record is not a picture to look at.
#[derive(Debug, thiserror::Error)]
pub enum Skipped {
    /// It is no record of S3.
    #[error("the record is not one of S3: {0}")]
    Foreign(#[from] serde_json::Error),
    /// Something else happened than an upload.
    #[error("{0:?} is no upload")]
    NoUpload(String),
    /// It happened in another bucket.
    #[error("bucket {0:?} is not ours")]
    OtherBucket(String),
    /// The object is not a picture of a post.
    #[error("{key:?}: {source}")]
    OtherObject {
        /// Its key, as the event has it.
        key: String,
        /// Why it is none.
        source: posts::BadObject,
    },
    /// The time of the upload cannot be read.
    #[error("{0:?} is no time")]
    NoTime(String),
}

/// The records of an event. The test event S3 sends when a notification is configured has none.
pub(crate) fn records(event: &Value) -> slice::Iter<'_, Value> {
    match event.get("Records") {
        Some(Value::Array(records)) => records.iter(),
        _ => [].iter(),
    }
}
