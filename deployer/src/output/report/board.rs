//! What happens to each resource: on a terminal a line for each that moves, elsewhere plain lines.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use console::measure_text_width;

use super::{escape, screen, seconds, style};
use crate::engine::{Event, Progress};

/// How far a command has come: so many of all.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    /// What is done already.
    pub done: usize,
    /// With what is still to do.
    pub all: usize,
    /// What is counted, such as `done`.
    pub what: &'static str,
}

impl Count {
    /// Resources with something to do, of which so many are done already.
    pub fn of(all: usize, done: usize) -> Count {
        Count { done, all, what: "done" }
    }
}

/// Draws what happens to each resource.
#[derive(Clone)]
pub struct Board(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    begun: Instant,
    is_drawn: bool,
}

struct State {
    rows: BTreeMap<String, Row>,
    count: Count,
    is_closed: bool,
}

struct Row {
    begun: Instant,
    verb: &'static str,
    said: String,
}

/// How often what moves is drawn.
const TICK: Duration = Duration::from_millis(120);
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

impl Board {
    /// A board for so many resources.
    pub fn new(count: Count) -> Self {
        let is_drawn = screen::columns().is_some();
        let state = Mutex::new(State { rows: BTreeMap::new(), count, is_closed: false });
        let inner = Arc::new(Inner { state, begun: Instant::now(), is_drawn });
        if is_drawn {
            let drawn = Arc::downgrade(&inner);
            std::thread::spawn(move || keep_drawing(&drawn));
        }
        Board(inner)
    }

    /// Shows an event.
    pub fn show(&self, event: Event) {
        self.show_row(event.address.to_string(), event.progress);
    }

    /// Shows how far something that is no resource has come.
    pub fn show_row(&self, name: String, progress: Progress) {
        let name = escape::line(&name);
        match progress {
            Progress::Began(verb) => self.tell(name, verb, Some(verb)),
            Progress::Waiting(state) => self.tell(name, &escape::line(&state), None),
            Progress::Done => self.finish(&name, &style().green().apply_to("✓").to_string(), None),
            Progress::Failed => self.finish(&name, &style().red().apply_to("✗").to_string(), Some("failed")),
            Progress::Skipped => screen::print(&format!("  {} {name}  skipped", style().dim().apply_to("-"))),
        }
    }

    /// Wipes what moves and leaves what is done.
    pub fn close(&self) {
        let mut state = self.0.state();
        state.rows.clear();
        state.is_closed = true;
        if self.0.is_drawn {
            screen::show(Vec::new());
        }
    }

    fn tell(&self, name: String, said: &str, verb: Option<&'static str>) {
        let mut state = self.0.state();
        let row = state.rows.entry(name.clone()).or_insert_with(Row::new);
        row.verb = verb.unwrap_or(row.verb);
        if row.said != said {
            row.said = said.to_owned();
            if !self.0.is_drawn {
                screen::print(&format!("  {name}: {said}"));
            }
        }
    }

    /// Only what is done counts as done.
    fn finish(&self, name: &str, mark: &str, failed: Option<&str>) {
        let mut state = self.0.state();
        let row = state.rows.remove(name).unwrap_or_else(Row::new);
        state.count.done += usize::from(failed.is_none());
        let word = failed.unwrap_or_else(|| past(row.verb));
        self.0.draw(&state);
        screen::print(&format!("  {mark} {name}  {word} in {}", seconds(row.begun.elapsed())));
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws what moves, where that can be drawn.
    fn draw(&self, state: &State) {
        if let Some(columns) = screen::columns().filter(|_| self.is_drawn) {
            screen::show(self.lines(state, columns));
        }
    }

    fn lines(&self, state: &State, columns: usize) -> Vec<String> {
        let spinner = SPINNER[(self.begun.elapsed().as_millis() / TICK.as_millis()) as usize % SPINNER.len()];
        let rows = state.rows.iter().map(|(name, row)| {
            let said = format!("  {spinner} {name}  {}", row.said);
            beside(said.trim_end(), &seconds(row.begun.elapsed()), columns)
        });
        let Count { done, all, what } = state.count;
        // What is no resource is not counted.
        let footer =
            (all > 0).then(|| beside(&format!("  {done} of {all} {what}"), &seconds(self.begun.elapsed()), columns));
        rows.chain(footer).collect()
    }
}

impl Row {
    fn new() -> Row {
        Row { begun: Instant::now(), verb: "", said: String::new() }
    }
}

/// Draws until the board is closed or gone.
fn keep_drawing(board: &Weak<Inner>) {
    while let Some(inner) = board.upgrade() {
        // Held while it is drawn, so that nothing is drawn once the board is closed.
        let state = inner.state();
        if state.is_closed {
            return;
        }
        inner.draw(&state);
        drop(state);
        drop(inner);
        std::thread::sleep(TICK);
    }
}

/// A text with the time right after it; where both do not fit, the text is cut.
fn beside(text: &str, time: &str, columns: usize) -> String {
    let room = columns.saturating_sub(measure_text_width(time) + 3);
    format!("{}  {time}", screen::fit(text, room))
}

fn past(verb: &str) -> &str {
    match verb {
        "creating" => "created",
        "updating" => "updated",
        "deleting" => "gone",
        _ => "ready",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(all: usize, done: usize) -> Board {
        let state = Mutex::new(State { rows: BTreeMap::new(), count: Count::of(all, done), is_closed: false });
        Board(Arc::new(Inner { state, begun: Instant::now(), is_drawn: true }))
    }

    #[test]
    fn what_is_counted_is_what_has_a_tick() {
        let board = board(4, 1);
        board.show_row("table.posts".into(), Progress::Began("creating"));
        board.show_row("table.posts".into(), Progress::Done);
        board.show_row("role.web".into(), Progress::Failed);
        board.show_row("function.f".into(), Progress::Skipped);
        let lines = board.0.lines(&board.0.state(), 80);
        assert!(lines.len() == 1 && lines[0].starts_with("  2 of 4 done  0."), "{lines:?}");
    }

    #[test]
    fn the_time_stands_beside_the_state_and_never_makes_the_line_too_long() {
        assert_eq!(beside("  ⠋ table.posts  CREATING", "2 min 34 s", 80), "  ⠋ table.posts  CREATING  2 min 34 s");
        let cut = beside("  ⠋ load_balancer.web  waiting: being provisioned", "2 min 34 s", 40);
        assert_eq!(cut, "  ⠋ load_balancer.web  wai…  2 min 34 s");
        assert!(measure_text_width(&cut) < 40);
    }

    #[test]
    fn a_state_of_aws_is_shown_on_one_line_and_without_commands() {
        let board = board(1, 0);
        board.show_row("table.posts".into(), Progress::Waiting("\u{1b}[2J\nhint: x".into()));
        let lines = board.0.lines(&board.0.state(), 80);
        assert!(lines[0].contains(r"\u{1b}[2J\nhint: x"), "{lines:?}");
    }
}
