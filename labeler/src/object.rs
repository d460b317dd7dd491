//! A picture as an object in the bucket: read, checked, cleaned, removed.

use aws_sdk_s3::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use posts::Refusal;

use crate::dimensions::Dimensions;
use crate::metadata::Format;
use crate::{Labeler, Refused};

/// An existing object.
pub(crate) struct Object {
    /// Its entity tag, without quotes.
    pub(crate) tag: Option<String>,
    content_type: Option<String>,
    /// Its bytes; `None` if there are more than [`Labeler::MAX_BYTES`].
    bytes: Option<Bytes>,
}

/// The kind of an object's bytes.
pub(crate) enum Examined {
    Clean(Format),
    /// A picture with metadata, and the same without.
    Dirty(Format, Vec<u8>),
    /// Not a picture that can be shown.
    Bad(Refusal),
}

/// The outcome of replacing an object.
pub(crate) enum Replaced {
    /// Replaced; this is its new entity tag.
    By(Option<String>),
    /// It was removed.
    Gone,
    /// It had changed.
    Overwritten,
}

impl Object {
    pub(crate) fn examine(&self) -> Examined {
        let Some(bytes) = &self.bytes else {
            return Examined::Bad(Refusal::TooLarge);
        };
        if bytes.is_empty() {
            return Examined::Bad(Refusal::Empty);
        }
        let Some(format) = Format::of(bytes) else {
            return Examined::Bad(Refusal::Unsupported);
        };
        match format.clean(bytes) {
            Ok(clean) if clean == *bytes => Examined::Clean(format),
            Ok(clean) => Examined::Dirty(format, clean),
            Err(_) => Examined::Bad(Refusal::Unreadable),
        }
    }

    /// The size at which it is displayed; `None` if it is unknown.
    pub(crate) fn dimensions(&self) -> Option<Dimensions> {
        Dimensions::of(self.bytes.as_ref()?)
    }
}

impl Labeler {
    /// The largest picture that is kept: Rekognition's limit for objects in a bucket (its developer guide, "Guidelines
    /// and quotas").
    pub const MAX_BYTES: usize = 15 << 20;

    /// Reads an object, if it exists; skips the bytes if it is too large.
    pub(crate) async fn fetch(&self, key: &str) -> Result<Option<Object>, Refused> {
        let object = match self.s3.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(object) => object,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => return Ok(None),
            Err(error) => return Err(Refused::new("to read the picture", error)),
        };
        let (tag, content_type) = (object.e_tag.as_deref().map(bare), object.content_type);
        let said = object.content_length.and_then(|length| usize::try_from(length).ok());
        let bytes = match said.is_some_and(|length| length > Self::MAX_BYTES) {
            true => None,
            false => collect(object.body).await?,
        };
        Ok(Some(Object { tag, content_type, bytes }))
    }

    /// Replaces an object's bytes, if it has not changed since it was read.
    pub(crate) async fn replace(&self, key: &str, object: &Object, bytes: Vec<u8>) -> Result<Replaced, Refused> {
        let put = self.s3.put_object().bucket(&self.bucket).key(key).body(ByteStream::from(bytes));
        let put = put.set_content_type(object.content_type.clone()).set_if_match(quoted(object.tag.as_deref()));
        match put.send().await {
            Ok(put) => Ok(Replaced::By(put.e_tag.as_deref().map(bare))),
            Err(SdkError::ServiceError(answer)) if answer.raw().status().as_u16() == 412 => Ok(Replaced::Overwritten),
            Err(SdkError::ServiceError(answer)) if answer.err().code() == Some("NoSuchKey") => Ok(Replaced::Gone),
            Err(error) => Err(Refused::new("to clean the picture", error)),
        }
    }

    /// Removes an object; if a tag is given, only while the object still has it.
    pub(crate) async fn remove(&self, key: &str, tag: Option<&str>) -> Result<(), Refused> {
        let deletion = self.s3.delete_object().bucket(&self.bucket).key(key).set_if_match(quoted(tag));
        match deletion.send().await {
            Ok(_) => Ok(()),
            // It is gone, or was replaced by one that has its own event.
            Err(SdkError::ServiceError(answer)) if matches!(answer.raw().status().as_u16(), 404 | 412) => Ok(()),
            Err(error) => Err(Refused::new("to remove the picture", error)),
        }
    }
}

/// Reads a whole body; `None` if it exceeds the limit.
async fn collect(mut body: ByteStream) -> Result<Option<Bytes>, Refused> {
    let mut bytes = Vec::new();
    while let Some(part) = body.try_next().await.map_err(Refused::cut_off)? {
        if bytes.len() + part.len() > Labeler::MAX_BYTES {
            return Ok(None);
        }
        bytes.extend_from_slice(&part);
    }
    Ok(Some(bytes.into()))
}

/// Entity tags are quoted in answers and conditions, but not in events.
fn bare(tag: &str) -> String {
    tag.trim_matches('"').to_owned()
}

fn quoted(tag: Option<&str>) -> Option<String> {
    tag.map(|tag| format!("\"{tag}\""))
}
