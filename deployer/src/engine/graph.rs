//! The graph: every resource of a stack, and the outputs that each of them uses.

use std::{any::Any, collections::BTreeSet, sync::Arc};

use futures::{FutureExt, future::BoxFuture};

use super::{
    Address, Error, Handle, Inputs, Names, Observed, Outputs, Planned, RESOURCE_TAG, Resource, STACK_TAG, Step, Tags,
    converge::{Claim, Run, Subject},
    reduction::reduced,
    step::AnyObserved,
};

/// Every resource of a stack. Resources can only use those that were added before them, so there can be no cycle.
pub struct Stack<C> {
    name: String,
    tags: Tags,
    section: String,
    pub(super) nodes: Vec<Box<dyn Node<C>>>,
    pub(super) needs: Vec<Vec<usize>>,
    /// Resources that carry the stack's tag and are no longer wanted.
    pub(super) orphans: Vec<Box<dyn Node<C>>>,
    known: BTreeSet<(&'static str, String)>,
    /// Resources, each with one that is chosen with it.
    followers: Vec<(usize, usize)>,
    has_anchor: bool,
}

impl<C: Send + Sync + 'static> Stack<C> {
    /// An empty stack. Its resources carry these tags in addition to the ownership tags.
    pub fn new(name: impl Into<String>, tags: Tags) -> Self {
        Stack {
            name: name.into(),
            tags,
            section: String::new(),
            nodes: Vec::new(),
            needs: Vec::new(),
            orphans: Vec::new(),
            known: BTreeSet::new(),
            followers: Vec::new(),
            has_anchor: true,
        }
    }

    /// The same, but none of its resources needs the first one.
    pub fn without_anchor(name: impl Into<String>, tags: Tags) -> Self {
        Stack { has_anchor: false, ..Stack::new(name, tags) }
    }

    /// The stack's name, as in the tags of its resources.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Assigns the resources added from here on to this entry of `stack.yaml`, such as `buckets.images`.
    pub fn section(&mut self, section: impl Into<String>) {
        self.section = section.into();
    }

    /// Adds a resource that is found by its name alone.
    pub fn add<R: Resource<Cloud = C>, I: Inputs>(
        &mut self,
        key: impl Into<String>,
        resource: R,
        inputs: I,
        settings: impl Fn(I::Known) -> R::Settings + Send + Sync + 'static,
    ) -> Handle<R> {
        self.known.insert((R::KIND, resource.identity()));
        let make = Box::new(move |known| (None, settings(known)));
        self.push(key.into(), Some(Arc::new(resource)), inputs, make)
    }

    /// Adds a resource that lives inside the first of its inputs: if that is absent, so is this.
    pub fn add_inside<R: Resource<Cloud = C>, I: Inputs>(
        &mut self,
        key: impl Into<String>,
        inputs: I,
        make: impl Fn(I::Known) -> (R, R::Settings) + Send + Sync + 'static,
    ) -> Handle<R> {
        let make = Box::new(move |known| {
            let (resource, settings) = make(known);
            (Some(Arc::new(resource)), settings)
        });
        self.push(key.into(), None, inputs, make)
    }

    /// Marks this identity as wanted, of a resource that lives inside another one and is found by its tags, too.
    pub fn want<R: Resource<Cloud = C>>(&mut self, identity: String) {
        self.known.insert((R::KIND, identity));
    }

    /// Also chooses the follower, with everything that it needs, when a target of the user matches the leader, whose changes
    /// it has to follow.
    pub fn follow<A: Resource, B: Resource>(&mut self, leader: Handle<A>, follower: Handle<B>) {
        self.followers.push((leader.index, follower.index));
    }

    /// The identities of this kind that the page wants.
    pub fn names<R: Resource<Cloud = C>>(&self) -> Names {
        self.known.iter().filter(|(kind, _)| *kind == R::KIND).map(|(_, name)| name.clone()).collect()
    }

    /// Marks a resource that carries the stack's tag for removal, unless the page wants it.
    pub fn doom<R: Resource<Cloud = C>>(&mut self, resource: R) {
        if self.known.contains(&(R::KIND, resource.identity())) {
            return;
        }
        let node = Entry::<R, ()> {
            index: self.orphans.len(),
            subject: Subject {
                address: Address { kind: R::KIND, key: resource.name().to_owned(), section: String::new() },
                stack: self.name.clone(),
                tags: Tags::new(),
                claim: Claim::Tagged,
            },
            known: Some(Arc::new(resource)),
            inputs: (),
            make: Box::new(|()| unreachable!("an orphan is only ever removed")),
        };
        self.orphans.push(Box::new(node));
    }

    /// Returns the nodes that have one of these addresses, or belong to one of these entries or sections of
    /// `stack.yaml`, with those that follow them and everything they need.
    ///
    /// Errors: the first target that matches nothing.
    pub fn select(&self, targets: &[String]) -> Result<BTreeSet<usize>, String> {
        let mut chosen = BTreeSet::new();
        for target in targets {
            let hits: Vec<usize> =
                (0..self.nodes.len()).filter(|&index| is_meant(&*self.nodes[index], target)).collect();
            if hits.is_empty() {
                return Err(target.clone());
            }
            for index in hits {
                let followers = self.followers.iter().filter(|(leader, _)| *leader == index).map(|(_, it)| *it);
                [index].into_iter().chain(followers).for_each(|index| self.choose(index, &mut chosen));
            }
        }
        Ok(chosen)
    }

    /// Adopts the resource of this name, if it carries no ownership tags. Returns whether the page has such a resource.
    pub fn adopt(&mut self, name: &str) -> bool {
        let mut known = false;
        self.nodes.iter_mut().for_each(|node| known |= node.adopt(name));
        known
    }

    /// Makes plans report the owners of resources instead of failing. A resource without ownership tags is planned as if
    /// it had them; one of another owner becomes [`Step::Foreign`].
    pub fn list_owners(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.list_owner());
    }

    /// The node that all others need, if there is one.
    pub fn anchor(&self) -> Option<usize> {
        (self.has_anchor && !self.nodes.is_empty()).then_some(0)
    }

    /// Every node, without the orphans.
    pub fn all(&self) -> BTreeSet<usize> {
        (0..self.nodes.len()).collect()
    }

    /// These nodes with everything they need.
    pub fn with_needs(&self, nodes: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        let mut chosen = BTreeSet::new();
        nodes.into_iter().for_each(|index| self.choose(index, &mut chosen));
        chosen
    }

    /// The entries of `stack.yaml` that these nodes belong to.
    pub fn sections(&self, nodes: &BTreeSet<usize>) -> BTreeSet<&str> {
        nodes.iter().map(|&index| &*self.nodes[index].address().section).collect()
    }

    /// Every entry of `stack.yaml` that has nodes.
    pub fn all_sections(&self) -> BTreeSet<&str> {
        self.nodes.iter().map(|node| &*node.address().section).collect()
    }

    /// Every resource in the order of the page, with the indices of those that it needs. Needs that other needs imply are
    /// left out.
    pub fn dependencies(&self) -> Vec<(&Address, Vec<usize>)> {
        self.nodes.iter().map(|node| node.address()).zip(reduced(&self.needs)).collect()
    }

    /// The resources that are no longer wanted.
    pub fn orphans(&self) -> Vec<&Address> {
        self.orphans.iter().map(|node| node.address()).collect()
    }

    pub(super) fn addresses(&self) -> Vec<Address> {
        self.nodes.iter().map(|node| node.address().clone()).collect()
    }

    fn choose(&self, index: usize, chosen: &mut BTreeSet<usize>) {
        if chosen.insert(index) {
            self.needs[index].iter().for_each(|&need| self.choose(need, chosen));
        }
    }

    fn push<R: Resource<Cloud = C>, I: Inputs>(
        &mut self,
        key: String,
        known: Option<Arc<R>>,
        inputs: I,
        make: Make<R, I>,
    ) -> Handle<R> {
        let index = self.nodes.len();
        let address = Address { kind: R::KIND, key, section: self.section.clone() };
        let mut tags = self.tags.clone();
        tags.insert(STACK_TAG.into(), self.name.clone());
        tags.insert(RESOURCE_TAG.into(), address.to_string());
        let mut needs = inputs.needs();
        // Node 0 is the stack's anchor: created first, removed last.
        if index > 0 && self.has_anchor {
            needs.push(0);
        }
        needs.sort_unstable();
        needs.dedup();
        self.needs.push(needs);
        let subject = Subject { address, stack: self.name.clone(), tags, claim: Claim::Tagged };
        self.nodes.push(Box::new(Entry { index, subject, known, inputs, make }));
        Handle::new(index)
    }
}

/// `buckets` matches every entry of its section, `buckets.images` one entry, `bucket.images` one resource.
fn is_meant<C>(node: &dyn Node<C>, target: &str) -> bool {
    let (address, section) = (node.address().to_string(), &node.address().section);
    address == target || section == target || section.strip_prefix(target).is_some_and(|rest| rest.starts_with('.'))
}

/// A node with its resource type erased.
pub(super) trait Node<C>: Send + Sync {
    fn address(&self) -> &Address;
    /// See [`RemovalOrder::RANK`](super::RemovalOrder).
    fn removal_rank(&self) -> u8;
    /// Allows adoption if this is its name: `KIND.KEY`, or its kind with its name in the cloud.
    fn adopt(&mut self, name: &str) -> bool;
    /// See [`Stack::list_owners`].
    fn list_owner(&mut self);
    /// Whether its name is known without its inputs.
    fn is_known(&self) -> bool;
    /// Reads it, if its name is known without its inputs.
    fn read_ahead<'a>(&'a self, cloud: &'a C) -> BoxFuture<'a, Result<Option<AnyObserved>, Error>>;
    /// Plans to converge it, from the state that was read ahead, if there is one.
    fn plan<'a>(
        &'a self,
        cloud: &'a C,
        outputs: &'a Outputs,
        ahead: Option<AnyObserved>,
    ) -> BoxFuture<'a, Result<Planned, Error>>;
    /// Plans its removal; `None` if it is absent.
    fn plan_removal<'a>(&'a self, cloud: &'a C, outputs: &'a Outputs) -> BoxFuture<'a, Result<Option<Planned>, Error>>;
    /// Converges it, starting from the state that the plan read.
    fn converge<'a>(&'a self, run: &'a Run<'a, C>, seen: Option<AnyObserved>) -> BoxFuture<'a, Result<(), Error>>;
    /// Adds the missing ownership tags, and nothing else.
    fn take_over<'a>(&'a self, run: &'a Run<'a, C>) -> BoxFuture<'a, Result<(), Error>>;
    /// Removes it and waits until it is absent.
    fn vanish<'a>(&'a self, run: &'a Run<'a, C>) -> BoxFuture<'a, Result<(), Error>>;
}

type Make<R, I> = Box<dyn Fn(<I as Inputs>::Known) -> (Option<Arc<R>>, <R as Resource>::Settings) + Send + Sync>;

struct Entry<R: Resource, I: Inputs> {
    index: usize,
    subject: Subject,
    known: Option<Arc<R>>,
    inputs: I,
    make: Make<R, I>,
}

impl<R: Resource, I: Inputs> Entry<R, I> {
    /// The resource and its wanted settings, once its inputs are known.
    fn resolve(&self, outputs: &Outputs) -> Option<(Arc<R>, R::Settings)> {
        let (made, want) = (self.make)(self.inputs.get(outputs)?);
        let resource = self.known.clone().or(made).expect("a node is known by name or made from its inputs");
        Some((resource, want))
    }

    fn identity(&self, outputs: &Outputs) -> Option<Arc<R>> {
        self.known.clone().or_else(|| self.resolve(outputs).map(|(resource, _)| resource))
    }

    fn planned(&self, resource: Option<Arc<R>>, step: Step, seen: Option<Observed<R>>) -> Planned {
        let owner = match &seen {
            Some(Observed::Present(live)) => Some(live.owner.clone()),
            _ => None,
        };
        let seen = seen.map(|seen| -> AnyObserved { Box::new(seen) });
        let name = resource.as_ref().map(|resource| resource.name().to_owned()).unwrap_or_default();
        let resource = resource.map(|resource| resource as Arc<dyn Any + Send + Sync>);
        let (address, holds_data) = (self.subject.address.clone(), R::HOLDS_DATA);
        Planned { address, name, step, holds_data, owner, seen, resource }
    }

    async fn read_ahead(&self, cloud: &R::Cloud) -> Result<Option<AnyObserved>, Error> {
        let Some(resource) = &self.known else { return Ok(None) };
        let seen = self.subject.read(&**resource, cloud).await?;
        Ok(Some(Box::new(seen)))
    }

    async fn plan(&self, cloud: &R::Cloud, outputs: &Outputs, ahead: Option<AnyObserved>) -> Result<Planned, Error> {
        let Some(resource) = self.identity(outputs) else {
            return Ok(self.plan_inside_nothing(outputs));
        };
        let seen = match ahead {
            Some(seen) => own(seen),
            None => self.subject.read(&*resource, cloud).await?,
        };
        let step = match &seen {
            Observed::Absent => {
                outputs.set_absent(self.index);
                Step::Create
            }
            Observed::Settling(to) => Step::Wait(to.clone()),
            Observed::Present(live) => {
                let step = match self.subject.check_owner(&*resource, live) {
                    Ok(()) => match self.resolve(outputs) {
                        Some((_, want)) => self.subject.step(&*resource, live, &want),
                        None => Step::Pending(self.missing(outputs)),
                    },
                    Err(Error::Foreign { owner, is_free, .. }) if self.subject.claim == Claim::Listed => {
                        Step::Foreign { owner, is_free }
                    }
                    Err(error) => return Err(error),
                };
                if step.keeps_output::<R>() {
                    outputs.set(self.index, live.output.clone());
                }
                step
            }
        };
        Ok(self.planned(Some(resource), step, Some(seen)))
    }

    /// A resource whose parent is absent is absent, too, and need not be read after the parent has been created. If the
    /// parent is present, the resource may be present as well and may have to change with its other inputs.
    fn plan_inside_nothing(&self, outputs: &Outputs) -> Planned {
        let parent = self.inputs.needs().first().copied();
        if parent.is_some_and(|parent| !outputs.is_absent(parent)) {
            return self.planned(None, Step::Pending(self.missing(outputs)), None);
        }
        outputs.set_absent(self.index);
        self.planned(None, Step::Create, Some(Observed::Absent))
    }

    fn missing(&self, outputs: &Outputs) -> Vec<Address> {
        outputs.missing(&self.inputs.needs())
    }

    async fn plan_removal(&self, cloud: &R::Cloud, outputs: &Outputs) -> Result<Option<Planned>, Error> {
        let Some(resource) = self.identity(outputs) else { return Ok(None) };
        let step = match self.subject.read(&*resource, cloud).await? {
            Observed::Absent => return Ok(None),
            Observed::Settling(_) => Step::Delete { loss: None },
            Observed::Present(live) => {
                outputs.set(self.index, live.output.clone());
                if R::is_bare(&live.settings) {
                    return Ok(None);
                }
                match live.owner.foreign_to(&self.subject.stack) {
                    Some(owner) => Step::Foreign { owner, is_free: live.owner.is_unowned() },
                    None if R::is_protected(&live.settings) => Step::Protected,
                    None => Step::Delete { loss: self.subject.loss(&*resource, cloud).await? },
                }
            }
        };
        Ok(Some(self.planned(Some(resource), step, None)))
    }
}

/// Returns what this node has read, as its own type.
fn own<R: Resource>(seen: AnyObserved) -> Observed<R> {
    *seen.downcast().expect("a node sees its own kind")
}

impl<R: Resource, I: Inputs> Node<R::Cloud> for Entry<R, I> {
    fn address(&self) -> &Address {
        &self.subject.address
    }

    fn removal_rank(&self) -> u8 {
        R::RANK
    }

    fn adopt(&mut self, name: &str) -> bool {
        let in_the_cloud = self.known.as_ref().map(|resource| format!("{}.{}", R::KIND, resource.name()));
        let is_meant = self.subject.address.to_string() == name || in_the_cloud.is_some_and(|it| it == name);
        if is_meant {
            self.subject.claim = Claim::Untagged;
        }
        is_meant
    }

    fn list_owner(&mut self) {
        self.subject.claim = Claim::Listed;
    }

    fn is_known(&self) -> bool {
        self.known.is_some()
    }

    fn read_ahead<'a>(&'a self, cloud: &'a R::Cloud) -> BoxFuture<'a, Result<Option<AnyObserved>, Error>> {
        self.read_ahead(cloud).boxed()
    }

    fn plan<'a>(
        &'a self,
        cloud: &'a R::Cloud,
        outputs: &'a Outputs,
        ahead: Option<AnyObserved>,
    ) -> BoxFuture<'a, Result<Planned, Error>> {
        self.plan(cloud, outputs, ahead).boxed()
    }

    fn plan_removal<'a>(
        &'a self,
        cloud: &'a R::Cloud,
        outputs: &'a Outputs,
    ) -> BoxFuture<'a, Result<Option<Planned>, Error>> {
        self.plan_removal(cloud, outputs).boxed()
    }

    fn converge<'a>(
        &'a self,
        run: &'a Run<'a, R::Cloud>,
        seen: Option<AnyObserved>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let (resource, want) = self.resolve(run.outputs).expect("inputs converge before what uses them");
            let seen = seen.map(own);
            let output = self.subject.converge(&*resource, &want, run, seen).await?;
            run.outputs.set(self.index, output);
            Ok(())
        }
        .boxed()
    }

    fn take_over<'a>(&'a self, run: &'a Run<'a, R::Cloud>) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            match self.identity(run.outputs) {
                Some(resource) => self.subject.take_over(&*resource, run).await,
                None => Ok(()),
            }
        }
        .boxed()
    }

    fn vanish<'a>(&'a self, run: &'a Run<'a, R::Cloud>) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            match self.identity(run.outputs) {
                Some(resource) => self.subject.vanish(&*resource, run).await,
                None => Ok(()),
            }
        }
        .boxed()
    }
}
