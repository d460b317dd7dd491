//! Progress of each resource: bars on a terminal, plain lines elsewhere.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::{Mutex, MutexGuard};

use super::{
    escape,
    screen::{self, Frames},
    seconds, style,
};
use crate::engine::{Event, Progress};

/// The overall progress of a command.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    /// The items already done.
    pub done: usize,
    /// The total.
    pub all: usize,
    /// The word for them, such as `done`.
    pub what: &'static str,
}

impl Count {
    /// Progress over resources, some of which may be done already.
    pub fn of(all: usize, done: usize) -> Count {
        Count { done, all, what: "done" }
    }
}

/// Draws the progress of each resource.
#[derive(Clone)]
pub struct Board(Arc<Inner>);

struct Inner {
    rows: Mutex<BTreeMap<String, Row>>,
    bars: MultiProgress,
    /// The overall count, below the rows.
    footer: ProgressBar,
    is_drawn: bool,
}

struct Row {
    begun: Instant,
    verb: &'static str,
    said: String,
    bar: ProgressBar,
}

/// The redraw interval of the bars.
const TICK: Duration = Duration::from_millis(120);

impl Board {
    /// Makes a board for this many resources.
    pub fn new(count: Count) -> Self {
        match screen::columns() {
            // A full row would move the cursor to the next one.
            Some(_) => Board::on(count, Some(Frames::new(|| screen::columns().unwrap_or(80) - 1, screen::show))),
            None => Board::on(count, None),
        }
    }

    fn on(Count { done, all, what }: Count, frames: Option<Frames>) -> Self {
        let is_drawn = frames.is_some();
        let bars = MultiProgress::with_draw_target(match frames {
            Some(frames) => ProgressDrawTarget::term_like(Box::new(frames)),
            None => ProgressDrawTarget::hidden(),
        });
        let footer = ProgressBar::new(all as u64).with_position(done as u64).with_message(what);
        // Rows other than resources are not counted.
        let footer = if all > 0 { bars.add(footer) } else { footer };
        footer.set_style(drawn_as("  {pos} of {len} {msg}  {took}"));
        if is_drawn {
            footer.enable_steady_tick(TICK);
        }
        Board(Arc::new(Inner { rows: Mutex::default(), bars, footer, is_drawn }))
    }

    /// Shows an event.
    pub fn show(&self, event: Event) {
        self.show_row(event.address.to_string(), event.progress);
    }

    /// Shows the progress of something other than a resource.
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

    /// Removes the bars and keeps the finished lines.
    pub fn close(&self) {
        let rows = std::mem::take(&mut *self.0.rows());
        rows.into_values().for_each(|row| row.bar.finish_and_clear());
        self.0.footer.finish_and_clear();
        if self.0.is_drawn {
            screen::show(Vec::new());
        }
    }

    fn tell(&self, name: String, said: &str, verb: Option<&'static str>) {
        let mut rows = self.0.rows();
        if !rows.contains_key(&name) {
            let row = self.0.row(&rows, &name);
            rows.insert(name.clone(), row);
        }
        let Some(row) = rows.get_mut(&name) else { return };
        row.verb = verb.unwrap_or(row.verb);
        if row.said != said {
            row.said = said.to_owned();
            row.bar.set_message(said.to_owned());
            if !self.0.is_drawn {
                screen::print(&format!("  {name}: {said}"));
            }
        }
    }

    /// Only finished items count as done.
    fn finish(&self, name: &str, mark: &str, failed: Option<&str>) {
        let row = self.0.rows().remove(name);
        let (verb, took) = row.as_ref().map_or(("", Duration::ZERO), |row| (row.verb, row.begun.elapsed()));
        if let Some(row) = row {
            row.bar.finish_and_clear();
            self.0.bars.remove(&row.bar);
        }
        if failed.is_none() {
            self.0.footer.inc(1);
        }
        // The counter never lags behind the ticks above it.
        self.0.footer.force_draw();
        let word = failed.unwrap_or_else(|| past(verb));
        screen::print(&format!("  {mark} {name}  {word} in {}", seconds(took)));
    }
}

impl Inner {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<String, Row>> {
        self.rows.lock()
    }

    /// Inserts a row, sorted by name.
    fn row(&self, rows: &BTreeMap<String, Row>, name: &str) -> Row {
        let bar = ProgressBar::new_spinner().with_style(drawn_as("  {spinner} {prefix}  {took}  {msg}"));
        let next = rows.range::<str, _>((Bound::Excluded(name), Bound::Unbounded)).next();
        let bar = match next.map(|(_, row)| &row.bar) {
            Some(next) => self.bars.insert_before(next, bar),
            None if self.footer.length() > Some(0) => self.bars.insert_before(&self.footer, bar),
            None => self.bars.add(bar),
        };
        bar.set_prefix(name.to_owned());
        if self.is_drawn {
            bar.enable_steady_tick(TICK);
        }
        Row { begun: Instant::now(), verb: "", said: String::new(), bar }
    }
}

/// A style whose `{took}` is the age of the bar. It stands before texts from AWS, which may be cut off.
fn drawn_as(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).expect("the templates of this file are well formed");
    let style = style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ");
    style.with_key("took", |state: &indicatif::ProgressState, f: &mut dyn std::fmt::Write| {
        let _ = f.write_str(&seconds(state.elapsed()));
    })
}

fn past(verb: &str) -> &str {
    match verb {
        "creating" => "created",
        "updating" => "updated",
        "deleting" => "gone",
        "building" => "built",
        _ => "ready",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Lines = Arc<Mutex<Vec<String>>>;

    /// A board of 40 columns, and the lines it draws.
    fn board(all: usize, done: usize) -> (Board, Lines) {
        let drawn = Lines::default();
        let frame = drawn.clone();
        let frames = Frames::new(|| 40, move |lines| *frame.lock() = lines);
        (Board::on(Count::of(all, done), Some(frames)), drawn)
    }

    fn lines(board: &Board, drawn: &Lines) -> Vec<String> {
        board.0.footer.force_draw();
        let lines = drawn.lock().clone();
        lines.iter().map(|line| line.trim_end().to_owned()).collect()
    }

    #[test]
    fn the_counter_counts_what_has_a_tick() {
        let (board, drawn) = board(4, 1);
        board.show_row("table.posts".into(), Progress::Began("creating"));
        board.show_row("table.posts".into(), Progress::Done);
        board.show_row("role.web".into(), Progress::Failed);
        board.show_row("function.f".into(), Progress::Skipped);
        let lines = lines(&board, &drawn);
        assert!(lines.len() == 1 && lines[0].starts_with("  2 of 4 done  0."), "{lines:?}");
    }

    #[test]
    fn rows_stand_in_the_order_of_their_names_above_the_counter() {
        let (board, drawn) = board(3, 0);
        for name in ["table.b", "role.c", "table.a"] {
            board.show_row(name.into(), Progress::Waiting("CREATING".into()));
        }
        let lines = lines(&board, &drawn);
        let names: Vec<&str> = lines.iter().filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!(names, ["role.c", "table.a", "table.b", "of"], "{lines:?}");
        assert!(lines[0].ends_with(" s  CREATING"), "the time stands beside the name: {lines:?}");
    }

    #[test]
    fn a_closed_board_leaves_nothing_behind() {
        let (board, drawn) = board(2, 0);
        board.show_row("table.posts".into(), Progress::Began("creating"));
        assert_eq!(lines(&board, &drawn).len(), 2);
        board.close();
        assert_eq!(lines(&board, &drawn), [""; 0]);
    }

    #[test]
    fn a_state_of_aws_is_shown_on_one_line_and_without_commands() {
        let (board, drawn) = board(1, 0);
        board.show_row("table.posts".into(), Progress::Waiting("\u{1b}[2J\nhint: x".into()));
        let lines = lines(&board, &drawn);
        assert!(lines.len() == 2 && lines[0].contains(r"\u{1b}[2J\nhint: x"), "{lines:?}");
    }
}
