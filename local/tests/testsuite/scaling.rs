//! Groups that change: by load, on a schedule, by refreshes, and when their instances fail.

mod refreshes;
mod replacement;
mod sizes;
