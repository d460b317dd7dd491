//! Processes of this machine: which are ours, how much CPU time and memory they use, how to end them.
//!
//! How the system reports them is in [`platform`](crate::platform).

use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::time::{Instant, sleep};

use crate::platform::{ExitStatusExt, linux_signal};
pub use crate::platform::{
    children, groups_below, is_below, is_in_group, limit, members, memory, memory_by_ps, processor_seconds, share_kb,
    started, tells_memory,
};

/// The memory use of a process.
pub struct Memory {
    /// The resident set size, including the program's pages.
    pub resident_kb: u64,
    /// The resident set size without file-backed pages.
    pub own_kb: u64,
    /// The peak resident set size.
    pub peak_kb: u64,
}

/// Returns the signal that ended a process, as numbered on Linux.
pub fn ending_signal(status: ExitStatus) -> Option<i32> {
    status.signal().map(linux_signal)
}

/// Sends SIGTERM to a process group.
pub fn ask_group(group: u32) {
    signal(group, Signal::TERM);
}

/// Sends SIGKILL to a process group.
pub fn kill_group(group: u32) {
    signal(group, Signal::KILL);
}

/// Ends a process group: SIGTERM, then SIGKILL after `patience`.
pub async fn end_group(group: u32, patience: Duration) {
    ask_group(group);
    let deadline = Instant::now() + patience;
    while exists(group) && Instant::now() < deadline {
        sleep(Duration::from_millis(10)).await;
    }
    signal(group, Signal::KILL);
}

fn exists(group: u32) -> bool {
    pid(group).is_some_and(|pid| test_kill_process_group(pid).is_ok())
}

fn signal(group: u32, signal: Signal) {
    if let Some(pid) = pid(group) {
        // It is fine if the group is already gone.
        kill_process_group(pid, signal).ok();
    }
}

/// Never 0 or 1: these signal our own group and all processes.
pub(crate) fn pid(group: u32) -> Option<Pid> {
    i32::try_from(group).ok().filter(|group| *group > 1).and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::CommandExt;

    #[tokio::test]
    async fn a_group_ends_with_all_of_its_processes() {
        let mut child =
            std::process::Command::new("sh").args(["-c", "sleep 600 & sleep 600"]).process_group(0).spawn().unwrap();
        let group = child.id();
        assert!(started(group).is_some());
        ask_group(group);
        child.wait().unwrap();
        end_group(group, Duration::from_secs(5)).await;
        assert_eq!(started(group), None);
    }
}
