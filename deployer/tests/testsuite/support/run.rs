//! A running deployer: its output, and signals to it.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, ChildStderr, Command},
};

use super::{RunOutput, scene::Scene};

/// A run of the deployer whose output is read.
pub struct Run {
    child: Child,
    stderr: BufReader<ChildStderr>,
    heard: String,
}

impl Run {
    pub fn start(scene: &Scene, arguments: &[&str]) -> Run {
        Run::of(scene.command(arguments))
    }

    /// Starts this command.
    pub fn of(mut command: Command) -> Run {
        let mut child = command.stdout(Stdio::null()).spawn().expect("the deployer can be started");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        Run { child, stderr, heard: String::new() }
    }

    /// Reads on until the output contains this text.
    pub async fn hear(&mut self, text: &str) {
        while !self.heard.contains(text) {
            let read = self.stderr.read_line(&mut self.heard).await.expect("its output is UTF-8");
            assert_ne!(read, 0, "it ended without saying {text:?}: {}", self.heard);
        }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("it can be signalled");
    }

    pub async fn end(mut self) -> RunOutput {
        self.stderr.read_to_string(&mut self.heard).await.expect("its output is UTF-8");
        let status = self.child.wait().await.expect("it ends");
        RunOutput { code: status.code().unwrap_or(-1), stdout: String::new(), stderr: self.heard }
    }

    /// Kills it with `SIGKILL`.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }
}
