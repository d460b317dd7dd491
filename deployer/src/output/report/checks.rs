//! The results of `verify`: a table for people, or JSON.

use std::time::{Duration, Instant};

use console::measure_text_width;
use serde_json::{Value, json};

use super::{Board, Count, answer, escape, events, line, screen, seconds};
use crate::{
    engine::Progress,
    verify::{End, Moment, Result},
};

/// The stream to print results to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checks {
    /// On stdout, as the answer of the command.
    Answer,
    /// On stderr, because stdout has another answer.
    Aside,
    /// On stdout, as one JSON document.
    Json,
}

/// The table of a run.
pub struct Table {
    checks: Checks,
    /// The width of the names.
    width: usize,
    begun: Instant,
    board: Option<Board>,
}

impl Checks {
    /// Begins the table of a run with these steps.
    pub fn begin<'a>(self, names: impl Iterator<Item = &'a str>) -> Table {
        let width = names.map(measure_text_width).max().unwrap_or(0);
        Table { checks: self, width, begun: Instant::now(), board: None }
    }
}

impl Table {
    /// Shows a moment of the run.
    pub fn show(&mut self, moment: Moment<'_>) {
        match moment {
            Moment::Begins(name) => self.begins(name),
            Moment::Ended(result) => self.ended(result),
        }
    }

    /// Shows on a terminal which step is being made.
    fn begins(&mut self, name: &str) {
        if screen::columns().is_some() && !events::are_on() {
            let board = Board::new(Count { done: 0, all: 0, what: "" });
            board.show_row(format!("verify.{name}"), Progress::Began("verifying"));
            self.board = Some(board);
        }
    }

    /// Prints the result of a step.
    fn ended(&mut self, result: &Result) {
        if let Some(board) = self.board.take() {
            board.close();
        }
        events::verified(|| object(result));
        if self.checks != Checks::Json {
            self.rows(result).iter().for_each(|row| self.print(row));
        }
    }

    /// Prints the summary.
    pub fn close(self, results: &[Result]) {
        let took = self.begun.elapsed();
        match self.checks {
            Checks::Json => answer(&format!("{:#}\n", document(results, took))),
            _ => self.print(&summary(results, took)),
        }
    }

    fn print(&self, row: &str) {
        match self.checks {
            Checks::Answer => line(row),
            _ => screen::print(&escape::line(row)),
        }
    }

    /// One row, and one more with the reason of a failure.
    fn rows(&self, result: &Result) -> Vec<String> {
        let Result { name, request, end, status, attempts, took } = result;
        let name = format!("{name:width$}", width = self.width);
        let request = fitted(request, self.width);
        match end {
            End::Skipped(why) => vec![format!("  - {name}  {:>8}  {why}", "skipped")],
            End::Passed => {
                let again = if *attempts > 1 { format!(", {attempts} times") } else { String::new() };
                let status = status.map_or(String::new(), |status| format!(" → {status}"));
                vec![format!("  ✓ {name}  {:>8}  {request}{status}{again}", seconds(*took))]
            }
            End::Failed(why) => {
                let again = if *attempts > 1 { format!(", {attempts} times") } else { String::new() };
                vec![format!("  ✗ {name}  {:>8}  {request}{again}", seconds(*took)), format!("      {why}")]
            }
        }
    }
}

/// The columns that a table takes.
const COLUMNS: usize = 80;
/// The columns of a row besides its name and its request, with a status or a number of attempts.
const BESIDES: usize = 4 + 2 + 8 + 2 + 16;

/// Cuts a request so that its row fits.
fn fitted(request: &str, width: usize) -> String {
    screen::fit(&escape::line(request), COLUMNS.saturating_sub(width + BESIDES).max(20))
}

fn summary(results: &[Result], took: Duration) -> String {
    let count = |is: fn(&End) -> bool| results.iter().filter(|result| is(&result.end)).count();
    let (failed, skipped) = (count(|end| matches!(end, End::Failed(_))), count(|end| matches!(end, End::Skipped(_))));
    let took = seconds(took);
    match (failed, skipped) {
        (0, 0) => format!("verified: all {} steps passed in {took}", results.len()),
        (0, skipped) => format!("not verified: {skipped} of {} steps were skipped, {took}", results.len()),
        (failed, _) => format!("not verified: {failed} of {} steps failed, {took}", results.len()),
    }
}

fn document(results: &[Result], took: Duration) -> Value {
    json!({
        "passed": results.iter().all(|result| result.end == End::Passed),
        "seconds": rounded(took),
        "steps": results.iter().map(object).collect::<Vec<_>>(),
    })
}

/// A result as JSON.
fn object(result: &Result) -> Value {
    let Result { name, request, end, status, attempts, took } = result;
    let (word, why) = match end {
        End::Passed => ("passed", None),
        End::Failed(why) => ("failed", Some(why)),
        End::Skipped(why) => ("skipped", Some(why)),
    };
    json!({
        "step": name, "request": request, "result": word, "problem": why, "status": status, "attempts": attempts,
        "took_s": rounded(*took),
    })
}

/// Seconds, to the millisecond.
pub fn rounded(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(end: End, attempts: u32) -> Result {
        let (name, request) = ("labels".to_owned(), "GET /posts?user=verify-${run}&x=\u{1b}[2J".to_owned());
        Result { name, request, end, status: Some(200), attempts, took: Duration::from_millis(1200) }
    }

    #[test]
    fn a_row_fits_80_columns_and_the_reason_of_a_failure_is_below() {
        let table = Checks::Aside.begin(["labels", "page"].into_iter());
        let rows = |end, attempts| table.rows(&result(end, attempts));
        assert_eq!(rows(End::Passed, 1), [r"  ✓ labels     1.2 s  GET /posts?user=verify-${run}&x=\u{1b}[2J → 200"]);
        let long = Result { request: "GET /".to_owned() + &"x".repeat(200), ..result(End::Passed, 12) };
        let row = table.rows(&long).remove(0);
        assert!(measure_text_width(&row) <= COLUMNS && row.ends_with("… → 200, 12 times"), "{row}");
        let failed = rows(End::Failed("the status is 500".into()), 3);
        assert!(failed[0].ends_with(", 3 times") && failed[1] == "      the status is 500", "{failed:?}");
        assert_eq!(rows(End::Skipped("page failed".into()), 0), ["  - labels   skipped  page failed"]);
    }

    #[test]
    fn the_summary_counts_what_failed() {
        let took = Duration::from_secs(2);
        let [passed, skipped, failed] =
            [End::Passed, End::Skipped("x".into()), End::Failed("x".into())].map(|end| result(end, 1));
        assert_eq!(summary(std::slice::from_ref(&passed), took), "verified: all 1 steps passed in 2.0 s");
        assert_eq!(summary(&[passed.clone(), skipped.clone()], took), "not verified: 1 of 2 steps were skipped, 2.0 s");
        assert_eq!(summary(&[passed, failed, skipped], took), "not verified: 1 of 3 steps failed, 2.0 s");
    }
}
