//! Tags in the formats of EC2, Auto Scaling and Elastic Load Balancing.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Filter, ResourceType, TagSpecification};
use futures::{StreamExt as _, stream};

use crate::{
    cloud::aws::Aws,
    engine::{AT_ONCE, AllTagged, Fault, Names, STACK_TAG, Tagged, Tags},
};

/// Tags for a resource that EC2 creates.
pub fn ec2_specification(kind: ResourceType, tags: &Tags) -> TagSpecification {
    TagSpecification::builder().resource_type(kind).set_tags(Some(to_ec2(tags))).build()
}

/// Converts to EC2's tags.
pub fn to_ec2(tags: &Tags) -> Vec<aws_sdk_ec2::types::Tag> {
    tags.iter().map(|(key, value)| aws_sdk_ec2::types::Tag::builder().key(key).value(value).build()).collect()
}

/// Converts EC2's tags.
pub fn from_ec2(tags: &[aws_sdk_ec2::types::Tag]) -> Tags {
    tags.iter().filter_map(|tag| Some((tag.key()?.into(), tag.value().unwrap_or_default().into()))).collect()
}

/// Adds tags to the EC2 resource of this id.
pub async fn tag_in_ec2(aws: &Aws, id: &str, tags: &Tags) -> Result<(), Fault> {
    aws.ec2.create_tags().resources(id).set_tags(Some(to_ec2(tags))).send().await?;
    Ok(())
}

/// Filters for the resources of any stack.
pub fn of_any_stack() -> Filter {
    ec2_filter("tag-key", [STACK_TAG])
}

/// Runs these reads, a bounded number at once.
pub async fn bounded<T>(reads: Vec<impl Future<Output = T>>) -> Vec<T> {
    stream::iter(reads).buffered(AT_ONCE).collect().await
}

/// Lists these Elastic Load Balancing resources, given by name, ARN and time of creation, with their tags.
pub async fn tagged_in_elb(aws: &Aws, named: Vec<(String, String, Option<i64>)>) -> Result<AllTagged, Fault> {
    let mut tags = of_arns(aws, named.iter().map(|(_, arn, _)| arn.clone()).collect()).await?;
    let tagged = |(name, arn, created_s): (String, String, Option<i64>)| {
        Ok(Tagged { name, tags: tags.remove(&arn).unwrap_or_default(), created_s })
    };
    Ok(named.into_iter().map(tagged).collect())
}

/// Filters for the resources of a stack.
pub fn of_stack(stack: &str) -> Filter {
    ec2_filter(&format!("tag:{STACK_TAG}"), [stack])
}

/// A filter for an EC2 call.
pub fn ec2_filter<'a>(name: &str, values: impl IntoIterator<Item = &'a str>) -> Filter {
    let values = values.into_iter().map(str::to_owned).collect();
    Filter::builder().name(name).set_values(Some(values)).build()
}

/// Converts to Elastic Load Balancing's tags.
pub fn to_elb(tags: &Tags) -> Vec<aws_sdk_elasticloadbalancingv2::types::Tag> {
    tags.iter()
        .map(|(key, value)| aws_sdk_elasticloadbalancingv2::types::Tag::builder().key(key).value(value).build())
        .collect()
}

/// Adds tags to the Elastic Load Balancing resource of this ARN.
pub async fn tag_in_elb(aws: &Aws, arn: &str, tags: &Tags) -> Result<(), Fault> {
    aws.elb.add_tags().resource_arns(arn).set_tags(Some(to_elb(tags))).send().await?;
    Ok(())
}

/// Reads the tags of one Elastic Load Balancing resource.
pub async fn of_arn(aws: &Aws, arn: &str) -> Result<Tags, Fault> {
    Ok(of_arns(aws, vec![arn.to_owned()]).await?.remove(arn).unwrap_or_default())
}

/// Reads the tags of Elastic Load Balancing resources, by ARN.
pub async fn of_arns(aws: &Aws, arns: Vec<String>) -> Result<BTreeMap<String, Tags>, Fault> {
    let mut found = BTreeMap::new();
    // One call takes twenty ARNs (docs/aws.md §2.5).
    for arns in arns.chunks(20) {
        let answer = aws.elb.describe_tags().set_resource_arns(Some(arns.to_vec())).send().await?;
        for described in answer.tag_descriptions() {
            let tags = described
                .tags()
                .iter()
                .map(|tag| (tag.key().unwrap_or_default().to_owned(), tag.value().unwrap_or_default().to_owned()));
            found.insert(described.resource_arn().unwrap_or_default().to_owned(), tags.collect());
        }
    }
    Ok(found)
}

/// Returns those of these resources, given by name and ARN, whose tags name the stack. Names with another prefix, and
/// those in `but`, are skipped before any tags are read.
pub async fn names_in_elb(
    aws: &Aws,
    stack: &str,
    but: &Names,
    named: Vec<(String, String)>,
) -> Result<Vec<String>, Fault> {
    let prefix = format!("{stack}-");
    let named: Vec<_> =
        named.into_iter().filter(|(name, _)| name.starts_with(&prefix) && !but.contains(name)).collect();
    let tags = of_arns(aws, named.iter().map(|(_, arn)| arn.clone()).collect()).await?;
    let is_ours = |arn: &str| tags.get(arn).and_then(|tags| tags.get(STACK_TAG)).is_some_and(|owner| owner == stack);
    Ok(named.into_iter().filter(|(_, arn)| is_ours(arn)).map(|(name, _)| name).collect())
}

/// Tags of an Auto Scaling group, not propagated: its instances get theirs from the launch template, because a group's
/// tags never reach volumes (docs/aws.md §2.5).
pub fn to_autoscaling(group: &str, tags: &Tags) -> Vec<aws_sdk_autoscaling::types::Tag> {
    tags.iter()
        .map(|(key, value)| {
            aws_sdk_autoscaling::types::Tag::builder()
                .resource_id(group)
                .resource_type("auto-scaling-group")
                .key(key)
                .value(value)
                .propagate_at_launch(false)
                .build()
        })
        .collect()
}
