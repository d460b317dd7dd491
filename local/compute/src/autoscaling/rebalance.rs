//! Rebalances zones: first launches in the emptier zone, then terminates in the fuller one (EC2 Auto Scaling user
//! guide, "Rebalancing activities").
//!
//! One instance is moved at a time, so a group never exceeds its maximum by more than one, as AWS allows.

use std::collections::BTreeMap;
use std::time::Duration;

use super::launch::{Profiles, takes};
use super::reconcile::{is_pausing, is_ready, launch_somewhere, note_launch, refresh_template, release, serving};
use super::termination::first_to_go;
use crate::Site;
use crate::clock::Moment;
use crate::ec2;
use crate::state::{AutoScalingGroup, Instance, State};

/// Advances the rebalancing, and returns how many instances the group should have meanwhile.
pub fn rebalance(
    state: &mut State,
    site: &Site,
    group: &AutoScalingGroup,
    expected: usize,
    profiles: &Profiles,
) -> usize {
    match group.rebalancing.as_ref().and_then(|id| state.instances.get(id)).cloned() {
        Some(newcomer) => go_on(state, site, group, expected, &newcomer),
        None => begin(state, site, group, expected, profiles),
    }
}

/// Returns whether a group's zones are out of balance and it may start to rebalance them.
fn is_due(state: &State, group: &AutoScalingGroup) -> bool {
    group.rebalancing.is_none() && is_lopsided(&counts(state, group)) && !is_suspended(group)
}

fn begin(state: &mut State, site: &Site, group: &AutoScalingGroup, expected: usize, profiles: &Profiles) -> usize {
    if !is_due(state, group) || !is_calm(state, group, expected) || is_pausing(site, group) {
        return expected;
    }
    let counts = counts(state, group);
    let template = refresh_template(group);
    let Some(target) = emptier(&counts, |subnet| takes(state, site, group, &template, subnet)) else {
        return expected;
    };
    let zone_of = |id: &str| ec2::subnet(state, site, id).map(|subnet| subnet.zone);
    let others = counts.keys().filter(|id| **id != target).filter_map(|id| zone_of(id)).collect();
    let why = balancing(Moment::now(), &zone_of(&target).unwrap_or_default());
    let launched = launch_somewhere(state, site, group, &why, profiles, others);
    note_launch(state, group, launched.is_some());
    let extra = usize::from(launched.is_some());
    remember(state, group, launched);
    expected + extra
}

/// Keeps one extra instance until the newcomer is ready, then releases one from the fullest zone.
fn go_on(state: &mut State, site: &Site, group: &AutoScalingGroup, expected: usize, newcomer: &Instance) -> usize {
    let serving = serving(state, group);
    if !newcomer.serves() || serving.len() != expected + 1 || group.refresh().is_some() {
        remember(state, group, None);
        return expected;
    }
    let is_ready = is_ready(state, site, group, newcomer, newcomer.launched, Duration::ZERO);
    if !is_ready || group.suspended.contains("Terminate") {
        return expected + 1;
    }
    let chosen = first_to_go(&serving, &group.termination_policies, Moment::now()).map(|one| one.id.clone());
    remember(state, group, None);
    if let Some(id) = chosen {
        let now = Moment::now().seconds();
        let cause = format!(
            "{}  At {now} an instance was taken out of service in response to a difference between desired and actual capacity, shrinking the capacity from {} to {expected}.  At {now} instance {id} was selected for termination.",
            balancing(newcomer.launched, &newcomer.zone),
            expected + 1
        );
        release(state, site, &id, cause);
    }
    expected
}

fn balancing(at: Moment, zone: &str) -> String {
    format!(
        "At {} instances were launched to balance instances in zones {zone} with other zones resulting in more than desired number of instances in the group.",
        at.seconds()
    )
}

fn remember(state: &mut State, group: &AutoScalingGroup, newcomer: Option<String>) {
    if let Some(group) = state.groups.get_mut(&group.name) {
        group.rebalancing = newcomer;
    }
}

fn is_suspended(group: &AutoScalingGroup) -> bool {
    ["AZRebalance", "Launch"].iter().any(|process| group.suspended.contains(*process))
}

/// Returns whether nothing else is happening in the group and an instance of the fullest zone may be terminated.
fn is_calm(state: &State, group: &AutoScalingGroup, expected: usize) -> bool {
    let serving = serving(state, group);
    let settled = |one: &&Instance| one.in_service.is_some() && one.unhealthy.is_none() && one.is_alive();
    let counts = counts(state, group);
    let fullest =
        |one: &&Instance| counts.get(one.subnet.as_str()).is_some_and(|count| counts.values().max() == Some(count));
    group.refresh().is_none()
        && serving.len() == expected
        && serving.iter().all(settled)
        && serving.iter().any(|one| fullest(one) && !one.protected)
}

/// Returns the number of instances in each of a group's subnets; each zone has one subnet.
fn counts(state: &State, group: &AutoScalingGroup) -> BTreeMap<String, usize> {
    let mut counts: BTreeMap<String, usize> = group.subnets.iter().map(|subnet| (subnet.clone(), 0)).collect();
    for one in serving(state, group) {
        if let Some(count) = counts.get_mut(&one.subnet) {
            *count += 1;
        }
    }
    counts
}

/// Returns whether moving one instance would reduce the difference between subnets.
fn is_lopsided(counts: &BTreeMap<String, usize>) -> bool {
    let (least, most) = (counts.values().min(), counts.values().max());
    least.zip(most).is_some_and(|(least, most)| most - least > 1)
}

/// Returns the emptiest subnet that takes an instance, if launching there improves the balance. A subnet without
/// capacity does not count as lacking instances.
fn emptier(counts: &BTreeMap<String, usize>, takes: impl Fn(&str) -> bool) -> Option<String> {
    let most = counts.values().max()?;
    let mut candidates: Vec<(&usize, &String)> =
        counts.iter().filter(|(_, count)| *count + 1 < *most).map(|(subnet, count)| (count, subnet)).collect();
    candidates.sort();
    candidates.into_iter().map(|(_, subnet)| subnet).find(|subnet| takes(subnet)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emptiest(counts: &[(&str, usize)], full: &str) -> Option<String> {
        let counts = counts.iter().map(|(subnet, count)| ((*subnet).to_owned(), *count)).collect();
        assert!(is_lopsided(&counts) || emptier(&counts, |_| true).is_none());
        emptier(&counts, |subnet| subnet != full)
    }

    #[test]
    fn rebalancing_launches_where_there_is_capacity_and_balance_improves() {
        for (counts, full, expected) in [
            ([("a", 2), ("b", 0), ("c", 1)], "", Some("b")),
            ([("a", 2), ("b", 0), ("c", 1)], "b", None),
            ([("a", 3), ("b", 0), ("c", 1)], "b", Some("c")),
            ([("a", 1), ("b", 0), ("c", 1)], "", None),
            ([("a", 2), ("b", 1), ("c", 1)], "", None),
            ([("a", 0), ("b", 0), ("c", 0)], "", None),
        ] {
            assert_eq!(emptiest(&counts, full).as_deref(), expected, "{counts:?} without {full:?}");
        }
        assert_eq!(emptiest(&[], ""), None);
    }

    #[test]
    fn nothing_is_launched_while_the_process_is_suspended() {
        let mut group = crate::autoscaling::tracking::tests::group(2);
        assert!(!is_suspended(&group));
        for process in ["AZRebalance", "Launch"] {
            group.suspended = [process.to_owned()].into();
            assert!(is_suspended(&group), "{process}");
        }
        group.suspended = ["Terminate".to_owned()].into();
        assert!(!is_suspended(&group));
    }
}
