//! Security groups and their rules, which are enforced for traffic from the load balancer (docs/aws.md §8.2).

mod connection;
mod permission;
mod rules;

use super::network::{self, default_vpc_id};
use super::tags;
use crate::Site;
use crate::state::{Peer, SecurityGroup, SecurityGroupRule, State, Traffic, new_id};
use kit::query::{Answer, ApiError, Filters, Params, Xml, fact};

pub use connection::{admits_everyone, connects};
use permission::{cidrs, write_permissions};
pub use rules::{
    authorize_egress, authorize_ingress, describe_egress, describe_ingress, describe_rules, revoke_egress,
    revoke_ingress,
};

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
    let inside = SecurityGroupRule {
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

fn everything_out() -> SecurityGroupRule {
    let traffic = Traffic { protocol: "-1".to_owned(), ports: None, peer: Peer::Cidr("0.0.0.0/0".to_owned()) };
    SecurityGroupRule { id: new_id("sgr"), egress: true, traffic, description: None }
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
    let peer = |rule: &SecurityGroupRule| match &rule.traffic.peer {
        Peer::Group(id) if rule.egress == egress => Some(id.clone()),
        _ => None,
    };
    group.rules.iter().filter_map(peer).collect()
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
    use std::collections::BTreeMap;

    use super::connection::connects;
    use super::*;

    #[test]
    fn a_connection_needs_a_rule_on_either_side_that_names_the_other_group_or_a_range_around_it() {
        let rule = |egress, ports, peer| {
            let traffic = Traffic { protocol: "tcp".to_owned(), ports, peer };
            SecurityGroupRule { id: "sgr-1".to_owned(), egress, traffic, description: None }
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
