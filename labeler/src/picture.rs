//! A new picture and its labels.

use std::time::{Duration, SystemTime};

use aws_sdk_rekognition::operation::detect_labels::{DetectLabelsError, DetectLabelsOutput};
use aws_smithy_types::{DateTime, date_time::Format};
use posts::{ObjectName, Refusal};
use serde::Deserialize as _;
use serde_json::Value;

use crate::event::{EventObject, Record, Skipped};

/// An uploaded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Its object name, which identifies its post.
    pub object: ObjectName,
    /// When it was uploaded, in Unix milliseconds: a post shows its newest picture.
    pub uploaded_ms: i64,
    /// The entity tag of its bytes, if the event has it.
    pub tag: Option<String>,
}

/// The result of analysing a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Rekognition's labels, most confident first.
    Labels(Vec<String>),
    /// Nothing can ever be recognised in it, for this reason. It is displayed anyway.
    Refused(Refusal),
    /// It cannot be displayed and is removed, for this reason.
    Removed(Refusal),
}

impl Picture {
    /// Parses the picture of an S3 event record.
    pub(crate) fn from_record(record: &Value, our_bucket: &str) -> Result<Self, Skipped> {
        let Record { event_name, event_time, s3 } = Record::deserialize(record)?;
        if !event_name.starts_with("ObjectCreated:") {
            return Err(Skipped::NoUpload(event_name));
        }
        if s3.bucket.name != our_bucket {
            return Err(Skipped::OtherBucket(s3.bucket.name));
        }
        let EventObject { key, e_tag: tag } = s3.object;
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
    /// The reason why Rekognition cannot use a picture; `None` for other errors.
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
