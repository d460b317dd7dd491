//! Identifies a process so that another one can tell whether it is still running.

use serde::{Deserialize, Serialize};

/// One process, never to be confused with a later one of the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The boot id of the machine and its process namespace; empty where they are unknown.
    machine: String,
    /// Its number.
    pub pid: u32,
    /// When it began, in ticks of the machine.
    began: u64,
}

impl Process {
    /// This one.
    pub fn this() -> Process {
        let pid = std::process::id();
        Process { machine: machine().unwrap_or_default(), pid, began: began(pid).unwrap_or_default() }
    }

    /// Whether it is certain that it has ended. Of other machines' processes nothing is certain.
    pub fn has_ended(&self) -> bool {
        let here = machine().is_some_and(|here| here == self.machine);
        here && began(self.pid) != Some(self.began)
    }
}

/// Containers on one machine number their processes each for themselves.
fn machine() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let numbering = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), numbering.display()))
}

/// Nothing for a process that is not there, or has ended and only waits for its parent to ask how.
fn began(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program may hold blanks and brackets of its own.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    (!matches!(state, "Z" | "X")).then(|| fields.nth(18)?.parse().ok())?
}

#[cfg(test)]
impl Process {
    /// One that ran on this machine and has ended.
    pub fn ended() -> Process {
        let mut child = std::process::Command::new("true").spawn().expect("a process can be started");
        let pid = child.id();
        child.wait().expect("it ends");
        Process { pid, ..Process::this() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_and_one_that_was_waited_for_does_not() {
        let this = Process::this();
        assert!(!this.has_ended());
        let Process { pid, .. } = Process::ended();
        assert!(Process::ended().has_ended());
        assert!(Process { began: this.began + 1, ..this.clone() }.has_ended(), "the number was given to another one");
        assert!(!Process { machine: "elsewhere".into(), pid, began: 1 }.has_ended());
        assert!(!Process { machine: String::new(), pid, began: 1 }.has_ended());
    }
}
