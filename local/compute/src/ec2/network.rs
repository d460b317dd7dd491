//! Networks: the default one of every region, and those that the account has made.
//!
//! The default network is not stored: its ids depend only on the region.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use sha2::{Digest, Sha256};

use crate::Site;
use crate::clock::Moment;
use crate::state::{RouteTable, Routed, State, Subnet, Tags, Vpc};
use kit::account::Kind;
use kit::query::{Answer, ApiError, Filters, Params, Xml, fact};

impl Subnet {
    /// Returns an address in the subnet that depends only on `text`.
    pub fn address_for(&self, text: &str) -> String {
        let digest = Sha256::digest(text);
        let (base, size) = self.cidr.parse::<Block>().map_or((0, 16), |block| (block.base, block.size()));
        let number = (u64::from(digest[0] % 16) << 8) | u64::from(4 + digest[1] % 250);
        // The first four addresses and the last one are AWS's.
        let offset = if number < size - 1 { number } else { 4 + number % (size - 5) };
        Ipv4Addr::from(base + u32::try_from(offset).unwrap_or(4)).to_string()
    }
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The first address.
    pub base: u32,
    /// The number of leading bits that its addresses have in common.
    pub bits: u32,
}

impl Block {
    /// Returns the number of its addresses.
    pub fn size(self) -> u64 {
        1 << (32 - self.bits)
    }

    /// Whether it contains another one.
    pub fn contains(self, other: Block) -> bool {
        self.bits <= other.bits && self.overlaps(other)
    }

    /// Whether they have addresses in common.
    pub fn overlaps(self, other: Block) -> bool {
        let mask = u32::MAX.checked_shl(32 - self.bits.min(other.bits)).unwrap_or(0);
        self.base & mask == other.base & mask
    }
}

impl std::str::FromStr for Block {
    type Err = ();

    fn from_str(text: &str) -> Result<Block, ()> {
        let (address, bits) = text.split_once('/').ok_or(())?;
        let (address, bits) = (address.parse::<Ipv4Addr>().map_err(|_| ())?, bits.parse::<u32>().map_err(|_| ())?);
        if bits > 32 {
            return Err(());
        }
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        Ok(Block { base: u32::from(address) & mask, bits })
    }
}

impl std::fmt::Display for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.bits)
    }
}

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
    (site.kind != Kind::NoDefaultVpc).then(|| stable_id("vpc", &site.region))
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

pub fn describe_route_tables(state: &State, site: &Site, params: &Params) -> Answer {
    let all = route_tables(state, site);
    let wanted = params.texts("RouteTableId");
    let ids: Vec<&str> = all.iter().map(|table| table.id.as_str()).collect();
    known(&wanted, &ids, "InvalidRouteTableID.NotFound", "routeTable ID")?;
    let filters = Filters::of(params);
    let mut found = Vec::new();
    for table in &all {
        let routes = routes_of(state, site, table);
        let passes = filters.pass(state.tags_of(&table.id), |name| match name {
            "association.main" => fact(table.is_main),
            "association.route-table-association-id" => {
                let main = table.is_main.then(|| main_association(table));
                Some(main.into_iter().chain(table.associations.keys().cloned()).collect())
            }
            "association.route-table-id" => {
                let has_some = table.is_main || !table.associations.is_empty();
                Some(has_some.then(|| table.id.clone()).into_iter().collect())
            }
            "association.subnet-id" => Some(table.associations.values().cloned().collect()),
            "owner-id" => fact(&site.account),
            "route.destination-cidr-block" => Some(each(&routes, |route| &route.to)),
            "route.gateway-id" => Some(each(&routes, |route| &route.gateway)),
            "route.origin" => Some(each(&routes, |route| route.origin)),
            "route.state" => Some(each(&routes, |route| route.state)),
            // Routes have no other destinations and targets here.
            "association.gateway-id"
            | "route.destination-ipv6-cidr-block"
            | "route.destination-prefix-list-id"
            | "route.egress-only-internet-gateway-id"
            | "route.instance-id"
            | "route.nat-gateway-id"
            | "route.transit-gateway-id"
            | "route.vpc-peering-connection-id" => Some(Vec::new()),
            "route-table-id" => fact(&table.id),
            "vpc-id" => fact(&table.vpc),
            _ => None,
        })?;
        if passes && (wanted.is_empty() || wanted.contains(&table.id)) {
            found.push(table);
        }
    }
    let mut xml = Xml::new();
    xml.set("routeTableSet", found, |xml, table| write_route_table(xml, state, site, table));
    Ok(xml)
}

/// The id of a main table's association with its VPC.
pub fn main_association(table: &RouteTable) -> String {
    stable_id("rtbassoc", &table.id)
}

/// A route, as lists show it.
struct Shown {
    to: String,
    gateway: String,
    state: &'static str,
    origin: &'static str,
}

/// Returns the routes of a table, of which the first is the local one of its VPC.
fn routes_of(state: &State, site: &Site, table: &RouteTable) -> Vec<Shown> {
    let to = vpc(state, site, &table.vpc).map(|vpc| vpc.cidr).unwrap_or_default();
    let local = Shown { to, gateway: "local".to_owned(), state: "active", origin: "CreateRouteTable" };
    let others = table.routes.iter().map(|Routed { to, gateway }| Shown {
        to: to.clone(),
        gateway: gateway.clone(),
        state: if is_attached(state, site, gateway, &table.vpc) { "active" } else { "blackhole" },
        origin: "CreateRoute",
    });
    std::iter::once(local).chain(others).collect()
}

/// Returns a property of each route.
fn each(routes: &[Shown], of: impl Fn(&Shown) -> &str) -> Vec<String> {
    routes.iter().map(|route| of(route).to_owned()).collect()
}

/// Writes a route table.
pub fn write_route_table(xml: &mut Xml, state: &State, site: &Site, table: &RouteTable) {
    xml.text("routeTableId", &table.id).text("vpcId", &table.vpc).text("ownerId", &site.account);
    xml.set("routeSet", routes_of(state, site, table), |xml, route| {
        xml.text("destinationCidrBlock", route.to).text("gatewayId", route.gateway).text("state", route.state);
        xml.text("origin", route.origin);
    });
    let main = table.is_main.then(|| (main_association(table), None));
    let others = table.associations.iter().map(|(id, subnet)| (id.clone(), Some(subnet)));
    xml.set("associationSet", main.into_iter().chain(others), |xml, (id, subnet)| {
        xml.text("routeTableAssociationId", id).text("routeTableId", &table.id).text("main", subnet.is_none());
        xml.maybe("subnetId", subnet).within("associationState", |xml| {
            xml.text("state", "associated");
        });
    });
    xml.set("propagatingVgwSet", None::<()>, |_, ()| ()).tag_set(state.tags_of(&table.id));
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
    use super::{Block, zone_id};
    use crate::state::Subnet;

    #[test]
    fn addresses_are_inside_their_subnet_and_not_reserved() {
        for cidr in ["172.31.16.0/20", "10.0.1.0/24", "10.0.0.16/28"] {
            let (id, vpc, zone) = Default::default();
            let subnet =
                Subnet { id, vpc, zone, cidr: cidr.to_owned(), public_addresses: true, is_default: false, made: None };
            let block: Block = cidr.parse().unwrap();
            for number in 0..200 {
                let address: Block = format!("{}/32", subnet.address_for(&format!("i-{number}"))).parse().unwrap();
                let offset = u64::from(address.base - block.base);
                assert!(block.contains(address) && offset >= 4 && offset < block.size() - 1, "{cidr}: {address}");
            }
        }
    }

    #[test]
    fn zone_ids_are_short_for_the_region() {
        assert_eq!(zone_id("us-east-1b"), "use1-az2");
        assert_eq!(zone_id("ap-southeast-2a"), "apse2-az1");
        assert_eq!(zone_id("eu-central-1c"), "euc1-az3");
    }
}
