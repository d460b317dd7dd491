//! Errors of a description: message, place, snippet and remedy, all reported at once.

use std::fmt;

use crate::output::report::is_active;

/// A place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The line, from 1; 0 is the file as a whole.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl From<&serde_yaml::Location> for Place {
    fn from(location: &serde_yaml::Location) -> Self {
        Place { line: location.line() as usize, column: location.column() as usize }
    }
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The place.
    pub place: Place,
    /// The problem.
    pub message: String,
    /// The remedy.
    pub help: Option<String>,
}

/// Everything that is wrong with a file.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Errors {
    /// The file's name, as the user gave it.
    pub file: String,
    /// Its text, for snippets.
    pub text: String,
    /// The problems, in the order of their places.
    pub problems: Vec<Problem>,
}

/// The most problems shown at once; more would scroll the first ones away.
const SHOWN: usize = 20;
/// The most characters shown of a line, around the caret if it is longer.
const WIDEST: usize = 120;
/// The most characters shown of a message, which may quote a value of any length.
const LONGEST: usize = 300;

/// Displays the problems one after the other. The first has no `error:` prefix; the caller prints it.
impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<&str> = self.text.lines().collect();
        for (index, problem) in self.problems.iter().take(SHOWN).enumerate() {
            if index > 0 {
                write!(f, "\nerror: ")?;
            }
            self.show(f, &lines, problem)?;
        }
        match self.problems.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => writeln!(f, "\n… and {more} more"),
        }
    }
}

impl Errors {
    fn show(&self, f: &mut fmt::Formatter<'_>, lines: &[&str], problem: &Problem) -> fmt::Result {
        let Place { line, column } = problem.place;
        writeln!(f, "{}", shortened(&problem.message))?;
        match line {
            0 => writeln!(f, " --> {}", self.file)?,
            _ => {
                let number = line.to_string();
                let gap = " ".repeat(number.len());
                let (snippet, indent) = around(lines.get(line - 1).copied().unwrap_or_default(), column);
                writeln!(f, "{gap}--> {}:{line}:{column}", self.file)?;
                writeln!(f, "{gap} |")?;
                writeln!(f, "{number} | {snippet}")?;
                writeln!(f, "{gap} | {}^", " ".repeat(indent))?;
            }
        }
        match &problem.help {
            Some(help) => writeln!(f, "  help: {}", shortened(help)),
            None => Ok(()),
        }
    }
}

/// Returns the part of a line around a column, and how far from its left end the column is on a terminal.
fn around(line: &str, column: usize) -> (String, usize) {
    // Control characters are shown as blanks, tabs as arrows.
    let shown = |c| match c {
        '\t' => '→',
        c if is_active(c) => ' ',
        c => c,
    };
    let plain: Vec<char> = line.chars().map(shown).collect();
    let at = column.saturating_sub(1);
    if plain.len() <= WIDEST {
        return (plain.iter().collect(), width(&plain, at));
    }
    let from = at.saturating_sub(WIDEST / 2).min(plain.len() - WIDEST);
    let part = &plain[from..from + WIDEST];
    let (before, after) = (if from > 0 { "…" } else { "" }, if from + WIDEST < plain.len() { "…" } else { "" });
    let text: String = part.iter().collect();
    (format!("{before}{text}{after}"), width(part, at - from) + before.chars().count())
}

/// The width of the first `count` characters on a terminal, where some take two columns and others none. What is beyond
/// the end takes one each.
fn width(text: &[char], count: usize) -> usize {
    let before: String = text.iter().take(count).collect();
    console::measure_text_width(&before) + count.saturating_sub(text.len())
}

/// A message on one line, which may quote a value of any length with any characters.
fn shortened(message: &str) -> String {
    let mut shown = String::new();
    for c in message.chars().take(LONGEST) {
        if is_active(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    if message.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// Returns the known word that an unknown one most likely means.
pub fn did_you_mean<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A single letter is not enough to guess from, and the cost of comparing grows with both lengths.
    let letters = unknown.chars().count();
    let close = if letters > 1 { (letters.min(64) / 3).max(1) } else { 0 };
    known
        .into_iter()
        .filter(|word| letters.abs_diff(word.chars().count()) <= close)
        .map(|word| (strsim::osa_distance(&unknown.to_lowercase(), &word.to_lowercase()), word))
        .filter(|(distance, _)| *distance <= close)
        .min()
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_gets_a_suggestion_and_another_word_does_not() {
        assert_eq!(did_you_mean("bukets", ["buckets", "tables"]), Some("buckets"));
        assert_eq!(did_you_mean("tabels", ["buckets", "tables"]), Some("tables"));
        assert_eq!(did_you_mean("queues", ["buckets", "tables"]), None);
        assert_eq!(did_you_mean("x", ["a", "b"]), None);
    }

    #[test]
    fn of_a_long_line_the_part_around_the_caret_is_shown() {
        assert_eq!(around("name: é\tx", 9), ("name: é→x".into(), 8));
        let (shown, at) = around(&format!("{}X{}", "a".repeat(500), "b".repeat(500)), 501);
        assert_eq!((shown.chars().count(), shown.chars().nth(at)), (122, Some('X')));
        assert_eq!(around("", 5), (String::new(), 4));
        // Two characters of two columns, and an accent of none.
        assert_eq!(around("名前: x", 5), ("名前: x".into(), 6));
        assert_eq!(around("e\u{301}: x", 5), ("e\u{301}: x".into(), 3));
    }

    #[test]
    fn a_message_cannot_contain_terminal_commands() {
        assert_eq!(shortened("unknown key `\u{1b}[2J`"), "unknown key `\\u{1b}[2J`");
        assert_eq!(shortened(&"a".repeat(10_000)).chars().count(), LONGEST + 1);
    }
}
