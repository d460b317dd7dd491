//! Security groups.
//!
//! A load balancer's group lets requests out to its instances only. The rules of both groups name the other group, so
//! neither could be created complete: the instances' group, which is created second, also owns the rules that lead to it.

mod change;
mod rule;

use std::collections::{BTreeSet, HashMap};

use aws_sdk_ec2::types::{ResourceType, SecurityGroup as Described, SecurityGroupRule as DescribedRule};
use serde::Serialize;

use super::tags;
use crate::{
    cloud::aws::{Aws, gone, items},
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, STACK_TAG, Tagged, Tags},
};

use change::{Way, authorize, change, revoke};
use rule::{Outgoing, group_of, permission, permissions, plain, rules};
pub use rule::{RuleSource, SecurityGroupRule};

/// Identified by its name within its VPC; lower case, because AWS compares names without case (docs/aws.md §1).
#[derive(Debug, Clone)]
pub struct SecurityGroup {
    /// Its name.
    pub name: String,
    /// The id of the VPC.
    pub vpc: String,
    /// Its part in the path of a request.
    pub side: Side,
}

/// The part of a group in the path of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// The load balancer's: its egress is restricted to the group of this name.
    Front(String),
    /// The instances', behind the group of this name: its egress keeps AWS's default, which allows everything.
    Back(String),
    /// The group of an instance without a load balancer.
    Alone,
    /// Unknown, because the group is only to be removed.
    Unknown,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The description. It is not compared: it has no effect, and AWS cannot change it, so a group that another tool has
    /// made could never be taken over.
    #[serde(skip_serializing)]
    pub description: String,
    /// The ingress rules.
    pub ingress: BTreeSet<SecurityGroupRule>,
    /// The egress rules, except those that lead to groups of the stack; `None` if they are not managed.
    pub egress: Option<BTreeSet<Outgoing>>,
    /// Rules in the egress of other groups that lead here. The source is the group that has the rule.
    pub reached_by: BTreeSet<SecurityGroupRule>,
}

/// Outputs for other resources.
#[derive(Debug, Clone)]
pub struct Output {
    /// `sg-…`.
    pub id: String,
}

impl Output {
    /// Reads every rule of the group, those of others included, each with its own id.
    pub async fn rules(&self, aws: &Aws) -> Result<Vec<DescribedRule>, Fault> {
        let call = aws.ec2.describe_security_group_rules().filters(tags::ec2_filter("group-id", [self.id.as_str()]));
        items(call.into_paginator().send()).await
    }
}

impl Resource for SecurityGroup {
    const KIND: &'static str = "security_group";
    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.name
    }

    /// Another VPC, such as one that `stack.yaml` named before, may have a group of the same name.
    fn identity(&self) -> String {
        place(&self.vpc, &self.name)
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let other = async {
            match &self.side {
                Side::Front(other) | Side::Back(other) => read(aws, &self.vpc, other).await,
                Side::Alone | Side::Unknown => Ok(None),
            }
        };
        let (group, other) = futures::try_join!(read(aws, &self.vpc, &self.name), other)?;
        let Some(group) = group else { return Ok(Observed::Absent) };
        let id = group.group_id().unwrap_or_default();
        let tags = tags::from_ec2(group.tags());
        let (mut egress, mut reached_by) = (None, BTreeSet::new());
        match &self.side {
            Side::Front(_) => egress = Some(beyond_the_stack(aws, &group, &tags, other.as_ref()).await?),
            Side::Back(_) => reached_by = other.iter().flat_map(|front| rules_to(front, id)).collect(),
            Side::Alone | Side::Unknown => (),
        }
        let settings = Settings {
            description: group.description().unwrap_or_default().into(),
            ingress: group.ip_permissions().iter().flat_map(rules).collect(),
            egress,
            reached_by,
        };
        Ok(Observed::Present(Live { settings, output: Output { id: id.into() }, owner: Owner::Tags(tags) }))
    }

    async fn create(&self, aws: &Aws, want: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        let answer = aws
            .ec2
            .create_security_group()
            .group_name(&self.name)
            .description(&want.description)
            .vpc_id(&self.vpc)
            .tag_specifications(tags::ec2_specification(ResourceType::SecurityGroup, tags))
            .send()
            .await?;
        let id = answer.group_id().unwrap_or_default().to_owned();
        // The new group may not be visible to these calls yet. Then it is read without its rules, and `update` adds them
        // or reports the error.
        let finished = async {
            authorize(aws, Way::In, &id, permissions(want.ingress.iter())).await?;
            if let Some(egress) = &want.egress {
                authorize(aws, Way::Out, &id, permissions(egress.iter().map(|rule| &rule.0))).await?;
                revoke(aws, Way::Out, &id, vec![permission(&SecurityGroupRule::everything())]).await?;
            }
            let_out(aws, &id, &want.reached_by, &BTreeSet::new()).await
        };
        let finished = finished.await.is_ok();
        let (output, owner) = (Output { id }, Owner::Tags(tags.clone()));
        // In a network with IPv6, AWS adds a second egress rule to a new group: read the rules again.
        let is_known = finished && want.egress.is_none();
        Ok(is_known.then(|| Live { settings: want.clone(), output, owner }))
    }

    /// Adds missing rules before it revokes superfluous ones (docs/aws.md §11.3).
    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let (id, there) = (&live.output.id, &live.settings);
        change(aws, Way::In, id, &want.ingress, &there.ingress).await?;
        let_out(aws, id, &want.reached_by, &there.reached_by).await?;
        match (&want.egress, &there.egress) {
            (Some(want), Some(there)) if want != there => {
                self.keep_open(aws, live).await?;
                change(aws, Way::Out, id, &plain(want), &plain(there)).await
            }
            _ => Ok(()),
        }
    }

    async fn tag(&self, aws: &Aws, live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        tags::tag_in_ec2(aws, &live.output.id, tags).await
    }

    /// First revokes its rules that refer to other groups, and the rules of other groups that refer to it: they would
    /// prevent the deletion of those and of this one (docs/aws.md §8.2). In a group of another owner, only a rule that
    /// we have made is ours: that with our description in the group of the service's load balancer.
    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        let id = &live.output.id;
        let names_another = |rule: &&SecurityGroupRule| matches!(&rule.source, RuleSource::Group(group) if group != id);
        revoke(aws, Way::In, id, permissions(live.settings.ingress.iter().filter(names_another))).await?;
        let Owner::Tags(tags) = &live.owner else { return Ok(()) };
        let stack = tags.get(STACK_TAG).map(String::as_str).unwrap_or_default();
        for group in leading_to(aws, id).await? {
            let from = group.group_id().unwrap_or_default();
            let is_ours = tags::from_ec2(group.tags()).get(STACK_TAG).is_some_and(|owner| owner == stack);
            let is_front = group.group_name().is_some_and(|front| may_be_behind(stack, &self.name, front));
            let out = group.ip_permissions_egress().iter().flat_map(rules);
            let out: Vec<SecurityGroupRule> = out
                .filter(|rule| rule.source == RuleSource::Group(id.clone()))
                .filter(|rule| is_ours || is_front && rule.description.as_deref() == Some(INSTANCES))
                .collect();
            revoke(aws, Way::Out, from, permissions(out.iter())).await?;
        }
        gone(aws.ec2.delete_security_group().group_id(id).send().await)
    }

    /// EC2 does not report when a group was created.
    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let groups = items(aws.ec2.describe_security_groups().filters(tags::of_any_stack()).into_paginator().send());
        let tagged = |group: Described| {
            let tags = tags::from_ec2(group.tags());
            Ok(Tagged::new(group.group_name.unwrap_or_default(), tags, None))
        };
        Ok(groups.await?.into_iter().map(tagged).collect())
    }

    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        let call = aws.ec2.describe_security_groups().filters(tags::of_stack(stack));
        let groups = items(call.into_paginator().send()).await?.into_iter().map(|group| SecurityGroup {
            name: group.group_name.unwrap_or_default(),
            vpc: group.vpc_id.unwrap_or_default(),
            side: Side::Unknown,
        });
        let mut groups: Vec<_> = groups.filter(|group| !but.contains(&group.identity())).collect();
        // The groups of instances first: AWS does not delete the group of a load balancer that their rules refer to.
        groups.sort_by(|a, b| (a.is_front(), &a.name, &a.vpc).cmp(&(b.is_front(), &b.name, &b.vpc)));
        Ok(groups)
    }
}

impl SecurityGroup {
    /// Whether it has the name of the group of a load balancer.
    fn is_front(&self) -> bool {
        self.name.ends_with("-lb")
    }

    /// Lets requests out to the instances before everything else is closed: otherwise none would reach them until their
    /// group adds that rule, after this one. A stack of an earlier version has no such rules.
    async fn keep_open(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        let (id, Owner::Tags(tags)) = (&live.output.id, &live.owner) else { return Ok(()) };
        let stack = tags.get(STACK_TAG).map(String::as_str).unwrap_or_default();
        let naming_this = tags::ec2_filter("ip-permission.group-id", [id.as_str()]);
        let backs = aws.ec2.describe_security_groups().filters(tags::of_stack(stack)).filters(naming_this);
        let backs = async { items(backs.into_paginator().send()).await };
        let (front, backs) = futures::try_join!(read(aws, &self.vpc, &self.name), backs)?;
        let Some(front) = front else { return Ok(()) };
        let mut missing = Vec::new();
        for back in &backs {
            let back_id = back.group_id().unwrap_or_default();
            let there = rules_to(&front, back_id);
            let admitted =
                back.ip_permissions().iter().flat_map(rules).filter(|rule| group_of(rule) == Some(id.as_str()));
            let closed = admitted.filter(|rule| !there.iter().any(|other| other.allows_the_same_as(rule)));
            let description = Some(INSTANCES.to_owned());
            let source = RuleSource::Group(back_id.into());
            missing.extend(closed.map(|rule| SecurityGroupRule {
                source: source.clone(),
                description: description.clone(),
                ..rule
            }));
        }
        authorize(aws, Way::Out, id, permissions(missing.iter())).await
    }
}

/// Whether instances of the stack whose group has the name `back` may be behind the load balancer whose group has the name
/// `front`: `stack-web-8080` is behind `stack-web-lb`, and so is `stack-api-8080-web`, whose service shares it.
fn may_be_behind(stack: &str, back: &str, front: &str) -> bool {
    let front = in_stack(stack, front).and_then(|front| front.strip_suffix("-lb"));
    let (Some(back), Some(service)) = (in_stack(stack, back), front) else { return false };
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    let own = back.strip_prefix(service).and_then(|rest| rest.strip_prefix('-'));
    let shared = back.strip_suffix(service).and_then(|rest| rest.strip_suffix('-')?.rsplit_once('-'));
    own.is_some_and(is_port) || shared.is_some_and(|(_, port)| is_port(port))
}

/// A name without the stack's prefix.
fn in_stack<'a>(stack: &str, name: &'a str) -> Option<&'a str> {
    name.strip_prefix(stack)?.strip_prefix('-')
}

/// The key of a group: `VPC/NAME`.
fn place(vpc: &str, name: &str) -> String {
    format!("{vpc}/{name}")
}

/// Returns the groups of these keys. Filters, so that a missing group does not fail the call for the others
/// (docs/aws.md §8.2).
async fn described(aws: &Aws, places: Vec<String>) -> Result<HashMap<String, Described>, Fault> {
    let (vpcs, names): (BTreeSet<&str>, BTreeSet<&str>) = places.iter().filter_map(|it| it.split_once('/')).unzip();
    let call = aws.ec2.describe_security_groups();
    let call = call.filters(tags::ec2_filter("group-name", names)).filters(tags::ec2_filter("vpc-id", vpcs));
    let groups = items(call.into_paginator().send()).await?;
    let placed = |group: Described| Some((place(group.vpc_id()?, group.group_name()?), group));
    Ok(groups.into_iter().filter_map(placed).collect())
}

/// Without a known VPC, no group: one of the stack is found by its tags.
async fn read(aws: &Aws, vpc: &str, name: &str) -> Result<Option<Described>, Fault> {
    if vpc.is_empty() {
        return Ok(None);
    }
    aws.batches.security_groups.read(&place(vpc, name), |places| described(aws, places)).await
}

/// Returns the groups whose egress rules lead to this one.
async fn leading_to(aws: &Aws, id: &str) -> Result<Vec<Described>, Fault> {
    let call = aws.ec2.describe_security_groups();
    let call = call.filters(tags::ec2_filter("egress.ip-permission.group-id", [id]));
    items(call.into_paginator().send()).await
}

/// Returns the egress rules that do not lead to groups of the stack. Such a group owns the rules that lead to it, also
/// one of a previous port whose instances are still in service.
async fn beyond_the_stack(
    aws: &Aws,
    group: &Described,
    tags: &Tags,
    back: Option<&Described>,
) -> Result<BTreeSet<Outgoing>, Fault> {
    let (known, stack) = (back.and_then(Described::group_id), tags.get(STACK_TAG));
    let out: Vec<SecurityGroupRule> = group.ip_permissions_egress().iter().flat_map(rules).collect();
    let named = out.iter().filter_map(|rule| match &rule.source {
        RuleSource::Group(id) if Some(id.as_str()) != known => Some(id.as_str()),
        _ => None,
    });
    let named: BTreeSet<&str> = named.collect();
    let mut ours: BTreeSet<String> = known.map(str::to_owned).into_iter().collect();
    if let Some(stack) = stack.filter(|_| !named.is_empty()) {
        let call = aws.ec2.describe_security_groups().filters(tags::of_stack(stack));
        let call = call.filters(tags::ec2_filter("group-id", named));
        ours.extend(items(call.into_paginator().send()).await?.into_iter().filter_map(|group| group.group_id));
    }
    let leads_to_ours = |rule: &SecurityGroupRule| matches!(&rule.source, RuleSource::Group(id) if ours.contains(id));
    Ok(out.into_iter().filter(|rule| !leads_to_ours(rule)).map(Outgoing).collect())
}

/// Returns the egress rules of `from` that lead to the group with this id, as that group sees them.
fn rules_to(from: &Described, id: &str) -> Vec<SecurityGroupRule> {
    let source = RuleSource::Group(from.group_id().unwrap_or_default().into());
    let out = from.ip_permissions_egress().iter().flat_map(rules);
    out.filter(|rule| rule.source == RuleSource::Group(id.into()))
        .map(|rule| SecurityGroupRule { source: source.clone(), ..rule })
        .collect()
}

/// Changes the egress rules of other groups that lead to the group with this id.
async fn let_out(
    aws: &Aws,
    id: &str,
    want: &BTreeSet<SecurityGroupRule>,
    there: &BTreeSet<SecurityGroupRule>,
) -> Result<(), Fault> {
    let from: BTreeSet<&str> = want.iter().chain(there).filter_map(group_of).collect();
    for from in from {
        let of = |rules: &BTreeSet<SecurityGroupRule>| -> BTreeSet<SecurityGroupRule> {
            let mirrored = rules.iter().filter(|rule| group_of(rule) == Some(from));
            mirrored.map(|rule| SecurityGroupRule { source: RuleSource::Group(id.into()), ..rule.clone() }).collect()
        };
        change(aws, Way::Out, from, &of(want), &of(there)).await?;
    }
    Ok(())
}

/// The description of the rule that lets requests out to instances.
pub const INSTANCES: &str = "instances";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_balancer_of_instances_follows_from_their_names() {
        for (back, front, expected) in [
            ("app-web-8080", "app-web-lb", true),
            ("app-my-web-8080", "app-my-web-lb", true),
            ("app-api-8080-web", "app-web-lb", true),
            ("app-api-8080-my-web", "app-my-web-lb", true),
            // Those of services that merely have similar names.
            ("app-api-8080-my-web", "app-web-lb", false),
            ("app-api-8080-web", "app-api-lb", false),
            ("app-my-web-8080", "app-web-lb", false),
            ("app-web-8080", "other-web-lb", false),
            ("app-web-8080", "app-web", false),
        ] {
            assert_eq!(may_be_behind("app", back, front), expected, "{back} {front}");
        }
    }
}
