//! Processes that a test has started, directly or not.

use std::process::{Command, Stdio};

/// Kills a process with `SIGKILL`.
pub fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-9", pid]).status().expect("kill can be started").success());
}

/// Whether a process runs.
#[must_use]
pub fn is_running(pid: &str) -> bool {
    Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status().expect("kill can be started").success()
}
