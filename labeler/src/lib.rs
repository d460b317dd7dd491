//! S3 event → Rekognition → DynamoDB: labels each new picture and writes the labels into its post.
//!
//! An object that cannot be shown is removed; any other is stripped of metadata (`metadata.rs`). That write causes an
//! event of its own, which finds the picture clean and already labelled.
//!
//! Events are delivered at least once and in any order, so each one is handled independently: read the row, decide
//! where the picture belongs, and write the row on the condition that it has not changed.

mod dimensions;
mod event;
mod metadata;
mod object;
mod picture;
mod refused;
mod row;

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_rekognition::operation::detect_labels::DetectLabelsError;
use aws_sdk_rekognition::types::{Image, S3Object};
use posts::Refusal;
use serde_json::Value;
use tracing::{error, info, warn};

pub use event::Skipped;
pub use picture::Picture;
pub use refused::{Refused, Unfinished};

use object::{Examined, Object, Replaced};
use picture::Content;
use row::PictureStatus;

/// The function: its clients, its bucket, its table.
#[derive(Debug, Clone)]
pub struct Labeler {
    s3: aws_sdk_s3::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    rekognition: aws_sdk_rekognition::Client,
    bucket: String,
    table: String,
}

/// Returns the new pictures in an event, and the reasons why its other records are skipped.
///
/// Never fails as a whole: each record is parsed separately.
pub fn pictures(event: &Value, our_bucket: &str) -> impl Iterator<Item = Result<Picture, Skipped>> {
    event::records(event).map(move |record| Picture::from_record(record, our_bucket))
}

/// Returns a picture without its metadata; `None` if it cannot be shown.
#[must_use]
pub fn without_metadata(bytes: &[u8]) -> Option<Vec<u8>> {
    metadata::Format::of(bytes)?.clean(bytes).ok()
}

/// The outcome for a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its labels are in the row.
    Labelled(Vec<String>),
    /// Nothing can be recognised in it; the row has the reason, and an empty list of labels.
    Refused(Refusal),
    /// It cannot be shown and was removed; the row has the reason, and no labels.
    Removed(Refusal),
    /// A newer upload replaced it before it could be cleaned; that upload has its own event.
    Overwritten,
    /// The row already has it: the event was delivered twice.
    Known,
    /// The row has a newer picture of the post; this one was removed.
    Outdated,
    /// The post was deleted; the picture was removed.
    PostGone,
    /// The picture was removed before it could be analysed.
    PictureGone,
}

/// The outcome of the analysis of an existing picture.
enum Treated {
    /// It is clean; its labels, and its present entity tag.
    As(Content, Option<String>),
    Gone,
    Overwritten,
}

impl Labeler {
    /// The maximum number of labels.
    pub const MAX_LABELS: i32 = 5;
    /// The minimum confidence of a label, in percent.
    pub const MIN_CONFIDENCE: f32 = 75.0;
    /// How often the row may change between reading and writing before the event is left to a retry.
    const ATTEMPTS: u32 = 5;
    /// The age after which an unreadable picture counts as unreadable for good: longer than a new role takes to
    /// propagate (docs/aws.md §0.2), and less than the three minutes after which Lambda retries an event for the last
    /// time.
    const UNREADABLE_AFTER: Duration = Duration::from_secs(120);

    /// A labeler for the pictures of one bucket and the posts of one table.
    #[must_use]
    pub fn new(config: &SdkConfig, bucket: String, table: String) -> Self {
        // Implementations of S3 other than AWS rarely have a host name per bucket.
        let s3 = aws_sdk_s3::config::Builder::from(config).force_path_style(config.endpoint_url().is_some());
        Self {
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
            dynamodb: aws_sdk_dynamodb::Client::new(config),
            rekognition: aws_sdk_rekognition::Client::new(config),
            bucket,
            table,
        }
    }

    /// Handles every record of an event, sequentially because they may concern the same post.
    ///
    /// Guarantees: returns an error only for failures that a retry of the event can cure, and only after all records
    /// have been handled; others are logged. Handling an event again changes nothing.
    pub async fn handle(&self, event: &Value) -> Result<(), Unfinished> {
        let mut faults = Vec::new();
        for picture in pictures(event, &self.bucket) {
            let picture = match picture {
                Ok(picture) => picture,
                Err(skipped) => {
                    warn!(%skipped, "not a new picture");
                    continue;
                }
            };
            // As quoted strings: a key may contain line breaks that would forge log lines.
            match self.label(&picture).await {
                Ok(outcome) => info!(picture = picture.key(), ?outcome, "done"),
                Err(fault) if fault.is_curable() => faults.push(fault),
                Err(fault) => error!(picture = picture.key(), fault = fault.chain(), "given up"),
            }
        }
        Unfinished::unless_none(faults)
    }

    /// Analyses one picture and writes the result into its post.
    pub async fn label(&self, picture: &Picture) -> Result<Outcome, Refused> {
        for _ in 0..Self::ATTEMPTS {
            if let Some(outcome) = self.attempt(picture).await? {
                return Ok(outcome);
            }
        }
        Err(Refused::contended())
    }

    /// Reads and writes the row once; `None` if another writer changed it in between.
    async fn attempt(&self, picture: &Picture) -> Result<Option<Outcome>, Refused> {
        let key = picture.key();
        let before = match self.picture_status(picture).await? {
            PictureStatus::Newest { before } => before,
            PictureStatus::Known => return Ok(Some(Outcome::Known)),
            PictureStatus::KnownRemoved => {
                self.remove_again(&key).await?;
                return Ok(Some(Outcome::Known));
            }
            PictureStatus::Outdated => {
                self.remove(&key, None).await?;
                return Ok(Some(Outcome::Outdated));
            }
            PictureStatus::PostGone => {
                self.remove(&key, None).await?;
                return Ok(Some(Outcome::PostGone));
            }
        };
        let Some(object) = self.fetch(&key).await? else {
            return Ok(Some(Outcome::PictureGone));
        };
        let (content, tag) = match self.treat(picture, &object).await? {
            Treated::As(content, tag) => (content, tag),
            Treated::Gone => return Ok(Some(Outcome::PictureGone)),
            Treated::Overwritten => return Ok(Some(Outcome::Overwritten)),
        };
        let size = if matches!(content, Content::Removed(_)) { None } else { object.dimensions() };
        if !self.write(picture, before.as_ref(), &content, size, tag.as_deref()).await? {
            return Ok(None);
        }
        if let Content::Removed(_) = content {
            // After the row, so that a repeated event finds that the removal is still to be done.
            self.remove(&key, object.tag.as_deref()).await?;
        }
        if let Some(replaced) = before.filter(|before| before.key != key) {
            self.remove_replaced(&replaced.key).await;
        }
        Ok(Some(match content {
            Content::Labels(labels) => Outcome::Labelled(labels),
            Content::Refused(refusal) => Outcome::Refused(refusal),
            Content::Removed(refusal) => Outcome::Removed(refusal),
        }))
    }

    /// Analyses and cleans a picture.
    async fn treat(&self, picture: &Picture, object: &Object) -> Result<Treated, Refused> {
        let (format, clean) = match object.examine() {
            Examined::Bad(refusal) => return Ok(Treated::As(Content::Removed(refusal), object.tag.clone())),
            Examined::Clean(format) => (format, None),
            Examined::Dirty(format, clean) => (format, Some(clean)),
        };
        // Analysed first, because S3 sends an event for the clean picture as soon as it is written: by then the row
        // should have it. The picture is not visible until the row names it.
        let seen = match format.is_recognisable() {
            true => self.look(picture).await,
            false => Ok(Some(Content::Refused(Refusal::Unsupported))),
        };
        // Cleaned in any case: the row may already name this object.
        let tag = match clean {
            None => object.tag.clone(),
            Some(clean) => match self.replace(&picture.key(), object, clean).await? {
                Replaced::By(tag) => tag,
                Replaced::Gone => return Ok(Treated::Gone),
                Replaced::Overwritten => return Ok(Treated::Overwritten),
            },
        };
        Ok(seen?.map_or(Treated::Gone, |content| Treated::As(content, tag)))
    }

    /// Detects the labels of a picture; `None` if the picture is gone.
    async fn look(&self, picture: &Picture) -> Result<Option<Content>, Refused> {
        let object = S3Object::builder().bucket(&self.bucket).name(picture.key());
        let seen = self
            .rekognition
            .detect_labels()
            .image(Image::builder().s3_object(object.build()).build())
            .max_labels(Self::MAX_LABELS)
            .min_confidence(Self::MIN_CONFIDENCE)
            .send()
            .await;
        let error = match seen {
            Ok(seen) => return Ok(Some(Content::from(seen))),
            Err(error) => error,
        };
        match error.as_service_error() {
            Some(DetectLabelsError::InvalidS3ObjectException(_)) => {
                self.look_whether_gone(picture, Refused::unreadable(error)).await
            }
            Some(refusal) => match Content::refused(refusal) {
                Some(refused) => Ok(Some(refused)),
                None => Err(Refused::new("to look at the picture", error)),
            },
            None => Err(Refused::new("to look at the picture", error)),
        }
    }

    /// Rekognition has one error for an object that is gone and for one that it cannot read. The latter may be
    /// temporary: a new role takes seconds to propagate (docs/aws.md §2.3). If it lasts until the final retry of the
    /// event, the row records it; otherwise clients would wait for labels forever.
    async fn look_whether_gone(&self, picture: &Picture, unreadable: Refused) -> Result<Option<Content>, Refused> {
        let head = self.s3.head_object().bucket(&self.bucket).key(picture.key());
        match head.send().await {
            Err(error) if error.as_service_error().is_some_and(|e| e.is_not_found()) => Ok(None),
            Ok(_) if picture.is_older_than(Self::UNREADABLE_AFTER) => Ok(Some(Content::Refused(Refusal::Unreadable))),
            _ => Err(unreadable),
        }
    }

    /// Removes the object that the row marks as removed, unless a valid one has replaced it since.
    async fn remove_again(&self, key: &str) -> Result<(), Refused> {
        match self.fetch(key).await? {
            Some(object) if matches!(object.examine(), Examined::Bad(_)) => {
                self.remove(key, object.tag.as_deref()).await
            }
            _ => Ok(()),
        }
    }

    /// Removes a picture that another one has replaced in the row. Only logs failures: the row is right in any case, a
    /// retry would not get here again, and the service removes every object of a post together with the post.
    async fn remove_replaced(&self, key: &str) {
        if let Err(fault) = self.remove(key, None).await {
            warn!(key, fault = fault.chain(), "the replaced picture stays until its post is deleted");
        }
    }
}
