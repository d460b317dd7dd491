//! The loop's step for one group: compare what is with what should be, and move one step closer.

use std::collections::BTreeMap;
use std::time::Duration;

use super::activities::{self, Kind, begin, finish};
use super::launch::launch;
use crate::compute::Site;
use crate::compute::clock::{Moment, local};
use crate::compute::state::{Group, Instance, InstanceState, RefreshStatus, State, TemplateSpec};
use crate::compute::{ec2, elb};

/// A refresh without any progress fails after an hour of AWS.
const STUCK_S: u64 = 3600;

/// Moves every group one step closer to what it should be.
pub fn reconcile(state: &mut State, site: &Site) {
    let names: Vec<String> = state.groups.keys().cloned().collect();
    for name in names {
        settle(state, &name);
        let group = state.groups[&name].clone();
        if group.deleting {
            dissolve(state, site, &group);
            continue;
        }
        attach(state, &group);
        judge(state, site, &group);
        let expected = refresh(state, site, &group);
        // The refresh may have stored another template in the group.
        let group = state.groups[&name].clone();
        scale(state, site, &group, expected);
    }
}

/// Takes note of what has happened to the group's instances.
fn settle(state: &mut State, name: &str) {
    let ours: Vec<Instance> =
        state.instances.values().filter(|one| one.group.as_deref() == Some(name)).cloned().collect();
    for one in ours {
        if one.state == InstanceState::Running && one.in_service.is_none() && !one.leaving {
            finish(state, Kind::Launch, &one.id);
            update(state, &one.id, |one| one.in_service = Some(Moment::now()));
        }
        if one.state == InstanceState::Terminated {
            finish(state, Kind::Terminate, &one.id);
            finish(state, Kind::Launch, &one.id);
        }
        if !one.is_alive() && !one.leaving {
            vanished(state, name, &one);
        }
        let registered =
            state.target_groups.values().any(|group| group.targets.values().any(|target| target.id == one.id));
        if one.leaving && one.is_alive() && !registered {
            ec2::terminate(state, &one.id);
        }
    }
}

fn update(state: &mut State, id: &str, change: impl FnOnce(&mut Instance)) {
    if let Some(one) = state.instances.get_mut(id) {
        change(one);
    }
}

/// Somebody else has terminated an instance of the group.
fn vanished(state: &mut State, name: &str, one: &Instance) {
    let group = state.groups[name].clone();
    let now = Moment::now().seconds();
    let cause = format!(
        "At {now} an instance was taken out of service in response to an EC2 health check indicating it has been terminated or stopped."
    );
    begin(state, &group, Kind::Terminate, one, cause);
    leave(state, &group, &one.id);
    if one.state == InstanceState::Terminated {
        finish(state, Kind::Terminate, &one.id);
    }
}

/// Lets an instance finish its requests; `settle` terminates it then.
fn leave(state: &mut State, group: &Group, id: &str) {
    update(state, id, |one| one.leaving = true);
    for target_group in &group.target_groups {
        elb::deregister(state, target_group, id, None);
    }
}

/// Takes an instance out of its group, which replaces it if it has too few then.
pub fn release(state: &mut State, _site: &Site, id: &str, cause: String) {
    let Some(one) = state.instances.get(id).filter(|one| one.serves()).cloned() else {
        return;
    };
    let Some(group) = one.group.as_ref().and_then(|name| state.groups.get(name)).cloned() else {
        return;
    };
    begin(state, &group, Kind::Terminate, &one, cause);
    leave(state, &group, id);
}

fn dissolve(state: &mut State, site: &Site, group: &Group) {
    let now = Moment::now().seconds();
    let serving: Vec<String> = serving(state, group).into_iter().map(|one| one.id.clone()).collect();
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

fn serving<'a>(state: &'a State, group: &Group) -> Vec<&'a Instance> {
    state.members(&group.name).into_iter().filter(|one| one.serves()).collect()
}

/// Registers running instances at the group's target groups.
fn attach(state: &mut State, group: &Group) {
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

/// Looks at the health of the instances and releases the unhealthy ones.
fn judge(state: &mut State, site: &Site, group: &Group) {
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
    let unhealthy: Vec<(String, String)> =
        serving(state, group).into_iter().filter_map(|one| Some((one.id.clone(), one.unhealthy.clone()?))).collect();
    for (id, why) in unhealthy {
        let now = Moment::now().seconds();
        release(state, site, &id, format!("At {now} an instance was taken out of service in response to {why}."));
    }
}

/// The load balancer's word counts once the grace period is over.
fn is_sick(state: &State, site: &Site, group: &Group, one: &Instance) -> bool {
    let past_grace = one.in_service.is_some_and(|since| since.age() >= local(group.grace_s));
    past_grace && one.unhealthy.is_none() && statuses(state, site, group, one).contains(&"unhealthy")
}

/// What the group's target groups say about an instance.
fn statuses(state: &State, site: &Site, group: &Group, one: &Instance) -> Vec<&'static str> {
    let groups = group.target_groups.iter().filter_map(|arn| state.target_groups.get(arn));
    let status = |group| {
        let group: &crate::compute::state::TargetGroup = group;
        let mine = group.targets.values().find(|target| target.id == one.id);
        mine.map_or("unused", |target| elb::target_status(state, site, group, target).0)
    };
    groups.map(status).collect()
}

/// Moves a refresh on, and says how many instances the group should have meanwhile.
fn refresh(state: &mut State, site: &Site, group: &Group) -> usize {
    let desired = group.desired as usize;
    let Some(refresh) = group.refresh().cloned() else {
        return desired;
    };
    if refresh.status == RefreshStatus::Cancelling {
        end_refresh(state, group, RefreshStatus::Cancelled, Some("Cancelled by user.".to_owned()));
        return desired;
    }
    let wanted = refresh_template(group);
    let Ok((number, _)) = ec2::resolve_template(state, &wanted) else {
        end_refresh(
            state,
            group,
            RefreshStatus::Failed,
            Some("The launch template version is not there any more.".to_owned()),
        );
        return desired;
    };
    let number = number.to_string();
    let is_outdated = |one: &Instance| {
        let other = one.template.id != wanted.id || one.template.version != number;
        other || (!refresh.skip_matching && one.launched < refresh.started)
    };
    let warmup = local(refresh.warmup_s.or(group.warmup_s).unwrap_or(group.grace_s));
    let serving: Vec<Instance> = serving(state, group).into_iter().cloned().collect();
    let ready: Vec<&Instance> =
        serving.iter().filter(|one| is_ready(state, site, group, one, refresh.started, warmup)).collect();
    let outdated: Vec<&Instance> = serving.iter().filter(|one| is_outdated(one)).collect();

    note_progress(state, group, outdated.len());
    if outdated.is_empty() && ready.len() == serving.len() && serving.len() == desired {
        complete(state, group, wanted);
        return desired;
    }
    if refresh.progressed.age() > local(STUCK_S) {
        fail(state, group);
        return desired;
    }
    let (least, most) = healthy_range(desired, refresh.min_healthy, refresh.max_healthy);
    let mut spare = ready.len().saturating_sub(least);
    for one in &outdated {
        let is_ready = ready.iter().any(|other| other.id == one.id);
        if is_ready && spare == 0 {
            continue;
        }
        spare -= usize::from(is_ready);
        let now = Moment::now().seconds();
        release(
            state,
            site,
            &one.id,
            format!("At {now} an instance was taken out of service in response to an instance refresh."),
        );
    }
    let left = self::serving(state, group).into_iter().filter(|one| is_outdated(one)).count();
    desired + left.min(most - desired)
}

/// What new instances are made of: during a refresh its template, but the old one when it is being rolled back.
fn refresh_template(group: &Group) -> TemplateSpec {
    let refresh = group.refresh().filter(|refresh| refresh.status != RefreshStatus::RollbackInProgress);
    refresh.and_then(|refresh| refresh.desired.clone()).unwrap_or_else(|| group.template.clone())
}

fn is_ready(state: &State, site: &Site, group: &Group, one: &Instance, since: Moment, warmup: Duration) -> bool {
    let Some(in_service) = one.in_service else {
        return false;
    };
    let warm = one.launched < since || in_service.age() >= warmup;
    let answers = !group.health_check_type.contains("ELB")
        || statuses(state, site, group, one).iter().all(|status| matches!(*status, "healthy" | "unused"));
    warm && answers && one.unhealthy.is_none()
}

/// The fewest ready and the most instances during a refresh. Where nothing could move at all, one may go first.
fn healthy_range(desired: usize, min_percent: u32, max_percent: u32) -> (usize, usize) {
    let least = (desired * min_percent as usize).div_ceil(100);
    let most = (desired * max_percent as usize / 100).max(desired);
    match (least == desired && most == desired, max_percent > 100) {
        (true, true) => (least, desired + 1),
        (true, false) => (desired.saturating_sub(1), most),
        (false, _) => (least, most),
    }
}

fn change_refresh(state: &mut State, group: &Group, change: impl FnOnce(&mut crate::compute::state::Refresh)) {
    if let Some(refresh) = state.groups.get_mut(&group.name).and_then(|group| group.refreshes.last_mut()) {
        change(refresh);
    }
}

fn note_progress(state: &mut State, group: &Group, outdated: usize) {
    change_refresh(state, group, |refresh| {
        if refresh.status == RefreshStatus::Pending {
            refresh.status = RefreshStatus::InProgress;
            (refresh.total, refresh.left) = (outdated, outdated);
        }
        if outdated < refresh.left {
            refresh.progressed = Moment::now();
        }
        refresh.left = outdated;
    });
}

fn end_refresh(state: &mut State, group: &Group, status: RefreshStatus, reason: Option<String>) {
    change_refresh(state, group, |refresh| {
        (refresh.status, refresh.reason, refresh.ended) = (status, reason, Some(Moment::now()));
    });
}

fn complete(state: &mut State, group: &Group, wanted: TemplateSpec) {
    let rolled_back = group.refresh().is_some_and(|refresh| refresh.status == RefreshStatus::RollbackInProgress);
    if rolled_back {
        return end_refresh(state, group, RefreshStatus::RollbackSuccessful, None);
    }
    end_refresh(state, group, RefreshStatus::Successful, None);
    if let Some(group) = state.groups.get_mut(&group.name) {
        group.template = wanted;
    }
}

fn fail(state: &mut State, group: &Group) {
    let reason = "The refresh has made no progress for too long.".to_owned();
    match group.refresh() {
        Some(refresh) if refresh.status == RefreshStatus::RollbackInProgress => {
            end_refresh(state, group, RefreshStatus::RollbackFailed, Some(reason));
        }
        Some(refresh) if refresh.auto_rollback => change_refresh(state, group, |refresh| {
            (refresh.status, refresh.reason) = (RefreshStatus::RollbackInProgress, Some(reason));
            refresh.progressed = Moment::now();
        }),
        _ => end_refresh(state, group, RefreshStatus::Failed, Some(reason)),
    }
}

fn scale(state: &mut State, site: &Site, group: &Group, expected: usize) {
    let serving = serving(state, group).len();
    if serving < expected && !group.suspended.contains("Launch") {
        for count in serving..expected {
            if !add(state, site, group, count) {
                return;
            }
        }
    }
    if serving > expected && !group.suspended.contains("Terminate") {
        for _ in expected..serving {
            shrink(state, site, group);
        }
    }
    if serving == expected && !group.cause.is_empty() {
        state.groups.entry(group.name.clone()).and_modify(|group| group.cause.clear());
    }
}

/// Launches one instance; after a failure the group waits ever longer.
fn add(state: &mut State, site: &Site, group: &Group, count: usize) -> bool {
    if group.failures > 0 && group.retry_after.is_some_and(|since| since.age() < pause(group.failures)) {
        return false;
    }
    let now = Moment::now().seconds();
    let why = match group.refresh() {
        Some(_) => format!("At {now} an instance was started in response to an instance refresh."),
        None if group.cause.is_empty() => {
            format!("At {now} an instance was launched in response to an unhealthy instance needing to be replaced.")
        }
        None => format!(
            "At {now} {}.  At {now} an instance was started in response to a difference between desired and actual capacity, increasing the capacity from {count} to {}.",
            group.cause,
            count + 1
        ),
    };
    let launched = launch(state, site, group, &refresh_template(group));
    let failures = match &launched {
        Ok(instance) => {
            begin(state, group, Kind::Launch, instance, why);
            0
        }
        Err(message) => {
            activities::failed_launch(state, group, why, message);
            group.failures + 1
        }
    };
    if let Some(group) = state.groups.get_mut(&group.name) {
        (group.failures, group.retry_after) = (failures, Some(Moment::now()));
    }
    launched.is_ok()
}

fn pause(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.min(6)) / 2
}

/// Releases the instance that AWS would choose: from the fullest zone, of the oldest template version, the oldest.
fn shrink(state: &mut State, site: &Site, group: &Group) {
    let serving = serving(state, group);
    let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
    for one in &serving {
        *zones.entry(&one.zone).or_default() += 1;
    }
    let version = |one: &Instance| one.template.version.parse::<u64>().unwrap_or_default();
    let free = serving.iter().filter(|one| !one.protected);
    let chosen = free.min_by_key(|one| {
        let crowd = zones.get(one.zone.as_str()).copied().unwrap_or_default();
        (std::cmp::Reverse(crowd), version(one), one.launched)
    });
    let Some(id) = chosen.map(|one| one.id.clone()) else {
        return;
    };
    let now = Moment::now().seconds();
    let cause = match group.cause.as_str() {
        "" => format!("At {now} instance {id} was selected for termination."),
        cause => format!(
            "At {now} {cause}.  At {now} an instance was taken out of service in response to a difference between desired and actual capacity, shrinking the capacity.  At {now} instance {id} was selected for termination."
        ),
    };
    release(state, site, &id, cause);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_stays_between_its_percentages_and_always_moves() {
        for ((desired, min, max), expected) in [
            ((1, 90, 100), (0, 1)),
            ((1, 100, 200), (1, 2)),
            ((1, 100, 110), (1, 2)),
            ((4, 90, 100), (3, 4)),
            ((4, 50, 100), (2, 4)),
            ((4, 100, 150), (4, 6)),
            ((10, 90, 100), (9, 10)),
            ((0, 90, 100), (0, 0)),
        ] {
            assert_eq!(healthy_range(desired, min, max), expected, "{desired} {min} {max}");
        }
    }
}
