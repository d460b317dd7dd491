//! The page in real browsers, with the service and a local AWS of each test's own: what people do, and what can go
//! wrong for them.

#[path = "../support/front.rs"]
mod front;
#[path = "../support/line.rs"]
mod line;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tokens.rs"]
mod tokens;

mod looks;
mod offline;
mod permalinks;
mod places;
mod reading;
mod trouble;
mod uploads;
mod visit;
mod writing;
