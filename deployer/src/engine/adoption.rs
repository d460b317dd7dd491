//! Which existing resources a stack can take over.

use super::{Owner, Plan, Planned, Step};

/// Whether a resource can be taken over, and why not. In the order of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// It carries no ownership tags, and can be taken over.
    Free,
    /// It carries no ownership tags, but fields that are fixed at creation differ: `up` would refuse every plan.
    Fixed,
    /// It belongs to another owner.
    Foreign,
    /// It is in transition, and its owner is unknown.
    Settling,
    /// It could not be identified yet: a resource that it depends on is absent or not ours.
    Unread,
    /// It is part of another resource, whose tags determine the owner.
    Part,
    /// It carries the tags of the stack.
    Ours,
    /// It does not exist.
    Absent,
}

impl Planned {
    /// Returns whether the resource can be taken over.
    ///
    /// *Assumes:* the plan was made after [`Stack::list_owners`](super::Stack::list_owners).
    pub fn finding(&self) -> Finding {
        match (&self.step, &self.owner) {
            (Step::Foreign { .. }, _) => Finding::Foreign,
            (Step::Wait(_), _) => Finding::Settling,
            (Step::Create, _) => Finding::Absent,
            (_, None) => Finding::Unread,
            (_, Some(Owner::Parent)) => Finding::Part,
            (Step::Replace(_), Some(owner)) if owner.is_unowned() => Finding::Fixed,
            (_, Some(owner)) if owner.is_unowned() => Finding::Free,
            (_, Some(_)) => Finding::Ours,
        }
    }
}

impl Plan {
    /// Returns the resources with this finding.
    pub fn of_finding(&self, finding: Finding) -> impl Iterator<Item = &Planned> {
        self.lines.iter().filter(move |line| line.finding() == finding)
    }
}
