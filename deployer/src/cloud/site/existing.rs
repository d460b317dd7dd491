//! A network that stack.yaml names: it is checked, and never changed.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{RouteState, RouteTable, Subnet as Described};

use super::{Network, Subnet, free, offered};
use crate::{
    cloud::aws::{Aws, items},
    config::ExistingNetwork,
    engine::Fault,
    kinds::tags::ec2_filter,
};

/// The smallest subnets that a load balancer accepts have this many bits (docs/aws.md §8.1).
const MOST_BITS: u8 = 27;

/// Every destination.
const ANYWHERE: &str = "0.0.0.0/0";

/// Finds the network.
///
/// Errors: the parts that it lacks.
pub(super) async fn find(aws: &Aws, types: &BTreeSet<String>, named: &ExistingNetwork) -> Result<Network, Fault> {
    let ExistingNetwork { vpc, subnets } = named;
    let vpcs = async {
        let answer = aws.ec2.describe_vpcs().filters(ec2_filter("vpc-id", [vpc.as_str()])).send().await?;
        Ok::<_, Fault>(answer.vpcs().len())
    };
    let found = async {
        let ids = ec2_filter("subnet-id", subnets.iter().map(String::as_str));
        items(aws.ec2.describe_subnets().filters(ids).into_paginator().send()).await
    };
    let tables = async {
        let of_vpc = ec2_filter("vpc-id", [vpc.as_str()]);
        items(aws.ec2.describe_route_tables().filters(of_vpc).into_paginator().send()).await
    };
    let (vpcs, found, tables, offered) = futures::try_join!(vpcs, found, tables, offered(aws, types))?;
    if vpcs == 0 {
        return Err(Fault::new("DescribeVpcs", "NoVpc", format!("there is no VPC {vpc} in {}", aws.region)));
    }
    // An error in any of them takes precedence over something missing around one of them.
    for check in [is_in, is_large, has_route, gives_addresses] {
        for id in subnets {
            let subnet = found.iter().find(|subnet| subnet.subnet_id() == Some(id));
            check(vpc, id, subnet, &tables)?;
        }
    }
    Ok(Network { vpc: vpc.clone(), subnets: in_zones(&found, &offered, types)?, ..Network::unknown() })
}

/// Checks that a subnet is in the VPC.
fn is_in(vpc: &str, id: &str, subnet: Option<&Described>, _: &[RouteTable]) -> Result<(), Fault> {
    let wrong = |what: String| Err(Fault::new("DescribeSubnets", "NoSubnet", what));
    match subnet.map(|subnet| subnet.vpc_id().unwrap_or("another VPC")) {
        None => wrong(format!("there is no subnet {id}")),
        Some(there) if there != vpc => wrong(format!("the subnet {id} is in {there}, not in {vpc}")),
        Some(_) => Ok(()),
    }
}

/// Checks that a load balancer has room to scale in a subnet.
fn is_large(_: &str, id: &str, subnet: Option<&Described>, _: &[RouteTable]) -> Result<(), Fault> {
    let cidr = subnet.and_then(|subnet| subnet.cidr_block()).unwrap_or_default();
    match cidr.split_once('/').and_then(|(_, bits)| bits.parse::<u8>().ok()) {
        Some(bits) if bits > MOST_BITS => {
            let what = format!("the subnet {id} is too small ({cidr}): a load balancer needs at least a /{MOST_BITS}");
            Err(Fault::new("DescribeSubnets", "SmallSubnet", what))
        }
        _ => Ok(()),
    }
}

/// Checks that the route table of a subnet, or else the main one of its VPC, leads to the internet.
fn has_route(_: &str, id: &str, _: Option<&Described>, tables: &[RouteTable]) -> Result<(), Fault> {
    let own = tables.iter().find(|table| table.associations().iter().any(|it| it.subnet_id() == Some(id)));
    let main = || tables.iter().find(|table| table.associations().iter().any(|it| it.main() == Some(true)));
    let leads_out = |table: &RouteTable| {
        table.routes().iter().any(|route| {
            route.destination_cidr_block() == Some(ANYWHERE)
                && route.gateway_id().is_some_and(|gateway| gateway.starts_with("igw-"))
                && route.state() == Some(&RouteState::Active)
        })
    };
    match own.or_else(main).is_some_and(leads_out) {
        true => Ok(()),
        false => {
            let what = format!("the subnet {id} has no route to the internet ({ANYWHERE} to an internet gateway)");
            Err(Fault::new("DescribeRouteTables", "NoRoute", what))
        }
    }
}

/// Checks that instances get public addresses in a subnet: otherwise they do not reach S3.
fn gives_addresses(_: &str, id: &str, subnet: Option<&Described>, _: &[RouteTable]) -> Result<(), Fault> {
    match subnet.and_then(|subnet| subnet.map_public_ip_on_launch()) {
        Some(true) => Ok(()),
        _ => {
            let what = format!("the subnet {id} gives instances no public addresses");
            Err(Fault::new("DescribeSubnets", "NoPublicAddresses", what))
        }
    }
}

/// The subnets, which must be in different zones, all of which offer the instance types.
fn in_zones(
    found: &[Described],
    offered: &BTreeMap<String, BTreeSet<String>>,
    types: &BTreeSet<String>,
) -> Result<Vec<Subnet>, Fault> {
    let mut zones: BTreeMap<&str, (&str, Option<u32>)> = BTreeMap::new();
    for subnet in found {
        let (id, zone) = (subnet.subnet_id().unwrap_or_default(), subnet.availability_zone().unwrap_or_default());
        if let Some((other, _)) = zones.insert(zone, (id, free(subnet))) {
            let what =
                format!("the subnets {other} and {id} are both in {zone}; a load balancer takes one for each zone");
            return Err(Fault::new("DescribeSubnets", "SameZone", what));
        }
        if let Some(kind) = types.iter().find(|kind| !offered.get(zone).is_some_and(|there| there.contains(*kind))) {
            let what = format!("{zone}, the zone of the subnet {id}, does not offer {kind}");
            return Err(Fault::new("DescribeInstanceTypeOfferings", "TooFewZones", what));
        }
    }
    Ok(zones.into_iter().map(|(zone, (id, free))| Subnet { id: id.into(), zone: zone.into(), free }).collect())
}
