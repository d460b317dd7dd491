//! What a command leaves behind: the report on the screen, the exit code, and values in `.env`.

pub mod env_file;
pub mod exit;
pub mod report;
