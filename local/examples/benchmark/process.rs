//! Processes that do not outlive this one, even if it is killed: each ends when its standard input is closed.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// The argument with which this program keeps another one.
pub const WORD: &str = "keep";
/// How long a process may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// A process that ends when its input is closed. Dropping this ends it and waits for it.
pub struct Process(Child);

impl Process {
    pub fn start(command: &mut Command) -> Result<Process> {
        let child = command.stdin(Stdio::piped()).spawn();
        Ok(Process(child.with_context(|| format!("failed to start {}", command.get_program().display()))?))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Takes its output, from whichever stream is piped.
    pub fn said(&mut self) -> Option<Box<dyn Read + Send>> {
        match (self.0.stdout.take(), self.0.stderr.take()) {
            (Some(out), _) => Some(Box::new(out)),
            (None, Some(err)) => Some(Box::new(err)),
            (None, None) => None,
        }
    }

    /// Whether it is still running.
    pub fn runs(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let end = Instant::now() + GRACE;
        while self.runs() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        // Both fail if it has already ended, which is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns a command that runs this program, which has several roles.
pub fn this_program() -> Result<Command> {
    Ok(Command::new(std::env::current_exe().context("this program's file is not known")?))
}

/// Returns a command for a program that ignores its input. This program runs it, and ends it when the input is closed.
/// Arguments can be added.
pub fn kept(program: impl AsRef<Path>) -> Result<Command> {
    let mut command = this_program()?;
    command.arg(WORD).arg(program.as_ref());
    Ok(command)
}

/// Runs a program until it ends, or sends it SIGTERM when the input is closed.
pub fn keep(program: &str, arguments: &[&str]) -> Result<()> {
    let child = Command::new(program).args(arguments).stdin(Stdio::null()).spawn();
    let mut child = child.with_context(|| format!("failed to start {program}"))?;
    let id = Pid::from_child(&child);
    std::thread::spawn(move || {
        input_ends();
        let _ = kill_process(id, Signal::TERM);
    });
    child.wait().with_context(|| format!("failed to wait for {program}"))?;
    Ok(())
}

/// Waits until the input is closed. A read error counts as closed.
pub fn input_ends() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
