//! Lifecycle rules and their execution (S3 user guide, "Managing the lifecycle of objects").

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::S3;
use super::metadata::class;
use super::precondition::http_date;
use super::store::{Bucket, Change, Class, Ids, Metadata, NULL, Object, State, Version, Versioning, now};
use super::xml::{Element, malformed};
use kit::answer::Refusal;

/// How often the rules are carried out. AWS does this once a day.
const EVERY: Duration = Duration::from_secs(600);
const DAY: i64 = 24 * 60 * 60 * 1000;
const MOST_RULES: usize = 1000;

/// One lifecycle rule.
#[derive(Debug, Default)]
pub(super) struct Rule {
    id: String,
    is_on: bool,
    filter: Filter,
    expiration: Option<When>,
    /// Whether to remove delete markers with no other versions below them.
    drops_markers: bool,
    noncurrent: Option<Noncurrent>,
    transitions: Vec<(When, Class)>,
    /// After how many days to abort an incomplete upload.
    abort_days: Option<i64>,
}

#[derive(Debug, Default)]
struct Filter {
    prefix: String,
    tags: Vec<(String, String)>,
    larger_than: Option<u64>,
    smaller_than: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Days(i64),
    /// In Unix milliseconds.
    Date(i64),
}

#[derive(Debug)]
struct Noncurrent {
    days: i64,
    keeps: usize,
}

impl When {
    /// When something that began at `begun` is due: for `Days`, at the midnight after they have passed.
    fn of(self, begun: i64) -> i64 {
        match self {
            When::Days(days) => (begun + days * DAY).div_euclid(DAY) * DAY + DAY,
            When::Date(date) => date,
        }
    }

    fn is_due(self, begun: i64, now: i64) -> bool {
        self.of(begun) <= now
    }
}

impl Filter {
    fn fits(&self, key: &str, object: &Object) -> bool {
        key.starts_with(&self.prefix)
            && self.tags.iter().all(|tag| object.metadata.tags.contains(tag))
            && self.larger_than.is_none_or(|least| object.size > least)
            && self.smaller_than.is_none_or(|most| object.size < most)
    }

    /// Whether the filter has only a prefix.
    fn is_plain(&self) -> bool {
        self.tags.is_empty() && self.larger_than.is_none() && self.smaller_than.is_none()
    }
}

/// Parses the rules of a `LifecycleConfiguration`.
pub(super) fn rules(document: &Element) -> Result<Vec<Rule>, Refusal> {
    document.expect(&["Rule*"], &[])?;
    if document.children.is_empty() || document.children.len() > MOST_RULES {
        return Err(malformed());
    }
    let rules: Vec<Rule> = document.children.iter().map(rule).collect::<Result<_, _>>()?;
    let mut ids = BTreeSet::new();
    if !rules.iter().filter(|rule| !rule.id.is_empty()).all(|rule| ids.insert(&rule.id)) {
        return Err(invalid("Rule ID must be unique. Found same ID for more than one rule"));
    }
    Ok(rules)
}

/// Gives an ID to each rule without one.
pub(super) fn with_ids(mut document: Element) -> Element {
    for rule in document.children.iter_mut().filter(|rule| rule.get("ID").is_none_or(str::is_empty)) {
        rule.children.retain(|child| child.name != "ID");
        let id = Element { name: "ID".to_owned(), text: Uuid::new_v4().to_string(), children: Vec::new() };
        rule.children.insert(0, id);
    }
    document
}

fn invalid(text: &str) -> Refusal {
    Refusal::new(400, "InvalidArgument", text)
}

fn rule(rule: &Element) -> Result<Rule, Refusal> {
    rule.expect(
        &[
            "ID",
            "Prefix",
            "Filter",
            "Status",
            "Expiration",
            "Transition*",
            "NoncurrentVersionExpiration",
            "AbortIncompleteMultipartUpload",
        ],
        &["NoncurrentVersionTransition"],
    )?;
    let id = rule.get("ID").unwrap_or_default().to_owned();
    if id.chars().count() > 255 {
        return Err(invalid("ID length should not exceed allowed limit of 255"));
    }
    let is_on = rule.one_of("Status", &["Enabled", "Disabled"])?.ok_or_else(malformed)? == "Enabled";
    let filter = match (rule.child("Filter"), rule.get("Prefix")) {
        (Some(filter), None) => read_filter(filter)?,
        (None, Some(prefix)) => Filter { prefix: prefix.to_owned(), ..Filter::default() },
        _ => return Err(malformed()),
    };
    let mut read = Rule { id, is_on, filter, ..Rule::default() };
    if let Some(expiration) = rule.child("Expiration") {
        read_expiration(expiration, &mut read)?;
    }
    if let Some(noncurrent) = rule.child("NoncurrentVersionExpiration") {
        noncurrent.expect(&["NoncurrentDays", "NewerNoncurrentVersions"], &[])?;
        let days = positive(noncurrent, "NoncurrentDays", "NoncurrentVersionExpiration")?.ok_or_else(malformed)?;
        let keeps = noncurrent.number("NewerNoncurrentVersions")?.unwrap_or(0);
        let keeps = usize::try_from(keeps).ok().filter(|keeps| *keeps <= 100);
        let keeps =
            keeps.ok_or_else(|| invalid("'NewerNoncurrentVersions' must be a positive integer of at most 100"))?;
        read.noncurrent = Some(Noncurrent { days, keeps });
    }
    for transition in rule.all("Transition") {
        transition.expect(&["Days", "Date", "StorageClass"], &[])?;
        let class = class(transition.get("StorageClass")).map_err(|refusal| match refusal.status {
            501 => refusal,
            _ => malformed(),
        })?;
        let when = when(transition, "Transition", 0)?.ok_or_else(malformed)?;
        if matches!(when, When::Days(..30)) && class.0.ends_with("_IA") {
            let text = format!(
                "'Days' in Transition action must be greater than or equal to 30 for storageClass '{}'",
                class.0
            );
            return Err(invalid(&text));
        }
        read.transitions.push((when, class));
    }
    if let Some(abort) = rule.child("AbortIncompleteMultipartUpload") {
        abort.expect(&["DaysAfterInitiation"], &[])?;
        read.abort_days = positive(abort, "DaysAfterInitiation", "AbortIncompleteMultipartUpload")?;
        if read.abort_days.is_none() {
            return Err(malformed());
        }
        if !read.filter.is_plain() {
            let text = "AbortIncompleteMultipartUpload cannot be specified with Tags or sizes.";
            return Err(Refusal::new(400, "InvalidRequest", text));
        }
    }
    if read.expiration.is_none()
        && !read.drops_markers
        && read.noncurrent.is_none()
        && read.transitions.is_empty()
        && read.abort_days.is_none()
    {
        return Err(Refusal::new(400, "InvalidRequest", "At least one action needs to be specified in a rule."));
    }
    Ok(read)
}

fn read_expiration(expiration: &Element, rule: &mut Rule) -> Result<(), Refusal> {
    expiration.expect(&["Days", "Date", "ExpiredObjectDeleteMarker"], &[])?;
    rule.expiration = when(expiration, "Expiration", 1)?;
    rule.drops_markers = expiration.flag("ExpiredObjectDeleteMarker")?.unwrap_or(false);
    match (rule.expiration, expiration.child("ExpiredObjectDeleteMarker")) {
        (None, None) | (Some(_), Some(_)) => Err(malformed()),
        _ => Ok(()),
    }
}

fn read_filter(filter: &Element) -> Result<Filter, Refusal> {
    const MEMBERS: &[&str] = &["Prefix", "Tag*", "ObjectSizeGreaterThan", "ObjectSizeLessThan"];
    filter.expect(&["Prefix", "Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan", "And"], &[])?;
    if filter.children.len() > 1 {
        return Err(malformed());
    }
    let members = filter.child("And").unwrap_or(filter);
    if members.name == "And" {
        members.expect(MEMBERS, &[])?;
        if members.children.len() < 2 {
            return Err(malformed());
        }
    }
    let size = |name: &str| members.number(name)?.map(|size| u64::try_from(size).map_err(|_| malformed())).transpose();
    let tags = members.all("Tag").map(|tag| {
        let tag = tag.expect(&["Key", "Value"], &[])?;
        Ok((tag.need("Key")?.to_owned(), tag.need("Value")?.to_owned()))
    });
    Ok(Filter {
        prefix: members.get("Prefix").unwrap_or_default().to_owned(),
        tags: tags.collect::<Result<_, Refusal>>()?,
        larger_than: size("ObjectSizeGreaterThan")?,
        smaller_than: size("ObjectSizeLessThan")?,
    })
}

fn positive(element: &Element, name: &str, action: &str) -> Result<Option<i64>, Refusal> {
    match element.number(name)? {
        Some(..1) => Err(invalid(&format!("'{name}' for {action} action must be a positive integer"))),
        Some(days) if days > i64::from(i32::MAX) => Err(malformed()),
        days => Ok(days),
    }
}

fn when(element: &Element, action: &str, least: i64) -> Result<Option<When>, Refusal> {
    match (element.number("Days")?, element.get("Date")) {
        (None, None) => Ok(None),
        (Some(days), None) if days < least => {
            let kind = if least == 0 { "nonnegative" } else { "positive" };
            Err(invalid(&format!("'Days' for {action} action must be a {kind} integer")))
        }
        (Some(days), None) if days > i64::from(i32::MAX) => Err(malformed()),
        (Some(days), None) => Ok(Some(When::Days(days))),
        (None, Some(date)) => {
            let date = OffsetDateTime::parse(date.trim(), &Rfc3339).map_err(|_| malformed())?;
            match date.unix_timestamp() * 1000 {
                date if date % DAY == 0 => Ok(Some(When::Date(date))),
                _ => Err(invalid("'Date' must be at midnight GMT")),
            }
        }
        (Some(_), Some(_)) => Err(malformed()),
    }
}

/// The enabled rules of a bucket.
fn in_force(bucket: &Bucket) -> Vec<Rule> {
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
    rules: &'a [Rule],
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
            let is_due = |rule: &Rule| {
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
        let is_due = |rule: &Rule| rule.expiration.is_some_and(|when| when.is_due(newest.modified, self.now));
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

impl Rule {
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

    fn document(rules: &str) -> Element {
        Element::read(wrap("LifecycleConfiguration", rules).as_bytes(), "LifecycleConfiguration").unwrap()
    }

    fn one(actions: &str) -> String {
        wrap("Rule", &format!("<Status>Enabled</Status><Filter><Prefix>old/</Prefix></Filter>{actions}"))
    }

    #[test]
    fn lifecycle_rules_are_read_or_refused_with_the_errors_of_s3() {
        let code = |rules: &str| super::rules(&document(rules)).err().map(|refusal| refusal.code);
        let expires = |inside: &str| one(&wrap("Expiration", inside));
        for (rules, expected) in [
            (expires("<Days>1</Days>"), None),
            (expires("<Date>2030-01-01T00:00:00Z</Date>"), None),
            (expires("<ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>"), None),
            (expires("<Days>0</Days>"), Some("InvalidArgument")),
            (expires("<Date>2030-01-01T01:00:00Z</Date>"), Some("InvalidArgument")),
            (expires("<Days>1</Days><Date>2030-01-01T00:00:00Z</Date>"), Some("MalformedXML")),
            (expires(""), Some("MalformedXML")),
            (one(""), Some("InvalidRequest")),
            (String::new(), Some("MalformedXML")),
            (one("<Transition><Days>30</Days><StorageClass>STANDARD_IA</StorageClass></Transition>"), None),
            (
                one("<Transition><Days>3</Days><StorageClass>STANDARD_IA</StorageClass></Transition>"),
                Some("InvalidArgument"),
            ),
            (
                one("<Transition><Days>3</Days><StorageClass>GLACIER</StorageClass></Transition>"),
                Some("NotImplemented"),
            ),
            (one("<NoncurrentVersionTransition/>"), Some("NotImplemented")),
            (wrap("Rule", "<Status>On</Status><Prefix/>"), Some("MalformedXML")),
            (
                wrap("Rule", "<ID>a</ID><Status>Enabled</Status><Prefix/><Expiration><Days>1</Days></Expiration>")
                    .repeat(2),
                Some("InvalidArgument"),
            ),
        ] {
            assert_eq!(code(&rules).as_deref(), expected, "{rules}");
        }
        let named = with_ids(document(&expires("<Days>1</Days>")));
        assert!(named.children[0].get("ID").is_some_and(|id| id.len() == 36));
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
        let told = changes.iter().map(|change| match change {
            Change::Remove { key, id, .. } => format!("{key} {id} gone"),
            Change::Put { key, version, .. } if version.object.is_none() => format!("{key} hidden"),
            Change::SetMetadata { key, metadata, .. } => format!("{key} {}", metadata.class.0),
            other => format!("{other:?}"),
        });
        (expired.len(), told.collect())
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
