//! A new picture and its labels.

use std::time::{Duration, SystemTime};

use aws_sdk_rekognition::operation::detect_labels::{DetectLabelsError, DetectLabelsOutput};
use aws_smithy_types::{DateTime, date_time::Format};
use posts::{ObjectName, Refusal};
use serde::Deserialize as _;
use serde_json::Value;

use crate::event::{Object, Record, Skipped};

/// A picture that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Its place in the bucket, which says whose post it belongs to.
    pub object: ObjectName,
    /// When it was uploaded, in milliseconds since 1970: the newest picture of a post is the one it shows.
    pub uploaded_ms: i64,
    /// The entity tag of its bytes, if the event says so.
    pub tag: Option<String>,
}

/// What is on a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// What Rekognition sees, the surest first.
    Labels(Vec<String>),
    /// Nothing can be recognised on it, ever: why. It is shown all the same.
    Refused(Refusal),
    /// It cannot be shown, and goes: why.
    Removed(Refusal),
}

impl Picture {
    /// The picture a record of an S3 event is about.
    pub(crate) fn from_record(record: &Value, our_bucket: &str) -> Result<Self, Skipped> {
        let Record { event_name, event_time, s3 } = Record::deserialize(record)?;
        if !event_name.starts_with("ObjectCreated:") {
            return Err(Skipped::NoUpload(event_name));
        }
        if s3.bucket.name != our_bucket {
            return Err(Skipped::OtherBucket(s3.bucket.name));
        }
        let Object { key, e_tag: tag } = s3.object;
        let object = ObjectName::from_event(&key).map_err(|source| Skipped::OtherObject { key, source })?;
        match milliseconds(&event_time) {
            Some(uploaded_ms) => Ok(Self { object, uploaded_ms, tag }),
            None => Err(Skipped::NoTime(event_time)),
        }
    }

    /// The object's key.
    #[must_use]
    pub fn key(&self) -> String {
        self.object.to_string()
    }

    /// Whether it was uploaded longer ago than this.
    pub(crate) fn is_older_than(&self, age: Duration) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let uploaded = Duration::from_millis(self.uploaded_ms.try_into().unwrap_or_default());
        now.saturating_sub(uploaded) > age
    }
}

impl Content {
    /// What Rekognition says about a picture it cannot use; nothing for every other error.
    pub(crate) fn refused(error: &DetectLabelsError) -> Option<Self> {
        let refusal = match error {
            DetectLabelsError::InvalidImageFormatException(_) => Refusal::Unsupported,
            DetectLabelsError::ImageTooLargeException(_) => Refusal::TooLarge,
            DetectLabelsError::InvalidParameterException(_) => Refusal::Unreadable,
            _ => return None,
        };
        Some(Self::Refused(refusal))
    }
}

impl From<DetectLabelsOutput> for Content {
    fn from(seen: DetectLabelsOutput) -> Self {
        let names = seen.labels.unwrap_or_default().into_iter().filter_map(|label| label.name);
        Self::Labels(names.filter(|name| posts::check_line(name).is_ok()).collect())
    }
}

fn milliseconds(time: &str) -> Option<i64> {
    let time = DateTime::from_str(time, Format::DateTimeWithOffset).ok()?;
    time.to_millis().ok()
}
