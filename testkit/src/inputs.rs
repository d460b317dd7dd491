//! Untrusted input: the corpus of the fuzzers, and limits for the programs that read larger ones.

use std::path::PathBuf;
use std::process::Command;

use crate::programs::root;

/// The seconds of processor time that [`limited`] allows: far more than any input takes, so that only an endless loop is
/// cut off.
const SECONDS: u64 = 120;
/// The address space that [`limited`] allows, in KiB. The stacks of threads count in full.
const MEMORY: u64 = 2 << 20;

/// The files in the corpus of a fuzz target.
#[must_use]
pub fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = root().join("fuzz/corpus").join(target);
    let files = std::fs::read_dir(folder).expect("the corpus is there");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("the corpus can be read").path()).collect();
    files.sort();
    assert!(files.len() > 5, "{target}: a corpus of {} files", files.len());
    files
}

/// The same command, with limits for its memory and its processor time. If variables are set for it, it gets no others.
#[must_use]
pub fn limited(command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.arg("-c").arg(format!("ulimit -v {MEMORY} && ulimit -t {SECONDS} && exec \"$@\"")).arg("sh");
    limited.arg(command.get_program()).args(command.get_args());
    if command.get_envs().len() > 0 {
        limited.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    }
    if let Some(folder) = command.get_current_dir() {
        limited.current_dir(folder);
    }
    limited
}
