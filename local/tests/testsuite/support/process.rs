//! A local AWS in another process, which can be killed, and its files.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use aws_config::SdkConfig;
use testkit::clients;

/// A server in its own process. Dropping it kills it.
pub struct Server {
    process: Child,
    pub endpoint: String,
}

/// The command line that starts a server.
fn command(before: &str, dir: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("{before} exec \"$0\" \"$1\""), env!("CARGO_BIN_EXE_local-aws")]).arg(dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Server {
    pub fn start(dir: &Path) -> Server {
        Server::start_after("", dir).unwrap_or_else(|why| panic!("the server does not start: {why}"))
    }

    /// Starts a server after some shell commands; fails with what the server wrote to stderr if it did not start.
    pub fn start_after(before: &str, dir: &Path) -> Result<Server, String> {
        let mut process = command(before, dir).spawn().expect("a shell can be started");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("it is piped")).read_line(&mut line).expect("it can be read");
        let mut errors = process.stderr.take().expect("it is piped");
        if line.is_empty() {
            let mut reason = String::new();
            errors.read_to_string(&mut reason).expect("it can be read");
            assert!(!process.wait().expect("it ends").success());
            return Err(reason);
        }
        // Its stderr must be read, or it blocks when the pipe is full.
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        Ok(Server { process, endpoint: line.trim().to_owned() })
    }

    /// Kills it with `SIGKILL`.
    pub fn kill(mut self) {
        self.end();
    }

    /// Stops it gracefully.
    pub fn stop(mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().expect("it ends").success());
    }

    fn end(&mut self) {
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it ends");
    }

    /// Its peak memory so far, in kilobytes.
    pub fn peak_memory_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        line.trim().trim_end_matches("kB").trim().parse().expect("a number")
    }

    /// Clients without retries: after a retry, a test would not know which calls took effect.
    pub async fn config(&self) -> SdkConfig {
        clients::without_retries(&clients::config(&self.endpoint).await)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            self.end();
        }
    }
}

/// The files in a folder and below it; none if there is no such folder.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let Ok(listing) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in listing {
        let path = entry.expect("it can be read").path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}
