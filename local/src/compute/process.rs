//! Processes of this machine: which are ours, how much they compute, how they end.

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

/// The most memory a process has had at a time, or has now where the system does not tell, in whole megabytes.
pub fn peak_mb(pid: u32) -> Option<u64> {
    let kilobytes = match std::fs::read_to_string(format!("/proc/{pid}/status")) {
        Ok(status) => {
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim();
            line.strip_suffix("kB")?.trim().parse::<u64>().ok()?
        }
        Err(_) => {
            let output = std::process::Command::new("ps").args(["-o", "rss=", "-p", &pid.to_string()]).output().ok()?;
            String::from_utf8_lossy(&output.stdout).trim().parse().ok()?
        }
    };
    Some(kilobytes.div_ceil(1024))
}

/// The groups of processes whose program lies below a directory; none where the system does not tell.
pub fn groups_below(dir: &Path) -> BTreeSet<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let ours = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| program.starts_with(dir));
    pids.filter(ours).filter_map(stat).map(|stat| stat.group).collect()
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
    // Not the same ones for everybody.
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

/// Never 0 or 1, which would mean our own group and everybody.
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
        assert!(peak_mb(group).is_some_and(|peak| peak < 100));
        ask_group(group);
        child.wait().unwrap();
        end_group(group, Duration::from_secs(5)).await;
        assert_eq!(started(group), None);
    }
}
