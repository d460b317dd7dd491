//! VPCs.

use super::{BITS, NO_HOSTS, done, value};
use crate::Site;
use crate::clock::Moment;
use crate::ec2::network::{self, Block, has_gateway, vpc, vpcs};
use crate::ec2::{security_groups, tags};
use crate::state::{RouteTable, State, Vpc, new_id};
use kit::query::{Answer, ApiError, Params, Xml};

/// The default quotas of a region (Amazon VPC user guide, "Amazon VPC quotas").
pub(super) const MOST_VPCS: usize = kit::quotas::VPCS;

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
pub(super) fn default_is_fixed() -> ApiError {
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
