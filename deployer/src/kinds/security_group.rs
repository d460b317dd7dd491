//! Security groups. Egress keeps AWS's default: everything is allowed.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use aws_sdk_ec2::types::{
    IpPermission, IpRange, Ipv6Range, PrefixListId, ResourceType, SecurityGroup as Described, UserIdGroupPair,
};
use serde::{Serialize, Serializer};

use super::tags;
use crate::{
    cloud::aws::{Aws, gone, items},
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, Tagged, Tags},
};

/// Identified by its name within its VPC; lower case, because AWS compares names without case (docs/aws.md §1).
#[derive(Debug, Clone)]
pub struct SecurityGroup {
    /// Its name.
    pub name: String,
    /// The id of the VPC.
    pub vpc: String,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The description.
    pub description: String,
    /// The ingress rules.
    pub ingress: BTreeSet<Rule>,
}

/// What AWS assigns.
#[derive(Debug, Clone)]
pub struct Output {
    /// `sg-…`.
    pub id: String,
}

/// An ingress rule. It can represent every rule of AWS, so that rules added by hand show up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// `tcp`, `udp`, `icmp`, a number, or `-1` for all.
    pub protocol: String,
    /// The first port; -1 if the protocol has none.
    pub from_port: i32,
    /// The last port.
    pub to_port: i32,
    /// The source.
    pub source: Source,
}

/// The source of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A CIDR block.
    Cidr(String),
    /// Members of this security group.
    Group(String),
    /// A managed prefix list.
    PrefixList(String),
}

impl Rule {
    /// One TCP port.
    pub fn tcp(port: u16, source: Source) -> Rule {
        Rule { protocol: "tcp".into(), from_port: port.into(), to_port: port.into(), source }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rule { protocol, from_port, to_port, source } = self;
        match protocol.as_str() {
            "-1" => write!(f, "everything")?,
            _ if from_port == to_port => write!(f, "{protocol} {from_port}")?,
            _ => write!(f, "{protocol} {from_port}-{to_port}")?,
        }
        let (Source::Cidr(source) | Source::Group(source) | Source::PrefixList(source)) = source;
        write!(f, " from {source}")
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Resource for SecurityGroup {
    const KIND: &'static str = "security_group";
    const FIXED: &'static [&'static str] = &["description"];

    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let place = format!("{}/{}", self.vpc, self.name);
        let group = aws.together.security_groups.read(&place, |places| described(aws, places)).await?;
        let Some(group) = group else { return Ok(Observed::Absent) };
        Ok(Observed::Present(Live {
            settings: Settings {
                description: group.description().unwrap_or_default().into(),
                ingress: group.ip_permissions().iter().flat_map(rules).collect(),
            },
            output: Output { id: group.group_id().unwrap_or_default().into() },
            owner: Owner::Tags(tags::from_ec2(group.tags())),
        }))
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
        // The new group may not be visible to this call yet. Then it is read without its rules, and `update` adds them
        // or reports the error.
        let finished = authorize(aws, &id, want.ingress.iter()).await.is_ok();
        let (output, owner) = (Output { id }, Owner::Tags(tags.clone()));
        Ok(finished.then(|| Live { settings: want.clone(), output, owner }))
    }

    /// Adds missing rules before it revokes superfluous ones (docs/aws.md §11.3).
    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let there = &live.settings.ingress;
        authorize(aws, &live.output.id, want.ingress.difference(there)).await?;
        revoke(aws, &live.output.id, there.difference(&want.ingress)).await
    }

    async fn tag(&self, aws: &Aws, live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        tags::tag_in_ec2(aws, &live.output.id, tags).await
    }

    /// Revokes the rules that refer to other groups first: they would prevent the deletion of those (docs/aws.md §8.2).
    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        let id = &live.output.id;
        let names_another = |rule: &&Rule| matches!(&rule.source, Source::Group(group) if group != id);
        revoke(aws, id, live.settings.ingress.iter().filter(names_another)).await?;
        gone(aws.ec2.delete_security_group().group_id(id).send().await)
    }

    /// EC2 does not tell when a group was created.
    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let groups = items(aws.ec2.describe_security_groups().filters(tags::of_any_stack()).into_paginator().send());
        let tagged = |group: Described| {
            let tags = tags::from_ec2(group.tags());
            Ok(Tagged { name: group.group_name.unwrap_or_default(), tags, created_s: None })
        };
        Ok(groups.await?.into_iter().map(tagged).collect())
    }

    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        let call = aws.ec2.describe_security_groups().filters(tags::of_stack(stack));
        let groups = items(call.into_paginator().send()).await?.into_iter().map(|group| SecurityGroup {
            name: group.group_name.unwrap_or_default(),
            vpc: group.vpc_id.unwrap_or_default(),
        });
        let mut groups: Vec<_> = groups.filter(|group| !but.contains(&group.name)).collect();
        // A group whose rules refer to another is deleted before that other: `…-web-8080` sorts before `…-web-lb`.
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(groups)
    }
}

/// Returns the groups of these keys, `VPC/NAME`. Filters, so that a missing group does not fail the call for the others
/// (docs/aws.md §8.2).
async fn described(aws: &Aws, places: Vec<String>) -> Result<HashMap<String, Described>, Fault> {
    let (vpcs, names): (BTreeSet<&str>, BTreeSet<&str>) = places.iter().filter_map(|it| it.split_once('/')).unzip();
    let call = aws.ec2.describe_security_groups();
    let call = call.filters(tags::ec2_filter("group-name", names)).filters(tags::ec2_filter("vpc-id", vpcs));
    let groups = items(call.into_paginator().send()).await?;
    let placed = |group: Described| Some((format!("{}/{}", group.vpc_id()?, group.group_name()?), group));
    Ok(groups.into_iter().filter_map(placed).collect())
}

async fn authorize(aws: &Aws, id: &str, rules: impl Iterator<Item = &Rule>) -> Result<(), Fault> {
    let permissions: Vec<IpPermission> = rules.map(permission).collect();
    if !permissions.is_empty() {
        let call = aws.ec2.authorize_security_group_ingress().group_id(id);
        call.set_ip_permissions(Some(permissions)).send().await?;
    }
    Ok(())
}

async fn revoke(aws: &Aws, id: &str, rules: impl Iterator<Item = &Rule>) -> Result<(), Fault> {
    let permissions: Vec<IpPermission> = rules.map(permission).collect();
    if permissions.is_empty() {
        return Ok(());
    }
    let call = aws.ec2.revoke_security_group_ingress().group_id(id);
    gone(call.set_ip_permissions(Some(permissions)).send().await)
}

/// AWS groups the sources of one port; one of our rules has one source.
fn rules(permission: &IpPermission) -> Vec<Rule> {
    let cidrs = permission.ip_ranges().iter().filter_map(IpRange::cidr_ip);
    let cidrs = cidrs.chain(permission.ipv6_ranges().iter().filter_map(Ipv6Range::cidr_ipv6));
    let groups = permission.user_id_group_pairs().iter().filter_map(UserIdGroupPair::group_id);
    let lists = permission.prefix_list_ids().iter().filter_map(PrefixListId::prefix_list_id);
    let sources = cidrs
        .map(|cidr| Source::Cidr(cidr.into()))
        .chain(groups.map(|group| Source::Group(group.into())))
        .chain(lists.map(|list| Source::PrefixList(list.into())));
    sources
        .map(|source| Rule {
            protocol: permission.ip_protocol().unwrap_or_default().into(),
            from_port: permission.from_port().unwrap_or(-1),
            to_port: permission.to_port().unwrap_or(-1),
            source,
        })
        .collect()
}

fn permission(rule: &Rule) -> IpPermission {
    let permission =
        IpPermission::builder().ip_protocol(&rule.protocol).from_port(rule.from_port).to_port(rule.to_port);
    match &rule.source {
        Source::Cidr(cidr) if cidr.contains(':') => {
            permission.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(cidr).build())
        }
        Source::Cidr(cidr) => permission.ip_ranges(IpRange::builder().cidr_ip(cidr).build()),
        Source::Group(group) => permission.user_id_group_pairs(UserIdGroupPair::builder().group_id(group).build()),
        Source::PrefixList(list) => permission.prefix_list_ids(PrefixListId::builder().prefix_list_id(list).build()),
    }
    .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_survives_the_way_to_aws_and_back() {
        let sources = [
            Source::Cidr("0.0.0.0/0".into()),
            Source::Cidr("::/0".into()),
            Source::Group("sg-1".into()),
            Source::PrefixList("pl-1".into()),
        ];
        for source in sources {
            let rule = Rule::tcp(80, source);
            assert_eq!(rules(&permission(&rule)), [rule]);
        }
    }

    #[test]
    fn a_rule_is_shown_in_readable_form() {
        let rule = Rule::tcp(8080, Source::Group("sg-1".into()));
        assert_eq!(rule.to_string(), "tcp 8080 from sg-1");
        let range = Rule { from_port: 1, to_port: 9, ..rule.clone() };
        assert_eq!(range.to_string(), "tcp 1-9 from sg-1");
        let all = Rule { protocol: "-1".into(), from_port: -1, to_port: -1, ..rule };
        assert_eq!(serde_json::json!([all]), serde_json::json!(["everything from sg-1"]));
    }
}
