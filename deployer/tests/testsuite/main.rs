//! The integration tests, in one program: `support` is compiled once, and the deployer is linked once. A file runs only if it
//! is declared here.
//!
//! `cargo test --workspace --test testsuite MODULE::` runs the tests of one module.

mod adopt;
mod answers;
mod bad_days;
mod bake;
mod balancers;
mod browser;
mod certificates;
mod config;
mod crashes;
mod data;
mod drift;
mod engine;
mod events;
mod export;
mod faults;
mod folders;
mod history;
mod inputs;
mod integrity;
mod interrupts;
mod journey;
mod keys;
mod labs;
mod load;
mod logs;
mod money;
mod moto;
mod networks;
mod options;
mod ownership;
mod permissions;
#[cfg(target_os = "linux")]
mod release;
mod rivals;
mod runtimes;
mod secrets;
mod security;
mod shared;
mod sizes;
mod status;
mod support;
mod tables;
mod tools;
mod traffic;
mod verify;
mod web_acls;
mod why;
