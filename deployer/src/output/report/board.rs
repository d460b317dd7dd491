//! Progress of each resource: bars on a terminal, plain lines elsewhere.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use parking_lot::{Mutex, MutexGuard};

use super::{
    escape, events,
    screen::{self, Frames},
    seconds, style,
};
use crate::engine::{Event, Progress, Schedule};

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
    /// The usual times of the resources, and how far they are.
    schedule: Option<Schedule>,
}

struct Row {
    begun: Instant,
    verb: &'static str,
    text: String,
    bar: ProgressBar,
}

/// The redraw interval of the bars.
const TICK: Duration = Duration::from_millis(120);

impl Board {
    /// Makes a board for this many resources.
    pub fn new(count: Count) -> Self {
        Board::following(count, None)
    }

    /// The same, with usual times and the time left.
    pub fn following(count: Count, schedule: Option<Schedule>) -> Self {
        // A full row would move the cursor to the next one.
        let frames = || Frames::new(|| screen::columns().unwrap_or(80) - 1, screen::show);
        Board::on(count, screen::columns().filter(|_| !events::are_on()).map(|_| frames()), schedule)
    }

    fn on(Count { done, all, what }: Count, frames: Option<Frames>, schedule: Option<Schedule>) -> Self {
        let is_drawn = frames.is_some();
        let bars = MultiProgress::with_draw_target(match frames {
            Some(frames) => ProgressDrawTarget::term_like(Box::new(frames)),
            None => ProgressDrawTarget::hidden(),
        });
        // Rows other than resources are not counted. A bar outside `bars` would draw itself on stderr.
        let footer = match all {
            0 => ProgressBar::hidden(),
            _ => bars.add(ProgressBar::new(all as u64).with_position(done as u64).with_message(what)),
        };
        let left = schedule.clone().map(|schedule| move || schedule.remaining().left);
        let footer_style = drawn_as("  {pos} of {len} {msg}  {took}{left}", None);
        footer.set_style(footer_style.with_key("left", move |_: &ProgressState, f: &mut dyn std::fmt::Write| {
            let left = left.as_ref().map(|left| left()).unwrap_or_default();
            if left >= SHORTEST_LEFT {
                let _ = write!(f, "  about {} left", whole_seconds(left));
            }
        }));
        if is_drawn {
            footer.enable_steady_tick(TICK);
        }
        Board(Arc::new(Inner { rows: Mutex::default(), bars, footer, is_drawn, schedule }))
    }

    /// Shows an event.
    pub fn show(&self, event: Event) {
        self.show_row(event.address.to_string(), event.progress);
    }

    /// Shows the progress of something other than a resource.
    pub fn show_row(&self, name: String, progress: Progress) {
        if let Some(schedule) = &self.0.schedule {
            self.follow(&name, &progress, schedule);
            if events::are_on() {
                return;
            }
        }
        let name = escape::line(&name);
        match progress {
            Progress::Began(verb) => self.update_row(name, verb, Some(verb)),
            Progress::Waiting(state) => self.update_row(name, &escape::line(&state), None),
            Progress::Done => self.finish(&name, &style().green().apply_to("✓").to_string(), None),
            Progress::Failed => self.finish(&name, &style().red().apply_to("✗").to_string(), Some("failed")),
            Progress::Skipped => {
                self.remove(&name);
                screen::print(&format!("  {} {name}  skipped", style().dim().apply_to("-")));
            }
        }
    }

    /// Records progress, and prints its event unless it repeats the last one.
    fn follow(&self, name: &str, progress: &Progress, schedule: &Schedule) {
        schedule.note(name, progress);
        if !events::are_on() {
            return;
        }
        let mut rows = self.0.rows();
        if !rows.contains_key(name) {
            let row = self.0.row(&rows, name);
            rows.insert(name.to_owned(), row);
        }
        let Some(row) = rows.get_mut(name) else { return };
        let is_news = match progress {
            Progress::Began(verb) => std::mem::replace(&mut row.verb, *verb) != *verb,
            Progress::Waiting(state) => std::mem::replace(&mut row.text, state.clone()) != *state,
            Progress::Done | Progress::Failed | Progress::Skipped => true,
        };
        if is_news {
            events::progress(name, row.verb, progress, schedule);
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

    fn update_row(&self, name: String, text: &str, verb: Option<&'static str>) {
        let mut rows = self.0.rows();
        if !rows.contains_key(&name) {
            let row = self.0.row(&rows, &name);
            rows.insert(name.clone(), row);
        }
        let Some(row) = rows.get_mut(&name) else { return };
        row.verb = verb.unwrap_or(row.verb);
        let usual = self.0.usual(&name);
        if row.text != text {
            row.text = text.to_owned();
            row.bar.set_message(text.to_owned());
            if !self.0.is_drawn {
                let usual = usual.filter(|_| verb.is_some());
                let usual = usual.map_or(String::new(), |usual| format!(" (usually {})", whole_seconds(usual)));
                screen::print(&format!("  {name}: {text}{usual}"));
            }
        }
    }

    /// Removes a row. Returns its verb and its age.
    fn remove(&self, name: &str) -> Option<(&'static str, Duration)> {
        let row = self.0.rows().remove(name)?;
        row.bar.finish_and_clear();
        self.0.bars.remove(&row.bar);
        Some((row.verb, row.begun.elapsed()))
    }

    /// Only finished items count as done.
    fn finish(&self, name: &str, mark: &str, failed: Option<&str>) {
        let (verb, took) = self.remove(name).unwrap_or_default();
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

    /// The usual time of a row, if it is long enough to be of interest.
    fn usual(&self, name: &str) -> Option<Duration> {
        let usual = self.schedule.as_ref()?.usual(name)?;
        Some(usual).filter(|usual| *usual >= SHORTEST_USUAL)
    }

    /// Inserts a row, sorted by name.
    fn row(&self, rows: &BTreeMap<String, Row>, name: &str) -> Row {
        let style = drawn_as("  {spinner} {prefix}  {took}  {msg}", self.usual(name));
        let bar = ProgressBar::new_spinner().with_style(style);
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
        Row { begun: Instant::now(), verb: "", text: String::new(), bar }
    }
}

/// The shortest usual time that is shown.
const SHORTEST_USUAL: Duration = Duration::from_secs(2);
/// The shortest time left that is shown.
const SHORTEST_LEFT: Duration = Duration::from_secs(1);
/// Below this many columns, the word `usually` is left out.
const NARROW: usize = 60;

/// A style whose `{took}` is the age of the bar, beside the usual time. It precedes texts from AWS, which may be cut
/// off.
fn drawn_as(template: &str, usual: Option<Duration>) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).expect("the templates of this file are well formed");
    let style = style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ");
    style.with_key("took", move |state: &ProgressState, f: &mut dyn std::fmt::Write| {
        let _ = f.write_str(&seconds(state.elapsed()));
        if let Some(usual) = usual {
            let word = if screen::columns().is_some_and(|columns| columns < NARROW) { "" } else { "usually " };
            let _ = write!(f, " / {word}{}", whole_seconds(usual));
        }
    })
}

/// An approximate time: `0.3 s`, `8 s`, `150 s`, `6 min`.
fn whole_seconds(time: Duration) -> String {
    /// From here on, seconds are left out.
    const MINUTES: u64 = 200;
    match time.as_secs_f64().round() as u64 {
        0 => format!("{:.1} s", time.as_secs_f64()),
        whole @ 1..MINUTES => format!("{whole} s"),
        whole => format!("{} min", (whole + 30) / 60),
    }
}

fn past(verb: &str) -> &str {
    match verb {
        "creating" => "created",
        "updating" => "updated",
        "deleting" => "deleted",
        "building" => "built",
        "tagging" => "taken over",
        _ => "ready",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Task;

    type Lines = Arc<Mutex<Vec<String>>>;

    /// A board of 40 columns, and the lines it draws.
    fn board(all: usize, done: usize) -> (Board, Lines) {
        let drawn = Lines::default();
        let frame = drawn.clone();
        let frames = Frames::new(|| 40, move |lines| *frame.lock() = lines);
        (Board::on(Count::of(all, done), Some(frames), None), drawn)
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
        board.show_row("function.f".into(), Progress::Began("updating"));
        board.show_row("function.f".into(), Progress::Skipped);
        let lines = lines(&board, &drawn);
        assert!(lines.len() == 1 && lines[0].starts_with("  2 of 4 done  0."), "{lines:?}");
    }

    #[test]
    fn the_usual_time_is_shown_with_the_elapsed_time_and_the_time_left_in_the_footer() {
        let task = |name: &str, needs: &[usize], usual_s| Task {
            name: name.into(),
            needs: needs.to_vec(),
            is_work: true,
            usual: Some(Duration::from_secs(usual_s)),
        };
        let tasks =
            vec![task("load_balancer.web", &[], 150), task("listener.web", &[0], 1), task("auto.web", &[1], 300)];
        let widths: [fn() -> usize; 2] = [|| 59, || 79];
        for columns in widths {
            let drawn = Lines::default();
            let frame = drawn.clone();
            let frames = Frames::new(columns, move |lines| *frame.lock() = lines);
            let board = Board::on(Count::of(3, 0), Some(frames), Some(Schedule::new(tasks.clone())));
            board.show_row("load_balancer.web".into(), Progress::Began("creating"));
            board.show_row("load_balancer.web".into(), Progress::Waiting("provisioning".into()));
            board.show_row("listener.web".into(), Progress::Waiting("waiting".into()));
            let lines = lines(&board, &drawn);
            assert!(lines[0].ends_with(" s  waiting"), "short times are of no interest: {lines:?}");
            assert!(lines[1].contains("load_balancer.web  0."), "{lines:?}");
            assert!(lines[1].ends_with(" s / usually 150 s  provisioning"), "{lines:?}");
            assert!(lines[2].starts_with("  0 of 3 done  0.") && lines[2].ends_with("  about 8 min left"), "{lines:?}");
            board.show_row("load_balancer.web".into(), Progress::Done);
            board.show_row("listener.web".into(), Progress::Done);
            board.show_row("auto.web".into(), Progress::Done);
            let lines = self::lines(&board, &drawn);
            assert!(lines[0].starts_with("  3 of 3 done  ") && !lines[0].contains("left"), "{lines:?}");
        }
    }

    #[test]
    fn approximate_times_have_no_more_digits_than_they_are_worth() {
        let shown = |s: f64| whole_seconds(Duration::from_secs_f64(s));
        assert_eq!([0.3, 0.7, 8.2, 150.0, 200.0, 361.0].map(shown), ["0.3 s", "1 s", "8 s", "150 s", "3 min", "6 min"]);
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
