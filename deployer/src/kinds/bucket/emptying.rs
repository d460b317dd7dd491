//! Lists and empties buckets (docs/aws.md §4.5).

use aws_sdk_s3::types::{Delete, EncodingType, NotificationConfiguration, ObjectIdentifier};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::Bucket;
use crate::{
    cloud::{
        aws::{Aws, ListPosition, found, gone},
        lease,
    },
    engine::{Fault, Size},
    output::bytes,
};

/// Objects are counted up to this number: ten calls.
const COUNTED: u64 = 10_000;

/// Objects are counted up to this number by one call.
const COUNTED_AT_ONCE: i32 = 1_000;

impl Bucket {
    /// Counts the objects with one call; `None` if there is no such bucket.
    pub async fn size(&self, aws: &Aws) -> Result<Option<Size>, Fault> {
        // Keys may contain characters that XML cannot represent: without URL encoding such a listing cannot be parsed.
        let call = aws.s3.list_objects_v2().bucket(&self.name).max_keys(COUNTED_AT_ONCE);
        let call = call.encoding_type(EncodingType::Url).set_expected_bucket_owner(self.owner());
        let Some(page) = found(call.send().await)? else { return Ok(None) };
        let bytes = page.contents().iter().filter_map(|object| object.size()).sum::<i64>().unsigned_abs();
        let (count, more) = (page.contents().len() as u64, page.is_truncated() == Some(true));
        Ok(Some(Size::Items { count, bytes, more }))
    }

    /// Returns the number and size of the objects and of their older versions in words; `None` if there are none.
    ///
    /// Delete markers are not a loss: what they hide counts as an older version.
    pub(super) async fn contents(&self, aws: &Aws) -> Result<Option<String>, Fault> {
        Ok(self.count(aws).await?.and_then(|(counts, more)| counts.in_words(more)))
    }

    /// The same if some of it are older versions, or may be, because not all are counted.
    pub async fn contents_with_older_versions(&self, aws: &Aws) -> Result<Option<String>, Fault> {
        let counted = self.count(aws).await?.filter(|(counts, more)| counts.older > 0 || *more);
        Ok(counted.and_then(|(counts, more)| counts.in_words(more)))
    }

    /// Counts the objects and their older versions, and returns whether there are more; `None` if there is no such bucket.
    async fn count(&self, aws: &Aws) -> Result<Option<(Counts, bool)>, Fault> {
        let mut counts = Counts::default();
        let (mut marker, mut position) = (Marker::default(), ListPosition::of("ListObjectVersions"));
        loop {
            // Keys may contain characters that XML cannot represent: without URL encoding such a listing cannot be
            // parsed.
            let (key, version) = marker;
            let call = aws.s3.list_object_versions().bucket(&self.name).encoding_type(EncodingType::Url);
            let call = call.set_expected_bucket_owner(self.owner()).set_key_marker(key).set_version_id_marker(version);
            let Some(page) = found(call.send().await)? else { return Ok(None) };
            let encoded = page.encoding_type() == Some(&EncodingType::Url);
            // The lease of the running command must stay.
            for version in page.versions().iter().filter(|version| version.key() != Some(lease::KEY)) {
                let count = if version.is_latest() == Some(true) { &mut counts.objects } else { &mut counts.older };
                *count += 1;
                counts.bytes += version.size().unwrap_or_default().unsigned_abs();
            }
            let more = page.is_truncated() == Some(true);
            let key = page.next_key_marker.filter(|_| more).map(|key| decoded(&key, encoded));
            marker = (key, page.next_version_id_marker);
            let token = marker.0.as_ref().map(|key| format!("{key} {}", marker.1.as_deref().unwrap_or_default()));
            if position.advance(token)?.is_none() || counts.objects + counts.older >= COUNTED {
                return Ok(Some((counts, more)));
            }
        }
    }

    /// Removes the notification, every version, every delete marker and every unfinished upload.
    pub(super) async fn empty(&self, aws: &Aws) -> Result<(), Fault> {
        aws.s3
            .put_bucket_notification_configuration()
            .bucket(&self.name)
            .set_expected_bucket_owner(self.owner())
            .notification_configuration(NotificationConfiguration::builder().build())
            .send()
            .await?;
        let mut last = Vec::new();
        while self.delete_a_page(aws, &mut last).await? {}
        let mut last = Vec::new();
        while self.abort_a_page(aws, &mut last).await? {}
        Ok(())
    }

    /// Deletes the first thousand versions and markers. Returns whether there are more.
    ///
    /// `last` is what the previous page listed. Listings are strongly consistent, so entries that are listed again were
    /// not deleted, even if S3 answered that they were.
    async fn delete_a_page(&self, aws: &Aws, last: &mut Vec<Entry>) -> Result<bool, Fault> {
        let page = aws
            .s3
            .list_object_versions()
            .bucket(&self.name)
            .set_expected_bucket_owner(self.owner())
            .encoding_type(EncodingType::Url)
            .send()
            .await?;
        let encoded = page.encoding_type() == Some(&EncodingType::Url);
        // A run that took the lease meanwhile keeps its bucket.
        if page.versions().iter().any(|version| version.key() == Some(lease::KEY)) {
            return Err(Fault::new("DeleteBucket", lease::LEASED, "another run has taken the lease of this stack"));
        }
        let versions = page.versions().iter().map(|it| (it.key(), it.version_id()));
        let markers = page.delete_markers().iter().map(|it| (it.key(), it.version_id()));
        let doomed: Vec<Entry> = versions
            .chain(markers)
            .filter_map(|(key, version)| Some((decoded(key?, encoded), version.map(str::to_owned))))
            .collect();
        let has_more = page.is_truncated() == Some(true);
        check_progress("ListObjectVersions", &doomed, last, has_more)?;
        let (plain, special): (Vec<_>, Vec<_>) = doomed.into_iter().partition(|(key, _)| key.chars().all(is_plain));
        for (key, version) in special {
            self.delete_one(aws, key, version).await?;
        }
        if !plain.is_empty() {
            self.delete_all(aws, plain).await?;
        }
        Ok(has_more)
    }

    /// Keys with characters that `DeleteObjects`, an XML document, cannot carry are deleted one by one.
    async fn delete_one(&self, aws: &Aws, key: String, version: Option<String>) -> Result<(), Fault> {
        let call = aws.s3.delete_object().bucket(&self.name).set_expected_bucket_owner(self.owner());
        let call = call.key(sendable(&key)).set_version_id(version).customize();
        gone(call.mutate_request(move |request| name(request, &key)).send().await)
    }

    /// `DeleteObjects` reports errors of single keys in an answer with status 200.
    async fn delete_all(&self, aws: &Aws, doomed: Vec<Entry>) -> Result<(), Fault> {
        let objects = doomed.into_iter().map(|(key, version)| {
            ObjectIdentifier::builder().key(key).set_version_id(version).build().expect("the key is given")
        });
        let delete =
            Delete::builder().set_objects(Some(objects.collect())).quiet(true).build().expect("the objects are given");
        let call = aws.s3.delete_objects().bucket(&self.name).set_expected_bucket_owner(self.owner());
        let answer = call.delete(delete).send().await?;
        let refused = answer
            .errors()
            .iter()
            .find(|error| !matches!(error.code(), Some("NoSuchKey" | "NoSuchVersion" | "NotFound")));
        match refused {
            Some(error) => Err(refusal(error)),
            None => Ok(()),
        }
    }

    /// Aborts the first thousand unfinished uploads. Returns whether there are more.
    async fn abort_a_page(&self, aws: &Aws, last: &mut Vec<Entry>) -> Result<bool, Fault> {
        let page = aws
            .s3
            .list_multipart_uploads()
            .bucket(&self.name)
            .set_expected_bucket_owner(self.owner())
            .encoding_type(EncodingType::Url)
            .send()
            .await?;
        let encoded = page.encoding_type() == Some(&EncodingType::Url);
        let uploads = page.uploads().iter().filter_map(|upload| upload.key().zip(upload.upload_id()));
        let doomed: Vec<Entry> = uploads.map(|(key, id)| (decoded(key, encoded), Some(id.to_owned()))).collect();
        let has_more = page.is_truncated() == Some(true);
        check_progress("ListMultipartUploads", &doomed, last, has_more)?;
        for (key, id) in doomed {
            let call = aws.s3.abort_multipart_upload().bucket(&self.name).set_expected_bucket_owner(self.owner());
            let call = call.key(sendable(&key)).set_upload_id(id).customize();
            gone(call.mutate_request(move |request| name(request, &key)).send().await)?;
        }
        Ok(has_more)
    }
}

/// A key, with the id of a version or of an upload.
type Entry = (String, Option<String>);

/// Refuses to continue when a page lists entries again that were removed, or claims to be truncated and lists nothing.
fn check_progress(operation: &str, page: &[Entry], last: &mut Vec<Entry>, has_more: bool) -> Result<(), Fault> {
    let is_stuck = if page.is_empty() { has_more } else { page == last.as_slice() };
    if is_stuck {
        let message = match page.first() {
            Some((key, _)) => format!("{key:?} is still listed after it was removed"),
            None => "the list claims to be truncated and is empty".into(),
        };
        return Err(Fault::new(operation, "BrokenList", message));
    }
    *last = page.to_vec();
    Ok(())
}

/// Placeholder for a key of blanks until the request is built: the SDK treats such a key as missing.
const BLANK: &str = "~blank~";

/// Returns the key, unless the SDK would treat it as missing.
fn sendable(key: &str) -> &str {
    if key.trim().is_empty() { BLANK } else { key }
}

/// Puts a blank key into the path of its request.
fn name(request: &mut HttpRequest, key: &str) {
    if sendable(key) == BLANK {
        let named = request.uri().replacen(BLANK, &utf8_percent_encode(key, NON_ALPHANUMERIC).to_string(), 1);
        request.set_uri(named).expect("an address stays one when a part of it is encoded");
    }
}

/// Whether XML 1.0 can carry this character and every parser returns it unchanged.
fn is_plain(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}')
}

fn refusal(error: &aws_sdk_s3::types::Error) -> Fault {
    let code = error.code().unwrap_or("Unknown");
    let message = format!("{}: {}", error.key().unwrap_or_default(), error.message().unwrap_or_default());
    let fault = Fault::new("DeleteObjects", code, message);
    match code {
        "InternalError" | "SlowDown" | "ServiceUnavailable" => fault.within(std::time::Duration::from_secs(60)),
        _ => fault,
    }
}

/// Decodes a key if the listing is URL-encoded; S3 encodes them as HTML forms do.
fn decoded(key: &str, encoded: bool) -> String {
    if !encoded {
        return key.to_owned();
    }
    percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// Where a page of versions begins: after this key and version.
type Marker = (Option<String>, Option<String>);

/// The contents of a bucket.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    objects: u64,
    older: u64,
    /// The size of both together.
    bytes: u64,
}

impl Counts {
    fn in_words(self, more: bool) -> Option<String> {
        let Counts { objects, older, bytes } = self;
        let size = bytes::in_words(bytes);
        let of = |count: u64, one: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            _ => Some(format!("{count} {one}s")),
        };
        let parts: Vec<String> = of(objects, "object").into_iter().chain(of(older, "older version")).collect();
        let parts = parts.join(" and ");
        match (parts.is_empty(), more) {
            (true, _) => None,
            (false, false) => Some(format!("{parts}, {size}")),
            (false, true) => Some(format!("more than {parts}, more than {size}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded_as_forms_are_and_only_when_encoded() {
        assert_eq!(decoded("a+b%2Bc%C3%A9/%0A", true), "a b+cé/\n");
        assert_eq!(decoded("a+b%2B", false), "a+b%2B");
    }

    #[test]
    fn a_loss_of_data_is_described() {
        let words = |objects, older, bytes, more| Counts { objects, older, bytes }.in_words(more);
        assert_eq!(words(0, 0, 0, false), None);
        assert_eq!(words(1, 0, 999, false).as_deref(), Some("1 object, 999 B"));
        assert_eq!(words(12, 1, 3_400_000, false).as_deref(), Some("12 objects and 1 older version, 3.4 MB"));
        assert_eq!(words(0, 2, 7, false).as_deref(), Some("2 older versions, 7 B"), "each is deleted");
        assert_eq!(words(10_000, 0, 999_960, true).as_deref(), Some("more than 10000 objects, more than 1.0 MB"));
    }

    #[test]
    fn keys_that_xml_cannot_carry_are_recognised() {
        for special in ["\u{ffff}", "\u{fffe}", "\0", "\u{1b}", "\r", "\n", "\u{7f}", "\u{85}"] {
            assert!(!special.chars().all(is_plain), "{special:?}");
        }
        assert!(" é\u{fffd}\u{1f4f7}<&>'\"".chars().all(is_plain));
    }

    #[test]
    fn a_repeated_page_is_an_error() {
        let page = |key: &str| vec![(key.to_owned(), None)];
        let mut last = Vec::new();
        assert!(check_progress("List", &page("a"), &mut last, true).is_ok());
        assert!(check_progress("List", &page("b"), &mut last, true).is_ok());
        let fault = check_progress("List", &page("b"), &mut last, false).unwrap_err();
        assert_eq!(fault.message, "\"b\" is still listed after it was removed");
        assert!(check_progress("List", &[], &mut last, true).is_err());
        assert!(check_progress("List", &[], &mut last, false).is_ok());
    }

    #[test]
    fn a_locked_object_is_final_and_a_busy_service_is_not() {
        let error = |code: &str| aws_sdk_s3::types::Error::builder().key("a").code(code).build();
        assert_eq!(refusal(&error("AccessDenied")).retry, crate::engine::Retry::Never);
        assert_ne!(refusal(&error("SlowDown")).retry, crate::engine::Retry::Never);
    }
}
