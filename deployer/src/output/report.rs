//! All printing, here and in `report/`. Answers go to stdout; progress, plans and errors to stderr.
//!
//! Printed text may come from other parties, so everything is escaped (`escape.rs`) on its way to a terminal.

use std::{
    io::{BufRead, ErrorKind, IsTerminal, Write},
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use console::Style;
use tokio::sync::oneshot;

use crate::{commands::cli::Color, config, engine::Progress, machine::platform, output::exit::Failure};

mod adoption;
mod board;
mod build;
mod checks;
mod cost;
mod escape;
pub mod events;
mod history;
mod logged;
mod plan;
mod screen;
mod stacks;
mod status;
mod waterfall;

pub use adoption::{findings, findings_json};
pub use board::{Board, Count};
pub use build::Build;
pub use checks::{Checks, Table};
pub use cost::{cost, cost_json, difference};
pub use escape::is_active;
pub use history::{ReleaseMark, ReleaseRow, minute, releases};
pub use logged::{logged, object};
pub use plan::{Places, Values, changes, plan, plan_json};
pub use stacks::{stacks, stacks_json};
pub use status::{age, now_s, status, status_again, status_json, status_json_line};
pub use waterfall::waterfall;

/// Prints an answer to stdout: unchanged to a program, escaped to a terminal. Failures are reported by [`unprinted`] at
/// the end.
pub fn answer(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let escaped = stdout.is_terminal().then(|| escape::lines(text));
    let text = escaped.as_deref().unwrap_or(text);
    note_unprinted(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

/// Prints a line of an answer that contains text from elsewhere: escaped, even if stdout is not a terminal.
pub fn line(line: &str) {
    let text = format!("{}\n", escape::line(line));
    let mut stdout = std::io::stdout().lock();
    note_unprinted(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

/// Writes a line to stdout. Returns whether its reader is still there.
fn write_line(line: &str) -> bool {
    let mut stdout = std::io::stdout().lock();
    let written = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    let is_open = written.is_ok();
    note_unprinted(written);
    is_open
}

/// Records that something could not be printed. A closed pipe (`| head`) is not an error.
pub fn note_unprinted(printed: std::io::Result<()>) {
    match printed {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => CLOSED.store(true, Ordering::Relaxed),
        Err(error) => drop(UNPRINTED.set(error)),
        Ok(()) => (),
    }
}

/// Whether stdout is a pipe that was closed: what follows would not be read.
pub fn is_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

static CLOSED: AtomicBool = AtomicBool::new(false);

/// The error of writing to stdout, if any: a full disk, most likely.
pub fn unprinted() -> Option<&'static std::io::Error> {
    UNPRINTED.get()
}

static UNPRINTED: OnceLock<std::io::Error> = OnceLock::new();

/// Prints a progress line to stderr.
pub fn say(line: impl std::fmt::Display) {
    screen::print(&escape::paragraph(&line.to_string()));
}

/// Decides once whether stdout and stderr have colours.
pub fn colours(when: Color) {
    match when {
        Color::Auto => (),
        Color::Always => set_colours(true),
        Color::Never => set_colours(false),
    }
}

fn set_colours(are_on: bool) {
    console::set_colors_enabled(are_on);
    console::set_colors_enabled_stderr(are_on);
}

fn style() -> Style {
    Style::new().for_stderr()
}

/// Prints why a command ended, with its causes and the remedy.
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
    failure.summary.iter().for_each(say);
    events::error(failure);
}

/// Prints the remedy.
pub fn hint(hint: &str) {
    marked("hint:", &style().cyan().bold(), &escape::paragraph(hint));
}

/// Prints a warning about something that works here and will fail elsewhere.
pub fn warning(warning: &str) {
    marked("warning:", &style().yellow().bold(), &escape::paragraph(warning));
}

fn marked(mark: &str, style: &Style, escaped: &str) {
    screen::print(&format!("{} {escaped}", style.apply_to(mark)));
}

/// Prints which stack and account a command is about to act on.
pub fn heading(stack: &str, account: &str, region: &str, endpoint: Option<&str>) {
    let place = endpoint.map_or(String::new(), |endpoint| format!(" at {endpoint}"));
    events::begin(stack, account, region);
    let (stack, place) = (escape::line(stack), escape::line(&format!("{account}, region {region}{place}")));
    screen::print(&format!("{} in account {place}", style().bold().apply_to(stack)));
}

/// Asks a yes-or-no question on the terminal.
///
/// Errors: there is no terminal; the hint names the flag that confirms beforehand.
pub async fn confirm(question: &str) -> Result<bool, Failure> {
    let answer = ask(&format!("{question} [y/N] ")).await?;
    Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes" | "o" | "oui"))
}

/// Asks for a text on the terminal.
///
/// Errors: there is no terminal; the hint names the flag that confirms beforehand.
pub async fn ask(question: &str) -> Result<String, Failure> {
    if events::are_on() {
        return Err(Failure::usage("confirmation needed, and --json does not ask")
            .hint("pass --yes to go ahead without confirmation"));
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::usage("confirmation needed, but there is no terminal")
            .hint("pass --yes to go ahead without confirmation"));
    }
    screen::prompt(&escape::line(question));
    let _thinking = Thinking(Instant::now());
    let (answer, answered) = oneshot::channel();
    // In a thread of its own, which ends with the process: a blocking read of a line cannot be cancelled.
    std::thread::spawn(move || answer.send(typed()));
    let line = answered.await.unwrap_or_else(|_| Err(ErrorKind::UnexpectedEof.into()))?;
    Ok(line.trim().to_owned())
}

/// From this length on, a typed line may be incomplete: terminals drop what exceeds 4095 bytes on Linux, and 1023 on
/// macOS (termios(3), `MAX_CANON`).
const LONGEST_TYPED: usize = 1000;

/// Asks for a text on the terminal without showing it.
///
/// Errors: it is so long that the terminal may have dropped a part of it.
pub async fn ask_hidden(question: &str) -> Result<String, Failure> {
    // Before the question, so that nothing typed after it is shown.
    let echo = Echo::off();
    let read: fn() -> std::io::Result<String> = match echo {
        Some(_) => typed,
        None => || console::Term::stderr().read_secure_line(),
    };
    screen::prompt(&escape::line(question));
    let _thinking = Thinking(Instant::now());
    let (answer, answered) = oneshot::channel();
    std::thread::spawn(move || answer.send(read()));
    let line = answered.await.unwrap_or_else(|_| Err(ErrorKind::UnexpectedEof.into()))?;
    if echo.is_some() {
        screen::print("");
    }
    let line = line.trim_end_matches(['\r', '\n']);
    if line.len() >= LONGEST_TYPED {
        return Err(
            Failure::usage("the value is too long to be typed").hint("pipe it: `deployer secret set NAME <file`")
        );
    }
    Ok(line.to_owned())
}

/// Turns the echo of the terminal off. Dropping it turns the echo on again, even if the question is abandoned.
struct Echo;

impl Echo {
    /// `None` without `stty`, as on Windows.
    fn off() -> Option<Echo> {
        std::process::Command::new("stty").arg("-echo").status().is_ok_and(|status| status.success()).then_some(Echo)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // The other lines of a pasted value would be shown, and then run by the shell.
        platform::discard_typed();
        // Nothing can be done about a failure.
        drop(std::process::Command::new("stty").arg("echo").status());
    }
}

/// The total time that questions have waited for answers, in milliseconds.
static THOUGHT_MS: AtomicU64 = AtomicU64::new(0);

/// Measures the time of one question.
struct Thinking(Instant);

impl Drop for Thinking {
    fn drop(&mut self) {
        THOUGHT_MS.fetch_add(u64::try_from(self.0.elapsed().as_millis()).unwrap_or_default(), Ordering::Relaxed);
    }
}

/// How long a command has worked, without the time it waited for answers.
pub fn worked_since(begun: Instant) -> Duration {
    begun.elapsed().saturating_sub(Duration::from_millis(THOUGHT_MS.load(Ordering::Relaxed)))
}

fn typed() -> std::io::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map(|_| line)
}

/// Prints the reason for a wait: at once on a terminal, after a second elsewhere.
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
    fn a_duration_is_shown_to_the_second() {
        let shown = |s: f64| seconds(Duration::from_secs_f64(s));
        assert_eq!([shown(0.44), shown(9.96), shown(12.7), shown(154.9)], ["0.4 s", "10.0 s", "12 s", "2 min 34 s"]);
    }
}
