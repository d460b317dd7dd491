//! Internet gateways: found by the stack's tag, as VPCs are.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{InternetGateway as Described, ResourceType};
use serde::Serialize;

use super::{
    tags::{self, ec2_filter},
    vpc::Vpc,
};
use crate::{
    cloud::aws::{Aws, gone, items},
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, Tagged, Tags},
};

/// The internet gateway of a stack.
#[derive(Debug, Clone)]
pub struct InternetGateway {
    /// The stack that it belongs to.
    pub stack: String,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The id of the VPC that it is attached to.
    pub vpc: Option<String>,
    /// The ids of other gateways of ours that are not attached. Never wanted.
    pub superfluous: BTreeSet<String>,
}

/// Outputs for other resources.
#[derive(Debug, Clone)]
pub struct Output {
    /// `igw-…`.
    pub id: String,
}

impl Settings {
    /// Attached to this VPC.
    pub fn attached_to(vpc: String) -> Settings {
        Settings { vpc: Some(vpc), superfluous: BTreeSet::new() }
    }
}

/// The gateways of a stack, first those that are attached.
async fn find(aws: &Aws, stack: &str) -> Result<Vec<Described>, Fault> {
    let of_stack = aws.ec2.describe_internet_gateways().filters(tags::of_stack(stack));
    let mut ours = items(of_stack.into_paginator().send()).await?;
    ours.sort_by_cached_key(|it| (it.attachments().is_empty(), it.internet_gateway_id.clone()));
    Ok(ours)
}

/// The gateway of another owner that the VPC of a stack has. A VPC has only one (docs/aws.md §8.1).
async fn in_our_place(aws: &Aws, stack: &str) -> Result<Option<Described>, Fault> {
    let Some(vpc) = Vpc::of(stack).id(aws).await? else { return Ok(None) };
    let attached = aws.ec2.describe_internet_gateways().filters(ec2_filter("attachment.vpc-id", [vpc.as_str()]));
    Ok(items(attached.into_paginator().send()).await?.into_iter().next())
}

fn vpc_of(gateway: &Described) -> Option<String> {
    gateway.attachments().iter().find_map(|attachment| attachment.vpc_id.clone())
}

impl Resource for InternetGateway {
    const KIND: &'static str = "internet_gateway";

    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.stack
    }

    /// While none of ours is attached, the one that our VPC has counts as ours, such as ours after it has lost its
    /// tags: no other can be attached.
    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let mut ours = find(aws, &self.stack).await?;
        if ours.first().is_none_or(|gateway| gateway.attachments().is_empty())
            && let Some(attached) = in_our_place(aws, &self.stack).await?
        {
            ours.retain(|gateway| gateway.internet_gateway_id != attached.internet_gateway_id);
            ours.insert(0, attached);
        }
        let mut ours = ours.into_iter();
        let Some(gateway) = ours.next() else { return Ok(Observed::Absent) };
        let superfluous = ours.filter(|it| it.attachments().is_empty()).filter_map(|it| it.internet_gateway_id);
        let settings = Settings { vpc: vpc_of(&gateway), superfluous: superfluous.collect() };
        let owner = Owner::Tags(tags::from_ec2(gateway.tags()));
        let output = Output { id: gateway.internet_gateway_id.unwrap_or_default() };
        Ok(Observed::Present(Live { settings, output, owner }))
    }

    /// It is read again before it is attached: if the call was repeated, there are two.
    async fn create(&self, aws: &Aws, _: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        let create = aws.ec2.create_internet_gateway();
        create.tag_specifications(tags::ec2_specification(ResourceType::InternetGateway, tags)).send().await?;
        Ok(None)
    }

    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let (id, there) = (&live.output.id, &live.settings);
        for superfluous in &there.superfluous {
            gone(aws.ec2.delete_internet_gateway().internet_gateway_id(superfluous).send().await)?;
        }
        if want.vpc != there.vpc {
            detach(aws, id, there.vpc.as_ref()).await?;
            let attach = aws.ec2.attach_internet_gateway().internet_gateway_id(id);
            attach.set_vpc_id(want.vpc.clone()).send().await?;
        }
        Ok(())
    }

    async fn tag(&self, aws: &Aws, live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        tags::tag_in_ec2(aws, &live.output.id, tags).await
    }

    /// The public addresses of a load balancer outlive it by some minutes, and its gateway with them (docs/aws.md §9.6).
    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        detach(aws, &live.output.id, live.settings.vpc.as_ref()).await?;
        for id in live.settings.superfluous.iter().chain([&live.output.id]) {
            gone(aws.ec2.delete_internet_gateway().internet_gateway_id(id).send().await)?;
        }
        Ok(())
    }

    /// EC2 does not report when a gateway was created.
    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let found = aws.ec2.describe_internet_gateways().filters(tags::of_any_stack());
        let tagged = |gateway: Described| {
            let tags = tags::from_ec2(gateway.tags());
            Ok(Tagged::new(gateway.internet_gateway_id.unwrap_or_default(), tags, None))
        };
        Ok(items(found.into_paginator().send()).await?.into_iter().map(tagged).collect())
    }

    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        if but.contains(stack) {
            return Ok(Vec::new());
        }
        let exists = !find(aws, stack).await?.is_empty();
        Ok(exists.then(|| InternetGateway { stack: stack.into() }).into_iter().collect())
    }
}

async fn detach(aws: &Aws, id: &str, vpc: Option<&String>) -> Result<(), Fault> {
    match vpc {
        Some(vpc) => gone(aws.ec2.detach_internet_gateway().internet_gateway_id(id).vpc_id(vpc).send().await),
        None => Ok(()),
    }
}
