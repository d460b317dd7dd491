//! Values that messages must not show, in whatever notation they occur.

use std::collections::BTreeSet;

/// Shorter values reveal nothing, and occur everywhere.
const SHORTEST_SECRET: usize = 6;

/// The replacement for a hidden value.
const MASK: &str = "(hidden)";

/// Values that messages must not show.
#[derive(Debug, Clone, Default)]
pub struct Hidden(BTreeSet<String>);

impl Hidden {
    /// Adds values. Of `Bearer TOKEN`, the token is one, too.
    pub fn add<'a>(&mut self, values: impl Iterator<Item = &'a str>) {
        let values = values.flat_map(|value| [value, value.rsplit(' ').next().unwrap_or(value)]);
        self.0.extend(values.filter(|value| value.len() >= SHORTEST_SECRET).map(str::to_owned));
    }

    /// A message without these values: plain, percent-encoded as in URLs and forms, or escaped as in JSON.
    pub fn mask(&self, message: &str) -> String {
        let (mut masked, mut rest) = (String::new(), message);
        while let Some(letter) = rest.chars().next() {
            // The longest one: one value may contain another.
            match self.0.iter().filter_map(|value| occurrence(rest, value)).max() {
                Some(length) => {
                    masked.push_str(MASK);
                    rest = &rest[length..];
                }
                None => {
                    masked.push(letter);
                    rest = &rest[letter.len_utf8()..];
                }
            }
        }
        masked
    }
}

/// Returns the length of a value at the start of a text; each of its characters may be in a notation of its own, since
/// URLs escape only some of them.
fn occurrence(text: &str, value: &str) -> Option<usize> {
    // Most places of a long text begin no value.
    let begins = |first: char| text.starts_with([first, '%', '\\']) || first == ' ' && text.starts_with('+');
    if !value.chars().next().is_some_and(begins) {
        return None;
    }
    // A value may contain escapes itself, so that several readings are possible.
    let mut ends = BTreeSet::from([0]);
    for letter in value.chars() {
        ends = ends.into_iter().flat_map(|at| notations(&text[at..], letter).map(move |length| at + length)).collect();
        if ends.is_empty() {
            return None;
        }
    }
    ends.last().copied()
}

/// Returns the lengths of the notations in which a text may begin with this character.
fn notations(text: &str, letter: char) -> impl Iterator<Item = usize> {
    let plain = text.starts_with(letter).then(|| letter.len_utf8());
    let of_space = (letter == ' ' && text.starts_with('+')).then_some(1);
    let mut utf8 = [0; 4];
    let percent = escaped(text, "%", 2, letter.encode_utf8(&mut utf8).bytes().map(u32::from));
    let mut utf16 = [0; 2];
    let unicode = escaped(text, "\\u", 4, letter.encode_utf16(&mut utf16).iter().map(|unit| u32::from(*unit)));
    let short = text.strip_prefix('\\').is_some_and(|rest| match letter {
        '"' | '\\' | '/' => rest.starts_with(letter),
        '\u{8}' => rest.starts_with('b'),
        '\u{c}' => rest.starts_with('f'),
        '\n' => rest.starts_with('n'),
        '\r' => rest.starts_with('r'),
        '\t' => rest.starts_with('t'),
        _ => false,
    });
    [plain, of_space, percent, unicode, short.then_some(2)].into_iter().flatten()
}

/// Returns the length of these numbers at the start of a text, each after `prefix` in `digits` hexadecimal digits.
fn escaped(text: &str, prefix: &str, digits: usize, numbers: impl Iterator<Item = u32>) -> Option<usize> {
    let mut rest = text;
    for number in numbers {
        let (found, after) = rest.strip_prefix(prefix)?.split_at_checked(digits)?;
        let is_hex = found.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !is_hex || u32::from_str_radix(found, 16) != Ok(number) {
            return None;
        }
        rest = after;
    }
    Some(text.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use percent_encoding::{CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

    use super::*;

    fn masked(values: &[&str], message: &str) -> String {
        let mut hidden = Hidden::default();
        hidden.add(values.iter().copied());
        hidden.mask(message)
    }

    #[test]
    fn a_value_is_hidden_in_every_notation() {
        let secret = "a/b+c \"d\"\\ é\n😀=%41";
        let json = serde_json::to_string(secret).unwrap();
        for shown in [
            secret.to_owned(),
            utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
            utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string().to_lowercase(),
            utf8_percent_encode(secret, CONTROLS).to_string(),
            json[1..json.len() - 1].to_owned(),
            as_a_form(secret),
            r#"a\/b+c \u0022d\"\\ \u00e9\u000a\ud83d\ude00=%41"#.to_owned(),
        ] {
            assert_eq!(masked(&[secret], &format!("<{shown}>")), "<(hidden)>", "{shown}");
        }
    }

    /// Encodes as browsers encode forms: a plus for a space.
    fn as_a_form(text: &str) -> String {
        utf8_percent_encode(text, NON_ALPHANUMERIC).to_string().replace("%20", "+")
    }

    #[test]
    fn a_value_with_escapes_of_its_own_is_hidden_as_it_is_and_escaped_again() {
        let secret = "%25%2Fkey%25";
        assert_eq!(masked(&[secret], secret), "(hidden)");
        assert_eq!(masked(&[secret], "%2525%252Fkey%2525."), "(hidden).");
    }

    #[test]
    fn the_longest_value_is_hidden_and_everything_else_is_shown() {
        assert_eq!(masked(&["abcdef", "abcdefgh"], "abcdefgh abcdef abcde é"), "(hidden) (hidden) abcde é");
        assert_eq!(masked(&["Bearer abcdefgh", "short"], "abcdefgh short Bearer"), "(hidden) short Bearer");
        assert_eq!(masked(&[" abcde"], "x+abcde x%20abcde x\\u0020abcde"), "x(hidden) x(hidden) x(hidden)");
        for other in ["%", "%4", "%zz", "\\u", "\\u00", "%6", "abcde%6", "abcde%+7"] {
            assert_eq!(masked(&["abcdeg"], other), other);
        }
    }
}
