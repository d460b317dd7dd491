//! Target tracking: the desired capacity follows a metric (docs/aws.md §10.6).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::clock::Moment;
use crate::state::{AlarmState, AutoScalingGroup, State, Tracking};
use kit::speed::Speed;

/// How many seconds, before scaling by the speed, the value must be too high before the group grows, and too low before
/// it shrinks.
const HIGH_S: u64 = 60 * HIGH_MINUTES;
const LOW_S: u64 = 60 * LOW_MINUTES;

/// The same in minutes, the period of an alarm.
pub const HIGH_MINUTES: u64 = 3;
pub const LOW_MINUTES: u64 = 15;

/// A value below this fraction of the target is too low.
pub const LOW_SHARE: f64 = 0.9;

/// The latest values of each policy, one per second. The key is the group and the policy.
pub type Samples = BTreeMap<(String, String), VecDeque<f64>>;

/// Adds one value per policy, once a second, and adjusts the desired capacity of each group that needs it. `measure`
/// returns a group's value of a metric, if it can be measured.
pub fn track(
    state: &mut State,
    speed: Speed,
    samples: &mut Samples,
    measure: impl Fn(&State, &AutoScalingGroup, &Tracking) -> Option<f64>,
) {
    samples
        .retain(|(group, policy), _| state.groups.get(group).is_some_and(|group| group.policies.contains_key(policy)));
    let groups: Vec<AutoScalingGroup> = state.groups.values().filter(|group| !group.deleting).cloned().collect();
    for group in groups {
        let mut wishes = Vec::new();
        for policy in group.policies.values() {
            let Some(tracking) = &policy.tracking else {
                continue;
            };
            let Some(value) = measure(state, &group, tracking) else {
                continue;
            };
            let history = samples.entry((group.name.clone(), policy.name.clone())).or_default();
            history.push_back(value);
            while history.len() > samples_in(speed, LOW_S) {
                history.pop_front();
            }
            if let Some(known) = state.groups.get_mut(&group.name).and_then(|one| one.policies.get_mut(&policy.name)) {
                known.high.note(verdict(speed, history, HIGH_S, |value| value > tracking.target));
                known.low.note(verdict(speed, history, LOW_S, |value| value < tracking.target * LOW_SHARE));
            }
            if let Some(desired) = wish(speed, history, tracking, &group) {
                wishes.push((desired, policy));
            }
        }
        // If several policies want to scale, the largest capacity wins.
        let Some((desired, policy)) = wishes.into_iter().max_by_key(|(desired, _)| *desired) else {
            continue;
        };
        if group.suspended.contains("AlarmNotification") || is_cooling(speed, &group) || desired == group.desired {
            continue;
        }
        let side = if desired > group.desired { "AlarmHigh" } else { "AlarmLow" };
        let cause = format!(
            "a monitor alarm TargetTracking-{}-{side}-{} in state ALARM triggered policy {} changing the desired capacity from {} to {desired}",
            group.name, policy.alarm, policy.name, group.desired
        );
        if let Ok(group) = state.group_mut(&group.name) {
            (group.desired, group.cause, group.scaled) = (desired, cause, Some(Moment::now()));
        }
    }
}

/// Returns whether the group is cooling down. After scaling, new instances need time to take their share of the load.
fn is_cooling(speed: Speed, group: &AutoScalingGroup) -> bool {
    let pause = speed.lasts(group.warmup_s.unwrap_or(group.cooldown_s)).max(Duration::from_secs(2));
    group.scaled.is_some_and(|since| since.age() < pause)
}

/// Returns how many values, measured once a second, cover the period at this speed; at least two.
fn samples_in(speed: Speed, seconds: u64) -> usize {
    (speed.lasts(seconds).as_secs() as usize).max(2)
}

/// Returns the state of an alarm from the latest values.
fn verdict(speed: Speed, history: &VecDeque<f64>, seconds: u64, is_off: impl Fn(f64) -> bool) -> AlarmState {
    let count = samples_in(speed, seconds);
    match history.iter().rev().take(count).all(|value| is_off(*value)) {
        _ if history.len() < count => AlarmState::Unknown,
        true => AlarmState::Alarm,
        false => AlarmState::Fine,
    }
}

/// Returns the capacity that would bring the value to its target, if all recent values are too high or too low.
fn wish(speed: Speed, history: &VecDeque<f64>, tracking: &Tracking, group: &AutoScalingGroup) -> Option<u32> {
    let last = |seconds: u64| {
        let count = samples_in(speed, seconds);
        (history.len() >= count).then(|| history.iter().rev().take(count).copied().collect::<Vec<f64>>())
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let scaled = |value: f64| (f64::from(group.desired) * value / tracking.target).ceil() as u32;
    if let Some(values) = last(HIGH_S).filter(|values| values.iter().all(|value| *value > tracking.target)) {
        let wanted = scaled(mean(&values)).max(group.desired + 1);
        return Some(wanted.min(group.max));
    }
    let low = last(LOW_S).filter(|values| values.iter().all(|value| *value < tracking.target * LOW_SHARE));
    match low {
        Some(values) if !tracking.only_out => {
            let wanted = scaled(mean(&values)).min(group.desired.saturating_sub(1));
            Some(wanted.max(group.min))
        }
        _ => None,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::state::TemplateSpec;

    /// Returns a group with a minimum of 1 and a maximum of 4.
    pub fn group(desired: u32) -> AutoScalingGroup {
        let template = TemplateSpec { id: String::new(), name: String::new(), version: String::new() };
        AutoScalingGroup {
            name: "web".to_owned(),
            arn: String::new(),
            created: Moment::now(),
            template,
            min: 1,
            max: 4,
            desired,
            cooldown_s: 0,
            subnets: Vec::new(),
            health_check_type: "EC2".to_owned(),
            grace_s: 0,
            warmup_s: None,
            target_groups: Vec::new(),
            termination_policies: Vec::new(),
            protect_new: false,
            tags: BTreeMap::new(),
            suspended: Default::default(),
            deletion_protection: None,
            deleting: false,
            policies: BTreeMap::new(),
            refreshes: Vec::new(),
            cause: String::new(),
            failures: 0,
            last_launch: None,
            scaled: None,
            launches: 0,
            schedules: BTreeMap::new(),
            adding: Default::default(),
            rebalancing: None,
        }
    }

    #[test]
    fn the_capacity_follows_the_value_within_its_bounds() {
        let check = |desired: u32, values: &[(f64, usize)], expected: Option<u32>| {
            let tracking = Tracking { metric: String::new(), label: None, target: 50.0, only_out: false };
            let history = values.iter().flat_map(|(value, count)| std::iter::repeat_n(*value, *count)).collect();
            assert_eq!(wish(Speed::FAST, &history, &tracking, &group(desired)), expected, "{desired} with {values:?}");
        };
        check(1, &[(100.0, 8)], None);
        check(1, &[(100.0, 9)], Some(2));
        check(1, &[(55.0, 9)], Some(2));
        check(2, &[(100.0, 9)], Some(4));
        check(4, &[(100.0, 9)], Some(4));
        check(2, &[(48.0, 45)], None);
        check(4, &[(10.0, 45)], Some(1));
        check(3, &[(40.0, 45)], Some(2));
        check(3, &[(100.0, 1), (10.0, 44)], None);
        check(1, &[(0.0, 45)], Some(1));
    }
}
