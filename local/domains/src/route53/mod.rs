//! Route 53: public hosted zones and their records (docs/aws.md §21).

mod changes;
mod document;
pub(crate) mod records;
mod state;
mod tags;
mod zones;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use http::{HeaderValue, Method, header};
use parking_lot::{Mutex, RwLock};

use crate::clock::{after, now_ms, shown};
use crate::{Balancers, name};
use changes::Outside;
use chaos::{Faults, Kind};
use document::Element;
use kit::answer::{Protocol, Refusal, Response, xml};
use kit::call::Effect::{Reads, Writes};
use kit::call::{Asked, Call, Need, Needs, Operation, Page, Request, Rest, Row, Rows, pairs};
use kit::parameters;
use kit::query::Xml;
use kit::speed::Speed;
use kit::store;
use state::{Change, State};

pub(crate) use state::{Alias, RecordSet, Zone, key};

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
use Run::{Change as Make, Look};

const ZONE: Needs = Needs::Of(|asked| vec![asked.own(arn(asked, "hostedzone", 2))]);
const CHANGE: Needs = Needs::Of(|asked| vec![asked.own(arn(asked, "change", 2))]);
const TAGGED: Needs = Needs::Of(|asked| vec![asked.own(arn(asked, "hostedzone", 3))]);

/// The ARN of the resource whose ID is a segment of the path.
fn arn(asked: &Asked, kind: &str, at: usize) -> String {
    let id = asked.call.input.rest().path.get(at).map_or("*", String::as_str);
    format!("arn:aws:route53:::{kind}/{id}")
}

/// A change of records has condition keys with their names, types and actions (docs/aws.md §21.5).
fn to_change(asked: &Asked) -> Vec<Need> {
    let mut need = asked.own(arn(asked, "hostedzone", 2));
    let body = Element::parse(&asked.request.body).unwrap_or_default();
    for change in body.child("ChangeBatch").map_or(&[][..], |batch| batch.items("Changes")) {
        let set = change.child("ResourceRecordSet");
        let text = |name: &str| set.and_then(|set| set.text(name));
        let normal = text("Name").and_then(name::normal);
        let normal = normal.map(|name| name.trim_end_matches('.').to_owned());
        need = need
            .knowing("route53:ChangeResourceRecordSetsNormalizedRecordNames", normal)
            .knowing("route53:ChangeResourceRecordSetsRecordTypes", text("Type").map(str::to_owned))
            .knowing("route53:ChangeResourceRecordSetsActions", change.text("Action").map(str::to_owned));
    }
    vec![need]
}

/// Tags of several zones are read at once.
fn on_each(asked: &Asked) -> Vec<Need> {
    let body = Element::parse(&asked.request.body).unwrap_or_default();
    let needs =
        body.items("ResourceIds").iter().map(|id| asked.own(format!("arn:aws:route53:::hostedzone/{}", id.text)));
    let needs: Vec<Need> = needs.collect();
    if needs.is_empty() { vec![asked.own("arn:aws:route53:::hostedzone/*")] } else { needs }
}

const OPERATIONS: &[Operation<Run>] = &[
    Operation::new(
        "ChangeResourceRecordSets",
        Writes,
        Needs::Of(to_change),
        None,
        "ChangeBatch.Comment ChangeBatch.Changes.Change.Action ChangeBatch.Changes.Change.ResourceRecordSet.Name \
         ChangeBatch.Changes.Change.ResourceRecordSet.Type ChangeBatch.Changes.Change.ResourceRecordSet.TTL \
         ChangeBatch.Changes.Change.ResourceRecordSet.ResourceRecords.ResourceRecord.Value \
         ChangeBatch.Changes.Change.ResourceRecordSet.AliasTarget.HostedZoneId \
         ChangeBatch.Changes.Change.ResourceRecordSet.AliasTarget.DNSName \
         ChangeBatch.Changes.Change.ResourceRecordSet.AliasTarget.EvaluateTargetHealth",
        Make(change_records),
    ),
    Operation::new(
        "ChangeTagsForResource",
        Writes,
        TAGGED,
        None,
        "AddTags.Tag.Key AddTags.Tag.Value RemoveTagKeys.Key",
        Make(tags::change),
    ),
    Operation::new(
        "CreateHostedZone",
        Writes,
        Needs::Own,
        None,
        "Name CallerReference HostedZoneConfig.Comment HostedZoneConfig.PrivateZone=false|0",
        Make(create_zone),
    ),
    Operation::new("DeleteHostedZone", Writes, ZONE, None, "", Make(delete_zone)),
    Operation::new("GetChange", Reads, CHANGE, None, "", Look(get_change)),
    Operation::new("GetHostedZone", Reads, ZONE, None, "", Look(get_zone)),
    Operation::new("GetHostedZoneCount", Reads, Needs::Own, None, "", Look(count_zones)),
    Operation::new(
        "ListHostedZones",
        Reads,
        Needs::Own,
        Some(Page::Own("maxitems")),
        "marker maxitems",
        Look(list_zones),
    ),
    Operation::new(
        "ListHostedZonesByName",
        Reads,
        Needs::Own,
        Some(Page::Own("maxitems")),
        "dnsname hostedzoneid maxitems",
        Look(list_zones_by_name),
    ),
    Operation::new(
        "ListResourceRecordSets",
        Reads,
        ZONE,
        Some(Page::Own("maxitems")),
        "name type maxitems",
        Look(list_records),
    ),
    Operation::new("ListTagsForResource", Reads, TAGGED, None, "", Look(tags::list)),
    Operation::new(
        "ListTagsForResources",
        Reads,
        Needs::Of(on_each),
        None,
        "ResourceIds.ResourceId",
        Look(tags::list_several),
    ),
    Operation::new("UpdateHostedZoneComment", Writes, ZONE, None, "Comment", Make(update_comment)),
];

/// Returns the operations.
pub fn rows() -> Rows {
    Operation::rows(OPERATIONS)
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
        let lame = self.faults.has(Kind::LameDelegation);
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

fn create_zone(state: &mut State, context: &Context, request: &Route53Request) -> Answer {
    let text = request.body.text("Name").unwrap_or_default();
    let reference = request.body.text("CallerReference").unwrap_or_default();
    let invalid = || Refusal::new(400, "InvalidDomainName", format!("{text} is not a valid domain name"));
    let name = name::normal(text).filter(|name| !name.starts_with("\\052.")).ok_or_else(invalid)?;
    if reference.is_empty() || reference.chars().count() > 128 {
        return Err(invalid_input("CallerReference must have between 1 and 128 characters"));
    }
    if state.zones.values().any(|zone| zone.caller_reference == reference) {
        let text = format!("A hosted zone has already been created with the specified caller reference: {reference}");
        return Err(Refusal::new(409, "HostedZoneAlreadyExists", text));
    }
    if state.zones.len() >= MOST_ZONES {
        let text =
            format!("Limits Exceeded: MAX_HOSTED_ZONES_BY_OWNER - Cannot create more than {MOST_ZONES} hosted zones.");
        return Err(Refusal::new(400, "TooManyHostedZones", text));
    }
    if let Some(config) = request.body.child("HostedZoneConfig") {
        changes::check_comment(config)?;
    }
    let comment = request.body.child("HostedZoneConfig").and_then(|config| config.text("Comment")).map(str::to_owned);
    let zone =
        zones::zone(&zones::new_id('Z'), &name, reference, comment.filter(|text| !text.is_empty()), context.now_ms);
    let mut xml = Xml::new();
    write_zone(&mut xml, &zone);
    submit(&mut xml, state, context, None);
    write_delegation_set(&mut xml, &zone);
    let location = format!("https://route53.amazonaws.com/2013-04-01/hostedzone/{}", zone.id);
    state.zones.insert(zone.id.clone(), zone);
    Ok(Reply { xml, location: Some(location) })
}

/// The quota of hosted zones of a new account (docs/aws.md §21.4).
const MOST_ZONES: usize = 500;

fn write_zone(xml: &mut Xml, zone: &Zone) {
    xml.within("HostedZone", |xml| write_zone_fields(xml, zone));
}

fn write_zone_fields(xml: &mut Xml, zone: &Zone) {
    xml.text("Id", format!("/hostedzone/{}", zone.id)).text("Name", &zone.name);
    xml.text("CallerReference", &zone.caller_reference);
    xml.within("Config", |xml| {
        xml.maybe("Comment", zone.comment.as_ref()).text("PrivateZone", false);
    });
    xml.text("ResourceRecordSetCount", zone.records.len());
}

fn write_delegation_set(xml: &mut Xml, zone: &Zone) {
    xml.within("DelegationSet", |xml| {
        xml.within("NameServers", |xml| {
            for server in &zone.name_servers {
                xml.text("NameServer", server);
            }
        });
    });
}

/// Records a change, which is now `PENDING`, and writes it.
fn submit(xml: &mut Xml, state: &mut State, context: &Context, comment: Option<String>) {
    let id = zones::new_id('C');
    let in_sync_ms = after(context.now_ms, context.route53.speed.takes(IN_SYNC_S));
    let change = Change { submitted_ms: context.now_ms, in_sync_ms, comment };
    write_change(xml, &id, &change, context.now_ms);
    state.note(&id, change);
}

fn write_change(xml: &mut Xml, id: &str, change: &Change, now_ms: i64) {
    xml.within("ChangeInfo", |xml| {
        xml.text("Id", format!("/change/{id}"));
        xml.text("Status", if change.in_sync_ms <= now_ms { "INSYNC" } else { "PENDING" });
        xml.text("SubmittedAt", shown(change.submitted_ms)).maybe("Comment", change.comment.as_ref());
    });
}

fn get_change(state: &State, context: &Context, request: &Route53Request) -> Answer {
    let id = request.segment(2);
    let absent = || Refusal::new(404, "NoSuchChange", format!("Could not find resource with ID: {id}"));
    let change = state.changes.get(id).ok_or_else(absent)?;
    let mut xml = Xml::new();
    write_change(&mut xml, id, change, context.now_ms);
    Ok(xml.into())
}

fn get_zone(state: &State, _context: &Context, request: &Route53Request) -> Answer {
    let zone = request.zone(state)?;
    let mut xml = Xml::new();
    write_zone(&mut xml, zone);
    write_delegation_set(&mut xml, zone);
    Ok(xml.into())
}

fn count_zones(state: &State, _context: &Context, _request: &Route53Request) -> Answer {
    let mut xml = Xml::new();
    xml.text("HostedZoneCount", state.zones.len());
    Ok(xml.into())
}

fn update_comment(state: &mut State, _context: &Context, request: &Route53Request) -> Answer {
    let id = request.segment(2);
    changes::check_comment(&request.body)?;
    let zone = state.zones.get_mut(id).ok_or_else(|| no_zone(id))?;
    zone.comment = request.body.text("Comment").filter(|text| !text.is_empty()).map(str::to_owned);
    let mut xml = Xml::new();
    write_zone(&mut xml, zone);
    Ok(xml.into())
}

fn delete_zone(state: &mut State, context: &Context, request: &Route53Request) -> Answer {
    let zone = request.zone(state)?;
    check_idle(zone, context)?;
    if !zones::is_empty(zone) {
        let text = "The specified hosted zone contains non-required resource record sets and so cannot be deleted.";
        return Err(Refusal::new(400, "HostedZoneNotEmpty", text));
    }
    state.zones.remove(request.segment(2));
    let mut xml = Xml::new();
    submit(&mut xml, state, context, None);
    Ok(xml.into())
}

fn check_idle(zone: &Zone, context: &Context) -> Result<(), Refusal> {
    let text = "The request was rejected because Route 53 was still processing a prior request.";
    match context.now_ms < zone.busy_until_ms {
        true => Err(Refusal::new(400, "PriorRequestNotComplete", text)),
        false => Ok(()),
    }
}

fn change_records(state: &mut State, context: &Context, request: &Route53Request) -> Answer {
    let zone = request.zone(state)?;
    let batch =
        request.body.child("ChangeBatch").ok_or_else(|| invalid_input("Invalid XML ; ChangeBatch is missing"))?;
    let has_balancer = |zone: &str, name: &str| context.route53.has_balancer(zone, name);
    let records = changes::applied(zone, batch, &Outside { has_balancer: &has_balancer })?;
    check_idle(zone, context)?;
    let speed = context.route53.speed;
    if let Some(zone) = state.zones.get_mut(request.segment(2)) {
        zone.busy_until_ms = after(context.now_ms, speed.takes(BUSY_S));
        zone.replace(records, context.now_ms, after(context.now_ms, speed.takes(IN_SYNC_S)));
    }
    let mut xml = Xml::new();
    let comment = batch.text("Comment").filter(|text| !text.is_empty()).map(str::to_owned);
    submit(&mut xml, state, context, comment);
    Ok(xml.into())
}

/// The maximum numbers of zones and record sets in a page.
const ZONES_PAGE: usize = 100;
const RECORDS_PAGE: usize = 300;

/// Returns the zones from `start` on, and what follows the page.
fn page<T>(all: Vec<T>, size: usize) -> (Vec<T>, Option<T>) {
    let mut all = all.into_iter();
    let page = all.by_ref().take(size).collect();
    (page, all.next())
}

fn list_zones(state: &State, _context: &Context, request: &Route53Request) -> Answer {
    let size = request.size(ZONES_PAGE)?;
    let marker = request.query("marker").unwrap_or_default();
    if !marker.is_empty() && !state.zones.contains_key(marker) {
        return Err(no_zone(marker));
    }
    let (zones, next) = page(state.zones.range(marker.to_owned()..).map(|(_, zone)| zone).collect(), size);
    let mut xml = Xml::new();
    xml.list("HostedZones", "HostedZone", zones, |xml, zone: &Zone| write_zone_fields(xml, zone));
    if !marker.is_empty() {
        xml.text("Marker", marker);
    }
    xml.text("IsTruncated", next.is_some()).maybe("NextMarker", next.map(|zone| &zone.id)).text("MaxItems", size);
    Ok(xml.into())
}

fn list_zones_by_name(state: &State, _context: &Context, request: &Route53Request) -> Answer {
    let size = request.size(ZONES_PAGE)?;
    let (dns_name, id) = (request.query("dnsname"), request.query("hostedzoneid"));
    if id.is_some() && dns_name.is_none() {
        return Err(invalid_input("A HostedZoneId requires a DNSName"));
    }
    let invalid = |text: &str| Refusal::new(400, "InvalidDomainName", format!("{text} is not a valid domain name"));
    let from = dns_name.map(|text| name::normal(text).ok_or_else(|| invalid(text))).transpose()?;
    let from = (from.as_deref().map(name::reversed).unwrap_or_default(), id.unwrap_or_default().to_owned());
    let mut zones: Vec<((String, String), &Zone)> =
        state.zones.values().map(|zone| ((name::reversed(&zone.name), zone.id.clone()), zone)).collect();
    zones.sort_by(|(one, _), (other, _)| one.cmp(other));
    let (zones, next) = page(zones.into_iter().filter(|(place, _)| *place >= from).collect(), size);
    let mut xml = Xml::new();
    xml.list("HostedZones", "HostedZone", zones, |xml, (_, zone)| write_zone_fields(xml, zone));
    xml.maybe("DNSName", dns_name).maybe("HostedZoneId", id).text("IsTruncated", next.is_some());
    if let Some((_, next)) = next {
        xml.text("NextDNSName", &next.name).text("NextHostedZoneId", &next.id);
    }
    xml.text("MaxItems", size);
    Ok(xml.into())
}

fn list_records(state: &State, _context: &Context, request: &Route53Request) -> Answer {
    let zone = request.zone(state)?;
    let size = request.size(RECORDS_PAGE)?;
    let (text, kind) = (request.query("name"), request.query("type"));
    if kind.is_some() && text.is_none() {
        return Err(invalid_input("A type without a name is not valid: specify both"));
    }
    if let Some(kind) = kind.filter(|kind| records::number(kind).is_none()) {
        return Err(invalid_input(format!("{kind} is not a record type")));
    }
    let invalid = |text: &str| invalid_input(format!("{text} is not a valid domain name"));
    let from = text.map(|text| name::normal(text).ok_or_else(|| invalid(text))).transpose()?;
    let from = from.map(|name| key(&name, kind.unwrap_or_default())).unwrap_or_default();
    let (records, next) = page(zone.records.range(from..).map(|(_, record)| record).collect(), size);
    let mut xml = Xml::new();
    xml.list("ResourceRecordSets", "ResourceRecordSet", records, write_record);
    xml.text("IsTruncated", next.is_some());
    if let Some(next) = next {
        xml.text("NextRecordName", &next.name).text("NextRecordType", &next.kind);
    }
    xml.text("MaxItems", size);
    Ok(xml.into())
}

fn write_record(xml: &mut Xml, record: &RecordSet) {
    xml.text("Name", &record.name).text("Type", &record.kind).maybe("TTL", record.ttl);
    if let Some(alias) = &record.alias {
        xml.within("AliasTarget", |xml| {
            xml.text("HostedZoneId", &alias.zone).text("DNSName", &alias.name);
            xml.text("EvaluateTargetHealth", alias.evaluates_health);
        });
        return;
    }
    xml.list("ResourceRecords", "ResourceRecord", &record.values, |xml, value| {
        xml.text("Value", value);
    });
}
