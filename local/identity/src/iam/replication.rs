//! The replica of roles and instance profiles that other services read, which lags behind IAM under chaos (docs/aws.md
//! §2.3).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::state::{self, InstanceProfile, State};
use crate::permissions::{Grants, Policy, Trust};

/// Roles and instance profiles, by their lower-case names, which are unique.
#[derive(Debug, Default)]
pub(super) struct Replica {
    roles: BTreeMap<String, Replicated<RoleFacts, Role>>,
    profiles: BTreeMap<String, Replicated<Profile, ()>>,
}

/// A role, with its policies parsed.
#[derive(Debug)]
pub(super) struct Role {
    pub trust: Trust,
    pub grants: Arc<Grants>,
    /// The maximum session duration, in seconds.
    pub longest_session: i64,
}

/// The properties of a role that other services see. A change of any of them is a new version of the role.
#[derive(Debug, PartialEq)]
struct RoleFacts {
    arn: String,
    trust: String,
    policies: Vec<String>,
    tags: BTreeMap<String, String>,
    longest_session: i64,
}

/// An instance profile.
#[derive(Debug, PartialEq)]
pub(super) struct Profile {
    pub arn: String,
    pub id: String,
    pub role: Option<String>,
}

impl Replica {
    pub(super) fn role(&self, name: &str) -> Option<&Role> {
        self.roles.get(&name.to_ascii_lowercase())?.now().map(|(_, role)| role)
    }

    pub(super) fn profile(&self, name: &str) -> Option<&Profile> {
        self.profiles.get(&name.to_ascii_lowercase())?.now().map(|(profile, ())| profile)
    }

    /// Replicates the current state. `lag` returns how long a change to a name takes to become visible.
    pub(super) fn replicate(&mut self, state: &State, mut lag: impl FnMut(&str) -> Duration) {
        let roles = state.roles.iter().map(|(key, role)| (key.clone(), facts(role, state)));
        replicate(&mut self.roles, roles.collect(), Role::read, &mut lag);
        let profile = |it: &InstanceProfile| Profile {
            arn: it.arn.clone(),
            id: it.instance_profile_id.clone(),
            role: it.roles.first().cloned(),
        };
        let profiles = state.instance_profiles.iter().map(|(key, it)| (key.clone(), profile(it)));
        replicate(&mut self.profiles, profiles.collect(), |_| (), &mut lag);
    }
}

fn facts(role: &state::Role, state: &State) -> RoleFacts {
    RoleFacts {
        arn: role.arn.clone(),
        trust: role.assume_role_policy_document.clone(),
        policies: state.documents_of(role),
        tags: role.tags.clone(),
        longest_session: i64::from(role.max_session_duration),
    }
}

/// The policies of a role that are valid.
pub(super) fn parsed(role: &str, documents: &[String]) -> Vec<Policy> {
    let policies = documents.iter().filter_map(|text| match Policy::parse(text) {
        Ok(policy) => Some(policy),
        Err(why) => {
            tracing::warn!(role, why, "a policy is not understood");
            None
        }
    });
    policies.collect()
}

impl Role {
    /// Parses the documents. One that was stored before documents were validated may be invalid, and allows nothing.
    fn read(facts: &RoleFacts) -> Role {
        let policies = parsed(&facts.arn, &facts.policies);
        let grants = Grants { role_arn: facts.arn.clone(), tags: facts.tags.clone(), policies };
        let trust = Trust::parse(&facts.trust).unwrap_or_default();
        Role { trust, grants: Arc::new(grants), longest_session: facts.longest_session }
    }
}

fn replicate<F: PartialEq, T>(
    known: &mut BTreeMap<String, Replicated<F, T>>,
    mut there: BTreeMap<String, F>,
    read: impl Fn(&F) -> T,
    lag: &mut impl FnMut(&str) -> Duration,
) {
    for (name, value) in known.iter_mut() {
        let facts = there.remove(name);
        if value.last() != facts.as_ref() {
            value.change(facts, &read, lag(name));
        }
    }
    for (name, facts) in there {
        let wait = lag(&name);
        known.entry(name).or_default().change(Some(facts), &read, wait);
    }
    known.retain(|_, value| !value.is_over());
}

/// An eventually consistent value: its versions in order, each with the time from which it is visible.
#[derive(Debug)]
struct Replicated<F, T>(Vec<Version<F, T>>);

#[derive(Debug)]
struct Version<F, T> {
    from: Instant,
    /// `None` while it is deleted.
    content: Option<(F, T)>,
}

impl<F, T> Default for Replicated<F, T> {
    fn default() -> Replicated<F, T> {
        Replicated(Vec::new())
    }
}

impl<F, T> Replicated<F, T> {
    fn now(&self) -> Option<&(F, T)> {
        let now = Instant::now();
        self.0.iter().rfind(|version| version.from <= now)?.content.as_ref()
    }

    fn last(&self) -> Option<&F> {
        self.0.last()?.content.as_ref().map(|(facts, _)| facts)
    }

    fn change(&mut self, facts: Option<F>, read: impl Fn(&F) -> T, lag: Duration) {
        let now = Instant::now();
        // Versions before the one that is visible now are no longer needed.
        let current = self.0.iter().rposition(|version| version.from <= now).unwrap_or(0);
        self.0.drain(..current);
        // Changes become visible in the order in which they were made.
        let earliest = self.0.last().map_or(now, |last| last.from.max(now));
        let content = facts.map(|facts| {
            let read = read(&facts);
            (facts, read)
        });
        self.0.push(Version { from: earliest.max(now + lag), content });
    }

    /// Whether its deletion is visible everywhere.
    fn is_over(&self) -> bool {
        let now = Instant::now();
        self.0.last().is_none_or(|last| last.content.is_none() && last.from <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn known(value: &Replicated<u8, ()>) -> Option<u8> {
        value.now().map(|(facts, ())| *facts)
    }

    #[test]
    fn changes_are_seen_late_and_in_order() {
        let mut value = Replicated::default();
        value.change(Some(1), |_| (), Duration::ZERO);
        assert_eq!(known(&value), Some(1));
        value.change(Some(2), |_| (), LONG);
        value.change(Some(3), |_| (), Duration::ZERO);
        assert_eq!((known(&value), value.last()), (Some(1), Some(&3)));
        value.change(None, |_| (), Duration::ZERO);
        assert!(known(&value) == Some(1) && !value.is_over());
    }

    #[test]
    fn names_are_added_changed_and_removed() {
        let mut names = BTreeMap::new();
        let mut now = |there: &[(&str, u8)]| {
            let there = there.iter().map(|(name, facts)| ((*name).to_owned(), *facts)).collect();
            replicate(&mut names, there, |_| (), &mut |_| Duration::ZERO);
            names.iter().map(|(name, value)| (name.clone(), known(value))).collect::<Vec<_>>()
        };
        assert_eq!(now(&[("a", 1), ("b", 1)]), [("a".to_owned(), Some(1)), ("b".to_owned(), Some(1))]);
        assert_eq!(now(&[("b", 2)]), [("b".to_owned(), Some(2))]);
        assert_eq!(now(&[]), []);
    }
}
