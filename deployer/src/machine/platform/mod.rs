//! The differences between operating systems, one module for each. No other code of the deployer names an operating
//! system.
//!
//! | | Linux | macOS | Windows |
//! |---|---|---|---|
//! | `--local` | yes | yes | in the Windows Subsystem for Linux |
//! | lease of a killed run on the same machine | ended at once | expires within a minute | expires within a minute |
//! | signals that stop a run | SIGINT, SIGTERM | SIGINT, SIGTERM | Ctrl-C, Ctrl-Break, closing the window |
//! | `~` | `HOME` | `HOME` | `HOME`, or else `USERPROFILE` |
//! | FIFOs, devices and sockets in place of files | named | named | refused |

#[cfg(target_os = "linux")]
mod linux;
#[cfg(all(unix, not(target_os = "linux")))]
mod macos;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(all(unix, not(target_os = "linux")))]
pub use macos::*;
#[cfg(unix)]
pub use unix::*;
#[cfg(windows)]
pub use windows::*;

/// A program that opens an address, with the arguments before it.
pub struct Opener {
    /// The program.
    pub program: &'static str,
    /// The arguments before the address.
    pub arguments: &'static [&'static str],
}
