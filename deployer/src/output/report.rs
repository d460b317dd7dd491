//! Printing, all of it here and in `report/`. Answers go to stdout; progress, plans and errors to stderr.
//!
//! Printed text may come from others, so everything is escaped (`escape.rs`) on its way to a terminal.

use std::{
    io::{BufRead, ErrorKind, IsTerminal, Write},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use console::Style;
use tokio::sync::oneshot;

use crate::{commands::cli::Color, config, engine::Progress, output::exit::Failure};

mod board;
mod escape;
mod plan;
mod screen;

pub use board::{Board, Count};
pub use escape::is_active;
pub use plan::{Places, Values, plan, plan_json};

/// Prints an answer to stdout: as it is to a program, escaped to a terminal. What cannot be printed is told by
/// [`unprinted`] at the end.
pub fn answer(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let escaped = stdout.is_terminal().then(|| escape::lines(text));
    let text = escaped.as_deref().unwrap_or(text);
    note_unprinted(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

/// Prints a line of an answer in which there are words of others: escaped, wherever it goes.
pub fn told(line: &str) {
    let text = format!("{}\n", escape::line(line));
    let mut stdout = std::io::stdout().lock();
    note_unprinted(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

/// Remembers that something could not be printed. A reader that has gone away (`| head`) has what it wanted.
pub fn note_unprinted(printed: std::io::Result<()>) {
    if let Some(error) = printed.err().filter(|error| error.kind() != ErrorKind::BrokenPipe) {
        let _ = UNPRINTED.set(error);
    }
}

/// Why an answer is not on stdout, if it is not: a full disk, most of all.
pub fn unprinted() -> Option<&'static std::io::Error> {
    UNPRINTED.get()
}

static UNPRINTED: OnceLock<std::io::Error> = OnceLock::new();

/// Prints a line of what is going on to stderr.
pub fn say(line: impl std::fmt::Display) {
    screen::print(&escape::paragraph(&line.to_string()));
}

/// Decides once whether stderr has colours.
pub fn colours(when: Color) {
    match when {
        Color::Auto => (),
        Color::Always => console::set_colors_enabled_stderr(true),
        Color::Never => console::set_colors_enabled_stderr(false),
    }
}

fn style() -> Style {
    Style::new().for_stderr()
}

/// Prints why a command ended, cause after cause, with what to do about it.
pub fn failure(failure: &Failure) {
    let said = match failure.error.downcast_ref::<config::Errors>() {
        Some(errors) => escape::lines(&errors.to_string()),
        None => escape::paragraph(&failure.error.to_string()),
    };
    marked("error:", &style().red().bold(), &said);
    for cause in failure.error.chain().skip(1) {
        say(format!("  caused by: {cause}"));
    }
    if let Some(place) = &failure.place {
        say(format!("  {place}"));
    }
    if let Some(remedy) = &failure.hint {
        hint(remedy);
    }
    failure.standing.iter().for_each(say);
}

/// Prints what to do now.
pub fn hint(hint: &str) {
    marked("hint:", &style().cyan().bold(), &escape::paragraph(hint));
}

/// Prints what works, and will not elsewhere.
pub fn warning(warning: &str) {
    marked("warning:", &style().yellow().bold(), &escape::paragraph(warning));
}

fn marked(mark: &str, style: &Style, escaped: &str) {
    screen::print(&format!("{} {escaped}", style.apply_to(mark)));
}

/// Prints where a command is about to act, before it does.
pub fn heading(stack: &str, account: &str, region: &str, endpoint: Option<&str>) {
    let place = endpoint.map_or(String::new(), |endpoint| format!(" at {endpoint}"));
    let (stack, place) = (escape::line(stack), escape::line(&format!("{account}, region {region}{place}")));
    screen::print(&format!("{} in account {place}", style().bold().apply_to(stack)));
}

/// Asks a yes-or-no question. No terminal is no answer.
///
/// Errors: without a terminal, naming the flag that answers beforehand.
pub async fn confirm(question: &str) -> Result<bool, Failure> {
    let answer = ask(&format!("{question} [y/N] ")).await?;
    Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes" | "o" | "oui"))
}

/// Asks for a text. No terminal is no answer.
///
/// Errors: without a terminal, naming the flag that answers beforehand.
pub async fn ask(question: &str) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::usage("confirmation needed, but there is no terminal")
            .hint("pass --yes to go ahead without confirmation"));
    }
    screen::prompt(&escape::line(question));
    let _thinking = Thinking(Instant::now());
    let (answer, answered) = oneshot::channel();
    // In a thread of its own, which ends with the process: nothing else could end the wait for a line.
    std::thread::spawn(move || answer.send(typed()));
    let line = answered.await.unwrap_or_else(|_| Err(ErrorKind::UnexpectedEof.into()))?;
    Ok(line.trim().to_owned())
}

/// How long questions have waited for their answers, in milliseconds.
static THOUGHT_MS: AtomicU64 = AtomicU64::new(0);

/// A question that waits for its answer.
struct Thinking(Instant);

impl Drop for Thinking {
    fn drop(&mut self) {
        THOUGHT_MS.fetch_add(u64::try_from(self.0.elapsed().as_millis()).unwrap_or_default(), Ordering::Relaxed);
    }
}

/// How long a command has been at work: since then, without what it has waited for answers to its questions.
pub fn worked_since(begun: Instant) -> Duration {
    begun.elapsed().saturating_sub(Duration::from_millis(THOUGHT_MS.load(Ordering::Relaxed)))
}

fn typed() -> std::io::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map(|_| line)
}

/// Says what is waited for: at once on a terminal, after a second elsewhere.
pub async fn meanwhile<T>(words: &str, work: impl Future<Output = T>) -> T {
    const SOON: Duration = Duration::from_secs(1);
    let board = screen::columns().map(|_| Board::new(Count { done: 0, all: 0, what: "" }));
    if let Some(board) = &board {
        board.show_row(words.to_owned(), Progress::Began(""));
    }
    tokio::pin!(work);
    let done = match tokio::time::timeout(SOON, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            if board.is_none() {
                say(format!("{words} …"));
            }
            work.await
        }
    };
    if let Some(board) = board {
        board.close();
    }
    done
}

/// Seconds as people read them: `0.4 s`, `12 s`, `3 min 20 s`.
pub fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    match whole {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{whole} s"),
        _ => format!("{} min {} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_told_to_the_second() {
        let told = |s: f64| seconds(Duration::from_secs_f64(s));
        assert_eq!([told(0.44), told(9.96), told(12.7), told(154.9)], ["0.4 s", "10.0 s", "12 s", "2 min 34 s"]);
    }
}
