//! Network interfaces: those of instances, and those of load balancers, which outlive them for a while (docs/aws.md
//! §9.6).

use super::network::{subnets, vpc_of};
use crate::Site;
use crate::state::{Instance, Interface, State};
use kit::query::{Answer, ApiError, Filters, Params, Xml, fact};

/// The fields that both kinds of interfaces have in common.
struct Shown<'a> {
    id: String,
    description: &'a str,
    subnet: &'a str,
    address: &'a str,
    groups: &'a [String],
    instance: Option<&'a str>,
    status: &'static str,
}

impl<'a> Shown<'a> {
    fn balancer(one: &'a Interface) -> Shown<'a> {
        Shown {
            id: one.id.clone(),
            description: &one.description,
            subnet: &one.subnet,
            address: &one.address,
            groups: &one.security_groups,
            instance: None,
            status: "in-use",
        }
    }

    fn instance(one: &'a Instance) -> Shown<'a> {
        Shown {
            id: of_instance(&one.id),
            description: &one.settings.interface,
            subnet: &one.subnet,
            address: &one.address,
            groups: &one.security_groups,
            instance: Some(&one.id),
            status: "in-use",
        }
    }

    fn owner<'b>(&self, site: &'b Site) -> &'b str {
        if self.instance.is_some() { &site.account } else { "amazon-elb" }
    }
}

pub fn describe(state: &State, site: &Site, params: &Params) -> Answer {
    let wanted = params.texts("NetworkInterfaceId");
    let live = state.instances.values().filter(|one| one.ended.is_none());
    let all: Vec<Shown> = state.interfaces.values().map(Shown::balancer).chain(live.map(Shown::instance)).collect();
    if let Some(id) = wanted.iter().find(|id| !all.iter().any(|one| one.id == **id)) {
        let message = format!("The networkInterface ID '{id}' does not exist");
        return Err(ApiError::new("InvalidNetworkInterfaceID.NotFound", message));
    }
    let zones = subnets(state, site);
    let filters = Filters::of(params);
    let mut found = Vec::new();
    for one in all {
        let passes = filters.pass(state.tags_of(&one.id), |name| match name {
            "availability-zone" => {
                Some(zones.iter().filter(|zone| zone.id == one.subnet).map(|zone| zone.zone.clone()).collect())
            }
            "owner-id" => fact(&site.account),
            "group-id" => Some(one.groups.to_vec()),
            "description" => fact(one.description),
            "attachment.instance-owner-id" => fact(one.owner(site)),
            "attachment.instance-id" => Some(one.instance.map(str::to_owned).into_iter().collect()),
            "network-interface-id" => fact(&one.id),
            "vpc-id" => fact(vpc_of(state, site, one.subnet)),
            "subnet-id" => fact(one.subnet),
            "status" => fact(one.status),
            "requester-id" => fact(one.owner(site)),
            "requester-managed" => fact(one.instance.is_none()),
            "private-ip-address" | "addresses.private-ip-address" => fact(one.address),
            "interface-type" => fact("interface"),
            _ => None,
        })?;
        if passes && (wanted.is_empty() || wanted.contains(&one.id)) {
            found.push(one);
        }
    }
    let mut xml = Xml::new();
    xml.set("networkInterfaceSet", found, |xml, one| {
        xml.text("networkInterfaceId", &one.id)
            .text("subnetId", one.subnet)
            .text("vpcId", vpc_of(state, site, one.subnet));
        xml.maybe("availabilityZone", zones.iter().find(|subnet| subnet.id == one.subnet).map(|subnet| &subnet.zone));
        xml.text("description", one.description).text("ownerId", &site.account);
        xml.text("requesterId", one.owner(site)).text("requesterManaged", one.instance.is_none());
        xml.text("status", one.status).text("privateIpAddress", one.address).text("interfaceType", "interface");
        xml.text("macAddress", mac(one.address))
            .text("sourceDestCheck", true)
            .text("privateDnsName", host(one.address));
        write_groups(xml, state, one.groups);
        xml.within("attachment", |xml| {
            xml.text("attachmentId", one.id.replacen("eni-", "eni-attach-", 1)).maybe("instanceId", one.instance);
            xml.text("instanceOwnerId", one.owner(site)).text("deviceIndex", 0).text("status", "attached");
            xml.text("deleteOnTermination", one.instance.is_some());
        });
        xml.set("privateIpAddressesSet", [()], |xml, ()| {
            xml.text("primary", true).text("privateIpAddress", one.address).text("privateDnsName", host(one.address));
        });
        xml.set("ipv6AddressesSet", None::<()>, |_, ()| ()).tag_set(state.tags_of(&one.id));
    });
    Ok(xml)
}

/// Returns the host name of an address inside the VPC.
pub fn host(address: &str) -> String {
    format!("ip-{}.ec2.internal", address.replace('.', "-"))
}

/// Returns the MAC address that belongs to an address of the VPC.
pub fn mac(address: &str) -> String {
    let parts = address.split('.').map(|part| format!("{:02x}", part.parse::<u8>().unwrap_or_default()));
    parts.fold("02:ff".to_owned(), |mac, part| mac + ":" + &part)
}

/// Returns the id of an instance's only interface.
pub fn of_instance(id: &str) -> String {
    id.replacen("i-", "eni-", 1)
}

/// Writes security groups with their names.
pub fn write_groups(xml: &mut Xml, state: &State, groups: &[String]) {
    xml.set("groupSet", groups, |xml, id| {
        let name = state.security_groups.get(id).map(|group| &group.name);
        xml.text("groupId", id).maybe("groupName", name);
    });
}
