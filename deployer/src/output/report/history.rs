//! Prints releases: one line each.

use std::io::IsTerminal as _;

use console::{Alignment, measure_text_width, pad_str};
use time::{OffsetDateTime, macros::format_description};

use super::{escape, line, screen};

/// One release, in words.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Its number.
    pub number: String,
    /// When it was made, in UTC.
    pub when: String,
    /// Who made it.
    pub who: String,
    /// The commit.
    pub commit: String,
    /// The hash of its program.
    pub program: String,
    /// What changed.
    pub changed: String,
    /// What it is doing, or why there is no way back to it.
    pub note: String,
}

/// The widest name shown: a longer one would hide the changes.
const WIDEST: usize = 16;

impl Row {
    fn head() -> Row {
        let [number, when, who, commit, program, changed] =
            ["#", "when (UTC)", "by", "commit", "program", "changed"].map(str::to_owned);
        Row { number, when, who, commit, program, changed, note: String::new() }
    }

    fn columns(&self) -> [String; 5] {
        let Row { number, when, who, commit, program, .. } = self;
        let plain = |text: &String| escape::line(text);
        let who = console::truncate_str(&plain(who), WIDEST, "…").into_owned();
        [plain(number), plain(when), who, plain(commit), plain(program)]
    }
}

/// Prints the releases of a service or function as an answer.
pub fn releases(name: &str, rows: &[Row]) {
    line(name);
    let rows: Vec<Row> = std::iter::once(Row::head()).chain(rows.iter().cloned()).collect();
    let widest = |at: usize| rows.iter().map(|row| measure_text_width(&row.columns()[at])).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(widest);
    for row in &rows {
        let cells = row.columns();
        let cells =
            cells.iter().zip(widths).map(|(cell, width)| pad_str(cell, width, Alignment::Left, None).into_owned());
        let note = if row.note.is_empty() { String::new() } else { format!("  ← {}", row.note) };
        let all = format!("  {}  {}", cells.collect::<Vec<_>>().join("  "), escape::line(&row.changed));
        line(format!("{}{note}", fitted(all.trim_end(), measure_text_width(&note))).trim_end());
    }
}

/// Cuts a line on a terminal, so that `more` columns are left.
fn fitted(text: &str, more: usize) -> String {
    match screen::columns().filter(|_| std::io::stdout().is_terminal()) {
        Some(columns) => screen::fit(text, columns.saturating_sub(more)),
        None => text.to_owned(),
    }
}

/// A time in UTC, to the minute.
pub fn minute(s: i64) -> String {
    written(s, &|at| at.format(format_description!("[year]-[month]-[day] [hour]:[minute]")))
}

/// A time in UTC as JSON has it (RFC 3339).
pub fn timestamp(s: i64) -> String {
    written(s, &|at| at.format(&time::format_description::well_known::Rfc3339))
}

fn written(s: i64, form: &dyn Fn(OffsetDateTime) -> Result<String, time::error::Format>) -> String {
    OffsetDateTime::from_unix_timestamp(s).ok().and_then(|at| form(at).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc() {
        assert_eq!([minute(0), timestamp(1_700_000_000)], ["1970-01-01 00:00", "2023-11-14T22:13:20Z"]);
        assert_eq!(minute(i64::MAX), "", "a time that AWS cannot mean");
    }
}
