//! The command of a unit.

use std::collections::BTreeMap;

use super::words::words;

/// A command line of a unit, with the meaning of its prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub words: Vec<String>,
    /// `-`: its failure is ignored.
    pub may_fail: bool,
    /// `:`: variables are not expanded.
    pub literal: bool,
}

impl Command {
    pub(super) fn parse(value: &str) -> Result<Command, String> {
        let line = value.trim_start_matches(['-', '+', '@', '!', ':']);
        let prefixes = &value[..value.len() - line.len()];
        let mut words = words(line)?;
        if prefixes.contains('@') && words.len() > 1 {
            // The second word is only `argv[0]`.
            words.remove(1);
        }
        match words.first() {
            Some(program) if program.starts_with('/') => (),
            Some(program) => return Err(format!("'{program}' is not an absolute path")),
            None => return Err("the command is empty".to_owned()),
        }
        Ok(Command { words, may_fail: prefixes.contains('-'), literal: prefixes.contains(':') })
    }

    /// Returns the words with their variables expanded. Like systemd, splits the value if `$NAME` is a word of its own.
    pub fn expanded(&self, environment: &BTreeMap<String, String>) -> Vec<String> {
        if self.literal {
            return self.words.clone();
        }
        let mut expanded = Vec::new();
        for word in &self.words {
            match word.strip_prefix('$').filter(|name| is_name(name)) {
                Some(name) => {
                    let value = environment.get(name).map(String::as_str).unwrap_or_default();
                    expanded.extend(value.split_whitespace().map(str::to_owned));
                }
                None => expanded.push(substitute(word, environment)),
            }
        }
        expanded
    }
}

fn substitute(word: &str, environment: &BTreeMap<String, String>) -> String {
    let mut result = String::new();
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        result += &rest[..at];
        rest = &rest[at..];
        let braced = rest.strip_prefix("${").and_then(|inner| inner.split_once('}')).filter(|(name, _)| is_name(name));
        if let Some((name, after)) = braced {
            result += environment.get(name).map(String::as_str).unwrap_or_default();
            rest = after;
        } else if let Some(after) = rest.strip_prefix("$$") {
            result.push('$');
            rest = after;
        } else {
            result.push('$');
            rest = &rest[1..];
        }
    }
    result + rest
}

pub(super) fn is_name(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
