//! Deploys the stack that `stack.yaml` describes to AWS, or to a laptop, without a state file.

pub mod aws;
pub mod cli;
pub mod commands;
pub mod config;
pub mod engine;
pub mod env_file;
pub mod exit;
pub mod files;
pub mod health;
#[cfg(feature = "local")]
pub mod laptop;
pub mod lease;
pub mod names;
pub mod package;
pub mod pin;
pub mod policy;
pub mod process;
pub mod programs;
pub mod remedies;
pub mod report;
pub mod resources;
pub mod schema;
pub mod signals;
pub mod site;
pub mod stack;
pub mod user_data;
