//! Values of every type, the same in all sections, and the errors of those of another type.

use std::ops::RangeInclusive;
use std::str::FromStr;

use super::{Fields, Reader};
use crate::config::{
    EncryptionKey, Place, Port, Problem,
    error::did_you_mean,
    fields::{self, Field, ValueType, fits},
    tree::{Located, Node},
};

/// The range and the default of a number, from its row. `fields.rs` tests that every field is read according to its row.
pub(super) fn number(fields: &Fields<'_>, key: &str) -> (RangeInclusive<i64>, Option<u16>) {
    match fields.value_type(key) {
        Some(ValueType::Number { least, most, usual }) => (i64::from(*least)..=i64::from(*most), *usual),
        Some(ValueType::OneOfNumbers([first, .., last])) => (*first..=*last, None),
        _ => (0..=i64::from(u16::MAX), None),
    }
}

pub(super) fn usual(fields: &Fields<'_>, key: &str) -> u16 {
    number(fields, key).1.unwrap_or_default()
}

pub(super) fn usual_text(fields: &Fields<'_>, key: &str) -> String {
    fields.value_type(key).map(ValueType::usual_text).unwrap_or_default().to_owned()
}

pub(super) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Examples of mappings, by the end of their path; `*` matches an entry's name. `$` is replaced by the value that was
/// written in place of the mapping, or else by the default beside it.
const SHAPES: &[(&str, &str, &str)] = &[
    ("tags", "tags: { $: value }", "course"),
    ("roles", "roles: { existing: $, instance_profile: LabInstanceProfile }", "LabRole"),
    ("network", "network: { vpc: $, subnets: [subnet-0a1b2c3d, subnet-4e5f6071] }", "vpc-0a1b2c3d"),
    ("buckets", "buckets: { $: {} }", "images"),
    ("buckets.*", "*: { protect: true }", ""),
    ("buckets.*.cors", "cors: { methods: [GET, PUT] }", ""),
    ("buckets.*.lifecycle", "lifecycle: { expire_days: $ }", "30"),
    ("buckets.*.on_upload", "on_upload: { function: $ }", "labeler"),
    ("tables", "tables: { $: { partition_key: id } }", "posts"),
    ("tables.*", "*: { partition_key: $ }", "id"),
    ("tables.*.indexes", "indexes: { by-$: { partition_key: $ } }", "label"),
    ("tables.*.indexes.*", "*: { partition_key: $ }", "label"),
    ("tables.*.local_indexes", "local_indexes: { by-$: { sort_key: $ } }", "title"),
    ("tables.*.local_indexes.*", "*: { sort_key: $ }", "title"),
    ("functions", "functions: { $: { package: $ } }", "labeler"),
    ("functions.*", "*: { package: $ }", "labeler"),
    ("services", "services: { $: { package: service, instance_type: t3.micro } }", "web"),
    ("services.*", "*: { package: $, instance_type: t3.micro }", "service"),
    ("services.*.instances", "instances: { min: 1, max: $ }", "4"),
    ("services.*.health_check", "health_check: { path: /health }", ""),
    ("services.*.behind", "behind: { service: $, path: /api/* }", "web"),
    ("services.*.load_balancer", "load_balancer: { port: $ }, load_balancer: internal, or load_balancer: none", "80"),
    ("*.environment", "environment: { NAME: value }", ""),
    ("*.uses", "uses: { buckets: { $: read_write } }", "images"),
    ("*.uses.buckets", "buckets: { $: read_write }", "images"),
    ("*.uses.tables", "tables: { $: read_write }", "posts"),
    ("outputs", "outputs: { NAME: value }", ""),
    ("verify", "verify: { steps: { page: { request: GET / } } }", ""),
    ("verify.steps", "steps: { page: { request: GET $ } }", "/"),
    ("verify.steps.*", "*: { request: GET $ }", "/"),
    ("verify.steps.*.headers", "headers: { accept: text/html }", ""),
    ("verify.steps.*.expect", "expect: { status: $ }", "200"),
    ("verify.steps.*.expect.headers", "headers: { content-type: text/html* }", ""),
    ("verify.steps.*.expect.json", "json: { /0/id: $ }", "\"*\""),
    ("verify.steps.*.capture", "capture: { $: { json: /id } }", "id"),
    ("verify.steps.*.capture.*", "*: { json: $ }", "/id"),
];

/// The mapping that belongs at this path, with the value that was written in its place.
pub(super) fn shape(path: &str, written: Option<&str>) -> String {
    let parts: Vec<&str> = path.split('.').collect();
    // A pattern that begins with `*` fits the end of a path.
    let end = |pattern: &str| parts[parts.len().saturating_sub(pattern.split('.').count())..].join(".");
    let is_like = |pattern: &str| fits(pattern, path) || pattern.starts_with('*') && fits(pattern, &end(pattern));
    match SHAPES.iter().find(|(pattern, _, _)| is_like(pattern)) {
        Some((_, example, usual)) => {
            let entry = parts.last().copied().unwrap_or_default();
            example.replace("*:", &format!("{entry}:")).replace('$', written.unwrap_or(usual))
        }
        None => "`name: my-stack` and `region: us-east-1` first, each on a line of its own".into(),
    }
}

impl Reader<'_> {
    /// One of these texts, of which the first is the default.
    pub(super) fn one_of(&mut self, fields: &Fields<'_>, key: &str, texts: &'static [&'static str]) -> &'static str {
        let Some(written) = self.optional_text(fields, key) else { return texts[0] };
        let found = texts.iter().find(|text| **text == written);
        if found.is_none() {
            let help = match did_you_mean(&written, texts.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("use {}", texts.join(", ")),
            };
            self.problem(self.place(fields, key), format!("`{key}` cannot be {written:?}"), help);
        }
        found.copied().unwrap_or(texts[0])
    }

    pub(super) fn written(&self, value: &Located) -> &str {
        self.text.get(value.bytes.clone()).unwrap_or_default()
    }

    /// Returns a scalar as it is written, if it is short and plain enough to be repeated in an example.
    pub(super) fn plain<'v>(&'v self, value: &'v Located) -> Option<&'v str> {
        let written = match &value.node {
            Node::Text(text) => text,
            Node::Number(_) | Node::Fraction | Node::Bool(_) => self.written(value),
            _ => return None,
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
        (!written.is_empty() && written.len() <= 40 && written.chars().all(is_plain)).then_some(written)
    }

    /// The kind of a value, for messages: digits alone are a number, however many there are.
    pub(super) fn kind(&self, value: &Located) -> &'static str {
        let is_digits = || self.written(value).chars().all(|c| c.is_ascii_digit());
        if matches!(value.node, Node::Fraction) && is_digits() { "a number" } else { value.node.kind() }
    }

    /// The place of a part of a value: that of the value itself if it contains escapes.
    pub(super) fn place_within(&self, value: &Located, part: &str) -> Place {
        let written = self.written(value);
        let Some(before) = written.find(part).map(|at| &written[..at]) else { return value.place };
        match before.rsplit_once('\n') {
            None => Place { column: value.place.column + before.chars().count(), ..value.place },
            Some((lines, line)) => {
                Place { line: value.place.line + lines.matches('\n').count() + 1, column: line.chars().count() + 1 }
            }
        }
    }

    /// Returns the fields of an optional mapping; a value of another kind has none.
    pub(super) fn fields_of<'a>(&mut self, above: &Fields<'a>, key: &str) -> Fields<'a> {
        let fields = above.get(key).and_then(|value| self.fields(&above.path(key), value));
        fields.unwrap_or_else(|| Fields::none(above, key))
    }

    pub(super) fn fields<'a>(&mut self, path: &str, value: &'a Located) -> Option<Fields<'a>> {
        let known: Vec<&str> = fields::below(path).map(Field::key).collect();
        let entries = self.map(path, value)?;
        let fields = Fields { path: path.into(), place: value.place, entries };
        for (key, place, value) in entries {
            self.places.insert(fields.path(key), value.place);
            if known.contains(&key.as_str()) {
                continue;
            }
            let help = match did_you_mean(key, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known keys: {}", known.join(", ")),
            };
            self.problem(*place, format!("unknown key `{key}`"), help);
        }
        Some(fields)
    }

    pub(super) fn map<'a>(&mut self, path: &str, value: &'a Located) -> Option<&'a [(String, Place, Located)]> {
        match &value.node {
            Node::Map(entries) => Some(entries),
            other => {
                let what = if path.is_empty() { "the file" } else { path };
                // A switch is no part of any mapping.
                let written = self.plain(value).filter(|_| !matches!(other, Node::Bool(_)));
                let help = format!("write {}", shape(path, written));
                self.problem(value.place, format!("{what} is {}, and should be a mapping", other.kind()), help);
                None
            }
        }
    }

    pub(super) fn text(&mut self, fields: &Fields<'_>, key: &str, example: &str) -> Option<String> {
        if fields.get(key).is_none() {
            let whole = if fields.path.is_empty() { String::new() } else { format!(" in {}", fields.path) };
            self.problem(fields.place, format!("`{key}` is missing{whole}"), format!("add `{key}`: {example}"));
            return None;
        }
        self.optional_text(fields, key)
    }

    pub(super) fn optional_text(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        let value = fields.get(key)?;
        match &value.node {
            Node::Text(text) => Some(text.clone()),
            _ => {
                let message = format!("`{key}` is {}, and should be a text", self.kind(value));
                let help = match self.plain(value) {
                    Some(written) => format!("write {key}: \"{written}\", in quotes, which keep every digit"),
                    None => "write one text, in quotes".into(),
                };
                self.problem(value.place, message, help);
                None
            }
        }
    }

    /// A key of KMS, by its ARN or alias.
    pub(super) fn encryption_key(&mut self, fields: &Fields<'_>, key: &str) -> Option<EncryptionKey> {
        let text = self.optional_text(fields, key)?;
        self.understood(fields, key, &format!("`{key}` cannot be {text:?}"), text.parse())
    }

    /// A key of KMS where AWS returns its ARN, however it was named: an alias could not be compared.
    pub(super) fn encryption_key_arn(&mut self, fields: &Fields<'_>, key: &str) -> Option<EncryptionKey> {
        let found = self.encryption_key(fields, key)?;
        if found.is_alias() {
            let help = format!(
                "AWS keeps the ARN of the key here, and not its alias: `aws kms describe-key --key-id {found}` shows it"
            );
            self.problem(self.place(fields, key), format!("`{key}` names an alias"), help);
            return None;
        }
        Some(found)
    }

    pub(super) fn parsed<T: FromStr<Err = String>>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        example: &str,
    ) -> Option<T> {
        let text = self.text(fields, key, example)?;
        self.understood(fields, key, &format!("`{key}` cannot be {text:?}"), text.parse())
    }

    pub(super) fn understood<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        message: &str,
        parsed: Result<T, String>,
    ) -> Option<T> {
        parsed
            .map_err(|help| {
                let place = self.place(fields, key);
                self.problem(place, message, help);
            })
            .ok()
    }

    pub(super) fn texts(&mut self, fields: &Fields<'_>, key: &str) -> Option<Vec<(String, Place)>> {
        let value = fields.get(key)?;
        let Node::List(items) = &value.node else {
            let message = format!("`{key}` is {}, and should be a list", self.kind(value));
            self.problem(value.place, message, format!("write {key}: [{}]", self.plain(value).unwrap_or("one, two")));
            return None;
        };
        let mut texts = Vec::new();
        for item in items {
            match &item.node {
                Node::Text(text) => texts.push((text.clone(), item.place)),
                _ => {
                    let message = format!("{} in a list of texts", self.kind(item));
                    let help = match self.plain(item) {
                        Some(written) => format!("write \"{written}\", in quotes"),
                        None => "write texts, with commas between them".into(),
                    };
                    self.problem(item.place, message, help);
                }
            }
        }
        Some(texts)
    }

    /// Requires at least one text.
    pub(super) fn some_texts(&mut self, fields: &Fields<'_>, key: &str, example: &str) -> Vec<(String, Place)> {
        match self.texts(fields, key) {
            Some(texts) if !texts.is_empty() => texts,
            // Its items have been rejected already.
            Some(_)
                if fields
                    .get(key)
                    .is_some_and(|value| matches!(&value.node, Node::List(items) if !items.is_empty())) =>
            {
                Vec::new()
            }
            None if fields.get(key).is_some() => Vec::new(),
            none => {
                let what = if none.is_some() { "is empty" } else { "is missing" };
                self.problem(
                    self.place(fields, key),
                    format!("`{key}` {what} in {}", fields.path),
                    format!("write {example}"),
                );
                Vec::new()
            }
        }
    }

    pub(super) fn boolean(&mut self, fields: &Fields<'_>, key: &str) -> bool {
        match fields.get(key).map(|value| (&value.node, value.place)) {
            None => false,
            Some((Node::Bool(truth), _)) => *truth,
            Some((other, place)) => {
                let message = format!("`{key}` is {}, and should be true or false", other.kind());
                let meant = match other {
                    Node::Text(text) => match text.to_lowercase().as_str() {
                        "yes" | "on" | "true" | "y" => "true",
                        "no" | "off" | "false" | "n" => "false",
                        _ => "true or false",
                    },
                    _ => "true or false",
                };
                self.problem(place, message, format!("write {meant}, without quotes"));
                false
            }
        }
    }

    pub(super) fn port(&mut self, fields: &Fields<'_>, key: &str) -> Port {
        Port(self.number(fields, key))
    }

    pub(super) fn number(&mut self, fields: &Fields<'_>, key: &str) -> u16 {
        self.optional_number(fields, key).unwrap_or_else(|| usual(fields, key))
    }

    /// Every number in a description fits 16 bits.
    pub(super) fn optional_number(&mut self, fields: &Fields<'_>, key: &str) -> Option<u16> {
        let (range, value) = (number(fields, key).0, fields.get(key)?);
        let Node::Number(number) = value.node else {
            let message = format!("`{key}` is {}, and should be a whole number", self.kind(value));
            let meant = match &value.node {
                Node::Text(text) => text.trim().parse::<u16>().ok(),
                _ => None,
            };
            let help = match meant {
                Some(number) => format!("write {key}: {number}, without quotes"),
                None => format!("write a whole number from {} to {}, without quotes", range.start(), range.end()),
            };
            self.problem(value.place, message, help);
            return None;
        };
        let small = u16::try_from(number).ok().filter(|_| range.contains(&number));
        if small.is_none() {
            let help = format!("use {} to {}", range.start(), range.end());
            let written = self.written(value).to_owned();
            self.problem(value.place, format!("`{key}` cannot be {written}"), help);
        }
        small
    }

    /// A time such as `5m`, in minutes. Zero needs no unit.
    pub(super) fn minutes(&mut self, fields: &Fields<'_>, key: &str) -> Option<u16> {
        let Some(ValueType::Minutes { least, most, .. }) = fields.value_type(key) else { return None };
        let value = fields.get(key)?;
        let help = format!("write {key}: 5m, from {least}m to {most}m, or {key}: 0 to turn it off");
        let read = match &value.node {
            Node::Number(0) => Some(0),
            Node::Text(text) if text == "0" => Some(0),
            Node::Text(text) => {
                text.strip_suffix('m').filter(|digits| is_digits(digits)).and_then(|it| it.parse().ok())
            }
            _ => None,
        };
        let is_allowed = |minutes: &u16| *minutes == 0 || (*least..=*most).contains(minutes);
        match read {
            Some(minutes) if is_allowed(&minutes) => Some(minutes),
            Some(_) => {
                let written = self.written(value).to_owned();
                self.problem(value.place, format!("`{key}` cannot be {written}"), help);
                None
            }
            None => {
                let message = format!("`{key}` is {}, and should be a time in minutes", self.kind(value));
                self.problem(value.place, message, help);
                None
            }
        }
    }

    pub(super) fn place(&self, fields: &Fields<'_>, key: &str) -> Place {
        fields.get(key).map_or(fields.place, |value| value.place)
    }

    pub(super) fn problem(&mut self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem { place, message: message.into(), help: Some(help.into()) });
    }
}
