//! Compute as its clients see it: groups, instances that run real processes, and load balancers that accept
//! connections.

mod console;
mod groups;
mod health;
mod refusals;
