//! Terraform's configuration language: expressions, blocks, and their text in the form of `terraform fmt`.

use serde_json::Value;

/// The longest list that is written on one line.
const LONGEST_LINE: usize = 80;
/// Identifiers that mean something else as the key of an object.
const KEYWORDS: &[&str] = &["for", "if", "in", "true", "false", "null"];

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// A text, escaped where it is written.
    Text(String),
    /// A text, a part of which is an expression: the literal text follows it.
    Prefixed(String, String),
    /// A number.
    Number(String),
    /// A truth value.
    Bool(bool),
    /// A text that may refer to a resource: what the name is of, and the text. It is resolved before it is written.
    Link(&'static str, String),
    /// A reference, or a call without texts of others.
    Raw(String),
    /// A list.
    List(Vec<Expr>),
    /// An object, in this order.
    Map(Vec<(String, Expr)>),
    /// A call of a function with one argument.
    Call(&'static str, Box<Expr>),
}

impl Expr {
    /// A text.
    pub fn text(text: impl Into<String>) -> Expr {
        Expr::Text(text.into())
    }

    /// A reference.
    pub fn raw(reference: impl Into<String>) -> Expr {
        Expr::Raw(reference.into())
    }

    /// A whole number.
    pub fn int(number: impl Into<i64>) -> Expr {
        Expr::Number(number.into().to_string())
    }

    /// A number. Whole numbers have no decimal point.
    pub fn float(number: f64) -> Expr {
        Expr::Number(number.to_string())
    }

    /// A JSON value, with `text` for each text in it.
    pub fn json(value: &Value, text: &impl Fn(&str) -> Expr) -> Expr {
        match value {
            Value::Null => Expr::raw("null"),
            Value::Bool(value) => Expr::Bool(*value),
            Value::Number(number) => Expr::Number(number.to_string()),
            Value::String(value) => text(value),
            Value::Array(items) => Expr::List(items.iter().map(|item| Expr::json(item, text)).collect()),
            Value::Object(fields) => {
                Expr::Map(fields.iter().map(|(key, value)| (key.clone(), Expr::json(value, text))).collect())
            }
        }
    }

    /// Replaces every link.
    fn resolve(&mut self, link: &impl Fn(&'static str, &str) -> Expr) {
        match self {
            Expr::Link(space, text) => *self = link(space, text),
            Expr::List(items) => items.iter_mut().for_each(|item| item.resolve(link)),
            Expr::Map(entries) => entries.iter_mut().for_each(|(_, value)| value.resolve(link)),
            Expr::Call(_, argument) => argument.resolve(link),
            Expr::Text(_) | Expr::Prefixed(..) | Expr::Number(_) | Expr::Bool(_) | Expr::Raw(_) => (),
        }
    }

    fn write(&self, indent: usize) -> String {
        match self {
            Expr::Text(text) | Expr::Link(_, text) => quoted(text),
            Expr::Prefixed(reference, rest) => format!("\"${{{reference}}}{}\"", escaped(rest)),
            Expr::Number(number) => number.clone(),
            Expr::Bool(value) => value.to_string(),
            Expr::Raw(raw) => raw.clone(),
            Expr::List(items) => list(items, indent),
            Expr::Map(entries) if entries.is_empty() => "{}".into(),
            Expr::Map(entries) => {
                let entries: Vec<(String, &Expr)> = entries.iter().map(|(key, value)| (key_of(key), value)).collect();
                let lines = aligned(&entries, indent + 1);
                format!("{{\n{lines}{}}}", spaces(indent))
            }
            Expr::Call(name, argument) => format!("{name}({})", argument.write(indent)),
        }
    }
}

fn list(items: &[Expr], indent: usize) -> String {
    let texts: Vec<String> = items.iter().map(|item| item.write(indent + 1)).collect();
    let line = texts.join(", ");
    if !line.contains('\n') && line.chars().count() <= LONGEST_LINE {
        return format!("[{line}]");
    }
    let lines: String = texts.iter().map(|text| format!("{}{text},\n", spaces(indent + 1))).collect();
    format!("[\n{lines}{}]", spaces(indent))
}

/// Lines `name = value`. The equals signs of neighbours that take one line are aligned.
fn aligned(entries: &[(String, &Expr)], indent: usize) -> String {
    let written: Vec<(&str, String)> =
        entries.iter().map(|(name, value)| (name.as_str(), value.write(indent))).collect();
    let mut lines = String::new();
    for run in written.chunk_by(|(_, one), (_, other)| !one.contains('\n') && !other.contains('\n')) {
        let width = run.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        for (name, value) in run {
            let gap = " ".repeat(width - name.chars().count());
            lines += &format!("{}{name}{gap} = {value}\n", spaces(indent));
        }
    }
    lines
}

fn spaces(indent: usize) -> String {
    "  ".repeat(indent)
}

/// The key of an object: quoted unless it is an identifier.
fn key_of(key: &str) -> String {
    let is_plain = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
        && !KEYWORDS.contains(&key);
    if is_plain { key.to_owned() } else { quoted(key) }
}

/// A text in quotes.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// A text as it is written in quotes. `$${` and `%%{` stand for the beginnings of templates; a `$` before one, which
/// would belong to it, is written by its number.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let next = characters.peek();
        match c {
            '"' => escaped += "\\\"",
            '\\' => escaped += "\\\\",
            '\n' => escaped += "\\n",
            '\r' => escaped += "\\r",
            '\t' => escaped += "\\t",
            '$' | '%' if next == Some(&'{') => escaped.extend([c, c]),
            '$' | '%' if next == Some(&c) => escaped += &format!("\\u{:04x}", u32::from(c)),
            c if c.is_control() || is_invisible(c) => escaped += &numbered(c),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Characters that change how a line is shown, or end it for some readers.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn numbered(c: char) -> String {
    format!("\\u{:04x}", u32::from(c))
}

/// A block: its head, and what is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    comment: Option<&'static str>,
    head: String,
    body: Body,
}

/// The contents of a block.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Body {
    items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq)]
enum Item {
    Attribute(String, Expr),
    Block(Block),
}

impl Block {
    /// A block with its type and labels.
    pub fn new(kind: &str, labels: &[&str], body: Body) -> Block {
        let labels: String = labels.iter().map(|label| format!(" {}", quoted(label))).collect();
        Block { comment: None, head: format!("{kind}{labels}"), body }
    }

    /// The same with a comment above it.
    #[must_use]
    pub fn because(self, comment: &'static str) -> Block {
        Block { comment: Some(comment), ..self }
    }

    /// Replaces every link in it.
    pub fn resolve(&mut self, link: &impl Fn(&'static str, &str) -> Expr) {
        for item in &mut self.body.items {
            match item {
                Item::Attribute(_, value) => value.resolve(link),
                Item::Block(block) => block.resolve(link),
            }
        }
    }

    /// Its text.
    pub fn write(&self) -> String {
        self.write_at(0)
    }

    fn write_at(&self, indent: usize) -> String {
        let comment = self.comment.iter().flat_map(|comment| comment.lines());
        let comment: String = comment.map(|line| format!("{}# {line}\n", spaces(indent))).collect();
        if self.body.items.is_empty() {
            return format!("{comment}{}{} {{}}\n", spaces(indent), self.head);
        }
        let body = self.body.write_at(indent + 1);
        format!("{comment}{}{} {{\n{body}{}}}\n", spaces(indent), self.head, spaces(indent))
    }
}

impl Body {
    /// Nothing yet.
    pub fn new() -> Body {
        Body::default()
    }

    /// Adds an attribute.
    #[must_use]
    pub fn set(mut self, name: &str, value: Expr) -> Body {
        self.items.push(Item::Attribute(name.to_owned(), value));
        self
    }

    /// Adds an attribute, if there is a value.
    #[must_use]
    pub fn set_some(self, name: &str, value: Option<Expr>) -> Body {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    /// Adds a literal text.
    #[must_use]
    pub fn text(self, name: &str, text: &str) -> Body {
        self.set(name, Expr::text(text))
    }

    /// Adds a whole number.
    #[must_use]
    pub fn int(self, name: &str, number: impl Into<i64>) -> Body {
        self.set(name, Expr::int(number))
    }

    /// Adds a truth value.
    #[must_use]
    pub fn flag(self, name: &str, value: bool) -> Body {
        self.set(name, Expr::Bool(value))
    }

    /// Adds a block without labels.
    #[must_use]
    pub fn block(mut self, name: &str, body: Body) -> Body {
        self.items.push(Item::Block(Block::new(name, &[], body)));
        self
    }

    /// Adds a block for each of these bodies.
    #[must_use]
    pub fn blocks(self, name: &str, bodies: impl IntoIterator<Item = Body>) -> Body {
        bodies.into_iter().fold(self, |body, block| body.block(name, block))
    }

    /// Adds everything of another one.
    #[must_use]
    pub fn with(mut self, other: Body) -> Body {
        self.items.extend(other.items);
        self
    }

    /// Lets Terraform leave these attributes as they are, for this reason.
    #[must_use]
    pub fn ignoring(self, why: &'static str, attributes: &[&str]) -> Body {
        self.lifecycle(why, Body::new().ignored(attributes))
    }

    /// The same. Besides, Terraform creates a new one before it destroys the old one.
    #[must_use]
    pub fn ignoring_and_created_first(self, why: &'static str, attributes: &[&str]) -> Body {
        self.lifecycle(why, Body::new().flag("create_before_destroy", true).ignored(attributes))
    }

    fn ignored(self, attributes: &[&str]) -> Body {
        self.set("ignore_changes", Expr::List(attributes.iter().map(|name| Expr::raw(*name)).collect()))
    }

    fn lifecycle(mut self, why: &'static str, body: Body) -> Body {
        self.items.push(Item::Block(Block::new("lifecycle", &[], body).because(why)));
        self
    }

    /// Its text, outside of a block.
    pub fn write(&self) -> String {
        self.write_at(0)
    }

    fn write_at(&self, indent: usize) -> String {
        let mut text = String::new();
        let groups =
            self.items.chunk_by(|one, other| matches!((one, other), (Item::Attribute(..), Item::Attribute(..))));
        for group in groups {
            if !text.is_empty() {
                text.push('\n');
            }
            match &group[0] {
                Item::Block(block) => text += &block.write_at(indent),
                Item::Attribute(..) => {
                    let attributes = group.iter().filter_map(|item| match item {
                        Item::Attribute(name, value) => Some((name.clone(), value)),
                        Item::Block(_) => None,
                    });
                    text += &aligned(&attributes.collect::<Vec<_>>(), indent);
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_in_a_text_begins_a_template_or_ends_the_quotes() {
        for (text, written) in [
            ("plain", r#""plain""#),
            ("${x}", r#""$${x}""#),
            ("%{if}", r#""%%{if}""#),
            ("$${x}", r#""\u0024$${x}""#),
            ("$$$ 100 % %%{", r#""\u0024\u0024$ 100 % \u0025%%{""#),
            ("a \"b\" \\ c", r#""a \"b\" \\ c""#),
            ("<<EOT\nline\r\n\tEOT", r#""<<EOT\nline\r\n\tEOT""#),
            ("Zoé 写真 🦀", "\"Zoé 写真 🦀\""),
            ("\0\u{1b}[31m\u{7f}\u{202e}\u{2028}", r#""\u0000\u001b[31m\u007f\u202e\u2028""#),
        ] {
            assert_eq!(quoted(text), written, "{text:?}");
        }
    }

    #[test]
    fn a_text_behind_a_reference_is_escaped_too() {
        let text = Expr::Prefixed("aws_s3_bucket.a.arn".into(), "/${x}/*".into());
        assert_eq!(text.write(0), r#""${aws_s3_bucket.a.arn}/$${x}/*""#);
    }

    #[test]
    fn keys_are_quoted_unless_they_are_identifiers() {
        for (key, written) in [
            ("course", "course"),
            ("a-b_1", "a-b_1"),
            ("deployer:stack", "\"deployer:stack\""),
            ("1a", "\"1a\""),
            ("", "\"\""),
            ("for", "\"for\""),
            ("é", "\"é\""),
            ("${x}", "\"$${x}\""),
        ] {
            assert_eq!(key_of(key), written);
        }
    }

    #[test]
    fn blocks_are_written_as_terraform_formats_them() {
        let policy = json!({ "Version": "2012-10-17", "Statement": [{ "Action": ["a:B", "a:C"], "Effect": "Allow" }] });
        let long: Vec<Expr> = (0..4).map(|at| Expr::text(format!("a-list-that-does-not-fit-{at}"))).collect();
        let body = Body::new()
            .text("name", "x")
            .int("max_size", 4)
            .set("policy", Expr::Call("jsonencode", Box::new(Expr::json(&policy, &|text| Expr::text(text)))))
            .flag("enabled", true)
            .set("empty", Expr::Map(Vec::new()))
            .set("long", Expr::List(long))
            .block("rule", Body::new().text("id", "a").set("share", Expr::float(0.5)))
            .block("filter", Body::new())
            .ignoring("It scales.", &["desired_capacity"]);
        expect![[r#"
            resource "aws_x" "y" {
              name     = "x"
              max_size = 4
              policy = jsonencode({
                Version = "2012-10-17"
                Statement = [
                  {
                    Action = ["a:B", "a:C"]
                    Effect = "Allow"
                  },
                ]
              })
              enabled = true
              empty   = {}
              long = [
                "a-list-that-does-not-fit-0",
                "a-list-that-does-not-fit-1",
                "a-list-that-does-not-fit-2",
                "a-list-that-does-not-fit-3",
              ]

              rule {
                id    = "a"
                share = 0.5
              }

              filter {}

              # It scales.
              lifecycle {
                ignore_changes = [desired_capacity]
              }
            }
        "#]]
        .assert_eq(&Block::new("resource", &["aws_x", "y"], body).write());
    }
}
