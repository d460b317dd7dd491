//! Networks: the default one of every region, and those that the account has made.
//!
//! The default network is not stored: its ids depend only on the region.

mod block;
mod regions;
mod tables;

use std::collections::BTreeMap;

use crate::Site;
use crate::clock::Moment;
use crate::state::{RouteTable, Routed, State, Subnet, Vpc};
use kit::account::AccountKind;
use kit::query::{Answer, ApiError, Filters, Params, Xml, fact};

pub use block::Block;
use regions::known;
pub use regions::{describe_regions, describe_zones, stable_id, zone_id};
pub use tables::{describe_route_tables, main_association, write_route_table};

/// The range of every default VPC.
pub const DEFAULT_RANGE: &str = "172.31.0.0/16";

/// How many seconds a VPC or a subnet is `pending`, before scaling by the speed (docs/aws.md §8.1).
const PENDING_S: u64 = 2;

/// Returns the state of a VPC or a subnet that was made at this time.
fn state_of(site: &Site, made: Option<Moment>) -> &'static str {
    let is_pending = made.is_some_and(|made| made.age() < site.speed.takes(PENDING_S));
    if is_pending { "pending" } else { "available" }
}

/// Returns the id of the default VPC, if the account has one.
pub fn default_vpc_id(site: &Site) -> Option<String> {
    (site.kind != AccountKind::NoDefaultVpc).then(|| stable_id("vpc", &site.region))
}

/// Returns all VPCs.
pub fn vpcs(state: &State, site: &Site) -> Vec<Vpc> {
    let default = default_vpc_id(site).map(|id| Vpc {
        id,
        cidr: DEFAULT_RANGE.to_owned(),
        dns_support: true,
        dns_hostnames: true,
        is_default: true,
        made: None,
    });
    default.into_iter().chain(state.networks.vpcs.values().cloned()).collect()
}

/// Returns the VPC with this id.
pub fn vpc(state: &State, site: &Site, id: &str) -> Result<Vpc, ApiError> {
    let unknown = || ApiError::new("InvalidVpcID.NotFound", format!("The vpc ID '{id}' does not exist"));
    vpcs(state, site).into_iter().find(|vpc| vpc.id == id).ok_or_else(unknown)
}

/// Returns the zones of the region.
pub fn zones(site: &Site) -> Vec<String> {
    ['a', 'b', 'c'].into_iter().map(|zone| format!("{}{zone}", site.region)).collect()
}

/// Returns all subnets.
pub fn subnets(state: &State, site: &Site) -> Vec<Subnet> {
    let default = default_vpc_id(site).map(|vpc| {
        zones(site).into_iter().zip([0, 16, 32]).map(move |(zone, third)| Subnet {
            id: stable_id("subnet", &zone),
            vpc: vpc.clone(),
            cidr: format!("172.31.{third}.0/20"),
            zone,
            public_addresses: true,
            is_default: true,
            made: None,
        })
    });
    default.into_iter().flatten().chain(state.networks.subnets.values().cloned()).collect()
}

/// Returns the subnet with this id.
pub fn subnet(state: &State, site: &Site, id: &str) -> Option<Subnet> {
    subnets(state, site).into_iter().find(|subnet| subnet.id == id)
}

/// Returns the id of the VPC that a subnet is in; empty for a subnet that is gone.
pub fn vpc_of(state: &State, site: &Site, id: &str) -> String {
    subnet(state, site, id).map(|subnet| subnet.vpc).unwrap_or_default()
}

/// Returns all route tables.
pub fn route_tables(state: &State, site: &Site) -> Vec<RouteTable> {
    let default = default_vpc_id(site).map(|vpc| RouteTable {
        id: stable_id("rtb", &site.region),
        vpc,
        is_main: true,
        routes: vec![Routed { to: "0.0.0.0/0".to_owned(), gateway: stable_id("igw", &site.region) }],
        associations: Default::default(),
        token: None,
    });
    default.into_iter().chain(state.networks.route_tables.values().cloned()).collect()
}

/// Whether a subnet has a route to the internet: by its route table, or else by the main one of its VPC.
pub fn is_public(state: &State, site: &Site, subnet: &Subnet) -> bool {
    let tables = route_tables(state, site);
    let own = tables.iter().find(|table| table.associations.values().any(|id| *id == subnet.id));
    let table = own.or_else(|| tables.iter().find(|table| table.is_main && table.vpc == subnet.vpc));
    table.is_some_and(|table| {
        table.routes.iter().any(|route| route.to == "0.0.0.0/0" && is_attached(state, site, &route.gateway, &table.vpc))
    })
}

/// Returns all internet gateways, each with the VPC that it is attached to.
pub fn gateways(state: &State, site: &Site) -> BTreeMap<String, Option<String>> {
    let default = default_vpc_id(site).map(|vpc| (stable_id("igw", &site.region), Some(vpc)));
    default.into_iter().chain(state.networks.gateways.clone()).collect()
}

/// Whether an internet gateway is attached to this VPC. Otherwise the VPC's routes to it lead nowhere.
fn is_attached(state: &State, site: &Site, id: &str, vpc: &str) -> bool {
    gateways(state, site).get(id).is_some_and(|at| at.as_deref() == Some(vpc))
}

/// Whether a VPC has an internet gateway.
pub fn has_gateway(state: &State, site: &Site, vpc: &str) -> bool {
    default_vpc_id(site).as_deref() == Some(vpc)
        || state.networks.gateways.values().any(|at| at.as_deref() == Some(vpc))
}

pub fn describe_vpcs(state: &State, site: &Site, params: &Params) -> Answer {
    let all = vpcs(state, site);
    let wanted = params.texts("VpcId");
    let ids: Vec<&str> = all.iter().map(|vpc| vpc.id.as_str()).collect();
    known(&wanted, &ids, "InvalidVpcID.NotFound", "vpc ID")?;
    let filters = Filters::of(params);
    let mut found = Vec::new();
    for vpc in &all {
        let passes = filters.pass(state.tags_of(&vpc.id), |name| match name {
            "is-default" | "isDefault" => fact(vpc.is_default),
            "vpc-id" => fact(&vpc.id),
            "state" => fact(state_of(site, vpc.made)),
            "cidr" | "cidr-block-association.cidr-block" => fact(&vpc.cidr),
            "owner-id" => fact(&site.account),
            _ => None,
        })?;
        if passes && (wanted.is_empty() || wanted.contains(&vpc.id)) {
            found.push(vpc);
        }
    }
    let mut xml = Xml::new();
    xml.set("vpcSet", found, |xml, vpc| write_vpc(xml, state, site, vpc));
    Ok(xml)
}

/// Writes a VPC.
pub fn write_vpc(xml: &mut Xml, state: &State, site: &Site, vpc: &Vpc) {
    xml.text("vpcId", &vpc.id).text("ownerId", &site.account).text("state", state_of(site, vpc.made));
    xml.text("cidrBlock", &vpc.cidr).text("dhcpOptionsId", "default");
    xml.set("cidrBlockAssociationSet", [()], |xml, ()| {
        xml.text("cidrBlock", &vpc.cidr).text("associationId", stable_id("vpc-cidr-assoc", &vpc.id));
        xml.within("cidrBlockState", |xml| {
            xml.text("state", "associated");
        });
    });
    xml.text("instanceTenancy", "default").text("isDefault", vpc.is_default).tag_set(state.tags_of(&vpc.id));
}

pub fn describe_vpc_attribute(state: &State, site: &Site, params: &Params) -> Answer {
    let vpc = vpc(state, site, params.required("VpcId")?)?;
    let attribute = params.required("Attribute")?;
    let value = match attribute {
        "enableDnsHostnames" => vpc.dns_hostnames,
        "enableDnsSupport" => vpc.dns_support,
        "enableNetworkAddressUsageMetrics" => false,
        _ => {
            let text = format!("Value ({attribute}) for parameter attribute is invalid. Unknown attribute.");
            return Err(ApiError::new("InvalidParameterValue", text));
        }
    };
    let mut xml = Xml::new();
    xml.text("vpcId", vpc.id).within(attribute, |xml| {
        xml.text("value", value);
    });
    Ok(xml)
}

pub fn describe_subnets(state: &State, site: &Site, params: &Params) -> Answer {
    let all = subnets(state, site);
    let wanted = params.texts("SubnetId");
    let ids: Vec<&str> = all.iter().map(|subnet| subnet.id.as_str()).collect();
    known(&wanted, &ids, "InvalidSubnetID.NotFound", "subnet ID")?;
    let filters = Filters::of(params);
    let mut found = Vec::new();
    for subnet in &all {
        let passes = filters.pass(state.tags_of(&subnet.id), |name| match name {
            "vpc-id" => fact(&subnet.vpc),
            "default-for-az" | "defaultForAz" => fact(subnet.is_default),
            "map-public-ip-on-launch" => fact(subnet.public_addresses),
            "state" => fact(state_of(site, subnet.made)),
            "availability-zone" | "availabilityZone" => fact(&subnet.zone),
            "availability-zone-id" => fact(zone_id(&subnet.zone)),
            "subnet-id" => fact(&subnet.id),
            "cidr-block" | "cidr" => fact(&subnet.cidr),
            "owner-id" => fact(&site.account),
            _ => None,
        })?;
        if passes && (wanted.is_empty() || wanted.contains(&subnet.id)) {
            found.push(subnet);
        }
    }
    let mut xml = Xml::new();
    xml.set("subnetSet", found, |xml, subnet| write_subnet(xml, state, site, subnet));
    Ok(xml)
}

/// Returns how many addresses of a subnet are free: AWS keeps five, and each network interface has one.
pub fn free_addresses(state: &State, subnet: &Subnet) -> u64 {
    let of_instances = state.instances.values().filter(|one| one.ended.is_none() && one.subnet == subnet.id).count();
    let of_balancers = state.interfaces.values().filter(|one| one.subnet == subnet.id).count();
    let size = subnet.cidr.parse().map_or(0, Block::size);
    size.saturating_sub(5 + (of_instances + of_balancers) as u64)
}

/// Writes a subnet.
pub fn write_subnet(xml: &mut Xml, state: &State, site: &Site, subnet: &Subnet) {
    let free = free_addresses(state, subnet);
    xml.text("subnetId", &subnet.id).text("state", state_of(site, subnet.made)).text("vpcId", &subnet.vpc);
    xml.text("cidrBlock", &subnet.cidr).text("availableIpAddressCount", free);
    xml.text("availabilityZone", &subnet.zone).text("availabilityZoneId", zone_id(&subnet.zone));
    xml.text("defaultForAz", subnet.is_default).text("mapPublicIpOnLaunch", subnet.public_addresses);
    xml.text("ownerId", &site.account);
    xml.text("assignIpv6AddressOnCreation", false).text("mapCustomerOwnedIpOnLaunch", false);
    xml.text("enableDns64", false).text("ipv6Native", false).tag_set(state.tags_of(&subnet.id));
    xml.set("ipv6CidrBlockAssociationSet", None::<()>, |_, ()| ());
    xml.within("privateDnsNameOptionsOnLaunch", |xml| {
        xml.text("hostnameType", "ip-name").text("enableResourceNameDnsARecord", false);
        xml.text("enableResourceNameDnsAAAARecord", false);
    });
    xml.text("subnetArn", format!("arn:aws:ec2:{}:{}:subnet/{}", site.region, site.account, subnet.id));
}

pub fn describe_gateways(state: &State, site: &Site, params: &Params) -> Answer {
    let all = gateways(state, site);
    let wanted = params.texts("InternetGatewayId");
    let ids: Vec<&str> = all.keys().map(String::as_str).collect();
    known(&wanted, &ids, "InvalidInternetGatewayID.NotFound", "internetGateway ID")?;
    let filters = Filters::of(params);
    let mut found = Vec::new();
    for (id, vpc) in &all {
        let passes = filters.pass(state.tags_of(id), |name| match name {
            "attachment.state" => Some(vpc.iter().map(|_| "available".to_owned()).collect()),
            "attachment.vpc-id" => Some(vpc.iter().cloned().collect()),
            "internet-gateway-id" => fact(id),
            "owner-id" => fact(&site.account),
            _ => None,
        })?;
        if passes && (wanted.is_empty() || wanted.contains(id)) {
            found.push((id, vpc));
        }
    }
    let mut xml = Xml::new();
    xml.set("internetGatewaySet", found, |xml, (id, vpc)| write_gateway(xml, state, site, id, vpc.as_deref()));
    Ok(xml)
}

/// Writes an internet gateway.
pub fn write_gateway(xml: &mut Xml, state: &State, site: &Site, id: &str, vpc: Option<&str>) {
    xml.text("internetGatewayId", id).text("ownerId", &site.account);
    xml.set("attachmentSet", vpc, |xml, vpc| {
        xml.text("vpcId", vpc).text("state", "available");
    });
    xml.tag_set(state.tags_of(id));
}
