//! The processes of an instance, and the states of its units.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The handle of a running instance.
#[derive(Clone, Default)]
pub struct Machine {
    pub(super) stop: CancellationToken,
    /// The process id of each running unit.
    processes: Arc<Mutex<BTreeMap<String, u32>>>,
    /// How the limits of its type are enforced, once a process has been limited.
    limits: Arc<Mutex<Option<String>>>,
    /// The state of each unit.
    pub(super) units: Arc<Mutex<BTreeMap<String, UnitState>>>,
    /// The units that have been started and have not ended, each with whether its first start is over.
    running: Arc<watch::Sender<BTreeMap<String, bool>>>,
}

/// The state of a unit, as `systemctl show` prints it.
#[derive(Debug, Clone, Default)]
pub(super) struct UnitState {
    pub(super) active: &'static str,
    pub(super) sub: &'static str,
    pub(super) restarts: u64,
}

impl Machine {
    /// Stops the instance.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Returns the process ids of its units; each process leads a process group.
    pub fn processes(&self) -> Vec<u32> {
        self.processes.lock().values().copied().collect()
    }

    /// Returns a description of how the limits of its type are enforced.
    pub fn limits(&self) -> Option<String> {
        self.limits.lock().clone()
    }

    pub(super) fn note_unit(&self, unit: &str, active: &'static str, sub: &'static str) {
        let mut units = self.units.lock();
        let state = units.entry(unit.to_owned()).or_default();
        (state.active, state.sub) = (active, sub);
    }

    pub(super) fn note_restart(&self, unit: &str) {
        let mut units = self.units.lock();
        units.entry(unit.to_owned()).or_default().restarts += 1;
    }

    pub(super) fn note_running(&self, unit: &str, is_running: bool) {
        self.running.send_modify(|units| {
            if is_running {
                units.insert(unit.to_owned(), false)
            } else {
                units.remove(unit)
            };
        });
    }

    /// Notes that the first start of a unit is over: its program runs, or a command before it has failed.
    pub(super) fn note_start(&self, unit: &str) {
        self.running
            .send_if_modified(|units| units.get_mut(unit).is_some_and(|is_over| !std::mem::replace(is_over, true)));
    }

    /// Waits until the first start of these units is over, of those that are started at all (man systemd.unit, "After").
    pub(super) async fn follow(&self, others: &[String]) {
        let mut running = self.running.subscribe();
        let is_over = |units: &BTreeMap<String, bool>| others.iter().all(|other| *units.get(other).unwrap_or(&true));
        drop(running.wait_for(is_over).await);
    }

    /// Waits until these units have ended.
    pub(super) async fn outlive(&self, others: &[String]) {
        let mut running = self.running.subscribe();
        // The sender lives as long as the machine.
        drop(running.wait_for(|units| !others.iter().any(|other| units.contains_key(other))).await);
    }

    pub(super) fn note_limits(&self, words: String) {
        *self.limits.lock() = Some(words);
    }

    pub(super) fn note(&self, unit: &str, pid: Option<u32>) {
        let mut processes = self.processes.lock();
        match pid {
            Some(pid) => drop(processes.insert(unit.to_owned(), pid)),
            None => drop(processes.remove(unit)),
        }
    }
}
