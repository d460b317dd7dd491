//! The rules of security groups.

use std::collections::BTreeSet;

use super::chosen;
use super::permission::traffic;
use crate::Site;
use crate::ec2::tags;
use crate::state::{Peer, SecurityGroup, SecurityGroupRule, State, Traffic, new_id};
use kit::query::{Answer, ApiError, Filters, Params, Xml, fact};

pub fn describe_rules(state: &State, site: &Site, params: &Params) -> Answer {
    let wanted = params.texts("SecurityGroupRuleId");
    let all: Vec<(&SecurityGroup, &SecurityGroupRule)> =
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
    rules: impl IntoIterator<Item = (&'a SecurityGroup, &'a SecurityGroupRule)>,
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
    let there = group.rules.iter().filter(|rule| rule.egress == egress).map(|rule| &rule.traffic.peer);
    let peers: Vec<&Peer> = there.chain(wanted.iter().map(|(traffic, _)| &traffic.peer)).collect();
    // A rule that names a group counts for IPv4 and for IPv6.
    let of_ipv4 = peers.iter().filter(|peer| !matches!(peer, Peer::Cidr6(_))).count();
    let of_ipv6 = peers.iter().filter(|peer| !matches!(peer, Peer::Cidr(_))).count();
    if of_ipv4.max(of_ipv6) > kit::quotas::RULES {
        let message = "The maximum number of rules per security group has been reached.";
        return Err(ApiError::new("RulesPerSecurityGroupLimitExceeded", message));
    }
    let rules: Vec<SecurityGroupRule> = wanted
        .into_iter()
        .map(|(traffic, description)| SecurityGroupRule { id: new_id("sgr"), egress, traffic, description })
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
    let is = |rule: &SecurityGroupRule, traffic: &Traffic| rule.egress == egress && rule.traffic == *traffic;
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
    let is_revoked =
        |rule: &SecurityGroupRule| rule.egress == egress && (ids.contains(&rule.id) || wanted.contains(&rule.traffic));
    let group = state.security_groups.get_mut(&id).expect("chosen() found the group");
    let (gone, kept): (Vec<SecurityGroupRule>, Vec<SecurityGroupRule>) =
        std::mem::take(&mut group.rules).into_iter().partition(is_revoked);
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::fixture::site;
    use kit::speed::Speed;

    #[test]
    fn a_security_group_takes_sixty_rules_in_each_direction() {
        let (mut state, site) = (State::default(), site(Speed::REAL, Default::default()));
        let (name, vpc, description, rules) = Default::default();
        let group = SecurityGroup { id: "sg-1".to_owned(), name, vpc, description, rules };
        state.security_groups.insert(group.id.clone(), group);
        let mut add = |egress: bool, port: usize| {
            let port = port.to_string();
            let fields = [
                ("GroupId", "sg-1"),
                ("IpPermissions.1.IpProtocol", "tcp"),
                ("IpPermissions.1.FromPort", port.as_str()),
                ("IpPermissions.1.ToPort", port.as_str()),
                ("IpPermissions.1.IpRanges.1.CidrIp", "10.0.0.0/8"),
            ];
            let form = BTreeMap::from(fields.map(|(name, value)| (name.to_owned(), value.to_owned())));
            let answer = authorize(&mut state, &site, &Params::parse(&form), egress);
            answer.map(drop).map_err(|fault| fault.code.to_owned())
        };
        for egress in [false, true] {
            for port in 1..=kit::quotas::RULES {
                assert_eq!(add(egress, port), Ok(()));
            }
            let refused = Err("RulesPerSecurityGroupLimitExceeded".to_owned());
            assert_eq!(add(egress, kit::quotas::RULES + 1), refused);
        }
    }
}
