//! The differences between operating systems, one module for each. No other code in `local/` names an operating system.
//!
//! | | Linux | macOS |
//! |---|---|---|
//! | memory and CPUs of instances | limited | not limited |
//! | memory of functions | measured every few milliseconds in `/proc`, children included | by `ps`, four times a second |
//! | CPU time, which scaling follows | from `/proc` | from `ps` |
//! | processes left by a killed server | ended by its warden, its records, and the paths of their programs | by the first two |
//!
//! Windows has neither process groups nor the signals that end them: there, `--local` runs in the Windows Subsystem for
//! Linux, and the deployer is built without the local AWS.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(all(unix, not(target_os = "linux")))]
mod macos;
#[cfg(unix)]
mod unix;

#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(all(unix, not(target_os = "linux")))]
pub use macos::*;
#[cfg(unix)]
pub use unix::*;

#[cfg(not(unix))]
compile_error!("the local AWS needs Linux or macOS: build the deployer with `--no-default-features`");
