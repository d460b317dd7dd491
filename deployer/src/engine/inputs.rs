//! The inputs of a resource: handles of other resources, and values composed of handles.

use std::{
    any::Any,
    collections::BTreeMap,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;

use super::{Address, Resource};

/// Stands for a resource on the page. Using it as an input adds an edge.
pub struct Handle<R> {
    pub(super) index: usize,
    kind: PhantomData<fn() -> R>,
}

impl<R> Handle<R> {
    pub(super) fn new(index: usize) -> Self {
        Handle { index, kind: PhantomData }
    }
}

impl<R> Clone for Handle<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Handle<R> {}

impl<R: Resource> Handle<R> {
    /// Whether it is one of these nodes.
    pub fn is_among(self, nodes: &std::collections::BTreeSet<usize>) -> bool {
        nodes.contains(&self.index)
    }

    /// A text from this resource's output, as a reference in `stack.yaml` names it.
    pub fn wire(self, text: impl Fn(&R::Output) -> String + Send + Sync + 'static) -> Wire {
        Wire(Source::Resource {
            index: self.index,
            text: Arc::new(move |outputs| outputs.get(self).map(|output| text(&output))),
        })
    }
}

/// A text that is either constant or part of a resource's output.
#[derive(Clone)]
pub struct Wire(Source);

#[derive(Clone)]
enum Source {
    Literal(String),
    Resource { index: usize, text: Reading },
    Either(Box<(Wire, Wire)>),
}

/// Reads the text from the outputs, once its resource is known.
type Reading = Arc<dyn Fn(&Outputs) -> Option<String> + Send + Sync>;

impl Wire {
    /// A constant text.
    pub fn literal(text: impl Into<String>) -> Wire {
        Wire(Source::Literal(text.into()))
    }

    /// This text, or another one while the resource of this one does not exist.
    pub fn or(self, other: Wire) -> Wire {
        Wire(Source::Either(Box::new((self, other))))
    }
}

/// Concatenates texts.
#[derive(Clone)]
pub struct Joined(pub Vec<Wire>);

/// A value that is known once certain resources are.
pub trait Inputs: Send + Sync + 'static {
    /// Its type.
    type Known: Send;
    /// The resources it needs.
    fn needs(&self) -> Vec<usize>;
    /// Its value; `None` while the output of a resource is unknown.
    fn get(&self, outputs: &Outputs) -> Option<Self::Known>;
}

/// The outputs of the resources that are known.
pub struct Outputs {
    addresses: Vec<Address>,
    offers: Vec<Mutex<Option<Arc<dyn Any + Send + Sync>>>>,
    absent: Vec<AtomicBool>,
}

impl Outputs {
    /// Outputs for resources with these addresses, none of them known yet.
    pub(super) fn new(addresses: Vec<Address>) -> Self {
        let absent = addresses.iter().map(|_| AtomicBool::new(false)).collect();
        Outputs { offers: addresses.iter().map(|_| Mutex::new(None)).collect(), absent, addresses }
    }

    pub(super) fn set(&self, index: usize, output: impl Any + Send + Sync) {
        *self.slot(index) = Some(Arc::new(output));
    }

    /// The output of this resource, if it is known.
    pub fn get<R: Resource>(&self, handle: Handle<R>) -> Option<R::Output> {
        let output = self.slot(handle.index).clone()?;
        Some(output.downcast_ref::<R::Output>().expect("a handle has the type of its node").clone())
    }

    /// Returns the resources whose outputs are not known yet.
    pub(super) fn missing(&self, needs: &[usize]) -> Vec<Address> {
        needs.iter().filter(|&&need| self.slot(need).is_none()).map(|&need| self.addresses[need].clone()).collect()
    }

    /// Records that this resource was read and is absent.
    pub(super) fn set_absent(&self, index: usize) {
        self.absent[index].store(true, Ordering::Relaxed);
    }

    pub(super) fn is_absent(&self, index: usize) -> bool {
        self.absent[index].load(Ordering::Relaxed)
    }

    fn slot(&self, index: usize) -> parking_lot::MutexGuard<'_, Option<Arc<dyn Any + Send + Sync>>> {
        self.offers[index].lock()
    }
}

impl Inputs for () {
    type Known = ();
    fn needs(&self) -> Vec<usize> {
        Vec::new()
    }
    fn get(&self, _: &Outputs) -> Option<()> {
        Some(())
    }
}

impl<R: Resource> Inputs for Handle<R> {
    type Known = R::Output;
    fn needs(&self) -> Vec<usize> {
        vec![self.index]
    }
    fn get(&self, outputs: &Outputs) -> Option<R::Output> {
        outputs.get(*self)
    }
}

impl Inputs for Wire {
    type Known = String;
    fn needs(&self) -> Vec<usize> {
        match &self.0 {
            Source::Literal(_) => Vec::new(),
            Source::Resource { index, .. } => vec![*index],
            Source::Either(either) => [either.0.needs(), either.1.needs()].concat(),
        }
    }
    fn get(&self, outputs: &Outputs) -> Option<String> {
        match &self.0 {
            Source::Literal(text) => Some(text.clone()),
            Source::Resource { text, .. } => text(outputs),
            Source::Either(either) => either.0.get(outputs).or_else(|| either.1.get(outputs)),
        }
    }
}

impl Inputs for Joined {
    type Known = String;
    fn needs(&self) -> Vec<usize> {
        self.0.needs()
    }
    fn get(&self, outputs: &Outputs) -> Option<String> {
        Some(self.0.get(outputs)?.concat())
    }
}

impl<I: Inputs> Inputs for Vec<I> {
    type Known = Vec<I::Known>;
    fn needs(&self) -> Vec<usize> {
        self.iter().flat_map(Inputs::needs).collect()
    }
    fn get(&self, outputs: &Outputs) -> Option<Self::Known> {
        self.iter().map(|input| input.get(outputs)).collect()
    }
}

impl<I: Inputs> Inputs for Option<I> {
    type Known = Option<I::Known>;
    fn needs(&self) -> Vec<usize> {
        self.iter().flat_map(Inputs::needs).collect()
    }
    fn get(&self, outputs: &Outputs) -> Option<Self::Known> {
        match self {
            Some(input) => input.get(outputs).map(Some),
            None => Some(None),
        }
    }
}

impl<I: Inputs> Inputs for BTreeMap<String, I> {
    type Known = BTreeMap<String, I::Known>;
    fn needs(&self) -> Vec<usize> {
        self.values().flat_map(Inputs::needs).collect()
    }
    fn get(&self, outputs: &Outputs) -> Option<Self::Known> {
        self.iter().map(|(key, input)| Some((key.clone(), input.get(outputs)?))).collect()
    }
}

macro_rules! tuples {
    ($(($($name:ident),+))+) => {$(
        impl<$($name: Inputs),+> Inputs for ($($name,)+) {
            type Known = ($($name::Known,)+);
            fn needs(&self) -> Vec<usize> {
                #[allow(non_snake_case)]
                let ($($name,)+) = self;
                [$($name.needs()),+].concat()
            }
            fn get(&self, outputs: &Outputs) -> Option<Self::Known> {
                #[allow(non_snake_case)]
                let ($($name,)+) = self;
                Some(($($name.get(outputs)?,)+))
            }
        }
    )+};
}

tuples! { (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) }
