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

/// Whether the process is a zombie: the local AWS has no parent that could leave it as one.
#[cfg(feature = "local")]
pub(super) fn is_defunct(_pid: i32) -> bool {
    false
}
