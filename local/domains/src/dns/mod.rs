//! DNS, as a public resolver answers it: the zones of Route 53, found through the delegations of their parents
//! (docs/aws.md §21.2).

mod message;
mod server;

use std::collections::BTreeMap;

use crate::name;
use crate::route53::records;
use crate::route53::{RecordSet, Route53, View, Zone, key};

pub use server::Server;

/// The most aliases and CNAME records to follow.
const MOST_STEPS: usize = 8;

/// The TTL of an alias to a load balancer in seconds.
const ALIAS_TTL: u32 = 60;

/// The status of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DnsStatus {
    /// The name exists.
    NoError,
    /// No name server of the domain answers for it.
    ServerFailure,
    /// The name does not exist.
    NoName,
}

/// A record of an answer, with its value as in Route 53.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DnsRecord {
    pub name: String,
    pub kind: &'static str,
    pub ttl: u32,
    pub value: String,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DnsAnswer {
    pub status: DnsStatus,
    pub records: Vec<DnsRecord>,
    /// The SOA record of the zone, if there is no record of the type.
    pub authority: Vec<DnsRecord>,
}

impl DnsAnswer {
    fn failed(status: DnsStatus) -> DnsAnswer {
        DnsAnswer { status, records: Vec::new(), authority: Vec::new() }
    }

    /// Returns the values of the records of a type.
    pub fn values(&self, kind: &str) -> Vec<&str> {
        self.records.iter().filter(|record| record.kind == kind).map(|record| record.value.as_str()).collect()
    }
}

impl Route53 {
    /// Returns the answer of DNS for a name in Route 53's form and a type.
    pub(crate) fn ask(&self, name: &str, kind: &str) -> DnsAnswer {
        self.look(|view| resolve(view, name, kind))
    }
}

/// Where a name is delegated to.
enum Found<'a> {
    /// These answer for it.
    Zone(&'a Zone),
    /// Its domain is delegated to these servers, which do not answer for it here. The first is the domain's name.
    Elsewhere(String, Vec<String>),
    /// No zone has it, or its domain is delegated to no servers.
    Nowhere,
}

fn resolve(view: &View, asked: &str, kind: &str) -> DnsAnswer {
    let mut answer = DnsAnswer::failed(DnsStatus::NoError);
    let mut name = asked.to_owned();
    for _ in 0..MOST_STEPS {
        let zone = match find(view, &name) {
            Found::Zone(zone) => zone,
            // A record here may point anywhere on the Internet.
            _ if !answer.records.is_empty() => return answer,
            Found::Nowhere => return DnsAnswer::failed(DnsStatus::NoName),
            Found::Elsewhere(domain, servers) => {
                if kind != "NS" || name != domain {
                    return DnsAnswer::failed(DnsStatus::ServerFailure);
                }
                let record = |value| DnsRecord { name: domain.clone(), kind: "NS", ttl: 172_800, value };
                answer.records = servers.into_iter().map(record).collect();
                return answer;
            }
        };
        let served = zone.served_at(view.now_ms);
        match step(view, zone, &served, &name, kind) {
            Step::Done(records) => {
                answer.records.extend(records);
                return answer;
            }
            Step::On(record) => {
                name = name::normal(&record.value).unwrap_or_default();
                answer.records.push(record);
            }
            Step::None(status) => {
                answer.status = status;
                let soa = served.get(&key(&zone.name, "SOA"));
                answer.authority = soa.map(|set| shown(set, &zone.name)).unwrap_or_default();
                return answer;
            }
        }
    }
    DnsAnswer::failed(DnsStatus::ServerFailure)
}

/// Follows the delegations from the top to the zone that answers for a name.
fn find<'a>(view: &'a View, name: &str) -> Found<'a> {
    let above = view.zones().filter(|zone| name::is_within(name, &zone.name));
    let Some(top) = above.map(|zone| zone.name.clone()).min_by_key(String::len) else { return Found::Nowhere };
    let mut zone = match view.delegated_elsewhere(&top) {
        Some(servers) if servers.is_empty() => return Found::Nowhere,
        Some(servers) => match served_by(view, &top, &servers) {
            Some(zone) => zone,
            None => return Found::Elsewhere(top, servers),
        },
        None => match view.zones().filter(|zone| zone.name == top).min_by_key(|zone| zone.created_ms) {
            Some(zone) => zone,
            None => return Found::Nowhere,
        },
    };
    loop {
        let served = zone.served_at(view.now_ms);
        let Some((cut, servers)) = delegation_below(zone, &served, name) else { return Found::Zone(zone) };
        zone = match served_by(view, &cut, &servers) {
            Some(child) => child,
            None => return Found::Elsewhere(cut, servers),
        };
    }
}

/// Returns the zone of a name that has one of these name servers.
fn served_by<'a>(view: &'a View, name: &str, servers: &[String]) -> Option<&'a Zone> {
    let has = |zone: &&Zone| {
        zone.name_servers.iter().any(|server| servers.iter().any(|known| known.trim_end_matches('.') == server))
    };
    view.zones().filter(|zone| zone.name == name).find(has)
}

/// Returns the topmost delegation below a zone's apex on the way to a name.
fn delegation_below(zone: &Zone, served: &BTreeMap<String, RecordSet>, name: &str) -> Option<(String, Vec<String>)> {
    let mut cuts: Vec<&str> = Vec::new();
    let mut at = name;
    while at != zone.name {
        cuts.push(at);
        at = name::parent(at)?;
    }
    let cut = cuts.into_iter().rev().find_map(|cut| Some((cut, served.get(&key(cut, "NS"))?)));
    cut.map(|(cut, set)| (cut.to_owned(), set.values.iter().map(|server| server.to_ascii_lowercase()).collect()))
}

/// A step of an answer.
enum Step {
    Done(Vec<DnsRecord>),
    /// The name is an alias of another one (CNAME).
    On(DnsRecord),
    None(DnsStatus),
}

fn step(view: &View, zone: &Zone, served: &BTreeMap<String, RecordSet>, name: &str, kind: &str) -> Step {
    let Some(owner) = owner(zone, served, name) else { return Step::None(DnsStatus::NoName) };
    if let Some(set) = served.get(&key(&owner, "CNAME")).filter(|_| kind != "CNAME") {
        let record = shown(set, name).into_iter().next();
        return record.map_or(Step::None(DnsStatus::NoError), Step::On);
    }
    let Some(set) = served.get(&key(&owner, kind)) else { return Step::None(DnsStatus::NoError) };
    let records = match &set.alias {
        None => shown(set, name),
        Some(alias) => aliased(view, served, alias, name, kind),
    };
    if records.is_empty() { Step::None(DnsStatus::NoError) } else { Step::Done(records) }
}

/// Returns the records of the target of an alias.
fn aliased(
    view: &View,
    served: &BTreeMap<String, RecordSet>,
    alias: &crate::route53::Alias,
    name: &str,
    kind: &str,
) -> Vec<DnsRecord> {
    if (view.balancer)(&alias.zone, &alias.name) {
        // Load balancers have IPv4 addresses only, and those are here.
        let value = "127.0.0.1".to_owned();
        return if kind == "A" {
            vec![DnsRecord { name: name.to_owned(), kind: "A", ttl: ALIAS_TTL, value }]
        } else {
            Vec::new()
        };
    }
    let target = name::normal(&alias.name).unwrap_or_default();
    match served.get(&key(&target, kind)) {
        Some(set) if set.alias.is_none() => shown(set, name),
        Some(RecordSet { alias: Some(next), .. }) if (view.balancer)(&next.zone, &next.name) => {
            aliased(view, served, next, name, kind)
        }
        _ => Vec::new(),
    }
}

/// Returns the name whose records answer for a name: itself, or the closest wildcard. `None` if it does not exist.
fn owner(zone: &Zone, served: &BTreeMap<String, RecordSet>, name: &str) -> Option<String> {
    let exists = |name: &str| served.values().any(|set| name::is_within(&set.name, name));
    if exists(name) {
        return Some(name.to_owned());
    }
    let mut at = name;
    while at != zone.name {
        at = name::parent(at)?;
        if exists(at) {
            let wildcard = format!("\\052.{at}");
            return served.values().any(|set| set.name == wildcard).then_some(wildcard);
        }
    }
    None
}

fn shown(set: &RecordSet, name: &str) -> Vec<DnsRecord> {
    let Some(kind) = records::number(&set.kind).and_then(records::kind) else { return Vec::new() };
    let record = |value: &String| DnsRecord {
        name: name.to_owned(),
        kind,
        ttl: set.ttl.unwrap_or(ALIAS_TTL),
        value: value.clone(),
    };
    set.values.iter().map(record).collect()
}
