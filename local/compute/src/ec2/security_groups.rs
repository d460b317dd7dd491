//! Security groups and their rules, which are enforced for traffic from the load balancer (docs/aws.md §8.2).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::network::{self, Block, default_vpc_id};
use super::tags;
use crate::Site;
use crate::state::{Peer, Rule, SecurityGroup, State, Traffic, new_id};
use kit::query::{Answer, ApiError, Filters, Params, Xml, fact};

impl SecurityGroup {
    /// Returns the id of its VPC.
    pub fn vpc_id(&self, site: &Site) -> String {
        match self.vpc.as_str() {
            "" => default_vpc_id(site).unwrap_or_default(),
            id => id.to_owned(),
        }
    }
}

/// Creates the default group of the default VPC, unless it exists.
pub fn ensure_default(state: &mut State, site: &Site) {
    let is_it = |group: &SecurityGroup| group.name == "default" && group.vpc.is_empty();
    if default_vpc_id(site).is_some() && !state.security_groups.values().any(is_it) {
        add_default(state, "");
    }
}

/// Creates the default group of a VPC.
pub fn add_default(state: &mut State, vpc: &str) {
    let id = new_id("sg");
    let inside = Rule {
        id: new_id("sgr"),
        egress: false,
        traffic: Traffic { protocol: "-1".to_owned(), ports: None, peer: Peer::Group(id.clone()) },
        description: None,
    };
    let group = SecurityGroup {
        id: id.clone(),
        name: "default".to_owned(),
        vpc: vpc.to_owned(),
        description: "default VPC security group".to_owned(),
        rules: vec![inside, everything_out()],
    };
    state.security_groups.insert(id, group);
}

fn everything_out() -> Rule {
    let traffic = Traffic { protocol: "-1".to_owned(), ports: None, peer: Peer::Cidr("0.0.0.0/0".to_owned()) };
    Rule { id: new_id("sgr"), egress: true, traffic, description: None }
}

/// Returns whether a member of the `from` groups may connect to a member of the `to` groups on a TCP port: one of `from`
/// lets the connection out, and one of `to` lets it in. Both addresses are inside the VPC.
pub fn connects(state: &State, from: &[String], to: &[String], port: u16) -> bool {
    lets(state, from, true, port, to) && lets(state, to, false, port, from)
}

/// Returns whether one of these groups has a rule in this direction for a TCP port and a member of the `peers` groups.
fn lets(state: &State, groups: &[String], egress: bool, port: u16, peers: &[String]) -> bool {
    let known = groups.iter().filter_map(|id| state.security_groups.get(id));
    let rules = known.flat_map(|group| group.rules.iter().map(move |rule| (group, rule)));
    rules.filter(|(_, rule)| rule.egress == egress).any(|(group, rule)| {
        let Traffic { protocol, ports, peer } = &rule.traffic;
        let carried = matches!(protocol.as_str(), "tcp" | "-1");
        let open = ports.is_none_or(|(low, high)| (low..=high).contains(&i32::from(port)));
        let welcome = match peer {
            Peer::Group(id) => peers.contains(id),
            Peer::Cidr(cidr) => reaches_into_vpc(state, &group.vpc, cidr),
            Peer::Cidr6(_) => false,
        };
        carried && open && welcome
    })
}

/// Returns whether a range has addresses of a VPC, given by its id; empty for the default one.
fn reaches_into_vpc(state: &State, vpc: &str, cidr: &str) -> bool {
    let range = state.networks.vpcs.get(vpc).map_or(network::DEFAULT_RANGE, |vpc| vpc.cidr.as_str());
    let (Ok(vpc), Ok(range)) = (range.parse::<Block>(), cidr.parse::<Block>()) else { return false };
    vpc.overlaps(range)
}

fn parse_cidr(cidr: &str) -> Option<(Ipv4Addr, u32)> {
    let (address, bits) = cidr.split_once('/')?;
    let bits: u32 = bits.parse().ok().filter(|bits| *bits <= 32)?;
    Some((address.parse().ok()?, bits))
}

pub fn create(state: &mut State, site: &Site, params: &Params) -> Answer {
    let name = params.required("GroupName")?;
    let description = params.required("GroupDescription")?;
    let no_default = || ApiError::new("VPCIdNotSpecified", "No default VPC for this user");
    let wanted = params.text("VpcId").map(str::to_owned).or_else(|| default_vpc_id(site)).ok_or_else(no_default)?;
    let vpc = network::vpc(state, site, &wanted)?;
    let (is_default, vpc) = (vpc.is_default, vpc.id);
    if name.starts_with("sg-") {
        return Err(ApiError::new(
            "InvalidParameterValue",
            format!("Value ({name}) for parameter GroupName is invalid. Group names may not be in the format sg-*."),
        ));
    }
    check_text("GroupName", name)?;
    check_text("GroupDescription", description)?;
    let is_in = |group: &&SecurityGroup| group.vpc_id(site) == vpc;
    if state.security_groups.values().filter(is_in).any(|group| group.name.eq_ignore_ascii_case(name)) {
        let message = format!("The security group '{name}' already exists for VPC '{vpc}'");
        return Err(ApiError::new("InvalidGroup.Duplicate", message));
    }
    if state.security_groups.len() >= kit::quotas::SECURITY_GROUPS {
        let text = "The maximum number of security groups has been reached.";
        return Err(ApiError::new("SecurityGroupLimitExceeded", text));
    }
    let tags = tags::specified(params, "security-group")?;
    let id = new_id("sg");
    let group = SecurityGroup {
        id: id.clone(),
        name: name.to_owned(),
        vpc: if is_default { String::new() } else { vpc },
        description: description.to_owned(),
        rules: vec![everything_out()],
    };
    state.security_groups.insert(id.clone(), group);
    state.tag(&id, tags);
    let mut xml = Xml::new();
    xml.text("return", true).text("groupId", &id).text("securityGroupArn", arn(site, &id)).tag_set(state.tags_of(&id));
    Ok(xml)
}

/// Checks a name or description: at most 255 of these characters (docs/aws.md §1).
fn check_text(what: &str, text: &str) -> Result<(), ApiError> {
    let refuse = |why: &str| {
        Err(ApiError::new("InvalidParameterValue", format!("Value ({text}) for parameter {what} is invalid. {why}")))
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
    match () {
        () if !text.is_ascii() => refuse("Character sets beyond ASCII are not supported."),
        () if !text.chars().all(fits) => {
            refuse("Valid characters are a-z, A-Z, 0-9, spaces, and ._-:/()#,@[]+=&;{}!$*")
        }
        () if text.len() > 255 => refuse("It must not be longer than 255 characters."),
        () => Ok(()),
    }
}

/// Checks the description of a rule: at most 255 of these characters, and those in `besides` (docs/aws.md §8.2).
fn check_description(text: &str, besides: &str) -> Result<(), ApiError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=;{}!$*".contains(c) || besides.contains(c);
    if text.len() <= 255 && text.chars().all(fits) {
        return Ok(());
    }
    let why = format!("at most 255 characters of a-zA-Z0-9. _-:/()#,@[]+=;{{}}!$*{besides}");
    Err(ApiError::new("InvalidParameterValue", format!("Invalid rule description. Valid descriptions have {why}")))
}

fn arn(site: &Site, id: &str) -> String {
    format!("arn:aws:ec2:{}:{}:security-group/{id}", site.region, site.account)
}

pub fn describe(state: &State, site: &Site, params: &Params) -> Answer {
    let ids = params.texts("GroupId");
    for id in &ids {
        by_id(state, id)?;
    }
    let names = params.texts("GroupName");
    for name in &names {
        by_name(state, site, name)?;
    }
    let filters = Filters::of(params);
    let mut found = Vec::new();
    for group in state.security_groups.values() {
        let passes = filters.pass(state.tags_of(&group.id), |name| match name {
            "vpc-id" => fact(group.vpc_id(site)),
            "group-name" => fact(&group.name),
            "group-id" => fact(&group.id),
            "description" => fact(&group.description),
            "owner-id" => fact(&site.account),
            "ip-permission.group-id" => Some(named_by(group, false)),
            "egress.ip-permission.group-id" => Some(named_by(group, true)),
            "ip-permission.cidr" => Some(cidrs(group)),
            _ => None,
        })?;
        let chosen = ids.is_empty() && names.is_empty() || ids.contains(&group.id) || names.contains(&group.name);
        if passes && chosen {
            found.push(group);
        }
    }
    let mut xml = Xml::new();
    xml.set("securityGroupInfo", found, |xml, group| {
        xml.text("ownerId", &site.account).text("groupName", &group.name).text("groupId", &group.id);
        xml.text("groupDescription", &group.description).text("vpcId", group.vpc_id(site));
        xml.text("securityGroupArn", arn(site, &group.id));
        write_permissions(xml, "ipPermissions", group, false, &site.account);
        write_permissions(xml, "ipPermissionsEgress", group, true, &site.account);
        xml.tag_set(state.tags_of(&group.id));
    });
    Ok(xml)
}

fn named_by(group: &SecurityGroup, egress: bool) -> Vec<String> {
    let peer = |rule: &Rule| match &rule.traffic.peer {
        Peer::Group(id) if rule.egress == egress => Some(id.clone()),
        _ => None,
    };
    group.rules.iter().filter_map(peer).collect()
}

fn cidrs(group: &SecurityGroup) -> Vec<String> {
    let peer = |rule: &Rule| match &rule.traffic.peer {
        Peer::Cidr(cidr) if !rule.egress => Some(cidr.clone()),
        _ => None,
    };
    group.rules.iter().filter_map(peer).collect()
}

fn write_permissions(xml: &mut Xml, name: &str, group: &SecurityGroup, egress: bool, account: &str) {
    let mut permissions: BTreeMap<_, Vec<&Rule>> = BTreeMap::new();
    for rule in group.rules.iter().filter(|rule| rule.egress == egress) {
        permissions.entry((rule.traffic.protocol.as_str(), rule.traffic.ports)).or_default().push(rule);
    }
    xml.set(name, permissions, |xml, ((protocol, ports), rules)| {
        xml.text("ipProtocol", protocol);
        if let Some((from, to)) = ports {
            xml.text("fromPort", from).text("toPort", to);
        }
        let each = |kind: fn(&Peer) -> Option<&str>| {
            rules.iter().filter_map(move |rule| Some((kind(&rule.traffic.peer)?, &rule.description)))
        };
        xml.set("groups", each(|peer| if let Peer::Group(id) = peer { Some(id) } else { None }), |xml, (id, about)| {
            xml.text("userId", account).text("groupId", id).maybe("description", about.as_ref());
        });
        xml.set(
            "ipRanges",
            each(|peer| if let Peer::Cidr(cidr) = peer { Some(cidr) } else { None }),
            |xml, (cidr, about)| {
                xml.text("cidrIp", cidr).maybe("description", about.as_ref());
            },
        );
        xml.set(
            "ipv6Ranges",
            each(|peer| if let Peer::Cidr6(cidr) = peer { Some(cidr) } else { None }),
            |xml, (cidr, about)| {
                xml.text("cidrIpv6", cidr).maybe("description", about.as_ref());
            },
        );
        xml.within("prefixListIds", |_| ());
    });
}

pub fn describe_rules(state: &State, site: &Site, params: &Params) -> Answer {
    let wanted = params.texts("SecurityGroupRuleId");
    let all: Vec<(&SecurityGroup, &Rule)> =
        state.security_groups.values().flat_map(|group| group.rules.iter().map(move |rule| (group, rule))).collect();
    if let Some(id) = wanted.iter().find(|id| !all.iter().any(|(_, rule)| rule.id == **id)) {
        return Err(unknown_rule(id));
    }
    let filters = Filters::of(params);
    let mut found = Vec::new();
    for (group, rule) in all {
        let passes = filters.pass(state.tags_of(&rule.id), |name| match name {
            "group-id" => fact(&group.id),
            "security-group-rule-id" => fact(&rule.id),
            _ => None,
        })?;
        if passes && (wanted.is_empty() || wanted.contains(&rule.id)) {
            found.push((group, rule));
        }
    }
    let mut xml = Xml::new();
    write_rules(&mut xml, state, site, found);
    Ok(xml)
}

fn write_rules<'a>(
    xml: &mut Xml,
    state: &State,
    site: &Site,
    rules: impl IntoIterator<Item = (&'a SecurityGroup, &'a Rule)>,
) {
    xml.set("securityGroupRuleSet", rules, |xml, (group, rule)| {
        let Traffic { protocol, ports, peer } = &rule.traffic;
        let (from, to) = ports.unwrap_or((-1, -1));
        xml.text("securityGroupRuleId", &rule.id).text("groupId", &group.id).text("groupOwnerId", &site.account);
        xml.text("isEgress", rule.egress).text("ipProtocol", protocol).text("fromPort", from).text("toPort", to);
        match peer {
            Peer::Cidr(cidr) => xml.text("cidrIpv4", cidr),
            Peer::Cidr6(cidr) => xml.text("cidrIpv6", cidr),
            Peer::Group(id) => xml.within("referencedGroupInfo", |xml| {
                xml.text("groupId", id).text("userId", &site.account).text("vpcId", group.vpc_id(site));
            }),
        };
        let arn = format!("arn:aws:ec2:{}:{}:security-group-rule/{}", site.region, site.account, rule.id);
        xml.text("securityGroupRuleArn", arn);
        xml.maybe("description", rule.description.as_ref()).tag_set(state.tags_of(&rule.id));
    });
}

pub fn authorize_ingress(state: &mut State, site: &Site, params: &Params) -> Answer {
    authorize(state, site, params, false)
}

pub fn authorize_egress(state: &mut State, site: &Site, params: &Params) -> Answer {
    authorize(state, site, params, true)
}

fn authorize(state: &mut State, site: &Site, params: &Params, egress: bool) -> Answer {
    let id = chosen(state, site, params)?;
    let wanted = traffic(state, site, params)?;
    if wanted.is_empty() {
        return Err(ApiError::new("MissingParameter", "The request must contain the parameter ipPermissions"));
    }
    let group = &state.security_groups[&id];
    for (at, (traffic, _)) in wanted.iter().enumerate() {
        if let Peer::Group(peer) = &traffic.peer
            && state.security_groups.get(peer).is_some_and(|peer| peer.vpc_id(site) != group.vpc_id(site))
        {
            let message = "You have specified two resources that belong to different networks.";
            return Err(ApiError::new("InvalidGroup.NotFound", message));
        }
        if wanted[..at].iter().any(|(earlier, _)| earlier == traffic) {
            return Err(ApiError::new("InvalidParameterValue", "The same permission must not appear multiple times"));
        }
        if group.rules.iter().any(|rule| rule.egress == egress && rule.traffic == *traffic) {
            let message = format!("the specified rule \"{}\" already exists", spoken(traffic));
            return Err(ApiError::new("InvalidPermission.Duplicate", message));
        }
    }
    let rules: Vec<Rule> = wanted
        .into_iter()
        .map(|(traffic, description)| Rule { id: new_id("sgr"), egress, traffic, description })
        .collect();
    let tags = tags::specified(params, "security-group-rule")?;
    for rule in &rules {
        state.tag(&rule.id, tags.clone());
    }
    let group = state.security_groups.get_mut(&id).expect("chosen() found the group");
    group.rules.extend(rules.iter().cloned());
    let group = &state.security_groups[&id];
    let mut xml = Xml::new();
    xml.text("return", true);
    write_rules(&mut xml, state, site, rules.iter().map(|rule| (group, rule)));
    Ok(xml)
}

/// Describes a rule as the API's errors do.
fn spoken(traffic: &Traffic) -> String {
    let peer = match &traffic.peer {
        Peer::Cidr(peer) | Peer::Cidr6(peer) | Peer::Group(peer) => peer,
    };
    match (traffic.protocol.as_str(), traffic.ports) {
        ("-1", _) | (_, None) => format!("peer: {peer}, ALL, ALLOW"),
        (protocol, Some((from, to))) => {
            format!("peer: {peer}, {}, from port: {from}, to port: {to}, ALLOW", protocol.to_uppercase())
        }
    }
}

pub fn describe_ingress(state: &mut State, site: &Site, params: &Params) -> Answer {
    set_descriptions(state, site, params, false)
}

pub fn describe_egress(state: &mut State, site: &Site, params: &Params) -> Answer {
    set_descriptions(state, site, params, true)
}

/// Sets the descriptions of existing rules; a rule that the call describes without one loses it.
fn set_descriptions(state: &mut State, site: &Site, params: &Params, egress: bool) -> Answer {
    let id = chosen(state, site, params)?;
    let wanted = traffic(state, site, params)?;
    if wanted.is_empty() {
        return Err(ApiError::new("MissingParameter", "The request must contain the parameter ipPermissions"));
    }
    let group = state.security_groups.get_mut(&id).expect("chosen() found the group");
    let is = |rule: &Rule, traffic: &Traffic| rule.egress == egress && rule.traffic == *traffic;
    if wanted.iter().any(|(traffic, _)| !group.rules.iter().any(|rule| is(rule, traffic))) {
        let text = "The specified rule does not exist in this security group.";
        return Err(ApiError::new("InvalidPermission.NotFound", text));
    }
    for (traffic, description) in wanted {
        let same = group.rules.iter_mut().filter(|rule| is(rule, &traffic));
        same.for_each(|rule| rule.description.clone_from(&description));
    }
    let mut xml = Xml::new();
    xml.text("return", true);
    Ok(xml)
}

pub fn revoke_ingress(state: &mut State, site: &Site, params: &Params) -> Answer {
    revoke(state, site, params, false)
}

pub fn revoke_egress(state: &mut State, site: &Site, params: &Params) -> Answer {
    revoke(state, site, params, true)
}

fn revoke(state: &mut State, site: &Site, params: &Params, egress: bool) -> Answer {
    let id = chosen(state, site, params)?;
    let ids = params.texts("SecurityGroupRuleId");
    let group = &state.security_groups[&id];
    let there = |id: &&String| group.rules.iter().any(|rule| rule.id == **id && rule.egress == egress);
    if let Some(id) = ids.iter().find(|id| !there(id)) {
        return Err(unknown_rule(id));
    }
    let wanted: BTreeSet<Traffic> = traffic(state, site, params)?.into_iter().map(|(traffic, _)| traffic).collect();
    let goes = |rule: &Rule| rule.egress == egress && (ids.contains(&rule.id) || wanted.contains(&rule.traffic));
    let group = state.security_groups.get_mut(&id).expect("chosen() found the group");
    let (gone, kept): (Vec<Rule>, Vec<Rule>) = std::mem::take(&mut group.rules).into_iter().partition(goes);
    group.rules = kept;
    for rule in &gone {
        state.tags.remove(&rule.id);
    }
    // In the default VPC, unknown rules are listed rather than refused.
    let unknown = wanted.iter().filter(|traffic| !gone.iter().any(|rule| rule.traffic == **traffic));
    let mut xml = Xml::new();
    xml.text("return", true);
    xml.set("unknownIpPermissionSet", unknown, |xml, traffic| {
        xml.text("ipProtocol", &traffic.protocol);
        if let Some((from, to)) = traffic.ports {
            xml.text("fromPort", from).text("toPort", to);
        }
    });
    Ok(xml)
}

fn unknown_rule(id: &str) -> ApiError {
    ApiError::new("InvalidSecurityGroupRuleId.NotFound", format!("The security group rule ID '{id}' does not exist"))
}

/// Returns the rules that a call describes, each with its description.
fn traffic(state: &State, site: &Site, params: &Params) -> Result<Vec<(Traffic, Option<String>)>, ApiError> {
    let mut rules = Vec::new();
    for permission in params.items("IpPermissions") {
        let about = |item: &Params| item.text("Description").map(str::to_owned);
        for (list, besides) in [("IpRanges", "&"), ("Ipv6Ranges", "&"), ("Groups", "")] {
            let mut described = permission.items(list).into_iter().filter_map(|item| item.text("Description"));
            described.try_for_each(|text| check_description(text, besides))?;
        }
        for range in permission.items("IpRanges") {
            rules.push((one(permission, Peer::Cidr(canonical(range.required("CidrIp")?)?))?, about(range)));
        }
        for range in permission.items("Ipv6Ranges") {
            rules.push((one(permission, Peer::Cidr6(range.required("CidrIpv6")?.to_lowercase()))?, about(range)));
        }
        for pair in permission.items("Groups") {
            if let Some(other) = pair.text("UserId").filter(|account| *account != site.account) {
                let text = format!("You have specified two resources that belong to different accounts: {other}");
                return Err(ApiError::new("InvalidGroup.NotFound", text));
            }
            let id = match (pair.text("GroupId"), pair.text("GroupName")) {
                (Some(id), _) => by_id(state, id)?.id.clone(),
                (None, Some(name)) => by_name(state, site, name)?.id.clone(),
                (None, None) => {
                    return Err(ApiError::new(
                        "MissingParameter",
                        "Missing source specification: include source security group or CIDR information",
                    ));
                }
            };
            rules.push((one(permission, Peer::Group(id))?, about(pair)));
        }
    }
    if let Some(cidr) = params.text("CidrIp") {
        rules.push((one(params, Peer::Cidr(canonical(cidr)?))?, None));
    }
    if let Some(name) = params.text("SourceSecurityGroupName") {
        rules.push((one(params, Peer::Group(by_name(state, site, name)?.id.clone()))?, None));
    }
    Ok(rules)
}

fn one(params: &Params, peer: Peer) -> Result<Traffic, ApiError> {
    let protocol = match params.required("IpProtocol")? {
        "6" => "tcp".to_owned(),
        "17" => "udp".to_owned(),
        "1" => "icmp".to_owned(),
        "all" => "-1".to_owned(),
        other => other.to_lowercase(),
    };
    if protocol == "-1" {
        return Ok(Traffic { protocol, ports: None, peer });
    }
    let (from, to) = (params.parsed::<i32>("FromPort")?, params.parsed::<i32>("ToPort")?);
    match (from, to) {
        (Some(from), Some(to)) if protocol == "icmp" || (0 <= from && from <= to && to <= 65535) => {
            Ok(Traffic { protocol, ports: Some((from, to)), peer })
        }
        (Some(from), Some(to)) => {
            Err(ApiError::new("InvalidParameterValue", format!("Invalid port range: from {from} to {to}")))
        }
        _ => Err(ApiError::new(
            "InvalidParameterValue",
            "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.",
        )),
    }
}

/// Clears the bits of a range outside its mask, as AWS does when it stores one.
fn canonical(cidr: &str) -> Result<String, ApiError> {
    let (address, bits) = parse_cidr(cidr)
        .ok_or_else(|| ApiError::new("InvalidParameterValue", format!("CIDR block {cidr} is malformed")))?;
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    Ok(format!("{}/{bits}", Ipv4Addr::from(u32::from(address) & mask)))
}

pub fn delete(state: &mut State, site: &Site, params: &Params) -> Answer {
    let id = chosen(state, site, params)?;
    let name = &state.security_groups[&id].name;
    if name == "default" {
        let message = format!("the specified group: \"{id}\" name: \"default\" cannot be deleted by a user");
        return Err(ApiError::new("CannotDelete", message));
    }
    if is_used(state, &id) {
        return Err(ApiError::new("DependencyViolation", format!("resource {id} has a dependent object")));
    }
    let group = state.security_groups.remove(&id).expect("chosen() found the group");
    for resource in group.rules.iter().map(|rule| &rule.id).chain([&id]) {
        state.tags.remove(resource);
    }
    let mut xml = Xml::new();
    xml.text("return", true).text("groupId", id);
    Ok(xml)
}

fn is_used(state: &State, id: &String) -> bool {
    let by_instance = state.instances.values().any(|one| one.ended.is_none() && one.security_groups.contains(id));
    let by_interface = state.interfaces.values().any(|one| one.security_groups.contains(id));
    let names = |group: &SecurityGroup| group.rules.iter().any(|rule| rule.traffic.peer == Peer::Group(id.clone()));
    let by_rule = state.security_groups.values().any(|group| group.id != *id && names(group));
    by_instance || by_interface || by_rule
}

/// Returns the id of the group that a call names.
fn chosen(state: &State, site: &Site, params: &Params) -> Result<String, ApiError> {
    match (params.text("GroupId"), params.text("GroupName")) {
        (Some(id), _) => Ok(by_id(state, id)?.id.clone()),
        (None, Some(name)) => Ok(by_name(state, site, name)?.id.clone()),
        (None, None) => {
            Err(ApiError::new("MissingParameter", "The request must contain the parameter groupName or groupId"))
        }
    }
}

fn by_id<'a>(state: &'a State, id: &str) -> Result<&'a SecurityGroup, ApiError> {
    if !id.starts_with("sg-") {
        return Err(ApiError::new("InvalidGroupId.Malformed", format!("Invalid id: \"{id}\" (expecting \"sg-...\")")));
    }
    state
        .security_groups
        .get(id)
        .ok_or_else(|| ApiError::new("InvalidGroup.NotFound", format!("The security group '{id}' does not exist")))
}

fn by_name<'a>(state: &'a State, site: &Site, name: &str) -> Result<&'a SecurityGroup, ApiError> {
    let default =
        default_vpc_id(site).ok_or_else(|| ApiError::new("VPCIdNotSpecified", "No default VPC for this user"))?;
    let is_it = |group: &&SecurityGroup| group.name == name && group.vpc.is_empty();
    state.security_groups.values().find(is_it).ok_or_else(|| {
        let message = format!("The security group '{name}' does not exist in default VPC '{default}'");
        ApiError::new("InvalidGroup.NotFound", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_lose_the_bits_outside_of_their_mask() {
        assert_eq!(canonical("10.1.2.3/8").unwrap(), "10.0.0.0/8");
        assert_eq!(canonical("1.2.3.4/0").unwrap(), "0.0.0.0/0");
        assert_eq!(canonical("1.2.3.4/33").unwrap_err().code, "InvalidParameterValue");
    }

    #[test]
    fn a_connection_needs_a_rule_on_either_side_that_names_the_other_group_or_a_range_around_it() {
        let rule = |egress, ports, peer| {
            let traffic = Traffic { protocol: "tcp".to_owned(), ports, peer };
            Rule { id: "sgr-1".to_owned(), egress, traffic, description: None }
        };
        let check = |egress, peer: Peer, ports, expected: bool| {
            let group = |id: &str, rules| {
                let (name, vpc, description) = Default::default();
                (id.to_owned(), SecurityGroup { id: id.to_owned(), name, vpc, description, rules })
            };
            let everywhere = |egress| vec![rule(egress, None, Peer::Cidr("0.0.0.0/0".to_owned()))];
            let (alb, web) = match egress {
                true => (vec![rule(true, ports, peer)], everywhere(false)),
                false => (everywhere(true), vec![rule(false, ports, peer)]),
            };
            let groups = BTreeMap::from([group("sg-alb", alb), group("sg-web", web)]);
            let state = State { security_groups: groups, ..State::default() };
            let (alb, web) = (["sg-alb".to_owned()], ["sg-web".to_owned()]);
            assert_eq!(connects(&state, &alb, &web, 8080), expected);
            assert!(!connects(&state, &web, &alb, 8080), "nothing leads back");
        };
        for (egress, other) in [(false, "sg-alb"), (true, "sg-web")] {
            check(egress, Peer::Group(other.to_owned()), Some((8080, 8080)), true);
            check(egress, Peer::Group(other.to_owned()), Some((80, 80)), false);
            check(egress, Peer::Group("sg-other".to_owned()), Some((8080, 8080)), false);
            check(egress, Peer::Cidr("0.0.0.0/0".to_owned()), None, true);
            check(egress, Peer::Cidr("172.31.16.0/20".to_owned()), None, true);
            check(egress, Peer::Cidr("10.0.0.0/8".to_owned()), None, false);
        }
    }

    #[test]
    fn the_description_of_a_rule_has_at_most_255_plain_characters() {
        assert!(check_description("clients (HTTP), from anywhere", "").is_ok());
        assert!(check_description("a & b", "&").is_ok());
        for text in ["a & b", "größer", &"x".repeat(256)] {
            assert_eq!(check_description(text, "").unwrap_err().code, "InvalidParameterValue", "{text}");
        }
    }
}
