//! The calls for hosted zones.

use super::record_changes::submit;
use super::state::{State, Zone};
use super::{Answer, Context, Reply, Route53Request, changes, invalid_input, no_zone, zones};
use crate::name;
use kit::answer::Refusal;
use kit::query::Xml;

pub(super) fn create_zone(state: &mut State, context: &Context, request: &Route53Request) -> Answer {
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

pub(super) fn write_zone_fields(xml: &mut Xml, zone: &Zone) {
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

pub(super) fn get_zone(state: &State, _context: &Context, request: &Route53Request) -> Answer {
    let zone = request.zone(state)?;
    let mut xml = Xml::new();
    write_zone(&mut xml, zone);
    write_delegation_set(&mut xml, zone);
    Ok(xml.into())
}

pub(super) fn count_zones(state: &State, _context: &Context, _request: &Route53Request) -> Answer {
    let mut xml = Xml::new();
    xml.text("HostedZoneCount", state.zones.len());
    Ok(xml.into())
}

pub(super) fn update_comment(state: &mut State, _context: &Context, request: &Route53Request) -> Answer {
    let id = request.segment(2);
    changes::check_comment(&request.body)?;
    let zone = state.zones.get_mut(id).ok_or_else(|| no_zone(id))?;
    zone.comment = request.body.text("Comment").filter(|text| !text.is_empty()).map(str::to_owned);
    let mut xml = Xml::new();
    write_zone(&mut xml, zone);
    Ok(xml.into())
}

pub(super) fn delete_zone(state: &mut State, context: &Context, request: &Route53Request) -> Answer {
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

pub(super) fn check_idle(zone: &Zone, context: &Context) -> Result<(), Refusal> {
    let text = "The request was rejected because Route 53 was still processing a prior request.";
    match context.now_ms < zone.busy_until_ms {
        true => Err(Refusal::new(400, "PriorRequestNotComplete", text)),
        false => Ok(()),
    }
}
