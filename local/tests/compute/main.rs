//! Compute as its clients see it: groups, instances that run real processes, and load balancers that accept
//! connections.

#[path = "../support/stack.rs"]
mod stack;

mod console;
mod groups;
mod health;
mod refusals;
