//! Wildcard patterns in policies, with policy variables.

use kit::glob::{Glob, GlobToken};

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Glob);

impl Pattern {
    /// Parses a pattern without variables.
    pub fn new(text: &str) -> Pattern {
        Pattern(Glob::new(text))
    }

    /// Parses a pattern in which `${key}` stands for the literal value of a condition key, and `${*}`, `${?}` and
    /// `${$}` for these characters. Returns `None` if a variable is unterminated, or has neither a value nor a default.
    pub(super) fn with_variables(text: &str, value: impl Fn(&str) -> Option<String>) -> Option<Pattern> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (variable, behind) = after.split_once('}')?;
            pieces.extend(before.chars().map(GlobToken::of));
            pieces.extend(variable_value(variable, &value)?.chars().map(GlobToken::One));
            rest = behind;
        }
        pieces.extend(rest.chars().map(GlobToken::of));
        Some(Pattern(pieces.into_iter().collect()))
    }

    /// Parses a pattern for case-insensitive names. The text to match must be in lower case.
    pub(super) fn lower_case(text: &str) -> Pattern {
        Pattern::new(&text.to_ascii_lowercase())
    }

    /// Whether the pattern matches the whole text.
    pub fn fits(&self, text: &str) -> bool {
        self.0.matches(text)
    }
}

/// The value of the variable inside `${…}`: `*`, `?` or `$` itself, the value of its key, or else the default after the
/// comma.
pub(super) fn variable_value(variable: &str, value: impl Fn(&str) -> Option<String>) -> Option<String> {
    let (key, default) = match variable.split_once(',') {
        Some((key, default)) => (key.trim(), Some(default.trim().trim_matches('\''))),
        None => (variable, None),
    };
    match key {
        "*" | "?" | "$" => Some(key.to_owned()),
        key => value(key).or_else(|| default.map(str::to_owned)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_runs_and_single_characters() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "abbbc", true),
            ("a*b*c", "abcX", false),
            ("*ab", "aab", true),
            ("?", "é", true),
            ("a?c", "ac", false),
            ("arn:aws:s3:::images/*", "arn:aws:s3:::images/a/b", true),
            ("arn:aws:s3:::images/*", "arn:aws:s3:::images", false),
        ] {
            assert_eq!(Pattern::new(pattern).fits(text), fits, "{pattern} {text}");
        }
        // Trying every length of every `*` would practically never end.
        assert!(!Pattern::new(&"*a".repeat(60)).fits(&"a".repeat(50_000)[..59]));
    }

    #[test]
    fn variables_are_their_values_letter_for_letter() {
        let value = |key: &str| match key {
            "aws:userid" => Some("AROA:i-*".to_owned()),
            _ => None,
        };
        let pattern = |text: &str| Pattern::with_variables(text, value);
        let home = pattern("home/${aws:userid}/*").unwrap();
        assert!(home.fits("home/AROA:i-*/a") && !home.fits("home/AROA:i-1/a"));
        assert!(pattern("a${*}${?}${$}").unwrap().fits("a*?$"));
        assert!(pattern("${aws:username, 'nobody'}").unwrap().fits("nobody"));
        assert_eq!(pattern("${aws:username}"), None);
        assert_eq!(pattern("${aws:userid"), None);
    }
}
