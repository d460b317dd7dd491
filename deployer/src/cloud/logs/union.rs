//! Finds lines that are in several documents: in a log group and in reports, or in several reports.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use super::{Found, LogLine};

/// How many different lines are remembered. A report has the last hundred lines of an instance.
const REMEMBERED: usize = 10_000;

/// The union of documents that contain the same lines: a line is admitted as often as it is in the one that has it
/// most often.
#[derive(Default)]
pub struct Union {
    lines: HashMap<u64, Occurrences>,
    /// The same lines, oldest first.
    order: VecDeque<u64>,
}

/// How often a line was admitted, and how often it was in each document.
#[derive(Default)]
struct Occurrences {
    admitted: usize,
    /// By the document's name; the log has none.
    in_each: Vec<(String, usize)>,
}

impl Union {
    /// Whether a line is new. Equal lines of the same second are distinguished by their ordinal.
    pub fn admits(&mut self, line: &LogLine) -> bool {
        let document = line.found.document();
        let key = key(line);
        let occurrences = self.lines.entry(key).or_insert_with(|| {
            self.order.push_back(key);
            Occurrences::default()
        });
        let at = occurrences.in_each.iter().position(|(name, _)| name == document).unwrap_or_else(|| {
            occurrences.in_each.push((document.to_owned(), 0));
            occurrences.in_each.len() - 1
        });
        let count = &mut occurrences.in_each[at].1;
        *count += 1;
        let is_new = *count > occurrences.admitted;
        occurrences.admitted += usize::from(is_new);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.lines.remove(&oldest);
        }
        is_new
    }
}

/// Identifies a line by its instance, its text and the second of its time: reports have no fractions. They come from
/// `journalctl`, which prints no colours, and eight spaces for a tab (docs/aws.md §8.5).
fn key(line: &LogLine) -> u64 {
    let mut hasher = DefaultHasher::new();
    let plain = console::strip_ansi_codes(&line.text).replace('\t', "        ");
    (line.place, &line.stream, line.at_ms.div_euclid(1000), plain.trim_end()).hash(&mut hasher);
    hasher.finish()
}

impl Found {
    /// The name of the document.
    fn document(&self) -> &str {
        match self {
            Found::Log(_) => "",
            Found::Report(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at_ms: i64, found: Found, text: &str) -> LogLine {
        LogLine { at_ms, place: 0, stream: "i-1".into(), found, text: text.into() }
    }

    #[test]
    fn a_line_in_a_log_and_in_reports_is_returned_once() {
        let mut union = Union::default();
        let mut admits =
            |document: &str, at_ms, text: &str| union.admits(&line(at_ms, Found::Report(document.into()), text));
        // Twice in the log, twice in one report, three times in another.
        assert_eq!([admits("", 1_250, "a"), admits("", 1_900, "a"), admits("", 1_900, "b")], [true, true, true]);
        assert_eq!([admits("started", 1_000, "a"), admits("started", 1_000, "a")], [false, false]);
        assert_eq!([(); 3].map(|()| admits("exit", 1_000, "a")), [false, false, true]);
        assert!(admits("exit", 2_000, "a"), "another second");
        assert!(!admits("", 1_300, "a"), "the third in the log was in a report");
        assert!(admits("", 1_300, "a"), "the fourth was nowhere");
    }

    #[test]
    fn a_line_is_the_same_as_journalctl_prints_it() {
        for (logged, reported) in [("a\tb", "a        b"), ("\u{1b}[1;32mINFO\u{1b}[0m Zoé", "INFO Zoé"), ("a \t", "a")]
        {
            let mut union = Union::default();
            assert!(union.admits(&line(1_250, Found::Log(String::new()), logged)));
            assert!(!union.admits(&line(1_000, Found::Report("exit".into()), reported)), "{logged:?}");
        }
    }

    #[test]
    fn old_lines_are_forgotten() {
        let mut union = Union::default();
        for number in 0..2 * REMEMBERED as i64 {
            assert!(union.admits(&line(number * 1000, Found::Log(String::new()), "a")));
        }
        assert_eq!((union.lines.len(), union.order.len()), (REMEMBERED, REMEMBERED));
    }
}
