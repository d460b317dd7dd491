//! The basis of all services of the local AWS: requests, responses, state on disk, time.
//!
//! Nothing here depends on a service.

pub mod account;
pub mod answer;
pub mod call;
pub mod chronicle;
pub mod chunked;
pub mod connection;
pub mod constraint;
pub mod glob;
pub mod journal;
pub mod key;
pub mod metrics;
pub mod pages;
pub mod parameters;
pub mod platform;
pub mod process;
pub mod program;
pub mod query;
pub mod quotas;
pub mod region_names;
pub mod s3_address;
pub mod speed;
pub mod store;
pub mod tags;
pub mod upload;
pub mod warden;

/// The ID of the only account.
pub const ACCOUNT: &str = "000000000000";
/// The access key ID of the user.
pub const ACCESS_KEY: &str = "LOCALACCESSKEY000000";
/// The secret access key of the user. It need not be secret: the server listens on loopback only.
pub const SECRET_KEY: &str = "local";
