//! Copies of objects, and new metadata for them.

use std::ops::Range;
use std::sync::Arc;

use super::read::found_again;
use super::{Absence, Draft, Found, find, of_version};
use crate::body::Body;
use crate::checksum::Algorithm;
use crate::metadata::{self, REDIRECT, set};
use crate::precondition::{self, Outcome};
use crate::request::S3Request;
use crate::spool::LARGEST;
use crate::store::{Bucket, Change, Content, Metadata, Object, State};
use crate::xml::{self, element};
use crate::{S3, copied, listing};
use kit::answer::{Refusal, Response, empty};

impl S3 {
    /// `CopyObject`.
    pub(crate) async fn copy_object(&self, request: &S3Request<'_>) -> Result<Response, Refusal> {
        let key = self.key_for(request)?;
        let etag = |md5: &[u8]| key.as_ref().map_or_else(|| hex::encode(md5), |key| key.etag(md5));
        let directives = Directives::of(request)?;
        let algorithm = |object: &Object| match request.header("x-amz-checksum-algorithm") {
            Some(name) => Algorithm::named(name).ok_or_else(|| crate::multipart::unknown_algorithm(name)),
            None => Ok(object.sum.as_ref().map_or(Algorithm::Crc64Nvme, |sum| sum.algorithm)),
        };
        let precondition = precondition::of_write(request);
        let wanted = |object: &Object| {
            directives.metadata(request, object)?;
            Ok((0..object.size, algorithm(object)?))
        };
        let (found, body) = self.source(request, wanted).await?;
        let metadata = Metadata { key: key.clone(), ..directives.metadata(request, &found.object)? };
        let precondition = precondition?;
        let sum = body.sum(algorithm(&found.object)?)?;
        let draft = Draft {
            etag: etag(&body.md5()),
            size: body.size(),
            sum: Some(sum.clone()),
            content: Content::Whole(self.keep(&body).await?),
        };
        let etag = format!("\"{}\"", draft.etag);
        let made = self.put(request, metadata, draft, &precondition)?;
        let facts =
            element("LastModified", &listing::moment(made.modified)) + &element("ETag", &etag) + &sum.xml_of_object();
        let mut answer = xml::document("CopyObjectResult", &facts);
        made.write_headers(answer.headers_mut());
        if found.is_versioned {
            set(answer.headers_mut(), "x-amz-copy-source-version-id", &found.version.id);
        }
        Ok(answer)
    }

    /// Copies the range of the source that `wanted` returns, with the checksum that it returns, if the preconditions on
    /// the source hold.
    pub(crate) async fn source(
        &self,
        request: &S3Request<'_>,
        wanted: impl Fn(&Object) -> Result<(Range<u64>, Algorithm), Refusal>,
    ) -> Result<(Found, Body), Refusal> {
        if request.header("x-amz-source-expected-bucket-owner").is_some_and(|owner| owner != kit::ACCOUNT) {
            return Err(Refusal::new(403, "AccessDenied", "Access Denied"));
        }
        let (bucket, key, version) = copied(&request.http)?;
        self.strangers.refuse_source(&bucket)?;
        let find = || {
            let look = |state: &State| Ok::<_, Refusal>(find(state.bucket(&bucket)?, &key, version.as_deref()));
            self.store.read(look)?.map_err(|absence| match absence {
                Absence::Marker(..) => {
                    let text =
                        "The source of a copy request may not specifically refer to a delete marker by version id.";
                    Refusal::new(400, "InvalidRequest", text)
                }
                absence => absence.refusal(),
            })
        };
        let mut found = find()?;
        match precondition::of_read(request, "x-amz-copy-source-", &found.object.etag, found.version.modified) {
            Outcome::Read => (),
            Outcome::NotModified | Outcome::Failed => {
                let text = "At least one of the pre-conditions you specified did not hold";
                return Err(Refusal::new(412, "PreconditionFailed", text));
            }
        }
        loop {
            let (range, algorithm) = wanted(&found.object)?;
            // docs/aws.md §4.3.
            if range.end - range.start > LARGEST {
                let text = format!(
                    "The specified copy source is larger than the maximum allowable size for a copy source: {LARGEST}"
                );
                return Err(Refusal::new(400, "InvalidRequest", text));
            }
            match self.store.blobs.copy(found.object.content.blobs(), range, vec![algorithm]).await {
                Ok(copy) => return Ok((found, Body::Disk(Arc::new(copy)))),
                Err(trouble) => found = found_again(&found, trouble, find)?,
            }
        }
    }

    pub(crate) fn metadata(
        &self,
        request: &S3Request,
        check: impl FnOnce(&Bucket) -> Result<(), Refusal>,
    ) -> Result<(Option<String>, Metadata), Refusal> {
        let id = request.version()?;
        self.store.read(|state| {
            let bucket = state.bucket(&request.bucket)?;
            check(bucket)?;
            let found = find(bucket, &request.key, id.as_deref()).map_err(|absence| absence.refusal())?;
            Ok((found.is_versioned.then_some(found.version.id), found.object.metadata))
        })
    }

    /// Changes the metadata of a version.
    pub(crate) fn change_metadata(
        &self,
        request: &S3Request,
        change: impl FnOnce(&Bucket, &mut Metadata) -> Result<(), Refusal>,
    ) -> Result<Response, Refusal> {
        let id = request.version()?;
        let shown_id = self.store.change(|state, _| {
            let bucket = state.bucket(&request.bucket)?;
            let found = find(bucket, &request.key, id.as_deref()).map_err(|absence| absence.refusal())?;
            let mut metadata = found.object.metadata;
            change(bucket, &mut metadata)?;
            let id = found.version.id;
            let shown_id = found.is_versioned.then(|| id.clone());
            Ok((
                vec![Change::SetMetadata { bucket: request.bucket.clone(), key: request.key.clone(), id, metadata }],
                shown_id,
            ))
        })?;
        Ok(of_version(empty(200), shown_id))
    }
}

/// Which attributes a copy replaces with those in its own headers, rather than taking them from its source.
struct Directives {
    replaces_metadata: bool,
    replaces_tags: bool,
}

impl Directives {
    fn of(request: &S3Request) -> Result<Directives, Refusal> {
        let replaces = |name: &str, what: &str| match request.header(name) {
            None | Some("COPY") => Ok(false),
            Some("REPLACE") => Ok(true),
            Some(_) => Err(Refusal::new(400, "InvalidArgument", format!("Unknown {what} directive."))),
        };
        let replaces_tags = replaces("x-amz-tagging-directive", "tagging")?;
        if request.header("x-amz-tagging").is_some_and(|tags| !tags.is_empty()) && !replaces_tags {
            let text = "x-amz-tagging has no effect unless x-amz-tagging-directive is REPLACE";
            return Err(Refusal::new(400, "InvalidArgument", text));
        }
        Ok(Directives { replaces_metadata: replaces("x-amz-metadata-directive", "metadata")?, replaces_tags })
    }

    fn metadata(&self, request: &S3Request, source: &Object) -> Result<Metadata, Refusal> {
        let own = Metadata::of(request)?;
        let (bucket, key, version) = copied(&request.http)?;
        let says = |name: &str| request.header(name).is_some();
        let changes = self.replaces_metadata
            || self.replaces_tags
            || says(REDIRECT)
            || says(metadata::ENCRYPTION)
            || request.header("x-amz-storage-class").is_some_and(|class| class != source.metadata.class.0);
        if (bucket, key, version) == (request.bucket.clone(), request.key.clone(), None) && !changes {
            let text = "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.";
            return Err(Refusal::new(400, "InvalidRequest", text));
        }
        let mut headers = if self.replaces_metadata { own.headers.clone() } else { source.metadata.headers.clone() };
        // The redirect is not copied; it has to be given again.
        headers.remove(REDIRECT);
        headers.extend(own.headers.get_key_value(REDIRECT).map(|(name, value)| (name.clone(), value.clone())));
        let tags = if self.replaces_tags { own.tags.clone() } else { source.metadata.tags.clone() };
        Ok(Metadata { headers, tags, ..own })
    }
}
