//! Instances that join and leave a group.

use super::update;
use crate::Site;
use crate::autoscaling::activities::{ActivityKind, begin, finish};
use crate::clock::Moment;
use crate::elb;
use crate::elb::TargetStatus;
use crate::state::{AutoScalingGroup, Instance, InstanceState, State};

/// Handles an instance of the group that was terminated or stopped from outside.
pub(super) fn vanished(state: &mut State, name: &str, one: &Instance) {
    let group = state.groups[name].clone();
    let now = Moment::now().seconds();
    let cause = format!(
        "At {now} an instance was taken out of service in response to an EC2 health check indicating it has been terminated or stopped."
    );
    begin(state, &group, ActivityKind::Terminate, one, cause);
    leave(state, &group, &one.id);
    if one.state == InstanceState::Terminated {
        finish(state, ActivityKind::Terminate, &one.id);
    }
}

/// Lets an instance finish its requests; [`super::settle`] then terminates it.
fn leave(state: &mut State, group: &AutoScalingGroup, id: &str) {
    update(state, id, |one| one.leaving = true);
    for target_group in &group.target_groups {
        elb::deregister(state, target_group, id, None);
    }
}

/// Takes an instance out of its group. If the group then has too few instances, it launches a replacement.
pub fn release(state: &mut State, _site: &Site, id: &str, cause: String) {
    let Some(one) = state.instances.get(id).filter(|one| one.serves()).cloned() else {
        return;
    };
    let Some(group) = one.group.as_ref().and_then(|name| state.groups.get(name)).cloned() else {
        return;
    };
    begin(state, &group, ActivityKind::Terminate, &one, cause);
    leave(state, &group, id);
}

pub(super) fn dissolve(state: &mut State, site: &Site, group: &AutoScalingGroup) {
    let now = Moment::now().seconds();
    // While the process `Terminate` is suspended, nothing is terminated and the group waits (docs/aws.md §10.7).
    let is_free = |_: &&Instance| !group.suspended.contains("Terminate");
    let serving: Vec<String> = serving(state, group).into_iter().filter(is_free).map(|one| one.id.clone()).collect();
    for id in serving {
        let cause = format!("At {now} {}.  At {now} instance {id} was selected for termination.", group.cause);
        release(state, site, &id, cause);
    }
    if state.members(&group.name).is_empty() {
        state.groups.remove(&group.name);
        for activity in state.activities.iter_mut().filter(|activity| activity.group_arn == group.arn) {
            activity.group_deleted = true;
        }
    }
}

/// Returns the instances that count towards a group's capacity.
pub fn serving<'a>(state: &'a State, group: &AutoScalingGroup) -> Vec<&'a Instance> {
    state.members(&group.name).into_iter().filter(|one| one.serves()).collect()
}

/// Registers running instances with the group's target groups.
pub(super) fn attach(state: &mut State, group: &AutoScalingGroup) {
    if group.suspended.contains("AddToLoadBalancer") {
        return;
    }
    let ready: Vec<Instance> =
        serving(state, group).into_iter().filter(|one| one.in_service.is_some()).cloned().collect();
    for one in ready {
        for target_group in group.target_groups.iter().filter(|arn| !one.registered.contains(*arn)) {
            elb::register(state, target_group, &one.id, None);
            update(state, &one.id, |one| one.registered.push(target_group.clone()));
        }
    }
}

/// Starts to take account of a target group that was attached later, once one of its targets is healthy (docs/aws.md
/// §10.3).
pub(super) fn note_added(state: &mut State, site: &Site, group: &AutoScalingGroup) {
    let is_added = |arn: &&String| {
        let there = state.target_groups.get(*arn);
        there.is_some_and(|there| {
            there.targets.values().any(|target| TargetStatus::of(state, site, there, target) == TargetStatus::Healthy)
        })
    };
    let added: Vec<String> = group.adding.iter().filter(is_added).cloned().collect();
    if let Some(group) = state.groups.get_mut(&group.name) {
        group.adding.retain(|arn| !added.contains(arn));
    }
}
