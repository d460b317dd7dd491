//! The browser of the machine.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, anyhow};

use super::platform::OPENERS;

/// How long an opener may take before it counts as a browser.
const SOON: Duration = Duration::from_secs(5);

/// Opens an address.
///
/// Errors: no opener is installed, or it fails.
pub async fn open(address: &str) -> anyhow::Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:/".contains(c);
    if !address.starts_with("http") || !address.chars().all(is_plain) {
        return Err(anyhow!("{address:?} is not an address of a web page"));
    }
    let found = OPENERS.iter().find_map(|opener| Some((opener, installed(opener.program)?)));
    let (opener, path) = found.ok_or_else(|| {
        let all: Vec<&str> = OPENERS.iter().map(|opener| opener.program).collect();
        anyhow!("none of {} is installed", all.join(", "))
    })?;
    let mut command = Command::new(path);
    command.args(opener.arguments).arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = tokio::process::Command::from(command).spawn().with_context(|| opener.program)?;
    match tokio::time::timeout(SOON, child.wait()).await {
        Ok(status) if status.as_ref().is_ok_and(|status| status.success()) => Ok(()),
        Ok(status) => Err(anyhow!("{} fails: {}", opener.program, status?)),
        // It has become the browser.
        Err(_) => Ok(()),
    }
}

/// The path of a program.
fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
