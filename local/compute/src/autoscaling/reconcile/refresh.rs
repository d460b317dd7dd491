//! Instance refreshes.

use std::time::Duration;

use super::membership::{release, serving};
use super::{STUCK_S, statuses};
use crate::Site;
use crate::clock::Moment;
use crate::ec2;
use crate::elb::TargetStatus;
use crate::state::{AutoScalingGroup, Instance, Protected, RefreshStatus, State, TemplateSpec};

/// Advances a refresh, and returns how many instances the group should have meanwhile.
pub(super) fn refresh(state: &mut State, site: &Site, group: &AutoScalingGroup) -> usize {
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
pub(super) fn launches_first(group: &AutoScalingGroup) -> bool {
    let desired = group.desired as usize;
    group.refresh().is_some_and(|refresh| healthy_range(desired, refresh.min_healthy, refresh.max_healthy).1 > desired)
}

/// Releases surplus instances that a refresh launched before it ended early, but none that are ready.
fn drop_surplus(state: &mut State, site: &Site, group: &AutoScalingGroup, since: Moment, warmup: Duration) {
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
pub fn refresh_template(group: &AutoScalingGroup) -> TemplateSpec {
    let refresh = group.refresh().filter(|refresh| refresh.status != RefreshStatus::RollbackInProgress);
    refresh.and_then(|refresh| refresh.desired.clone()).unwrap_or_else(|| group.template.clone())
}

/// Returns whether an instance is in service, healthy and warmed up. If launched before `since`, it needs no warm-up.
pub fn is_ready(
    state: &State,
    site: &Site,
    group: &AutoScalingGroup,
    one: &Instance,
    since: Moment,
    warmup: Duration,
) -> bool {
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

fn change_refresh(state: &mut State, group: &AutoScalingGroup, change: impl FnOnce(&mut crate::state::Refresh)) {
    if let Some(refresh) = state.groups.get_mut(&group.name).and_then(|group| group.refreshes.last_mut()) {
        change(refresh);
    }
}

fn note_progress(state: &mut State, group: &AutoScalingGroup, outdated: usize) {
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

fn end_refresh(state: &mut State, group: &AutoScalingGroup, status: RefreshStatus, reason: Option<String>) {
    change_refresh(state, group, |refresh| {
        (refresh.status, refresh.reason, refresh.ended) = (status, reason, Some(Moment::now()));
    });
}

/// Begins the bake time of a refresh that has replaced all instances, and returns whether it lasts still. A rollback has
/// none.
fn is_baking(state: &mut State, site: &Site, group: &AutoScalingGroup) -> bool {
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

fn complete(state: &mut State, group: &AutoScalingGroup, wanted: TemplateSpec) {
    let rolled_back = group.refresh().is_some_and(|refresh| refresh.status == RefreshStatus::RollbackInProgress);
    if rolled_back {
        return end_refresh(state, group, RefreshStatus::RollbackSuccessful, None);
    }
    end_refresh(state, group, RefreshStatus::Successful, None);
    if let Some(group) = state.groups.get_mut(&group.name) {
        group.template = wanted;
    }
}

fn fail(state: &mut State, group: &AutoScalingGroup, reason: String) {
    match group.refresh() {
        Some(refresh) if refresh.status == RefreshStatus::RollbackInProgress => {
            end_refresh(state, group, RefreshStatus::RollbackFailed, Some(reason));
        }
        Some(refresh) if refresh.auto_rollback => change_refresh(state, group, |refresh| refresh.roll_back(reason)),
        _ => end_refresh(state, group, RefreshStatus::Failed, Some(reason)),
    }
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
