//! The Postagram web service: posts in DynamoDB, pictures in S3, and the page that shows them.
//!
//! `app` is everything that answers requests, `serve` runs it until it is told to stop. All state is in
//! AWS: any number of instances answer alike.

mod api;
mod author;
mod clients;
mod config;
mod error;
mod layers;
mod page;
mod pictures;
mod rows;
mod scan;
mod server;
mod signing;

pub use clients::Clients;
pub use config::{BadSettings, Settings};
pub use server::{app, serve};
