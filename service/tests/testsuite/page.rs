//! The page in real browsers, with the service and a local AWS of each test's own: what people do, and what can go
//! wrong for them.

mod looks;
mod offline;
mod permalinks;
mod places;
mod reading;
mod trouble;
mod uploads;
mod visit;
mod writing;
