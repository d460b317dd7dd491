//! One step of the control loop for a group: compares actual and desired state, and moves one step closer.

use std::collections::BTreeSet;
use std::time::Duration;

use super::activities::{self, Kind, begin, finish};
use super::launch::{Outlook, Profiles, Refused, launch};
use super::rebalance;
use super::termination::first_to_go;
use crate::Site;
use crate::clock::Moment;
use crate::elb::TargetStatus;
use crate::state::{Group, Instance, InstanceState, Protected, RefreshStatus, State, TargetGroup, TemplateSpec};
use crate::{ec2, elb};
use kit::speed::Speed;

/// A refresh without progress fails after this many seconds, before scaling by the speed.
const STUCK_S: u64 = 3600;

/// Returns the instance profiles that launches may need. Only IAM knows whether they exist.
pub fn profiles_needed(state: &State) -> BTreeSet<String> {
    state.groups.values().filter(|group| !group.deleting).filter_map(|group| profile_of(state, group)).collect()
}

/// Returns the instance profile of a group's next instance.
fn profile_of(state: &State, group: &Group) -> Option<String> {
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
            finish(state, Kind::Launch, &one.id);
            update(state, &one.id, |one| one.in_service = Some(Moment::now()));
        }
        if one.state == InstanceState::Terminated {
            finish(state, Kind::Terminate, &one.id);
            finish(state, Kind::Launch, &one.id);
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
fn replaces_stopped(group: &Group) -> bool {
    ["HealthCheck", "ReplaceUnhealthy", "Terminate"].iter().all(|process| !group.suspended.contains(*process))
}

/// Handles an instance of the group that was terminated or stopped from outside.
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

/// Lets an instance finish its requests; [`settle`] then terminates it.
fn leave(state: &mut State, group: &Group, id: &str) {
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
    begin(state, &group, Kind::Terminate, &one, cause);
    leave(state, &group, id);
}

fn dissolve(state: &mut State, site: &Site, group: &Group) {
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
pub fn serving<'a>(state: &'a State, group: &Group) -> Vec<&'a Instance> {
    state.members(&group.name).into_iter().filter(|one| one.serves()).collect()
}

/// Registers running instances with the group's target groups.
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

/// Starts to take account of a target group that was attached later, once one of its targets is healthy (docs/aws.md
/// §10.3).
fn note_added(state: &mut State, site: &Site, group: &Group) {
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

/// Checks the health of the instances and releases the unhealthy ones.
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
fn is_sick(state: &State, site: &Site, group: &Group, one: &Instance) -> bool {
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

/// Advances a refresh, and returns how many instances the group should have meanwhile.
fn refresh(state: &mut State, site: &Site, group: &Group) -> usize {
    let desired = group.desired as usize;
    let Some(refresh) = group.refresh().cloned() else {
        return desired;
    };
    let warmup = site.speed.lasts(refresh.warmup_s.or(group.warmup_s).unwrap_or(group.grace_s));
    if refresh.status == RefreshStatus::Cancelling {
        end_refresh(state, group, RefreshStatus::Cancelled, Some("Cancelled by user.".to_owned()));
        drop_surplus(state, site, group, refresh.started, warmup);
        return desired;
    }
    if let Some(alarm) = refresh.rung.as_ref().filter(|_| refresh.status != RefreshStatus::RollbackInProgress) {
        fail(state, group, format!("The CloudWatch alarm {alarm} went into the ALARM state."));
        drop_surplus(state, site, group, refresh.started, warmup);
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
    // A rollback keeps the instances that the refresh has not replaced.
    let keeps_matching = refresh.skip_matching || refresh.status == RefreshStatus::RollbackInProgress;
    let is_outdated = |one: &Instance| {
        let other = one.template.id != wanted.id || one.template.version != number;
        if one.protected && refresh.protected == Protected::Ignore {
            return false;
        }
        // An unhealthy instance is replaced even if its template is current.
        other || one.launched < refresh.started && (!keeps_matching || one.unhealthy.is_some())
    };
    let serving: Vec<Instance> = serving(state, group).into_iter().cloned().collect();
    let ready: Vec<&Instance> =
        serving.iter().filter(|one| is_ready(state, site, group, one, refresh.started, warmup)).collect();
    let outdated: Vec<&Instance> = serving.iter().filter(|one| is_outdated(one)).collect();

    note_progress(state, group, outdated.len());
    if outdated.is_empty() && ready.len() == serving.len() && serving.len() == desired {
        if !is_baking(state, site, group) {
            complete(state, group, wanted);
        }
        return desired;
    }
    if refresh.progressed.age() > site.speed.lasts(STUCK_S) {
        fail(state, group, "The refresh has made no progress for too long.".to_owned());
        drop_surplus(state, site, group, refresh.started, warmup);
        return desired;
    }
    let (least, most) = healthy_range(desired, refresh.min_healthy, refresh.max_healthy);
    let mut spare = ready.len().saturating_sub(least);
    // An instance that is not ready may still serve requests. If the group may exceed its desired capacity, launch the
    // replacement first, as for all other instances.
    let mut idle = match launches_first(group) {
        true => ready.iter().filter(|one| !is_outdated(one)).count().min(serving.len().saturating_sub(desired)),
        false => usize::MAX,
    };
    let stays = |one: &Instance| one.protected && refresh.protected == Protected::Wait;
    for one in outdated.iter().filter(|one| !stays(one)) {
        let is_ready = ready.iter().any(|other| other.id == one.id);
        let left = if is_ready { &mut spare } else { &mut idle };
        if *left == 0 {
            continue;
        }
        *left -= 1;
        let now = Moment::now().seconds();
        release(
            state,
            site,
            &one.id,
            format!("At {now} an instance was taken out of service in response to an instance refresh."),
        );
    }
    let left = self::serving(state, group).into_iter().filter(|one| is_outdated(one) && !stays(one)).count();
    desired + left.min(most - desired)
}

/// Returns whether a refresh is in progress that launches before it terminates.
fn launches_first(group: &Group) -> bool {
    let desired = group.desired as usize;
    group.refresh().is_some_and(|refresh| healthy_range(desired, refresh.min_healthy, refresh.max_healthy).1 > desired)
}

/// Releases surplus instances that a refresh launched before it ended early, but none that are ready.
fn drop_surplus(state: &mut State, site: &Site, group: &Group, since: Moment, warmup: Duration) {
    let serving = serving(state, group);
    let surplus = serving.len().saturating_sub(group.desired as usize);
    let idle = serving.into_iter().filter(|one| !is_ready(state, site, group, one, since, warmup));
    let idle: Vec<String> = idle.take(surplus).map(|one| one.id.clone()).collect();
    let now = Moment::now().seconds();
    for id in idle {
        let cause = format!("At {now} an instance was taken out of service in response to an instance refresh.");
        release(state, site, &id, cause);
    }
}

/// Returns the template for new instances: during a refresh the refresh's template, during a rollback the group's old
/// one.
pub fn refresh_template(group: &Group) -> TemplateSpec {
    let refresh = group.refresh().filter(|refresh| refresh.status != RefreshStatus::RollbackInProgress);
    refresh.and_then(|refresh| refresh.desired.clone()).unwrap_or_else(|| group.template.clone())
}

/// Returns whether an instance is in service, healthy and warmed up. If launched before `since`, it needs no warm-up.
pub fn is_ready(state: &State, site: &Site, group: &Group, one: &Instance, since: Moment, warmup: Duration) -> bool {
    let Some(in_service) = one.in_service else {
        return false;
    };
    let warm = one.launched < since || in_service.age() >= warmup;
    let answers = !group.health_check_type.contains("ELB")
        || statuses(state, site, group.target_groups.iter(), one)
            .iter()
            .all(|status| *status == TargetStatus::Healthy || status.is_unused());
    warm && answers && one.unhealthy.is_none()
}

/// Returns the minimum of ready instances and the maximum of all instances during a refresh. If the percentages allowed
/// no change at all, one instance may be launched first, or terminated first if the maximum is 100 %.
fn healthy_range(desired: usize, min_percent: u32, max_percent: u32) -> (usize, usize) {
    let least = (desired * min_percent as usize).div_ceil(100);
    let most = (desired * max_percent as usize / 100).max(desired);
    match (least == desired && most == desired, max_percent > 100) {
        (true, true) => (least, desired + 1),
        (true, false) => (desired.saturating_sub(1), most),
        (false, _) => (least, most),
    }
}

fn change_refresh(state: &mut State, group: &Group, change: impl FnOnce(&mut crate::state::Refresh)) {
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

/// Begins the bake time of a refresh that has replaced all instances, and returns whether it lasts still. A rollback has
/// none.
fn is_baking(state: &mut State, site: &Site, group: &Group) -> bool {
    let mut lasts = false;
    change_refresh(state, group, |refresh| {
        if refresh.bake_s == 0 || refresh.status == RefreshStatus::RollbackInProgress {
            return;
        }
        let since = *refresh.baking.get_or_insert_with(Moment::now);
        // Otherwise a long bake time would count as being stuck.
        (refresh.status, refresh.progressed) = (RefreshStatus::Baking, Moment::now());
        lasts = since.age() < site.speed.lasts(refresh.bake_s);
    });
    lasts
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

fn fail(state: &mut State, group: &Group, reason: String) {
    match group.refresh() {
        Some(refresh) if refresh.status == RefreshStatus::RollbackInProgress => {
            end_refresh(state, group, RefreshStatus::RollbackFailed, Some(reason));
        }
        Some(refresh) if refresh.auto_rollback => change_refresh(state, group, |refresh| refresh.roll_back(reason)),
        _ => end_refresh(state, group, RefreshStatus::Failed, Some(reason)),
    }
}

fn scale(state: &mut State, site: &Site, group: &Group, expected: usize, profiles: &Profiles) {
    let serving = serving(state, group).len();
    if serving < expected && !group.suspended.contains("Launch") {
        for count in serving..expected {
            if !add(state, site, group, count, profiles) {
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

/// Launches one instance, and returns whether that succeeded. After each further failure the group pauses for longer.
fn add(state: &mut State, site: &Site, group: &Group, count: usize, profiles: &Profiles) -> bool {
    if is_pausing(site, group) {
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
    let launched = launch_somewhere(state, site, group, &why, profiles, BTreeSet::new()).is_some();
    note_launch(state, group, launched);
    launched
}

/// Returns whether the group is pausing after a failed launch.
pub fn is_pausing(site: &Site, group: &Group) -> bool {
    group.failures > 0 && group.last_launch.is_some_and(|since| since.age() < pause(site.speed, group.failures))
}

pub fn note_launch(state: &mut State, group: &Group, launched: bool) {
    if let Some(group) = state.groups.get_mut(&group.name) {
        group.failures = if launched { 0 } else { group.failures + 1 };
        group.launches += u64::from(launched);
        group.last_launch = Some(Moment::now());
    }
}

/// Launches an instance in the zone with the fewest, or else in the next zone that accepts it, and returns its id.
pub fn launch_somewhere(
    state: &mut State,
    site: &Site,
    group: &Group,
    why: &str,
    profiles: &Profiles,
    mut avoided: BTreeSet<String>,
) -> Option<String> {
    // Use the current group: its launch count seeds the fault of the next instance.
    let group = &state.groups.get(&group.name).unwrap_or(group).clone();
    loop {
        let outlook = Outlook { profiles, avoided: &avoided };
        match launch(state, site, group, &refresh_template(group), &outlook) {
            Ok(instance) => {
                begin(state, group, Kind::Launch, &instance, why.to_owned());
                return Some(instance.id);
            }
            Err(Refused { message, zone }) => {
                activities::failed_launch(state, group, why.to_owned(), zone.clone(), &message);
                let is_new = zone.is_some_and(|zone| avoided.insert(zone));
                if !is_new || avoided.len() >= group.subnets.len() {
                    return None;
                }
            }
        }
    }
}

/// Returns the pause after consecutive failures: 20, 40, 80, … seconds, at most 640, before scaling by the speed.
fn pause(speed: Speed, failures: u32) -> Duration {
    speed.lasts(10 << failures.min(6))
}

/// Releases the instance that AWS would choose to terminate.
fn shrink(state: &mut State, site: &Site, group: &Group) {
    let chosen = first_to_go(&serving(state, group), &group.termination_policies, Moment::now());
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
