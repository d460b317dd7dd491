//! The local AWS as its clients see it, in one program: the helpers in `support` are compiled once, and the local AWS
//! with the SDK crates of its clients is linked once.
//!
//! `cargo test --workspace --test testsuite MODULE::` runs the tests of one module.

mod academy;
mod alarms;
mod aws_cli;
mod bad_days;
mod balancer;
mod boto3;
mod compute;
mod domains;
mod durability;
mod faults;
mod functions;
mod https;
mod inputs;
mod listener_rules;
mod networks;
mod permissions;
mod rules_compute;
mod runtimes;
mod s3;
mod scaling;
mod support;
mod tables_and_roles;
mod uploads;
mod versions;
mod web_acls;
