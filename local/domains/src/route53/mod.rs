//! Route 53: public hosted zones and their records (docs/aws.md §21).

mod changes;
mod document;
mod lists;
mod operation;
mod record_changes;
pub(crate) mod records;
mod state;
mod tags;
mod zone_calls;
mod zones;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use http::{HeaderValue, Method, header};
use parking_lot::{Mutex, RwLock};

use crate::clock::now_ms;
use crate::{Balancers, name};
use chaos::{ChaosKind, Faults};
use document::Element;
use kit::answer::{Protocol, Refusal, Response, xml};
use kit::call::{Call, Operation, Request, Rest, Row, pairs};
use kit::parameters;
use kit::query::Xml;
use kit::speed::Speed;
use kit::store;
use state::State;

use Run::{Change as Make, Look};
pub(crate) use state::{Alias, RecordSet, Zone, key};

use operation::OPERATIONS;
pub use operation::rows;

/// The XML namespace of documents.
const NAME_SPACE: &str = "https://route53.amazonaws.com/doc/2013-04-01/";

/// The number of seconds until all name servers have a change, and during which the zone is busy with it, before
/// scaling by the speed (docs/aws.md §21.4).
const IN_SYNC_S: u64 = 60;
const BUSY_S: u64 = 1;

/// The name servers of parents that delegate a domain elsewhere, with the chaos `lame-delegation`.
const ELSEWHERE: [&str; 2] = ["ns1.another-provider.example.", "ns2.another-provider.example."];

/// Route 53 of the account.
///
/// Guarantees: acknowledged calls survive killing the server.
pub struct Route53 {
    file: PathBuf,
    state: Mutex<State>,
    speed: Speed,
    faults: Arc<Faults>,
    balancers: RwLock<Vec<Weak<dyn Balancers>>>,
}

/// The context of handlers, besides the state.
struct Context<'a> {
    route53: &'a Route53,
    now_ms: i64,
}

/// The input of a call.
struct Route53Request<'a> {
    path: &'a [String],
    query: BTreeMap<String, String>,
    body: Element,
}

/// The result of a call: the content of the document, and the `Location` of a new zone.
struct Reply {
    xml: Xml,
    location: Option<String>,
}

impl From<Xml> for Reply {
    fn from(xml: Xml) -> Reply {
        Reply { xml, location: None }
    }
}

type Answer = Result<Reply, Refusal>;

/// The handler of an operation.
#[derive(Clone, Copy)]
enum Run {
    Look(fn(&State, &Context, &Route53Request) -> Answer),
    Change(fn(&mut State, &Context, &Route53Request) -> Answer),
}

/// Identifies the operation of a request, which its method and path determine.
pub fn identify(method: &Method, rest: &Rest) -> (String, Option<&'static Row>) {
    let path: Vec<&str> = rest.path.iter().map(String::as_str).collect();
    let name = match (method.as_str(), path.as_slice()) {
        ("POST", ["2013-04-01", "hostedzone"]) => "CreateHostedZone",
        ("GET", ["2013-04-01", "hostedzone"]) => "ListHostedZones",
        ("GET", ["2013-04-01", "hostedzonesbyname"]) => "ListHostedZonesByName",
        ("GET", ["2013-04-01", "hostedzonecount"]) => "GetHostedZoneCount",
        ("GET", ["2013-04-01", "hostedzone", _]) => "GetHostedZone",
        ("POST", ["2013-04-01", "hostedzone", _]) => "UpdateHostedZoneComment",
        ("DELETE", ["2013-04-01", "hostedzone", _]) => "DeleteHostedZone",
        ("POST", ["2013-04-01", "hostedzone", _, "rrset"]) => "ChangeResourceRecordSets",
        ("GET", ["2013-04-01", "hostedzone", _, "rrset"]) => "ListResourceRecordSets",
        ("GET", ["2013-04-01", "change", _]) => "GetChange",
        ("GET", ["2013-04-01", "tags", _, _]) => "ListTagsForResource",
        ("POST", ["2013-04-01", "tags", _, _]) => "ChangeTagsForResource",
        ("POST", ["2013-04-01", "tags", _]) => "ListTagsForResources",
        (method, _) => return (format!("{method} /{}", path.join("/")), None),
    };
    (name.to_owned(), Operation::find(OPERATIONS, name).map(|operation| &operation.row))
}

impl Route53 {
    /// Reads the zones in a directory.
    pub fn open(dir: &Path, speed: Speed, faults: Arc<Faults>) -> anyhow::Result<Route53> {
        let file = dir.join("route53.json");
        let state = Mutex::new(store::read_json(&file)?.unwrap_or_default());
        Ok(Route53 { file, state, speed, faults, balancers: RwLock::default() })
    }

    /// Adds load balancers that alias records may refer to.
    pub fn connect(&self, balancers: Weak<dyn Balancers>) {
        self.balancers.write().push(balancers);
    }

    /// Answers a call; `None` if there is no such operation.
    pub fn answer(&self, call: &Call, request: &Request) -> Option<Response> {
        let operation = Operation::find(OPERATIONS, &call.operation)?;
        Some(match self.act(operation, call, request) {
            Ok(Reply { xml: inside, location }) => {
                let name = operation.row.name;
                let text = format!("<{name}Response xmlns=\"{NAME_SPACE}\">{}</{name}Response>", inside.into_text());
                let mut answer = xml(if location.is_some() { 201 } else { 200 }, text);
                if let Some(location) = location.and_then(|location| HeaderValue::try_from(location).ok()) {
                    answer.headers_mut().insert(header::LOCATION, location);
                }
                answer
            }
            Err(refusal) => refusal.answer(Protocol::Query),
        })
    }

    fn act(&self, operation: &Operation<Run>, call: &Call, request: &Request) -> Answer {
        let body = match request.body.is_empty() {
            true => Element::default(),
            false => Element::parse(&request.body).ok_or_else(|| invalid_input("Invalid XML"))?,
        };
        // The first of duplicate parameters wins.
        let mut query: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in pairs(&request.query).filter(|(name, _)| !name.starts_with("X-Amz-")) {
            query.entry(name).or_insert(value);
        }
        // SDKs send an empty `HostedZoneConfig` or list, which requests nothing.
        parameters::check_form(operation.parameters, &body.flattened()).map_err(parameters::refusal)?;
        parameters::check_form(operation.parameters, &query).map_err(parameters::refusal)?;
        let request = Route53Request { path: &call.input.rest().path, query, body };
        let context = Context { route53: self, now_ms: now_ms() };
        match operation.run {
            Look(look) => look(&self.state.lock(), &context, &request),
            Make(change) => {
                let mut state = self.state.lock();
                let mut next = state.clone();
                let reply = change(&mut next, &context, &request)?;
                self.keep(&next)?;
                *state = next;
                Ok(reply)
            }
        }
    }

    fn keep(&self, next: &State) -> Result<(), Refusal> {
        store::write_json(&self.file, next).map_err(|fault| {
            tracing::error!("the hosted zones could not be written: {fault}");
            Refusal::new(500, "ServiceFailure", format!("the local AWS cannot write its hosted zones: {fault}"))
        })
    }

    fn has_balancer(&self, zone: &str, dns_name: &str) -> bool {
        let plain = dns_name.strip_suffix('.').unwrap_or(dns_name);
        let plain = plain.strip_prefix("dualstack.").unwrap_or(plain);
        self.balancers.read().iter().filter_map(Weak::upgrade).any(|balancers| balancers.has(zone, plain))
    }

    /// Makes the parent of a domain delegate it to these name servers: to none, as if the domain were not registered, or
    /// to those of another provider.
    pub fn delegate(&self, domain: &str, servers: Vec<String>) -> Result<(), String> {
        let normal = |text: &str| name::normal(text).ok_or_else(|| format!("{text:?} is not a domain name"));
        let domain = normal(domain)?;
        let servers = servers.iter().map(|server| normal(server)).collect::<Result<_, String>>()?;
        self.redelegate(|delegations| drop(delegations.insert(domain, servers)))
    }

    /// Makes the parent of a domain delegate it to the name servers of its zone again. Returns whether it did not.
    pub fn restore_delegation(&self, domain: &str) -> Result<bool, String> {
        let mut was_other = false;
        let normal = name::normal(domain).unwrap_or_default();
        self.redelegate(|delegations| was_other = delegations.remove(&normal).is_some())?;
        Ok(was_other)
    }

    fn redelegate(&self, change: impl FnOnce(&mut BTreeMap<String, Vec<String>>)) -> Result<(), String> {
        let mut state = self.state.lock();
        let mut next = state.clone();
        change(&mut next.delegations);
        self.keep(&next).map_err(|refusal| refusal.message)?;
        *state = next;
        Ok(())
    }

    /// Returns the domains that are delegated to other name servers than those of their zones.
    pub fn delegations(&self) -> BTreeMap<String, Vec<String>> {
        self.state.lock().delegations.clone()
    }

    /// Calls `look` with the present state of DNS.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        let state = self.state.lock();
        let lame = self.faults.has(ChaosKind::LameDelegation);
        look(&View { state: &state, lame, now_ms: now_ms(), balancer: &|zone, name| self.has_balancer(zone, name) })
    }
}

/// The zones as DNS sees them.
pub(crate) struct View<'a> {
    state: &'a State,
    /// Whether all domains are delegated elsewhere.
    lame: bool,
    pub now_ms: i64,
    pub balancer: &'a dyn Fn(&str, &str) -> bool,
}

impl View<'_> {
    /// The zones.
    pub fn zones(&self) -> impl Iterator<Item = &Zone> {
        self.state.zones.values()
    }

    /// Returns the name servers to which the parent of a domain delegates it, unless these are those of its zone.
    pub fn delegated_elsewhere(&self, domain: &str) -> Option<Vec<String>> {
        let elsewhere = || self.lame.then(|| ELSEWHERE.map(str::to_owned).to_vec());
        self.state.delegations.get(domain).cloned().or_else(elsewhere)
    }
}

fn invalid_input(text: impl Into<String>) -> Refusal {
    Refusal::new(400, "InvalidInput", text)
}

fn no_zone(id: &str) -> Refusal {
    Refusal::new(404, "NoSuchHostedZone", format!("No hosted zone found with ID: {id}"))
}

impl Route53Request<'_> {
    fn segment(&self, at: usize) -> &str {
        self.path.get(at).map(String::as_str).unwrap_or_default()
    }

    fn zone<'a>(&self, state: &'a State) -> Result<&'a Zone, Refusal> {
        let id = self.segment(2);
        state.zones.get(id).ok_or_else(|| no_zone(id))
    }

    fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// Returns the size of a page, which is `most` at most.
    fn size(&self, most: usize) -> Result<usize, Refusal> {
        match self.query("maxitems").map(str::parse::<usize>) {
            None => Ok(most),
            Some(Ok(size)) if size > 0 => Ok(size.min(most)),
            Some(_) => Err(invalid_input("MaxItems must be a positive number")),
        }
    }
}
