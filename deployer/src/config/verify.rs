//! The requests of `deployer verify`, and texts with variables whose values a run finds out.

use std::{ops::RangeInclusive, path::PathBuf};

use serde_json::{Map, Value};

use super::{Name, Piece, Place, Problem, Reference, Text};

/// The requests that verify a running stack.
#[derive(Debug, Clone, PartialEq)]
pub struct Verify {
    /// The service whose address paths begin from; the only one if absent.
    pub service: Option<Name>,
    /// The requests with their names, in the order of the file.
    pub steps: Vec<(Name, Request)>,
}

/// One request, and the answer that it should get.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path on the service, or a whole URL.
    pub target: Words,
    /// Request headers, in the order of the file.
    pub headers: Vec<(String, Words)>,
    /// The request body.
    pub body: Body,
    /// The expected answer.
    pub expect: Expected,
    /// The variables that it sets.
    pub capture: Vec<(Name, Capture)>,
    /// How long one answer may take, in seconds.
    pub timeout_s: u16,
    /// The time during which it is repeated until the answer is as expected, in seconds.
    pub within_s: u16,
    /// The earlier step from which a repetition begins; itself if absent.
    pub from: Option<Name>,
    /// Whether it runs even if an earlier step has failed.
    pub always: bool,
}

/// A request body.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Nothing.
    Nothing,
    /// A text.
    Text(Words),
    /// A JSON document.
    Json(JsonWords),
    /// These bytes.
    Bytes(Vec<u8>),
    /// A file, relative to `stack.yaml`.
    File(PathBuf),
}

/// The expected response. In texts, `*` matches any text.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// The accepted statuses.
    pub status: Statuses,
    /// Header values.
    pub headers: Vec<(String, Words)>,
    /// The body.
    pub body: Option<Words>,
    /// Values in a JSON body, by pointer.
    pub json: Vec<(String, JsonWords)>,
}

/// Ranges of HTTP statuses, and how they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses {
    /// As written, such as `200-299`.
    pub written: String,
    ranges: Vec<RangeInclusive<u16>>,
}

/// The part of an answer that a variable keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The part.
    pub part: AnswerPart,
    /// Only the text after this one.
    pub after: Option<String>,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerPart {
    /// The value at a JSON pointer.
    Json(String),
    /// A header.
    Header(String),
}

/// A JSON value whose texts may have variables.
#[derive(Debug, Clone, PartialEq)]
pub enum JsonWords {
    /// `null`, a number, or a truth value.
    Plain(Value),
    /// A text.
    Text(Words),
    /// A list.
    List(Vec<JsonWords>),
    /// An object.
    Object(Vec<(String, JsonWords)>),
}

/// A text with variables, such as `${post}`, and references, such as `${buckets.images.name}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words(Vec<Word>);

/// A part of such a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// A literal.
    Literal(String),
    /// A variable that a step has captured, or [`RUN`].
    Variable(String, Place),
    /// A reference to an attribute of an entry.
    Reference(Reference),
}

impl Word {
    /// Whether a target that begins with it is a path.
    pub fn is_path(&self) -> bool {
        matches!(self, Word::Literal(text) if text.starts_with('/'))
    }
}

/// The variable that differs in each run.
pub const RUN: &str = "run";

/// The methods that a request may have.
pub const REQUEST_METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

impl Verify {
    /// Every text of it.
    pub fn texts(&self) -> impl Iterator<Item = &Words> {
        self.steps.iter().flat_map(|(_, request)| request.texts())
    }

    /// The references in it.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.texts().flat_map(Words::references)
    }
}

impl Request {
    /// The method and the target as they are written.
    pub fn written(&self) -> String {
        format!("{} {}", self.method, self.target.written())
    }

    /// The texts that it sends.
    pub fn sent(&self) -> Vec<&Words> {
        let mut texts = vec![&self.target];
        texts.extend(self.headers.iter().map(|(_, text)| text));
        match &self.body {
            Body::Text(text) => texts.push(text),
            Body::Json(json) => json.collect(&mut texts),
            Body::Nothing | Body::Bytes(_) | Body::File(_) => (),
        }
        texts
    }

    /// Every text of it.
    pub fn texts(&self) -> Vec<&Words> {
        let mut texts = self.sent();
        texts.extend(self.expect.headers.iter().map(|(_, text)| text));
        texts.extend(&self.expect.body);
        self.expect.json.iter().for_each(|(_, json)| json.collect(&mut texts));
        texts
    }
}

impl Statuses {
    /// Parses one status, a range, or several of them, separated by commas.
    pub fn parse(text: &str) -> Option<Statuses> {
        let status = |text: &str| {
            let is_plain = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>().ok().filter(|status| is_plain && (100..=599).contains(status))
        };
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            status(first).zip(status(last)).filter(|(first, last)| first <= last).map(|(first, last)| first..=last)
        };
        let ranges = text.split(',').map(|part| range(part.trim())).collect::<Option<Vec<_>>>()?;
        Some(Statuses { written: text.to_owned(), ranges })
    }

    /// Whether this status is one of them.
    pub fn contains(&self, status: u16) -> bool {
        self.ranges.iter().any(|range| range.contains(&status))
    }
}

impl JsonWords {
    fn collect<'a>(&'a self, texts: &mut Vec<&'a Words>) {
        match self {
            JsonWords::Plain(_) => (),
            JsonWords::Text(text) => texts.push(text),
            JsonWords::List(items) => items.iter().for_each(|item| item.collect(texts)),
            JsonWords::Object(entries) => entries.iter().for_each(|(_, value)| value.collect(texts)),
        }
    }

    /// The value, with every text filled in.
    pub fn filled(&self, fill: &dyn Fn(&Words) -> String) -> Value {
        match self {
            JsonWords::Plain(value) => value.clone(),
            JsonWords::Text(text) => Value::String(fill(text)),
            JsonWords::List(items) => items.iter().map(|item| item.filled(fill)).collect(),
            JsonWords::Object(entries) => Value::Object(
                entries.iter().map(|(key, value)| (key.clone(), value.filled(fill))).collect::<Map<_, _>>(),
            ),
        }
    }
}

impl Words {
    /// A literal.
    pub fn literal(text: impl Into<String>) -> Words {
        Words(vec![Word::Literal(text.into())])
    }

    /// Its parts, in order.
    pub fn words(&self) -> &[Word] {
        &self.0
    }

    /// The variables in it.
    pub fn variables(&self) -> impl Iterator<Item = (&str, Place)> {
        self.0.iter().filter_map(|word| match word {
            Word::Variable(name, place) => Some((name.as_str(), *place)),
            Word::Literal(_) | Word::Reference(_) => None,
        })
    }

    /// The references in it.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.0.iter().filter_map(|word| match word {
            Word::Reference(reference) => Some(reference),
            Word::Literal(_) | Word::Variable(..) => None,
        })
    }

    /// The text with its variables and references as they are written.
    pub fn written(&self) -> String {
        let written = |word: &Word| match word {
            Word::Literal(text) => text.clone(),
            Word::Variable(name, _) => format!("${{{name}}}"),
            Word::Reference(reference) => format!("${{{}}}", reference.path()),
        };
        self.0.iter().map(written).collect()
    }

    /// Parses a text; `$${` is an escaped `${`, and `place_of` maps a part of the text to its place in the file.
    ///
    /// Errors: the first invalid reference.
    pub fn parse(text: &str, place_of: impl Fn(&str) -> Place) -> Result<Words, Problem> {
        let (mut words, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find("${") {
            let whole = rest[at..].find('}').map_or(&rest[at..], |end| &rest[at..=at + end]);
            let name = whole.strip_prefix("${").and_then(|name| name.strip_suffix('}')).map(str::trim);
            let variable = name.filter(|name| name.parse::<Name>().is_ok() && !rest[..at].ends_with('$'));
            let Some(variable) = variable else {
                plain.push_str(&rest[..at + 2]);
                rest = &rest[at + 2..];
                continue;
            };
            plain.push_str(&rest[..at]);
            words.extend(of_text(&std::mem::take(&mut plain), &place_of)?);
            words.push(Word::Variable(variable.to_owned(), place_of(whole)));
            rest = &rest[at + whole.len()..];
        }
        plain.push_str(rest);
        words.extend(of_text(&plain, &place_of)?);
        Ok(Words(words))
    }
}

/// The words of a text without variables.
fn of_text(text: &str, place_of: &impl Fn(&str) -> Place) -> Result<Vec<Word>, Problem> {
    let text = Text::parse(text, place_of)?;
    let words = text.pieces().iter().map(|piece| match piece {
        Piece::Literal(text) => Word::Literal(text.clone()),
        Piece::Reference(reference) => Word::Reference(reference.clone()),
    });
    Ok(words.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Words, Problem> {
        Words::parse(text, |_| Place::default())
    }

    #[test]
    fn variables_and_references_are_found_among_literals() {
        let words = parse("/posts/${post}?of=${buckets.images.name}&$${not}").unwrap();
        assert_eq!(words.variables().map(|(name, _)| name).collect::<Vec<_>>(), ["post"]);
        assert_eq!(words.references().map(Reference::path).collect::<Vec<_>>(), ["buckets.images.name"]);
        assert_eq!(words.words().last(), Some(&Word::Literal("&${not}".into())));
        assert_eq!(words.written(), "/posts/${post}?of=${buckets.images.name}&${not}");
        assert!(parse("").unwrap().words().is_empty());
    }

    #[test]
    fn what_is_neither_a_variable_nor_a_reference_is_refused() {
        for wrong in ["${Post}", "${a.b}", "${", "x ${post", "${}"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn statuses_are_single_or_ranges() {
        let statuses = Statuses::parse("200-299, 404").unwrap();
        assert_eq!([200, 299, 404, 300, 403].map(|status| statuses.contains(status)), [true, true, true, false, false]);
        for wrong in ["", "2xx", "99", "600", "299-200", "200-", "+200", "200,,404"] {
            assert!(Statuses::parse(wrong).is_none(), "{wrong}");
        }
    }
}
