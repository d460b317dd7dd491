//! Helpers for the tests of several packages. Helpers for one package are in the module `support` of its tests.
//!
//! | for | see |
//! |---|---|
//! | an AWS of a test's own | [`cloud`] |
//! | its journal, its faults, its bad days | [`control`] |
//! | SDK clients | [`clients`] |
//! | a fault between a client and its AWS, call by call | [`proxy`] |
//! | to wait until something is so | [`eventually()`] |
//! | a web service for instances, a function | [`small_programs`] |
//! | the corpus of the fuzzers, limits for a program | [`inputs`] |
//! | programs of this build, and tools of `.ci/setup` | [`programs`] |
//! | a browser, and pictures to upload | [`browser`], [`landscape`] |
//! | to end or look for a process | [`process`] |
//!
//! Everything panics on failure: the caller is a test.

pub mod browser;
pub mod clients;
pub mod cloud;
pub mod control;
pub mod eventually;
pub mod inputs;
pub mod landscape;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod small_programs;

pub use cloud::LocalAws;
pub use control::Control;
pub use eventually::{eventually, until};
pub use proxy::{InjectedFault, Proxy};
