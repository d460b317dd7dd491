//! Deletes objects, one by one and in batches (docs/aws.md §4.5), and sends event notifications.

use std::collections::BTreeSet;

use serde_json::json;

use super::object::{VERSION, mark};
use super::precondition::{Precondition, bare, of_write};
use super::request::S3Request;
use super::store::{Bucket, Change, Ids, NULL, Version, Versioning, now};
use super::xml::{self, Element, element, malformed, wrap};
use super::{S3, metadata, object_arn, object_need};
use kit::answer::{Refusal, Response, empty};

/// The ETag of empty content, which events give for a delete marker.
const ETAG_OF_NOTHING: &str = "d41d8cd98f00b204e9800998ecf8427e";
/// The maximum number of objects in one `DeleteObjects` request.
const MOST: usize = 1000;

/// The outcome of a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Removed {
    /// There was nothing to delete.
    Nothing,
    /// The object was deleted, or its version with this ID.
    Object(Option<String>),
    /// The delete marker with this ID was deleted.
    Marker(String),
    /// A delete marker with this ID was created, and hides the object.
    Hidden(String),
}

/// An object or version to delete.
struct Doomed {
    key: String,
    version: Option<String>,
    expected: Precondition,
}

/// Decides what a deletion changes, as described in the user guide ("How S3 Versioning works", "Working with objects in
/// a versioning-suspended bucket").
fn remove(
    bucket: &Bucket,
    name: &str,
    one: &Doomed,
    bypass: bool,
    ids: &Ids,
) -> Result<(Vec<Change>, Removed), Refusal> {
    let Doomed { key, version, expected } = one;
    expected.check(bucket.current(key).map(|(_, there)| there.etag.as_str()))?;
    let gone = |id: &str| Change::Remove { bucket: name.to_owned(), key: key.clone(), id: id.to_owned() };
    let versioning = bucket.settings.versioning;
    if let Some(versioning) = versioning.filter(|_| version.is_none()) {
        let id = match versioning {
            Versioning::Enabled => bucket.next_id(ids),
            Versioning::Suspended => NULL.to_owned(),
        };
        if let Some(replaced) = bucket.version(key, &id) {
            replaced.check_unlocked(bypass)?;
        }
        let marker = Version { id: id.clone(), modified: now(), object: None };
        let put = Change::Put { bucket: name.to_owned(), key: key.clone(), version: marker };
        return Ok((vec![put], Removed::Hidden(id)));
    }
    let id = version.as_deref().unwrap_or(NULL);
    let Some(found) = bucket.version(key, id) else { return Ok((Vec::new(), Removed::Nothing)) };
    found.check_unlocked(bypass)?;
    let removed = match &found.object {
        Some(_) => Removed::Object(versioning.map(|_| id.to_owned())),
        None => Removed::Marker(id.to_owned()),
    };
    Ok((vec![gone(id)], removed))
}

impl S3 {
    /// `DeleteObject`.
    pub(super) fn delete_object(&self, request: &S3Request) -> Result<Response, Refusal> {
        let doomed = Doomed { key: request.key.clone(), version: request.version()?, expected: of_write(request)? };
        let bypass = request.bypasses(&request.key);
        let removed = self
            .store
            .change(|state, ids| remove(state.bucket(&request.bucket)?, &request.bucket, &doomed, bypass, ids))?;
        self.announce_removal(&request.bucket, &request.key, &removed);
        let mut answer = empty(204);
        match &removed {
            Removed::Object(Some(id)) => metadata::set(answer.headers_mut(), VERSION, id),
            Removed::Marker(id) | Removed::Hidden(id) => mark(answer.headers_mut(), id),
            Removed::Object(None) | Removed::Nothing => (),
        }
        Ok(answer)
    }

    /// `DeleteObjects`: each object has its own result, so some may be refused while others are deleted.
    pub(super) fn delete_objects(&self, request: &S3Request) -> Result<Response, Refusal> {
        let document = Element::read(&request.http.body, "Delete")?;
        document.expect(&["Object*", "Quiet"], &[])?;
        let is_quiet = document.flag("Quiet")?.unwrap_or(false);
        let doomed: Vec<Doomed> = document.all("Object").map(Doomed::of).collect::<Result<_, _>>()?;
        if doomed.is_empty() || doomed.len() > MOST {
            return Err(malformed());
        }
        let mut first_denial = None;
        let allowed = doomed.iter().map(|one| {
            let need = object_need("DeleteObject", &object_arn(&request.bucket, &one.key), one.version.clone());
            request.caller.may(&need).map_err(|denial| {
                let refusal = Refusal::new(403, "AccessDenied", denial.text());
                first_denial.get_or_insert(denial);
                refusal
            })
        });
        let allowed: Vec<Result<(), Refusal>> = allowed.collect();
        let bypasses: Vec<bool> = doomed.iter().map(|one| request.bypasses(&one.key)).collect();
        let outcomes = self.store.change(|state, ids| {
            let bucket = state.bucket(&request.bucket)?;
            let (mut changes, mut gone) = (Vec::new(), BTreeSet::new());
            let outcomes = doomed.iter().zip(allowed).zip(bypasses).map(|((one, allowed), bypass)| {
                allowed?;
                let (change, removed) = remove(bucket, &request.bucket, one, bypass, ids)?;
                // An entry that appears twice is deleted once.
                let again = !matches!(removed, Removed::Hidden(_)) && !gone.insert((&one.key, one.version.as_deref()));
                if again {
                    return Ok(Removed::Nothing);
                }
                changes.extend(change);
                Ok(removed)
            });
            let outcomes: Vec<Result<Removed, Refusal>> = outcomes.collect();
            Ok((changes, outcomes))
        })?;
        let mut entries = String::new();
        for (one, outcome) in doomed.iter().zip(&outcomes) {
            match outcome {
                Ok(removed) => {
                    self.announce_removal(&request.bucket, &one.key, removed);
                    if !is_quiet {
                        entries += &deleted(one, removed);
                    }
                }
                Err(refusal) => entries += &error(one, refusal),
            }
        }
        let mut answer = xml::document("DeleteResult", &entries);
        if let Some(denial) = first_denial {
            denial.mark(&mut answer);
        }
        Ok(answer)
    }

    /// Notifies functions of the removal, but not of missing objects, and of delete markers only when they are created
    /// ("Supported event types").
    fn announce_removal(&self, bucket: &str, key: &str, removed: &Removed) {
        let (event, facts) = match removed {
            Removed::Nothing | Removed::Marker(_) => return,
            Removed::Object(None) => ("ObjectRemoved:Delete", json!({})),
            Removed::Object(Some(id)) => ("ObjectRemoved:Delete", json!({ "versionId": id })),
            Removed::Hidden(id) => {
                ("ObjectRemoved:DeleteMarkerCreated", json!({ "eTag": ETAG_OF_NOTHING, "versionId": id }))
            }
        };
        self.announce(event, bucket, key, &facts);
    }
}

impl Doomed {
    /// Parses an `Object` element. No object has an empty key; `LastModifiedTime` and `Size` are for directory buckets.
    fn of(object: &Element) -> Result<Doomed, Refusal> {
        object.expect(&["Key", "VersionId", "ETag"], &["LastModifiedTime", "Size"])?;
        let key = object.need("Key")?;
        if key.is_empty() {
            return Err(malformed());
        }
        if key.len() > 1024 {
            return Err(Refusal::new(400, "KeyTooLongError", "Your key is too long"));
        }
        let expected = object.get("ETag").map_or(Precondition::Nothing, |tag| Precondition::Is(bare(tag).to_owned()));
        let version = object.get("VersionId").filter(|version| !version.is_empty()).map(str::to_owned);
        Ok(Doomed { key: key.to_owned(), version, expected })
    }
}

/// The `Deleted` element of an object that was deleted or did not exist.
fn deleted(one: &Doomed, removed: &Removed) -> String {
    let version = one.version.as_ref().map(|id| element("VersionId", id)).unwrap_or_default();
    let marker = match removed {
        Removed::Marker(id) | Removed::Hidden(id) => {
            element("DeleteMarker", "true") + &element("DeleteMarkerVersionId", id)
        }
        Removed::Nothing | Removed::Object(_) => String::new(),
    };
    wrap("Deleted", &(element("Key", &one.key) + &version + &marker))
}

fn error(one: &Doomed, refusal: &Refusal) -> String {
    let version = one.version.as_ref().map(|id| element("VersionId", id)).unwrap_or_default();
    let why = element("Code", &refusal.code) + &element("Message", &refusal.message);
    wrap("Error", &(element("Key", &one.key) + &version + &why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Object;

    fn doomed(version: Option<&str>) -> Doomed {
        Doomed { key: "a&b".into(), version: version.map(str::to_owned), expected: Precondition::Nothing }
    }

    #[test]
    fn a_deletion_is_answered_with_its_versions() {
        for (asked, removed, expected) in [
            (None, Removed::Object(None), ""),
            (Some("v"), Removed::Object(Some("v".into())), "<VersionId>v</VersionId>"),
            (Some("v"), Removed::Nothing, "<VersionId>v</VersionId>"),
            (
                None,
                Removed::Hidden("m".into()),
                "<DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>m</DeleteMarkerVersionId>",
            ),
            (
                Some("m"),
                Removed::Marker("m".into()),
                "<VersionId>m</VersionId><DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>m</DeleteMarkerVersionId>",
            ),
        ] {
            assert_eq!(deleted(&doomed(asked), &removed), format!("<Deleted><Key>a&amp;b</Key>{expected}</Deleted>"));
        }
    }

    #[test]
    fn versions_and_markers_are_deleted_as_the_user_guide_says() {
        let version = |id: &str, object: bool| Version {
            id: id.into(),
            modified: 0,
            object: object.then(|| Box::new(Object::default())),
        };
        let bucket = |versioning, versions: Vec<Version>| {
            let mut bucket = Bucket { keys: [("a&b".to_owned(), versions)].into(), ..Bucket::default() };
            bucket.settings.versioning = versioning;
            bucket
        };
        let removed = |bucket: &Bucket, id: Option<&str>| {
            let (changes, removed) = remove(bucket, "b", &doomed(id), false, &Ids::default()).unwrap();
            (changes.len(), removed)
        };
        let plain = bucket(None, vec![version(NULL, true)]);
        assert_eq!(removed(&plain, None), (1, Removed::Object(None)));
        assert_eq!(removed(&plain, Some(NULL)), (1, Removed::Object(None)));
        assert_eq!(removed(&plain, Some("other")), (0, Removed::Nothing));
        let on = bucket(Some(Versioning::Enabled), vec![version("1", true), version("2", false)]);
        assert!(matches!(removed(&on, None), (1, Removed::Hidden(id)) if id != NULL));
        assert_eq!(removed(&on, Some("1")), (1, Removed::Object(Some("1".into()))));
        assert_eq!(removed(&on, Some("2")), (1, Removed::Marker("2".into())));
        let off = bucket(Some(Versioning::Suspended), vec![version("1", true), version(NULL, true)]);
        assert_eq!(removed(&off, None), (1, Removed::Hidden(NULL.into())));
    }
}
