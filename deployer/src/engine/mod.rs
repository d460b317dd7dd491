//! The engine: what a resource is, and how a graph of them is planned, applied and removed. It is independent of AWS.

mod adoption;
mod converge;
mod diff;
mod error;
mod graph;
mod inputs;
mod plan;
mod reduction;
mod removal;
mod resource;
mod schedule;
mod size;
mod step;
mod walk;

pub use adoption::Finding;
pub use converge::{Pace, look};
pub use diff::{Change, Value, diff};
pub use error::{Error, Fault, Retry};
pub use graph::Stack;
pub use inputs::{Handle, Inputs, Joined, Outputs, Wire};
pub use plan::{AT_ONCE, Applied, Event, Observer, Outcome, Plan, Progress};
pub use resource::{
    AllTagged, Live, Names, Observed, Owner, RESOURCE_TAG, RemovalOrder, Resource, STACK_TAG, Tagged, Tags,
};
pub use schedule::{Remaining, Schedule, Task, Timed};
pub use size::Size;
pub use step::{Address, Planned, Step};
pub use walk::Span;
