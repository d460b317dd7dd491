//! macOS, and Unix without `/proc`: `ps` reports processes, and the limits of another process cannot be set.

use std::collections::BTreeSet;
use std::path::Path;

use super::unix;
use crate::process::Memory;

/// When a process was started, in a system-dependent format. Together with the PID it identifies a process for good.
pub fn started(pid: u32) -> Option<String> {
    unix::started_by_ps(pid)
}

/// The CPU seconds that the processes of a group have used.
pub fn processor_seconds(group: u32) -> Option<f64> {
    unix::processor_seconds_by_ps(group)
}

/// Whether this system reports the memory of single processes at once: use [`memory_by_ps`](unix::memory_by_ps).
pub fn tells_memory() -> bool {
    false
}

/// The memory use of a running process: unknown.
pub fn memory(_pid: u32) -> Option<Memory> {
    None
}

/// The proportional set size of a process: unknown.
pub fn share_kb(_pid: u32) -> Option<u64> {
    None
}

/// The children of all threads of a process: unknown.
pub fn children(_pid: u32) -> Vec<u32> {
    Vec::new()
}

/// The processes of a group: unknown.
pub fn members(_group: u32) -> BTreeSet<u32> {
    BTreeSet::new()
}

/// Whether a process is in a group: unknown, so not.
pub fn is_in_group(_pid: u32, _group: u32) -> bool {
    false
}

/// Whether the program of a process, or its working directory, is below `dir`: unknown.
pub fn is_below(_pid: u32, _dir: &Path) -> Option<bool> {
    None
}

/// The groups of the processes whose program is below `dir`: unknown. The records of the server, and its warden, end them.
pub fn groups_below(_dir: &Path) -> BTreeSet<u32> {
    BTreeSet::new()
}

/// The number that Linux gives a signal of this system. Those that end a process by default and differ, of macOS and the
/// BSDs: SIGBUS, SIGSYS, SIGUSR1 and SIGUSR2.
pub fn linux_signal(signal: i32) -> i32 {
    match signal {
        10 => 7,
        12 => 31,
        30 => 10,
        31 => 12,
        same => same,
    }
}

/// Fails: this system cannot limit another process.
pub fn limit(_process: u32, _memory_mib: u32, _processors: u32) -> std::io::Result<String> {
    Err(std::io::Error::other("this system has no limits for a process of another"))
}
