//! A run's observations of a release during its roll-out, and when it gives the release up.
//!
//! AWS itself waits for an hour without progress. The run gives up a release whose program exits after some identical
//! exits, and any other once the load balancer has found it unhealthy for longer than its grace period.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{ServiceNames, Verdict, collect_release, evidence::instance_of, verdict};
use crate::{
    cloud::{
        aws::Aws,
        health::{self, Target},
    },
    engine::Fault,
    kinds::auto_scaling_group::{Template, running},
};

/// This many instances of a release that were replaced because they were unhealthy are not a coincidence.
const REPLACED: usize = 2;

/// The roll-outs that a run has observed, by the name of the Auto Scaling group.
#[derive(Debug, Default)]
pub struct RollOuts(Mutex<BTreeMap<String, Observations>>);

/// The observations of one roll-out.
#[derive(Debug, Clone)]
struct Observations {
    /// The id of the refresh.
    id: String,
    begun: Instant,
    /// The last progress, and when it was made.
    progress: String,
    progressed: Instant,
    /// Since when each instance of the release has been in service.
    in_service: BTreeMap<String, Instant>,
    /// The last that was seen of each of its targets that were unhealthy.
    ill: BTreeMap<String, Target>,
    /// Why the release is not healthy, once that takes longer than usual.
    explained: Option<String>,
    judgement: Option<Judgement>,
}

/// Why a release was given up, from AWS's state before the rollback.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// The cause, if the evidence shows one.
    pub verdict: Option<Verdict>,
    /// The evidence in lines.
    pub summary: Vec<String>,
}

/// One look at the instances of a release that is being rolled out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// The instances that the group has.
    pub current: BTreeSet<String>,
    /// The instances in service.
    pub in_service: BTreeSet<String>,
    /// Their health according to the load balancer.
    pub targets: Vec<Target>,
    /// The instances that the group has replaced because they were unhealthy after their grace period.
    pub replaced: BTreeSet<String>,
}

/// Reads the instances of the release `wanted`, which the refresh that began at `begun_s` rolls out.
pub async fn look(
    aws: &Aws,
    names: &ServiceNames,
    target_groups: &BTreeSet<String>,
    wanted: &Template,
    begun_s: i64,
) -> Result<Look, Fault> {
    let targets = target_groups.iter().map(|arn| health::targets(aws, arn));
    let (group, activities, targets) = futures::try_join!(
        health::describe(aws, &names.group),
        health::activities(aws, &names.group),
        futures::future::try_join_all(targets)
    )?;
    let mut look = Look::default();
    let in_service = |id: &str| {
        let members = group.iter().flat_map(|group| group.instances());
        let mut states = members.filter(|it| it.instance_id() == Some(id)).filter_map(|it| it.lifecycle_state());
        states.any(|state| state.as_str() == "InService")
    };
    look.current = group.as_ref().map(|group| running(group, wanted)).unwrap_or_default();
    look.in_service = look.current.iter().filter(|id| in_service(id)).cloned().collect();
    look.targets = targets.into_iter().flatten().filter(|target| look.in_service.contains(&target.id)).collect();
    // While it is rolled out, the group launches nothing else.
    let since = activities.iter().filter(|it| it.start_time().is_some_and(|at| at.secs() >= begun_s));
    let about = |it: &aws_sdk_autoscaling::types::Activity, verb: &str| {
        let description = it.description().unwrap_or_default();
        description.starts_with(verb).then(|| instance_of(description).to_owned())
    };
    let launched: BTreeSet<String> = since.clone().filter_map(|it| about(it, "Launching")).collect();
    let is_ill = |cause: &str| super::Launch { cause: cause.into(), ..super::Launch::default() }.is_replacement();
    let ill = since.filter(|it| is_ill(it.cause().unwrap_or_default())).filter_map(|it| about(it, "Terminating"));
    look.replaced = ill.filter(|id| launched.contains(id)).collect();
    Ok(look)
}

/// Says why the release that is being rolled out is not healthy.
pub(super) async fn judge(aws: &Aws, names: &ServiceNames, seen: &BTreeMap<String, Target>) -> Judgement {
    let evidence = collect_release(aws, names, seen).await;
    let verdict = verdict(&evidence).filter(|verdict| verdict.cause != "starting");
    Judgement { verdict, summary: evidence.summary() }
}

impl Judgement {
    /// The sentence about the cause.
    pub fn words(&self) -> Option<&str> {
        self.verdict.as_ref().map(|verdict| verdict.words.as_str())
    }
}

impl RollOuts {
    /// Notes that a refresh is running, with its progress. Returns how long this run has watched it, and how long it has made
    /// no progress.
    pub fn note(&self, group: &str, id: &str, progress: &str) -> (Duration, Duration) {
        let (mut all, now) = (self.0.lock(), Instant::now());
        let observations = all.entry(group.to_owned()).or_insert_with(|| Observations::of(id, now));
        if observations.id != id {
            *observations = Observations::of(id, now);
        }
        if observations.progress != progress {
            (observations.progress, observations.progressed, observations.explained) = (progress.to_owned(), now, None);
        }
        (now - observations.begun, now - observations.progressed)
    }

    /// Notes a look, and returns whether the release is hopeless. A grace period lasts as long as `grace`.
    pub fn is_hopeless(&self, group: &str, look: &Look, grace: Duration) -> bool {
        self.0.lock().get_mut(group).is_some_and(|observations| observations.is_hopeless(look, grace, Instant::now()))
    }

    /// Judges the release, before it is given up. The judgement is kept for the end of the command.
    pub async fn judge(&self, aws: &Aws, names: &ServiceNames) -> Judgement {
        let judgement = judge(aws, names, &self.ill(&names.group)).await;
        if let Some(observations) = self.0.lock().get_mut(&names.group) {
            observations.judgement = Some(judgement.clone());
        }
        judgement
    }

    /// The judgement about a release that was given up.
    pub fn judgement(&self, group: &str) -> Option<Judgement> {
        self.0.lock().get(group)?.judgement.clone()
    }

    /// Why the release is not healthy yet, as far as it is known. Looks for it once for each progress.
    pub async fn explanation(&self, aws: &Aws, names: &ServiceNames) -> Option<String> {
        if let Some(words) = self.0.lock().get(&names.group).and_then(|observations| observations.explained.clone()) {
            return Some(words).filter(|words| !words.is_empty());
        }
        let judgement = judge(aws, names, &self.ill(&names.group)).await;
        let words = judgement.words().unwrap_or_default().to_owned();
        if let Some(observations) = self.0.lock().get_mut(&names.group) {
            observations.explained = Some(words.clone());
        }
        Some(words).filter(|words| !words.is_empty())
    }

    fn ill(&self, group: &str) -> BTreeMap<String, Target> {
        self.0.lock().get(group).map(|observations| observations.ill.clone()).unwrap_or_default()
    }
}

impl Observations {
    fn of(id: &str, now: Instant) -> Observations {
        Observations {
            id: id.into(),
            begun: now,
            progress: String::new(),
            progressed: now,
            in_service: BTreeMap::new(),
            ill: BTreeMap::new(),
            explained: None,
            judgement: None,
        }
    }

    /// Either several instances were replaced, or none is healthy and one is unhealthy after its grace period, for the same
    /// reason as at the last look.
    fn is_hopeless(&mut self, look: &Look, grace: Duration, now: Instant) -> bool {
        for id in &look.in_service {
            self.in_service.entry(id.clone()).or_insert(now);
        }
        let is_past_grace = |id: &str| self.in_service.get(id).is_some_and(|since| now - *since > grace);
        let ill: Vec<&Target> = look.targets.iter().filter(|target| target.state == "unhealthy").collect();
        let is_same = |target: &Target| self.ill.get(&target.id).is_some_and(|last| last.reason == target.reason);
        let stays_ill = ill.iter().any(|target| is_past_grace(&target.id) && is_same(target));
        let is_any_healthy = look.targets.iter().any(|target| target.state == "healthy");
        self.ill.retain(|id, _| !look.targets.iter().any(|target| target.id == *id && target.state == "healthy"));
        self.ill.extend(ill.into_iter().map(|target| (target.id.clone(), target.clone())));
        look.replaced.len() >= REPLACED || stays_ill && !is_any_healthy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    fn target(id: &str, state: &str, reason: &str) -> Target {
        Target { id: id.into(), state: state.into(), reason: reason.into(), description: String::new() }
    }

    fn at(targets: &[Target]) -> Look {
        let in_service = targets.iter().map(|target| target.id.clone()).collect();
        Look { in_service, targets: targets.to_vec(), ..Look::default() }
    }

    /// Whether a release is hopeless after looks at these seconds.
    fn after(looks: &[(u64, Look)]) -> bool {
        let begun = Instant::now();
        let mut observations = Observations::of("r", begun);
        let look =
            |(at_s, look): &(u64, Look)| observations.is_hopeless(look, GRACE, begun + Duration::from_secs(*at_s));
        looks.iter().map(look).last().unwrap_or_default()
    }

    #[test]
    fn a_release_is_hopeless_if_an_instance_stays_unhealthy_after_its_grace_period() {
        let ill = || at(&[target("i-1", "unhealthy", "Target.Timeout")]);
        let other = || at(&[target("i-1", "unhealthy", "Target.ResponseCodeMismatch")]);
        let starting = || at(&[target("i-1", "initial", "Elb.InitialHealthChecking")]);
        assert!(after(&[(0, starting()), (50, ill()), (61, ill())]));
        assert!(!after(&[(0, starting()), (50, ill()), (59, ill())]), "its grace period is not over");
        assert!(!after(&[(0, starting()), (50, ill()), (61, other())]), "the reason has changed");
        assert!(!after(&[(0, starting()), (61, ill())]), "seen once");
        let partly = || at(&[target("i-1", "unhealthy", "Target.Timeout"), target("i-2", "healthy", "")]);
        assert!(!after(&[(0, partly()), (50, partly()), (61, partly())]), "another one is healthy");
        assert!(!after(&[(0, ill()), (50, ill()), (61, at(&[target("i-1", "healthy", "")]))]));
    }

    #[test]
    fn a_release_is_hopeless_if_a_second_instance_is_replaced() {
        let replaced = |ids: &[&str]| Look { replaced: ids.iter().map(|id| (*id).to_owned()).collect(), ..at(&[]) };
        assert!(!after(&[(0, replaced(&["i-1"])), (5, replaced(&["i-1"]))]), "the same one");
        assert!(after(&[(0, replaced(&["i-1"])), (5, replaced(&["i-1", "i-2"]))]));
    }

    #[test]
    fn what_was_last_seen_of_an_unhealthy_target_is_kept() {
        let (roll_outs, reason) = (RollOuts::default(), "Target.ResponseCodeMismatch");
        roll_outs.note("web", "r", "0 %");
        roll_outs.is_hopeless("web", &at(&[target("i-1", "unhealthy", reason)]), GRACE);
        roll_outs.is_hopeless("web", &at(&[]), GRACE);
        assert_eq!(roll_outs.ill("web")["i-1"].reason, reason, "it has been taken out of service");
        roll_outs.note("web", "another", "0 %");
        assert!(roll_outs.ill("web").is_empty(), "another roll-out");
    }
}
