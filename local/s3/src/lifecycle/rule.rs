//! The rules of a lifecycle configuration.

use std::collections::BTreeSet;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::DAY;
use crate::metadata::class;
use crate::store::{Class, Object};
use crate::xml::{Element, malformed};
use kit::answer::Refusal;

const MOST_RULES: usize = 1000;

/// One lifecycle rule.
#[derive(Debug, Default)]
pub(crate) struct LifecycleRule {
    pub(super) id: String,
    pub(super) is_on: bool,
    pub(super) filter: Filter,
    pub(super) expiration: Option<When>,
    /// Whether to remove delete markers with no other versions below them.
    pub(super) drops_markers: bool,
    pub(super) noncurrent: Option<Noncurrent>,
    pub(super) transitions: Vec<(When, Class)>,
    /// After how many days to abort an incomplete upload.
    pub(super) abort_days: Option<i64>,
}

#[derive(Debug, Default)]
pub(super) struct Filter {
    pub(super) prefix: String,
    tags: Vec<(String, String)>,
    larger_than: Option<u64>,
    smaller_than: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Days(i64),
    /// In Unix milliseconds.
    Date(i64),
}

#[derive(Debug)]
pub(super) struct Noncurrent {
    pub(super) days: i64,
    pub(super) keeps: usize,
}

impl When {
    /// When something that began at `begun` is due: for `Days`, at the midnight after they have passed.
    pub(super) fn of(self, begun: i64) -> i64 {
        match self {
            When::Days(days) => (begun + days * DAY).div_euclid(DAY) * DAY + DAY,
            When::Date(date) => date,
        }
    }

    pub(super) fn is_due(self, begun: i64, now: i64) -> bool {
        self.of(begun) <= now
    }
}

impl Filter {
    pub(super) fn fits(&self, key: &str, object: &Object) -> bool {
        key.starts_with(&self.prefix)
            && self.tags.iter().all(|tag| object.metadata.tags.contains(tag))
            && self.larger_than.is_none_or(|least| object.size > least)
            && self.smaller_than.is_none_or(|most| object.size < most)
    }

    /// Whether the filter has only a prefix.
    pub(super) fn is_plain(&self) -> bool {
        self.tags.is_empty() && self.larger_than.is_none() && self.smaller_than.is_none()
    }
}

/// Parses the rules of a `LifecycleConfiguration`.
pub(crate) fn rules(document: &Element) -> Result<Vec<LifecycleRule>, Refusal> {
    document.expect(&["Rule*"], &[])?;
    if document.children.is_empty() || document.children.len() > MOST_RULES {
        return Err(malformed());
    }
    let rules: Vec<LifecycleRule> = document.children.iter().map(rule).collect::<Result<_, _>>()?;
    let mut ids = BTreeSet::new();
    if !rules.iter().filter(|rule| !rule.id.is_empty()).all(|rule| ids.insert(&rule.id)) {
        return Err(invalid("Rule ID must be unique. Found same ID for more than one rule"));
    }
    Ok(rules)
}

/// Gives an ID to each rule without one.
pub(crate) fn with_ids(mut document: Element) -> Element {
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

fn rule(rule: &Element) -> Result<LifecycleRule, Refusal> {
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
    let mut read = LifecycleRule { id, is_on, filter, ..LifecycleRule::default() };
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

fn read_expiration(expiration: &Element, rule: &mut LifecycleRule) -> Result<(), Refusal> {
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

#[cfg(test)]
mod tests {
    use super::super::tests::{document, one};
    use super::*;
    use crate::xml::wrap;

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
}
