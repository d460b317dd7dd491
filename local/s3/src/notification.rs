//! Notification configurations (docs/aws.md §4.6).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::NAMESPACE;
use super::xml::{Element, element, wrap};
use kit::answer::Refusal;

/// A function with the events it is notified of, and a filter for their keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notification {
    pub id: String,
    pub function: String,
    pub events: Vec<String>,
    /// As it was given: a filter without rules is not the same document as no filter.
    pub filter: Option<Vec<(String, String)>>,
}

/// Every event type that a bucket can send.
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

/// Parses the functions of a `NotificationConfiguration`.
pub(super) fn read(document: &Element) -> Result<Vec<Notification>, Refusal> {
    const FUNCTION: &str = "CloudFunctionConfiguration";
    const OTHERS: &[&str] = &["QueueConfiguration", "TopicConfiguration", "EventBridgeConfiguration"];
    document.expect(
        &["CloudFunctionConfiguration*", "QueueConfiguration*", "TopicConfiguration*", "EventBridgeConfiguration"],
        &[],
    )?;
    let functions = document.all(FUNCTION).map(Notification::of).collect::<Result<_, _>>()?;
    if document.children.iter().any(|child| OTHERS.contains(&child.name.as_str())) {
        // Refused even if destinations need not be validated, because nothing would ever arrive there.
        let text = "Unable to validate the following destination configurations: the local AWS has no queues, no topics and no event bridge";
        return Err(Refusal::new(400, "InvalidArgument", text));
    }
    Ok(functions)
}

/// The rules of a filter, with their names spelled as S3 returns them.
fn filter(entry: &Element) -> Result<Option<Vec<(String, String)>>, Refusal> {
    let Some(filter) = entry.child("Filter") else { return Ok(None) };
    let Some(key) = filter.expect(&["S3Key"], &[])?.child("S3Key") else { return Ok(Some(Vec::new())) };
    key.expect(&["FilterRule*"], &[])?;
    let invalid = |text: &str| Refusal::new(400, "InvalidArgument", text);
    let mut rules: Vec<(String, String)> = Vec::new();
    for rule in &key.children {
        let name = rule.expect(&["Name", "Value"], &[])?.need("Name")?;
        let name = ["Prefix", "Suffix"].into_iter().find(|known| known.eq_ignore_ascii_case(name));
        let name = name.ok_or_else(|| invalid("filter rule name must be either prefix or suffix"))?;
        if rules.iter().any(|(before, _)| before == name) {
            let text = "Cannot specify more than one prefix rule and one suffix rule in a filter.";
            return Err(invalid(text));
        }
        rules.push((name.to_owned(), rule.get("Value").unwrap_or_default().to_owned()));
    }
    Ok(Some(rules))
}

/// The document that S3 returns.
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
    /// Whether the function is notified of `event` (such as `ObjectCreated:Put`) for `key`.
    pub(super) fn wants(&self, event: &str, key: &str) -> bool {
        let kind = event.split(':').next().unwrap_or(event);
        let waits = self.events.iter().any(|wanted| {
            let wanted = wanted.strip_prefix("s3:").unwrap_or(wanted);
            wanted == event || wanted.strip_suffix(":*") == Some(kind)
        });
        waits && key.starts_with(self.rule("Prefix")) && key.ends_with(self.rule("Suffix"))
    }

    fn overlaps(&self, other: &Notification) -> bool {
        let nested = |one: &str, two: &str| one.starts_with(two) || two.starts_with(one);
        let ends = |one: &str, two: &str| one.ends_with(two) || two.ends_with(one);
        let family = |event: &str| event.strip_suffix('*').unwrap_or(event).to_owned();
        let events = self.events.iter().any(|one| other.events.iter().any(|two| nested(&family(one), &family(two))));
        events && nested(self.rule("Prefix"), other.rule("Prefix")) && ends(self.rule("Suffix"), other.rule("Suffix"))
    }

    /// The value of a rule. A missing rule is the empty text, which matches every key.
    fn rule(&self, name: &str) -> &str {
        let rules = self.filter.iter().flatten();
        rules.clone().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    }

    fn of(entry: &Element) -> Result<Notification, Refusal> {
        entry.expect(&["Id", "CloudFunction", "Event*", "Filter"], &[])?;
        Ok(Notification {
            id: entry.get("Id").map_or_else(|| Uuid::new_v4().to_string(), str::to_owned),
            function: entry.need("CloudFunction")?.to_owned(),
            events: entry.all("Event").map(|event| event.text.clone()).collect(),
            filter: filter(entry)?,
        })
    }

    fn xml(&self) -> String {
        let Notification { id, function, events, filter } = self;
        let events: String = events.iter().map(|event| element("Event", event)).collect();
        let filter = filter.iter().map(|rules| {
            let rules = rules
                .iter()
                .map(|(name, value)| wrap("FilterRule", &(element("Name", name) + &element("Value", value))));
            wrap("Filter", &wrap("S3Key", &rules.collect::<String>()))
        });
        let inside = element("Id", id) + &element("CloudFunction", function) + &events + &filter.collect::<String>();
        wrap("CloudFunctionConfiguration", &inside)
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
            filter: Some(vec![("Prefix".into(), "in & out/".into()), ("Suffix".into(), ".jpg".into())]),
        }
    }

    fn with_prefix(prefix: &str) -> Notification {
        Notification { filter: Some(vec![("Prefix".into(), prefix.into())]), ..images() }
    }

    fn parse(text: &str) -> Result<Vec<Notification>, Refusal> {
        read(&Element::read(text.as_bytes(), "NotificationConfiguration")?)
    }

    #[test]
    fn written_values_are_read_back() {
        let empty = |rules: &[&str]| {
            let rules = rules.iter().map(|name| ((*name).to_owned(), String::new())).collect();
            Notification { filter: Some(rules), ..images() }
        };
        let none = Notification { filter: None, ..images() };
        for one in [images(), none, empty(&[]), empty(&["Prefix", "Suffix"]), empty(&["Suffix"])] {
            assert_eq!(parse(&write(std::slice::from_ref(&one))), Ok(vec![one.clone()]));
            assert!(one.filter == images().filter || one.wants("ObjectCreated:Put", " "));
        }
        assert_eq!(parse("<NotificationConfiguration/>"), Ok(vec![]));
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
    fn invalid_events_filters_and_destinations_are_refused() {
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
            let refused = parse(&document).err().map(|refusal| refusal.code);
            assert_eq!(refused.as_deref(), (!accepted).then_some("InvalidArgument"), "{inside}");
        }
    }

    #[test]
    fn two_rules_for_one_event_are_ambiguous() {
        let narrower = with_prefix("in & out/a");
        assert_eq!(check(&[images(), narrower]).unwrap_err().code, "InvalidArgument");
        let elsewhere = with_prefix("z/");
        assert!(check(&[images(), elsewhere]).is_ok());
    }
}
