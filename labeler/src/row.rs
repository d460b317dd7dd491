//! The row of a post: how a picture relates to it, and how the picture is written to it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use posts::attribute::{ID, IMAGE, LABELS, REFUSED, SIZE, USER};

use crate::dimensions::Dimensions;
use crate::{Labeler, Picture, Refused, picture::Content};

/// When the picture in the row was uploaded, a number of Unix milliseconds; written together with [`IMAGE`]. Only the
/// labeler reads it.
const UPLOADED: &str = "uploaded";
/// The entity tag of the analysed bytes, a string; absent if unknown. Only the labeler reads it: another upload of the
/// same bytes, such as its own after cleaning a picture, is not a new picture.
const TAG: &str = "etag";

/// The relation of a picture to the row of its post.
pub(crate) enum PictureStatus {
    /// It is the newest picture of the post; the row has none or an older one.
    Newest {
        /// The picture that the row shows now.
        before: Option<Shown>,
    },
    /// The row has this very picture.
    Known,
    /// The row records that this very picture was removed; the object may still exist.
    KnownRemoved,
    /// The row has a newer picture.
    Outdated,
    /// There is no row.
    PostGone,
}

/// The picture in a row. Pictures replace each other in this order: two of the same millisecond are ordered by their
/// keys, so that the same one wins whatever the order of events.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shown {
    uploaded_ms: i64,
    pub(crate) key: String,
}

impl Labeler {
    pub(crate) async fn picture_status(&self, picture: &Picture) -> Result<PictureStatus, Refused> {
        let read = self.dynamodb.get_item().table_name(&self.table);
        let row = read
            .set_key(Some(row_key(picture)))
            .consistent_read(true)
            .projection_expression("#id, #image, #labels, #tag, #uploaded")
            .expression_attribute_names("#id", ID)
            .expression_attribute_names("#image", IMAGE)
            .expression_attribute_names("#labels", LABELS)
            .expression_attribute_names("#tag", TAG)
            .expression_attribute_names("#uploaded", UPLOADED)
            .send()
            .await
            .map_err(|error| Refused::new("to read the post", error))?;
        let Some(row) = row.item else {
            return Ok(PictureStatus::PostGone);
        };
        let new = Shown::from(picture);
        let tag = row.get(TAG).and_then(|tag| tag.as_s().ok());
        let known = if row.contains_key(LABELS) { PictureStatus::Known } else { PictureStatus::KnownRemoved };
        Ok(match Shown::in_row(&row) {
            Some(shown) if shown == new => known,
            Some(shown) if shown.key == new.key && tag.is_some() && tag == picture.tag.as_ref() => known,
            Some(shown) if shown < new => PictureStatus::Newest { before: Some(shown) },
            // The object was overwritten, and this is the delayed event of its first content.
            Some(shown) if shown.key == new.key => known,
            Some(_) => PictureStatus::Outdated,
            None => PictureStatus::Newest { before: None },
        })
    }

    /// Writes a picture to its row. Returns false if the row is not as it was read: the post was deleted, or another
    /// picture was written in between.
    pub(crate) async fn write(
        &self,
        picture: &Picture,
        before: Option<&Shown>,
        content: &Content,
        size: Option<Dimensions>,
        tag: Option<&str>,
    ) -> Result<bool, Refused> {
        let new = Shown::from(picture);
        let mut set = vec!["#image = :image".to_owned(), "#uploaded = :uploaded".to_owned()];
        let mut remove = Vec::new();
        let mut write = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(row_key(picture)))
            .expression_attribute_names("#id", ID)
            .expression_attribute_names("#image", IMAGE)
            .expression_attribute_names("#labels", LABELS)
            .expression_attribute_names("#uploaded", UPLOADED)
            .expression_attribute_names("#refused", REFUSED)
            .expression_attribute_names("#size", SIZE)
            .expression_attribute_names("#tag", TAG)
            .expression_attribute_values(":image", AttributeValue::S(new.key))
            .expression_attribute_values(":uploaded", AttributeValue::N(new.uploaded_ms.to_string()));
        let (labels, refusal) = match content {
            Content::Labels(labels) => (Some(list(labels)), None),
            Content::Refused(refusal) => (Some(list(&[])), Some(refusal)),
            Content::Removed(refusal) => (None, Some(refusal)),
        };
        for (name, placeholder, value) in [
            ("#labels", ":labels", labels),
            ("#refused", ":refused", refusal.map(|refusal| AttributeValue::S(refusal.word().into()))),
            ("#size", ":size", size.map(|size| AttributeValue::S(size.to_string()))),
            ("#tag", ":tag", tag.map(|tag| AttributeValue::S(tag.into()))),
        ] {
            match value {
                Some(value) => {
                    set.push(format!("{name} = {placeholder}"));
                    write = write.expression_attribute_values(placeholder, value);
                }
                None => remove.push(name),
            }
        }
        let removed = if remove.is_empty() { String::new() } else { format!(" REMOVE {}", remove.join(", ")) };
        let write = write.update_expression(format!("SET {}{removed}", set.join(", ")));
        // Without a condition, UpdateItem would create a row: a deleted post would come back.
        let write = match before {
            None => write.condition_expression("attribute_exists(#id) AND attribute_not_exists(#uploaded)"),
            Some(shown) => write
                .condition_expression("attribute_exists(#id) AND #image = :before AND #uploaded = :since")
                .expression_attribute_values(":before", AttributeValue::S(shown.key.clone()))
                .expression_attribute_values(":since", AttributeValue::N(shown.uploaded_ms.to_string())),
        };
        match write.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => {
                Ok(false)
            }
            Err(error) => Err(Refused::new("to write the labels", error)),
        }
    }
}

impl Shown {
    /// Returns `None` for a row that has a picture but no time: it was not written by the labeler, and any picture is
    /// newer.
    fn in_row(row: &HashMap<String, AttributeValue>) -> Option<Self> {
        Some(Self {
            uploaded_ms: row.get(UPLOADED)?.as_n().ok()?.parse().ok()?,
            key: row.get(IMAGE)?.as_s().ok()?.clone(),
        })
    }
}

impl From<&Picture> for Shown {
    fn from(picture: &Picture) -> Self {
        Self { uploaded_ms: picture.uploaded_ms, key: picture.key() }
    }
}

fn row_key(picture: &Picture) -> HashMap<String, AttributeValue> {
    let Picture { object, .. } = picture;
    HashMap::from([
        (USER.into(), AttributeValue::S(object.user().key())),
        (ID.into(), AttributeValue::S(object.post().key())),
    ])
}

fn list(labels: &[String]) -> AttributeValue {
    AttributeValue::L(labels.iter().cloned().map(AttributeValue::S).collect())
}
