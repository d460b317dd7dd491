//! Subnets.

use super::vpcs::default_is_fixed;
use super::{BITS, done, value, violation};
use crate::Site;
use crate::clock::Moment;
use crate::ec2::network::{self, Block, subnets, vpc, zones};
use crate::ec2::tags;
use crate::state::{State, Subnet, new_id};
use kit::query::{Answer, ApiError, Params, Xml};

const MOST_SUBNETS: usize = 200;

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

pub(super) fn known_subnet(state: &State, site: &Site, id: &str) -> Result<Subnet, ApiError> {
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
