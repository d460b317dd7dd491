//! Linux: processes are in `/proc`, and have numbers of their own in each container.

use super::Opener;

/// Whether programs are ELF files, which can be checked.
pub const RUNS_ELF: bool = true;

/// Programs that open an address; the first one that is installed is used.
pub const OPENERS: &[Opener] = &[
    Opener { program: "xdg-open", arguments: &[] },
    // Linux within Windows. The first argument of `start` would be a title.
    Opener { program: "cmd.exe", arguments: &["/c", "start", ""] },
    Opener { program: "open", arguments: &[] },
];

/// Returns the boot of this machine and the numbering of its processes: containers number theirs separately.
pub fn numbering() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let numbering = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), numbering.display()))
}

/// Returns the start time of a process, in clock ticks since boot; `None` if there is no such process or it is a zombie.
pub fn began(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name may contain blanks and brackets.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    (!matches!(state, "Z" | "X")).then(|| fields.nth(18)?.parse().ok())?
}

/// The name of this machine.
pub fn host() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok())
}

/// Does nothing: a process may have enough open files.
#[cfg(feature = "local")]
pub fn allow_open_files() {}

/// Whether the process is a zombie.
#[cfg(feature = "local")]
pub(super) fn is_defunct(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}
