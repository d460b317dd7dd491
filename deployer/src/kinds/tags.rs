//! Tags in the formats of EC2, Auto Scaling and Elastic Load Balancing.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Filter, ResourceType, TagSpecification};
use futures::{StreamExt as _, stream};
use tokio::sync::Semaphore;

use crate::{
    cloud::aws::{Aws, found},
    engine::{AT_ONCE, AllTagged, Fault, Names, STACK_TAG, Size, Tagged, Tags},
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

/// Runs these reads, a bounded number at once. All calls share the bound, because kinds and regions are searched together.
pub async fn bounded<T>(reads: Vec<impl Future<Output = T>>) -> Vec<T> {
    static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);
    let reads = reads.into_iter().map(async |read| {
        let _turn = TURNS.acquire().await.expect("it is never closed");
        read.await
    });
    stream::iter(reads).buffered(AT_ONCE).collect().await
}

/// Lists these Elastic Load Balancing resources, given by name, ARN, time of creation and size, with their tags.
pub async fn tagged_in_elb(aws: &Aws, named: Vec<(String, String, Option<i64>, Size)>) -> Result<AllTagged, Fault> {
    let arns: Vec<String> = named.iter().map(|(_, arn, ..)| arn.clone()).collect();
    let mut tags = of_present(&arns, |arns| of_arns(aws, arns)).await?;
    let tagged = |(name, arn, created_s, size): (String, String, Option<i64>, Size)| {
        Some(Ok(Tagged::new(name, tags.remove(&arn)?, created_s).sized(Ok(size))))
    };
    Ok(named.into_iter().filter_map(tagged).collect())
}

/// Reads the tags of those of these Elastic Load Balancing resources that still exist. A call with a missing one fails
/// as a whole (docs/aws.md §9.2); then each of its resources is requested separately.
async fn of_present<F>(arns: &[String], read: impl Fn(Vec<String>) -> F) -> Result<BTreeMap<String, Tags>, Fault>
where
    F: Future<Output = Result<BTreeMap<String, Tags>, Fault>>,
{
    let mut present = BTreeMap::new();
    for batch in arns.chunks(ARNS) {
        if let Some(tags) = found(read(batch.to_vec()).await)? {
            present.extend(tags);
            continue;
        }
        for arn in batch {
            present.extend(found(read(vec![arn.clone()]).await)?.unwrap_or_default());
        }
    }
    Ok(present)
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

/// The ARNs that one call takes (docs/aws.md §2.5).
const ARNS: usize = 20;

/// Reads the tags of Elastic Load Balancing resources, by ARN.
pub async fn of_arns(aws: &Aws, arns: Vec<String>) -> Result<BTreeMap<String, Tags>, Fault> {
    let mut found = BTreeMap::new();
    for arns in arns.chunks(ARNS) {
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

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        collections::BTreeSet,
        time::Duration,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn searches_that_run_together_share_the_bound() {
        let (running, most) = (Cell::new(0), Cell::new(0));
        let read = async |number: usize| {
            running.set(running.get() + 1);
            most.set(most.get().max(running.get()));
            tokio::time::sleep(Duration::from_secs(1)).await;
            running.set(running.get() - 1);
            number
        };
        let searches = (0..8).map(|_| bounded((0..20).map(&read).collect()));
        let found = futures::future::join_all(searches).await;
        assert!(found.iter().all(|numbers| numbers.iter().copied().eq(0..20)), "{found:?}");
        assert_eq!(most.get(), AT_ONCE);
    }

    #[tokio::test]
    async fn a_resource_that_is_gone_does_not_hide_the_others() {
        let arns: Vec<String> = (0..45).map(|number| format!("arn:{number}")).collect();
        let calls = RefCell::new(Vec::new());
        let read = |gone: &'static [&'static str], code: &'static str| {
            let calls = &calls;
            move |arns: Vec<String>| {
                calls.borrow_mut().push(arns.len());
                std::future::ready(match arns.iter().any(|arn| gone.contains(&arn.as_str())) {
                    true => Err(Fault::new("DescribeTags", code, "no")),
                    false => Ok(arns.into_iter().map(|arn| (arn, Tags::new())).collect()),
                })
            }
        };
        let all: BTreeSet<String> = arns.iter().cloned().collect();
        let present = of_present(&arns, read(&[], "")).await.unwrap();
        assert_eq!(present.into_keys().collect::<BTreeSet<_>>(), all);
        assert_eq!(calls.take(), [20, 20, 5]);

        for code in ["LoadBalancerNotFound", "TargetGroupNotFound"] {
            let present = of_present(&arns, read(&["arn:3", "arn:44"], code)).await.unwrap();
            let missing: Vec<&String> = all.iter().filter(|arn| !present.contains_key(*arn)).collect();
            assert_eq!(missing, ["arn:3", "arn:44"]);
            assert_eq!(calls.take(), [&[20][..], &[1; 20], &[20, 5], &[1; 5]].concat());
        }
        let refused = of_present(&arns, read(&["arn:3"], "AccessDenied")).await.unwrap_err();
        assert_eq!((refused.code.as_str(), calls.take()), ("AccessDenied", vec![20]));
    }
}
