//! The heart: what a resource is, how a graph of them is planned, applied and removed. It knows no AWS.

mod converge;
mod diff;
mod error;
mod graph;
mod inputs;
mod plan;
mod removal;
mod resource;
mod walk;

pub use converge::{Pace, look};
pub use diff::{Change, Value};
pub use error::{Error, Fault, Retry};
pub use graph::{Address, Stack};
pub use inputs::{Handle, Inputs, Joined, Outputs, Wire};
pub use plan::{AT_ONCE, Applied, Event, Observer, Outcome, Plan, Planned, Progress, Step};
pub use resource::{Live, Names, Observed, Owner, RESOURCE_TAG, Resource, STACK_TAG, Tags};
pub use walk::Span;
