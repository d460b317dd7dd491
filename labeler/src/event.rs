//! S3 events: only new objects in our bucket matter.

use std::slice;

use serde::Deserialize;
use serde_json::Value;

/// One record of an S3 event, with the fields that we read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) event_name: String,
    pub(crate) event_time: String,
    pub(crate) s3: Entity,
}

/// The subject of a record.
#[derive(Debug, Deserialize)]
pub(crate) struct Entity {
    pub(crate) bucket: EventBucket,
    pub(crate) object: EventObject,
}

/// The bucket in a record.
#[derive(Debug, Deserialize)]
pub(crate) struct EventBucket {
    pub(crate) name: String,
}

/// The object in a record.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventObject {
    pub(crate) key: String,
    /// Without quotes.
    pub(crate) e_tag: Option<String>,
}

/// Why a record is not a picture to analyse.
#[derive(Debug, thiserror::Error)]
pub enum Skipped {
    /// The record is not from S3.
    #[error("the record is not from S3: {0}")]
    Foreign(#[from] serde_json::Error),
    /// The event is not an upload.
    #[error("{0:?} is not an upload")]
    NoUpload(String),
    /// The object is in another bucket.
    #[error("bucket {0:?} is not ours")]
    OtherBucket(String),
    /// The object is not a picture of a post.
    #[error("{key:?}: {source}")]
    OtherObject {
        /// Its key, as in the event.
        key: String,
        /// The reason.
        source: posts::BadObject,
    },
    /// The time of the upload is invalid.
    #[error("{0:?} is not a timestamp")]
    NoTime(String),
}

/// The records of an event. The test event that S3 sends for a new notification has none.
pub(crate) fn records(event: &Value) -> slice::Iter<'_, Value> {
    match event.get("Records") {
        Some(Value::Array(records)) => records.iter(),
        _ => [].iter(),
    }
}
