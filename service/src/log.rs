//! Logging: one line of JSON per event, on stdout.

use std::cell::RefCell;
use std::io::{self, Write};
use std::panic;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::BadSettings;

/// The most bytes of buffered lines per thread.
const MOST: usize = 8 * 1024;

/// Starts logging: at level `info` unless `RUST_LOG` says otherwise, for example `debug`, or `warn,service=debug`.
///
/// Writing a line costs up to a third of the request that it is about. So the lines of a thread that [`rest`]s are
/// written together when it becomes idle: a single request's line is written immediately, many requests share one
/// write. Lines of other threads are written immediately.
///
/// Guarantees: at most 8 KiB of a thread's lines are buffered. A program that is killed, or dies by another thread's
/// panic, loses those.
///
/// Fails if `RUST_LOG` is invalid, after starting with the default.
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
    // A panic ends the program: the thread's lines before it must be written.
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        end();
        tell(panic);
    }));
    read
}

/// Writes this thread's lines; called whenever it becomes idle.
pub fn rest() {
    of_this_thread(|waiting| {
        waiting.until_rest = true;
        waiting.write(io::stdout());
    });
}

/// Writes this thread's lines and stops buffering them.
pub fn end() {
    of_this_thread(|waiting| {
        waiting.until_rest = false;
        waiting.write(io::stdout());
    });
}

thread_local! {
    static WAITING: RefCell<Waiting> = RefCell::default();
}

/// Does nothing if the thread is ending or already writing.
fn of_this_thread<T>(what: impl FnOnce(&mut Waiting) -> T) -> Option<T> {
    WAITING.try_with(|waiting| waiting.try_borrow_mut().ok().map(|mut waiting| what(&mut waiting))).ok().flatten()
}

/// The destination of log lines.
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

/// Lines of a thread that are not yet written.
#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Whether the thread buffers its lines until it [`rest`]s.
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
            // There is nowhere left to report the error.
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

    /// Counts write calls.
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
