//! Chooses the instance to terminate when a group shrinks.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::clock::Moment;
use crate::state::Instance;

/// The termination policies of Auto Scaling.
pub const POLICIES: &[&str] = &[
    "AllocationStrategy",
    "ClosestToNextInstanceHour",
    "Default",
    "NewestInstance",
    "OldestInstance",
    "OldestLaunchConfiguration",
    "OldestLaunchTemplate",
];

/// Returns the instance to terminate first. Of the zones with an unprotected instance the fullest is chosen, and within
/// it each policy narrows the choice.
pub fn first_to_go<'a>(members: &[&'a Instance], policies: &[String], now: Moment) -> Option<&'a Instance> {
    let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
    for one in members {
        *zones.entry(&one.zone).or_default() += 1;
    }
    let free = members.iter().copied().filter(|one| !one.protected).collect();
    let mut left = least(free, |one| Reverse(zones.get(one.zone.as_str()).copied().unwrap_or_default()));
    for policy in policies {
        left = match policy.as_str() {
            "OldestInstance" => least(left, |one| one.launched),
            "NewestInstance" => least(left, |one| Reverse(one.launched)),
            "OldestLaunchTemplate" => least(left, version),
            "ClosestToNextInstanceHour" => least(left, |one| to_next_hour(one, now)),
            "Default" => least(least(left, version), |one| to_next_hour(one, now)),
            // A group has neither launch configurations nor several instance types.
            _ => left,
        };
    }
    left.into_iter().min_by_key(|one| (one.launched, &one.id))
}

/// Returns the instances with the smallest measure.
fn least<K: Ord>(from: Vec<&Instance>, measure: impl Fn(&Instance) -> K) -> Vec<&Instance> {
    let Some(least) = from.iter().map(|one| measure(one)).min() else {
        return from;
    };
    from.into_iter().filter(|one| measure(one) == least).collect()
}

fn version(one: &Instance) -> u64 {
    one.template.version.parse().unwrap_or_default()
}

/// Returns the seconds until the instance has run for another full hour.
fn to_next_hour(one: &Instance, now: Moment) -> u64 {
    3600 - one.launched.age_at(now).as_secs() % 3600
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{InstanceState, TemplateSpec};
    use std::time::Duration;

    /// Name, zone, template version, age in minutes, whether it is protected.
    type Row = (&'static str, char, u64, u64, bool);

    fn first(rows: &[Row], policies: &[&str]) -> Option<String> {
        let begin = Moment::default();
        let now = begin.after(Duration::from_secs(100 * 60));
        let all: Vec<Instance> = rows.iter().map(|row| instance(row, begin)).collect();
        let policies: Vec<String> = policies.iter().map(|name| (*name).to_owned()).collect();
        first_to_go(&all.iter().collect::<Vec<_>>(), &policies, now).map(|one| one.id.clone())
    }

    fn instance(&(id, zone, version, age_minutes, protected): &Row, begin: Moment) -> Instance {
        let template = TemplateSpec { id: String::new(), name: String::new(), version: version.to_string() };
        Instance {
            id: id.to_owned(),
            group: None,
            template,
            image: String::new(),
            kind: String::new(),
            zone: zone.to_string(),
            subnet: String::new(),
            address: String::new(),
            security_groups: Vec::new(),
            profile: None,
            shown_profile: None,
            settings: Default::default(),
            volumes: Vec::new(),
            user_data: String::new(),
            state: InstanceState::Running,
            launched: begin.after(Duration::from_secs((100 - age_minutes) * 60)),
            ended: None,
            port: None,
            declared_port: None,
            in_service: None,
            unhealthy: None,
            protected,
            leaving: false,
            registered: Vec::new(),
            mishap: None,
            rebooting: false,
        }
    }

    #[test]
    fn the_default_policy_chooses_by_zone_then_version_then_billing_hour() {
        let check = |rows: &[Row], expected: &str| assert_eq!(first(rows, &["Default"]).as_deref(), Some(expected));
        check(&[("one", 'a', 1, 90, false), ("two", 'b', 2, 10, false), ("three", 'b', 2, 20, false)], "three");
        check(&[("one", 'a', 1, 10, false), ("two", 'b', 2, 90, false)], "one");
        check(&[("one", 'a', 1, 70, false), ("two", 'b', 1, 50, false)], "two");
        check(&[("one", 'a', 10, 50, false), ("two", 'b', 9, 10, false)], "two");
    }

    #[test]
    fn protected_instances_stay_whatever_their_zone() {
        let rows: &[Row] = &[("one", 'a', 1, 50, true), ("two", 'a', 1, 50, true), ("three", 'b', 2, 10, false)];
        assert_eq!(first(rows, &["Default"]).as_deref(), Some("three"));
        assert_eq!(first(&rows[..2], &["Default"]), None);
        assert_eq!(first(&[], &["Default"]), None);
    }

    #[test]
    fn other_termination_policies_choose_other_instances() {
        let rows: &[Row] = &[("old", 'a', 2, 70, false), ("late", 'a', 2, 50, false), ("new", 'a', 1, 10, false)];
        let check = |policies: &[&str], expected: &str| {
            assert_eq!(first(rows, policies).as_deref(), Some(expected), "{policies:?}");
        };
        check(&["OldestInstance"], "old");
        check(&["NewestInstance"], "new");
        check(&["OldestLaunchTemplate"], "new");
        check(&["ClosestToNextInstanceHour"], "late");
        check(&["OldestLaunchConfiguration", "Default"], "new");
        check(&["AllocationStrategy"], "old");
    }
}
