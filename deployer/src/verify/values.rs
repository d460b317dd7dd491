//! The values of variables and references during a run.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::hidden::Hidden;
use crate::config::verify::{RUN, Word, Words};

/// Everything but the unreserved characters of RFC 3986 §2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The values of variables and references.
#[derive(Debug, Clone)]
pub struct Values {
    base: String,
    variables: BTreeMap<String, String>,
    references: BTreeMap<String, String>,
    /// Values that messages must not show.
    hidden: Hidden,
}

impl Values {
    /// The values at the start of a run: the address that paths begin from, and the references by their paths.
    pub fn new(base: &str, references: BTreeMap<String, String>) -> Values {
        let run = format!("{:08x}", RandomState::new().hash_one(std::process::id()) >> 32);
        let variables = BTreeMap::from([(RUN.to_owned(), run)]);
        Values { base: base.to_owned(), variables, references, hidden: Hidden::default() }
    }

    /// Whether this variable is set.
    pub fn has(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    /// Sets a variable. Its value may be a signed URL or a token.
    pub fn set(&mut self, name: &str, value: String) {
        self.hide([value.as_str()].into_iter());
        self.variables.insert(name.to_owned(), value);
    }

    /// Makes messages not show these values.
    pub fn hide<'a>(&mut self, values: impl Iterator<Item = &'a str>) {
        self.hidden.add(values);
    }

    /// A message without hidden values.
    pub fn hidden(&self, message: &str) -> String {
        self.hidden.mask(message)
    }

    /// A text with its values.
    pub fn fill(&self, text: &Words) -> String {
        text.words().iter().map(|word| self.of(word)).collect()
    }

    /// A URL with its values, which are escaped unless they begin it. A path begins from the service's address.
    pub fn url(&self, target: &Words) -> String {
        let mut url = String::new();
        if target.words().first().is_some_and(Word::is_path) {
            url.push_str(&self.base);
        }
        for word in target.words() {
            match word {
                Word::Literal(text) => url.push_str(text),
                _ if url.is_empty() => url.push_str(self.of(word)),
                _ => url.extend(utf8_percent_encode(self.of(word), RESERVED)),
            }
        }
        url
    }

    /// The parts of a pattern between its `*`. A `*` within a value is an ordinary character.
    pub fn pattern(&self, text: &Words) -> Vec<String> {
        let mut parts = vec![String::new()];
        for word in text.words() {
            let mut last = |text: &str| parts.last_mut().expect("there is one").push_str(text);
            match word {
                Word::Literal(text) => {
                    let mut literals = text.split('*');
                    last(literals.next().unwrap_or_default());
                    parts.extend(literals.map(str::to_owned));
                }
                _ => last(self.of(word)),
            }
        }
        parts
    }

    /// Variables and references are checked when the file is read; a variable that was not captured is empty.
    fn of<'a>(&'a self, word: &'a Word) -> &'a str {
        match word {
            Word::Literal(text) => text,
            Word::Variable(name, _) => self.variables.get(name).map_or("", String::as_str),
            Word::Reference(reference) => self.references.get(&reference.path()).map_or("", String::as_str),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Place;

    fn words(text: &str) -> Words {
        Words::parse(text, |_| Place::default()).unwrap()
    }

    fn values() -> Values {
        let mut values = Values::new("http://lb", BTreeMap::from([("services.web.url".into(), "http://other".into())]));
        values.set("id", "a/b é*".into());
        values.set("signed", "https://bucket/key?X-Amz-Signature=0123".into());
        values
    }

    #[test]
    fn values_in_a_url_are_escaped_unless_they_begin_it() {
        let url = |text: &str| values().url(&words(text));
        assert_eq!(url("/posts/${id}"), "http://lb/posts/a%2Fb%20%C3%A9%2A");
        assert_eq!(url("${signed}"), "https://bucket/key?X-Amz-Signature=0123");
        assert_eq!(url("${services.web.url}/x"), "http://other/x");
        assert_eq!(url("https://example.org/${id}"), "https://example.org/a%2Fb%20%C3%A9%2A");
    }

    #[test]
    fn only_a_written_star_matches_any_text() {
        assert_eq!(values().pattern(&words("a*${id}*")), ["a", "a/b é*", ""]);
        assert_eq!(values().pattern(&words("")), [""]);
    }

    #[test]
    fn captured_values_and_headers_are_not_shown() {
        let mut values = values();
        values.hide(["Bearer abcdefgh", "short"].into_iter());
        let shown = values.hidden("https://bucket/key?X-Amz-Signature=0123 abcdefgh short");
        assert_eq!(shown, "(hidden) (hidden) short");
    }

    #[test]
    fn each_run_has_a_name_of_its_own() {
        let run = |values: &Values| values.fill(&words("${run}"));
        assert_eq!(run(&values()).len(), 8);
        assert_ne!(run(&values()), run(&values()));
    }
}
