//! The Postagram web service: posts in DynamoDB, pictures in S3, and the page that shows them.
//!
//! `app` is everything that answers requests, `serve` runs it until it is told to stop. All state is in
//! AWS: any number of instances answer alike.

mod api;
mod author;
mod aws_settings;
mod batch_writes;
mod clients;
mod config;
mod connection;
mod document;
mod dynamodb;
mod error;
mod index;
mod json;
mod known;
mod layers;
pub mod log;
mod metrics;
mod page;
mod pictures;
mod published;
mod query;
mod ready;
mod route;
mod row;
mod rows;
mod s3_pages;
mod scan;
mod server;
mod signature;
mod signing;
mod single_flight;
mod tokens;
mod transport;
mod waiting_room;
mod workers;

pub use clients::Clients;
pub use config::{Auth, BadSettings, Jwt, Keys, Secret, Settings};
pub use layers::Limits;
pub use metrics::{Metrics, metrics};
pub use server::{app, serve};
pub use workers::Workers;
