//! `ChangeResourceRecordSets`: a batch of changes of a zone, which takes effect as a whole or not at all
//! (docs/aws.md §21.3).

use std::collections::{BTreeMap, BTreeSet};

use kit::answer::Refusal;

use super::document::Element;
use super::records;
use super::state::{Alias, RecordSet, Zone, key};
use crate::name;

/// The maximum number of values in a batch, and of their characters. Those of an UPSERT count twice.
const MOST_RECORDS: usize = 1000;
/// The maximum number of values of a record set, and of characters of one (docs/aws.md §21.3).
const MOST_VALUES: usize = 400;
const LONGEST_VALUE: usize = 4000;
/// The types of records that Route 53 has and the local AWS does not.
const ONLY_ON_AWS: &[&str] = &["DS", "HTTPS", "NAPTR", "SSHFP", "SVCB", "TLSA"];
const MOST_CHARACTERS: usize = 32_000;

type Records = BTreeMap<String, RecordSet>;

/// Lookups of a change batch outside its zone.
pub struct Outside<'a> {
    /// Whether a load balancer has a DNS name in a hosted zone of load balancers.
    pub has_balancer: &'a dyn Fn(&str, &str) -> bool,
}

/// A change of one record set.
#[derive(Debug)]
struct RecordChange {
    action: Action,
    record: RecordSet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Create,
    Delete,
    Upsert,
}

/// Returns the zone's records after a batch.
///
/// Errors: `InvalidInput` for a document that is not as described, `InvalidChangeBatch` with every problem otherwise.
pub fn applied(zone: &Zone, batch: &Element, outside: &Outside) -> Result<Records, Refusal> {
    check_comment(batch)?;
    let changes: Vec<RecordChange> = batch.items("Changes").iter().map(read).collect::<Result<_, Refusal>>()?;
    if changes.is_empty() {
        return Err(invalid_input("Invalid XML ; The content of element 'Changes' is not complete."));
    }
    check_size(&changes)?;
    let mut problems = Vec::new();
    let mut records = zone.records.clone();
    let mut put = BTreeSet::new();
    for change in &changes {
        problems.extend(apply(&mut records, &mut put, change));
    }
    for change in changes.iter().filter(|change| change.action != Action::Delete) {
        problems.extend(flaws(zone, &records, &change.record, outside));
    }
    problems.extend(apex_flaws(zone, &records));
    let mut seen = BTreeSet::new();
    problems.retain(|problem| seen.insert(problem.clone()));
    match problems.is_empty() {
        true => Ok(records),
        false => Err(invalid_batch(&problems)),
    }
}

/// Checks the comment of a document.
pub fn check_comment(document: &Element) -> Result<(), Refusal> {
    const LONGEST: usize = 256;
    match document.text("Comment").is_some_and(|text| text.chars().count() > LONGEST) {
        true => Err(invalid_input(format!("A comment has {LONGEST} characters at most"))),
        false => Ok(()),
    }
}

fn invalid_batch(problems: &[String]) -> Refusal {
    Refusal::new(400, "InvalidChangeBatch", format!("[{}]", problems.join(", ")))
}

fn invalid_input(text: impl Into<String>) -> Refusal {
    Refusal::new(400, "InvalidInput", text)
}

fn read(change: &Element) -> Result<RecordChange, Refusal> {
    let action = match change.text("Action").unwrap_or_default() {
        "CREATE" => Action::Create,
        "DELETE" => Action::Delete,
        "UPSERT" => Action::Upsert,
        other => return Err(unknown("ChangeAction", other)),
    };
    let set = change.child("ResourceRecordSet").ok_or_else(|| invalid_input("A ResourceRecordSet is missing"))?;
    let (text, kind) = (set.text("Name").unwrap_or_default(), set.text("Type").unwrap_or_default());
    let name = name::normal(text).ok_or_else(|| {
        invalid_batch(&[format!("FATAL problem: DomainLabelEmpty (Domain label is empty) encountered with '{text}'")])
    })?;
    if ONLY_ON_AWS.contains(&kind) {
        return Err(kit::parameters::refusal(format!("the local AWS has no records of the type {kind}")));
    }
    if records::number(kind).is_none() {
        return Err(unknown("Type", kind));
    }
    let ttl = match set.text("TTL") {
        None => None,
        Some(text) => match text.parse::<u32>().ok().filter(|ttl| i32::try_from(*ttl).is_ok()) {
            Some(ttl) => Some(ttl),
            None => return Err(invalid_input(format!("Invalid TTL '{text}': it is between 0 and 2147483647"))),
        },
    };
    let values: Vec<String> =
        set.items("ResourceRecords").iter().map(|one| one.text("Value").unwrap_or_default().to_owned()).collect();
    if values.iter().any(|value| value.chars().count() > LONGEST_VALUE) {
        return Err(invalid_input(format!("A value of a record has {LONGEST_VALUE} characters at most")));
    }
    let alias = set.child("AliasTarget").map(alias).transpose()?;
    let found = match (&alias, ttl, values.is_empty()) {
        (Some(_), None, true) | (None, Some(_), false) => None,
        (None, ..) => Some("none"),
        (Some(_), ..) => Some("more than one"),
    };
    if let Some(found) = found {
        let action = format!("{action:?}").to_uppercase();
        return Err(invalid_input(format!(
            "Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or TrafficPolicyInstanceId], but found {found} in Change with [Action={action}, Name={name}, Type={kind}, SetIdentifier=null]"
        )));
    }
    Ok(RecordChange { action, record: RecordSet { name, kind: kind.to_owned(), ttl, values, alias } })
}

/// The error for a value that the schema of the type does not permit.
fn unknown(kind: &str, value: &str) -> Refusal {
    invalid_input(format!("Invalid XML ; cvc-enumeration-valid: '{value}' is not a valid {kind}"))
}

/// Reads a boolean of XML Schema.
fn boolean(text: &str) -> Result<bool, Refusal> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        other => {
            Err(invalid_input(format!("Invalid XML ; cvc-datatype-valid.1.2.1: '{other}' is not a valid 'boolean'")))
        }
    }
}

fn alias(target: &Element) -> Result<Alias, Refusal> {
    let text = |name: &str| target.text(name).filter(|text| !text.is_empty());
    let missing = |name: &str| invalid_input(format!("Invalid XML ; AliasTarget has no {name}"));
    Ok(Alias {
        zone: text("HostedZoneId").ok_or_else(|| missing("HostedZoneId"))?.to_owned(),
        name: with_dot(text("DNSName").ok_or_else(|| missing("DNSName"))?),
        evaluates_health: boolean(text("EvaluateTargetHealth").ok_or_else(|| missing("EvaluateTargetHealth"))?)?,
    })
}

/// Returns the name of an alias's target as lists show it. A local load balancer's contains its port.
fn with_dot(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    if lower.ends_with('.') { lower } else { format!("{lower}.") }
}

fn check_size(changes: &[RecordChange]) -> Result<(), Refusal> {
    let times = |change: &RecordChange| if change.action == Action::Upsert { 2 } else { 1 };
    let count: usize = changes.iter().map(|change| times(change) * change.record.values.len().max(1)).sum();
    let length = |change: &RecordChange| change.record.values.iter().map(|value| value.chars().count()).sum::<usize>();
    let characters: usize = changes.iter().map(|change| times(change) * length(change)).sum();
    match () {
        () if count > MOST_RECORDS => {
            Err(invalid_batch(&[format!("Number of records limit of {MOST_RECORDS} exceeded.")]))
        }
        () if characters > MOST_CHARACTERS => {
            Err(invalid_batch(&[format!("Number of characters limit of {MOST_CHARACTERS} exceeded.")]))
        }
        () => Ok(()),
    }
}

/// Applies a change. Returns the problem, if it contradicts the records that there are.
fn apply(records: &mut Records, put: &mut BTreeSet<String>, change: &RecordChange) -> Option<String> {
    let record = &change.record;
    let key = key(&record.name, &record.kind);
    let this = format!("resource record set [name='{}', type='{}']", record.name, record.kind);
    if change.action == Action::Delete {
        return match records.get(&key) {
            None => Some(format!("Tried to delete {this} but it was not found")),
            Some(there) if !there.is_same(record) => {
                Some(format!("Tried to delete {this} but the values provided do not match the current values"))
            }
            Some(_) => {
                records.remove(&key);
                None
            }
        };
    }
    if !put.insert(key.clone()) {
        let (kind, name) = (&record.kind, &record.name);
        return Some(format!(
            "The request contains an invalid set of changes for a resource record set '{kind} {name}'"
        ));
    }
    if change.action == Action::Create && records.contains_key(&key) {
        return Some(format!("Tried to create {this} but it already exists"));
    }
    records.insert(key, record.clone());
    None
}

/// Returns the errors in a record set, given all records of its zone.
fn flaws(zone: &Zone, records: &Records, record: &RecordSet, outside: &Outside) -> Vec<String> {
    let RecordSet { name, kind, .. } = record;
    let of_zone = &zone.name;
    if !name::is_within(name, of_zone) {
        return vec![format!("RRSet with DNS name {name} is not permitted in zone {of_zone}")];
    }
    let mut flaws = Vec::new();
    let others = || records.values().filter(|other| other.name == *name && other.kind != *kind);
    if kind == "CNAME" && name == of_zone {
        flaws.push(format!("RRSet of type CNAME with DNS name {name} is not permitted at apex in zone {of_zone}"));
    } else if kind == "CNAME" && others().next().is_some() {
        flaws.push(format!(
            "RRSet of type CNAME with DNS name {name} is not permitted as it conflicts with other records with the same DNS name in zone {of_zone}"
        ));
    } else if others().any(|other| other.kind == "CNAME") {
        flaws.push(format!(
            "RRSet of type {kind} with DNS name {name} is not permitted because a conflicting RRSet of type CNAME with the same DNS name already exists in zone {of_zone}"
        ));
    }
    if kind == "SOA" && name != of_zone {
        flaws.push(format!("RRSet of type SOA with DNS name {name} is not permitted in zone {of_zone}"));
    }
    if kind == "NS" && name.starts_with("\\052.") {
        flaws.push(format!("RRSet of type NS with DNS name {name} is not permitted: NS records have no wildcards"));
    }
    if record.values.len() > MOST_VALUES {
        flaws.push(format!("RRSet of type {kind} with DNS name {name} has more than {MOST_VALUES} resource records"));
    }
    let mut seen = BTreeSet::new();
    for value in &record.values {
        if !seen.insert(value) {
            flaws.push(format!("Duplicate Resource Record: '{value}'"));
        }
        flaws.extend(records::check(kind, value).err());
    }
    if matches!(kind.as_str(), "CNAME" | "SOA") && record.values.len() > 1 {
        flaws.push(format!("RRSet of type {kind} with DNS name {name} has more than one resource record"));
    }
    flaws.extend(record.alias.as_ref().and_then(|alias| alias_flaw(zone, records, record, alias, outside)));
    flaws
}

/// Returns the error in the target of an alias. The target must be a record set of the same type in the zone, or a load
/// balancer.
fn alias_flaw(zone: &Zone, records: &Records, record: &RecordSet, alias: &Alias, outside: &Outside) -> Option<String> {
    let tried = format!(
        "Tried to create an alias that targets {}, type {} in zone {}, but ",
        alias.name, record.kind, alias.zone
    );
    let absent = Some(format!("{tried}that target was not found"));
    let elsewhere = Some(format!("{tried}the alias target name does not lie within the target zone"));
    if matches!(record.kind.as_str(), "NS" | "SOA") {
        return Some(format!("An alias of the type {} is not permitted", record.kind));
    }
    if alias.zone == zone.id {
        let target = name::normal(&alias.name)?;
        return match () {
            () if !name::is_within(&target, &zone.name) => elsewhere,
            () if target == record.name || !records.contains_key(&key(&target, &record.kind)) => absent,
            () => None,
        };
    }
    if !matches!(record.kind.as_str(), "A" | "AAAA") {
        return absent;
    }
    match (outside.has_balancer)(&alias.zone, &alias.name) {
        true => None,
        false if alias.name.ends_with(".elb.amazonaws.com.") => absent,
        false => elsewhere,
    }
}

fn apex_flaws(zone: &Zone, records: &Records) -> Vec<String> {
    let has = |kind: &str| records.contains_key(&key(&zone.name, kind));
    let mut flaws = Vec::new();
    if !has("SOA") {
        flaws.push("A HostedZone must contain exactly one SOA record.".to_owned());
    }
    if !has("NS") {
        flaws.push("A HostedZone must contain at least one NS record for the zone itself.".to_owned());
    }
    flaws
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route53::zones;

    fn zone() -> Zone {
        zones::zone("Z1", "example.com.", "ref", None, 0)
    }

    /// `ACTION NAME TYPE TTL VALUE…`, with values separated by `|`; the TTL `alias` makes an alias to `ZONE NAME`.
    fn batch(lines: &[&str]) -> Element {
        let changes: String = lines
            .iter()
            .map(|line| {
                let fields: Vec<&str> = line.splitn(5, ' ').collect();
                let [action, name, kind, ttl, values] = fields.as_slice() else { panic!("{line}") };
                let inside = match *ttl {
                    "alias" => {
                        let (zone, target) = values.split_once(' ').unwrap();
                        format!("<AliasTarget><HostedZoneId>{zone}</HostedZoneId><DNSName>{target}</DNSName><EvaluateTargetHealth>false</EvaluateTargetHealth></AliasTarget>")
                    }
                    ttl => {
                        let records = values.split('|').map(|value| format!("<ResourceRecord><Value>{value}</Value></ResourceRecord>"));
                        format!("<TTL>{ttl}</TTL><ResourceRecords>{}</ResourceRecords>", records.collect::<String>())
                    }
                };
                format!("<Change><Action>{action}</Action><ResourceRecordSet><Name>{name}</Name><Type>{kind}</Type>{inside}</ResourceRecordSet></Change>")
            })
            .collect();
        Element::parse(format!("<ChangeBatch><Changes>{changes}</Changes></ChangeBatch>").as_bytes()).unwrap()
    }

    fn apply_lines(zone: &Zone, lines: &[&str]) -> Result<Records, String> {
        let has_balancer = |zone: &str, name: &str| zone == "ZLB" && name == "web.us-east-1.elb.amazonaws.com.";
        applied(zone, &batch(lines), &Outside { has_balancer: &has_balancer })
            .map_err(|refusal| format!("{} {}", refusal.code, refusal.message))
    }

    #[test]
    fn a_batch_is_refused_as_on_aws() {
        let mut zone = zone();
        let made = ["CREATE www.example.com A 60 127.0.0.1", "CREATE c.example.com. CNAME 60 www.example.com"];
        zone.records = apply_lines(&zone, &made).unwrap();
        for (line, expected) in [
            (
                "CREATE WWW.example.com A 60 127.0.0.2",
                "Tried to create resource record set [name='www.example.com.', type='A'] but it already exists",
            ),
            (
                "DELETE x.example.com A 60 127.0.0.1",
                "Tried to delete resource record set [name='x.example.com.', type='A'] but it was not found",
            ),
            (
                "DELETE www.example.com A 61 127.0.0.1",
                "Tried to delete resource record set [name='www.example.com.', type='A'] but the values provided do not match the current values",
            ),
            (
                "UPSERT example.org A 60 127.0.0.1",
                "RRSet with DNS name example.org. is not permitted in zone example.com.",
            ),
            (
                "UPSERT example.com CNAME 60 a.b",
                "RRSet of type CNAME with DNS name example.com. is not permitted at apex in zone example.com.",
            ),
            (
                "UPSERT www.example.com CNAME 60 a.b",
                "RRSet of type CNAME with DNS name www.example.com. is not permitted as it conflicts with other records with the same DNS name in zone example.com.",
            ),
            (
                "UPSERT c.example.com A 60 127.0.0.1",
                "RRSet of type A with DNS name c.example.com. is not permitted because a conflicting RRSet of type CNAME with the same DNS name already exists in zone example.com.",
            ),
            ("UPSERT y.example.com A 60 127.0.0.1|127.0.0.1", "Duplicate Resource Record: '127.0.0.1'"),
            (
                "UPSERT y.example.com A alias ZLB other.us-east-1.elb.amazonaws.com",
                "Tried to create an alias that targets other.us-east-1.elb.amazonaws.com., type A in zone ZLB, but that target was not found",
            ),
            (
                "UPSERT y.example.com A alias ZLB example.org",
                "Tried to create an alias that targets example.org., type A in zone ZLB, but the alias target name does not lie within the target zone",
            ),
        ] {
            assert_eq!(apply_lines(&zone, &[line]), Err(format!("InvalidChangeBatch [{expected}]")), "{line}");
        }
        let twice = ["UPSERT y.example.com A 60 127.0.0.1", "UPSERT y.example.com A 60 127.0.0.2"];
        assert!(
            apply_lines(&zone, &twice)
                .unwrap_err()
                .contains("an invalid set of changes for a resource record set 'A y.ex")
        );
        let soa = zone.records[&key("example.com.", "SOA")].clone();
        let delete = format!("DELETE example.com SOA 900 {}", soa.values[0]);
        let expected = "InvalidChangeBatch [A HostedZone must contain exactly one SOA record.]";
        assert_eq!(apply_lines(&zone, &[&delete]), Err(expected.to_owned()));
        let many = format!("CREATE y.example.com A 60 {}", vec!["127.0.0.1"; 1001].join("|"));
        let expected = "InvalidChangeBatch [Number of records limit of 1000 exceeded.]";
        assert_eq!(apply_lines(&zone, &[&many]), Err(expected.to_owned()));
    }

    #[test]
    fn the_schema_and_the_limits_of_a_batch_are_those_of_aws() {
        let zone = zone();
        let code = |text: &str| {
            let batch = Element::parse(text.as_bytes()).unwrap();
            let has_balancer = |_: &str, _: &str| true;
            applied(&zone, &batch, &Outside { has_balancer: &has_balancer }).map(drop).map_err(|refusal| refusal.code)
        };
        let with = |comment: &str, kind: &str, inside: &str| {
            format!(
                "<ChangeBatch><Comment>{comment}</Comment><Changes><Change><Action>CREATE</Action><ResourceRecordSet>\
                 <Name>a.example.com</Name><Type>{kind}</Type>{inside}</ResourceRecordSet></Change></Changes></ChangeBatch>"
            )
        };
        let values = |values: &[String]| {
            let values = values.iter().map(|value| format!("<ResourceRecord><Value>{value}</Value></ResourceRecord>"));
            format!("<TTL>60</TTL><ResourceRecords>{}</ResourceRecords>", values.collect::<String>())
        };
        let address = values(&["127.0.0.1".to_owned()]);
        let health = |text: &str| {
            format!(
                "<AliasTarget><HostedZoneId>ZLB</HostedZoneId><DNSName>b.elb.amazonaws.com</DNSName>\
                 <EvaluateTargetHealth>{text}</EvaluateTargetHealth></AliasTarget>"
            )
        };
        let addresses = |count: usize| -> Vec<String> {
            (0..count).map(|number| format!("10.0.{}.{}", number / 256, number % 256)).collect()
        };
        let text = |strings: usize| vec![vec![format!("\"{}\"", "x".repeat(247)); strings].join(" ")];
        let invalid = |code: &str| Err(code.to_owned());
        for (document, expected) in [
            (with(&"é".repeat(256), "A", &address), Ok(())),
            (with(&"c".repeat(257), "A", &address), invalid("InvalidInput")),
            (with("", "a", &address), invalid("InvalidInput")),
            (with("", "ANY", &address), invalid("InvalidInput")),
            (with("", "HTTPS", &values(&["1 . ".to_owned()])), invalid("NotImplementedException")),
            (with("", "A", &health("true")), Ok(())),
            (with("", "A", &health("0")), Ok(())),
            (with("", "A", &health("True")), invalid("InvalidInput")),
            (with("", "A", &health("no")), invalid("InvalidInput")),
            (with("", "A", &values(&addresses(400))), Ok(())),
            (with("", "A", &values(&addresses(401))), invalid("InvalidChangeBatch")),
            // Each string has 250 characters with its quotation marks and the space behind it.
            (with("", "TXT", &values(&text(16))), Ok(())),
            (with("", "TXT", &values(&text(17))), invalid("InvalidInput")),
        ] {
            assert_eq!(code(&document), expected, "{document:.300}");
        }
        let wildcard = apply_lines(&zone, &["CREATE *.example.com NS 60 ns.example.org"]).unwrap_err();
        assert!(
            wildcard.starts_with("InvalidChangeBatch [RRSet of type NS with DNS name \\052.example.com."),
            "{wildcard}"
        );
        assert!(apply_lines(&zone, &["CREATE b.example.com NS 60 ns.example.org"]).is_ok());
    }

    #[test]
    fn a_batch_takes_effect_as_a_whole() {
        let mut zone = zone();
        zone.records = apply_lines(&zone, &["CREATE a.example.com A 60 127.0.0.2|127.0.0.1"]).unwrap();
        assert!(
            apply_lines(&zone, &["CREATE b.example.com A 60 127.0.0.1", "CREATE a.example.com A 1 127.0.0.1"]).is_err()
        );
        // The order of values does not matter, and a name may change its type within a batch.
        let change = ["DELETE a.example.com A 60 127.0.0.1|127.0.0.2", "CREATE a.example.com CNAME 60 b.example.com"];
        let records = apply_lines(&zone, &change).unwrap();
        assert_eq!(records[&key("a.example.com.", "CNAME")].values, ["b.example.com"]);
        let alias = ["UPSERT w.example.com A alias ZLB web.us-east-1.elb.amazonaws.com"];
        assert!(apply_lines(&zone, &alias).unwrap()[&key("w.example.com.", "A")].alias.is_some());
        assert_eq!(records.len(), 3);
    }
}
