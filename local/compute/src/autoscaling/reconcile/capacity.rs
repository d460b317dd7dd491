//! Launches and terminations that bring a group to its desired capacity.

use std::collections::BTreeSet;
use std::time::Duration;

use super::membership::{release, serving};
use super::refresh::refresh_template;
use crate::Site;
use crate::autoscaling::activities::{self, ActivityKind, begin};
use crate::autoscaling::launch::{Outlook, Profiles, Refused, launch};
use crate::autoscaling::termination::first_to_go;
use crate::clock::Moment;
use crate::state::{AutoScalingGroup, State};
use kit::speed::Speed;

pub(super) fn scale(state: &mut State, site: &Site, group: &AutoScalingGroup, expected: usize, profiles: &Profiles) {
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
fn add(state: &mut State, site: &Site, group: &AutoScalingGroup, count: usize, profiles: &Profiles) -> bool {
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
pub fn is_pausing(site: &Site, group: &AutoScalingGroup) -> bool {
    group.failures > 0 && group.last_launch.is_some_and(|since| since.age() < pause(site.speed, group.failures))
}

pub fn note_launch(state: &mut State, group: &AutoScalingGroup, launched: bool) {
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
    group: &AutoScalingGroup,
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
                begin(state, group, ActivityKind::Launch, &instance, why.to_owned());
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
fn shrink(state: &mut State, site: &Site, group: &AutoScalingGroup) {
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
