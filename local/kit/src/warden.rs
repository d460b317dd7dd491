//! The warden: a process that outlives a killed server just long enough to kill the processes the server had started.

use crate::platform::CommandExt;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::{Child, Command, Stdio};

use parking_lot::{Mutex, MutexGuard};

/// Reads `+ GROUP` and `- GROUP`. At the end of its input, when the server has ended, kills the remaining groups.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
live=
while read -r sign group; do
  rest=
  for one in $live; do [ "$one" = "$group" ] || rest="$rest $one"; done
  live=$rest
  [ "$sign" = - ] || live="$live $group"
done
for group in $live; do kill -s KILL -- "-$group"; done
"#;

/// The process groups that must not outlive this process. The warden's shell is started with the first of them.
#[derive(Debug, Default)]
pub struct Warden(Mutex<Post>);

#[derive(Debug, Default)]
struct Post {
    shell: Option<Child>,
    groups: BTreeSet<u32>,
}

impl Warden {
    /// Ensures that the group ends with this process, even if this process is killed.
    pub fn watch(&self, group: u32) {
        let mut post = self.post();
        post.groups.insert(group);
        post.tell('+', group);
    }

    /// Forgets a group that has ended, as its ID may soon be reused.
    pub fn release(&self, group: u32) {
        let mut post = self.post();
        post.groups.remove(&group);
        post.tell('-', group);
    }

    fn post(&self) -> MutexGuard<'_, Post> {
        self.0.lock()
    }
}

impl Post {
    fn tell(&mut self, sign: char, group: u32) {
        let sent = match &mut self.shell {
            Some(shell) => say(shell, sign, group),
            None if sign == '-' => Ok(()),
            None => self.hire(),
        };
        // The warden was killed: a new one receives all groups.
        if let Err(fault) = sent.or_else(|_| self.hire()) {
            tracing::warn!(%fault, "the processes of instances and functions will outlive this server if it is killed");
        }
    }

    fn hire(&mut self) -> io::Result<()> {
        self.dismiss();
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A signal to our process group, such as Ctrl-C, must not end the warden.
            .process_group(0)
            .spawn()?;
        for group in &self.groups {
            say(&mut shell, '+', *group)?;
        }
        self.shell = Some(shell);
        Ok(())
    }

    fn dismiss(&mut self) {
        if let Some(mut shell) = self.shell.take() {
            drop(shell.stdin.take());
            let _ = shell.wait();
        }
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.dismiss();
    }
}

fn say(shell: &mut Child, sign: char, group: u32) -> io::Result<()> {
    let Some(stdin) = &mut shell.stdin else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    // A single write, so that a line is not cut if this process ends.
    stdin.write_all(format!("{sign} {group}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("600").process_group(0).spawn().unwrap()
    }

    #[test]
    fn watched_processes_end_with_the_warden_and_released_ones_do_not() {
        let warden = Warden::default();
        let (mut watched, mut released) = (sleeper(), sleeper());
        warden.watch(released.id());
        warden.watch(watched.id());
        warden.release(released.id());
        drop(warden);
        assert!(!watched.wait().unwrap().success());
        assert!(released.try_wait().unwrap().is_none());
        released.kill().unwrap();
        released.wait().unwrap();
    }

    #[test]
    fn a_killed_warden_is_replaced() {
        let warden = Warden::default();
        let (mut one, mut other) = (sleeper(), sleeper());
        warden.watch(one.id());
        let mut shell = warden.post().shell.take().unwrap();
        shell.kill().unwrap();
        shell.wait().unwrap();
        warden.post().shell = Some(shell);
        warden.watch(other.id());
        drop(warden);
        assert!(!one.wait().unwrap().success());
        assert!(!other.wait().unwrap().success());
    }
}
