//! Load balancers (docs/aws.md §9.1, §9.2, §9.6).

use std::collections::BTreeSet;

use super::{attributes, hosted_zone, tags};
use crate::Site;
use crate::clock::Moment;
use crate::ec2;
use crate::state::{Interface, LoadBalancer, State, Subnet, new_hex, new_id};
use kit::query::{Answer, ApiError, Params, Xml};

pub fn create(state: &mut State, site: &Site, params: &Params) -> Answer {
    let name = params.required("Name")?;
    check_name(name)?;
    if params.text("Type").is_some_and(|kind| kind != "application") {
        return Err(ApiError::new("InvalidConfigurationRequest", "Only application load balancers exist here"));
    }
    let scheme = params.text("Scheme").unwrap_or("internet-facing").to_owned();
    let there = state.load_balancers.values().find(|one| one.name == name).map(|one| one.subnets.as_slice());
    let (subnets, vpc) = chosen_subnets(state, site, params, there.unwrap_or_default())?;
    if scheme == "internet-facing" && !ec2::has_gateway(state, site, &vpc) {
        return Err(ApiError::new("InvalidSubnet", format!("VPC {vpc} has no internet gateway")));
    }
    let wanted = LoadBalancer {
        arn: format!(
            "arn:aws:elasticloadbalancing:{}:{}:loadbalancer/app/{name}/{}",
            site.region,
            site.account,
            new_hex()
        ),
        name: name.to_owned(),
        scheme,
        ip_address_type: params.text("IpAddressType").unwrap_or("ipv4").to_owned(),
        subnets,
        security_groups: chosen_security_groups(state, site, params, &vpc)?,
        created: Moment::now(),
        active: false,
        port: 0,
        attributes: attributes::of_load_balancer(),
        web_acl: None,
    };
    let tags = tags::wanted(params)?;
    if let Some(existing) = state.load_balancers.values().find(|one| one.name == name) {
        if !is_same(existing, &wanted) {
            let message = format!("A load balancer with the same name '{name}' exists, but with different settings");
            return Err(ApiError::new("DuplicateLoadBalancerName", message));
        }
        return Ok(shown(state, site, [existing]));
    }
    let port =
        site.ports.reserve(None).ok_or_else(|| ApiError::new("InternalFailure", "no port is free on this machine"))?;
    let one = LoadBalancer { port, ..wanted };
    state.tag(&one.arn, tags);
    state.load_balancers.insert(one.arn.clone(), one.clone());
    place_interfaces(state, site, &one.arn);
    Ok(shown(state, site, [&one]))
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let refusal = match () {
        () if name.len() > 32 => {
            format!("Load balancer name '{name}' cannot be longer than '32' characters")
        }
        () if !plain => format!(
            "Load balancer name '{name}' can only contain characters that are alphanumeric characters and hyphens(-)"
        ),
        () if name.starts_with('-') || name.ends_with('-') => {
            format!("Load balancer name '{name}' cannot begin or end with a hyphen(-)")
        }
        () if name.starts_with("internal-") => {
            format!("Load balancer name '{name}' cannot begin with 'internal-'")
        }
        () => return Ok(()),
    };
    Err(ApiError::new("ValidationError", refusal))
}

fn is_same(one: &LoadBalancer, other: &LoadBalancer) -> bool {
    let set = |list: &[String]| list.iter().cloned().collect::<BTreeSet<String>>();
    one.scheme == other.scheme
        && one.ip_address_type == other.ip_address_type
        && set(&one.subnets) == set(&other.subnets)
        && set(&one.security_groups) == set(&other.security_groups)
}

/// The smallest subnets, in bits, and the free addresses that a load balancer needs in each (docs/aws.md §8.1).
const MOST_BITS: u32 = 27;
const FREE_ADDRESSES: u64 = 8;

/// Checks that a load balancer has room to scale in a subnet.
fn check_room(state: &State, subnet: &Subnet) -> Result<(), ApiError> {
    let Subnet { id, cidr, .. } = subnet;
    let refuse = |message: String| Err(ApiError::new("InvalidSubnet", message));
    if cidr.parse().is_ok_and(|block: ec2::Block| block.bits > MOST_BITS) {
        return refuse(format!("The CIDR block {cidr} of {id} is too small. ELB requires at least a /{MOST_BITS}."));
    }
    if ec2::free_addresses(state, subnet) < FREE_ADDRESSES {
        return refuse(format!(
            "Not enough IP space available in {id}. ELB requires at least {FREE_ADDRESSES} free IP addresses in each subnet."
        ));
    }
    Ok(())
}

/// Returns the subnets of a call, which must be in at least two zones of one VPC, and that VPC. Those that the load
/// balancer has already need no more room.
fn chosen_subnets(
    state: &State,
    site: &Site,
    params: &Params,
    there: &[String],
) -> Result<(Vec<String>, String), ApiError> {
    let mut ids = params.texts("Subnets");
    ids.extend(params.items("SubnetMappings").into_iter().filter_map(|one| one.text("SubnetId").map(str::to_owned)));
    let all = ec2::subnets(state, site);
    if let Some(unknown) = ids.iter().find(|id| !all.iter().any(|subnet| subnet.id == **id)) {
        return Err(ApiError::new("SubnetNotFound", format!("The subnet ID '{unknown}' does not exist")));
    }
    let chosen: Vec<&Subnet> = ids.iter().filter_map(|id| all.iter().find(|subnet| subnet.id == *id)).collect();
    let distinct: BTreeSet<&str> = chosen.iter().map(|subnet| subnet.zone.as_str()).collect();
    if distinct.len() < ids.len() {
        let message = "A load balancer cannot be attached to multiple subnets in the same Availability Zone";
        return Err(ApiError::new("InvalidConfigurationRequest", message));
    }
    if ids.len() < 2 {
        let message = "At least two subnets in two different Availability Zones must be specified";
        return Err(ApiError::new("ValidationError", message));
    }
    let vpc = chosen[0].vpc.clone();
    if chosen.iter().any(|subnet| subnet.vpc != vpc) {
        let message = "All subnets must belong to the same VPC";
        return Err(ApiError::new("InvalidConfigurationRequest", message));
    }
    chosen.iter().filter(|subnet| !there.contains(&subnet.id)).try_for_each(|subnet| check_room(state, subnet))?;
    Ok((ids, vpc))
}

/// Returns the security groups of a call, or the VPC's default group if it names none.
fn chosen_security_groups(state: &State, site: &Site, params: &Params, vpc: &str) -> Result<Vec<String>, ApiError> {
    let ids = params.texts("SecurityGroups");
    if let Some(unknown) = ids.iter().find(|id| !state.security_groups.contains_key(*id)) {
        return Err(ApiError::new("InvalidSecurityGroup", format!("The security group '{unknown}' does not exist")));
    }
    if ids.is_empty() {
        let is_default = |group: &&crate::state::SecurityGroup| group.name == "default" && group.vpc_id(site) == vpc;
        let default = state.security_groups.values().filter(is_default);
        return Ok(default.map(|group| group.id.clone()).collect());
    }
    if ids.iter().any(|id| state.security_groups[id].vpc_id(site) != vpc) {
        let message = "One or more security groups are invalid";
        return Err(ApiError::new("InvalidConfigurationRequest", message));
    }
    Ok(ids)
}

/// Gives a load balancer one interface in each of its subnets, with its security groups.
fn place_interfaces(state: &mut State, site: &Site, arn: &str) {
    let one = state.load_balancers[arn].clone();
    let subnets: Vec<Subnet> =
        ec2::subnets(state, site).into_iter().filter(|subnet| one.subnets.contains(&subnet.id)).collect();
    let stays = |interface: &Interface| interface.load_balancer != arn || one.subnets.contains(&interface.subnet);
    state.interfaces.retain(|_, interface| stays(interface));
    for subnet in subnets {
        let there = |interface: &&mut Interface| interface.load_balancer == arn && interface.subnet == subnet.id;
        if let Some(interface) = state.interfaces.values_mut().find(there) {
            interface.security_groups.clone_from(&one.security_groups);
            continue;
        }
        let id = new_id("eni");
        let interface = Interface {
            id: id.clone(),
            description: format!("ELB {}", one.path()),
            address: subnet.address_for(&id),
            subnet: subnet.id,
            security_groups: one.security_groups.clone(),
            load_balancer: arn.to_owned(),
            orphaned: None,
        };
        state.interfaces.insert(id, interface);
    }
}

pub fn describe(state: &State, site: &Site, params: &Params) -> Answer {
    let (arns, names) = (params.texts("LoadBalancerArns"), params.texts("Names"));
    for arn in &arns {
        state.load_balancer(arn)?;
    }
    if let Some(name) = names.iter().find(|name| !state.load_balancers.values().any(|one| one.name == **name)) {
        return Err(ApiError::new("LoadBalancerNotFound", format!("Load balancers '[{name}]' not found")));
    }
    let all = arns.is_empty() && names.is_empty();
    let chosen = |one: &&LoadBalancer| all || arns.contains(&one.arn) || names.contains(&one.name);
    Ok(shown(state, site, state.load_balancers.values().filter(chosen)))
}

pub fn delete(state: &mut State, site: &Site, params: &Params) -> Answer {
    let arn = params.required("LoadBalancerArn")?;
    // Deleting a load balancer that does not exist succeeds.
    let Some(one) = state.load_balancers.get(arn) else {
        return Ok(Xml::new());
    };
    if one.attributes.get("deletion_protection.enabled").is_some_and(|value| value == "true") {
        let message = format!("Load balancer '{arn}' cannot be deleted because deletion protection is enabled");
        return Err(ApiError::new("OperationNotPermitted", message));
    }
    let listeners: Vec<String> = state.listeners_of(arn).map(|listener| listener.arn.clone()).collect();
    for listener in listeners {
        super::listeners::remove(state, site, &listener);
    }
    if let Some(one) = state.load_balancers.remove(arn) {
        site.ports.release(one.port);
    }
    state.tags.remove(arn);
    for interface in state.interfaces.values_mut().filter(|interface| interface.load_balancer == arn) {
        interface.orphaned = Some(Moment::now());
    }
    Ok(Xml::new())
}

pub fn set_security_groups(state: &mut State, site: &Site, params: &Params) -> Answer {
    let arn = params.required("LoadBalancerArn")?;
    state.load_balancer(arn)?;
    let vpc = vpc_of(state, site, state.load_balancer(arn)?);
    let groups = chosen_security_groups(state, site, params, &vpc)?;
    state.load_balancer_mut(arn)?.security_groups.clone_from(&groups);
    place_interfaces(state, site, arn);
    let mut xml = Xml::new();
    xml.names("SecurityGroupIds", groups);
    Ok(xml)
}

pub fn set_subnets(state: &mut State, site: &Site, params: &Params) -> Answer {
    let arn = params.required("LoadBalancerArn")?;
    let one = state.load_balancer(arn)?;
    let there = vpc_of(state, site, one);
    let (subnets, vpc) = chosen_subnets(state, site, params, &one.subnets)?;
    if vpc != there {
        let message = format!("The subnets must belong to the VPC of the load balancer, {there}");
        return Err(ApiError::new("InvalidConfigurationRequest", message));
    }
    state.load_balancer_mut(arn)?.subnets = subnets;
    place_interfaces(state, site, arn);
    let mut xml = Xml::new();
    write_zones(&mut xml, state, site, &state.load_balancers[arn]);
    xml.text("IpAddressType", &state.load_balancers[arn].ip_address_type);
    Ok(xml)
}

/// Whether clients reach a load balancer: one that faces the internet needs a subnet with a route to it.
pub fn is_reachable(state: &State, site: &Site, one: &LoadBalancer) -> bool {
    let is_public = |id: &String| ec2::subnet(state, site, id).is_some_and(|it| ec2::is_public(state, site, &it));
    one.scheme != "internet-facing" || one.subnets.iter().any(is_public)
}

/// Returns the id of the VPC that a load balancer is in.
pub fn vpc_of(state: &State, site: &Site, one: &LoadBalancer) -> String {
    one.subnets.first().map(|subnet| ec2::vpc_of(state, site, subnet)).unwrap_or_default()
}

fn shown<'a>(state: &State, site: &Site, found: impl IntoIterator<Item = &'a LoadBalancer>) -> Xml {
    let mut xml = Xml::new();
    xml.members("LoadBalancers", found, |xml, one| {
        xml.text("LoadBalancerArn", &one.arn).text("LoadBalancerName", &one.name).text("DNSName", one.dns_name());
        xml.text("CanonicalHostedZoneId", hosted_zone(&site.region)).text("CreatedTime", one.created);
        xml.text("Scheme", &one.scheme).text("VpcId", vpc_of(state, site, one)).text("Type", "application");
        xml.within("State", |xml| {
            xml.text("Code", if one.active { "active" } else { "provisioning" });
        });
        write_zones(xml, state, site, one);
        xml.names("SecurityGroups", &one.security_groups).text("IpAddressType", &one.ip_address_type);
    });
    xml
}

fn write_zones(xml: &mut Xml, state: &State, site: &Site, one: &LoadBalancer) {
    let subnets = ec2::subnets(state, site).into_iter().filter(|subnet| one.subnets.contains(&subnet.id));
    xml.members("AvailabilityZones", subnets, |xml, subnet| {
        xml.text("ZoneName", subnet.zone).text("SubnetId", subnet.id).within("LoadBalancerAddresses", |_| ());
    });
}
