//! The rules of security groups.

use std::{collections::BTreeSet, fmt};

use aws_sdk_ec2::types::{IpPermission, IpRange, Ipv6Range, PrefixListId, UserIdGroupPair};
use serde::{Serialize, Serializer};

/// An ingress rule, which can represent every rule of AWS, so that rules added by hand show up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecurityGroupRule {
    /// `tcp`, `udp`, `icmp`, a number, or `-1` for all.
    pub protocol: String,
    /// The first port; -1 if the protocol has none.
    pub from_port: i32,
    /// The last port.
    pub to_port: i32,
    /// The source; of an egress rule, the destination.
    pub source: RuleSource,
    /// The description. AWS does not distinguish rules by it.
    pub description: Option<String>,
}

/// An egress rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outgoing(pub SecurityGroupRule);

/// The source of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleSource {
    /// A CIDR block.
    Cidr(String),
    /// Members of this security group.
    Group(String),
    /// A managed prefix list.
    PrefixList(String),
}

impl SecurityGroupRule {
    /// One TCP port.
    pub fn tcp(port: u16, source: RuleSource, description: &str) -> SecurityGroupRule {
        let description = Some(description.to_owned());
        SecurityGroupRule { protocol: "tcp".into(), from_port: port.into(), to_port: port.into(), source, description }
    }

    /// The only egress rule of a new group (docs/aws.md §8.2).
    pub(super) fn everything() -> SecurityGroupRule {
        let source = RuleSource::Cidr("0.0.0.0/0".into());
        SecurityGroupRule { protocol: "-1".into(), from_port: -1, to_port: -1, source, description: None }
    }

    pub(super) fn allows_the_same_as(&self, other: &SecurityGroupRule) -> bool {
        let without = |rule: &SecurityGroupRule| SecurityGroupRule { description: None, ..rule.clone() };
        without(self) == without(other)
    }

    /// Whether one of these rules is the same, apart from its description.
    pub(super) fn is_allowed_by(&self, rules: &BTreeSet<SecurityGroupRule>) -> bool {
        rules.iter().any(|other| other.allows_the_same_as(self))
    }

    fn shown(&self, f: &mut fmt::Formatter<'_>, direction: &str) -> fmt::Result {
        let SecurityGroupRule { protocol, from_port, to_port, source, description } = self;
        match protocol.as_str() {
            "-1" => write!(f, "everything")?,
            _ if from_port == to_port => write!(f, "{protocol} {from_port}")?,
            _ => write!(f, "{protocol} {from_port}-{to_port}")?,
        }
        let (RuleSource::Cidr(source) | RuleSource::Group(source) | RuleSource::PrefixList(source)) = source;
        write!(f, " {direction} {source}")?;
        description.as_ref().map_or(Ok(()), |description| write!(f, " ({description})"))
    }
}

impl fmt::Display for SecurityGroupRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown(f, "from")
    }
}

impl fmt::Display for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.shown(f, "to")
    }
}

impl Serialize for Outgoing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for SecurityGroupRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

pub(super) fn group_of(rule: &SecurityGroupRule) -> Option<&str> {
    match &rule.source {
        RuleSource::Group(id) => Some(id),
        _ => None,
    }
}

pub(super) fn plain(rules: &BTreeSet<Outgoing>) -> BTreeSet<SecurityGroupRule> {
    rules.iter().map(|rule| rule.0.clone()).collect()
}

/// AWS groups the sources of one port; one of our rules has one source.
pub(super) fn rules(permission: &IpPermission) -> Vec<SecurityGroupRule> {
    let cidr = |it: &IpRange| Some((RuleSource::Cidr(it.cidr_ip.clone()?), it.description.clone()));
    let cidr6 = |it: &Ipv6Range| Some((RuleSource::Cidr(it.cidr_ipv6.clone()?), it.description.clone()));
    let group = |it: &UserIdGroupPair| Some((RuleSource::Group(it.group_id.clone()?), it.description.clone()));
    let list = |it: &PrefixListId| Some((RuleSource::PrefixList(it.prefix_list_id.clone()?), it.description.clone()));
    let sources = permission.ip_ranges().iter().filter_map(cidr);
    let sources = sources.chain(permission.ipv6_ranges().iter().filter_map(cidr6));
    let sources = sources.chain(permission.user_id_group_pairs().iter().filter_map(group));
    let sources = sources.chain(permission.prefix_list_ids().iter().filter_map(list));
    sources
        .map(|(source, description)| SecurityGroupRule {
            protocol: permission.ip_protocol().unwrap_or_default().into(),
            from_port: permission.from_port().unwrap_or(-1),
            to_port: permission.to_port().unwrap_or(-1),
            source,
            description: description.filter(|text| !text.is_empty()),
        })
        .collect()
}

pub(super) fn permissions<'a>(rules: impl Iterator<Item = &'a SecurityGroupRule>) -> Vec<IpPermission> {
    rules.map(permission).collect()
}

pub(super) fn permission(rule: &SecurityGroupRule) -> IpPermission {
    let permission =
        IpPermission::builder().ip_protocol(&rule.protocol).from_port(rule.from_port).to_port(rule.to_port);
    let about = rule.description.clone();
    match &rule.source {
        RuleSource::Cidr(cidr) if cidr.contains(':') => {
            permission.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(cidr).set_description(about).build())
        }
        RuleSource::Cidr(cidr) => permission.ip_ranges(IpRange::builder().cidr_ip(cidr).set_description(about).build()),
        RuleSource::Group(group) => {
            permission.user_id_group_pairs(UserIdGroupPair::builder().group_id(group).set_description(about).build())
        }
        RuleSource::PrefixList(list) => {
            permission.prefix_list_ids(PrefixListId::builder().prefix_list_id(list).set_description(about).build())
        }
    }
    .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_survives_the_way_to_aws_and_back() {
        let sources = [
            RuleSource::Cidr("0.0.0.0/0".into()),
            RuleSource::Cidr("::/0".into()),
            RuleSource::Group("sg-1".into()),
            RuleSource::PrefixList("pl-1".into()),
        ];
        for source in sources {
            let rule = SecurityGroupRule::tcp(80, source, "clients");
            assert_eq!(rules(&permission(&rule)), [rule]);
        }
    }

    #[test]
    fn a_rule_is_shown_in_readable_form() {
        let described = SecurityGroupRule::tcp(8080, RuleSource::Group("sg-1".into()), "clients");
        assert_eq!(described.to_string(), "tcp 8080 from sg-1 (clients)");
        let rule = SecurityGroupRule { description: None, ..described.clone() };
        assert_eq!(rule.to_string(), "tcp 8080 from sg-1");
        assert_eq!(Outgoing(rule.clone()).to_string(), "tcp 8080 to sg-1");
        assert!(rule.allows_the_same_as(&described) && rule != described);
        let range = SecurityGroupRule { from_port: 1, to_port: 9, ..rule.clone() };
        assert_eq!(range.to_string(), "tcp 1-9 from sg-1");
        let all = SecurityGroupRule { protocol: "-1".into(), from_port: -1, to_port: -1, ..rule };
        assert_eq!(serde_json::json!([all]), serde_json::json!(["everything from sg-1"]));
    }
}
