//! The service and its page, in one program: the helpers in `support` are compiled once, and the service with a local
//! AWS is linked once.
//!
//! `cargo test --workspace --test testsuite MODULE::` runs the tests of one module.

mod contract;
mod deletion;
mod large;
mod limits;
mod page;
mod program;
mod schemathesis;
mod support;
mod tokens;
