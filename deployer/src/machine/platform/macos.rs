//! macOS, and Unix without `/proc`.

use std::process::Command;

use super::Opener;

/// Whether programs are ELF files, which can be checked: they are Mach-O.
pub const RUNS_ELF: bool = false;

/// Programs that open an address; the first one that is installed is used.
pub const OPENERS: &[Opener] =
    &[Opener { program: "open", arguments: &[] }, Opener { program: "xdg-open", arguments: &[] }];

/// Unknown: then nothing is certain about processes, and the lease of a dead run expires.
pub fn numbering() -> Option<String> {
    None
}

/// Unknown.
pub fn began(_pid: u32) -> Option<u64> {
    None
}

/// The name of this machine.
pub fn host() -> Option<String> {
    let name = Command::new("hostname").output().ok().filter(|output| output.status.success());
    name.and_then(|output| String::from_utf8(output.stdout).ok()).or_else(|| std::env::var("HOSTNAME").ok())
}

/// The number of files that a process on Linux may have open unless it asks for more (`DefaultLimitNOFILE=` of systemd).
#[cfg(feature = "local")]
const OPEN_FILES: u64 = 1024;

/// Allows this process, and those that it starts, as many open files as on Linux: in a terminal of macOS they are 256, and
/// every connection is one.
#[cfg(feature = "local")]
pub fn allow_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < OPEN_FILES) {
        let allowed = maximum.map_or(OPEN_FILES, |most| most.min(OPEN_FILES));
        // With the old limit it serves fewer connections at once.
        setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum }).ok();
    }
}

/// Whether the process is a zombie: the local AWS has no parent that could leave it as one.
#[cfg(feature = "local")]
pub(super) fn is_defunct(_pid: i32) -> bool {
    false
}
