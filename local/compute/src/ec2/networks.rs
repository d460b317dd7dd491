//! Calls that make, change and delete networks (docs/aws.md §8.1).

use super::network::{self, Block, has_gateway, route_tables, subnets, vpc, vpcs, zones};
use super::{security_groups, tags};
use crate::Site;
use crate::clock::Moment;
use crate::state::{RouteTable, Routed, State, Subnet, Vpc, new_id};
use kit::call::{Asked, Need};
use kit::query::{Answer, ApiError, Params, Xml};

/// The default quotas of a region (Amazon VPC user guide, "Amazon VPC quotas").
const MOST_VPCS: usize = kit::quotas::VPCS;
const MOST_SUBNETS: usize = 200;
const MOST_TABLES: usize = 200;
const MOST_ROUTES: usize = 50;

/// The sizes of VPCs and subnets, in bits (`API:ec2.CreateVpc`, `API:ec2.CreateSubnet`).
const BITS: std::ops::RangeInclusive<u32> = 16..=28;

/// The ranges that are no addresses of hosts: of this host and loopback, link-local, multicast and reserved (docs/aws.md
/// §8.1).
const NO_HOSTS: &[&str] = &["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"];

fn violation(what: &str, id: &str) -> ApiError {
    ApiError::new("DependencyViolation", format!("The {what} '{id}' has dependencies and cannot be deleted."))
}

fn done() -> Answer {
    let mut xml = Xml::new();
    xml.text("return", true);
    Ok(xml)
}

/// Returns the permissions that a call needs on the resources it names, given by type and parameter.
pub fn needs_on(asked: &Asked, on: &[(&str, &str)]) -> Vec<Need> {
    let need = |(kind, parameter): &(&str, &str)| {
        let id = asked.call.input.text(parameter).unwrap_or("*");
        asked.own(asked.arn(&format!("{kind}/{id}")))
    };
    on.iter().map(need).collect()
}

/// Returns the permissions to change the association of a subnet: on its route table, and on the next one.
pub fn needs_on_association(asked: &Asked) -> Vec<Need> {
    let table = (asked.entity_arn)("route-table-association", asked.text("AssociationId"));
    let mut needs = vec![asked.own(table.unwrap_or_else(|| asked.arn("route-table/*")))];
    if asked.call.input.text("RouteTableId").is_some() {
        needs.extend(needs_on(asked, &[("route-table", "RouteTableId")]));
    }
    needs
}

/// Returns the permissions for a new resource inside a VPC.
pub fn needs_inside(asked: &Asked, resource_type: &str) -> Vec<Need> {
    let mut needs = tags::with_creation(asked, resource_type);
    needs.extend(needs_on(asked, &[("vpc", "VpcId")]));
    needs
}

pub fn create_vpc(state: &mut State, site: &Site, params: &Params) -> Answer {
    let cidr = params.required("CidrBlock")?;
    let block: Option<Block> = cidr.parse().ok();
    let is_of_hosts = |block: &Block| {
        let mut others = NO_HOSTS.iter().filter_map(|range| range.parse::<Block>().ok());
        !others.any(|other| other.overlaps(*block))
    };
    let Some(block) = block.filter(|block| BITS.contains(&block.bits) && is_of_hosts(block)) else {
        return Err(ApiError::new("InvalidVpc.Range", format!("The CIDR '{cidr}' is invalid.")));
    };
    if vpcs(state, site).len() >= MOST_VPCS {
        return Err(ApiError::new("VpcLimitExceeded", "The maximum number of VPCs has been reached."));
    }
    let tags = tags::specified(params, "vpc")?;
    let id = new_id("vpc");
    let vpc = Vpc {
        id: id.clone(),
        cidr: block.to_string(),
        dns_support: true,
        dns_hostnames: false,
        is_default: false,
        made: Some(Moment::now()),
    };
    let table = RouteTable {
        id: new_id("rtb"),
        vpc: id.clone(),
        is_main: true,
        routes: Vec::new(),
        associations: Default::default(),
        token: None,
    };
    state.networks.route_tables.insert(table.id.clone(), table);
    state.networks.vpcs.insert(id.clone(), vpc.clone());
    security_groups::add_default(state, &id);
    state.tag(&id, tags);
    let mut xml = Xml::new();
    xml.within("vpc", |xml| network::write_vpc(xml, state, site, &vpc));
    Ok(xml)
}

/// Returns the value of an attribute, which must be given.
fn value(attribute: &Params) -> Result<bool, ApiError> {
    attribute.required("Value")?;
    attribute.flag_of_ec2("Value")
}

pub fn modify_vpc_attribute(state: &mut State, site: &Site, params: &Params) -> Answer {
    let id = params.required("VpcId")?;
    vpc(state, site, id)?;
    let flag = |name: &str| params.has(name).then(|| value(params.at(name))).transpose();
    let (support, hostnames) = (flag("EnableDnsSupport")?, flag("EnableDnsHostnames")?);
    if support.is_some() == hostnames.is_some() {
        let text = "Exactly one of enableDnsSupport and enableDnsHostnames must be given.";
        return Err(ApiError::new("InvalidParameterCombination", text));
    }
    let Some(vpc) = state.networks.vpcs.get_mut(id) else { return Err(default_is_fixed()) };
    if hostnames == Some(true) && !vpc.dns_support {
        let text = "DNS hostnames can only be enabled if DNS support is enabled.";
        return Err(ApiError::new("InvalidParameterCombination", text));
    }
    vpc.dns_support = support.unwrap_or(vpc.dns_support);
    vpc.dns_hostnames = hostnames.unwrap_or(vpc.dns_hostnames);
    done()
}

/// The default network is not stored, so it cannot be changed here.
fn default_is_fixed() -> ApiError {
    ApiError::new(kit::query::NOT_IMPLEMENTED, "the local AWS does not implement changes of the default network")
}

pub fn delete_vpc(state: &mut State, site: &Site, params: &Params) -> Answer {
    let id = params.required("VpcId")?;
    vpc(state, site, id)?;
    if !state.networks.vpcs.contains_key(id) {
        return Err(default_is_fixed());
    }
    let networks = &state.networks;
    let has_subnets = networks.subnets.values().any(|subnet| subnet.vpc == id);
    let has_tables = networks.route_tables.values().any(|table| table.vpc == id && !table.is_main);
    let has_groups = state.security_groups.values().any(|group| group.vpc == id && group.name != "default");
    let has_targets = state.target_groups.values().any(|group| group.vpc == id && !group.targets.is_empty());
    if has_subnets || has_tables || has_groups || has_targets || has_gateway(state, site, id) {
        let text = format!("The vpc '{id}' has dependencies and cannot be deleted.");
        return Err(ApiError::new("DependencyViolation", text));
    }
    state.networks.vpcs.remove(id);
    state.networks.route_tables.retain(|_, table| table.vpc != id);
    state.security_groups.retain(|_, group| group.vpc != id);
    state.tags.remove(id);
    done()
}

pub fn create_subnet(state: &mut State, site: &Site, params: &Params) -> Answer {
    let (of, cidr) = (params.required("VpcId")?, params.required("CidrBlock")?);
    let around = vpc(state, site, of)?;
    let block: Option<Block> = cidr.parse().ok();
    let inside = around.cidr.parse::<Block>().ok();
    let fits = |block: &Block| BITS.contains(&block.bits) && inside.is_some_and(|vpc| vpc.contains(*block));
    let Some(block) = block.filter(fits) else {
        return Err(ApiError::new("InvalidSubnet.Range", format!("The CIDR '{cidr}' is invalid.")));
    };
    let others = subnets(state, site).into_iter().filter(|subnet| subnet.vpc == of);
    let mut others = others.filter_map(|subnet| subnet.cidr.parse::<Block>().ok());
    if others.any(|other| other.overlaps(block)) {
        let text = format!("The CIDR '{cidr}' conflicts with another subnet");
        return Err(ApiError::new("InvalidSubnet.Conflict", text));
    }
    if subnets(state, site).iter().filter(|subnet| subnet.vpc == of).count() >= MOST_SUBNETS {
        return Err(ApiError::new("SubnetLimitExceeded", "The maximum number of subnets has been reached."));
    }
    let all = zones(site);
    let zone = params.text("AvailabilityZone").unwrap_or(&all[0]).to_owned();
    if !all.contains(&zone) {
        let text = format!(
            "Value ({zone}) for parameter availabilityZone is invalid. Subnets can currently only be created in the following availability zones: {}.",
            all.join(", ")
        );
        return Err(ApiError::new("InvalidParameterValue", text));
    }
    let tags = tags::specified(params, "subnet")?;
    let id = new_id("subnet");
    let subnet = Subnet {
        id: id.clone(),
        vpc: of.to_owned(),
        cidr: block.to_string(),
        zone,
        public_addresses: false,
        is_default: false,
        made: Some(Moment::now()),
    };
    state.networks.subnets.insert(id.clone(), subnet.clone());
    state.tag(&id, tags);
    let mut xml = Xml::new();
    xml.within("subnet", |xml| network::write_subnet(xml, state, site, &subnet));
    Ok(xml)
}

fn known_subnet(state: &State, site: &Site, id: &str) -> Result<Subnet, ApiError> {
    let unknown = || ApiError::new("InvalidSubnetID.NotFound", format!("The subnet ID '{id}' does not exist"));
    network::subnet(state, site, id).ok_or_else(unknown)
}

pub fn modify_subnet_attribute(state: &mut State, site: &Site, params: &Params) -> Answer {
    let id = params.required("SubnetId")?;
    known_subnet(state, site, id)?;
    if !params.has("MapPublicIpOnLaunch") {
        let text = "The request must contain exactly one attribute to modify.";
        return Err(ApiError::new("InvalidParameterCombination", text));
    }
    let wanted = value(params.at("MapPublicIpOnLaunch"))?;
    let subnet = state.networks.subnets.get_mut(id).ok_or_else(default_is_fixed)?;
    subnet.public_addresses = wanted;
    done()
}

pub fn delete_subnet(state: &mut State, site: &Site, params: &Params) -> Answer {
    let id = params.required("SubnetId")?;
    known_subnet(state, site, id)?;
    if !state.networks.subnets.contains_key(id) {
        return Err(default_is_fixed());
    }
    let by_balancer = state.interfaces.values().any(|one| one.subnet == id);
    let by_instance = state.instances.values().any(|one| one.ended.is_none() && one.subnet == id);
    if by_balancer || by_instance {
        return Err(violation("subnet", id));
    }
    state.networks.subnets.remove(id);
    for table in state.networks.route_tables.values_mut() {
        table.associations.retain(|_, subnet| subnet != id);
    }
    state.tags.remove(id);
    done()
}

pub fn create_gateway(state: &mut State, site: &Site, params: &Params) -> Answer {
    if network::gateways(state, site).len() >= MOST_VPCS {
        let text = "The maximum number of internet gateways has been reached.";
        return Err(ApiError::new("InternetGatewayLimitExceeded", text));
    }
    let tags = tags::specified(params, "internet-gateway")?;
    let id = new_id("igw");
    state.networks.gateways.insert(id.clone(), None);
    state.tag(&id, tags);
    let mut xml = Xml::new();
    xml.within("internetGateway", |xml| network::write_gateway(xml, state, site, &id, None));
    Ok(xml)
}

/// Returns the VPC that a gateway is attached to.
fn attached(state: &State, site: &Site, id: &str) -> Result<Option<String>, ApiError> {
    let text = || format!("The internetGateway ID '{id}' does not exist");
    let all = network::gateways(state, site);
    let at = all.get(id).ok_or_else(|| ApiError::new("InvalidInternetGatewayID.NotFound", text()))?;
    match state.networks.gateways.contains_key(id) {
        true => Ok(at.clone()),
        false => Err(default_is_fixed()),
    }
}

pub fn attach_gateway(state: &mut State, site: &Site, params: &Params) -> Answer {
    let (id, of) = (params.required("InternetGatewayId")?, params.required("VpcId")?);
    let at = attached(state, site, id)?;
    vpc(state, site, of)?;
    if let Some(at) = at {
        let text = format!("resource {id} is already attached to network {at}");
        return Err(ApiError::new("Resource.AlreadyAssociated", text));
    }
    if has_gateway(state, site, of) {
        let text = format!("Network {of} already has an internet gateway attached");
        return Err(ApiError::new("InvalidParameterValue", text));
    }
    state.networks.gateways.insert(id.to_owned(), Some(of.to_owned()));
    done()
}

/// Load balancers open to the internet, and instances, have public addresses that need the gateway.
pub fn detach_gateway(state: &mut State, site: &Site, params: &Params) -> Answer {
    let (id, of) = (params.required("InternetGatewayId")?, params.required("VpcId")?);
    if attached(state, site, id)?.as_deref() != Some(of) {
        return Err(ApiError::new("Gateway.NotAttached", format!("resource {id} is not attached to network {of}")));
    }
    let inside = |subnet: &str| network::vpc_of(state, site, subnet) == of;
    let by_balancer = state.interfaces.values().any(|one| inside(&one.subnet));
    let by_instance = state
        .instances
        .values()
        .any(|one| one.ended.is_none() && one.settings.has_public_address && inside(&one.subnet));
    if by_balancer || by_instance {
        let text = format!(
            "Network {of} has some mapped public address(es). Please unmap those public address(es) before detaching the gateway."
        );
        return Err(ApiError::new("DependencyViolation", text));
    }
    state.networks.gateways.insert(id.to_owned(), None);
    done()
}

pub fn delete_gateway(state: &mut State, site: &Site, params: &Params) -> Answer {
    let id = params.required("InternetGatewayId")?;
    if attached(state, site, id)?.is_some() {
        return Err(violation("internetGateway", id));
    }
    state.networks.gateways.remove(id);
    state.tags.remove(id);
    done()
}

pub fn create_route_table(state: &mut State, site: &Site, params: &Params) -> Answer {
    let of = params.required("VpcId")?;
    vpc(state, site, of)?;
    let tags = tags::specified(params, "route-table")?;
    let token = params.text("ClientToken").map(str::to_owned);
    let before = state.networks.route_tables.values().find(|table| token.is_some() && table.token == token);
    let table = match before {
        Some(table) if table.vpc != of => {
            let text = "The client token has already been used with other parameters.";
            return Err(ApiError::new("IdempotentParameterMismatch", text));
        }
        Some(table) => table.clone(),
        None if route_tables(state, site).iter().filter(|table| table.vpc == of).count() >= MOST_TABLES => {
            let text = "The maximum number of route tables has been reached.";
            return Err(ApiError::new("RouteTableLimitExceeded", text));
        }
        None => {
            let id = new_id("rtb");
            let (routes, associations) = Default::default();
            let table = RouteTable { id: id.clone(), vpc: of.to_owned(), is_main: false, routes, associations, token };
            state.networks.route_tables.insert(id.clone(), table.clone());
            state.tag(&id, tags);
            table
        }
    };
    let mut xml = Xml::new();
    xml.within("routeTable", |xml| network::write_route_table(xml, state, site, &table));
    Ok(xml)
}

fn table(state: &State, site: &Site, id: &str) -> Result<RouteTable, ApiError> {
    let unknown = || ApiError::new("InvalidRouteTableID.NotFound", format!("The routeTable ID '{id}' does not exist"));
    let known = route_tables(state, site).into_iter().find(|table| table.id == id).ok_or_else(unknown)?;
    match state.networks.route_tables.contains_key(id) {
        true => Ok(known),
        false => Err(default_is_fixed()),
    }
}

pub fn create_route(state: &mut State, site: &Site, params: &Params) -> Answer {
    let id = params.required("RouteTableId")?;
    let known = table(state, site, id)?;
    let route = route(state, site, params, &known)?;
    if known.routes.contains(&route) {
        return done();
    }
    if known.routes.iter().any(|other| other.to == route.to) {
        let text = format!("The route identified by {} already exists.", route.to);
        return Err(ApiError::new("RouteAlreadyExists", text));
    }
    // The local route is one of them.
    if known.routes.len() + 1 >= MOST_ROUTES {
        return Err(ApiError::new("RouteLimitExceeded", "The maximum number of routes has been reached."));
    }
    state.networks.route_tables.get_mut(id).expect("table() found it").routes.push(route);
    done()
}

pub fn replace_route(state: &mut State, site: &Site, params: &Params) -> Answer {
    let id = params.required("RouteTableId")?;
    let known = table(state, site, id)?;
    let route = route(state, site, params, &known)?;
    let table = state.networks.route_tables.get_mut(id).expect("table() found it");
    let Some(there) = table.routes.iter_mut().find(|other| other.to == route.to) else {
        let to = route.to;
        let text = format!("There is no route defined for '{to}' in the route table. Use CreateRoute instead.");
        return Err(ApiError::new("InvalidParameterValue", text));
    };
    *there = route;
    done()
}

/// Returns the route that a call describes, whose gateway must be in the VPC of the table.
fn route(state: &State, site: &Site, params: &Params, table: &RouteTable) -> Result<Routed, ApiError> {
    let (to, gateway) = (params.required("DestinationCidrBlock")?, params.required("GatewayId")?);
    let Ok(block) = to.parse::<Block>() else {
        let text =
            format!("Value ({to}) for parameter destinationCidrBlock is invalid. This is not a valid CIDR block.");
        return Err(ApiError::new("InvalidParameterValue", text));
    };
    match network::gateways(state, site).get(gateway) {
        None => {
            let text = format!("The gateway ID '{gateway}' does not exist");
            return Err(ApiError::new("InvalidGatewayID.NotFound", text));
        }
        Some(at) if at.as_deref() != Some(table.vpc.as_str()) => {
            let text = format!("route table {} and network gateway {gateway} belong to different networks", table.id);
            return Err(ApiError::new("InvalidParameterValue", text));
        }
        Some(_) => (),
    }
    let own = vpc(state, site, &table.vpc)?.cidr;
    if own.parse::<Block>().is_ok_and(|own| own.contains(block)) {
        let text = "Route target is not supported. This route only supports interface and instance targets.";
        return Err(ApiError::new("InvalidParameterValue", text));
    }
    Ok(Routed { to: block.to_string(), gateway: gateway.to_owned() })
}

pub fn delete_route(state: &mut State, site: &Site, params: &Params) -> Answer {
    let id = params.required("RouteTableId")?;
    let to = params.required("DestinationCidrBlock")?;
    let known = table(state, site, id)?;
    if vpc(state, site, &known.vpc)?.cidr == to {
        let text = format!("cannot remove local route {to} in route table {id}");
        return Err(ApiError::new("InvalidParameterValue", text));
    }
    if !known.routes.iter().any(|route| route.to == to) {
        let text = format!("no route with destination-cidr-block {to} in route table {id}");
        return Err(ApiError::new("InvalidRoute.NotFound", text));
    }
    state.networks.route_tables.get_mut(id).expect("table() found it").routes.retain(|route| route.to != to);
    done()
}

pub fn associate(state: &mut State, site: &Site, params: &Params) -> Answer {
    let (id, of) = (params.required("RouteTableId")?, params.required("SubnetId")?);
    let (known, subnet) = (table(state, site, id)?, known_subnet(state, site, of)?);
    if known.vpc != subnet.vpc {
        let text = format!("route table {id} and subnet {of} belong to different networks");
        return Err(ApiError::new("InvalidParameterValue", text));
    }
    let mut tables = state.networks.route_tables.values();
    let existing = tables.find_map(|table| {
        let at = table.associations.iter().find(|(_, subnet)| *subnet == of);
        at.map(|(association, _)| (table.id.clone(), association.clone()))
    });
    let association = match existing {
        Some((there, association)) if there == id => association,
        Some(_) => {
            let text = format!("the specified association for route table {id} conflicts with an existing association");
            return Err(ApiError::new("Resource.AlreadyAssociated", text));
        }
        None => new_id("rtbassoc"),
    };
    let table = state.networks.route_tables.get_mut(id).expect("table() found it");
    table.associations.insert(association.clone(), of.to_owned());
    let mut xml = Xml::new();
    xml.text("associationId", association).within("associationState", |xml| {
        xml.text("state", "associated");
    });
    Ok(xml)
}

pub fn replace_association(state: &mut State, site: &Site, params: &Params) -> Answer {
    let (association, id) = (params.required("AssociationId")?, params.required("RouteTableId")?);
    let known = table(state, site, id)?;
    let unknown = || unknown_association(association);
    let there = table_of(state, association).ok_or_else(unknown)?;
    if there.vpc != known.vpc {
        let text = format!("route table {id} and association {association} belong to different networks");
        return Err(ApiError::new("InvalidParameterValue", text));
    }
    let there = there.id.clone();
    let tables = &mut state.networks.route_tables;
    let subnet = tables.get_mut(&there).and_then(|table| table.associations.remove(association)).ok_or_else(unknown)?;
    let new = new_id("rtbassoc");
    tables.get_mut(id).expect("table() found it").associations.insert(new.clone(), subnet);
    let mut xml = Xml::new();
    xml.text("newAssociationId", new).within("associationState", |xml| {
        xml.text("state", "associated");
    });
    Ok(xml)
}

/// Returns the route table that has an association.
pub fn table_of<'a>(state: &'a State, association: &str) -> Option<&'a RouteTable> {
    state.networks.route_tables.values().find(|table| table.associations.contains_key(association))
}

fn unknown_association(id: &str) -> ApiError {
    ApiError::new("InvalidAssociationID.NotFound", format!("The association ID '{id}' does not exist"))
}

pub fn disassociate(state: &mut State, site: &Site, params: &Params) -> Answer {
    let id = params.required("AssociationId")?;
    if route_tables(state, site).iter().any(|table| table.is_main && network::main_association(table) == id) {
        let text = format!("cannot disassociate the main route table association {id}");
        return Err(ApiError::new("InvalidParameterValue", text));
    }
    let mut tables = state.networks.route_tables.values_mut();
    if !tables.any(|table| table.associations.remove(id).is_some()) {
        return Err(unknown_association(id));
    }
    done()
}

pub fn delete_route_table(state: &mut State, site: &Site, params: &Params) -> Answer {
    let id = params.required("RouteTableId")?;
    let known = table(state, site, id)?;
    if known.is_main || !known.associations.is_empty() {
        return Err(violation("routeTable", id));
    }
    state.networks.route_tables.remove(id);
    state.tags.remove(id);
    done()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::site;
    use kit::speed::Speed;

    type Call = fn(&mut State, &Site, &Params) -> Answer;

    /// Makes a call; the error is its code.
    fn made(state: &mut State, call: Call, form: &[(&str, &str)]) -> Result<String, &'static str> {
        let form = form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let answer = call(state, &site(Speed::REAL, Default::default()), &Params::parse(&form));
        answer.map(Xml::into_text).map_err(|fault| fault.code)
    }

    fn read(state: &State, call: fn(&State, &Site, &Params) -> Answer, form: &[(&str, &str)]) -> String {
        let form = form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        call(state, &site(Speed::REAL, Default::default()), &Params::parse(&form)).unwrap().into_text()
    }

    /// The text of the first element with this name.
    fn field(text: &str, name: &str) -> String {
        let rest = text.split(&format!("<{name}>")).nth(1).expect(name);
        rest.split('<').next().unwrap_or_default().to_owned()
    }

    #[test]
    fn only_ranges_of_hosts_are_networks() {
        let mut state = State::default();
        for (cidr, expected) in [
            ("0.1.0.0/16", Err("InvalidVpc.Range")),
            ("127.0.0.0/16", Err("InvalidVpc.Range")),
            ("169.254.0.0/24", Err("InvalidVpc.Range")),
            ("224.0.0.0/16", Err("InvalidVpc.Range")),
            ("255.255.0.0/16", Err("InvalidVpc.Range")),
            ("1.0.0.0/16", Ok(())),
            ("169.253.0.0/16", Ok(())),
            ("223.255.0.0/16", Ok(())),
        ] {
            assert_eq!(made(&mut state, create_vpc, &[("CidrBlock", cidr)]).map(drop), expected, "{cidr}");
        }
    }

    #[test]
    fn the_local_route_and_the_main_association_stay() {
        let mut state = State::default();
        let vpc = field(&made(&mut state, create_vpc, &[("CidrBlock", "10.1.0.0/16")]).unwrap(), "vpcId");
        let gateway = field(&made(&mut state, create_gateway, &[]).unwrap(), "internetGatewayId");
        made(&mut state, attach_gateway, &[("InternetGatewayId", &gateway), ("VpcId", &vpc)]).unwrap();
        let tables =
            read(&state, network::describe_route_tables, &[("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", &vpc)]);
        let (table, association) = (field(&tables, "routeTableId"), field(&tables, "routeTableAssociationId"));
        let site = site(Speed::REAL, Default::default());
        let of_default = network::stable_id("igw", &site.region);
        for (call, to, gateway, expected) in [
            (create_route as Call, "10.1.0.0/16", &gateway, Err("InvalidParameterValue")),
            (create_route, "10.1.2.0/24", &gateway, Err("InvalidParameterValue")),
            (create_route, "0.0.0.0/0", &of_default, Err("InvalidParameterValue")),
            (create_route, "10.0.0.0/8", &gateway, Ok(())),
            (create_route, "0.0.0.0/0", &gateway, Ok(())),
            (delete_route, "10.1.0.0/16", &gateway, Err("InvalidParameterValue")),
            (delete_route, "10.1.2.0/24", &gateway, Err("InvalidRoute.NotFound")),
            (delete_route, "10.0.0.0/8", &gateway, Ok(())),
        ] {
            let form = [("RouteTableId", &*table), ("DestinationCidrBlock", to), ("GatewayId", gateway)];
            assert_eq!(made(&mut state, call, &form).map(drop), expected, "{to}");
        }
        let main = [("AssociationId", &*association)];
        assert_eq!(made(&mut state, disassociate, &main), Err("InvalidParameterValue"));
        assert_eq!(made(&mut state, disassociate, &[("AssociationId", "x")]), Err("InvalidAssociationID.NotFound"));
        // The default network exists, but is not changed here.
        let default = [("InternetGatewayId", &*of_default)];
        assert_eq!(made(&mut state, delete_gateway, &default), Err(kit::query::NOT_IMPLEMENTED));
        for (name, value, expected) in [
            ("route.destination-cidr-block", "10.1.0.0/16", true),
            ("route.destination-cidr-block", "10.0.0.0/8", false),
            ("route.gateway-id", "local", true),
            ("route.gateway-id", &gateway, true),
            ("route.origin", "CreateRoute", true),
            ("route.state", "active", true),
            ("route.state", "blackhole", false),
            ("route.nat-gateway-id", "nat-1", false),
            ("association.route-table-id", &table, true),
        ] {
            let form = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
            let found = read(&state, network::describe_route_tables, &form).contains(&table);
            assert_eq!(found, expected, "{name}={value}");
        }
    }

    #[test]
    fn vpcs_and_subnets_are_pending_at_first() {
        let mut state = State::default();
        let vpc = made(&mut state, create_vpc, &[("CidrBlock", "10.1.0.0/16")]).unwrap();
        let id = field(&vpc, "vpcId");
        let subnet = made(&mut state, create_subnet, &[("VpcId", &id), ("CidrBlock", "10.1.0.0/24")]).unwrap();
        assert_eq!([field(&vpc, "state"), field(&subnet, "state")], ["pending", "pending"]);
        let of_vpc = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", &*id)];
        let with = |wanted| [of_vpc[0], of_vpc[1], ("Filter.2.Name", "state"), ("Filter.2.Value.1", wanted)];
        type Describe = fn(&State, &Site, &Params) -> Answer;
        let calls = [(network::describe_vpcs as Describe, "vpcId"), (network::describe_subnets, "subnetId")];
        // In the past, or at a time that has not come yet.
        for (at, expected, other) in [
            (Moment::default(), "available", "pending"),
            (Moment::now().after(std::time::Duration::from_secs(60)), "pending", "available"),
        ] {
            state.networks.vpcs.values_mut().for_each(|vpc| vpc.made = Some(at));
            state.networks.subnets.values_mut().for_each(|subnet| subnet.made = Some(at));
            for (call, name) in calls {
                assert_eq!(field(&read(&state, call, &of_vpc), "state"), expected, "{name}");
                assert!(read(&state, call, &with(expected)).contains(name));
                assert!(!read(&state, call, &with(other)).contains(name));
            }
        }
    }

    #[test]
    fn networks_have_quotas() {
        let mut state = State::default();
        let vpc = field(&made(&mut state, create_vpc, &[("CidrBlock", "10.1.0.0/16")]).unwrap(), "vpcId");
        // The default network's gateway, and the main table, count.
        let gateways: Vec<String> = (1..MOST_VPCS)
            .map(|_| field(&made(&mut state, create_gateway, &[]).unwrap(), "internetGatewayId"))
            .collect();
        assert_eq!(made(&mut state, create_gateway, &[]), Err("InternetGatewayLimitExceeded"));
        made(&mut state, attach_gateway, &[("InternetGatewayId", &gateways[0]), ("VpcId", &vpc)]).unwrap();
        let of = [("VpcId", &*vpc)];
        let tables: Vec<String> = (1..MOST_TABLES)
            .map(|_| field(&made(&mut state, create_route_table, &of).unwrap(), "routeTableId"))
            .collect();
        assert_eq!(made(&mut state, create_route_table, &of), Err("RouteTableLimitExceeded"));
        let mut route = |number: usize| {
            let to = format!("11.{number}.0.0/16");
            let form = [("RouteTableId", &*tables[0]), ("DestinationCidrBlock", &to), ("GatewayId", &gateways[0])];
            made(&mut state, create_route, &form)
        };
        (1..MOST_ROUTES).for_each(|number| drop(route(number).unwrap()));
        assert_eq!(route(MOST_ROUTES), Err("RouteLimitExceeded"));
        // A repeated call adds none.
        assert!(route(1).is_ok());
    }

    #[test]
    fn host_names_need_dns() {
        let mut state = State::default();
        let vpc = field(&made(&mut state, create_vpc, &[("CidrBlock", "10.1.0.0/16")]).unwrap(), "vpcId");
        for (attribute, value, expected) in [
            ("EnableDnsSupport", "false", Ok(())),
            ("EnableDnsHostnames", "true", Err("InvalidParameterCombination")),
            ("EnableDnsHostnames", "false", Ok(())),
            ("EnableDnsSupport", "true", Ok(())),
            ("EnableDnsHostnames", "true", Ok(())),
        ] {
            let form = [("VpcId", &*vpc), (&*format!("{attribute}.Value"), value)];
            assert_eq!(made(&mut state, modify_vpc_attribute, &form).map(drop), expected, "{attribute}={value}");
        }
    }
}
