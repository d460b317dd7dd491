//! The rules for tags that all services share; each has its own error messages (docs/aws.md §2.5).

use std::collections::BTreeSet;

/// The maximum length of a tag's key in characters.
const LONGEST_KEY: usize = 128;
/// The maximum length of a tag's value in characters.
const LONGEST_VALUE: usize = 256;
/// The permitted characters other than letters, digits and whitespace, if a service checks them.
const SIGNS: &str = "_.:/=+-@";
/// The permitted characters as a pattern, as in the services' models.
const PATTERN: &str = r"[\p{L}\p{Z}\p{N}_.:/=+\-@]";

/// A service's rules, in addition to those for all: keys have 1 to 128 characters and do not begin with `aws:`; values
/// have up to 256 characters.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The maximum number of tags of a resource, not counting AWS's own.
    pub most: usize,
    /// Whether keys are case-insensitive.
    pub ignores_case: bool,
    /// Whether characters other than letters, digits, whitespace and a few signs are refused.
    pub checks_letters: bool,
}

/// The rules of most services.
pub const USUAL: Rules = Rules { most: 50, ignores_case: false, checks_letters: false };

/// The rules of services that also check characters.
pub const STRICT: Rules = Rules { checks_letters: true, ..USUAL };

/// The first error in a list of tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// The key of the nth tag, counted from 1, is empty, is too long or has a character that is not permitted.
    Key(usize, String, Bound),
    /// The value of the nth tag, whose key comes first, is too long or has a character that is not permitted.
    Value(usize, String, String, Bound),
    /// The key begins with `aws:`, which is reserved for AWS.
    Reserved(String),
    /// The key occurs twice.
    Twice(String),
    /// The resource would exceed its maximum number of tags.
    TooMany,
}

/// The rule that a key or value violates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// It is empty.
    Least,
    /// It is longer than this many characters.
    Most(usize),
    /// It has a character that is not permitted.
    Letters,
}

impl Rules {
    /// Checks tags to be added to a resource which already has the keys in `there`.
    ///
    /// Checks one tag at a time, and their number last, as S3 does.
    pub fn check<'a, 'b>(
        &self,
        added: impl IntoIterator<Item = (&'a str, &'a str)>,
        there: impl IntoIterator<Item = &'b str>,
    ) -> Result<(), Flaw> {
        let folded = |key: &str| if self.ignores_case { key.to_lowercase() } else { key.to_owned() };
        let mut keys = BTreeSet::new();
        for (at, (key, value)) in (1..).zip(added) {
            if let Some(bound) = self.beyond(key, 1, LONGEST_KEY) {
                return Err(Flaw::Key(at, key.to_owned(), bound));
            }
            if let Some(bound) = self.beyond(value, 0, LONGEST_VALUE) {
                return Err(Flaw::Value(at, key.to_owned(), value.to_owned(), bound));
            }
            if is_reserved(key) {
                return Err(Flaw::Reserved(key.to_owned()));
            }
            if !keys.insert(folded(key)) {
                return Err(Flaw::Twice(key.to_owned()));
            }
        }
        keys.extend(there.into_iter().filter(|key| !is_reserved(key)).map(folded));
        if keys.len() > self.most { Err(Flaw::TooMany) } else { Ok(()) }
    }

    fn beyond(&self, text: &str, least: usize, most: usize) -> Option<Bound> {
        let plain = |letter: char| {
            letter.is_alphanumeric() || (letter.is_whitespace() && !letter.is_control()) || SIGNS.contains(letter)
        };
        match text.chars().count() {
            length if length < least => Some(Bound::Least),
            length if length > most => Some(Bound::Most(most)),
            _ if self.checks_letters && !text.chars().all(plain) => Some(Bound::Letters),
            _ => None,
        }
    }
}

/// Whether a key is one of AWS's own, in any case.
fn is_reserved(key: &str) -> bool {
    key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:"))
}

impl Flaw {
    /// Sets the position of the tag, counted from 1.
    pub fn at(self, at: usize) -> Flaw {
        match self {
            Flaw::Key(_, key, bound) => Flaw::Key(at, key, bound),
            Flaw::Value(_, key, value, bound) => Flaw::Value(at, key, value, bound),
            other => other,
        }
    }

    /// Returns the model validation error of services with lists of tags; `None` if the flaw is not one. `list` is the
    /// list's name.
    pub fn in_list(&self, list: &str) -> Option<String> {
        let (at, field, text, bound) = match self {
            Flaw::Key(at, key, bound) => (at, "key", key, bound),
            Flaw::Value(at, _, value, bound) => (at, "value", value, bound),
            _ => return None,
        };
        let constraint = match bound {
            Bound::Least => "Member must have length greater than or equal to 1".to_owned(),
            Bound::Most(most) => format!("Member must have length less than or equal to {most}"),
            Bound::Letters => {
                let times = if field == "key" { '+' } else { '*' };
                format!("Member must satisfy regular expression pattern: {PATTERN}{times}")
            }
        };
        let text = format!("Value '{text}' at '{list}.{at}.member.{field}' failed to satisfy constraint: {constraint}");
        Some(format!("1 validation error detected: {text}"))
    }

    /// Returns the model validation error of services with maps of tags; `None` if the flaw is not one.
    pub fn in_map(&self) -> Option<String> {
        let (shown, what, least, most) = match self {
            Flaw::Key(_, key, _) => (key.clone(), "Map keys", 1, LONGEST_KEY),
            Flaw::Value(_, key, value, _) => (format!("{key}={value}"), "Map value", 0, LONGEST_VALUE),
            _ => return None,
        };
        let constraint = format!(
            "[Member must have length less than or equal to {most}, Member must have length greater than or equal to {least}, Member must satisfy regular expression pattern: ^({PATTERN}*)$]"
        );
        Some(format!(
            "1 validation error detected: Value '{{{shown}}}' at 'tags' failed to satisfy constraint: {what} must satisfy constraint: {constraint}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Rules = Rules { most: 2, ignores_case: true, checks_letters: true };

    #[test]
    fn keys_and_values_have_limits_of_length_and_characters() {
        let (key, value) = ("é".repeat(128), "é".repeat(256));
        assert_eq!(USUAL.check([(key.as_str(), value.as_str()), ("k", "")], []), Ok(()));
        let (key, value) = ("k".repeat(129), "v".repeat(257));
        let check = |rules: Rules, key: &str, value: &str| rules.check([("a", "b"), (key, value)], []).unwrap_err();
        assert_eq!(check(USUAL, "", "v"), Flaw::Key(2, String::new(), Bound::Least));
        assert_eq!(check(USUAL, &key, "v"), Flaw::Key(2, key.clone(), Bound::Most(128)));
        assert_eq!(check(USUAL, "k", &value), Flaw::Value(2, "k".to_owned(), value.clone(), Bound::Most(256)));
        assert_eq!(USUAL.check([("k(", "a\tb")], []), Ok(()));
        assert_eq!(check(SMALL, "k(", "v"), Flaw::Key(2, "k(".to_owned(), Bound::Letters));
        assert_eq!(check(SMALL, "k", "a\tb"), Flaw::Value(2, "k".to_owned(), "a\tb".to_owned(), Bound::Letters));
        assert_eq!(SMALL.check([("deployer:stack", "a b_./=+-@é1")], []), Ok(()));
    }

    #[test]
    fn keys_are_neither_reserved_nor_there_twice() {
        for key in ["aws:a", "AWS:a"] {
            assert_eq!(USUAL.check([(key, "v")], []), Err(Flaw::Reserved(key.to_owned())));
        }
        assert_eq!(USUAL.check([("aws", ""), ("my:aws:a", ""), ("é:é", "")], []), Ok(()));
        assert_eq!(USUAL.check([("a", ""), ("a", "")], []), Err(Flaw::Twice("a".to_owned())));
        assert_eq!(USUAL.check([("a", ""), ("A", "")], []), Ok(()));
        assert_eq!(SMALL.check([("a", ""), ("A", "")], []), Err(Flaw::Twice("A".to_owned())));
    }

    #[test]
    fn an_existing_tag_counts_once_and_reserved_tags_do_not_count() {
        assert_eq!(SMALL.check([("a", ""), ("b", "")], ["A", "aws:x"]), Ok(()));
        assert_eq!(SMALL.check([("a", ""), ("b", "")], ["c"]), Err(Flaw::TooMany));
        // An invalid tag takes precedence over their number.
        assert_eq!(SMALL.check([("a", ""), ("b", ""), ("c", ""), ("a", "")], []), Err(Flaw::Twice("a".to_owned())));
    }

    #[test]
    fn tags_are_read_from_lists_and_maps() {
        let flaw = Flaw::Key(6, "k".to_owned(), Bound::Most(128));
        assert_eq!(
            flaw.in_list("tags").unwrap(),
            "1 validation error detected: Value 'k' at 'tags.6.member.key' failed to satisfy constraint: Member must have length less than or equal to 128"
        );
        let flaw = Flaw::Value(1, "k".to_owned(), "v".to_owned(), Bound::Most(256));
        assert!(flaw.in_map().unwrap().starts_with("1 validation error detected: Value '{k=v}' at 'tags' failed to"));
        assert_eq!((Flaw::TooMany.in_list("tags"), Flaw::TooMany.in_map()), (None, None));
    }
}
