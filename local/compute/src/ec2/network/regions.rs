//! Regions and Availability Zones.

use sha2::{Digest, Sha256};

use super::zones;
use crate::Site;
use crate::state::{State, Tags};
use kit::query::{Answer, ApiError, Filters, Params, Xml, fact};

pub fn describe_zones(_state: &State, site: &Site, params: &Params) -> Answer {
    let all = zones(site);
    let zones: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut wanted = params.texts("ZoneName");
    if let Some(unknown) = wanted.iter().find(|zone| !zones.contains(&zone.as_str())) {
        return Err(ApiError::new("InvalidParameterValue", format!("Invalid availability zone: [{unknown}]")));
    }
    for id in params.texts("ZoneId") {
        let zone = zones.iter().find(|zone| zone_id(zone) == id);
        let invalid = || ApiError::new("InvalidParameterValue", format!("Invalid availability zone-id: [{id}]"));
        wanted.push(zone.ok_or_else(invalid)?.to_string());
    }
    let filters = Filters::of(params);
    let mut found = Vec::new();
    for zone in zones {
        let passes = filters.pass(&Tags::new(), |name| match name {
            "zone-name" => fact(zone),
            "zone-id" => fact(zone_id(zone)),
            "state" => fact("available"),
            "region-name" | "group-name" => fact(&site.region),
            "zone-type" => fact("availability-zone"),
            "opt-in-status" => fact("opt-in-not-required"),
            _ => None,
        })?;
        if passes && (wanted.is_empty() || wanted.iter().any(|one| one == zone)) {
            found.push(zone);
        }
    }
    let mut xml = Xml::new();
    xml.set("availabilityZoneInfo", found, |xml, zone| {
        xml.text("zoneName", zone).text("zoneId", zone_id(zone)).text("zoneState", "available");
        xml.text("regionName", &site.region).text("groupName", &site.region).text("networkBorderGroup", &site.region);
        xml.text("zoneType", "availability-zone").text("optInStatus", "opt-in-not-required");
        xml.within("messageSet", |_| ());
    });
    Ok(xml)
}

/// The regions that are enabled in every account by default.
const REGIONS: &[&str] = &[
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

/// Lists the regions of the account. Only one of them exists here, but names are checked against all.
pub fn describe_regions(_state: &State, site: &Site, params: &Params) -> Answer {
    let wanted = params.texts("RegionName");
    let ours = Some(site.region.as_str()).filter(|region| !REGIONS.contains(region));
    let all: Vec<&str> = REGIONS.iter().copied().chain(ours).collect();
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(&name.as_str())) {
        return Err(ApiError::new("InvalidParameterValue", format!("Invalid region: [{unknown}]")));
    }
    let filters = Filters::of(params);
    let mut found = Vec::new();
    for region in all {
        let passes = filters.pass(&Tags::new(), |name| match name {
            "endpoint" => fact(format!("ec2.{region}.amazonaws.com")),
            "opt-in-status" => fact("opt-in-not-required"),
            "region-name" => fact(region),
            _ => None,
        })?;
        if passes && (wanted.is_empty() || wanted.iter().any(|one| one == region)) {
            found.push(region);
        }
    }
    let mut xml = Xml::new();
    xml.set("regionInfo", found, |xml, region| {
        xml.text("regionName", region).text("regionEndpoint", format!("ec2.{region}.amazonaws.com"));
        xml.text("optInStatus", "opt-in-not-required");
    });
    Ok(xml)
}

/// Returns the id of a zone: `us-east-1b` is `use1-az2`.
pub fn zone_id(zone: &str) -> String {
    let (region, letter) = zone.split_at(zone.len() - 1);
    let short: String = region
        .split('-')
        .enumerate()
        .map(|(place, part)| match (place, part) {
            (0, land) => land.to_owned(),
            (_, "northeast") => "ne".to_owned(),
            (_, "southeast") => "se".to_owned(),
            (_, "northwest") => "nw".to_owned(),
            (_, "southwest") => "sw".to_owned(),
            (_, part) => part.chars().take(1).collect(),
        })
        .collect();
    let number = letter.bytes().next().map_or(1, |byte| byte.saturating_sub(b'a') + 1);
    format!("{short}-az{number}")
}

pub(super) fn known(wanted: &[String], there: &[&str], code: &'static str, what: &str) -> Result<(), ApiError> {
    match wanted.iter().find(|id| !there.contains(&id.as_str())) {
        Some(id) => Err(ApiError::new(code, format!("The {what} '{id}' does not exist"))),
        None => Ok(()),
    }
}

/// Returns an id that depends only on the name, so that the ids of the default network never change.
pub fn stable_id(kind: &str, name: &str) -> String {
    format!("{kind}-0{}", &hex::encode(Sha256::digest(format!("{kind} {name}")))[..16])
}

#[cfg(test)]
mod tests {
    use super::zone_id;

    #[test]
    fn zone_ids_are_short_for_the_region() {
        assert_eq!(zone_id("us-east-1b"), "use1-az2");
        assert_eq!(zone_id("ap-southeast-2a"), "apse2-az1");
        assert_eq!(zone_id("eu-central-1c"), "euc1-az3");
    }
}
