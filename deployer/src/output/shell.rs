//! Words of a POSIX shell.

use std::path::Path;

/// A value as one word, always quoted: a plain word needs no quotes, but loses nothing by them.
pub fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// An option with its value, after a space.
pub fn option(name: &str, value: &str) -> String {
    format!(" --{name} {}", quoted(value))
}

/// `--file`, after a space; nothing without a file.
pub fn file_option(file: Option<&Path>) -> String {
    file.map(|file| option("file", &file.display().to_string())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_quote_within_a_word_is_escaped() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
