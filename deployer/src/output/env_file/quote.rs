//! The quotes of values, in each format.

use super::entry::quoted;

/// The quotes around a value.
#[derive(Clone, Copy)]
pub(super) enum Quote {
    None,
    Single,
    Double,
}

impl Quote {
    pub(super) fn of(value: &str) -> Self {
        match value.chars().next() {
            Some('\'') if value.len() > 1 && value.ends_with('\'') => Self::Single,
            Some('"') if value.len() > 1 && value.ends_with('"') => Self::Double,
            _ => Self::None,
        }
    }

    /// Whether a value begins with a quote and does not end with it.
    pub(super) fn is_open(value: &str) -> bool {
        value.starts_with(['"', '\'']) && quoted(value) != Some(value)
    }

    /// The value that a reader sees within these quotes.
    pub(super) fn inside(self, value: &str) -> String {
        match self {
            Self::None => value.into(),
            Self::Single => value[1..value.len() - 1].into(),
            Self::Double => unescaped(&value[1..value.len() - 1]),
        }
    }

    /// A value in these quotes, or in the next stronger ones if these cannot hold it.
    pub(super) fn around(self, value: &str) -> String {
        match self {
            Self::None if is_plain(value) => value.into(),
            Self::None | Self::Single if !value.contains('\'') => format!("'{value}'"),
            Self::None | Self::Single | Self::Double => format!("\"{}\"", escaped(value)),
        }
    }
}

/// Whether every reader accepts these characters unquoted.
fn is_plain(value: &str) -> bool {
    value.chars().all(|c| c.is_ascii_alphanumeric() || "_-./:@%+,=".contains(c))
}

/// Characters with a meaning for shells and dotenv readers within double quotes.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        if ['\\', '"', '$', '`'].contains(&c) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

fn unescaped(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => value.extend(characters.next()),
            c => value.push(c),
        }
    }
    value
}

/// A YAML string: plain if every version of YAML reads it as a string, otherwise as JSON, which is a subset of YAML.
pub(super) fn for_yaml(value: &str) -> String {
    const WORDS: &[&str] = &["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let plain = value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.chars().all(|c| c.is_ascii_alphanumeric() || "_-./:".contains(c))
        && !value.ends_with(':')
        && !WORDS.contains(&value.to_ascii_lowercase().as_str());
    match plain {
        true => value.into(),
        false => serde_json::to_string(value).expect("a string is JSON"),
    }
}
