//! The Postagram web service: posts in DynamoDB, pictures in S3, and the page that shows them.
//!
//! `app` answers requests; `serve` runs it until it is stopped. All state is in AWS, so any number of instances behave
//! alike.

mod aws_settings;
mod config;
mod http;
mod identity;
pub mod log;
mod metrics;
mod storage;

pub use config::{Auth, BadSettings, Jwt, Keys, Secret, Settings};
pub use http::layers::Limits;
pub use http::server::{app, serve};
pub use http::workers::Workers;
pub use metrics::{Metrics, metrics};
pub use storage::clients::Clients;
