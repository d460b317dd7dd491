//! Deploys the stack that `stack.yaml` describes to AWS, or to a laptop, without a state file.

pub mod cloud;
pub mod commands;
pub mod config;
pub mod cost;
pub mod engine;
pub mod export;
pub mod kinds;
pub mod machine;
pub mod output;
pub mod package;
pub mod page;
pub mod releases;
pub mod rights;
pub mod verify;
