//! Routes of a listener, computed when the state changes rather than for every request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;

use super::headers::ForwardedFor;
use super::requests::Count;
use crate::elb::{Reachability, SslPolicy, attribute, idle_timeout_s, log_place, routable, seen_by, target_key};
use crate::state::{Action, ListenerRule, State, Target, TargetGroup};
use crate::{Compute, Site};

/// A listener's decision on a request.
pub struct Route {
    /// The generation of the state that it was computed from.
    pub generation: u64,
    /// The ARN of the load balancer.
    pub balancer: String,
    /// The idle timeout of either side.
    pub patience: Duration,
    pub forwarded_for: ForwardedFor,
    /// Whether headers are dropped whose names contain anything but letters, digits and hyphens.
    pub drops_invalid: bool,
    /// Whether the load balancer writes an access log.
    pub has_access_log: bool,
    /// The default action, for requests that no rule applies to.
    pub next: Next,
    /// The rules in the order of evaluation, each with its action.
    pub rules: Vec<(ListenerRule, Next)>,
    /// The security policy and the certificates of an HTTPS listener; the first is the default.
    pub security: Option<(&'static SslPolicy, Vec<String>)>,
    /// The local ports of the load balancer's listeners, by their ports.
    pub local_ports: BTreeMap<u16, u16>,
}

/// The destination of a request.
pub enum Next {
    /// One of these groups, chosen by weight.
    Groups(Vec<ForwardGroup>),
    /// The load balancer responds itself.
    Own(Action),
    Nowhere,
}

/// A target group that receives requests.
pub struct ForwardGroup {
    /// Its ARN.
    pub arn: Arc<str>,
    weight: u32,
    algorithm: Algorithm,
    targets: Vec<Goal>,
}

/// A target that receives requests.
pub struct Goal {
    pub at: At,
    pub count: Arc<Count>,
}

/// The state of a target's address.
#[derive(Clone)]
pub enum At {
    Process(Authority),
    Blocked,
    Closed,
}

/// The algorithm that chooses a target.
#[derive(Clone, Copy)]
enum Algorithm {
    RoundRobin,
    LeastOutstanding,
    Random,
}

impl Route {
    /// Returns a listener's route for this state.
    pub fn of(compute: &Compute, state: &State, generation: u64, listener: &str) -> Route {
        let listener = state.listeners.get(listener);
        let balancer = listener.and_then(|listener| state.load_balancers.get(&listener.load_balancer));
        let next = listener.map_or(Next::Nowhere, |listener| Next::of(compute, state, &listener.actions));
        let rules = listener.map(|listener| state.rules_of(&listener.arn)).unwrap_or_default();
        let rules = rules.into_iter().map(|rule| (rule.clone(), Next::of(compute, state, &rule.actions))).collect();
        let security = listener.filter(|listener| listener.is_secure()).and_then(|listener| {
            let policy = listener.ssl_policy.as_deref().and_then(SslPolicy::find)?;
            Some((policy, listener.certificates.clone()))
        });
        Route {
            generation,
            balancer: balancer.map(|one| one.arn.clone()).unwrap_or_default(),
            patience: Duration::from_secs(balancer.map_or(60, idle_timeout_s)),
            drops_invalid: balancer.is_some_and(|one| {
                attribute(&one.attributes, "routing.http.drop_invalid_header_fields.enabled") == "true"
            }),
            has_access_log: balancer.is_some_and(|one| log_place(&one.attributes).is_some()),
            forwarded_for: balancer.map(ForwardedFor::of).unwrap_or_default(),
            next,
            rules,
            security,
            local_ports: balancer.map(|one| local_ports(state, &one.arn)).unwrap_or_default(),
        }
    }

    /// Returns where a request for this host and path goes next, with the priority of the rule that decides it: 0 for the
    /// default one.
    pub fn next(&self, host: &str, path: &str) -> (u32, &Next) {
        let decides = self.rules.iter().find(|(rule, _)| rule.fits(host, path));
        decides.map_or((0, &self.next), |(rule, next)| (rule.priority, next))
    }
}

impl Next {
    fn of(compute: &Compute, state: &State, actions: &[Action]) -> Next {
        match actions.last() {
            Some(Action::Forward(groups)) => {
                let known = groups.iter().filter_map(|(arn, weight)| Some((state.target_groups.get(arn)?, *weight)));
                Next::Groups(known.map(|(group, weight)| ForwardGroup::of(compute, state, group, weight)).collect())
            }
            Some(own) => Next::Own(own.clone()),
            None => Next::Nowhere,
        }
    }
}

impl ForwardGroup {
    fn of(compute: &Compute, state: &State, group: &TargetGroup, weight: u32) -> ForwardGroup {
        let algorithm = match attribute(&group.attributes, "load_balancing.algorithm.type") {
            "least_outstanding_requests" => Algorithm::LeastOutstanding,
            "weighted_random" => Algorithm::Random,
            _ => Algorithm::RoundRobin,
        };
        let site: &Site = &compute.site;
        let goal = |target: &Target| {
            let at = match seen_by(state, group, target) {
                Some(Reachability::At(address)) => authority(address).map_or(At::Closed, At::Process),
                Some(Reachability::Blocked) => At::Blocked,
                Some(Reachability::Closed) | None => At::Closed,
            };
            Goal { at, count: compute.requests.of(&group.arn, &target_key(&target.id, target.port)) }
        };
        let targets = routable(state, site, group).into_iter().map(goal).collect();
        ForwardGroup { arn: Arc::from(group.arn.as_str()), weight, algorithm, targets }
    }

    /// Returns whether the group has no target to send requests to.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Returns the index of the target whose turn it is, among those that have not been tried.
    pub fn choose(&self, turn: usize, tried: &[usize]) -> Option<usize> {
        let left: Vec<usize> = (0..self.targets.len()).filter(|at| !tried.contains(at)).collect();
        let from = match self.algorithm {
            Algorithm::RoundRobin => turn,
            Algorithm::Random => fastrand::usize(..),
            Algorithm::LeastOutstanding => {
                let open = |at: &&usize| self.targets[**at].count.open();
                let least = left.iter().map(|at| open(&at)).min()?;
                let idlest: Vec<usize> = left.iter().filter(|at| open(at) == least).copied().collect();
                return idlest.get(turn % idlest.len()).copied();
            }
        };
        left.get(from.checked_rem(left.len())?).copied()
    }

    /// Returns the target at an index that `choose` returned.
    pub fn target(&self, at: usize) -> Option<&Goal> {
        self.targets.get(at)
    }
}

/// Returns the local ports of a load balancer's listeners, by their ports.
fn local_ports(state: &State, load_balancer: &str) -> BTreeMap<u16, u16> {
    state.listeners_of(load_balancer).map(|listener| (listener.port, listener.local_port)).collect()
}

fn authority(address: SocketAddr) -> Option<Authority> {
    address.to_string().parse().ok()
}

/// Returns the group whose turn it is.
pub fn by_weight(groups: &[ForwardGroup], turn: usize) -> Option<&ForwardGroup> {
    let total: usize = groups.iter().map(|group| group.weight as usize).sum();
    let mut place = turn.checked_rem(total)?;
    for group in groups {
        match place.checked_sub(group.weight as usize) {
            Some(rest) => place = rest,
            None => return Some(group),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::requests::Open;
    use super::*;

    fn group(weight: u32, algorithm: Algorithm, open: &[usize]) -> (ForwardGroup, Vec<Open>) {
        let mut held = Vec::new();
        let mut goal = |open: &usize| {
            let count = Arc::new(Count::default());
            held.extend((0..*open).map(|_| count.begin()));
            Goal { at: At::Closed, count }
        };
        let targets = open.iter().map(&mut goal).collect();
        (ForwardGroup { arn: Arc::from("arn"), weight, algorithm, targets }, held)
    }

    #[test]
    fn target_groups_are_chosen_by_their_weights() {
        let groups: Vec<ForwardGroup> =
            [2, 1, 0].into_iter().map(|weight| group(weight, Algorithm::RoundRobin, &[]).0).collect();
        let order: Vec<u32> = (0..6).filter_map(|turn| by_weight(&groups, turn)).map(|group| group.weight).collect();
        assert_eq!(order, [2, 2, 1, 2, 2, 1]);
        assert!(by_weight(&[], 0).is_none());
    }

    #[test]
    fn targets_take_turns_and_one_that_was_tried_is_passed_over() {
        let (three, _held) = group(1, Algorithm::RoundRobin, &[0, 0, 0]);
        let order: Vec<usize> = (0..4).filter_map(|turn| three.choose(turn, &[])).collect();
        assert_eq!(order, [0, 1, 2, 0]);
        assert_eq!(three.choose(1, &[0, 1]), Some(2));
        assert_eq!(three.choose(0, &[0, 1, 2]), None);
    }

    #[test]
    fn the_target_with_the_fewest_outstanding_requests_is_chosen() {
        let (three, _held) = group(1, Algorithm::LeastOutstanding, &[2, 1, 1]);
        assert_eq!((three.choose(0, &[]), three.choose(1, &[])), (Some(1), Some(2)));
        assert_eq!(three.choose(0, &[1, 2]), Some(0));
        assert_eq!(group(1, Algorithm::LeastOutstanding, &[]).0.choose(0, &[]), None);
        let (random, _held) = group(1, Algorithm::Random, &[0, 0]);
        assert!((0..50).all(|turn| random.choose(turn, &[0]) == Some(1)));
    }
}
