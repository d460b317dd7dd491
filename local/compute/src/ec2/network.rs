//! The default network of every account: one VPC with a subnet in each of three zones.

use sha2::{Digest, Sha256};

use crate::Site;
use crate::state::{State, Tags};
use kit::query::{Answer, ApiError, Filters, Params, Xml, fact};

/// A default subnet.
pub struct Subnet {
    pub id: String,
    pub zone: String,
    /// The third byte of its first address, which begins with 172.31.
    pub third: u8,
}

impl Subnet {
    /// Returns its address range.
    pub fn cidr(&self) -> String {
        format!("172.31.{}.0/20", self.third)
    }

    /// Returns an address in the subnet that depends only on `text`.
    pub fn address_for(&self, text: &str) -> String {
        let digest = Sha256::digest(text);
        format!("172.31.{}.{}", self.third + digest[0] % 16, 4 + digest[1] % 250)
    }
}

/// Returns the id of the default VPC.
pub fn vpc_id(site: &Site) -> String {
    stable_id("vpc", &site.region)
}

/// Returns the default subnets.
pub fn subnets(site: &Site) -> Vec<Subnet> {
    let subnet = |(zone, third)| {
        let zone = format!("{}{zone}", site.region);
        Subnet { id: stable_id("subnet", &zone), zone, third }
    };
    [('a', 0), ('b', 16), ('c', 32)].into_iter().map(subnet).collect()
}

pub fn describe_vpcs(_state: &State, site: &Site, params: &Params) -> Answer {
    let id = vpc_id(site);
    known(&params.texts("VpcId"), &[&id], "InvalidVpcID.NotFound", "vpc ID")?;
    let passes = Filters::of(params).pass(&Tags::new(), |name| match name {
        "is-default" | "isDefault" => fact(true),
        "vpc-id" => fact(&id),
        "state" => fact("available"),
        "cidr" | "cidr-block-association.cidr-block" => fact("172.31.0.0/16"),
        "owner-id" => fact(&site.account),
        _ => None,
    })?;
    let mut xml = Xml::new();
    xml.set("vpcSet", passes.then_some(()), |xml, ()| {
        xml.text("vpcId", &id).text("ownerId", &site.account).text("state", "available");
        xml.text("cidrBlock", "172.31.0.0/16").text("dhcpOptionsId", "default");
        xml.set("cidrBlockAssociationSet", [()], |xml, ()| {
            xml.text("cidrBlock", "172.31.0.0/16").text("associationId", stable_id("vpc-cidr-assoc", &site.region));
            xml.within("cidrBlockState", |xml| {
                xml.text("state", "associated");
            });
        });
        xml.text("instanceTenancy", "default").text("isDefault", true).tag_set(&Tags::new());
    });
    Ok(xml)
}

pub fn describe_vpc_attribute(_state: &State, site: &Site, params: &Params) -> Answer {
    let id = vpc_id(site);
    known(&[params.required("VpcId")?.to_owned()], &[&id], "InvalidVpcID.NotFound", "vpc ID")?;
    let attribute = params.required("Attribute")?;
    let value = match attribute {
        "enableDnsHostnames" | "enableDnsSupport" => true,
        "enableNetworkAddressUsageMetrics" => false,
        _ => {
            let text = format!("Value ({attribute}) for parameter attribute is invalid. Unknown attribute.");
            return Err(ApiError::new("InvalidParameterValue", text));
        }
    };
    let mut xml = Xml::new();
    xml.text("vpcId", id).within(attribute, |xml| {
        xml.text("value", value);
    });
    Ok(xml)
}

/// The only route table: the main one, with a route to the internet.
pub fn describe_route_tables(_state: &State, site: &Site, params: &Params) -> Answer {
    let (id, vpc) = (stable_id("rtb", &site.region), vpc_id(site));
    known(&params.texts("RouteTableId"), &[&id], "InvalidRouteTableID.NotFound", "routeTable ID")?;
    let association = stable_id("rtbassoc", &site.region);
    let passes = Filters::of(params).pass(&Tags::new(), |name| match name {
        "association.main" => fact(true),
        "association.route-table-association-id" => fact(&association),
        "owner-id" => fact(&site.account),
        "route-table-id" => fact(&id),
        "vpc-id" => fact(&vpc),
        _ => None,
    })?;
    let mut xml = Xml::new();
    xml.set("routeTableSet", passes.then_some(()), |xml, ()| {
        xml.text("routeTableId", &id).text("vpcId", &vpc).text("ownerId", &site.account);
        let routes = [("172.31.0.0/16", "local".to_owned()), ("0.0.0.0/0", stable_id("igw", &site.region))];
        xml.set("routeSet", routes, |xml, (to, gateway)| {
            xml.text("destinationCidrBlock", to).text("gatewayId", gateway).text("state", "active");
            xml.text("origin", "CreateRouteTable");
        });
        xml.set("associationSet", [()], |xml, ()| {
            xml.text("routeTableAssociationId", &association).text("routeTableId", &id).text("main", true);
            xml.within("associationState", |xml| {
                xml.text("state", "associated");
            });
        });
        xml.set("propagatingVgwSet", None::<()>, |_, ()| ()).tag_set(&Tags::new());
    });
    Ok(xml)
}

pub fn describe_subnets(_state: &State, site: &Site, params: &Params) -> Answer {
    let all = subnets(site);
    let wanted = params.texts("SubnetId");
    let ids: Vec<&str> = all.iter().map(|subnet| subnet.id.as_str()).collect();
    known(&wanted, &ids, "InvalidSubnetID.NotFound", "subnet ID")?;
    let filters = Filters::of(params);
    let mut found = Vec::new();
    for subnet in &all {
        let passes = filters.pass(&Tags::new(), |name| match name {
            "vpc-id" => fact(vpc_id(site)),
            "default-for-az" | "defaultForAz" | "map-public-ip-on-launch" => fact(true),
            "state" => fact("available"),
            "availability-zone" | "availabilityZone" => fact(&subnet.zone),
            "availability-zone-id" => fact(zone_id(&subnet.zone)),
            "subnet-id" => fact(&subnet.id),
            "cidr-block" | "cidr" => fact(subnet.cidr()),
            "owner-id" => fact(&site.account),
            _ => None,
        })?;
        if passes && (wanted.is_empty() || wanted.contains(&subnet.id)) {
            found.push(subnet);
        }
    }
    let mut xml = Xml::new();
    xml.set("subnetSet", found, |xml, subnet| {
        xml.text("subnetId", &subnet.id).text("state", "available").text("vpcId", vpc_id(site));
        xml.text("cidrBlock", subnet.cidr()).text("availableIpAddressCount", 4091);
        xml.text("availabilityZone", &subnet.zone).text("availabilityZoneId", zone_id(&subnet.zone));
        xml.text("defaultForAz", true).text("mapPublicIpOnLaunch", true).text("ownerId", &site.account);
        xml.text("assignIpv6AddressOnCreation", false).text("mapCustomerOwnedIpOnLaunch", false);
        xml.text("enableDns64", false).text("ipv6Native", false).tag_set(&Tags::new());
        xml.set("ipv6CidrBlockAssociationSet", None::<()>, |_, ()| ());
        xml.within("privateDnsNameOptionsOnLaunch", |xml| {
            xml.text("hostnameType", "ip-name").text("enableResourceNameDnsARecord", false);
            xml.text("enableResourceNameDnsAAAARecord", false);
        });
        xml.text("subnetArn", format!("arn:aws:ec2:{}:{}:subnet/{}", site.region, site.account, subnet.id));
    });
    Ok(xml)
}

pub fn describe_zones(_state: &State, site: &Site, params: &Params) -> Answer {
    let all = subnets(site);
    let zones: Vec<&str> = all.iter().map(|subnet| subnet.zone.as_str()).collect();
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

fn known(wanted: &[String], there: &[&str], code: &'static str, what: &str) -> Result<(), ApiError> {
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
