//! Elastic IP addresses (docs/aws.md §8.7).

use super::interfaces::of_instance;
use super::network::{has_gateway, vpc_of};
use super::networks::needs_on;
use super::{security_groups, tags};
use crate::Site;
use crate::state::{Address, Association, Instance, InstanceState, State, new_id};
use kit::call::{Asked, Need};
use kit::query::{Answer, ApiError, Filters, Params, Xml, fact};

/// Returns the permissions to give an address to an instance: on both, and on the network interface of the instance.
pub fn needs_to_associate(asked: &Asked) -> Vec<Need> {
    let mut needs = needs_on(asked, &[("elastic-ip", "AllocationId"), ("instance", "InstanceId")]);
    let interface = asked.call.input.text("InstanceId").map_or_else(|| "*".to_owned(), of_instance);
    needs.push(asked.own(asked.arn(&format!("network-interface/{interface}"))));
    needs
}

/// Returns the permissions to end an association: on its address, and on the network interface.
pub fn needs_on_association(asked: &Asked) -> Vec<Need> {
    let parts = [("elastic-ip-association", "elastic-ip/*"), ("elastic-ip-interface", "network-interface/*")];
    let need = |(kind, any): (&str, &str)| {
        let part = (asked.entity_arn)(kind, asked.text("AssociationId"));
        asked.own(part.unwrap_or_else(|| asked.arn(any)))
    };
    parts.map(need).into()
}

fn unknown(allocation: &str) -> ApiError {
    ApiError::new("InvalidAllocationID.NotFound", format!("The allocation ID '{allocation}' does not exist"))
}

fn done() -> Xml {
    let mut xml = Xml::new();
    xml.text("return", true);
    xml
}

pub fn allocate(state: &mut State, site: &Site, params: &Params) -> Answer {
    if state.addresses.len() >= kit::quotas::ADDRESSES {
        return Err(ApiError::new("AddressLimitExceeded", "The maximum number of addresses has been reached."));
    }
    let tags = tags::specified(params, "elastic-ip")?;
    // A dry run changes a copy of the state; a port would stay reserved.
    let port = match params.flag_of_ec2("DryRun")? {
        true => 0,
        false => site.ports.reserve(None).ok_or_else(|| {
            ApiError::new("InsufficientAddressCapacity", "no port is free on this machine for another address")
        })?,
    };
    let address = Address { allocation: new_id("eipalloc"), port, association: None };
    state.tag(&address.allocation, tags);
    let mut xml = Xml::new();
    xml.text("publicIp", address.public_ip()).text("allocationId", &address.allocation).text("domain", "vpc");
    xml.text("publicIpv4Pool", "amazon").text("networkBorderGroup", &site.region);
    state.addresses.insert(address.allocation.clone(), address);
    Ok(xml)
}

/// Gives an address to an instance, in place of another address that it has. Unless the call forbids that, an address is
/// taken from the instance that has it.
pub fn associate(state: &mut State, site: &Site, params: &Params) -> Answer {
    let (allocation, instance) = (params.required("AllocationId")?, params.required("InstanceId")?);
    let address = state.addresses.get(allocation).ok_or_else(|| unknown(allocation))?;
    let missing =
        || ApiError::new("InvalidInstanceID.NotFound", format!("The instance ID '{instance}' does not exist"));
    let one = state.instances.get(instance).ok_or_else(missing)?;
    if one.state != InstanceState::Running {
        let (_, name) = one.state.code();
        let text = format!("The {name} instance '{instance}' is not in a valid state for this operation.");
        return Err(ApiError::new("InvalidInstanceID", text));
    }
    let vpc = vpc_of(state, site, &one.subnet);
    if !has_gateway(state, site, &vpc) {
        let text = format!("Network {vpc} is not attached to any internet gateway");
        return Err(ApiError::new("Gateway.NotAttached", text));
    }
    let may_move = !params.has("AllowReassociation") || params.flag_of_ec2("AllowReassociation")?;
    if let Some(there) = address.association.as_ref().filter(|there| there.instance != instance && !may_move) {
        let text = format!("resource {allocation} is already associated with associate-id {}", there.id);
        return Err(ApiError::new("Resource.AlreadyAssociated", text));
    }
    let id = match &address.association {
        Some(there) if there.instance == instance => there.id.clone(),
        _ => new_id("eipassoc"),
    };
    let (allocation, instance) = (allocation.to_owned(), instance.to_owned());
    leave(state, &instance);
    if let Some(address) = state.addresses.get_mut(&allocation) {
        address.association = Some(Association { id: id.clone(), instance });
    }
    let mut xml = done();
    xml.text("associationId", id);
    Ok(xml)
}

/// Takes the address from an instance, if it has one.
pub fn leave(state: &mut State, instance: &str) {
    for address in state.addresses.values_mut().filter(|address| address.is_of(instance)) {
        address.association = None;
    }
}

/// Returns the address with an association.
pub fn of_association<'a>(state: &'a State, association: &str) -> Option<&'a Address> {
    let has_it = |address: &&Address| address.association.as_ref().is_some_and(|there| there.id == association);
    state.addresses.values().find(has_it)
}

pub fn disassociate(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let association = params.required("AssociationId")?;
    let Some(allocation) = of_association(state, association).map(|address| address.allocation.clone()) else {
        let text = format!("The association ID '{association}' does not exist");
        return Err(ApiError::new("InvalidAssociationID.NotFound", text));
    };
    if let Some(address) = state.addresses.get_mut(&allocation) {
        address.association = None;
    }
    Ok(done())
}

pub fn release(state: &mut State, site: &Site, params: &Params) -> Answer {
    let allocation = params.required("AllocationId")?;
    let address = state.addresses.get(allocation).ok_or_else(|| unknown(allocation))?;
    if address.association.is_some() {
        let text = format!("Address {} is in use.", address.public_ip());
        return Err(ApiError::new("InvalidIPAddress.InUse", text));
    }
    if !params.flag_of_ec2("DryRun")? {
        site.ports.release(address.port);
    }
    state.addresses.remove(allocation);
    state.tags.remove(allocation);
    Ok(done())
}

pub fn describe(state: &State, site: &Site, params: &Params) -> Answer {
    let (allocations, ips) = (params.texts("AllocationId"), params.texts("PublicIp"));
    if let Some(missing) = allocations.iter().find(|id| !state.addresses.contains_key(*id)) {
        return Err(unknown(missing));
    }
    if let Some(missing) = ips.iter().find(|ip| !state.addresses.values().any(|one| one.public_ip() == **ip)) {
        return Err(ApiError::new("InvalidAddress.NotFound", format!("Address '{missing}' not found.")));
    }
    let filters = Filters::of(params);
    let mut found = Vec::new();
    for one in state.addresses.values() {
        let instance = one.association.as_ref().map(|there| there.instance.clone());
        let passes = filters.pass(state.tags_of(&one.allocation), |name| match name {
            "allocation-id" => fact(&one.allocation),
            "association-id" => Some(one.association.iter().map(|there| there.id.clone()).collect()),
            "domain" => fact("vpc"),
            "instance-id" => Some(instance.clone().into_iter().collect()),
            "network-interface-id" => Some(instance.iter().map(|id| of_instance(id)).collect()),
            "public-ip" => fact(one.public_ip()),
            _ => None,
        })?;
        let is_named = allocations.is_empty() && ips.is_empty()
            || allocations.contains(&one.allocation)
            || ips.contains(&one.public_ip());
        if passes && is_named {
            found.push(one);
        }
    }
    let mut xml = Xml::new();
    xml.set("addressesSet", found, |xml, one| {
        xml.text("publicIp", one.public_ip()).text("allocationId", &one.allocation).text("domain", "vpc");
        xml.text("publicIpv4Pool", "amazon").text("networkBorderGroup", &site.region);
        if let Some(Association { id, instance }) = &one.association {
            xml.text("associationId", id)
                .text("instanceId", instance)
                .text("networkInterfaceId", of_instance(instance));
            xml.text("networkInterfaceOwnerId", &site.account);
            xml.maybe("privateIpAddress", state.instances.get(instance).map(|one| &one.address));
        }
        xml.tag_set(state.tags_of(&one.allocation));
    });
    Ok(xml)
}

/// Returns the public address of an instance: its elastic one, or else the one from its launch.
pub fn public_ip(state: &State, one: &Instance) -> Option<String> {
    let elastic = state.addresses.values().find(|address| address.is_of(&one.id)).map(Address::public_ip);
    let own = || (one.is_alive() && one.settings.has_public_address).then(|| "127.0.0.1".to_owned());
    elastic.or_else(own)
}

/// Returns the local port of the instance that has an address, if clients outside its VPC may connect to it.
pub fn leads_to(state: &State, site: &Site, allocation: &str) -> Option<u16> {
    let association = state.addresses.get(allocation)?.association.as_ref()?;
    let one = state.instances.get(&association.instance).filter(|one| one.state == InstanceState::Running)?;
    let is_public = super::subnet(state, site, &one.subnet).is_some_and(|it| super::is_public(state, site, &it));
    let is_open = security_groups::admits_everyone(state, &one.security_groups, one.declared_port?);
    one.port.filter(|_| is_public && is_open)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::network::{stable_id, zones};
    use crate::fixture::site;
    use kit::speed::Speed;

    fn call(
        run: fn(&mut State, &Site, &Params) -> Answer,
        state: &mut State,
        site: &Site,
        fields: &[(&str, &str)],
    ) -> Result<(), String> {
        let form = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        run(state, site, &Params::parse(&form)).map(drop).map_err(|fault| fault.code.into())
    }

    fn running(state: &mut State, site: &Site, id: &str) {
        let subnet = stable_id("subnet", &zones(site)[0]);
        let one = Instance { id: id.into(), subnet, state: InstanceState::Running, ..Instance::default() };
        state.instances.insert(id.into(), one);
    }

    #[test]
    fn a_region_has_five_addresses() {
        let (mut state, site) = (State::default(), site(Speed::REAL, Default::default()));
        for _ in 0..kit::quotas::ADDRESSES {
            assert_eq!(call(allocate, &mut state, &site, &[]), Ok(()));
        }
        assert_eq!(call(allocate, &mut state, &site, &[]), Err("AddressLimitExceeded".into()));
        let first = state.addresses.keys().next().unwrap().clone();
        assert_eq!(call(release, &mut state, &site, &[("AllocationId", &first)]), Ok(()));
        assert_eq!(call(allocate, &mut state, &site, &[]), Ok(()));
        site.ports.release_all();
    }

    #[test]
    fn an_address_moves_to_another_instance_unless_the_call_forbids_it() {
        let (mut state, site) = (State::default(), site(Speed::REAL, Default::default()));
        call(allocate, &mut state, &site, &[]).unwrap();
        let allocation = state.addresses.keys().next().unwrap().clone();
        running(&mut state, &site, "i-1");
        running(&mut state, &site, "i-2");
        let mut associate = |instance: &str, may_move: &str| {
            let fields = [("AllocationId", &*allocation), ("InstanceId", instance), ("AllowReassociation", may_move)];
            let answer = call(associate, &mut state, &site, &fields);
            let there = state.addresses[&allocation].association.clone().map(|there| there.instance);
            (answer, there.unwrap_or_default())
        };
        assert_eq!(associate("i-3", "true"), (Err("InvalidInstanceID.NotFound".into()), String::new()));
        assert_eq!(associate("i-1", "false"), (Ok(()), "i-1".into()));
        assert_eq!(associate("i-1", "false"), (Ok(()), "i-1".into()));
        assert_eq!(associate("i-2", "false"), (Err("Resource.AlreadyAssociated".into()), "i-1".into()));
        assert_eq!(associate("i-2", "true"), (Ok(()), "i-2".into()));
        site.ports.release_all();
    }

    #[test]
    fn an_address_in_use_is_not_released() {
        let (mut state, site) = (State::default(), site(Speed::REAL, Default::default()));
        call(allocate, &mut state, &site, &[]).unwrap();
        let allocation = state.addresses.keys().next().unwrap().clone();
        running(&mut state, &site, "i-1");
        let fields = [("AllocationId", &*allocation), ("InstanceId", "i-1")];
        call(associate, &mut state, &site, &fields).unwrap();
        let free = [("AllocationId", &*allocation)];
        assert_eq!(call(release, &mut state, &site, &free), Err("InvalidIPAddress.InUse".into()));
        let association = state.addresses[&allocation].association.clone().unwrap().id;
        let fields = [("AssociationId", &*association)];
        assert_eq!(call(disassociate, &mut state, &site, &fields), Ok(()));
        assert_eq!(call(disassociate, &mut state, &site, &fields), Err("InvalidAssociationID.NotFound".into()));
        assert_eq!(call(release, &mut state, &site, &free), Ok(()));
        assert_eq!(call(release, &mut state, &site, &free), Err("InvalidAllocationID.NotFound".into()));
    }
}
