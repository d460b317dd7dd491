//! Parses YAML into a tree in which every value has its place.

use std::{collections::BTreeMap, fmt, ops::Range};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::{DuplicateKeyPolicy, Location, NonFiniteFloatPolicy, Spanned};

use super::{Place, Problem};

/// An untyped value.
#[derive(Debug, Clone)]
pub enum Node {
    /// Nothing, or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number, saturated: every limit is far below.
    Number(i64),
    /// Any other number.
    Fraction,
    /// Any other scalar.
    Text(String),
    /// A sequence.
    List(Vec<Located>),
    /// A mapping, in the order of the file.
    Map(Vec<(String, Place, Located)>),
}

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Located {
    /// Line and column, from 1.
    pub place: Place,
    /// Its byte range in the file.
    pub bytes: Range<usize>,
    /// The value.
    pub node: Node,
}

impl Node {
    /// Its kind, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Node::Null => "nothing",
            Node::Bool(_) => "true or false",
            Node::Number(_) => "a number",
            Node::Fraction => "a fraction",
            Node::Text(_) => "a text",
            Node::List(_) => "a list",
            Node::Map(_) => "a mapping",
        }
    }
}

/// The maximum nesting: a description needs six levels, and each one uses stack space.
const MOST_LEVELS: usize = 16;

/// Parses a text.
///
/// Errors: the first syntax error, or all duplicate keys.
pub fn parse(text: &str) -> Result<Located, Vec<Problem>> {
    // Duplicates are passed on and reported all at once. Only `true` and `false` are booleans, as in YAML 1.2.
    let options = serde_yaml::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        strict_booleans: true,
        budget: serde_yaml::budget! { max_depth: MOST_LEVELS },
        with_snippet: false,
    };
    let root = serde_yaml::from_str_with_options(text, options).map_err(|error| vec![syntax(&error, text)])?;
    let mut problems = Vec::new();
    duplicates(&root, &mut problems);
    if problems.is_empty() { Ok(root) } else { Err(problems) }
}

/// Part of the parser's message, our message, and the remedy.
const REMEDIES: &[(&str, &str, &str)] = &[
    ("multiple YAML documents", "a second document begins here", "one file describes one stack: remove `---`"),
    ("Depth", "too many levels", "a stack is described with at most six levels"),
    ("budget breached", "too much for a description of a stack", "use fewer levels, anchors and entries"),
    ("recursion limit", "too many levels", "a stack is described with at most six levels"),
    ("unclosed quote", "a quote that is never closed", "close it on the same line"),
    ("unclosed bracket", "a bracket that is never closed", "close it"),
    ("expected string scalar", "a key that is not a text file", "write keys as plain words"),
];

fn syntax(error: &serde_yaml::Error, text: &str) -> Problem {
    let place = error.location().map(|location| Place::from(&location)).unwrap_or(Place { line: 1, column: 1 });
    let reported = error.to_string();
    if let Some(place) = tab_near(text, place.line, reported.contains("a tab")) {
        let help = "YAML is indented with spaces only: replace the tab with spaces";
        return Problem { place, message: "a tab in the indentation".into(), help: Some(help.into()) };
    }
    let (message, help) = match REMEDIES.iter().find(|(part, _, _)| reported.contains(part)) {
        Some((_, message, help)) => ((*message).to_owned(), *help),
        None => (
            format!("this is not YAML: {}", reported.split(" at line ").next().unwrap_or_default()),
            "check the indentation and the quotes around here",
        ),
    };
    Problem { place, message, help: Some(help.into()) }
}

/// Finds the tab that indents a line, or the line before, where parsers often notice it too late. An error that
/// mentions a tab may also mean one further below: its place is where the value begins.
fn tab_near(text: &str, line: usize, is_mentioned: bool) -> Option<Place> {
    let lines: Vec<&str> = text.lines().collect();
    let below = if is_mentioned { line..lines.len() } else { 0..0 };
    let near = [line.wrapping_sub(1), line.wrapping_sub(2)].into_iter().filter(|at| *at < lines.len());
    near.chain(below).find_map(|at| {
        let indent = lines[at].chars().take_while(|c| c.is_whitespace());
        let column = indent.take_while(|c| *c != '\t').count();
        (lines[at].chars().nth(column) == Some('\t')).then_some(Place { line: at + 1, column: column + 1 })
    })
}

fn duplicates(value: &Located, problems: &mut Vec<Problem>) {
    match &value.node {
        Node::List(items) => items.iter().for_each(|item| duplicates(item, problems)),
        Node::Map(entries) => {
            let mut first = BTreeMap::new();
            for (key, place, value) in entries {
                duplicates(value, problems);
                let Place { line, column } = *first.entry(key).or_insert(*place);
                if (Place { line, column }) != *place {
                    let message = format!("duplicate key `{key}`");
                    let help = format!("it is already at {line}:{column}: keep one of the two");
                    problems.push(Problem { place: *place, message, help: Some(help) });
                }
            }
        }
        _ => (),
    }
}

impl<'de> Deserialize<'de> for Located {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Node>::deserialize(deserializer)?;
        // The value of an alias is checked where its anchor is.
        let (place, bytes) = (Place::from(&spanned.defined), bytes(&spanned.defined));
        Ok(Located { place, bytes, node: spanned.value })
    }
}

fn bytes(location: &Location) -> Range<usize> {
    let span = location.span();
    let start = span.byte_offset().unwrap_or_default() as usize;
    start..start + span.byte_len().unwrap_or_default() as usize
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(Any)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Number(value.clamp(i64::MIN.into(), i64::MAX.into()) as i64))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Number(i64::MAX))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        // Whole numbers with too many digits arrive as floats.
        Ok(if value.abs() < 1e18 || value.is_nan() { Node::Fraction } else { Node::Number(i64::MAX) })
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Spanned<String>, Located>()? {
            map.push((key.value, Place::from(&key.defined), value));
        }
        Ok(Node::Map(map))
    }
}
