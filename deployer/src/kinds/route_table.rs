//! Route tables: found by the stack's tag, as VPCs are.
//!
//! Only the default route is managed: others, such as those of endpoints, stay as they are.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{ResourceType, Route, RouteTable as Described};
use serde::Serialize;

use super::tags;
use crate::{
    cloud::aws::{Aws, gone, items},
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, Tagged, Tags},
};

/// The route table of a stack.
#[derive(Debug, Clone)]
pub struct RouteTable {
    /// The stack that it belongs to.
    pub stack: String,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The id of its VPC.
    pub vpc: String,
    /// The target of the default route: the id of the internet gateway.
    pub default_route: Option<String>,
    /// The ids of other tables of ours that no subnet uses. Never wanted.
    pub superfluous: BTreeSet<String>,
}

/// Outputs for other resources.
#[derive(Debug, Clone)]
pub struct Output {
    /// `rtb-…`.
    pub id: String,
}

/// The destination of the default route.
const ANYWHERE: &str = "0.0.0.0/0";

impl Settings {
    /// In this VPC, with a default route to this gateway.
    pub fn public(vpc: String, gateway: String) -> Settings {
        Settings { vpc, default_route: Some(gateway), superfluous: BTreeSet::new() }
    }
}

/// The tables of a stack, first those that subnets use, then those with a default route.
async fn find(aws: &Aws, stack: &str) -> Result<Vec<Described>, Fault> {
    let of_stack = aws.ec2.describe_route_tables().filters(tags::of_stack(stack));
    let mut ours = items(of_stack.into_paginator().send()).await?;
    let order = |table: &Described| {
        (table.associations().is_empty(), default_route(table).is_none(), table.route_table_id.clone())
    };
    ours.sort_by_cached_key(order);
    Ok(ours)
}

/// The target of a table's default route.
fn default_route(table: &Described) -> Option<String> {
    table.routes().iter().find(|route| route.destination_cidr_block() == Some(ANYWHERE)).map(target)
}

/// The target of a route.
fn target(route: &Route) -> String {
    let targets = [
        route.gateway_id(),
        route.nat_gateway_id(),
        route.transit_gateway_id(),
        route.vpc_peering_connection_id(),
        route.instance_id(),
        route.network_interface_id(),
    ];
    targets.into_iter().flatten().next().unwrap_or("elsewhere").to_owned()
}

impl Resource for RouteTable {
    const KIND: &'static str = "route_table";
    const FIXED: &'static [&'static str] = &["vpc"];

    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.stack
    }

    /// A route whose gateway is detached is in force again once that is attached, so its state is not a difference.
    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let mut ours = find(aws, &self.stack).await?.into_iter();
        let Some(table) = ours.next() else { return Ok(Observed::Absent) };
        let superfluous = ours.filter(|it| it.associations().is_empty()).filter_map(|it| it.route_table_id);
        let settings = Settings {
            vpc: table.vpc_id().unwrap_or_default().into(),
            default_route: default_route(&table),
            superfluous: superfluous.collect(),
        };
        let owner = Owner::Tags(tags::from_ec2(table.tags()));
        let output = Output { id: table.route_table_id.unwrap_or_default() };
        Ok(Observed::Present(Live { settings, output, owner }))
    }

    /// It is read again before it gets its route: if the call was repeated, there are two.
    async fn create(&self, aws: &Aws, want: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        let create = aws.ec2.create_route_table().vpc_id(&want.vpc);
        create.tag_specifications(tags::ec2_specification(ResourceType::RouteTable, tags)).send().await?;
        Ok(None)
    }

    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let (id, there) = (&live.output.id, &live.settings);
        remove(aws, there.superfluous.iter().collect()).await?;
        if want.default_route == there.default_route {
            return Ok(());
        }
        let gateway = want.default_route.clone();
        if there.default_route.is_some() {
            let replace = aws.ec2.replace_route().route_table_id(id).destination_cidr_block(ANYWHERE);
            replace.set_gateway_id(gateway).send().await?;
        } else {
            let create = aws.ec2.create_route().route_table_id(id).destination_cidr_block(ANYWHERE);
            create.set_gateway_id(gateway).send().await?;
        }
        Ok(())
    }

    async fn tag(&self, aws: &Aws, live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        tags::tag_in_ec2(aws, &live.output.id, tags).await
    }

    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        remove(aws, live.settings.superfluous.iter().chain([&live.output.id]).collect()).await
    }

    /// EC2 does not report when a table was created.
    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let found = aws.ec2.describe_route_tables().filters(tags::of_any_stack());
        let tagged = |table: Described| {
            let tags = tags::from_ec2(table.tags());
            Ok(Tagged::new(table.route_table_id.unwrap_or_default(), tags, None))
        };
        Ok(items(found.into_paginator().send()).await?.into_iter().map(tagged).collect())
    }

    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        if but.contains(stack) {
            return Ok(Vec::new());
        }
        let exists = !find(aws, stack).await?.is_empty();
        Ok(exists.then(|| RouteTable { stack: stack.into() }).into_iter().collect())
    }
}

async fn remove(aws: &Aws, ids: Vec<&String>) -> Result<(), Fault> {
    for id in ids {
        gone(aws.ec2.delete_route_table().route_table_id(id).send().await)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_leads_to_its_target_of_any_kind() {
        let to = |route: aws_sdk_ec2::types::builders::RouteBuilder| target(&route.build());
        assert_eq!(to(Route::builder().gateway_id("igw-1")), "igw-1");
        assert_eq!(to(Route::builder().nat_gateway_id("nat-1")), "nat-1");
        // EC2 names both.
        assert_eq!(to(Route::builder().instance_id("i-1").network_interface_id("eni-1")), "i-1");
        assert_eq!(to(Route::builder()), "elsewhere");
    }
}
