//! Identifies a process so that another one can tell whether it is still running.

use serde::{Deserialize, Serialize};

use super::platform::{began, numbering};

/// Identifies one process, even after its process id has been reused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The boot id of the machine and its PID namespace; empty if unknown.
    machine: String,
    /// Its process id.
    pub pid: u32,
    /// Its start time, in clock ticks since boot.
    began: u64,
}

impl Process {
    /// The current process.
    pub fn this() -> Process {
        let pid = std::process::id();
        Process { machine: numbering().unwrap_or_default(), pid, began: began(pid).unwrap_or_default() }
    }

    /// Whether it has certainly ended. Nothing is certain about processes of other machines.
    pub fn has_ended(&self) -> bool {
        let here = numbering().is_some_and(|here| here == self.machine);
        here && began(self.pid) != Some(self.began)
    }
}

#[cfg(test)]
impl Process {
    /// A process that ran on this machine and has ended.
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
