//! What a stack finds when it takes over resources that another tool has made.

use super::{Owner, Plan, Planned, Step};

/// What a resource is to the stack. The order is that of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// It carries no ownership tags, and can be taken over.
    Free,
    /// The same, but fields differ that are fixed at creation: once taken over, it would stop every plan.
    Fixed,
    /// It belongs to another owner.
    Foreign,
    /// The cloud is still changing it, and its owner is unknown.
    Settling,
    /// It was not looked for: a resource that it is part of, or uses, is missing or not ours.
    Unread,
    /// It is part of another resource, whose tags determine the owner.
    Part,
    /// It carries the tags of the stack.
    Ours,
    /// It does not exist.
    Absent,
}

impl Planned {
    /// What the resource is to the stack. The plan must be one of [`Stack::list_owners`](super::Stack::list_owners).
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
    /// The resources of one finding.
    pub fn of_finding(&self, finding: Finding) -> impl Iterator<Item = &Planned> {
        self.lines.iter().filter(move |line| line.finding() == finding)
    }
}
