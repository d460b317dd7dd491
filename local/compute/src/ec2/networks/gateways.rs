//! Internet gateways.

use super::vpcs::{MOST_VPCS, default_is_fixed};
use super::{done, violation};
use crate::Site;
use crate::ec2::network::{self, has_gateway, vpc};
use crate::ec2::tags;
use crate::state::{State, new_id};
use kit::query::{Answer, ApiError, Params, Xml};

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
