//! The machine that the deployer runs on: its files, processes and signals, and the local AWS as a process.

pub mod browser;
pub mod files;
#[cfg(feature = "local")]
pub mod laptop;
pub mod pin;
pub mod platform;
pub mod process;
pub mod signals;
