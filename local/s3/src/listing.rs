//! Lists of buckets, objects and versions, in pages.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use time::OffsetDateTime;
use time::macros::format_description;

use super::S3;
use super::request::S3Request;
use super::store::{Bucket, NULL, Object, Version, place};
use super::xml::{self, element, wrap};
use kit::ACCOUNT;
use kit::answer::{Refusal, Response};

/// The characters that `encoding-type=url` encodes. A space becomes a plus instead, as in forms.
const URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'/').remove(b'*').remove(b' ');
const PAGE: usize = 1000;
const BUCKETS_PAGE: usize = 10_000;

/// How names are filtered and shown in a list.
pub(super) struct Names {
    pub prefix: String,
    delimiter: String,
    is_encoded: bool,
}

impl Names {
    pub(super) fn of(request: &S3Request) -> Result<Names, Refusal> {
        Ok(Names {
            prefix: request.text("prefix"),
            delimiter: request.text("delimiter"),
            is_encoded: request.is_encoded()?,
        })
    }

    /// An element with a name.
    pub(super) fn show(&self, tag: &str, name: &str) -> String {
        if self.is_encoded { element(tag, &url(name)) } else { element(tag, name) }
    }

    /// The parameters of the request, which every list repeats.
    pub(super) fn head(&self) -> String {
        let mut head = self.show("Prefix", &self.prefix);
        if !self.delimiter.is_empty() {
            head += &self.show("Delimiter", &self.delimiter);
        }
        if self.is_encoded {
            head += &element("EncodingType", "url");
        }
        head
    }

    /// The key up to the first delimiter after the prefix, if there is one.
    pub(super) fn common_prefix<'a>(&self, key: &'a str) -> Option<&'a str> {
        let rest = key.get(self.prefix.len()..).filter(|_| !self.delimiter.is_empty())?;
        rest.find(&self.delimiter).map(|at| &key[..self.prefix.len() + at + self.delimiter.len()])
    }
}

/// Encodes a name as in `encoding-type=url`.
pub(super) fn url(name: &str) -> String {
    utf8_percent_encode(name, URL).to_string().replace(' ', "+")
}

/// Where a list begins: after a key, or after one version of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Marker {
    key: String,
    version: Option<String>,
}

/// The contents of a page, and the marker after which the next one begins.
#[derive(Default)]
struct Page {
    body: String,
    count: usize,
    next: Option<Marker>,
}

/// `ListBuckets`, with its prefix, pages and regions.
pub(super) fn buckets(request: &S3Request, regions: &[&S3]) -> Result<Response, Refusal> {
    let prefix = request.text("prefix");
    let limit = request.size("max-buckets", BUCKETS_PAGE)?;
    if limit == 0 {
        let text = "Argument max-buckets must be an integer between 1 and 10000";
        return Err(Refusal::new(400, "InvalidArgument", text));
    }
    let after = token(request.parameter("continuation-token"))?.unwrap_or_default();
    let wanted = request.parameter("bucket-region");
    let mut found: Vec<(String, i64, &str)> = Vec::new();
    for s3 in regions.iter().filter(|s3| wanted.as_ref().is_none_or(|wanted| *wanted == s3.region)) {
        let fits = |name: &&String| name.starts_with(&prefix) && (after.is_empty() || **name > after);
        s3.store.read(|state| {
            let fit = state.buckets.iter().filter(|(name, _)| fits(name));
            found.extend(fit.take(limit + 1).map(|(name, bucket)| (name.clone(), bucket.created, s3.region.as_str())));
        });
    }
    found.sort();
    let more = found.len() > limit;
    found.truncate(limit);
    let mut body = String::new();
    for (name, created, region) in &found {
        let facts =
            element("Name", name) + &element("CreationDate", &moment(*created)) + &element("BucketRegion", region);
        body += &wrap("Bucket", &facts);
    }
    let mut inside = wrap("Owner", &element("ID", ACCOUNT)) + &wrap("Buckets", &body);
    if let Some((last, ..)) = found.last().filter(|_| more) {
        inside += &element("ContinuationToken", &as_token(last));
    }
    if !prefix.is_empty() {
        inside += &element("Prefix", &prefix);
    }
    Ok(xml::document("ListAllMyBucketsResult", &inside))
}

impl S3 {
    /// `ListBuckets` of this region alone.
    pub(super) fn list_buckets(&self, request: &S3Request) -> Result<Response, Refusal> {
        buckets(request, &[self])
    }

    /// `ListObjects`.
    pub(super) fn list_objects(&self, request: &S3Request) -> Result<Response, Refusal> {
        let (names, limit) = (Names::of(request)?, request.size("max-keys", PAGE)?);
        let after = Marker { key: request.text("marker"), version: None };
        check_extras(request)?;
        let page = self.page(request, &names, &after, limit, true)?;
        let mut head = names.show("Marker", &after.key);
        // Without a delimiter, clients use the last key as the marker.
        if let Some(next) = page.next.as_ref().filter(|_| !names.delimiter.is_empty()) {
            head += &names.show("NextMarker", &next.key);
        }
        Ok(list("ListBucketResult", request, &names, limit, &head, &page))
    }

    /// `ListObjectsV2`.
    pub(super) fn list_objects_v2(&self, request: &S3Request) -> Result<Response, Refusal> {
        if request.text("list-type") != "2" {
            return Err(Refusal::new(400, "InvalidArgument", "Invalid List Type specified in Request"));
        }
        let (names, limit) = (Names::of(request)?, request.size("max-keys", PAGE)?);
        check_extras(request)?;
        let start = request.parameter("start-after").filter(|start| !start.is_empty());
        let sent = request.parameter("continuation-token");
        let key = token(sent.clone())?.or_else(|| start.clone()).unwrap_or_default();
        let tells_owner = request.parameter("fetch-owner").as_deref() == Some("true");
        let page = self.page(request, &names, &Marker { key, version: None }, limit, tells_owner)?;
        let mut head = element("KeyCount", &page.count.to_string());
        if let Some(sent) = sent {
            head += &element("ContinuationToken", &sent);
        }
        if let Some(next) = &page.next {
            head += &element("NextContinuationToken", &as_token(&next.key));
        }
        if let Some(start) = start {
            head += &names.show("StartAfter", &start);
        }
        Ok(list("ListBucketResult", request, &names, limit, &head, &page))
    }

    /// `ListObjectVersions`.
    pub(super) fn list_versions(&self, request: &S3Request) -> Result<Response, Refusal> {
        let (names, limit) = (Names::of(request)?, request.size("max-keys", PAGE)?);
        check_extras(request)?;
        let after = version_marker(request)?;
        let page = self.store.read(|state| {
            let bucket = state.bucket(&request.bucket)?;
            Ok::<_, Refusal>(fill(versions(bucket, &names.prefix, &after), &names, &after, limit))
        })?;
        let mut head = names.show("KeyMarker", &after.key);
        head += &element("VersionIdMarker", after.version.as_deref().unwrap_or_default());
        if let Some(Marker { key, version }) = &page.next {
            head += &names.show("NextKeyMarker", key);
            head += &version.as_ref().map(|id| element("NextVersionIdMarker", id)).unwrap_or_default();
        }
        Ok(list("ListVersionsResult", request, &names, limit, &head, &page))
    }

    fn page(
        &self,
        request: &S3Request,
        names: &Names,
        after: &Marker,
        limit: usize,
        tells_owner: bool,
    ) -> Result<Page, Refusal> {
        self.store.read(|state| {
            let bucket = state.bucket(&request.bucket)?;
            Ok(fill(objects(bucket, &names.prefix, &after.key, tells_owner), names, after, limit))
        })
    }
}

/// The complete response.
fn list(root: &str, request: &S3Request, names: &Names, limit: usize, head: &str, page: &Page) -> Response {
    let mut inside = element("Name", &request.bucket) + &names.head() + head;
    inside += &element("MaxKeys", &limit.to_string());
    inside += &element("IsTruncated", if page.next.is_some() { "true" } else { "false" });
    xml::document(root, &(inside + &page.body))
}

/// `RestoreStatus` adds nothing, because no object is ever being restored here.
fn check_extras(request: &S3Request) -> Result<(), Refusal> {
    match request.header("x-amz-optional-object-attributes") {
        None | Some("RestoreStatus") => Ok(()),
        Some(_) => Err(Refusal::new(400, "InvalidArgument", "Invalid attribute name specified")),
    }
}

fn version_marker(request: &S3Request) -> Result<Marker, Refusal> {
    let invalid = |text: &str| Err(Refusal::new(400, "InvalidArgument", text));
    let (key, version) = (request.text("key-marker"), request.parameter("version-id-marker"));
    match version.as_deref() {
        Some(_) if key.is_empty() => invalid("A version-id marker cannot be specified without a key marker."),
        Some("") => invalid("A version-id marker cannot be empty."),
        Some(id) if id != NULL && place(id).is_none() => invalid("Invalid version id specified"),
        _ => Ok(Marker { key, version }),
    }
}

/// One entry of a list, before it is known whether it is shown.
struct Entry<'a> {
    key: &'a str,
    version: Option<&'a Version>,
    element: &'static str,
    facts: Box<dyn Fn() -> String + 'a>,
}

/// The current objects after a key.
fn objects<'a>(
    bucket: &'a Bucket,
    prefix: &'a str,
    after: &'a str,
    tells_owner: bool,
) -> impl Iterator<Item = Entry<'a>> {
    keys(bucket, prefix, after).filter_map(move |(key, versions)| {
        let version = versions.last().filter(|_| after.is_empty() || key.as_str() > after)?;
        let object = version.object.as_deref()?;
        let facts = move || {
            let owner = if tells_owner { wrap("Owner", &element("ID", ACCOUNT)) } else { String::new() };
            facts(version, object) + &owner
        };
        Some(Entry { key, version: None, element: "Contents", facts: Box::new(facts) })
    })
}

/// Every version and delete marker after a marker, by key and newest first.
fn versions<'a>(bucket: &'a Bucket, prefix: &'a str, after: &'a Marker) -> impl Iterator<Item = Entry<'a>> {
    keys(bucket, prefix, &after.key).flat_map(move |(key, versions)| {
        let shown = shown(versions, key, after);
        versions[..shown].iter().enumerate().rev().map(move |(at, version)| {
            let is_latest = at + 1 == versions.len();
            let facts = move || {
                let facts = match &version.object {
                    Some(object) => facts(version, object),
                    None => element("LastModified", &moment(version.modified)),
                };
                facts
                    + &element("VersionId", &version.id)
                    + &element("IsLatest", if is_latest { "true" } else { "false" })
                    + &wrap("Owner", &element("ID", ACCOUNT))
            };
            let element = if version.object.is_some() { "Version" } else { "DeleteMarker" };
            Entry { key, version: Some(version), element, facts: Box::new(facts) }
        })
    })
}

/// How many of a key's versions, counted from the oldest, are after the marker. If the version in the marker was
/// deleted meanwhile, its ID still has a position, except for the null ID: then all versions are shown, so that none is
/// skipped.
fn shown(versions: &[Version], key: &str, after: &Marker) -> usize {
    if after.key.is_empty() || key != after.key {
        return versions.len();
    }
    let Some(id) = &after.version else { return 0 };
    if let Some(at) = versions.iter().position(|version| version.id == *id) {
        return at;
    }
    let Some(gone) = place(id) else { return versions.len() };
    let is_newer = |version: &Version| place(&version.id).is_some_and(|place| place > gone);
    versions.iter().position(is_newer).unwrap_or(versions.len())
}

/// The keys that begin with a prefix, starting at `from`.
fn keys<'a>(
    bucket: &'a Bucket,
    prefix: &'a str,
    from: &str,
) -> impl Iterator<Item = (&'a String, &'a Vec<Version>)> + use<'a> {
    let from = from.max(prefix).to_owned();
    bucket.keys.range(from..).take_while(move |(key, _)| key.starts_with(prefix))
}

/// A page of entries, with those below a common prefix folded into one.
fn fill<'a>(entries: impl Iterator<Item = Entry<'a>>, names: &Names, after: &Marker, limit: usize) -> Page {
    let mut page = Page::default();
    // A page of size zero is empty and not truncated.
    if limit == 0 {
        return page;
    }
    let mut last = Marker::default();
    for entry in entries {
        let common = names.common_prefix(entry.key);
        let is_listed = |common: &str| {
            (last.version.is_none() && last.key == common) || (!after.key.is_empty() && after.key.starts_with(common))
        };
        if common.is_some_and(is_listed) {
            continue;
        }
        if page.count == limit {
            page.next = Some(last);
            break;
        }
        page.count += 1;
        match common {
            Some(common) => {
                page.body += &wrap("CommonPrefixes", &names.show("Prefix", common));
                last = Marker { key: common.to_owned(), version: None };
            }
            None => {
                page.body += &wrap(entry.element, &(names.show("Key", entry.key) + &(entry.facts)()));
                let version = entry.version.map(|version| version.id.clone());
                last = Marker { key: entry.key.to_owned(), version };
            }
        }
    }
    page
}

fn facts(version: &Version, object: &Object) -> String {
    let sum = object
        .sum
        .as_ref()
        .map(|sum| element("ChecksumAlgorithm", sum.algorithm.name()) + &element("ChecksumType", sum.kind()));
    element("LastModified", &moment(version.modified))
        + &element("ETag", &format!("\"{}\"", object.etag))
        + &sum.unwrap_or_default()
        + &element("Size", &object.size.to_string())
        + &element("StorageClass", &object.metadata.class.0)
}

/// Formats Unix milliseconds as in lists.
pub(super) fn moment(at: i64) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000);
    at.unwrap_or(OffsetDateTime::UNIX_EPOCH).format(format).unwrap_or_default()
}

/// An opaque continuation token.
fn as_token(last: &str) -> String {
    format!("1{}", BASE64_URL_SAFE_NO_PAD.encode(last))
}

fn token(sent: Option<String>) -> Result<Option<String>, Refusal> {
    let Some(sent) = sent.filter(|sent| !sent.is_empty()) else { return Ok(None) };
    let text = sent.strip_prefix('1').and_then(|text| BASE64_URL_SAFE_NO_PAD.decode(text).ok());
    let text = text.and_then(|text| String::from_utf8(text).ok());
    let refused = || Refusal::new(400, "InvalidArgument", "The continuation token provided is incorrect");
    text.map(Some).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(keys: &[&str]) -> Bucket {
        let version = Version { id: NULL.into(), modified: 1_767_323_045_678, object: Some(Box::default()) };
        let keys = keys.iter().map(|key| ((*key).to_owned(), vec![version.clone()])).collect();
        Bucket { keys, ..Bucket::default() }
    }

    fn names(prefix: &str, delimiter: &str, is_encoded: bool) -> Names {
        Names { prefix: prefix.into(), delimiter: delimiter.into(), is_encoded }
    }

    fn list(keys: &[&str], names: &Names, after: &str, limit: usize) -> (String, Option<Marker>) {
        let after = Marker { key: after.to_owned(), version: None };
        let page = fill(objects(&bucket(keys), &names.prefix, &after.key, false), names, &after, limit);
        (page.body, page.next)
    }

    fn between<'a>(text: &'a str, tag: &str) -> Vec<&'a str> {
        text.split(&format!("<{tag}>")).skip(1).filter_map(|part| part.split('<').next()).collect()
    }

    #[test]
    fn pages_follow_each_other_without_gaps() {
        let keys = ["a", "b/1", "b/2", "c", "Zoé", " ", "\n"];
        let mut seen = Vec::new();
        let mut after = String::new();
        loop {
            let (page, next) = list(&keys, &names("", "", false), &after, 2);
            seen.extend(between(&page, "Key").into_iter().map(str::to_owned));
            match next {
                Some(next) => after = token(Some(as_token(&next.key))).unwrap().unwrap(),
                None => break,
            }
        }
        assert_eq!(seen, ["\n", " ", "Zoé", "a", "b/1", "b/2", "c"]);
        assert_eq!(token(Some("x".into())).unwrap_err().code, "InvalidArgument");
    }

    #[test]
    fn max_keys_zero_gives_an_empty_list_that_is_not_truncated() {
        assert_eq!(list(&["a", "b"], &names("", "", false), "", 0), (String::new(), None));
    }

    #[test]
    fn a_delimiter_folds_and_pages_do_not_repeat_the_fold() {
        let keys = ["a", "b/1", "b/2", "c"];
        let (page, next) = list(&keys, &names("", "/", false), "", 2);
        assert_eq!((between(&page, "Key"), between(&page, "Prefix")), (vec!["a"], vec!["b/"]));
        assert_eq!(next, Some(Marker { key: "b/".into(), version: None }));
        let (page, next) = list(&keys, &names("", "/", false), "b/", 2);
        assert_eq!((between(&page, "Key"), next), (vec!["c"], None));
        let (page, _) = list(&keys, &names("b/", "/", false), "", 9);
        assert_eq!(between(&page, "Key"), ["b/1", "b/2"]);
    }

    #[test]
    fn keys_are_url_encoded_on_request_and_otherwise_escaped() {
        let keys = ["Zoé/a b+~*", "\u{1}\u{ffff}<"];
        let (page, _) = list(&keys, &names("", "", true), "", 9);
        assert_eq!(between(&page, "Key"), ["%01%EF%BF%BF%3C", "Zo%C3%A9/a+b%2B%7E*"]);
        assert_eq!(between(&page, "LastModified")[0], "2026-01-02T03:04:05.678Z");
        let (page, _) = list(&keys, &names("", "", false), "", 9);
        assert_eq!(between(&page, "Key")[0], "&#x1;&#xffff;&lt;");
        assert_eq!(
            names("", "\n", true).head(),
            "<Prefix></Prefix><Delimiter>%0A</Delimiter><EncodingType>url</EncodingType>"
        );
    }

    #[test]
    fn a_version_listing_continues_after_its_marker_even_if_that_was_deleted() {
        let id = |number: u64| format!("{number:016x}{:016x}", 7);
        let version = |id: String| Version { id, modified: 0, object: Some(Box::default()) };
        let key = vec![version(NULL.into()), version(id(1)), version(id(3)), version(id(4))];
        let bucket = Bucket {
            keys: [("k".to_owned(), key), ("l".to_owned(), vec![version(id(9))])].into(),
            ..Bucket::default()
        };
        let behind = |version: Option<&str>| {
            let after = Marker { key: "k".into(), version: version.map(str::to_owned) };
            let all: Vec<String> =
                versions(&bucket, "", &after).map(|entry| entry.version.unwrap().id.clone()).collect();
            all
        };
        assert_eq!(behind(None), [id(9)]);
        assert_eq!(behind(Some(&id(3))), [id(1), NULL.into(), id(9)]);
        assert_eq!(behind(Some(&id(2))), [id(1), NULL.into(), id(9)]);
        assert_eq!(behind(Some(NULL)), [id(9)]);
    }
}
