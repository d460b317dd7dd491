//! The steps of a plan, and the addresses of resources.

use std::{any::Any, fmt, sync::Arc};

use super::{Change, Error, Live, Observed, Owner, Resource};

/// The address of a resource within its stack, and its entry of `stack.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The kind, such as `bucket`.
    pub kind: &'static str,
    /// The key within that kind, such as `images`.
    pub key: String,
    /// Its entry of `stack.yaml`, such as `buckets.images`; empty for orphans.
    pub section: String,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind, self.key)
    }
}

/// The step planned for one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// No change: it is up to date.
    Keep,
    /// Create it: it is absent.
    Create,
    /// Update it: these fields differ.
    Update(Vec<Change>),
    /// Decide once these resources, whose outputs it uses, have converged.
    Pending(Vec<Address>),
    /// Refused: these fields differ and are fixed at creation, and an update never destroys anything.
    Replace(Vec<Change>),
    /// Remove it, together with this data.
    Delete {
        /// The data that would be lost, for people.
        loss: Option<String>,
    },
    /// Wait until it has settled.
    Wait(String),
    /// Leave it as it is, for this reason.
    Leave(String),
    /// Refused: the resource of this name belongs to another owner.
    Foreign {
        /// Its owner, for people.
        owner: String,
        /// Whether it carries no ownership tags and so can be adopted.
        is_free: bool,
    },
    /// Refused: it is no longer wanted and is protected against deletion.
    Protected,
}

impl Step {
    /// The names of the fields that differ, without their values, which may be secret.
    pub(super) fn fields(&self) -> String {
        let changes = match self {
            Step::Update(changes) | Step::Replace(changes) => changes.as_slice(),
            _ => &[],
        };
        changes.iter().map(|change| change.path.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Whether there is anything to do.
    pub fn is_work(&self) -> bool {
        !matches!(self, Step::Keep | Step::Leave(_) | Step::Foreign { .. } | Step::Protected)
    }

    /// Whether resources that use its output can be planned already.
    pub(super) fn keeps_output<R: Resource>(&self) -> bool {
        match self {
            Step::Keep => true,
            Step::Update(_) | Step::Pending(_) => !R::UPDATE_MOVES_OUTPUT,
            _ => false,
        }
    }
}

/// One line of a plan.
pub struct Planned {
    /// Which resource.
    pub address: Address,
    /// Its name in the cloud; empty while it is unknown.
    pub name: String,
    /// The planned step.
    pub step: Step,
    /// Whether it holds data that cannot be recreated.
    pub holds_data: bool,
    /// Its owner, if it was read and is present.
    pub owner: Option<Owner>,
    pub(super) seen: Option<AnyObserved>,
    /// The resource, if its identity is known.
    pub(super) resource: Option<Arc<dyn Any + Send + Sync>>,
}

impl Planned {
    /// The resource with what was read of it, if it is of this kind and present.
    pub fn found<R: Resource>(&self) -> Option<(&R, &Live<R>)> {
        let resource = self.resource.as_ref()?.downcast_ref()?;
        match self.seen.as_ref()?.downcast_ref()? {
            Observed::Present(live) => Some((resource, live)),
            Observed::Absent | Observed::Settling(_) => None,
        }
    }

    /// The error if this line cannot be carried out.
    pub fn must_replace(&self) -> Option<Error> {
        let Step::Replace(changes) = &self.step else { return None };
        let (what, name, changes) = (self.address.clone(), self.name.clone(), changes.clone());
        Some(Error::MustReplace { what, name, changes })
    }
}

/// An `Observed<R>` whose `R` is known only to its node.
pub(super) type AnyObserved = Box<dyn Any + Send + Sync>;
