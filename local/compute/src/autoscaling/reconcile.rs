//! One step of the control loop for a group: compares actual and desired state, and moves one step closer.

mod capacity;
mod membership;
mod refresh;

use std::collections::BTreeSet;

use super::activities::{ActivityKind, finish};
use super::launch::Profiles;
use super::rebalance;
use crate::Site;
use crate::clock::Moment;
use crate::ec2;
use crate::elb::TargetStatus;
use crate::state::{AutoScalingGroup, Instance, InstanceState, State, TargetGroup};

use capacity::scale;
pub use capacity::{is_pausing, launch_somewhere, note_launch};
use membership::{attach, dissolve, note_added, vanished};
pub use membership::{release, serving};
pub use refresh::{is_ready, refresh_template};
use refresh::{launches_first, refresh};

/// A refresh without progress fails after this many seconds, before scaling by the speed.
const STUCK_S: u64 = 3600;

/// Returns the instance profiles that launches may need. Only IAM knows whether they exist.
pub fn profiles_needed(state: &State) -> BTreeSet<String> {
    state.groups.values().filter(|group| !group.deleting).filter_map(|group| profile_of(state, group)).collect()
}

/// Returns the instance profile of a group's next instance.
fn profile_of(state: &State, group: &AutoScalingGroup) -> Option<String> {
    let (_, data) = ec2::resolve_template(state, &refresh_template(group)).ok()?;
    data.profile().map(str::to_owned)
}

/// Moves every group one step closer to its desired state.
pub fn reconcile(state: &mut State, site: &Site, profiles: &Profiles) {
    let names: Vec<String> = state.groups.keys().cloned().collect();
    for name in names {
        settle(state, &name);
        let group = state.groups[&name].clone();
        if group.deleting {
            dissolve(state, site, &group);
            continue;
        }
        if profile_of(state, &group).is_some_and(|profile| !profiles.contains_key(&profile)) {
            // The group has changed since the profiles were looked up. The next pass looks up its new one.
            continue;
        }
        attach(state, &group);
        note_added(state, site, &group);
        judge(state, site, &group);
        let expected = refresh(state, site, &group);
        // The refresh may have stored another template in the group.
        let group = state.groups[&name].clone();
        let expected = rebalance::rebalance(state, site, &group, expected, profiles);
        let group = state.groups[&name].clone();
        scale(state, site, &group, expected, profiles);
    }
}

/// Records the changes of the group's instances, and terminates those that have drained.
fn settle(state: &mut State, name: &str) {
    let ours: Vec<Instance> =
        state.instances.values().filter(|one| one.group.as_deref() == Some(name)).cloned().collect();
    for one in ours {
        if one.state == InstanceState::Running && one.in_service.is_none() && !one.leaving {
            finish(state, ActivityKind::Launch, &one.id);
            update(state, &one.id, |one| one.in_service = Some(Moment::now()));
        }
        if one.state == InstanceState::Terminated {
            finish(state, ActivityKind::Terminate, &one.id);
            finish(state, ActivityKind::Launch, &one.id);
        }
        if !one.is_alive() && !one.leaving && (one.is_gone() || replaces_stopped(&state.groups[name])) {
            vanished(state, name, &one);
        }
        let registered =
            state.target_groups.values().any(|group| group.targets.values().any(|target| target.id == one.id));
        if one.leaving && !one.is_gone() && !registered {
            ec2::terminate(state, &one.id);
        }
    }
}

fn update(state: &mut State, id: &str, change: impl FnOnce(&mut Instance)) {
    if let Some(one) = state.instances.get_mut(id) {
        change(one);
    }
}

/// Returns whether the group replaces an instance that was stopped.
fn replaces_stopped(group: &AutoScalingGroup) -> bool {
    ["HealthCheck", "ReplaceUnhealthy", "Terminate"].iter().all(|process| !group.suspended.contains(*process))
}

/// Checks the health of the instances and releases the unhealthy ones.
fn judge(state: &mut State, site: &Site, group: &AutoScalingGroup) {
    if !group.suspended.contains("HealthCheck") && group.health_check_type.contains("ELB") {
        let sick: Vec<String> = serving(state, group)
            .into_iter()
            .filter(|one| is_sick(state, site, group, one))
            .map(|one| one.id.clone())
            .collect();
        for id in sick {
            update(state, &id, |one| one.unhealthy = Some("an ELB system health check failure".to_owned()));
        }
    }
    if group.suspended.contains("ReplaceUnhealthy") || group.suspended.contains("Terminate") {
        return;
    }
    // A refresh that launches before it terminates replaces the instances it found, healthy or not: its healthy
    // percentages also apply to health check replacements (Auto Scaling user guide, "Instance maintenance policies").
    let refreshed = group.refresh().filter(|_| launches_first(group)).map(|refresh| refresh.started);
    let is_due = |one: &&Instance| refreshed.is_none_or(|since| one.launched >= since);
    let unhealthy: Vec<(String, String)> = serving(state, group)
        .into_iter()
        .filter(is_due)
        .filter_map(|one| Some((one.id.clone(), one.unhealthy.clone()?)))
        .collect();
    for (id, why) in unhealthy {
        let now = Moment::now().seconds();
        release(state, site, &id, format!("At {now} an instance was taken out of service in response to {why}."));
    }
}

/// Returns whether the instance is newly unhealthy according to a load balancer, whose report counts only after the
/// grace period.
fn is_sick(state: &State, site: &Site, group: &AutoScalingGroup, one: &Instance) -> bool {
    let past_grace = one.in_service.is_some_and(|since| since.age() >= site.speed.lasts(group.grace_s));
    let counting = group.target_groups.iter().filter(|arn| !group.adding.contains(*arn));
    past_grace && one.unhealthy.is_none() && statuses(state, site, counting, one).iter().any(TargetStatus::is_unhealthy)
}

/// Returns the status of an instance in each of the target groups.
fn statuses<'a>(
    state: &'a State,
    site: &Site,
    target_groups: impl Iterator<Item = &'a String>,
    one: &Instance,
) -> Vec<TargetStatus<'a>> {
    let groups = target_groups.filter_map(|arn| state.target_groups.get(arn));
    let status = |group| {
        let group: &'a TargetGroup = group;
        let mine = group.targets.values().find(|target| target.id == one.id);
        mine.map_or(TargetStatus::NotRegistered, |target| TargetStatus::of(state, site, group, target))
    };
    groups.map(status).collect()
}
