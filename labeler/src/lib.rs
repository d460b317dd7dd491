//! S3 event → Rekognition → DynamoDB: labels each new picture and writes the labels into its post.
//!
//! An object that cannot be shown is removed; any other is cleaned of metadata (`metadata.rs`). Cleaning causes an
//! event of its own, which finds the picture clean and known.
//!
//! Events arrive at least once and in any order, so each one is handled by itself: read the row, decide where the
//! picture belongs, and write the row on the condition that it has not changed.

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
use row::Standing;

/// The function: its clients, its bucket, its table.
#[derive(Debug, Clone)]
pub struct Labeler {
    s3: aws_sdk_s3::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    rekognition: aws_sdk_rekognition::Client,
    bucket: String,
    table: String,
}

/// The new pictures an event is about, and why its other records are none.
///
/// No event makes this fail as a whole: every record is read for itself.
pub fn pictures(event: &Value, our_bucket: &str) -> impl Iterator<Item = Result<Picture, Skipped>> {
    event::records(event).map(move |record| Picture::from_record(record, our_bucket))
}

/// A picture without its metadata; nothing if it is none that can be shown.
#[must_use]
pub fn without_metadata(bytes: &[u8]) -> Option<Vec<u8>> {
    metadata::Format::of(bytes)?.clean(bytes).ok()
}

/// How it ended for a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its labels are in the row.
    Labelled(Vec<String>),
    /// Nothing can be recognised on it; the row says why, and has an empty list of labels.
    Refused(Refusal),
    /// It cannot be shown and was removed; the row says why, and has no labels.
    Removed(Refusal),
    /// A newer upload took its place before it could be cleaned, and has an event of its own.
    Overwritten,
    /// The row had it already: the event came twice.
    Known,
    /// A newer picture of the post is in the row; this one was removed.
    Outdated,
    /// The post was deleted; the picture was removed.
    PostGone,
    /// The picture was removed before it could be looked at.
    PictureGone,
}

/// What became of a picture that was there.
enum Treated {
    /// It is clean, and this is on it; the entity tag that it has now.
    As(Content, Option<String>),
    Gone,
    Overwritten,
}

impl Labeler {
    /// The most labels a picture gets.
    pub const MAX_LABELS: i32 = 5;
    /// How sure Rekognition must be of a label, in percent.
    pub const MIN_CONFIDENCE: f32 = 75.0;
    /// How often the row may change between being read and being written before the queue is asked for another try.
    const ATTEMPTS: u32 = 5;
    /// How old a picture is that stays unreadable: longer than a new role takes to be known (docs/aws.md §0.2), and less
    /// than the three minutes after which Lambda sends an event for the last time.
    const UNREADABLE_AFTER: Duration = Duration::from_secs(120);

    /// A labeler for the pictures of one bucket and the posts of one table.
    #[must_use]
    pub fn new(config: &SdkConfig, bucket: String, table: String) -> Self {
        // Whoever serves S3 elsewhere than AWS seldom has a host name per bucket.
        let s3 = aws_sdk_s3::config::Builder::from(config).force_path_style(config.endpoint_url().is_some());
        Self {
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
            dynamodb: aws_sdk_dynamodb::Client::new(config),
            rekognition: aws_sdk_rekognition::Client::new(config),
            bucket,
            table,
        }
    }

    /// Handles every record of an event, one after the other because they may be about the same post.
    ///
    /// Guarantees: an error is returned only for what the same event sent again can cure, and only after every
    /// record has had its turn; the rest is logged. Handling an event again changes nothing.
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
            // As quoted strings: a key may hold line breaks, and would forge log lines.
            match self.label(&picture).await {
                Ok(outcome) => info!(picture = picture.key(), ?outcome, "done"),
                Err(fault) if fault.is_curable() => faults.push(fault),
                Err(fault) => error!(picture = picture.key(), fault = fault.chain(), "given up"),
            }
        }
        Unfinished::unless_none(faults)
    }

    /// Looks at one picture and writes what is on it into its post.
    pub async fn label(&self, picture: &Picture) -> Result<Outcome, Refused> {
        for _ in 0..Self::ATTEMPTS {
            if let Some(outcome) = self.attempt(picture).await? {
                return Ok(outcome);
            }
        }
        Err(Refused::contended())
    }

    /// One read and one write of the row; nothing if another writer came in between.
    async fn attempt(&self, picture: &Picture) -> Result<Option<Outcome>, Refused> {
        let key = picture.key();
        let before = match self.standing(picture).await? {
            Standing::Newest { before } => before,
            Standing::Known => return Ok(Some(Outcome::Known)),
            Standing::KnownRemoved => {
                self.remove_again(&key).await?;
                return Ok(Some(Outcome::Known));
            }
            Standing::Outdated => {
                self.remove(&key, None).await?;
                return Ok(Some(Outcome::Outdated));
            }
            Standing::PostGone => {
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
        if !self.write(picture, before.as_ref(), &content, tag.as_deref()).await? {
            return Ok(None);
        }
        if let Content::Removed(_) = content {
            // After the row, so that an event which comes again finds out that this is left to do.
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

    /// Finds out what is on a picture, and cleans it.
    async fn treat(&self, picture: &Picture, object: &Object) -> Result<Treated, Refused> {
        let (format, clean) = match object.examine() {
            Examined::Bad(refusal) => return Ok(Treated::As(Content::Removed(refusal), object.tag.clone())),
            Examined::Clean(format) => (format, None),
            Examined::Dirty(format, clean) => (format, Some(clean)),
        };
        // First, because S3 tells of the clean picture as soon as it is there: by then the row should know it. Nobody can
        // see the picture until the row names it.
        let seen = match format.is_recognisable() {
            true => self.look(picture).await,
            false => Ok(Some(Content::Refused(Refusal::Unsupported))),
        };
        // Cleaned in any case: the row may name this object already.
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

    /// Asks Rekognition what is on a picture; nothing if the picture is not there any more.
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

    /// Rekognition has one error for an object that is gone and for one it cannot read. The latter may pass: a role that
    /// has just been made takes seconds to be known everywhere (docs/aws.md §2.3). What has not passed by the last time
    /// that the event comes is told, or the picture would be waited for without end.
    async fn look_whether_gone(&self, picture: &Picture, unreadable: Refused) -> Result<Option<Content>, Refused> {
        let head = self.s3.head_object().bucket(&self.bucket).key(picture.key());
        match head.send().await {
            Err(error) if error.as_service_error().is_some_and(|e| e.is_not_found()) => Ok(None),
            Ok(_) if picture.is_older_than(Self::UNREADABLE_AFTER) => Ok(Some(Content::Refused(Refusal::Unreadable))),
            _ => Err(unreadable),
        }
    }

    /// Removes what the row says was removed, unless something better has been uploaded to its place since.
    async fn remove_again(&self, key: &str) -> Result<(), Refused> {
        match self.fetch(key).await? {
            Some(object) if matches!(object.examine(), Examined::Bad(_)) => {
                self.remove(key, object.tag.as_deref()).await
            }
            _ => Ok(()),
        }
    }

    /// The row is right whether or not this works, and another event would not lead here again: the service removes
    /// every object of a post together with the post.
    async fn remove_replaced(&self, key: &str) {
        if let Err(fault) = self.remove(key, None).await {
            warn!(key, fault = fault.chain(), "the picture that was replaced stays until its post is deleted");
        }
    }
}
