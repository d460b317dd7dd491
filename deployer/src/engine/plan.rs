//! A plan is a value: the steps and the reasons for them. Applying it is a separate operation.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;

use super::{
    Address, Error, Finding, Outputs, Pace, Planned, Stack, Step, Task,
    converge::Run,
    graph::Node,
    removal::{by_rank, removal_order},
    step::AnyObserved,
    walk::{Span, Visit, Walked, walk},
};

/// The number of resources that are processed concurrently: more would run into AWS's rate limits (docs/aws.md §14).
pub const AT_ONCE: usize = 8;

/// The steps, resource by resource.
pub struct Plan {
    /// In the order of the page, orphans last.
    pub lines: Vec<Planned>,
    /// How long reading everything took.
    pub span: Span,
    outputs: Outputs,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.work() == 0
    }

    /// The number of resources that would change.
    pub fn work(&self) -> usize {
        self.lines.iter().filter(|line| line.step.is_work()).count()
    }

    /// Whether both plans have the same steps. What a step will change may not be known yet.
    pub fn is_like(&self, other: &Plan) -> bool {
        let steps = |plan: &Plan| -> Vec<(Address, Step)> {
            plan.lines.iter().map(|line| (line.address.clone(), line.step.clone())).collect()
        };
        steps(self) == steps(other)
    }

    /// Whether it creates the anchor: then the stack had no resources.
    pub fn is_first(&self) -> bool {
        self.lines.first().is_some_and(|line| line.step == Step::Create)
    }

    /// The resources that it removes.
    pub fn doomed(&self) -> impl Iterator<Item = &Planned> {
        self.lines.iter().filter(|line| matches!(line.step, Step::Delete { .. }))
    }

    /// The outputs of the resources that exist.
    pub fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// Discards what the plan has read, because it is too old: apply reads each resource again before a change.
    pub fn forget(&mut self) {
        self.lines.iter_mut().for_each(|line| line.seen = None);
    }
}

/// The outcome of a plan.
pub struct Applied {
    /// The outcome of each resource that had work to do.
    pub outcomes: Vec<Outcome>,
    /// The outputs of the resources that exist.
    pub outputs: Outputs,
    /// How long applying it took.
    pub span: Span,
}

/// The outcome of one resource.
#[derive(Debug)]
pub struct Outcome {
    /// Which resource.
    pub address: Address,
    /// The result; `None` if a resource that it needs failed first.
    pub result: Option<Result<(), Error>>,
}

impl Outcome {
    /// Whether it is up to date.
    pub fn is_done(&self) -> bool {
        matches!(self.result, Some(Ok(())))
    }

    /// Whether it is left for the next run because the user asked not to wait.
    pub fn is_postponed(&self) -> bool {
        matches!(self.result, Some(Err(Error::Postponed { .. })))
    }
}

/// An event of a resource.
#[derive(Debug, Clone)]
pub struct Event {
    /// The resource.
    pub address: Address,
    /// The event.
    pub progress: Progress,
}

/// The progress of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Work has begun: `creating`, `updating`, `deleting`.
    Began(&'static str),
    /// It is settling; this is its state.
    Waiting(String),
    /// It is up to date.
    Done,
    /// It failed.
    Failed,
    /// A resource that it needs failed, or it is left for the next run.
    Skipped,
}

/// Receives events.
pub type Observer = dyn Fn(Event) + Send + Sync;

impl<C: Send + Sync + 'static> Stack<C> {
    /// Plans to converge the chosen resources and to remove orphans. Changes nothing.
    pub async fn plan(&self, cloud: &C, chosen: Option<&BTreeSet<usize>>) -> Result<Plan, Error> {
        let outputs = Outputs::new(self.addresses());
        let (lines, ahead) = (Slots::new(self.nodes.len()), Slots::new(self.nodes.len()));
        let failed: Mutex<BTreeMap<usize, Error>> = Mutex::default();
        let order = self.reading_order();
        let Walked { span, .. } = walk(&self.reading_needs(&order), AT_ONCE, |visit| {
            let (outputs, lines, ahead, failed) = (&outputs, &lines, &ahead, &failed);
            let reads = visit.checked_sub(self.nodes.len()).map(|place| order[place]);
            let index = reads.unwrap_or(visit);
            let node = &self.nodes[index];
            async move {
                if chosen.is_some_and(|chosen| !chosen.contains(&index)) {
                    return true;
                }
                if !failed.lock().is_empty() {
                    return false;
                }
                let result = match reads {
                    Some(_) => node.read_ahead(cloud).await.map(|seen| ahead.fill(index, seen)),
                    None => node.plan(cloud, outputs, ahead.take(index)).await.map(|line| lines.put(index, line)),
                };
                let result = result.map_err(|error| drop(failed.lock().insert(index, error)));
                result.is_ok()
            }
        })
        .await;
        // Of several errors, the one of the first resource in page order.
        if let Some((_, error)) = failed.into_inner().pop_first() {
            return Err(error);
        }
        let mut lines = lines.into_values();
        if chosen.is_none() {
            lines.extend(self.plan_orphans(cloud).await?);
        }
        Ok(Plan { lines, outputs, span })
    }

    /// The dependencies of each visit of [`Stack::plan`]: first one visit for each node, which plans it, and then one
    /// for each node in this order, which reads it. Most of a plan's time is round trips, so a node is read without
    /// waiting for its inputs, unless these are needed to find it.
    fn reading_needs(&self, order: &[usize]) -> Vec<Vec<usize>> {
        let mut needs = self.needs.clone();
        order.iter().enumerate().for_each(|(place, &index)| needs[index].push(self.nodes.len() + place));
        needs.resize(2 * self.nodes.len(), Vec::new());
        needs
    }

    /// The nodes, those first for which the longest chains of others wait: only those that are found by what they use.
    fn reading_order(&self) -> Vec<usize> {
        let mut waiting = vec![0; self.nodes.len()];
        for index in (0..self.nodes.len()).rev() {
            let chain = waiting[index] + usize::from(!self.nodes[index].is_known());
            for &need in &self.needs[index] {
                waiting[need] = chain.max(waiting[need]);
            }
        }
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(waiting[index]));
        order
    }

    /// Plans the removal of everything except `kept` entries of `stack.yaml`. Changes nothing.
    pub async fn plan_removal(&self, cloud: &C, kept: &BTreeSet<usize>) -> Result<Plan, Error> {
        let outputs = Outputs::new(self.addresses());
        let lines = Slots::new(self.nodes.len());
        let error = Mutex::new(None);
        let Walked { span, .. } = walk(&self.needs, AT_ONCE, |index| {
            let (outputs, lines, error) = (&outputs, &lines, &error);
            async move {
                match self.nodes[index].plan_removal(cloud, outputs).await {
                    Ok(Some(mut planned)) => {
                        if kept.contains(&index) {
                            planned.step = Step::Leave("kept".into());
                        }
                        lines.put(index, planned);
                    }
                    Ok(None) => (),
                    Err(failed) => *error.lock() = Some(failed),
                }
                error.lock().is_none()
            }
        })
        .await;
        if let Some(error) = error.lock().take() {
            return Err(error);
        }
        let mut lines = lines.into_values();
        lines.extend(self.plan_orphans(cloud).await?);
        Ok(Plan { lines, outputs, span })
    }

    /// The order in which [`Stack::apply`] carries out a plan, with the usual times of its steps.
    pub fn order(&self, plan: &Plan, usual: &dyn Fn(&str, &Step) -> Option<Duration>) -> Vec<Task> {
        let forward = self.nodes.len();
        let removals = by_rank(&self.orphans).into_iter().map(|lower| {
            // Removals begin after everything else.
            (0..forward).chain(lower.into_iter().map(|orphan| forward + orphan)).collect()
        });
        self.tasks(self.needs.iter().cloned().chain(removals), plan, usual)
    }

    /// The order in which a plan of [`Stack::plan_removal`] is carried out.
    pub fn removal(&self, plan: &Plan, usual: &dyn Fn(&str, &Step) -> Option<Duration>) -> Vec<Task> {
        let mut order = removal_order(self);
        if let Some(anchor) = self.anchor() {
            order[anchor] = (0..order.len()).filter(|index| *index != anchor).collect();
        }
        self.tasks(order, plan, usual)
    }

    fn tasks(
        &self,
        needs: impl IntoIterator<Item = Vec<usize>>,
        plan: &Plan,
        usual: &dyn Fn(&str, &Step) -> Option<Duration>,
    ) -> Vec<Task> {
        let lines: BTreeMap<&Address, &Step> = plan.lines.iter().map(|line| (&line.address, &line.step)).collect();
        let nodes = self.nodes.iter().chain(&self.orphans).map(|node| node.address());
        let task = |(address, needs): (&Address, Vec<usize>)| {
            let step = lines.get(address).copied().filter(|step| step.is_work());
            let usual = step.and_then(|step| usual(address.kind, step));
            Task { name: address.to_string(), needs, is_work: step.is_some(), usual }
        };
        nodes.zip(needs).map(task).collect()
    }

    /// Carries out a plan: first creations and changes, then, if all of them succeeded, removals.
    pub async fn apply(&self, cloud: &C, plan: Plan, pace: &Pace, observer: &Observer) -> Applied {
        let Plan { lines, outputs, .. } = plan;
        let doomed = doomed(&lines);
        let run = Run { cloud, outputs: &outputs, pace, observer };
        let work: Work = self.work(lines);
        let (mut outcomes, span) = self.forward(&run, work).await;
        if outcomes.iter().all(Outcome::is_done) {
            outcomes.extend(self.remove_orphans(&run, &doomed).await);
        }
        Applied { outcomes, outputs, span }
    }

    /// Applies the anchor before everything else: from then on other runs can see the lease. Returns its outcome if
    /// there was anything to do.
    pub async fn bring_anchor(&self, cloud: &C, plan: &mut Plan, pace: &Pace, observer: &Observer) -> Option<Outcome> {
        let node = self.nodes.first()?;
        let line = plan.lines.iter_mut().find(|line| line.address == *node.address() && line.step.is_work())?;
        let run = Run { cloud, outputs: &plan.outputs, pace, observer };
        let seen = line.seen.take();
        let result = begin(&run, &**node, |run| node.converge(run, seen)).await;
        if result.is_ok() {
            line.step = Step::Keep;
        }
        Some(Outcome { address: node.address().clone(), result: Some(result) })
    }

    /// Adds the ownership tags to the resources that a plan found free (see [`Stack::list_owners`]), and changes nothing
    /// else. Each resource is read again right before it is tagged.
    pub async fn take_over(&self, cloud: &C, plan: &Plan, pace: &Pace, observer: &Observer) -> Vec<Outcome> {
        let free: BTreeSet<&Address> = plan.of_finding(Finding::Free).map(|line| &line.address).collect();
        let run = Run { cloud, outputs: &plan.outputs, pace, observer };
        let outcomes = Slots::new(self.nodes.len());
        // The order is irrelevant: tagging one resource does not affect another.
        walk(&vec![Vec::new(); self.nodes.len()], AT_ONCE, |index| {
            let (run, node, free, outcomes) = (&run, &self.nodes[index], &free, &outcomes);
            async move {
                if free.contains(node.address()) {
                    let result = begin(run, &**node, |run| node.take_over(run)).await;
                    outcomes.put(index, Outcome { address: node.address().clone(), result: Some(result) });
                }
                true
            }
        })
        .await;
        outcomes.into_values()
    }

    /// Removes what the plan removes, except the anchor: users of a resource before the resource.
    pub async fn remove_all_but_anchor(
        &self,
        cloud: &C,
        plan: &Plan,
        pace: &Pace,
        observer: &Observer,
    ) -> Vec<Outcome> {
        let mut doomed = doomed(&plan.lines);
        if let Some(anchor) = self.nodes.first() {
            doomed.remove(anchor.address());
        }
        self.remove_these(&Run { cloud, outputs: &plan.outputs, pace, observer }, &doomed).await
    }

    /// Removes the anchor, if the plan does.
    pub async fn remove_anchor(&self, cloud: &C, plan: &Plan, pace: &Pace, observer: &Observer) -> Option<Outcome> {
        let node = self.nodes.first().filter(|node| doomed(&plan.lines).contains(node.address()))?;
        let run = Run { cloud, outputs: &plan.outputs, pace, observer };
        let result = begin(&run, &**node, |run| node.vanish(run)).await;
        Some(Outcome { address: node.address().clone(), result: Some(result) })
    }

    /// Removes what the plan removes: users of a resource before the resource.
    pub async fn remove(&self, cloud: &C, plan: Plan, pace: &Pace, observer: &Observer) -> Vec<Outcome> {
        let Plan { lines, outputs, .. } = plan;
        self.remove_these(&Run { cloud, outputs: &outputs, pace, observer }, &doomed(&lines)).await
    }

    async fn remove_these(&self, run: &Run<'_, C>, doomed: &BTreeSet<Address>) -> Vec<Outcome> {
        let nodes = self.nodes.iter().chain(&self.orphans).map(|node| &**node).collect();
        walk_nodes(run, &removal_order(self), nodes, |node| doomed.contains(node.address())).await
    }

    fn work(&self, lines: Vec<Planned>) -> Work {
        let mut work: Work = (0..self.nodes.len()).map(|_| Mutex::new(None)).collect();
        for line in lines {
            let Some(index) = self.nodes.iter().position(|node| *node.address() == line.address) else {
                continue;
            };
            if !matches!(line.step, Step::Keep) {
                work[index] = Mutex::new(Some(line.seen));
            }
        }
        work
    }

    async fn forward(&self, run: &Run<'_, C>, work: Work) -> (Vec<Outcome>, Span) {
        let outcomes = Slots::new(self.nodes.len());
        let Walked { visits, span } = walk(&self.needs, AT_ONCE, |index| {
            let (node, work, outcomes) = (&self.nodes[index], &work, &outcomes);
            async move {
                let Some(seen) = work[index].lock().take() else { return true };
                let result = begin(run, &**node, |run| node.converge(run, seen)).await;
                let passed = result.is_ok();
                outcomes.put(index, Outcome { address: node.address().clone(), result: Some(result) });
                passed
            }
        })
        .await;
        self.skipped(run, &visits, &work, &outcomes);
        (outcomes.into_values(), span)
    }

    fn skipped(&self, run: &Run<'_, C>, visits: &[Visit], work: &Work, outcomes: &Slots<Outcome>) {
        for (index, visit) in visits.iter().enumerate() {
            if *visit == Visit::Skipped && work[index].lock().is_some() {
                let address = self.nodes[index].address().clone();
                (run.observer)(Event { address: address.clone(), progress: Progress::Skipped });
                outcomes.put(index, Outcome { address, result: None });
            }
        }
    }

    /// Plans the removal of the orphans alone. Changes nothing.
    pub async fn plan_orphans(&self, cloud: &C) -> Result<Vec<Planned>, Error> {
        let nothing = Outputs::new(self.orphans.iter().map(|node| node.address().clone()).collect());
        let looks = self.orphans.iter().map(|node| node.plan_removal(cloud, &nothing));
        let seen: Vec<_> = futures::stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
        Ok(seen.into_iter().flatten().collect())
    }

    async fn remove_orphans(&self, run: &Run<'_, C>, doomed: &BTreeSet<Address>) -> Vec<Outcome> {
        let nodes = self.orphans.iter().map(|node| &**node).collect();
        walk_nodes(run, &by_rank(&self.orphans), nodes, |node| doomed.contains(node.address())).await
    }
}

fn doomed(lines: &[Planned]) -> BTreeSet<Address> {
    let doomed = lines.iter().filter(|line| matches!(line.step, Step::Delete { .. }));
    doomed.map(|line| line.address.clone()).collect()
}

/// The plan's reading of each node that has work to do.
type Work = Vec<Mutex<Option<Option<AnyObserved>>>>;

async fn walk_nodes<C: Send + Sync + 'static>(
    run: &Run<'_, C>,
    needs: &[Vec<usize>],
    nodes: Vec<&dyn Node<C>>,
    wanted: impl Fn(&dyn Node<C>) -> bool,
) -> Vec<Outcome> {
    let outcomes = Slots::new(nodes.len());
    let Walked { visits, .. } = walk(needs, AT_ONCE, |index| {
        let (node, outcomes, wanted) = (nodes[index], &outcomes, wanted(nodes[index]));
        async move {
            if !wanted {
                return true;
            }
            let result = begin(run, node, |run| node.vanish(run)).await;
            let passed = result.is_ok();
            outcomes.put(index, Outcome { address: node.address().clone(), result: Some(result) });
            passed
        }
    })
    .await;
    for (index, visit) in visits.iter().enumerate() {
        if *visit == Visit::Skipped && wanted(nodes[index]) {
            let address = nodes[index].address().clone();
            (run.observer)(Event { address: address.clone(), progress: Progress::Skipped });
            outcomes.put(index, Outcome { address, result: None });
        }
    }
    outcomes.into_values()
}

async fn begin<'a, C, F>(
    run: &'a Run<'a, C>,
    node: &dyn Node<C>,
    act: impl FnOnce(&'a Run<'a, C>) -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<(), Error>>,
{
    if run.pace.stop.is_cancelled() {
        return Err(Error::Interrupted { what: node.address().clone() });
    }
    let result = act(run).await;
    let progress = match &result {
        Ok(()) => Progress::Done,
        Err(Error::Postponed { .. } | Error::Interrupted { .. }) => Progress::Skipped,
        Err(_) => Progress::Failed,
    };
    (run.observer)(Event { address: node.address().clone(), progress });
    result
}

/// Collects values in any order and returns them in the order of their indices.
struct Slots<T>(Mutex<Vec<Option<T>>>);

impl<T> Slots<T> {
    fn new(len: usize) -> Self {
        Slots(Mutex::new((0..len).map(|_| None).collect()))
    }

    fn put(&self, index: usize, value: T) {
        self.0.lock()[index] = Some(value);
    }

    fn fill(&self, index: usize, value: Option<T>) {
        self.0.lock()[index] = value;
    }

    fn take(&self, index: usize) -> Option<T> {
        self.0.lock()[index].take()
    }

    fn into_values(self) -> Vec<T> {
        let slots = self.0.into_inner();
        slots.into_iter().flatten().collect()
    }
}
