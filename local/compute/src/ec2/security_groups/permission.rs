//! The permissions of a call: protocols, ports and peers.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::{by_id, by_name, check_description};
use crate::Site;
use crate::state::{Peer, SecurityGroup, SecurityGroupRule, State, Traffic};
use kit::query::{ApiError, Params, Xml};

fn parse_cidr(cidr: &str) -> Option<(Ipv4Addr, u32)> {
    let (address, bits) = cidr.split_once('/')?;
    let bits: u32 = bits.parse().ok().filter(|bits| *bits <= 32)?;
    Some((address.parse().ok()?, bits))
}

pub(super) fn cidrs(group: &SecurityGroup) -> Vec<String> {
    let peer = |rule: &SecurityGroupRule| match &rule.traffic.peer {
        Peer::Cidr(cidr) if !rule.egress => Some(cidr.clone()),
        _ => None,
    };
    group.rules.iter().filter_map(peer).collect()
}

pub(super) fn write_permissions(xml: &mut Xml, name: &str, group: &SecurityGroup, egress: bool, account: &str) {
    let mut permissions: BTreeMap<_, Vec<&SecurityGroupRule>> = BTreeMap::new();
    for rule in group.rules.iter().filter(|rule| rule.egress == egress) {
        permissions.entry((rule.traffic.protocol.as_str(), rule.traffic.ports)).or_default().push(rule);
    }
    xml.set(name, permissions, |xml, ((protocol, ports), rules)| {
        xml.text("ipProtocol", protocol);
        if let Some((from, to)) = ports {
            xml.text("fromPort", from).text("toPort", to);
        }
        let each = |kind: fn(&Peer) -> Option<&str>| {
            rules.iter().filter_map(move |rule| Some((kind(&rule.traffic.peer)?, &rule.description)))
        };
        xml.set("groups", each(|peer| if let Peer::Group(id) = peer { Some(id) } else { None }), |xml, (id, about)| {
            xml.text("userId", account).text("groupId", id).maybe("description", about.as_ref());
        });
        xml.set(
            "ipRanges",
            each(|peer| if let Peer::Cidr(cidr) = peer { Some(cidr) } else { None }),
            |xml, (cidr, about)| {
                xml.text("cidrIp", cidr).maybe("description", about.as_ref());
            },
        );
        xml.set(
            "ipv6Ranges",
            each(|peer| if let Peer::Cidr6(cidr) = peer { Some(cidr) } else { None }),
            |xml, (cidr, about)| {
                xml.text("cidrIpv6", cidr).maybe("description", about.as_ref());
            },
        );
        xml.within("prefixListIds", |_| ());
    });
}

/// Returns the rules that a call describes, each with its description.
pub(super) fn traffic(state: &State, site: &Site, params: &Params) -> Result<Vec<(Traffic, Option<String>)>, ApiError> {
    let mut rules = Vec::new();
    for permission in params.items("IpPermissions") {
        let about = |item: &Params| item.text("Description").map(str::to_owned);
        for (list, besides) in [("IpRanges", "&"), ("Ipv6Ranges", "&"), ("Groups", "")] {
            let mut described = permission.items(list).into_iter().filter_map(|item| item.text("Description"));
            described.try_for_each(|text| check_description(text, besides))?;
        }
        for range in permission.items("IpRanges") {
            rules.push((one(permission, Peer::Cidr(canonical(range.required("CidrIp")?)?))?, about(range)));
        }
        for range in permission.items("Ipv6Ranges") {
            rules.push((one(permission, Peer::Cidr6(range.required("CidrIpv6")?.to_lowercase()))?, about(range)));
        }
        for pair in permission.items("Groups") {
            if let Some(other) = pair.text("UserId").filter(|account| *account != site.account) {
                let text = format!("You have specified two resources that belong to different accounts: {other}");
                return Err(ApiError::new("InvalidGroup.NotFound", text));
            }
            let id = match (pair.text("GroupId"), pair.text("GroupName")) {
                (Some(id), _) => by_id(state, id)?.id.clone(),
                (None, Some(name)) => by_name(state, site, name)?.id.clone(),
                (None, None) => {
                    return Err(ApiError::new(
                        "MissingParameter",
                        "Missing source specification: include source security group or CIDR information",
                    ));
                }
            };
            rules.push((one(permission, Peer::Group(id))?, about(pair)));
        }
    }
    if let Some(cidr) = params.text("CidrIp") {
        rules.push((one(params, Peer::Cidr(canonical(cidr)?))?, None));
    }
    if let Some(name) = params.text("SourceSecurityGroupName") {
        rules.push((one(params, Peer::Group(by_name(state, site, name)?.id.clone()))?, None));
    }
    Ok(rules)
}

fn one(params: &Params, peer: Peer) -> Result<Traffic, ApiError> {
    let protocol = match params.required("IpProtocol")? {
        "6" => "tcp".to_owned(),
        "17" => "udp".to_owned(),
        "1" => "icmp".to_owned(),
        "all" => "-1".to_owned(),
        other => other.to_lowercase(),
    };
    if protocol == "-1" {
        return Ok(Traffic { protocol, ports: None, peer });
    }
    let (from, to) = (params.parsed::<i32>("FromPort")?, params.parsed::<i32>("ToPort")?);
    match (from, to) {
        (Some(from), Some(to)) if protocol == "icmp" || (0 <= from && from <= to && to <= 65535) => {
            Ok(Traffic { protocol, ports: Some((from, to)), peer })
        }
        (Some(from), Some(to)) => {
            Err(ApiError::new("InvalidParameterValue", format!("Invalid port range: from {from} to {to}")))
        }
        _ => Err(ApiError::new(
            "InvalidParameterValue",
            "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.",
        )),
    }
}

/// Clears the bits of a range outside its mask, as AWS does when it stores one.
fn canonical(cidr: &str) -> Result<String, ApiError> {
    let (address, bits) = parse_cidr(cidr)
        .ok_or_else(|| ApiError::new("InvalidParameterValue", format!("CIDR block {cidr} is malformed")))?;
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    Ok(format!("{}/{bits}", Ipv4Addr::from(u32::from(address) & mask)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_lose_the_bits_outside_of_their_mask() {
        assert_eq!(canonical("10.1.2.3/8").unwrap(), "10.0.0.0/8");
        assert_eq!(canonical("1.2.3.4/0").unwrap(), "0.0.0.0/0");
        assert_eq!(canonical("1.2.3.4/33").unwrap_err().code, "InvalidParameterValue");
    }
}
