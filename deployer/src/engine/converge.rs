//! The three loops: one converges a resource to its description, one takes it over, and one removes it.

use std::{future::Future, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Address, Error, Event, Fault, Live, Observed, Observer, Outputs, Progress, RESOURCE_TAG, Resource, Retry,
    STACK_TAG, Step, Tags,
    diff::{Change, diff, secrets},
};

/// The polling interval, and the signal to stop.
#[derive(Debug, Clone)]
pub struct Pace {
    /// The first pause; each further one is half as long again.
    pub shortest: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// Cancelled when the user wants to stop: calls in flight finish, and no new ones start.
    pub stop: CancellationToken,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            shortest: Duration::from_millis(50),
            // Polling each resource every five seconds stays far below AWS's rate limits (docs/aws.md §14).
            longest: Duration::from_secs(5),
            stop: CancellationToken::new(),
        }
    }
}

/// For this long after our own create, "absent" means "not visible yet" (docs/aws.md §18).
const VISIBLE_WITHIN: Duration = Duration::from_secs(120);

/// Repeats a read while its error means "not yet".
///
/// A read consists of several calls. What the first one found may have been removed by another client before the
/// second: the next read finds a consistent state.
pub async fn look<T, F: Future<Output = Result<T, Fault>>>(mut ask: impl FnMut() -> F) -> Result<T, Fault> {
    let mut patience = Patience::new(Duration::ZERO);
    loop {
        match ask().await {
            Err(fault) if patience.bears(&fault) => {}
            answer => return answer,
        }
        tokio::time::sleep(patience.next_rest(&Pace::default())).await;
    }
}

/// State shared by all nodes of one walk.
pub(super) struct Run<'a, C> {
    pub cloud: &'a C,
    pub outputs: &'a Outputs,
    pub pace: &'a Pace,
    pub observer: &'a Observer,
}

/// One resource, with the tags that mark it as ours.
pub(super) struct Subject {
    pub address: Address,
    pub stack: String,
    pub tags: Tags,
    /// Which resources it accepts.
    pub claim: Claim,
}

/// Which resources count as the stack's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// Those with the stack's tags. All others are errors.
    Tagged,
    /// Also those without ownership tags, which an update adds.
    Untagged,
    /// The same for a report: a resource of another owner is a step of the plan, not an error, and missing ownership tags
    /// are not differences.
    Listed,
}

impl Subject {
    /// Reads, acts and reads again until nothing differs.
    ///
    /// Waiting is a round in which `read` returns `Settling`; recovery from a crash is an ordinary round. Nothing here
    /// can delete.
    pub async fn converge<R: Resource>(
        &self,
        resource: &R,
        want: &R::Settings,
        run: &Run<'_, R::Cloud>,
        mut seen: Option<Observed<R>>,
    ) -> Result<R::Output, Error> {
        let mut patience = Patience::new(R::LIMIT);
        let mut created = None;
        let mut refusal = Refusal::default();
        loop {
            let observed = match seen.take() {
                Some(seen) => seen,
                None => self.read(resource, run.cloud).await.map_err(|error| refusal.or(error))?,
            };
            refusal.unless_moved(&observed)?;
            let state = state_of(&observed);
            let (verb, acted) = match observed {
                Observed::Absent if created.is_some_and(|at: Instant| at.elapsed() < VISIBLE_WITHIN) => {
                    patience.state = "not visible yet".into();
                    ("read", Ok(()))
                }
                Observed::Absent => {
                    self.begin(run, &mut patience, "creating");
                    patience.state = "being created".into();
                    match resource.create(run.cloud, want, &self.tags).await {
                        Ok(Some(live)) => return Ok(live.output),
                        Ok(None) => {
                            created = Some(Instant::now());
                            ("create", Ok(()))
                        }
                        Err(fault) => ("create", Err(fault)),
                    }
                }
                Observed::Settling(state) => {
                    patience.state = state;
                    ("read", Ok(()))
                }
                Observed::Present(live) => {
                    self.check_owner(resource, &live)?;
                    match self.step(resource, &live, want) {
                        Step::Keep => return Ok(live.output),
                        Step::Replace(changes) => return Err(self.must_replace(resource, changes)),
                        step => {
                            // Some settings are separate calls after the creation.
                            let verb = if created.is_some() { "creating" } else { "updating" };
                            self.begin(run, &mut patience, verb);
                            patience.state = format!("being updated ({})", step.fields());
                            ("update", self.update(resource, want, run.cloud, &live).await)
                        }
                    }
                }
            };
            // AWS quotes the values that it rejects.
            let acted = acted.map_err(|fault| fault.hiding(&secrets(want, R::SECRET)));
            if let Err(error) = self.rest(resource, run, verb, acted, &mut patience).await {
                refusal.note(error, state)?;
            }
        }
    }

    /// Adds the missing ownership tags, and reads again until they are present. Changes nothing else.
    ///
    /// Each round checks the owner right before it tags: no service can add a tag on condition that another is missing.
    pub async fn take_over<R: Resource>(&self, resource: &R, run: &Run<'_, R::Cloud>) -> Result<(), Error> {
        let mut patience = Patience::new(R::LIMIT);
        let mut refusal = Refusal::default();
        loop {
            let observed = self.read(resource, run.cloud).await.map_err(|error| refusal.or(error))?;
            refusal.unless_moved(&observed)?;
            let state = state_of(&observed);
            let (verb, acted) = match observed {
                Observed::Absent => {
                    let gone = Fault::new("Tag", "Absent", "it has been deleted in the meantime");
                    return Err(self.failed(resource, "tag", gone));
                }
                Observed::Settling(state) => {
                    patience.state = state;
                    ("read", Ok(()))
                }
                Observed::Present(live) => {
                    self.check_owner(resource, &live)?;
                    let missing = self.missing_tags(&live).filter(|(key, ..)| is_of_ownership(key));
                    let missing: Tags = missing.map(|(key, value, _)| (key.clone(), value.clone())).collect();
                    if missing.is_empty() {
                        return Ok(());
                    }
                    self.begin(run, &mut patience, "tagging");
                    patience.state = "being tagged".into();
                    ("tag", resource.tag(run.cloud, &live, &missing).await)
                }
            };
            if let Err(error) = self.rest(resource, run, verb, acted, &mut patience).await {
                refusal.note(error, state)?;
            }
        }
    }

    /// Deletes and reads again until it is absent.
    pub async fn vanish<R: Resource>(&self, resource: &R, run: &Run<'_, R::Cloud>) -> Result<(), Error> {
        let mut patience = Patience::new(R::LIMIT);
        let mut refusal = Refusal::default();
        self.report(run, Progress::Began("deleting"));
        loop {
            let observed = self.read(resource, run.cloud).await.map_err(|error| refusal.or(error))?;
            refusal.unless_moved(&observed)?;
            let state = state_of(&observed);
            let (verb, acted) = match observed {
                Observed::Absent => return Ok(()),
                Observed::Present(live) if R::is_bare(&live.settings) => return Ok(()),
                Observed::Settling(state) => {
                    patience.state = state;
                    ("read", Ok(()))
                }
                Observed::Present(live) => {
                    self.check_owner(resource, &live)?;
                    patience.state = "being deleted".into();
                    ("delete", resource.delete(run.cloud, &live).await)
                }
            };
            if let Err(error) = self.rest(resource, run, verb, acted, &mut patience).await {
                refusal.note(error, state)?;
            }
        }
    }

    pub async fn read<R: Resource>(&self, resource: &R, cloud: &R::Cloud) -> Result<Observed<R>, Error> {
        look(|| resource.read(cloud)).await.map_err(|fault| self.failed(resource, "read", fault))
    }

    pub async fn loss<R: Resource>(&self, resource: &R, cloud: &R::Cloud) -> Result<Option<String>, Error> {
        look(|| resource.loss(cloud)).await.map_err(|fault| self.failed(resource, "read", fault))
    }

    /// Determines the step that converges this resource.
    pub fn step<R: Resource>(&self, resource: &R, live: &Live<R>, want: &R::Settings) -> Step {
        let section = &self.address.section;
        let changes = diff(&live.settings, want).into_iter();
        let hidden = |change: Change| match (&change.from, &change.to) {
            // A value that is added or removed stays hidden: the absent side cannot show that it is open.
            (Some(from), Some(to)) if [from, to].iter().all(|it| resource.is_open(&change.path, it.revealed())) => {
                change
            }
            _ => change.hidden_below(R::SECRET),
        };
        let changes = changes.map(|change| hidden(change).sourced(section, R::SOURCES));
        let mut changes: Vec<Change> = changes.collect();
        let fixed: Vec<Change> = changes.iter().filter(|change| is_fixed::<R>(&change.path)).cloned().collect();
        if !fixed.is_empty() {
            return Step::Replace(fixed);
        }
        let is_listed = self.claim == Claim::Listed && live.owner.is_unowned();
        changes.extend(
            self.missing_tags(live)
                .filter(|(key, ..)| !(is_listed && is_of_ownership(key)))
                .map(|(key, value, old)| Change::of(format!("tags.{key}"), old.map(Into::into), Some(value.into()))),
        );
        if changes.is_empty() { Step::Keep } else { Step::Update(changes) }
    }

    /// Fails if the resource is not ours.
    pub fn check_owner<R: Resource>(&self, resource: &R, live: &Live<R>) -> Result<(), Error> {
        let is_free = live.owner.is_unowned();
        match live.owner.foreign_to(&self.stack).filter(|_| !(is_free && self.claim != Claim::Tagged)) {
            Some(owner) => {
                Err(Error::Foreign { what: self.address.clone(), name: resource.name().into(), owner, is_free })
            }
            None => Ok(()),
        }
    }

    async fn update<R: Resource>(
        &self,
        resource: &R,
        want: &R::Settings,
        cloud: &R::Cloud,
        live: &Live<R>,
    ) -> Result<(), Fault> {
        let missing: Tags = self.missing_tags(live).map(|(key, value, _)| (key.clone(), value.clone())).collect();
        if !missing.is_empty() {
            resource.tag(cloud, live, &missing).await?;
        }
        if !diff(&live.settings, want).is_empty() {
            resource.update(cloud, want, live).await?;
        }
        Ok(())
    }

    /// The wanted tags that are missing or differ. Tags of others are left alone. So is the resource tag of a resource
    /// that was found by its name: it only informs people.
    fn missing_tags<'a, R: Resource>(
        &'a self,
        live: &'a Live<R>,
    ) -> impl Iterator<Item = (&'a String, &'a String, Option<&'a String>)> {
        let there = match &live.owner {
            super::Owner::Tags(tags) => Some(tags),
            super::Owner::Parent | super::Owner::Other(_) => None,
        };
        there.into_iter().flat_map(|there| {
            self.tags
                .iter()
                .filter(|(key, value)| there.get(*key) != Some(value))
                .filter(|(key, _)| *key != RESOURCE_TAG || !there.contains_key(RESOURCE_TAG))
                .map(|(key, value)| (key, value, there.get(key)))
        })
    }

    /// The only place that handles waiting, time limits and interruption.
    async fn rest<R: Resource>(
        &self,
        resource: &R,
        run: &Run<'_, R::Cloud>,
        verb: &'static str,
        acted: Result<(), Fault>,
        patience: &mut Patience,
    ) -> Result<(), Error> {
        if let Err(fault) = acted {
            if fault.retry == Retry::NextRun {
                return Err(Error::Postponed { what: self.address.clone(), reason: fault.message });
            }
            if !patience.bears(&fault) {
                return Err(self.failed(resource, verb, fault));
            }
            patience.state = format!("waiting: {}", fault.message);
        }
        if patience.begun.elapsed() > patience.limit {
            return Err(Error::TimedOut {
                what: self.address.clone(),
                name: resource.name().into(),
                state: patience.state.clone(),
                after: patience.limit,
            });
        }
        self.report(run, Progress::Waiting(patience.state.clone()));
        let rest = patience.next_rest(run.pace);
        tokio::select! {
            () = tokio::time::sleep(rest) => Ok(()),
            () = run.pace.stop.cancelled() => Err(Error::Interrupted { what: self.address.clone() }),
        }
    }

    /// Reports an action once; rounds that retry it count as waiting.
    fn begin<C>(&self, run: &Run<'_, C>, patience: &mut Patience, verb: &'static str) {
        if patience.verb != verb {
            patience.verb = verb;
            self.report(run, Progress::Began(verb));
        }
    }

    fn report<C>(&self, run: &Run<'_, C>, progress: Progress) {
        (run.observer)(Event { address: self.address.clone(), progress });
    }

    fn failed<R: Resource>(&self, resource: &R, verb: &'static str, source: Fault) -> Error {
        Error::Fault { verb, what: self.address.clone(), name: resource.name().into(), source }
    }

    fn must_replace<R: Resource>(&self, resource: &R, changes: Vec<Change>) -> Error {
        Error::MustReplace { what: self.address.clone(), name: resource.name().into(), changes }
    }
}

/// A permanent refusal, which is believed if a second read finds everything unchanged.
///
/// Our own call may be the cause: it took effect, its answer was lost, and the client repeated it. AWS then answers,
/// for example, "the profile has a role already".
#[derive(Default)]
struct Refusal(Option<(Error, String)>);

impl Refusal {
    /// Keeps a refusal for the next read; every other error ends the loop.
    fn note(&mut self, error: Error, state: String) -> Result<(), Error> {
        match &error {
            Error::Fault { .. } => self.0 = Some((error, state)),
            _ => return Err(error),
        }
        Ok(())
    }

    /// The error to report if there was no second read.
    fn or(&mut self, error: Error) -> Error {
        self.0.take().map_or(error, |(refused, _)| refused)
    }

    fn unless_moved<R: Resource>(&mut self, observed: &Observed<R>) -> Result<(), Error> {
        match self.0.take() {
            Some((error, state)) if state == state_of(observed) => Err(error),
            _ => Ok(()),
        }
    }
}

/// A summary of a read, to compare with the next one.
fn state_of<R: Resource>(observed: &Observed<R>) -> String {
    match observed {
        Observed::Absent => "absent".into(),
        Observed::Settling(state) => format!("settling: {state}"),
        Observed::Present(live) => format!("{:?} {:?}", live.settings, live.owner),
    }
}

/// Whether this is the key of an ownership tag.
fn is_of_ownership(key: &str) -> bool {
    [STACK_TAG, RESOURCE_TAG].contains(&key)
}

fn is_fixed<R: Resource>(path: &str) -> bool {
    let top = path.split('.').next().unwrap_or(path);
    R::FIXED.contains(&top)
}

/// The state that a resource waits in, since when, and the time limits.
struct Patience {
    begun: Instant,
    limit: Duration,
    verb: &'static str,
    state: String,
    rounds: i32,
    fault: Option<(String, Instant)>,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Patience { begun: Instant::now(), limit, verb: "", state: String::new(), rounds: 0, fault: None }
    }

    /// Whether this fault may still go away. Its time budget starts when it first occurs in a row.
    fn bears(&mut self, fault: &Fault) -> bool {
        let Retry::Within(budget) = fault.retry else { return false };
        self.limit = self.limit.max(self.begun.elapsed() + budget);
        match &self.fault {
            Some((code, since)) if *code == fault.code => since.elapsed() < budget,
            _ => {
                self.fault = Some((fault.code.clone(), Instant::now()));
                true
            }
        }
    }

    fn next_rest(&mut self, pace: &Pace) -> Duration {
        let rest = pace.shortest.mul_f64(1.5f64.powi(self.rounds.min(30))).min(pace.longest);
        self.rounds += 1;
        rest
    }
}
