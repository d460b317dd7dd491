//! Lists of buckets, objects and versions, in pages.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use winterbaume_s3::S3StateView;
use winterbaume_s3::views::BucketStateView;

use super::NAMESPACE;
use crate::ACCOUNT;
use crate::answer::{Response, escape, xml};
use crate::backend::straight;
use crate::call::Request;

/// What `encoding-type=url` leaves as it is.
const URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/').remove(b'*');
const PAGE: usize = 1000;

/// `ListBuckets`, with its prefix, pages and regions.
pub(super) fn buckets(request: &Request, regions: &[(&str, S3StateView)]) -> Response {
    let prefix = request.parameter("prefix").unwrap_or_default();
    let after = request.parameter("continuation-token").unwrap_or_default();
    let limit = number(request, "max-buckets").unwrap_or(10_000).max(1);
    let wanted = request.parameter("bucket-region");
    let mut found: Vec<(&str, &BucketStateView)> = regions
        .iter()
        .filter(|(region, _)| wanted.as_ref().is_none_or(|wanted| wanted == region))
        .flat_map(|(region, view)| view.buckets.values().map(move |bucket| (*region, bucket)))
        .filter(|(_, bucket)| bucket.name.starts_with(&prefix) && bucket.name > after)
        .collect();
    found.sort_by(|(_, one), (_, other)| one.name.cmp(&other.name));
    let more = found.len() > limit;
    found.truncate(limit);
    let mut body = String::new();
    for (region, bucket) in &found {
        body += &format!(
            "<Bucket><Name>{}</Name><CreationDate>{}</CreationDate><BucketRegion>{region}</BucketRegion></Bucket>",
            escape(&bucket.name),
            moment(bucket.creation_date.as_deref())
        );
    }
    let token = found.last().filter(|_| more).map(|(_, last)| element("ContinuationToken", &last.name));
    xml(
        200,
        format!(
            "<ListAllMyBucketsResult xmlns=\"{NAMESPACE}\"><Owner><ID>{ACCOUNT}</ID></Owner><Buckets>{body}</Buckets>{}</ListAllMyBucketsResult>",
            token.unwrap_or_default()
        ),
    )
}

/// One line of a listing.
struct Entry {
    key: String,
    /// Empty where there are only objects.
    version: String,
    /// Everything but the key, as XML.
    facts: String,
    element: &'static str,
}

/// What a page holds and where the next one begins.
#[derive(Default)]
struct Page {
    body: String,
    count: usize,
    next: Option<(String, String)>,
}

/// `ListObjects`, `ListObjectsV2` or `ListObjectVersions` of one bucket.
pub(super) fn objects(operation: &str, request: &Request, bucket: &BucketStateView) -> Response {
    let text = |name: &str| request.parameter(name).unwrap_or_default();
    let (prefix, delimiter) = (text("prefix"), text("delimiter"));
    let encoded = text("encoding-type") == "url";
    let limit = number(request, "max-keys").unwrap_or(PAGE).min(PAGE);
    let after = match operation {
        "ListObjectVersions" => (text("key-marker"), request.parameter("version-id-marker")),
        "ListObjects" => (text("marker"), None),
        _ => (request.parameter("continuation-token").unwrap_or_else(|| text("start-after")), None),
    };
    let entries = if operation == "ListObjectVersions" { versions(bucket) } else { current(bucket) };
    let show = |text: &str| {
        if encoded { utf8_percent_encode(text, URL).to_string() } else { escape(text) }
    };
    let page = page(entries, &prefix, &delimiter, &after, limit, &show);

    let mut head = element("Name", &escape(&bucket.name)) + &element("Prefix", &show(&prefix));
    head += &element("MaxKeys", &limit.to_string());
    head += &element("IsTruncated", if page.next.is_some() { "true" } else { "false" });
    if !delimiter.is_empty() {
        head += &element("Delimiter", &show(&delimiter));
    }
    if encoded {
        head += "<EncodingType>url</EncodingType>";
    }
    let root = match operation {
        "ListObjectVersions" => {
            head += &element("KeyMarker", &show(&after.0));
            head += &element("VersionIdMarker", &after.1.unwrap_or_default());
            if let Some((key, version)) = &page.next {
                head += &element("NextKeyMarker", &show(key));
                head += &element("NextVersionIdMarker", version);
            }
            "ListVersionsResult"
        }
        "ListObjects" => {
            head += &element("Marker", &show(&after.0));
            if let Some((key, _)) = &page.next {
                head += &element("NextMarker", &show(key));
            }
            "ListBucketResult"
        }
        _ => {
            head += &element("KeyCount", &page.count.to_string());
            if let Some((key, _)) = &page.next {
                head += &element("NextContinuationToken", &escape(key));
            }
            "ListBucketResult"
        }
    };
    xml(200, format!("<{root} xmlns=\"{NAMESPACE}\">{head}{}</{root}>", page.body))
}

/// The entries after the marker, with those below a common prefix folded into one.
fn page(
    entries: Vec<Entry>,
    prefix: &str,
    delimiter: &str,
    after: &(String, Option<String>),
    limit: usize,
    show: &dyn Fn(&str) -> String,
) -> Page {
    let mut page = Page::default();
    // Who asks for nothing gets nothing, and not more of it.
    if limit == 0 {
        return page;
    }
    let mut last = (String::new(), String::new());
    let mut folded: Option<String> = None;
    let mut passed_marker = after.1.is_none();
    for entry in entries.iter().filter(|entry| entry.key.starts_with(prefix)) {
        if !comes_after(entry, after, &mut passed_marker) {
            continue;
        }
        let common = common_prefix(&entry.key, prefix, delimiter);
        if let Some(common) = &common
            && (folded.as_ref() == Some(common) || after.0.starts_with(common.as_str()))
        {
            continue;
        }
        if page.count == limit {
            page.next = Some(last);
            break;
        }
        page.count += 1;
        match common {
            Some(common) => {
                page.body += &element("CommonPrefixes", &element("Prefix", &show(&common)));
                last = (common.clone(), String::new());
                folded = Some(common);
            }
            None => {
                page.body += &element(entry.element, &(element("Key", &show(&entry.key)) + &entry.facts));
                last = (entry.key.clone(), entry.version.clone());
            }
        }
    }
    page
}

/// Without a version marker everything beyond the marked key; with one also the marked key's later versions.
fn comes_after(entry: &Entry, after: &(String, Option<String>), passed: &mut bool) -> bool {
    let (marker, version) = after;
    if *marker == entry.key && !marker.is_empty() {
        let beyond = version.is_some() && *passed;
        *passed |= version.as_ref() == Some(&entry.version);
        return beyond;
    }
    entry.key > *marker
}

fn common_prefix(key: &str, prefix: &str, delimiter: &str) -> Option<String> {
    if delimiter.is_empty() {
        return None;
    }
    let rest = &key[prefix.len()..];
    rest.find(delimiter).map(|at| key[..prefix.len() + at + delimiter.len()].to_owned())
}

fn current(bucket: &BucketStateView) -> Vec<Entry> {
    let mut entries: Vec<Entry> = bucket
        .objects
        .values()
        .map(|object| Entry {
            key: straight(&object.key),
            version: String::new(),
            facts: facts(object.last_modified.as_deref(), &object.etag, object.content_length),
            element: "Contents",
        })
        .collect();
    entries.sort_by(|one, other| one.key.cmp(&other.key));
    entries
}

/// Every version and delete marker, by key and newest first.
fn versions(bucket: &BucketStateView) -> Vec<Entry> {
    let mut dated: Vec<(String, Entry)> = Vec::new();
    let mut add = |key: &str, version: &str, date: Option<&str>, facts: String, element| {
        let (key, version) = (straight(key), version.to_owned());
        dated.push((date.unwrap_or_default().to_owned(), Entry { key, version, facts, element }));
    };
    let archived = bucket.object_history.values().flatten();
    let current = bucket.objects.values().filter(|object| {
        let history = bucket.object_history.get(&object.key);
        !history.is_some_and(|history| history.iter().any(|old| old.version_id == object.version_id))
    });
    for object in archived.chain(current) {
        let date = object.last_modified.as_deref();
        let facts = facts(date, &object.etag, object.content_length);
        add(&object.key, &object.version_id, date, facts, "Version");
    }
    for marker in bucket.delete_markers.values().flatten() {
        let date = marker.last_modified.as_deref();
        add(&marker.key, &marker.version_id, date, element("LastModified", &moment(date)), "DeleteMarker");
    }
    dated
        .sort_by(|(one_date, one), (other_date, other)| one.key.cmp(&other.key).then_with(|| other_date.cmp(one_date)));
    let mut entries: Vec<Entry> = Vec::with_capacity(dated.len());
    for (_, mut entry) in dated {
        let latest = entries.last().is_none_or(|newer| newer.key != entry.key);
        entry.facts += &element("VersionId", &entry.version);
        entry.facts += &element("IsLatest", if latest { "true" } else { "false" });
        entry.facts += &element("Owner", &element("ID", ACCOUNT));
        entries.push(entry);
    }
    entries
}

fn facts(date: Option<&str>, etag: &str, size: u64) -> String {
    element("LastModified", &moment(date))
        + &element("ETag", &escape(etag))
        + &element("Size", &size.to_string())
        + "<StorageClass>STANDARD</StorageClass>"
}

/// winterbaume's date, with the milliseconds S3 shows.
pub(super) fn moment(date: Option<&str>) -> String {
    let date = date.unwrap_or("1970-01-01T00:00:00");
    let (seconds, rest) = date.split_at(date.len().min(19));
    let millis: String = rest
        .strip_prefix('.')
        .unwrap_or_default()
        .chars()
        .chain("000".chars())
        .filter(char::is_ascii_digit)
        .take(3)
        .collect();
    format!("{seconds}.{millis}Z")
}

fn element(name: &str, content: &str) -> String {
    format!("<{name}>{content}</{name}>")
}

fn number(request: &Request, name: &str) -> Option<usize> {
    request.parameter(name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use winterbaume_s3::views::ObjectView;

    fn bucket(keys: &[&str]) -> BucketStateView {
        let object = |key: &str| -> ObjectView {
            serde_json::from_value(serde_json::json!({
                "key": super::super::crooked(key), "content_type": "text/plain", "etag": "\"0\"",
                "last_modified": "2026-01-02T03:04:05.678901+00:00", "storage_class": "STANDARD",
            }))
            .unwrap()
        };
        BucketStateView {
            name: "b".to_owned(),
            objects: keys.iter().map(|key| (super::super::crooked(key), object(key))).collect(),
            ..Default::default()
        }
    }

    fn list(operation: &str, query: &str, keys: &[&str]) -> String {
        let request = Request { query: query.to_owned(), ..super::super::bare(http::Method::GET) };
        String::from_utf8(objects(operation, &request, &bucket(keys)).body().to_vec()).unwrap()
    }

    fn between<'a>(text: &'a str, tag: &str) -> Vec<&'a str> {
        text.split(&format!("<{tag}>")).skip(1).filter_map(|part| part.split('<').next()).collect()
    }

    #[test]
    fn pages_follow_each_other_without_gaps() {
        let keys = ["a", "b/1", "b/2", "c", "Zoé"];
        let mut seen = Vec::new();
        let mut query = "list-type=2&max-keys=2".to_owned();
        loop {
            let page = list("ListObjectsV2", &query, &keys);
            seen.extend(between(&page, "Key").into_iter().map(str::to_owned));
            match between(&page, "NextContinuationToken").first() {
                Some(token) => query = format!("list-type=2&max-keys=2&continuation-token={token}"),
                None => break,
            }
        }
        assert_eq!(seen, ["Zoé", "a", "b/1", "b/2", "c"]);
    }

    #[test]
    fn who_asks_for_nothing_gets_nothing_and_is_not_told_of_more() {
        for operation in ["ListObjects", "ListObjectsV2", "ListObjectVersions"] {
            let page = list(operation, "max-keys=0", &["a", "b"]);
            assert_eq!(between(&page, "IsTruncated"), ["false"], "{operation}");
            assert!(between(&page, "Key").is_empty() && between(&page, "NextContinuationToken").is_empty());
        }
    }

    #[test]
    fn a_delimiter_folds_and_pages_do_not_repeat_the_fold() {
        let keys = ["a", "b/1", "b/2", "c"];
        let page = list("ListObjectsV2", "list-type=2&delimiter=%2F&max-keys=2", &keys);
        assert_eq!((between(&page, "Key"), between(&page, "Prefix")), (vec!["a"], vec!["", "b/"]));
        let page = list("ListObjectsV2", "list-type=2&delimiter=%2F&continuation-token=b%2F", &keys);
        assert_eq!(between(&page, "Key"), ["c"]);
    }

    #[test]
    fn keys_are_url_encoded_when_asked() {
        let page = list("ListObjectVersions", "versions&encoding-type=url", &["Zoé/a b"]);
        assert_eq!(between(&page, "Key"), ["Zo%C3%A9/a%20b"]);
        assert_eq!(between(&page, "VersionId"), ["null"]);
        assert_eq!(between(&page, "LastModified"), ["2026-01-02T03:04:05.678Z"]);
    }

    #[test]
    fn versions_go_on_after_the_marked_one() {
        let page = list("ListObjectVersions", "versions&max-keys=1", &["a", "b"]);
        assert_eq!(between(&page, "NextKeyMarker"), ["a"]);
        let rest = list("ListObjectVersions", "versions&key-marker=a&version-id-marker=null", &["a", "b"]);
        assert_eq!(between(&rest, "Key"), ["b"]);
    }
}
