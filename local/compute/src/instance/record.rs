//! Records of running processes, by which a later server finds those that a crash has left.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use kit::process;

/// A process, identified by its id and start time, so that it can be found again after a crash of this server.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    pid: u32,
    started: String,
}

impl Record {
    pub(super) fn write(dir: &Path, unit: &str, pid: u32) -> anyhow::Result<PathBuf> {
        let started = process::started(pid).unwrap_or_default();
        let file = dir.join("processes").join(format!("{unit}.json"));
        std::fs::create_dir_all(dir.join("processes"))?;
        std::fs::write(&file, serde_json::to_vec(&Record { pid, started })?)?;
        Ok(file)
    }
}

/// Ends the processes of an instance that a crashed server left running.
pub async fn reap_leftovers(dir: &Path) {
    for entry in std::fs::read_dir(dir.join("processes")).into_iter().flatten().flatten() {
        let record: Option<Record> =
            kit::store::read(&entry.path()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(record) = record
            && process::started(record.pid).is_some_and(|started| started == record.started)
            // In a copy of the directory, the records are of another server's processes.
            && process::is_below(record.pid, dir) != Some(false)
        {
            process::end_group(record.pid, Duration::from_secs(2)).await;
        }
        drop(std::fs::remove_file(entry.path()));
    }
}

#[cfg(test)]
mod tests {
    use kit::platform::{CommandExt, ExitStatusExt};

    use super::*;

    #[tokio::test]
    async fn processes_left_by_a_crash_are_ended_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let sleeper = || {
            let mut command = std::process::Command::new("sleep");
            command.arg("600").current_dir(dir.path()).process_group(0).spawn().unwrap()
        };
        let (mut ours, mut another) = (sleeper(), sleeper());
        Record::write(dir.path(), "web.service", ours.id()).unwrap();
        let stale = Record { pid: another.id(), started: "at another time".to_owned() };
        std::fs::write(dir.path().join("processes/old.service.json"), serde_json::to_vec(&stale).unwrap()).unwrap();
        // A child process stays a zombie until it is waited for.
        let waiter = std::thread::spawn(move || ours.wait().unwrap());
        reap_leftovers(dir.path()).await;
        assert_eq!(waiter.join().unwrap().signal(), Some(15));
        assert_eq!(another.try_wait().unwrap(), None);
        assert_eq!(std::fs::read_dir(dir.path().join("processes")).unwrap().count(), 0);
        another.kill().unwrap();
        another.wait().unwrap();
    }
}
