//! Processes of this machine: which are ours, how much processor time they use, how they end.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::time::{Instant, sleep};

/// The kernel counts processor time in hundredths of a second on every architecture we know.
const TICKS_PER_SECOND: f64 = 100.0;

/// When a process was started, in whatever form the system gives it; with the id it names one process for good.
pub fn started(pid: u32) -> Option<String> {
    if Path::new("/proc/self/stat").exists() {
        return stat(pid).map(|stat| stat.started);
    }
    let output = std::process::Command::new("ps").args(["-o", "lstart=", "-p", &pid.to_string()]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// The processor seconds that the processes of a group have used; nothing where the system does not tell.
pub fn processor_seconds(group: u32) -> Option<f64> {
    let entries = std::fs::read_dir("/proc").ok()?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let ticks: u64 = pids.filter_map(stat).filter(|stat| stat.group == group).map(|stat| stat.ticks).sum();
    Some(ticks as f64 / TICKS_PER_SECOND)
}

/// What memory a process has.
pub struct Memory {
    /// All of it that is in memory now, its program included.
    pub resident_kb: u64,
    /// The same without what comes from files.
    pub own_kb: u64,
    /// The most that has been in memory at a time.
    pub peak_kb: u64,
}

/// Whether this system has files that tell how much memory a process has.
pub fn tells_memory() -> bool {
    Path::new("/proc/self/status").exists()
}

/// The memory of a process that runs.
pub fn memory(pid: u32) -> Option<Memory> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kilobytes = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    // A process that has ended and was not waited for has none of these lines.
    let resident_kb = kilobytes("VmRSS")?;
    let own_kb = resident_kb.saturating_sub(kilobytes("RssFile").unwrap_or(0));
    Some(Memory { resident_kb, own_kb, peak_kb: kilobytes("VmHWM").unwrap_or(resident_kb) })
}

/// The memory of a process in kilobytes, in which every page counts for as much as its share of it.
pub fn share_kb(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Pss:"))?.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The memory of a process group in kilobytes, as `ps` shows it.
pub fn memory_by_ps(group: u32) -> Option<u64> {
    let output = std::process::Command::new("ps").args(["-A", "-o", "pgid=,rss="]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let of_group = text.lines().filter_map(|line| {
        let (of, kilobytes) = line.trim().split_once(char::is_whitespace)?;
        (of.parse() == Ok(group)).then(|| kilobytes.trim().parse::<u64>().ok())?
    });
    of_group.reduce(|sum, one| sum + one)
}

/// The children of all threads of a process; none where the system does not tell.
pub fn children(pid: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    children.flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()).collect()
}

/// The processes of a group; none where the system does not tell.
pub fn members(group: u32) -> BTreeSet<u32> {
    everybody().filter(|pid| is_in_group(*pid, group)).collect()
}

/// Whether a process belongs to a group.
pub fn is_in_group(pid: u32, group: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.group == group)
}

/// Whether the program of a process, or the directory it is in, lies below `dir`; nothing where the system does not
/// tell.
pub fn is_below(pid: u32, dir: &Path) -> Option<bool> {
    let places = ["exe", "cwd"].map(|name| std::fs::read_link(format!("/proc/{pid}/{name}")));
    let mut places = places.into_iter().filter_map(Result::ok).peekable();
    places.peek()?;
    Some(places.any(|place| place.starts_with(dir)))
}

fn everybody() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The groups of processes whose program lies below a directory; none where the system does not tell.
pub fn groups_below(dir: &Path) -> BTreeSet<u32> {
    let ours = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| program.starts_with(dir));
    everybody().filter(ours).filter_map(stat).map(|stat| stat.group).collect()
}

struct Stat {
    group: u32,
    ticks: u64,
    started: String,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name stands in brackets and may contain anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        group: u32::try_from(number(2)?).ok()?,
        ticks: number(11)? + number(12)?,
        started: fields.get(19)?.to_string(),
    })
}

/// Asks a group of processes to end.
pub fn ask_group(group: u32) {
    signal(group, Signal::TERM);
}

/// Ends a group of processes at once.
pub fn kill_group(group: u32) {
    signal(group, Signal::KILL);
}

/// Lets a process have so much memory and so many of this machine's processors, and says in words what that means here.
///
/// Errors: the system has no such limits, or does not let us set them.
#[cfg(target_os = "linux")]
pub fn limit(process: u32, memory_mib: u32, processors: u32) -> std::io::Result<String> {
    use rustix::process::{Resource, Rlimit, prlimit};
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let process = pid(process).ok_or(std::io::ErrorKind::InvalidInput)?;
    let most = Some(u64::from(memory_mib) << 20);
    prlimit(Some(process), Resource::Data, Rlimit { current: most, maximum: most })?;
    let there = sched_getaffinity(Some(process))?;
    let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| there.is_set(*cpu)).collect();
    let wanted = usize::try_from(processors).unwrap_or(usize::MAX);
    let memory = format!("each process may have {memory_mib} MiB of memory");
    if all.len() <= wanted {
        return Ok(format!("{memory}, and uses all {} processors of this machine", all.len()));
    }
    // Not the same ones for every process.
    let first = usize::try_from(process.as_raw_nonzero().get()).unwrap_or_default();
    let mut ours = CpuSet::new();
    (first..first + wanted).for_each(|at| ours.set(all[at % all.len()]));
    sched_setaffinity(Some(process), &ours)?;
    Ok(format!("{memory}, and uses {wanted} of the {} processors of this machine", all.len()))
}

/// Lets a process have so much memory and so many processors, where the system can.
#[cfg(not(target_os = "linux"))]
pub fn limit(_process: u32, _memory_mib: u32, _processors: u32) -> std::io::Result<String> {
    Err(std::io::Error::other("this system has no limits for a process of another"))
}

/// Ends whatever is left of a group of processes, politely first.
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
        // A group that has gone by itself is what was wanted.
        kill_process_group(pid, signal).ok();
    }
}

/// Never 0 or 1, which would mean our own group and all processes.
fn pid(group: u32) -> Option<Pid> {
    i32::try_from(group).ok().filter(|group| *group > 1).and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;

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
