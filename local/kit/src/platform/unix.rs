//! The common parts of Linux and macOS: extension traits of the standard library, and `ps`.

pub use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, PermissionsExt, symlink};
pub use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;

/// When a process was started, according to `ps`.
pub(super) fn started_by_ps(pid: u32) -> Option<String> {
    let output = Command::new("ps").args(["-o", "lstart=", "-p", &pid.to_string()]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// The resident set size of a process group in kilobytes, according to `ps`; `None` if it has no process.
pub fn memory_by_ps(group: u32) -> Option<u64> {
    let of_group = of_group(group, "rss=")?.into_iter().filter_map(|kilobytes| kilobytes.parse::<u64>().ok());
    of_group.reduce(|sum, one| sum + one)
}

/// The CPU seconds that the processes of a group have used, according to `ps`.
#[cfg_attr(target_os = "linux", allow(dead_code))]
pub(super) fn processor_seconds_by_ps(group: u32) -> Option<f64> {
    Some(of_group(group, "time=")?.iter().filter_map(|time| seconds(time)).sum())
}

/// A column of `ps` for the processes of a group.
fn of_group(group: u32, column: &str) -> Option<Vec<String>> {
    // Each column in an option of its own: to the `ps` of macOS, everything after the first `=` is a heading.
    let output = Command::new("ps").args(["-A", "-o", "pgid=", "-o", column]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let of_group = text.lines().filter_map(|line| {
        let (of, value) = line.trim().split_once(char::is_whitespace)?;
        (of.parse() == Ok(group)).then(|| value.trim().to_owned())
    });
    Some(of_group.collect())
}

/// Parses a time of `ps`: `1:02.50` on macOS, `00:01:02` or `1-00:00:00` on Linux.
fn seconds(time: &str) -> Option<f64> {
    let (days, time) = time.split_once('-').unwrap_or(("0", time));
    let time = time.split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.parse::<f64>().ok()?))?;
    Some(days.parse::<f64>().ok()? * 86_400.0 + time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_ps_are_read_on_every_system() {
        let all = ["0:00.05", "1:02.50", "12:00:01", "00:01:02", "2-01:00:00"].map(|time| seconds(time).unwrap());
        assert_eq!(all, [0.05, 62.5, 43_201.0, 62.0, 176_400.0]);
        assert_eq!([seconds(""), seconds("-"), seconds("1:x")], [None; 3]);
    }

    #[test]
    fn ps_lists_the_processes_of_a_group() {
        let mut sleeper = Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        let group = sleeper.id();
        let known = (started_by_ps(group), memory_by_ps(group), processor_seconds_by_ps(group));
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert!(matches!(known, (Some(_), Some(1..), Some(0.0..5.0))), "{known:?}");
        assert_eq!((started_by_ps(group), memory_by_ps(group)), (None, None));
    }
}
