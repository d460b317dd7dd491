//! The constraints of members in AWS's models, and the words in which services report a violation.

use std::ops::RangeInclusive;

/// Checks a length: of a text in characters, or of a list.
///
/// Errors: the message of a model validation error. It does not contain the value, which may be a secret.
pub fn bound(member: &str, length: usize, range: RangeInclusive<usize>) -> Result<(), String> {
    let constraint = match length {
        length if length < *range.start() => format!("greater than or equal to {}", range.start()),
        length if length > *range.end() => format!("less than or equal to {}", range.end()),
        _ => return Ok(()),
    };
    Err(violated(&format!("Value at '{member}'"), &format!("Member must have length {constraint}")))
}

/// Checks a number.
pub fn within(member: &str, number: i64, range: RangeInclusive<i64>) -> Result<(), String> {
    let constraint = match number {
        number if number < *range.start() => format!("greater than or equal to {}", range.start()),
        number if number > *range.end() => format!("less than or equal to {}", range.end()),
        _ => return Ok(()),
    };
    Err(violated(&format!("Value '{number}' at '{member}'"), &format!("Member must have value {constraint}")))
}

/// Checks that a value is one of an enumeration.
pub fn one_of(member: &str, value: &str, known: &[&str]) -> Result<(), String> {
    match known.contains(&value) {
        true => Ok(()),
        false => {
            let constraint = format!("Member must satisfy enum value set: [{}]", known.join(", "));
            Err(violated(&format!("Value '{value}' at '{member}'"), &constraint))
        }
    }
}

/// The message for a required member that is missing.
pub fn missing(member: &str) -> String {
    violated(&format!("Value at '{member}'"), "Member must not be null")
}

/// The name of a member in messages, where it begins with a lower case letter.
pub fn member(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + letters.as_str())
}

fn violated(value: &str, constraint: &str) -> String {
    format!("1 validation error detected: {value} failed to satisfy constraint: {constraint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_is_worded_as_on_aws() {
        const START: &str = "1 validation error detected: Value";
        let failed = "failed to satisfy constraint: Member must";
        for (length, expected) in [
            (0, Some("have length greater than or equal to 1")),
            (1, None),
            (3, None),
            (4, Some("have length less than or equal to 3")),
        ] {
            let expected = expected.map(|expected| format!("{START} at 'a' {failed} {expected}"));
            assert_eq!(bound("a", length, 1..=3).err(), expected);
        }
        for (number, expected) in [
            (0, Some("have value greater than or equal to 1")),
            (1, None),
            (3, None),
            (4, Some("have value less than or equal to 3")),
        ] {
            let expected = expected.map(|expected| format!("{START} '{number}' at 'a' {failed} {expected}"));
            assert_eq!(within("a", number, 1..=3).err(), expected);
        }
        assert_eq!(one_of("a", "x", &["x", "y"]), Ok(()));
        let text = format!("{START} 'X' at 'a' {failed} satisfy enum value set: [x, y]");
        assert_eq!(one_of("a", "X", &["x", "y"]), Err(text));
        assert_eq!([member("SecretId"), member("")], ["secretId", ""]);
        assert_eq!(missing("a"), format!("{START} at 'a' {failed} not be null"));
    }
}
