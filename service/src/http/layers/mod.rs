//! The layers around every endpoint, outermost first, as [`server`](super::server) stacks them.

mod access_log;
mod concurrency_limit;
mod errors;
mod gzip;
mod limits;
mod request_limits;
mod security_headers;
mod timeout;

pub(crate) use access_log::access_log;
pub(crate) use concurrency_limit::concurrency_limit;
pub(crate) use errors::error_responses;
pub(crate) use gzip::{gzip, pack_well, takes_gzip};
pub use limits::Limits;
pub(crate) use request_limits::request_limits;
pub(crate) use security_headers::security_headers;
pub(crate) use timeout::timeout;
