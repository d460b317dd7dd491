//! Lists of hosted zones and records.

use super::state::{RecordSet, State, Zone, key};
use super::zone_calls::write_zone_fields;
use super::{Answer, Context, Route53Request, invalid_input, no_zone, records};
use crate::name;
use kit::answer::Refusal;
use kit::query::Xml;

/// The maximum numbers of zones and record sets in a page.
const ZONES_PAGE: usize = 100;
const RECORDS_PAGE: usize = 300;

/// Returns the zones from `start` on, and what follows the page.
fn page<T>(all: Vec<T>, size: usize) -> (Vec<T>, Option<T>) {
    let mut all = all.into_iter();
    let page = all.by_ref().take(size).collect();
    (page, all.next())
}

pub(super) fn list_zones(state: &State, _context: &Context, request: &Route53Request) -> Answer {
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

pub(super) fn list_zones_by_name(state: &State, _context: &Context, request: &Route53Request) -> Answer {
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

pub(super) fn list_records(state: &State, _context: &Context, request: &Route53Request) -> Answer {
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
