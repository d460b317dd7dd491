//! A network that the stack makes: what exists of it, and the zones of the rest.

use std::collections::{BTreeMap, BTreeSet};

use super::{FEWEST_ZONES, Network, Subnet, free, offered, too_few_zones};
use crate::{
    cloud::aws::{Aws, items},
    config::{Block, OWN_ZONES},
    engine::{Fault, STACK_TAG},
    kinds::{
        tags::{self, ec2_filter},
        vpc::Vpc,
    },
};

/// A network that the stack makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Its addresses.
    pub block: Block,
    /// The id of its VPC, if it exists.
    pub vpc: Option<String>,
    /// The blocks of its subnets, by zone.
    pub subnets: BTreeMap<String, Block>,
    /// The zones that offer the instance types, in order.
    zones: Vec<String>,
    /// The instance types.
    types: BTreeSet<String>,
    /// The blocks of the other subnets in its VPC, by id.
    others: BTreeMap<String, Block>,
}

/// A subnet that exists in the VPC.
#[derive(Debug, Clone)]
struct Existing {
    subnet: Subnet,
    block: Block,
    is_ours: bool,
}

impl Own {
    /// Checks that a load balancer finds subnets in enough zones.
    ///
    /// Errors: too few zones offer the instance types, or other subnets have the addresses.
    pub(super) fn check(&self, region: &str) -> Result<(), Fault> {
        if self.subnets.len() >= FEWEST_ZONES {
            return Ok(());
        }
        if self.zones.len() < FEWEST_ZONES {
            return Err(too_few_zones(self.zones.len(), &self.types, region));
        }
        let others: Vec<String> = self.others.iter().map(|(id, block)| format!("{id} ({block})")).collect();
        let (block, others) = (self.block, others.join(", "));
        let what = format!("{block} has no free quarter for another subnet of the stack; in the way: {others}");
        Err(Fault::new("DescribeSubnets", "FullBlock", what))
    }
}

/// Finds what exists of the network of a stack, and chooses zones that offer these instance types.
pub(super) async fn find(aws: &Aws, types: &BTreeSet<String>, stack: &str, block: Block) -> Result<Network, Fault> {
    let (offered, existing) = futures::try_join!(offered(aws, types), existing(aws, stack))?;
    let zones = offered.into_iter().filter(|(zone, there)| is_of(zone, &aws.region) && there.is_superset(types));
    let zones = zones.map(|(zone, _)| zone).collect();
    let (subnets, others) = Default::default();
    let own = Own { block, vpc: None, subnets, zones, types: types.clone(), others };
    Ok(completed(own, existing))
}

/// The same network, as it is now: another run may have made it in the meantime.
pub(super) async fn again(aws: &Aws, stack: &str, own: &Own) -> Result<Network, Fault> {
    Ok(completed(own.clone(), existing(aws, stack).await?))
}

/// A network of which nothing has been read. The zones are the usual ones.
pub(super) fn unknown(region: &str, block: Block) -> Network {
    let zones = ["a", "b"].map(|letter| format!("{region}{letter}"));
    let own = Own {
        block,
        vpc: None,
        subnets: zones.iter().cloned().zip(block.quarters()).collect(),
        zones: zones.to_vec(),
        types: BTreeSet::new(),
        others: BTreeMap::new(),
    };
    let subnets = zones.into_iter().map(|zone| Subnet { id: String::new(), zone, free: None });
    Network { subnets: subnets.collect(), own: Some(own), ..Network::unknown() }
}

/// Whether it is an Availability Zone of the region, rather than a Local Zone, such as `us-west-2-lax-1a`.
fn is_of(zone: &str, region: &str) -> bool {
    let letter = zone.strip_prefix(region).unwrap_or_default();
    letter.len() == 1 && letter.bytes().all(|letter| letter.is_ascii_lowercase())
}

/// The VPC of a stack, and all subnets in it.
async fn existing(aws: &Aws, stack: &str) -> Result<(Option<String>, Vec<Existing>), Fault> {
    let Some(vpc) = Vpc::of(stack).id(aws).await? else { return Ok((None, Vec::new())) };
    let in_vpc = aws.ec2.describe_subnets().filters(ec2_filter("vpc-id", [vpc.as_str()]));
    let found = items(in_vpc.into_paginator().send()).await?.into_iter().filter_map(|subnet| {
        let is_ours = tags::from_ec2(subnet.tags()).get(STACK_TAG).is_some_and(|owner| owner == stack);
        let (free, block) = (free(&subnet), subnet.cidr_block()?.parse().ok()?);
        let subnet = Subnet { id: subnet.subnet_id?, zone: subnet.availability_zone?, free };
        Some(Existing { subnet, block, is_ours })
    });
    Ok((Some(vpc), found.collect()))
}

/// Adds what exists, and chooses zones and blocks for what is missing.
fn completed(own: Own, (vpc, existing): (Option<String>, Vec<Existing>)) -> Network {
    let subnets = chosen(own.block, &existing, &own.zones);
    let is_this = |one: &&Existing, zone: &str| one.is_ours && one.subnet.zone == zone;
    let known = subnets.keys().map(|zone| match existing.iter().find(|one| is_this(one, zone)) {
        Some(one) => one.subnet.clone(),
        None => Subnet { id: String::new(), zone: zone.clone(), free: None },
    });
    let (known, id) = (known.collect::<Vec<_>>(), vpc.clone().unwrap_or_default());
    let others = existing.iter().filter(|one| known.iter().all(|subnet| subnet.id != one.subnet.id));
    let others = others.map(|one| (one.subnet.id.clone(), one.block)).collect();
    Network { vpc: id, subnets: known, own: Some(Own { vpc, subnets, others, ..own }), ..Network::unknown() }
}

/// The zones of the subnets with their blocks: those that exist come first, so that they stay, then the first zones that
/// have none yet, each with a quarter of the network that nothing else is in.
fn chosen(block: Block, existing: &[Existing], zones: &[String]) -> BTreeMap<String, Block> {
    let mut subnets = BTreeMap::new();
    let suits = |one: &&Existing| one.is_ours && zones.contains(&one.subnet.zone);
    let mut kept: Vec<&Existing> = existing.iter().filter(suits).collect();
    kept.sort_by_key(|one| (&one.subnet.zone, &one.subnet.id));
    for one in kept {
        if subnets.len() < OWN_ZONES {
            subnets.entry(one.subnet.zone.clone()).or_insert(one.block);
        }
    }
    let mut quarters =
        block.quarters().into_iter().filter(|quarter| !existing.iter().any(|it| it.block.overlaps(*quarter)));
    for zone in zones {
        if subnets.len() < OWN_ZONES && !subnets.contains_key(zone) {
            subnets.extend(quarters.next().map(|quarter| (zone.clone(), quarter)));
        }
    }
    subnets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn existing(zone: &str, block: &str, is_ours: bool) -> Existing {
        let subnet = Subnet { id: format!("subnet-{zone}"), zone: zone.into(), free: None };
        Existing { subnet, block: block.parse().expect("a block"), is_ours }
    }

    fn zones(existing: &[Existing], zones: &str) -> Vec<String> {
        let zones: Vec<String> = zones.split_whitespace().map(str::to_owned).collect();
        chosen(Block::default(), existing, &zones).into_iter().map(|(zone, block)| format!("{zone} {block}")).collect()
    }

    #[test]
    fn the_first_two_zones_get_the_first_two_quarters() {
        assert_eq!(zones(&[], "a b c"), ["a 10.0.0.0/18", "b 10.0.64.0/18"]);
        assert_eq!(zones(&[], "a"), ["a 10.0.0.0/18"]);
    }

    #[test]
    fn subnets_that_exist_keep_their_zones_and_blocks() {
        let ours = [existing("c", "10.0.0.0/18", true), existing("b", "10.0.64.0/18", true)];
        assert_eq!(zones(&ours, "a b c"), ["b 10.0.64.0/18", "c 10.0.0.0/18"]);
        assert_eq!(zones(&ours[..1], "a b c"), ["a 10.0.64.0/18", "c 10.0.0.0/18"]);
    }

    #[test]
    fn a_zone_that_no_longer_offers_the_types_is_left_and_addresses_in_use_are_spared() {
        let ours = [existing("a", "10.0.0.0/18", true), existing("b", "10.0.64.0/18", true)];
        assert_eq!(zones(&ours, "b c"), ["b 10.0.64.0/18", "c 10.0.128.0/18"]);
        let others = [existing("a", "10.0.1.0/24", false)];
        assert_eq!(zones(&others, "a b"), ["a 10.0.64.0/18", "b 10.0.128.0/18"]);
    }

    #[test]
    fn a_full_block_is_no_lack_of_zones_and_its_subnets_are_named() {
        let checked = |zones: &[&str], existing: Vec<Existing>| {
            let Some(Own { block, .. }) = unknown("us-east-1", Block::default()).own else { panic!("it is ours") };
            let (subnets, others) = Default::default();
            let (zones, types) = (zones.iter().map(|&zone| zone.to_owned()).collect(), ["t3.micro".to_owned()].into());
            let own = Own { block, vpc: None, subnets, zones, types, others };
            let network = completed(own, (Some("vpc-1".into()), existing));
            network.check_zones("us-east-1").map_err(|fault| (fault.code, fault.message))
        };
        let full = || {
            vec![
                existing("a", "10.0.0.0/18", true),
                existing("x", "10.0.64.0/18", false),
                existing("y", "10.0.128.0/17", false),
            ]
        };
        let (code, message) = checked(&["a", "b"], full()).unwrap_err();
        assert_eq!(code, "FullBlock");
        assert!(message.contains("10.0.0.0/16 has no free quarter"), "{message}");
        assert!(message.ends_with("in the way: subnet-x (10.0.64.0/18), subnet-y (10.0.128.0/17)"), "{message}");
        let (code, message) = checked(&["a"], full()).unwrap_err();
        assert_eq!(code, "TooFewZones");
        assert!(message.contains("and 1 in us-east-1"), "{message}");
        assert_eq!(checked(&["a", "b"], full().into_iter().take(2).collect()), Ok(()));
    }

    #[test]
    fn local_zones_are_not_used() {
        assert!(is_of("us-west-2a", "us-west-2"));
        assert!(!is_of("us-west-2-lax-1a", "us-west-2") && !is_of("us-west-2", "us-west-2"));
    }
}
