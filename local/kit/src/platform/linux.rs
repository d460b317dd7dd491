//! Linux: everything is in `/proc`, and the limits of another process can be set.

use std::collections::BTreeSet;
use std::path::Path;

use super::unix;
use crate::process::{Memory, pid};

/// The kernel reports CPU time in hundredths of a second on all architectures we know.
const TICKS_PER_SECOND: f64 = 100.0;

/// When a process was started, in a system-dependent format. Together with the PID it identifies a process for good.
pub fn started(pid: u32) -> Option<String> {
    if tells_memory() { stat(pid).map(|stat| stat.started) } else { unix::started_by_ps(pid) }
}

/// The CPU seconds that the processes of a group have used; `None` if `/proc` is not mounted.
pub fn processor_seconds(group: u32) -> Option<f64> {
    let entries = std::fs::read_dir("/proc").ok()?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let ticks: u64 = pids.filter_map(stat).filter(|stat| stat.group == group).map(|stat| stat.ticks).sum();
    Some(ticks as f64 / TICKS_PER_SECOND)
}

/// Whether this system reports a process's memory in `/proc`.
pub fn tells_memory() -> bool {
    Path::new("/proc/self/status").exists()
}

/// The memory use of a running process.
pub fn memory(pid: u32) -> Option<Memory> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kilobytes = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    // A zombie has none of these lines.
    let resident_kb = kilobytes("VmRSS")?;
    let own_kb = resident_kb.saturating_sub(kilobytes("RssFile").unwrap_or(0));
    Some(Memory { resident_kb, own_kb, peak_kb: kilobytes("VmHWM").unwrap_or(resident_kb) })
}

/// The proportional set size of a process in kilobytes: a shared page counts by the process's share of it.
pub fn share_kb(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Pss:"))?.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The children of all threads of a process; empty without `/proc`.
pub fn children(pid: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    children.flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()).collect()
}

/// The processes of a group; empty without `/proc`.
pub fn members(group: u32) -> BTreeSet<u32> {
    process_ids().filter(|pid| is_in_group(*pid, group)).collect()
}

/// Whether a process is in a group.
pub fn is_in_group(pid: u32, group: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.group == group)
}

/// Whether the program of a process, or its working directory, is below `dir`; `None` if neither can be read.
pub fn is_below(pid: u32, dir: &Path) -> Option<bool> {
    let places = ["exe", "cwd"].map(|name| std::fs::read_link(format!("/proc/{pid}/{name}")));
    let mut places = places.into_iter().filter_map(Result::ok).peekable();
    places.peek()?;
    Some(places.any(|place| place.starts_with(dir)))
}

fn process_ids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The groups of the processes whose program is below `dir`; empty without `/proc`.
pub fn groups_below(dir: &Path) -> BTreeSet<u32> {
    let ours = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| program.starts_with(dir));
    process_ids().filter(ours).filter_map(stat).map(|stat| stat.group).collect()
}

/// The number that Linux gives a signal of this system.
pub fn linux_signal(signal: i32) -> i32 {
    signal
}

/// Limits a process to `memory_mib` of memory and to `processors` CPUs. Returns a description of the limits.
///
/// Errors: the system does not have such limits, or does not permit setting them.
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
    // Start elsewhere for every process, so that they do not share the same CPUs.
    let first = usize::try_from(process.as_raw_nonzero().get()).unwrap_or_default();
    let mut ours = CpuSet::new();
    (first..first + wanted).for_each(|at| ours.set(all[at % all.len()]));
    sched_setaffinity(Some(process), &ours)?;
    Ok(format!("{memory}, and uses {wanted} of the {} processors of this machine", all.len()))
}

struct Stat {
    group: u32,
    ticks: u64,
    started: String,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name is in parentheses and may contain any character.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        group: u32::try_from(number(2)?).ok()?,
        ticks: number(11)? + number(12)?,
        started: fields.get(19)?.to_string(),
    })
}
