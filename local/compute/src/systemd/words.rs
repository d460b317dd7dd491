//! Lines, words and assignments of unit files.

use super::command::is_name;

/// Returns the lines without comments. A backslash at the end continues a line.
pub(super) fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (at, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.starts_with(['#', ';']) || (trimmed.is_empty() && open.is_none()) {
            continue;
        }
        let (number, before) = open.take().unwrap_or((at + 1, String::new()));
        match trimmed.strip_suffix('\\') {
            Some(part) => open = Some((number, before + part + " ")),
            None => lines.push((number, (before + trimmed).trim().to_owned())),
        }
    }
    lines.extend(open);
    lines
}

/// Splits a line into words: quotes keep blanks together, backslashes escape, `%%` is a percent sign.
pub(super) fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (_, '\\') => {
                let escaped = rest.next().ok_or("the line ends in a backslash")?;
                word.get_or_insert_default().push(unescape(escaped));
            }
            (_, '%') => {
                rest.next_if_eq(&'%').ok_or("specifiers such as %i do not exist here")?;
                word.get_or_insert_default().push('%');
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    match quote {
        Some(quote) => Err(format!("the quote {quote} is not closed")),
        None => {
            words.extend(word);
            Ok(words)
        }
    }
}

fn unescape(c: char) -> char {
    match c {
        'n' => '\n',
        't' => '\t',
        's' => ' ',
        other => other,
    }
}

pub(super) fn assignment(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    is_name(name).then(|| (name.to_owned(), value.to_owned()))
}
