//! Which functions a bucket tells about its objects (aws-facts §4.6).

use serde::Deserialize;
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::NAMESPACE;
use crate::answer::{Refusal, escape};

/// One function, the events it waits for, and of which keys.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Notification {
    pub id: String,
    pub function: String,
    pub events: Vec<String>,
    pub prefix: String,
    pub suffix: String,
}

#[derive(Debug, Deserialize)]
struct Configuration {
    #[serde(default, rename = "CloudFunctionConfiguration")]
    functions: Vec<Entry>,
    #[serde(default, rename = "QueueConfiguration")]
    queues: Vec<IgnoredAny>,
    #[serde(default, rename = "TopicConfiguration")]
    topics: Vec<IgnoredAny>,
    #[serde(rename = "EventBridgeConfiguration")]
    event_bridge: Option<IgnoredAny>,
}

/// Every kind of event that a bucket can tell of.
const EVENTS: &[&str] = &[
    "s3:IntelligentTiering",
    "s3:LifecycleExpiration:*",
    "s3:LifecycleExpiration:Delete",
    "s3:LifecycleExpiration:DeleteMarkerCreated",
    "s3:LifecycleTransition",
    "s3:ObjectAcl:Put",
    "s3:ObjectCreated:*",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Put",
    "s3:ObjectRemoved:*",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
    "s3:ObjectRestore:*",
    "s3:ObjectRestore:Completed",
    "s3:ObjectRestore:Delete",
    "s3:ObjectRestore:Post",
    "s3:ObjectTagging:*",
    "s3:ObjectTagging:Delete",
    "s3:ObjectTagging:Put",
    "s3:ReducedRedundancyLostObject",
    "s3:Replication:*",
    "s3:Replication:OperationFailedReplication",
    "s3:Replication:OperationMissedThreshold",
    "s3:Replication:OperationNotTracked",
    "s3:Replication:OperationReplicatedAfterThreshold",
];

#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "Id")]
    id: Option<String>,
    #[serde(rename = "CloudFunction")]
    function: String,
    #[serde(default, rename = "Event")]
    events: Vec<String>,
    #[serde(default, rename = "Filter")]
    filter: Filter,
}

#[derive(Debug, Default, Deserialize)]
struct Filter {
    #[serde(default, rename = "S3Key")]
    key: KeyFilter,
}

#[derive(Debug, Default, Deserialize)]
struct KeyFilter {
    #[serde(default, rename = "FilterRule")]
    rules: Vec<FilterRule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FilterRule {
    name: String,
    #[serde(default)]
    value: String,
}

/// The functions of a `NotificationConfiguration`; `None` when it is no such document.
pub(super) fn read(document: &[u8]) -> Option<Vec<Notification>> {
    Some(configuration(document)?.functions.into_iter().map(Notification::from).collect())
}

fn configuration(document: &[u8]) -> Option<Configuration> {
    quick_xml::de::from_str(&String::from_utf8_lossy(document)).ok()
}

/// Refuses what a document asks for and nobody here can do: filters of unknown names, and destinations that are none.
pub(super) fn check_document(document: &[u8]) -> Result<(), Refusal> {
    let Some(Configuration { functions, queues, topics, event_bridge }) = configuration(document) else {
        return Ok(());
    };
    for entry in &functions {
        check_filter(&entry.filter.key.rules)?;
    }
    if !queues.is_empty() || !topics.is_empty() || event_bridge.is_some() {
        // Whether or not destinations are to be validated: nothing would ever arrive there.
        let text = "Unable to validate the following destination configurations: the local AWS has no queues, no topics and no event bridge";
        return Err(Refusal::new(400, "InvalidArgument", text));
    }
    Ok(())
}

fn check_filter(rules: &[FilterRule]) -> Result<(), Refusal> {
    let count = |wanted: &str| rules.iter().filter(|rule| rule.name.eq_ignore_ascii_case(wanted)).count();
    let (prefixes, suffixes) = (count("prefix"), count("suffix"));
    let text = if prefixes + suffixes < rules.len() {
        "filter rule name must be either prefix or suffix"
    } else if prefixes > 1 || suffixes > 1 {
        "Cannot specify more than one prefix rule and one suffix rule in a filter."
    } else {
        return Ok(());
    };
    Err(Refusal::new(400, "InvalidArgument", text))
}

/// The document S3 gives back.
pub(super) fn write(notifications: &[Notification]) -> String {
    let functions: String = notifications.iter().map(Notification::xml).collect();
    format!("<NotificationConfiguration xmlns=\"{NAMESPACE}\">{functions}</NotificationConfiguration>")
}

/// Refuses unknown events and rules that would send one event twice.
pub(super) fn check(notifications: &[Notification]) -> Result<(), Refusal> {
    for (at, one) in notifications.iter().enumerate() {
        if one.events.is_empty() || !one.events.iter().all(|event| EVENTS.contains(&event.as_str())) {
            return Err(Refusal::new(400, "InvalidArgument", "The event is not supported for notifications"));
        }
        if notifications[..at].iter().any(|other| one.overlaps(other)) {
            let text = "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are overlapping for the same event type.";
            return Err(Refusal::new(400, "InvalidArgument", text));
        }
    }
    Ok(())
}

impl Notification {
    /// Whether the function waits for `event` (such as `ObjectCreated:Put`) of `key`.
    pub(super) fn wants(&self, event: &str, key: &str) -> bool {
        let kind = event.split(':').next().unwrap_or(event);
        let waits = self.events.iter().any(|wanted| {
            let wanted = wanted.strip_prefix("s3:").unwrap_or(wanted);
            wanted == event || wanted.strip_suffix(":*") == Some(kind)
        });
        waits && key.starts_with(&self.prefix) && key.ends_with(&self.suffix)
    }

    fn overlaps(&self, other: &Notification) -> bool {
        let nested = |one: &str, two: &str| one.starts_with(two) || two.starts_with(one);
        let ends = |one: &str, two: &str| one.ends_with(two) || two.ends_with(one);
        let family = |event: &str| event.strip_suffix('*').unwrap_or(event).to_owned();
        let events = self.events.iter().any(|one| other.events.iter().any(|two| nested(&family(one), &family(two))));
        events && nested(&self.prefix, &other.prefix) && ends(&self.suffix, &other.suffix)
    }

    fn xml(&self) -> String {
        let Notification { id, function, events, prefix, suffix } = self;
        let events: String = events.iter().map(|event| format!("<Event>{}</Event>", escape(event))).collect();
        let rules: String = [("Prefix", prefix), ("Suffix", suffix)]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| {
                format!("<FilterRule><Name>{name}</Name><Value>{}</Value></FilterRule>", escape(value))
            })
            .collect();
        let filter = match rules.as_str() {
            "" => String::new(),
            rules => format!("<Filter><S3Key>{rules}</S3Key></Filter>"),
        };
        format!(
            "<CloudFunctionConfiguration><Id>{}</Id><CloudFunction>{}</CloudFunction>{events}{filter}</CloudFunctionConfiguration>",
            escape(id),
            escape(function)
        )
    }
}

impl From<Entry> for Notification {
    fn from(entry: Entry) -> Notification {
        let rule = |name: &str| {
            let rules = &entry.filter.key.rules;
            let found = rules.iter().find(|rule| rule.name.eq_ignore_ascii_case(name));
            found.map(|rule| rule.value.clone()).unwrap_or_default()
        };
        Notification {
            prefix: rule("prefix"),
            suffix: rule("suffix"),
            id: entry.id.unwrap_or_else(|| Uuid::new_v4().to_string()),
            function: entry.function,
            events: entry.events,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> Notification {
        Notification {
            id: "images".into(),
            function: "arn:aws:lambda:us-east-1:000000000000:function:labeler".into(),
            events: vec!["s3:ObjectCreated:*".into()],
            prefix: "in & out/".into(),
            suffix: ".jpg".into(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(write(&[images()]).as_bytes()), Some(vec![images()]));
        assert_eq!(read(b"<NotificationConfiguration/>"), Some(vec![]));
    }

    #[test]
    fn filters_and_kinds_of_events_decide() {
        assert!(images().wants("ObjectCreated:Put", "in & out/a.jpg"));
        assert!(!images().wants("ObjectCreated:Put", "other/a.jpg"));
        assert!(!images().wants("ObjectRemoved:Delete", "in & out/a.jpg"));
        let copies = Notification { events: vec!["s3:ObjectCreated:Copy".into()], ..images() };
        assert!(!copies.wants("ObjectCreated:Put", "in & out/a.jpg"));
    }

    #[test]
    fn events_filters_and_destinations_that_are_none_are_refused() {
        for (events, accepted) in [
            (&["s3:ObjectCreated:*", "s3:ObjectRemoved:DeleteMarkerCreated"][..], true),
            (&["s3:ObjectCreated:Put", "s3:ObjectCreated:Putt"], false),
            (&["s3:*"], false),
            (&["ObjectCreated:Put"], false),
            (&[], false),
        ] {
            let one = Notification { events: events.iter().map(|event| (*event).to_owned()).collect(), ..images() };
            assert_eq!(check(&[one]).is_ok(), accepted, "{events:?}");
        }
        let rule = |name: &str| format!("<FilterRule><Name>{name}</Name><Value>a</Value></FilterRule>");
        let filtered = |rules: &str| {
            format!(
                "<CloudFunctionConfiguration><CloudFunction>f</CloudFunction><Event>s3:ObjectCreated:*</Event><Filter><S3Key>{rules}</S3Key></Filter></CloudFunctionConfiguration>"
            )
        };
        for (inside, accepted) in [
            (filtered(&(rule("prefix") + &rule("Suffix"))), true),
            (filtered(&rule("infix")), false),
            (filtered(&(rule("prefix") + &rule("Prefix"))), false),
            ("<QueueConfiguration><Id>q</Id><Queue>arn</Queue><Event>s3:ObjectCreated:*</Event></QueueConfiguration>".to_owned(), false),
            ("<TopicConfiguration xmlns=\"\"><Topic>arn</Topic></TopicConfiguration>".to_owned(), false),
            ("<EventBridgeConfiguration/>".to_owned(), false),
            (String::new(), true),
        ] {
            let document = format!("<NotificationConfiguration xmlns=\"{NAMESPACE}\">{inside}</NotificationConfiguration>");
            let refused = check_document(document.as_bytes()).err().map(|refusal| refusal.code);
            assert_eq!(refused.as_deref(), (!accepted).then_some("InvalidArgument"), "{inside}");
        }
    }

    #[test]
    fn two_rules_for_one_event_are_ambiguous() {
        let narrower = Notification { prefix: "in & out/a".into(), ..images() };
        assert_eq!(check(&[images(), narrower]).unwrap_err().code, "InvalidArgument");
        let elsewhere = Notification { prefix: "z/".into(), ..images() };
        assert!(check(&[images(), elsewhere]).is_ok());
    }
}
