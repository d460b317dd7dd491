//! The surroundings of the stack: the account, and the network, which is the region's default one, one that stack.yaml
//! names, or one that the stack makes.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{Filter, LocationType, Subnet as Described};

use crate::{
    cloud::{
        aws::{Aws, items},
        domains::Domain,
        partition,
    },
    config::{ChosenNetwork, ExistingNetwork},
    engine::Fault,
};

mod existing;
mod own;

pub use own::Own;

/// The region and the caller's identity.
#[derive(Debug, Clone)]
pub struct Site {
    /// The account's number.
    pub account: String,
    /// The caller's ARN.
    pub caller_arn: String,
    /// The region.
    pub region: String,
    /// Whether another endpoint is used in place of AWS, such as our local AWS.
    pub is_emulated: bool,
}

/// The part of a network that we use, and the domains of the services.
#[derive(Debug, Clone)]
pub struct Network {
    /// The domains of the services that have one, by service.
    pub domains: BTreeMap<String, Domain>,
    /// The VPC; empty if it does not exist yet, or is unknown.
    pub vpc: String,
    /// Two or three of its subnets, by zone.
    pub subnets: Vec<Subnet>,
    /// Its plan, if the stack makes it.
    pub own: Option<Own>,
}

/// One subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// `subnet-…`; empty if it does not exist yet.
    pub id: String,
    /// The zone it is in.
    pub zone: String,
    /// The number of its free addresses; `None` if it was not read.
    pub free: Option<u32>,
}

/// A load balancer needs two zones (docs/aws.md §8.1).
const FEWEST_ZONES: usize = 2;
/// Each zone costs a public address, and with three the service survives the loss of one (docs/aws.md §16).
const MOST_ZONES: usize = 3;
/// The free addresses that a new load balancer needs in each subnet (docs/aws.md §8.1).
const FREE_ADDRESSES: u32 = 8;

/// The role of students in the Learner Labs of AWS Academy, as callers' ARNs have it (docs/aws.md §3.4).
const STUDENTS: &str = ":assumed-role/voclabs/";

impl Site {
    /// The partition of the region, as ARNs begin with it.
    pub fn partition(&self) -> &'static str {
        partition::of(&self.region)
    }

    /// Whether the account is a Learner Lab of AWS Academy.
    pub fn is_lab(&self) -> bool {
        self.caller_arn.contains(STUDENTS)
    }

    /// A site for laying out a stack without asking AWS.
    pub fn unknown(account: Option<&str>, region: &str) -> Site {
        Site {
            account: account.unwrap_or("000000000000").into(),
            caller_arn: String::new(),
            region: region.into(),
            is_emulated: false,
        }
    }

    /// The one call that succeeds with any valid credentials, and so the first (docs/aws.md §3.1).
    pub async fn identity(aws: &Aws) -> Result<Site, Fault> {
        let identity = aws.sts.get_caller_identity().send().await?;
        Ok(Site {
            account: identity.account().unwrap_or_default().into(),
            caller_arn: identity.arn().unwrap_or_default().into(),
            region: aws.region.clone(),
            is_emulated: aws.endpoint.is_some(),
        })
    }
}

impl Network {
    /// A network for laying out a stack without asking AWS.
    pub fn unknown() -> Network {
        Network { domains: BTreeMap::new(), vpc: String::new(), subnets: Vec::new(), own: None }
    }

    /// The same, with the resources of a network that the stack makes.
    pub fn unread(chosen: Option<&ChosenNetwork>, region: &str) -> Network {
        match chosen {
            Some(ChosenNetwork::Own(block)) => own::unknown(region, *block),
            _ => Network::unknown(),
        }
    }

    /// The network that stack.yaml names, as written. The zones are not known.
    pub fn written(named: &ExistingNetwork) -> Network {
        let ExistingNetwork { vpc, subnets } = named;
        let subnets = subnets.iter().map(|id| Subnet { id: id.clone(), zone: String::new(), free: None });
        Network { vpc: vpc.clone(), subnets: subnets.collect(), ..Network::unknown() }
    }

    /// Finds the network that stack.yaml chooses for this stack, or else the default one, and the zones in it that offer
    /// all of these instance types.
    pub async fn discover(
        aws: &Aws,
        instance_types: &BTreeSet<String>,
        stack: &str,
        chosen_network: Option<&ChosenNetwork>,
    ) -> Result<Network, Fault> {
        match chosen_network {
            Some(ChosenNetwork::Existing(named)) => return existing::find(aws, instance_types, named).await,
            Some(ChosenNetwork::Own(block)) => return own::find(aws, instance_types, stack, *block).await,
            None => (),
        }
        let (vpc, subnets, offered) =
            futures::try_join!(default_vpc(aws), default_subnets(aws), offered(aws, instance_types))?;
        let vpc = vpc.ok_or_else(|| no_vpc(&aws.region))?;
        let subnets = subnets.into_iter().filter(|(of, _)| *of == vpc).map(|(_, subnet)| subnet).collect();
        let subnets = chosen(subnets, &offered, instance_types, &aws.region)?;
        Ok(Network { vpc, subnets, ..Network::unknown() })
    }

    /// The same network as it is now, if the stack makes it: another run may have done so.
    pub async fn again(&self, aws: &Aws, stack: &str) -> Result<Network, Fault> {
        match &self.own {
            Some(own) => Ok(Network { domains: self.domains.clone(), ..own::again(aws, stack, own).await? }),
            None => Ok(self.clone()),
        }
    }

    /// Checks that a network that the stack makes has subnets in enough zones. One that exists, or the default one, is
    /// checked when it is found. What exists can be used and removed without them.
    ///
    /// Errors: too few zones, or no addresses for the subnets.
    pub fn check_zones(&self, region: &str) -> Result<(), Fault> {
        self.own.as_ref().map_or(Ok(()), |own| own.check(region))
    }

    /// Checks that a new load balancer has enough addresses to scale in each subnet (docs/aws.md §8.1).
    ///
    /// Errors: a subnet is full.
    pub fn check_addresses(&self) -> Result<(), Fault> {
        let is_full = |subnet: &&Subnet| subnet.free.is_some_and(|free| free < FREE_ADDRESSES);
        match self.subnets.iter().find(is_full) {
            Some(Subnet { id, free, .. }) => {
                let free = free.unwrap_or_default();
                let what = format!(
                    "the subnet {id} has {free} free addresses; a load balancer needs {FREE_ADDRESSES} in each subnet"
                );
                Err(Fault::new("DescribeSubnets", "FullSubnet", what))
            }
            None => Ok(()),
        }
    }

    /// The subnets by their ids alone.
    pub fn subnet_ids(&self) -> BTreeSet<String> {
        self.subnets.iter().map(|subnet| subnet.id.clone()).collect()
    }
}

/// Returns the number of free addresses of a subnet.
fn free(subnet: &Described) -> Option<u32> {
    subnet.available_ip_address_count().and_then(|count| u32::try_from(count).ok())
}

async fn default_vpc(aws: &Aws) -> Result<Option<String>, Fault> {
    let answer = aws.ec2.describe_vpcs().filters(is_true("is-default")).send().await?;
    Ok(answer.vpcs().first().and_then(|vpc| vpc.vpc_id().map(str::to_owned)))
}

/// The default subnets, with their VPCs.
async fn default_subnets(aws: &Aws) -> Result<Vec<(String, Subnet)>, Fault> {
    let call = aws
        .ec2
        .describe_subnets()
        .filters(is_true("default-for-az"))
        .filters(Filter::builder().name("state").values("available").build());
    let found = items(call.into_paginator().send()).await?;
    let subnets = found.into_iter().filter_map(|subnet| {
        let free = free(&subnet);
        let known = Subnet { id: subnet.subnet_id?, zone: subnet.availability_zone?, free };
        Some((subnet.vpc_id?, known))
    });
    Ok(subnets.collect())
}

/// The instance types that each zone offers: not every zone offers every type (docs/aws.md §8.1).
async fn offered(aws: &Aws, types: &BTreeSet<String>) -> Result<BTreeMap<String, BTreeSet<String>>, Fault> {
    let mut zones: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let types = Filter::builder().name("instance-type").set_values(Some(types.iter().cloned().collect())).build();
    let call = aws.ec2.describe_instance_type_offerings().location_type(LocationType::AvailabilityZone).filters(types);
    for offering in items(call.into_paginator().send()).await? {
        if let (Some(zone), Some(kind)) = (offering.location, offering.instance_type) {
            zones.entry(zone).or_default().insert(kind.as_str().to_owned());
        }
    }
    Ok(zones)
}

fn is_true(name: &str) -> Filter {
    Filter::builder().name(name).values("true").build()
}

/// One subnet for each zone that offers all types, in a stable order.
fn chosen(
    subnets: Vec<Subnet>,
    offered: &BTreeMap<String, BTreeSet<String>>,
    types: &BTreeSet<String>,
    region: &str,
) -> Result<Vec<Subnet>, Fault> {
    let zones = subnets.len();
    let suits = |subnet: &Subnet| offered.get(&subnet.zone).is_some_and(|offered| offered.is_superset(types));
    let mut suitable: Vec<Subnet> = subnets.into_iter().filter(suits).collect();
    suitable.sort_by(|a, b| (&a.zone, &a.id).cmp(&(&b.zone, &b.id)));
    suitable.dedup_by(|next, kept| next.zone == kept.zone);
    suitable.truncate(MOST_ZONES);
    match suitable.len() {
        FEWEST_ZONES.. => Ok(suitable),
        _ if zones < FEWEST_ZONES => Err(Fault::new(
            "DescribeSubnets",
            "TooFewSubnets",
            format!("a load balancer needs default subnets in {FEWEST_ZONES} zones, and {region} has {zones}"),
        )),
        few => Err(too_few_zones(few, types, region)),
    }
}

fn too_few_zones(few: usize, types: &BTreeSet<String>, region: &str) -> Fault {
    let types = types.iter().map(String::as_str).collect::<Vec<_>>().join(" and ");
    let message = format!("a load balancer needs {FEWEST_ZONES} zones, and {few} in {region} offer {types}");
    Fault::new("DescribeInstanceTypeOfferings", "TooFewZones", message)
}

fn no_vpc(region: &str) -> Fault {
    Fault::new("DescribeVpcs", "NoDefaultVpc", format!("{region} has no default network"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(id: &str, zone: &str) -> Subnet {
        Subnet { id: id.into(), zone: zone.into(), free: None }
    }

    fn set(types: &[&str]) -> BTreeSet<String> {
        types.iter().map(|&kind| kind.to_owned()).collect()
    }

    fn ids(subnets: Vec<Subnet>, zones: &[(&str, &[&str])]) -> Result<Vec<String>, String> {
        let offered = zones.iter().map(|(zone, types)| ((*zone).to_owned(), set(types))).collect();
        let chosen = chosen(subnets, &offered, &set(&["t3.micro", "t4g.micro"]), "us-east-1");
        chosen.map(|subnets| subnets.into_iter().map(|subnet| subnet.id).collect()).map_err(|fault| fault.code)
    }

    const BOTH: &[&str] = &["t3.micro", "t4g.micro"];

    #[test]
    fn the_first_three_zones_that_offer_everything_are_taken() {
        let subnets = ["e", "d", "c", "b", "a"].map(|zone| subnet(&format!("s-{zone}"), zone)).to_vec();
        let zones = [("a", BOTH), ("b", &["t3.micro"]), ("c", BOTH), ("d", BOTH), ("e", BOTH)];
        assert_eq!(ids(subnets, &zones).unwrap(), ["s-a", "s-c", "s-d"]);
    }

    #[test]
    fn a_zone_counts_once() {
        let subnets = vec![subnet("s-2", "a"), subnet("s-1", "a"), subnet("s-3", "b")];
        assert_eq!(ids(subnets, &[("a", BOTH), ("b", BOTH)]).unwrap(), ["s-1", "s-3"]);
    }

    #[test]
    fn a_load_balancer_needs_eight_free_addresses_in_each_subnet() {
        for (free, is_enough) in [(None, true), (Some(8), true), (Some(7), false)] {
            let subnets = vec![subnet("s-1", "a"), Subnet { free, ..subnet("s-2", "b") }];
            let checked = Network { subnets, ..Network::unknown() }.check_addresses();
            assert_eq!(checked.is_ok(), is_enough, "{free:?}: {checked:?}");
        }
    }

    #[test]
    fn one_zone_is_too_few_and_the_error_says_why() {
        let subnets = vec![subnet("s-1", "a"), subnet("s-2", "b")];
        assert_eq!(ids(subnets, &[("a", BOTH), ("b", &[])]).unwrap_err(), "TooFewZones");
        assert_eq!(ids(vec![subnet("s-1", "a")], &[("a", BOTH)]).unwrap_err(), "TooFewSubnets");
    }
}
