//! Virtual private clouds.
//!
//! A VPC has no name of its own: that of a stack is found by the stack's tag. EC2 makes a second one if a creation is
//! repeated because its answer was lost; nothing is in it, so it is removed.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use aws_sdk_ec2::types::{ResourceType, Vpc as Described, VpcState};
use serde::Serialize;

use super::tags;
use crate::{
    cloud::aws::{Aws, gone, items},
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, Tagged, Tags},
};

/// The VPC of a stack.
#[derive(Debug, Clone)]
pub struct Vpc {
    /// The stack that it belongs to.
    pub stack: String,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// Its addresses.
    pub block: String,
    /// The ids of other VPCs of ours that nothing is in. Never wanted.
    pub superfluous: BTreeSet<String>,
}

/// Outputs for other resources.
#[derive(Debug, Clone)]
pub struct Output {
    /// `vpc-…`.
    pub id: String,
}

impl Settings {
    /// With this block of addresses.
    pub fn of(block: &str) -> Settings {
        Settings { block: block.into(), superfluous: BTreeSet::new() }
    }
}

impl Vpc {
    /// The VPC of a stack.
    pub fn of(stack: &str) -> Vpc {
        Vpc { stack: stack.into() }
    }

    /// Its id, if it exists.
    pub async fn id(&self, aws: &Aws) -> Result<Option<String>, Fault> {
        let Found { ours, .. } = self.find(aws).await?;
        Ok(ours.into_iter().next().and_then(|vpc| vpc.vpc_id))
    }

    async fn find(&self, aws: &Aws) -> Result<Found, Fault> {
        let of_stack = aws.ec2.describe_vpcs().filters(tags::of_stack(&self.stack));
        let mut ours = items(of_stack.into_paginator().send()).await?;
        let mut parts = BTreeMap::new();
        if ours.len() > 1 {
            parts = parts_of(aws, &self.stack).await?;
            let order = |vpc: &Described| {
                let id = vpc.vpc_id().unwrap_or_default().to_owned();
                (Reverse(parts.get(&id).copied().unwrap_or_default()), id)
            };
            ours.sort_by_cached_key(order);
        }
        let others = ours.iter().skip(1).filter_map(|vpc| vpc.vpc_id.clone());
        let superfluous = others.filter(|id| !parts.contains_key(id)).collect();
        Ok(Found { ours, superfluous })
    }
}

/// The VPCs of a stack.
struct Found {
    /// All of them, first that with the most in it.
    ours: Vec<Described>,
    /// The ids of others that nothing is in.
    superfluous: BTreeSet<String>,
}

/// The number of parts of the stack's network in each VPC.
async fn parts_of(aws: &Aws, stack: &str) -> Result<BTreeMap<String, usize>, Fault> {
    let subnets = aws.ec2.describe_subnets().filters(tags::of_stack(stack));
    let tables = aws.ec2.describe_route_tables().filters(tags::of_stack(stack));
    let gateways = aws.ec2.describe_internet_gateways().filters(tags::of_stack(stack));
    let (subnets, tables, gateways) = futures::try_join!(
        items(subnets.into_paginator().send()),
        items(tables.into_paginator().send()),
        items(gateways.into_paginator().send())
    )?;
    let attached = gateways.into_iter().flat_map(|gateway| gateway.attachments.unwrap_or_default());
    let vpcs = subnets.into_iter().map(|subnet| subnet.vpc_id);
    let vpcs = vpcs.chain(tables.into_iter().map(|table| table.vpc_id)).chain(attached.map(|it| it.vpc_id));
    let mut parts = BTreeMap::new();
    vpcs.flatten().for_each(|vpc| *parts.entry(vpc).or_default() += 1);
    Ok(parts)
}

impl Resource for Vpc {
    const KIND: &'static str = "vpc";
    const FIXED: &'static [&'static str] = &["block"];
    const SOURCES: &'static [(&'static str, &'static str)] = &[("block", "own")];

    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.stack
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let Found { ours, superfluous } = self.find(aws).await?;
        let Some(vpc) = ours.into_iter().next() else { return Ok(Observed::Absent) };
        if vpc.state() == Some(&VpcState::Pending) {
            return Ok(Observed::Settling("pending".into()));
        }
        let settings = Settings { block: vpc.cidr_block().unwrap_or_default().into(), superfluous };
        let owner = Owner::Tags(tags::from_ec2(vpc.tags()));
        let output = Output { id: vpc.vpc_id.unwrap_or_default() };
        Ok(Observed::Present(Live { settings, output, owner }))
    }

    /// It is read again: if the call was repeated, there are two.
    async fn create(&self, aws: &Aws, want: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        let create = aws.ec2.create_vpc().cidr_block(&want.block);
        create.tag_specifications(tags::ec2_specification(ResourceType::Vpc, tags)).send().await?;
        Ok(None)
    }

    async fn update(&self, aws: &Aws, _: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        remove(aws, live.settings.superfluous.iter().collect()).await
    }

    async fn tag(&self, aws: &Aws, live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        tags::tag_in_ec2(aws, &live.output.id, tags).await
    }

    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        remove(aws, live.settings.superfluous.iter().chain([&live.output.id]).collect()).await
    }

    /// EC2 does not report when a VPC was created.
    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let found = items(aws.ec2.describe_vpcs().filters(tags::of_any_stack()).into_paginator().send()).await?;
        let tagged = |vpc: Described| {
            let tags = tags::from_ec2(vpc.tags());
            Ok(Tagged::new(vpc.vpc_id.unwrap_or_default(), tags, None))
        };
        Ok(found.into_iter().map(tagged).collect())
    }

    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        if but.contains(stack) {
            return Ok(Vec::new());
        }
        let exists = Vpc::of(stack).id(aws).await?.is_some();
        Ok(exists.then(|| Vpc::of(stack)).into_iter().collect())
    }
}

async fn remove(aws: &Aws, ids: Vec<&String>) -> Result<(), Fault> {
    for id in ids {
        gone(aws.ec2.delete_vpc().vpc_id(id).send().await)?;
    }
    Ok(())
}
