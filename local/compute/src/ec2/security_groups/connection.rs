//! Which connections security groups allow.

use crate::ec2::network::{self, Block};
use crate::state::{Peer, State, Traffic};

/// Returns whether a member of the `from` groups may connect to a member of the `to` groups on a TCP port: one of `from`
/// lets the connection out, and one of `to` lets it in. Both addresses are inside the VPC.
pub fn connects(state: &State, from: &[String], to: &[String], port: u16) -> bool {
    lets(state, from, true, port, to) && lets(state, to, false, port, from)
}

/// Returns whether one of these groups has a rule in this direction for a TCP port and a member of the `peers` groups.
fn lets(state: &State, groups: &[String], egress: bool, port: u16, peers: &[String]) -> bool {
    let known = groups.iter().filter_map(|id| state.security_groups.get(id));
    let rules = known.flat_map(|group| group.rules.iter().map(move |rule| (group, rule)));
    rules.filter(|(_, rule)| rule.egress == egress).any(|(group, rule)| {
        let Traffic { protocol, ports, peer } = &rule.traffic;
        let carried = matches!(protocol.as_str(), "tcp" | "-1");
        let open = ports.is_none_or(|(low, high)| (low..=high).contains(&i32::from(port)));
        let welcome = match peer {
            Peer::Group(id) => peers.contains(id),
            Peer::Cidr(cidr) => reaches_into_vpc(state, &group.vpc, cidr),
            Peer::Cidr6(_) => false,
        };
        carried && open && welcome
    })
}

/// Returns whether one of these groups admits every client outside of the VPC on a TCP port.
pub fn admits_everyone(state: &State, groups: &[String], port: u16) -> bool {
    let rules = groups.iter().filter_map(|id| state.security_groups.get(id)).flat_map(|group| &group.rules);
    rules.filter(|rule| !rule.egress).any(|rule| {
        let Traffic { protocol, ports, peer } = &rule.traffic;
        let open = ports.is_none_or(|(low, high)| (low..=high).contains(&i32::from(port)));
        matches!(protocol.as_str(), "tcp" | "-1") && open && *peer == Peer::Cidr("0.0.0.0/0".to_owned())
    })
}

/// Returns whether a range has addresses of a VPC, given by its id; empty for the default one.
fn reaches_into_vpc(state: &State, vpc: &str, cidr: &str) -> bool {
    let range = state.networks.vpcs.get(vpc).map_or(network::DEFAULT_RANGE, |vpc| vpc.cidr.as_str());
    let (Ok(vpc), Ok(range)) = (range.parse::<Block>(), cidr.parse::<Block>()) else { return false };
    vpc.overlaps(range)
}
