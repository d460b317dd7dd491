//! A terminal on which the deployer runs: its screen, and the keys that are typed.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::RunOutput;

/// The key that interrupts the program on a terminal.
pub const CTRL_C: &str = "\u{3}";

/// A run of the deployer on its own terminal.
pub struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    screen: ChildStdout,
    shown: Vec<u8>,
    /// How much of `shown` has been matched.
    seen: usize,
}

impl Terminal {
    /// Starts this command on a terminal.
    pub fn of(command: &Command) -> Terminal {
        let plain = command.as_std();
        let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_string_lossy());
        let line: Vec<String> = std::iter::once(plain.get_program()).chain(plain.get_args()).map(quoted).collect();
        // In place of the shell, whose exit status would be reported instead of the deployer's.
        let line = format!("exec {}", line.join(" "));
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--echo", "never", "--command", &line, "/dev/null"]);
        script.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(folder) = plain.get_current_dir() {
            script.current_dir(folder);
        }
        script.kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.spawn().expect("`script` (of util-linux) can be started");
        let keyboard = child.stdin.take().expect("it is piped");
        let screen = child.stdout.take().expect("it is piped");
        Terminal { child, keyboard, screen, shown: Vec::new(), seen: 0 }
    }

    /// Waits until this text appears after what has been matched so far. It need not be a complete line.
    pub async fn see(&mut self, text: &str) {
        let is_here = |window: &[u8]| window == text.as_bytes();
        loop {
            if let Some(at) = self.shown[self.seen..].windows(text.len()).position(is_here) {
                self.seen += at + text.len();
                return;
            }
            let read = self.screen.read_buf(&mut self.shown).await.expect("the screen can be read");
            assert_ne!(read, 0, "it ended without showing {text:?}: {}", String::from_utf8_lossy(&self.shown));
        }
    }

    /// Presses these keys.
    pub async fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).await.expect("it can be typed");
    }

    /// Waits for the end, within a generous time limit. The keyboard stays connected until then.
    pub async fn end(mut self) -> RunOutput {
        let end = tokio::time::timeout(Duration::from_secs(120), self.screen.read_to_end(&mut self.shown)).await;
        let stderr = String::from_utf8_lossy(&self.shown).into_owned();
        end.unwrap_or_else(|_| panic!("it does not end: {stderr}")).expect("the screen can be read");
        let status = self.child.wait().await.expect("it ends");
        RunOutput { code: status.code().unwrap_or(-1), stdout: String::new(), stderr }
    }
}
