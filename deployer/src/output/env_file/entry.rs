//! The entries of a `.env` file.

use super::quote::Quote;

/// A line of a `.env` file, or several if quotes contain line breaks.
pub(super) struct Entry<'a> {
    /// All of it, with its line ending.
    pub(super) text: &'a str,
    /// The variable, if it sets one.
    pub(super) name: Option<&'a str>,
    /// The text before the value: `export NAME=`.
    before: &'a str,
    /// The value with its quotes.
    pub(super) value: &'a str,
    /// Blanks, comment and line ending.
    after: &'a str,
}

impl<'a> Entry<'a> {
    /// Splits off the first entry of a text.
    pub(super) fn first(text: &'a str) -> (Self, &'a str) {
        let line = &text[..text.find('\n').map_or(text.len(), |end| end + 1)];
        let Some((name, before)) = assignment(line) else {
            let other = Self { text: line, name: None, before: line, value: "", after: "" };
            return (other, &text[line.len()..]);
        };
        // Quotes may close on a later line.
        let value = match quoted(&text[before.len()..]) {
            Some(value) => value,
            None => bare(&line[before.len()..]),
        };
        let value_end = before.len() + value.len();
        let end = text[value_end..].find('\n').map_or(text.len(), |end| value_end + end + 1);
        let entry = Self { text: &text[..end], name: Some(name), before, value, after: &text[value_end..end] };
        (entry, &text[end..])
    }

    /// This entry with another value.
    pub(super) fn with(&self, value: &str) -> String {
        let quote = Quote::of(self.value);
        match quote.inside(self.value) == value {
            true => self.text.into(),
            false => format!("{}{}{}", self.before, quote.around(value), self.after),
        }
    }
}

/// The name that a line sets, and the part of the line before the value.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (left, right) = line.split_once('=')?;
    let name = left.trim();
    let name = match name.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        _ => name,
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '-';
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    let value = right.trim_start_matches([' ', '\t']);
    let blanks = match value.starts_with(['#', '\r', '\n']) {
        true => 0, // they are before a comment or the end, not before a value
        false => right.len() - value.len(),
    };
    Some((name, &line[..left.len() + 1 + blanks]))
}

/// The quoted value at the beginning of a text, with its quotes.
pub(super) fn quoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| ['"', '\''].contains(c))?;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            c if c == quote => return Some(&text[..=at]),
            _ => (),
        }
    }
    None
}

/// The unquoted value at the beginning of a line: up to a comment or the end, without trailing blanks.
fn bare(line: &str) -> &str {
    let comment = [" #", "\t#"].iter().filter_map(|mark| line.find(mark)).min();
    line[..comment.unwrap_or(line.len())].trim_end()
}
