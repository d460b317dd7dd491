//! Elastic IP addresses: found by the tags of the stack and of the resource, since an address has no name of its own.
//!
//! The instance of a service takes its address itself when it boots, so that a replaced instance has it, too. EC2 allocates
//! a second address if a call is repeated because its answer was lost; it is released while no instance has it.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{Address as Described, DomainType, ResourceType};
use serde::Serialize;

use super::tags::{self, ec2_filter};
use crate::{
    cloud::aws::{Aws, gone},
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, RESOURCE_TAG, Resource, STACK_TAG, Size, Tagged, Tags},
};

/// The address of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElasticAddress {
    /// The stack that it belongs to.
    pub stack: String,
    /// The service, as in its tag.
    pub service: String,
    name: String,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The ids of other addresses of the service that no instance has. Never wanted.
    pub superfluous: BTreeSet<String>,
}

/// Outputs for other resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// `eipalloc-…`.
    pub allocation: String,
    /// The address.
    pub public_ip: String,
    /// The association with an instance, `eipassoc-…`; `None` without one.
    pub association: Option<String>,
    /// The instance that has it.
    pub instance: Option<String>,
}

impl Settings {
    /// One address.
    pub fn wanted() -> Settings {
        Settings { superfluous: BTreeSet::new() }
    }
}

impl ElasticAddress {
    /// The address of a service of a stack.
    pub fn of(stack: &str, service: &str) -> ElasticAddress {
        ElasticAddress { stack: stack.into(), service: service.into(), name: format!("{stack}-{service}") }
    }

    /// Its tag with the address of the resource within its stack.
    pub fn tag_value(service: &str) -> String {
        format!("{}.{service}", ElasticAddress::KIND)
    }

    /// Reads it, if it exists.
    pub async fn find(&self, aws: &Aws) -> Result<Option<Output>, Fault> {
        Ok(self.all(aws).await?.into_iter().next().map(output))
    }

    /// All addresses with its tags, first one that an instance has.
    async fn all(&self, aws: &Aws) -> Result<Vec<Described>, Fault> {
        let tag = ElasticAddress::tag_value(&self.service);
        let call = aws.ec2.describe_addresses().filters(tags::of_stack(&self.stack));
        let call = call.filters(ec2_filter(&format!("tag:{RESOURCE_TAG}"), [tag.as_str()]));
        let mut all = call.send().await?.addresses.unwrap_or_default();
        all.sort_by_cached_key(|it| (it.association_id().is_none(), it.allocation_id.clone()));
        Ok(all)
    }
}

fn output(address: Described) -> Output {
    Output {
        allocation: address.allocation_id.unwrap_or_default(),
        public_ip: address.public_ip.unwrap_or_default(),
        association: address.association_id,
        instance: address.instance_id,
    }
}

impl Resource for ElasticAddress {
    const KIND: &'static str = "elastic_address";

    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let mut all = self.all(aws).await?.into_iter();
        let Some(address) = all.next() else { return Ok(Observed::Absent) };
        let superfluous = all.filter(|it| it.association_id().is_none()).filter_map(|it| it.allocation_id);
        let settings = Settings { superfluous: superfluous.collect() };
        let owner = Owner::Tags(tags::from_ec2(address.tags()));
        Ok(Observed::Present(Live { settings, output: output(address), owner }))
    }

    /// It is read again: if the call was repeated, there are two.
    async fn create(&self, aws: &Aws, _: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        let allocate = aws.ec2.allocate_address().domain(DomainType::Vpc);
        allocate.tag_specifications(tags::ec2_specification(ResourceType::ElasticIp, tags)).send().await?;
        Ok(None)
    }

    async fn update(&self, aws: &Aws, _: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        release(aws, &live.settings.superfluous).await
    }

    async fn tag(&self, aws: &Aws, live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        tags::tag_in_ec2(aws, &live.output.allocation, tags).await
    }

    /// Takes it from the instance first: EC2 does not release an address in use.
    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        if let Some(association) = &live.output.association {
            gone(aws.ec2.disassociate_address().association_id(association).send().await)?;
        }
        let own = BTreeSet::from([live.output.allocation.clone()]);
        release(aws, &(&live.settings.superfluous | &own)).await
    }

    /// EC2 does not report when an address was allocated.
    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let found = aws.ec2.describe_addresses().filters(tags::of_any_stack()).send().await?;
        let tagged = |address: &Described| {
            let name = address.allocation_id().unwrap_or_default().to_owned();
            let size = if address.association_id().is_none() { Size::IdleAddress } else { Size::None };
            Ok(Tagged::new(name, tags::from_ec2(address.tags()), None).sized(Ok(size)))
        };
        Ok(found.addresses().iter().map(tagged).collect())
    }

    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        let found = aws.ec2.describe_addresses().filters(tags::of_stack(stack)).send().await?;
        let services = found.addresses().iter().filter_map(|address| {
            let tags = tags::from_ec2(address.tags());
            let service = tags.get(RESOURCE_TAG)?.strip_prefix(ElasticAddress::KIND)?.strip_prefix('.')?.to_owned();
            tags.get(STACK_TAG).is_some_and(|owner| owner == stack).then_some(service)
        });
        let services: BTreeSet<String> = services.collect();
        let all = services.iter().map(|service| ElasticAddress::of(stack, service));
        Ok(all.filter(|address| !but.contains(&address.name)).collect())
    }
}

async fn release(aws: &Aws, allocations: &BTreeSet<String>) -> Result<(), Fault> {
    for allocation in allocations {
        gone(aws.ec2.release_address().allocation_id(allocation).send().await)?;
    }
    Ok(())
}
