//! Groups that change: by load, on a schedule, by refreshes, and when their instances fail.

#[path = "../support/stack.rs"]
mod stack;

mod refreshes;
mod replacement;
mod sizes;
