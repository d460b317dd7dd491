//! The output of a command: its report, its exit code, and values in `.env`.

pub mod bytes;
pub mod counted;
pub mod env_file;
pub mod exit;
pub mod graph;
pub mod report;
pub mod shell;
pub mod utc;
