//! Scripts in this folder, which use a local AWS with clients of others.

use std::ffi::OsStr;
use std::path::Path;

use tokio::process::Command;

/// Runs a script with a program, and asserts that it succeeds.
pub async fn run(program: impl AsRef<OsStr>, script: &str, arguments: &[&OsStr]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testsuite/support");
    let output =
        Command::new(program).arg(folder.join(script)).args(arguments).kill_on_drop(true).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {text}");
}
