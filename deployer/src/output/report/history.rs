//! Prints releases: one row each, whose marks are explained below.

use std::{collections::BTreeSet, io::IsTerminal as _};

use console::{Alignment, measure_text_width, pad_str};
use time::{OffsetDateTime, macros::format_description};

use super::{escape, line, screen};

/// One release, in words.
#[derive(Debug, Clone, Default)]
pub struct ReleaseRow {
    /// Its number.
    pub number: String,
    /// When it was made, in UTC.
    pub when: String,
    /// Its creator.
    pub who: String,
    /// The commit.
    pub commit: String,
    /// The hash of its program.
    pub program: String,
    /// The changes.
    pub changed: String,
    /// Its mark, if any.
    pub mark: Option<ReleaseMark>,
}

/// The mark of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReleaseMark {
    /// The instances run it.
    InService,
    /// It is replacing the one in service.
    RollingOut,
    /// It was to replace the one in service, and is being taken back.
    RollingBack,
    /// There is no way back to it.
    Gone,
}

impl ReleaseMark {
    fn sign(self) -> char {
        match self {
            ReleaseMark::InService => '*',
            ReleaseMark::RollingOut => '>',
            ReleaseMark::RollingBack => '<',
            ReleaseMark::Gone => 'x',
        }
    }

    fn words(self) -> &'static str {
        match self {
            ReleaseMark::InService => "in service",
            ReleaseMark::RollingOut => "rolling out",
            ReleaseMark::RollingBack => "rolling back",
            ReleaseMark::Gone => "its program is gone",
        }
    }
}

/// The widest name shown: a longer one would hide the changes.
const WIDEST: usize = 16;

impl ReleaseRow {
    fn head() -> ReleaseRow {
        let [number, when, who, commit, program, changed] =
            ["#", "when (UTC)", "by", "commit", "program", "changed"].map(str::to_owned);
        ReleaseRow { number, when, who, commit, program, changed, mark: None }
    }

    fn columns(&self) -> [String; 5] {
        let ReleaseRow { number, when, who, commit, program, .. } = self;
        let plain = |text: &String| escape::line(text);
        let who = console::truncate_str(&plain(who), WIDEST, "…").into_owned();
        [plain(number), plain(when), who, plain(commit), plain(program)]
    }
}

/// Prints the releases of a service or function as an answer.
pub fn releases(name: &str, rows: &[ReleaseRow]) {
    let columns = screen::columns().filter(|_| std::io::stdout().is_terminal());
    line(name);
    laid_out(rows, columns).iter().for_each(|row| line(row));
}

/// The table, and the marks in it.
fn laid_out(rows: &[ReleaseRow], columns: Option<usize>) -> Vec<String> {
    let all: Vec<ReleaseRow> = std::iter::once(ReleaseRow::head()).chain(rows.iter().cloned()).collect();
    let widest = |at: usize| all.iter().map(|row| measure_text_width(&row.columns()[at])).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(widest);
    let mut lines = Vec::new();
    for row in &all {
        let cells = row.columns();
        let cells = cells.iter().zip(widths).map(|(cell, width)| pad_str(cell, width, Alignment::Left, None));
        let cells: Vec<String> = cells.map(|cell| format!("{cell}  ")).collect();
        let mut before = format!("{} {}", row.mark.map_or(' ', ReleaseMark::sign), cells.concat());
        let width = measure_text_width(&before);
        for part in wrapped(&escape::line(&row.changed), columns.map(|columns| columns.saturating_sub(width))) {
            lines.push(format!("{before}{part}").trim_end().to_owned());
            before = " ".repeat(width);
        }
    }
    let marks: BTreeSet<ReleaseMark> = rows.iter().filter_map(|row| row.mark).collect();
    let marks: Vec<String> = marks.into_iter().map(|mark| format!("{} {}", mark.sign(), mark.words())).collect();
    lines.extend((!marks.is_empty()).then(|| marks.join("   ")));
    lines
}

/// The least room in which a text is wrapped: a narrower terminal wraps the line itself.
const ROOM: usize = 16;

/// Wraps a text between its words.
fn wrapped(text: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room.filter(|room| *room >= ROOM) else { return vec![text.to_owned()] };
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is a line");
        if last.is_empty() {
            last.push_str(word);
        } else if measure_text_width(last) + 1 + measure_text_width(word) <= room {
            *last = format!("{last} {word}");
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// A time in UTC, to the minute.
pub fn minute(s: i64) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]");
    OffsetDateTime::from_unix_timestamp(s).ok().and_then(|at| at.format(form).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_a_terminal() {
        let row = |number: &str, who: &str, changed: &str, mark| ReleaseRow {
            number: number.into(),
            when: "2026-01-31 12:00".into(),
            who: who.into(),
            commit: "0123456+".into(),
            program: "01234567".into(),
            changed: changed.into(),
            mark,
        };
        let changed = "program; environment FIRST_VARIABLE, SECOND_VARIABLE";
        let rows = [
            row("10", "ada", changed, Some(ReleaseMark::RollingOut)),
            row("9", "grace.brewster.hopper", "program", Some(ReleaseMark::InService)),
            row("8", "\u{1b}[2J", "first release", Some(ReleaseMark::Gone)),
        ];
        expect_test::expect![[r"
              #   when (UTC)        by                commit    program   changed
            > 10  2026-01-31 12:00  ada               0123456+  01234567  program;
                                                                          environment
                                                                          FIRST_VARIABLE,
                                                                          SECOND_VARIABLE
            * 9   2026-01-31 12:00  grace.brewster.…  0123456+  01234567  program
            x 8   2026-01-31 12:00  \u{1b}[2J         0123456+  01234567  first release
            * in service   > rolling out   x its program is gone
        "]]
        .assert_eq(&format!("{}\n", laid_out(&rows, Some(80)).join("\n")));
        assert!(laid_out(&rows, None)[1].ends_with(changed));
        assert!(laid_out(&rows, Some(70))[1].ends_with(changed), "too narrow to be wrapped");
    }

    #[test]
    fn times_are_in_utc() {
        assert_eq!([minute(0), minute(1_700_000_000)], ["1970-01-01 00:00", "2023-11-14 22:13"]);
        assert_eq!(minute(i64::MAX), "", "a time that AWS cannot mean");
    }
}
