//! Logging: a line of JSON for each event, on stdout.

use std::cell::RefCell;
use std::io::{self, Write};
use std::panic;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::BadSettings;

/// How many bytes of lines wait at most for their thread to come to rest.
const MOST: usize = 8 * 1024;

/// Begins to log: `info` unless `RUST_LOG` says otherwise, such as `debug`, or `warn,service=debug`.
///
/// Writing a line costs as much as a third of the request that it tells of. So the lines of a thread that [`rest`]s are
/// written together when it does: who answers one request writes one line at once, who answers many writes many with one
/// call. Lines of other threads are written at once.
///
/// Guarantees: no more than 8 KiB of a thread's lines wait. A program that is killed, or dies by another thread's panic,
/// loses those of what the thread is just doing.
///
/// Fails if `RUST_LOG` cannot be understood, and logs as usual then.
///
/// # Panics
/// If it was called before.
pub fn begin() -> Result<(), BadSettings> {
    let usual = || Targets::new().with_default(LevelFilter::INFO).with_target("poem", LevelFilter::WARN);
    let wanted = std::env::var("RUST_LOG").ok().filter(|wanted| !wanted.trim().is_empty());
    let read = wanted.map(|wanted| wanted.parse().map_err(|_| BadSettings::Log(wanted))).transpose();
    let (wanted, read): (Targets, _) = match read {
        Ok(wanted) => (wanted.unwrap_or_else(usual), Ok(())),
        Err(error) => (usual(), Err(error)),
    };
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(|| Lines);
    tracing_subscriber::registry().with(lines).with(wanted).init();
    // A panic ends the program: what led to it on this thread is to be read.
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        end();
        tell(panic);
    }));
    read
}

/// Writes the lines of this thread; to be called whenever it has nothing else to do.
pub fn rest() {
    of_this_thread(|waiting| {
        waiting.until_rest = true;
        waiting.write(io::stdout());
    });
}

/// Writes the lines of this thread, which will not rest any more.
pub fn end() {
    of_this_thread(|waiting| {
        waiting.until_rest = false;
        waiting.write(io::stdout());
    });
}

thread_local! {
    static WAITING: RefCell<Waiting> = RefCell::default();
}

/// Nothing, if the thread is ending or just at it.
fn of_this_thread<T>(what: impl FnOnce(&mut Waiting) -> T) -> Option<T> {
    WAITING.try_with(|waiting| waiting.try_borrow_mut().ok().map(|mut waiting| what(&mut waiting))).ok().flatten()
}

/// Where lines are written to.
struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match of_this_thread(|waiting| waiting.add(line, io::stdout())) {
            Some(()) => Ok(line.len()),
            None => io::stdout().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines of a thread that are not written yet.
#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Whether the thread is one that rests.
    until_rest: bool,
}

impl Waiting {
    fn add(&mut self, line: &[u8], out: impl Write) {
        self.lines.extend_from_slice(line);
        if !self.until_rest || self.lines.len() >= MOST {
            self.write(out);
        }
    }

    fn write(&mut self, mut out: impl Write) {
        if !self.lines.is_empty() {
            // There is nowhere left to report that.
            let _ = out.write_all(&self.lines).and_then(|()| out.flush());
            self.lines.clear();
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.write(io::stdout());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each call that writes.
    #[derive(Default)]
    struct Calls(Vec<Vec<u8>>);

    impl Write for &mut Calls {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_of_an_idle_thread_are_flushed_together_and_others_at_once() {
        let (mut waiting, mut calls) = (Waiting::default(), Calls::default());
        waiting.add(b"a\n", &mut calls);
        assert_eq!(calls.0, [b"a\n"]);
        waiting.until_rest = true;
        waiting.add(b"b\n", &mut calls);
        waiting.add(b"c\n", &mut calls);
        assert_eq!(calls.0.len(), 1);
        waiting.write(&mut calls);
        waiting.write(&mut calls);
        assert_eq!(calls.0[1..], [b"b\nc\n"]);
    }

    #[test]
    fn no_more_lines_wait_than_there_is_room_for() {
        let (mut waiting, mut calls) = (Waiting { lines: Vec::new(), until_rest: true }, Calls::default());
        let line = [b'x'; 1000];
        for _ in 0..100 {
            waiting.add(&line, &mut calls);
        }
        assert!(calls.0.iter().all(|call| (MOST..MOST + line.len()).contains(&call.len())));
        waiting.write(&mut calls);
        assert_eq!(calls.0.concat().len(), 100 * line.len());
    }
}
