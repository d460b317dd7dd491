//! The memory of a function's processes: measured, and limited as on Lambda.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use kit::process;

/// The intervals at which to measure a working process: the less memory is left, the more often.
const OFTEN: Duration = Duration::from_millis(2);
const SELDOM: Duration = Duration::from_millis(20);
/// The interval for an idle process, which may still have running threads.
const IDLE: Duration = Duration::from_millis(500);
/// How many consecutive measurements must be above the limit to count: a process that is just starting shows its
/// parent's memory.
const LOOKS: u32 = 3;
/// How many kilobytes a process can fill in a millisecond, at most.
const KB_A_MS: u64 = 2_000;
/// How often to look for processes whose parent has ended.
const SEARCH: Duration = Duration::from_millis(250);

/// Measures a process group until it has ended, and kills it if it exceeds its memory limit.
pub(super) struct Meter {
    peak_kb: Arc<AtomicU64>,
    working: watch::Sender<bool>,
}

impl Meter {
    /// Starts to watch `group`, whose processes may use `most_mb` together.
    pub(super) fn start(group: u32, most_mb: u64, stop: CancellationToken) -> Meter {
        let peak_kb = Arc::new(AtomicU64::new(0));
        let (working, is_working) = watch::channel(true);
        let watched = watch_group(group, most_mb * 1024, peak_kb.clone(), is_working);
        tokio::spawn(async move { stop.run_until_cancelled(watched).await });
        Meter { peak_kb, working }
    }

    /// Sets whether the processes are running an invocation.
    pub(super) fn set_working(&self, working: bool) {
        self.working.send_replace(working);
    }

    /// Returns the peak memory use of all processes together, in megabytes, rounded up.
    pub(super) fn peak_mb(&self) -> u64 {
        self.peak_kb.load(Ordering::Relaxed).div_ceil(1024)
    }
}

async fn watch_group(group: u32, most_kb: u64, peak_kb: Arc<AtomicU64>, mut working: watch::Receiver<bool>) {
    let mut processes = Processes::of(group);
    let mut seen = 0;
    loop {
        let Some(used) = processes.measure(most_kb).await else { return };
        if used > most_kb {
            seen += 1;
            if seen == LOOKS {
                peak_kb.fetch_max(used, Ordering::Relaxed);
                process::kill_group(group);
                return;
            }
            tokio::time::sleep(OFTEN).await;
            continue;
        }
        seen = 0;
        peak_kb.fetch_max(used, Ordering::Relaxed);
        let pace = match *working.borrow_and_update() {
            true => Duration::from_millis((most_kb - used) / KB_A_MS).clamp(OFTEN, SELDOM),
            false => IDLE,
        };
        tokio::select! {
            () = tokio::time::sleep(pace) => (),
            changed = working.changed() => if changed.is_err() { return },
        }
    }
}

/// The known processes of a group.
struct Processes {
    group: u32,
    known: BTreeSet<u32>,
    searched: Option<Instant>,
}

impl Processes {
    fn of(group: u32) -> Processes {
        Processes { group, known: BTreeSet::from([group]), searched: None }
    }

    /// Returns the memory use of all processes in kilobytes; `None` if the leader has ended.
    async fn measure(&mut self, most_kb: u64) -> Option<u64> {
        if !process::tells_memory() {
            return self.ask_ps().await;
        }
        self.find();
        let leader = process::memory(self.group)?;
        let children: BTreeMap<u32, _> = self
            .known
            .iter()
            .filter(|pid| **pid != self.group)
            .filter_map(|pid| Some((*pid, process::memory(*pid)?)))
            .collect();
        // Programs and libraries are shared, and count once.
        let sum = leader.resident_kb + children.values().map(|child| child.own_kb).sum::<u64>();
        let used = sum.max(leader.peak_kb);
        if used <= most_kb || children.is_empty() || leader.peak_kb > most_kb {
            return Some(used);
        }
        // After a fork, parent and child both count the same pages: only the slower proportional set size is accurate.
        Some(self.known.iter().filter_map(|pid| process::share_kb(*pid)).sum())
    }

    /// Adds the children of known processes, and at intervals the other members of the group.
    fn find(&mut self) {
        if self.searched.is_none_or(|last| last.elapsed() > SEARCH) {
            self.searched = Some(Instant::now());
            self.known = process::members(self.group);
            self.known.insert(self.group);
        }
        let mut unseen: Vec<u32> = self.known.iter().copied().collect();
        while let Some(pid) = unseen.pop() {
            let children = process::children(pid).into_iter().filter(|child| process::is_in_group(*child, self.group));
            unseen.extend(children.filter(|child| self.known.insert(*child)));
        }
    }

    /// Like [`Processes::measure`], for systems without `/proc`. It runs `ps`, so it is only done at intervals.
    async fn ask_ps(&self) -> Option<u64> {
        tokio::time::sleep(SEARCH).await;
        let group = self.group;
        tokio::task::spawn_blocking(move || process::memory_by_ps(group)).await.ok()?
    }
}

#[cfg(test)]
mod tests {
    use kit::platform::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command};

    use super::*;

    /// A shell with a variable of this many bytes, in itself or in a child, until it is killed.
    fn hungry(bytes: u32, in_child: bool) -> Child {
        let fill = format!("x=$(head -c {bytes} /dev/zero | tr '\\0' x); sleep 60");
        let script = if in_child { format!("({fill}; :) & wait") } else { format!("{fill}; :") };
        Command::new("sh").args(["-c", &script]).process_group(0).spawn().unwrap()
    }

    async fn ended(mut child: Child) -> Option<i32> {
        tokio::task::spawn_blocking(move || child.wait().unwrap().signal()).await.unwrap()
    }

    #[tokio::test]
    async fn a_process_group_over_its_memory_limit_is_killed_children_included() {
        for in_child in [false, true] {
            let child = hungry(64 << 20, in_child);
            let meter = Meter::start(child.id(), 32, CancellationToken::new());
            let signal = tokio::time::timeout(Duration::from_secs(50), ended(child)).await;
            assert_eq!(signal.expect("it is killed before it ends by itself"), Some(9), "in a child: {in_child}");
            assert!(meter.peak_mb() > 32);
        }
    }

    #[tokio::test]
    async fn a_process_group_within_its_memory_limit_keeps_running() {
        let mut child = hungry(4 << 20, false);
        let meter = Meter::start(child.id(), 512, CancellationToken::new());
        let begun = Instant::now();
        while meter.peak_mb() < 4 && begun.elapsed() < Duration::from_secs(50) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!((4..512).contains(&meter.peak_mb()), "{}", meter.peak_mb());
        assert!(child.try_wait().unwrap().is_none());
        process::kill_group(child.id());
        child.wait().unwrap();
    }
}
