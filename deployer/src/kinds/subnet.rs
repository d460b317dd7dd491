//! Subnets, each with its association with a route table.

use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType, Subnet as Described, SubnetState};
use serde::Serialize;

use super::tags::{self, ec2_filter};
use crate::{
    cloud::aws::{Aws, gone, items},
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, Tagged, Tags},
};

/// A subnet of a stack, identified by its zone within its VPC.
#[derive(Debug, Clone)]
pub struct Subnet {
    /// The stack that it belongs to.
    pub stack: String,
    /// The id of its VPC.
    pub vpc: String,
    /// Its Availability Zone.
    pub zone: String,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// Its addresses.
    pub block: String,
    /// Whether instances get public addresses.
    pub public_addresses: bool,
    /// The id of its route table; `None` if it uses the main one of the VPC.
    pub route_table: Option<String>,
}

/// Outputs for other resources.
#[derive(Debug, Clone)]
pub struct Output {
    /// `subnet-…`.
    pub id: String,
    /// The id of its association with a route table.
    association: Option<String>,
}

impl Settings {
    /// With public addresses and this route table.
    pub fn public(block: String, route_table: String) -> Settings {
        Settings { block, public_addresses: true, route_table: Some(route_table) }
    }
}

/// The association of a subnet with a route table of its own, and the id of the table.
async fn association(aws: &Aws, subnet: &str) -> Result<(Option<String>, Option<String>), Fault> {
    let tables = aws.ec2.describe_route_tables().filters(ec2_filter("association.subnet-id", [subnet]));
    let tables = items(tables.into_paginator().send()).await?;
    let of_subnet = tables.iter().flat_map(|table| table.associations()).find(|it| it.subnet_id() == Some(subnet));
    Ok(of_subnet.map(|it| (it.route_table_association_id.clone(), it.route_table_id.clone())).unwrap_or_default())
}

impl Resource for Subnet {
    const KIND: &'static str = "subnet";
    const FIXED: &'static [&'static str] = &["block"];

    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.zone
    }

    /// Another VPC of the stack may have a subnet in the same zone.
    fn identity(&self) -> String {
        format!("{}/{}", self.vpc, self.zone)
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let call = aws.ec2.describe_subnets().filters(tags::of_stack(&self.stack));
        let call = call.filters(ec2_filter("vpc-id", [self.vpc.as_str()]));
        let call = call.filters(ec2_filter("availability-zone", [self.zone.as_str()]));
        let found = items(call.into_paginator().send()).await?;
        let Some(subnet) = found.into_iter().min_by_key(|subnet| subnet.subnet_id.clone()) else {
            return Ok(Observed::Absent);
        };
        if subnet.state() == Some(&SubnetState::Pending) {
            return Ok(Observed::Settling("pending".into()));
        }
        let (association, route_table) = association(aws, subnet.subnet_id().unwrap_or_default()).await?;
        let settings = Settings {
            block: subnet.cidr_block().unwrap_or_default().into(),
            public_addresses: subnet.map_public_ip_on_launch().unwrap_or_default(),
            route_table,
        };
        let owner = Owner::Tags(tags::from_ec2(subnet.tags()));
        let output = Output { id: subnet.subnet_id.unwrap_or_default(), association };
        Ok(Observed::Present(Live { settings, output, owner }))
    }

    /// Public addresses and the route table are calls of their own, which follow once it is visible.
    async fn create(&self, aws: &Aws, want: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        let create = aws.ec2.create_subnet().vpc_id(&self.vpc).availability_zone(&self.zone).cidr_block(&want.block);
        create.tag_specifications(tags::ec2_specification(ResourceType::Subnet, tags)).send().await?;
        Ok(None)
    }

    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let Live { settings: there, output: Output { id, association }, .. } = live;
        if want.public_addresses != there.public_addresses {
            let wanted = AttributeBooleanValue::builder().value(want.public_addresses).build();
            aws.ec2.modify_subnet_attribute().subnet_id(id).map_public_ip_on_launch(wanted).send().await?;
        }
        if want.route_table != there.route_table {
            let table = want.route_table.clone();
            match association {
                // In one step: without a table of its own, the subnet would lose its way to the internet.
                Some(association) => {
                    let replace = aws.ec2.replace_route_table_association().association_id(association);
                    replace.set_route_table_id(table).send().await?;
                }
                None => {
                    let associate = aws.ec2.associate_route_table().subnet_id(id);
                    associate.set_route_table_id(table).send().await?;
                }
            }
        }
        Ok(())
    }

    async fn tag(&self, aws: &Aws, live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        tags::tag_in_ec2(aws, &live.output.id, tags).await
    }

    /// The network interfaces of a load balancer outlive it for some minutes, so this waits on `DependencyViolation`
    /// (docs/aws.md §9.6). Whatever keeps the subnet also keeps its route to the internet: the association is removed
    /// last. EC2 ends it with the subnet; moto keeps it, and with it the route table.
    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        let Output { id, association: before } = &live.output;
        gone(aws.ec2.delete_subnet().subnet_id(id).send().await)?;
        if before.is_none() {
            return Ok(());
        }
        match association(aws, id).await? {
            (Some(left), _) => gone(aws.ec2.disassociate_route_table().association_id(left).send().await),
            (None, _) => Ok(()),
        }
    }

    /// EC2 does not report when a subnet was created.
    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let found = items(aws.ec2.describe_subnets().filters(tags::of_any_stack()).into_paginator().send()).await?;
        let tagged = |subnet: Described| {
            let tags = tags::from_ec2(subnet.tags());
            Ok(Tagged::new(subnet.subnet_id.unwrap_or_default(), tags, None))
        };
        Ok(found.into_iter().map(tagged).collect())
    }

    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        let found = aws.ec2.describe_subnets().filters(tags::of_stack(stack));
        let subnets = items(found.into_paginator().send()).await?.into_iter().map(|subnet| Subnet {
            stack: stack.into(),
            vpc: subnet.vpc_id.unwrap_or_default(),
            zone: subnet.availability_zone.unwrap_or_default(),
        });
        Ok(subnets.filter(|subnet| !but.contains(&subnet.identity())).collect())
    }
}
