//! What every part of the local AWS stands on: requests, answers, state on disk, time.
//!
//! Nothing in here knows a service.

pub mod answer;
pub mod call;
pub mod chronicle;
pub mod chunked;
pub mod connection;
pub mod glob;
pub mod journal;
pub mod pages;
pub mod process;
pub mod program;
pub mod query;
pub mod region_names;
pub mod s3_address;
pub mod speed;
pub mod store;
pub mod tags;
pub mod taken;
pub mod upload;
pub mod warden;

/// The only account there is.
pub const ACCOUNT: &str = "000000000000";
/// The user's access key id.
pub const ACCESS_KEY: &str = "LOCALACCESSKEY000000";
/// The user's secret access key, which protects nothing: the server listens on the loopback only.
pub const SECRET_KEY: &str = "local";
