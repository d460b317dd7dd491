//! The target groups of groups.

use super::{check_network, check_number, target_groups};
use crate::Site;
use crate::state::{AutoScalingGroup, Instance, State};
use kit::query::{Answer, ApiError, Params, Xml};

pub fn attach_target_groups(state: &mut State, site: &Site, params: &Params) -> Answer {
    let arns = target_groups(state, params)?;
    let name = params.required("AutoScalingGroupName")?;
    if let Some(group) = state.groups.get(name) {
        check_network(state, site, &group.subnets, &arns)?;
    }
    let group = state.group_mut(name)?;
    not_while_refreshing(group)?;
    for arn in arns {
        if !group.target_groups.contains(&arn) {
            group.adding.insert(arn.clone());
            group.target_groups.push(arn);
        }
    }
    Ok(Xml::new())
}

pub fn detach_target_groups(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let arns = params.texts("TargetGroupARNs");
    check_number(&arns)?;
    let name = params.required("AutoScalingGroupName")?;
    let group = state.group_mut(name)?;
    not_while_refreshing(group)?;
    group.target_groups.retain(|arn| !arns.contains(arn));
    group.adding.retain(|arn| !arns.contains(arn));
    let members: Vec<String> = state.members(name).into_iter().map(|one| one.id.clone()).collect();
    for arn in &arns {
        for id in &members {
            crate::elb::deregister(state, arn, id, None);
        }
    }
    // Forget the registrations, so that attaching a target group again registers the instances again.
    for id in &members {
        if let Some(one) = state.instances.get_mut(id) {
            one.registered.retain(|arn| !arns.contains(arn));
        }
    }
    Ok(Xml::new())
}

fn not_while_refreshing(group: &AutoScalingGroup) -> Result<(), ApiError> {
    match group.refresh() {
        Some(_) => Err(ApiError::new(
            "InstanceRefreshInProgress",
            "An Instance Refresh is in progress for this Auto Scaling group",
        )),
        None => Ok(()),
    }
}

pub fn describe_target_groups(state: &State, _site: &Site, params: &Params) -> Answer {
    let group = state.group(params.required("AutoScalingGroupName")?)?;
    let members = state.members(&group.name);
    let mut xml = Xml::new();
    xml.members("LoadBalancerTargetGroups", &group.target_groups, |xml, arn| {
        xml.text("LoadBalancerTargetGroupARN", arn).text("State", attachment(group, &members, arn));
    });
    Ok(xml)
}

/// Returns the state of a target group's attachment.
fn attachment(group: &AutoScalingGroup, members: &[&Instance], arn: &String) -> &'static str {
    let is_there = |one: &&Instance| one.serves() && one.registered.contains(arn);
    match group.adding.contains(arn) {
        false => "InService",
        true if members.iter().all(is_there) => "Added",
        true => "Adding",
    }
}

/// Lists the target groups under their newer name, traffic sources; there is no other type of source here.
pub fn describe_traffic_sources(state: &State, _site: &Site, params: &Params) -> Answer {
    let group = state.group(params.required("AutoScalingGroupName")?)?;
    let members = state.members(&group.name);
    let kind = params.text("TrafficSourceType");
    let shown = group.target_groups.iter().filter(|_| kind.is_none_or(|kind| kind == "elbv2"));
    let mut xml = Xml::new();
    xml.members("TrafficSources", shown, |xml, arn| {
        xml.text("Identifier", arn).text("TrafficSource", arn).text("Type", "elbv2");
        xml.text("State", attachment(group, &members, arn));
    });
    Ok(xml)
}
