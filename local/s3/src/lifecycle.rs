//! Lifecycle rules and their execution (S3 user guide, "Managing the lifecycle of objects").

mod rule;

use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::json;

use super::S3;
use super::precondition::http_date;
use super::store::{Bucket, Change, Ids, Metadata, NULL, State, Version, Versioning, now};
use super::xml::Element;
use kit::answer::Refusal;

use rule::{LifecycleRule, Noncurrent, When};
pub(super) use rule::{rules, with_ids};

/// How often the rules are carried out. AWS does this once a day.
const EVERY: Duration = Duration::from_secs(600);
const DAY: i64 = 24 * 60 * 60 * 1000;

/// The enabled rules of a bucket.
fn in_force(bucket: &Bucket) -> Vec<LifecycleRule> {
    let text = bucket.settings.documents.get("lifecycle").map(String::as_bytes).unwrap_or_default();
    let read = Element::read(text, "LifecycleConfiguration").and_then(|document| rules(&document));
    read.unwrap_or_default().into_iter().filter(|rule| rule.is_on).collect()
}

/// When a current object will expire, as in `x-amz-expiration`.
pub(super) fn expiry(bucket: &Bucket, key: &str, version: &Version) -> Option<String> {
    let object = version.object.as_deref()?;
    let rules = in_force(bucket);
    let due = rules.iter().filter(|rule| rule.filter.fits(key, object));
    let due = due.filter_map(|rule| Some((rule.expiration?.of(version.modified), rule)));
    let (at, rule) = due.min_by_key(|(at, _)| *at)?;
    Some(format!("expiry-date=\"{}\", rule-id=\"{}\"", http_date(at), super::listing::url(&rule.id)))
}

/// A version that a rule expired, for event notifications.
#[derive(Debug, PartialEq, Eq)]
struct Expired {
    bucket: String,
    key: String,
    event: &'static str,
    id: Option<String>,
}

/// The changes that are due, and the notifications of functions.
fn due(state: &State, ids: &Ids, now: i64) -> (Vec<Change>, Vec<Expired>) {
    let (mut changes, mut expired) = (Vec::new(), Vec::new());
    for (name, bucket) in &state.buckets {
        let rules = in_force(bucket);
        if rules.is_empty() {
            continue;
        }
        for (key, versions) in &bucket.keys {
            let found = Due { name, bucket, key, versions, rules: &rules, now };
            found.expire(ids, &mut changes, &mut expired);
        }
        for (id, upload) in state.uploads.iter().filter(|(_, upload)| upload.bucket == *name) {
            let days = rules.iter().filter(|rule| upload.key.starts_with(&rule.filter.prefix));
            if days.filter_map(|rule| rule.abort_days).any(|days| When::Days(days).is_due(upload.begun, now)) {
                changes.push(Change::End { id: id.clone() });
            }
        }
    }
    (changes, expired)
}

/// A key to apply the rules to.
struct Due<'a> {
    name: &'a str,
    bucket: &'a Bucket,
    key: &'a str,
    versions: &'a [Version],
    rules: &'a [LifecycleRule],
    now: i64,
}

impl Due<'_> {
    fn expire(&self, ids: &Ids, changes: &mut Vec<Change>, expired: &mut Vec<Expired>) {
        let Some((newest, older)) = self.versions.split_last() else { return };
        let tell = |event, id| Expired { bucket: self.name.to_owned(), key: self.key.to_owned(), event, id };
        for (at, version) in older.iter().enumerate() {
            let newer = older.len() - at - 1;
            // It became noncurrent when the next version was created.
            let since = self.versions[at + 1].modified;
            if self.rules.iter().any(|rule| rule.drops_noncurrent(self.key, version, since, newer, self.now))
                && version.check_unlocked(false).is_ok()
            {
                changes.push(self.gone(&version.id));
                expired.push(tell("LifecycleExpiration:Delete", Some(version.id.clone())));
            }
        }
        let Some(object) = &newest.object else {
            let is_due = |rule: &LifecycleRule| {
                let by_age = rule.expiration.is_some_and(|when| when.is_due(newest.modified, self.now));
                self.key.starts_with(&rule.filter.prefix) && rule.filter.is_plain() && (rule.drops_markers || by_age)
            };
            if older.is_empty() && self.rules.iter().any(is_due) {
                changes.push(self.gone(&newest.id));
                expired.push(tell("LifecycleExpiration:Delete", Some(newest.id.clone())));
            }
            return;
        };
        let fitting = || self.rules.iter().filter(|rule| rule.filter.fits(self.key, object));
        let is_due = |rule: &LifecycleRule| rule.expiration.is_some_and(|when| when.is_due(newest.modified, self.now));
        if fitting().any(is_due) {
            let versioning = self.bucket.settings.versioning;
            let replaced = versioning != Some(Versioning::Enabled);
            if replaced && self.bucket.version(self.key, NULL).is_some_and(|null| null.check_unlocked(false).is_err()) {
                return;
            }
            if versioning.is_none() {
                changes.push(self.gone(&newest.id));
                expired.push(tell("LifecycleExpiration:Delete", None));
                return;
            }
            let id = self.bucket.next_id(ids);
            let marker = Version { id: id.clone(), modified: self.now, object: None };
            changes.push(Change::Put { bucket: self.name.to_owned(), key: self.key.to_owned(), version: marker });
            expired.push(tell("LifecycleExpiration:DeleteMarkerCreated", Some(id)));
            return;
        }
        let moves = fitting().flat_map(|rule| &rule.transitions);
        let last = moves
            .filter(|(when, _)| when.is_due(newest.modified, self.now))
            .max_by_key(|(when, _)| when.of(newest.modified));
        if let Some((_, class)) = last.filter(|(_, class)| *class != object.metadata.class) {
            let metadata = Metadata { class: class.clone(), ..object.metadata.clone() };
            let (bucket, key, id) = (self.name.to_owned(), self.key.to_owned(), newest.id.clone());
            changes.push(Change::SetMetadata { bucket, key, id, metadata });
        }
    }

    fn gone(&self, id: &str) -> Change {
        Change::Remove { bucket: self.name.to_owned(), key: self.key.to_owned(), id: id.to_owned() }
    }
}

impl LifecycleRule {
    /// Whether to remove a noncurrent version; `newer` is the number of newer noncurrent versions.
    fn drops_noncurrent(&self, key: &str, version: &Version, since: i64, newer: usize, now: i64) -> bool {
        let Some(Noncurrent { days, keeps }) = &self.noncurrent else { return false };
        let fits = match &version.object {
            Some(object) => self.filter.fits(key, object),
            None => key.starts_with(&self.filter.prefix) && self.filter.is_plain(),
        };
        fits && newer >= *keeps && When::Days(*days).is_due(since, now)
    }
}

impl S3 {
    /// Carries out the rules of all buckets, now and then periodically for as long as this store is in use.
    pub fn grow_old(self: &Arc<S3>) {
        let s3 = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(s3) = Weak::upgrade(&s3) {
                if let Err(refusal) = s3.expire(now()) {
                    tracing::warn!(refusal.message, "a lifecycle rule of a bucket could not be applied");
                }
                drop(s3);
                tokio::time::sleep(EVERY).await;
            }
        });
    }

    fn expire(&self, now: i64) -> Result<(), Refusal> {
        let has_rules = |bucket: &Bucket| bucket.settings.documents.contains_key("lifecycle");
        if !self.store.read(|state| state.buckets.values().any(has_rules)) {
            return Ok(());
        }
        for Expired { bucket, key, event, id } in self.store.change(|state, ids| Ok(due(state, ids, now)))? {
            let facts = id.map_or_else(|| json!({}), |id| json!({ "versionId": id }));
            self.announce(event, &bucket, &key, &facts);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::wrap;

    pub(super) fn document(rules: &str) -> Element {
        Element::read(wrap("LifecycleConfiguration", rules).as_bytes(), "LifecycleConfiguration").unwrap()
    }

    pub(super) fn one(actions: &str) -> String {
        wrap("Rule", &format!("<Status>Enabled</Status><Filter><Prefix>old/</Prefix></Filter>{actions}"))
    }

    /// How many versions expire, and the changes made, among some versions of which each is a day newer than the one
    /// before.
    fn left(
        rules: &str,
        versioning: Option<Versioning>,
        versions: &[(&str, bool)],
        after_days: i64,
    ) -> (usize, Vec<String>) {
        let begun = 20_000 * DAY;
        let version = |(at, (id, object)): (usize, &(&str, bool))| Version {
            id: (*id).to_owned(),
            modified: begun + at as i64 * DAY,
            object: object.then(Box::default),
        };
        let mut bucket = Bucket::default();
        bucket.keys.insert("old/k".to_owned(), versions.iter().enumerate().map(version).collect());
        bucket.keys.insert("new/k".to_owned(), versions.iter().enumerate().map(version).collect());
        bucket.settings.versioning = versioning;
        bucket.settings.documents.insert("lifecycle".to_owned(), document(rules).document());
        let state = State { buckets: [("b".to_owned(), bucket)].into(), ..State::default() };
        let (changes, expired) = due(&state, &Ids::default(), begun + after_days * DAY + DAY);
        let changes = changes.iter().map(|change| match change {
            Change::Remove { key, id, .. } => format!("{key} {id} gone"),
            Change::Put { key, version, .. } if version.object.is_none() => format!("{key} hidden"),
            Change::SetMetadata { key, metadata, .. } => format!("{key} {}", metadata.class.0),
            other => format!("{other:?}"),
        });
        (expired.len(), changes.collect())
    }

    #[test]
    fn only_expired_objects_are_removed() {
        let days = one("<Expiration><Days>3</Days></Expiration>");
        assert_eq!(left(&days, None, &[(NULL, true)], 2).1, Vec::<String>::new());
        assert_eq!(left(&days, None, &[(NULL, true)], 3), (1, vec!["old/k null gone".to_owned()]));
        assert_eq!(left(&days, Some(Versioning::Enabled), &[("1", true)], 3), (1, vec!["old/k hidden".to_owned()]));
        assert_eq!(left(&days, Some(Versioning::Enabled), &[("1", false)], 3), (1, vec!["old/k 1 gone".to_owned()]));
        let noncurrent = one(
            "<NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays><NewerNoncurrentVersions>1</NewerNoncurrentVersions></NoncurrentVersionExpiration>",
        );
        let three = [("1", true), ("2", true), ("3", true)];
        assert_eq!(left(&noncurrent, Some(Versioning::Enabled), &three, 9), (1, vec!["old/k 1 gone".to_owned()]));
        assert_eq!(left(&noncurrent, Some(Versioning::Enabled), &three, 3).0, 0);
        let cheaper = one("<Transition><Days>30</Days><StorageClass>STANDARD_IA</StorageClass></Transition>");
        assert_eq!(left(&cheaper, None, &[(NULL, true)], 30), (0, vec!["old/k STANDARD_IA".to_owned()]));
    }
}
