//! What a plan does with a resource, and how resources are addressed.

use std::{any::Any, fmt};

use super::{Change, Error, Resource};

/// Names a resource within its stack, and says where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The kind, such as `bucket`.
    pub kind: &'static str,
    /// Which one of that kind, such as `images`.
    pub key: String,
    /// The entry of `stack.yaml` it comes from, such as `buckets.images`; empty for what is no longer in it.
    pub section: String,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind, self.key)
    }
}

/// What is to be done with one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is as wanted.
    Keep,
    /// It is not there.
    Create,
    /// These fields differ.
    Update(Vec<Change>),
    /// Whether fields differ is known once these resources, whose outputs it takes, are as wanted.
    Pending(Vec<Address>),
    /// These fields differ and are fixed at creation: refused, because we never destroy by an update.
    Replace(Vec<Change>),
    /// It is no longer wanted, and this would be lost with it.
    Delete {
        /// In words for people.
        loss: Option<String>,
    },
    /// It is on its way somewhere: wait, then look again.
    Wait(String),
    /// It stays as it is, for this reason.
    Leave(String),
    /// It has the name of one of our resources and belongs to another owner.
    Foreign {
        /// Whose it is, in words for people.
        owner: String,
        /// Whether it carries no ownership tags, so that it can be adopted.
        is_free: bool,
    },
    /// It is no longer wanted, and is protected against deletion.
    Protected,
}

impl Step {
    /// The fields that differ, without their values: those may be secret.
    pub(super) fn fields(&self) -> String {
        let changes = match self {
            Step::Update(changes) | Step::Replace(changes) => changes.as_slice(),
            _ => &[],
        };
        changes.iter().map(|change| change.path.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Whether anything is to be done.
    pub(super) fn is_work(&self) -> bool {
        !matches!(self, Step::Keep | Step::Leave(_) | Step::Foreign { .. } | Step::Protected)
    }

    /// Whether those who use its output can already be planned.
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
    /// Its name in the cloud; empty while that is not known.
    pub name: String,
    /// What is to be done.
    pub step: Step,
    /// Whether it holds what cannot be made again.
    pub holds_data: bool,
    pub(super) seen: Option<Seen>,
}

impl Planned {
    /// Why this line cannot be carried out, if it cannot.
    pub fn must_replace(&self) -> Option<Error> {
        let Step::Replace(changes) = &self.step else { return None };
        let (what, name, changes) = (self.address.clone(), self.name.clone(), changes.clone());
        Some(Error::MustReplace { what, name, changes })
    }
}

/// An `Observed<R>` whose `R` only its node knows.
pub(super) type Seen = Box<dyn Any + Send + Sync>;
