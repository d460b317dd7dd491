//! Reads typed values from a located tree, field by field, and collects every problem.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    str::FromStr as _,
};

use super::{
    Block, ChosenNetwork, Config, ExistingNetwork, ExistingRoles, Name, Place, Problem, Region, SourceFile, Text,
    checks,
    fields::{Field, ValueType},
    hidden,
    tree::{self, Located, Node},
};

mod buckets;
mod environment;
mod programs;
mod services;
mod tables;
mod values;
mod verify;

pub use buckets::{METHODS, NAMESPACES};
pub use programs::RESERVED_BY_LAMBDA;
pub use tables::{KEY_TYPES, STREAMS};
use values::usual_text;

/// Reads a whole description.
///
/// Replaces invalid values with harmless ones, so that the rest is checked, too: they are never returned, because then
/// there are problems.
pub fn read(text: &str) -> Result<Config, (Vec<Problem>, String)> {
    let root = tree::parse(text).map_err(|problems| (problems, hidden::by_layout(text)))?;
    let mut reader = Reader { text, problems: Vec::new(), places: BTreeMap::new(), secrets: Vec::new() };
    let config = reader.config(&root);
    let (mut problems, places) = (reader.problems, reader.places);
    let shown = hidden::values(text, &reader.secrets);
    let Some(config) = config.map(|config| Config { places, ..config }) else { return Err((problems, shown)) };
    problems.extend(checks::all(&config));
    let source = SourceFile { file: String::new(), text: shown };
    if problems.is_empty() { Ok(Config { source, ..config }) } else { Err((problems, source.text)) }
}

struct Reader<'a> {
    text: &'a str,
    problems: Vec<Problem>,
    places: BTreeMap<String, Place>,
    /// The byte ranges of the values of variables: they may be secret, and errors quote lines.
    secrets: Vec<Range<usize>>,
}

/// A mapping being read.
struct Fields<'a> {
    path: String,
    place: Place,
    entries: &'a [(String, Place, Located)],
}

impl<'a> Fields<'a> {
    fn get(&self, key: &str) -> Option<&'a Located> {
        let (_, _, value) = self.entries.iter().find(|(name, _, _)| name == key)?;
        (!matches!(value.node, Node::Null)).then_some(value)
    }

    fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) }
    }

    /// The type of a field's value, with its range and its default.
    fn value_type(&self, key: &str) -> Option<&'static ValueType> {
        Field::at(&self.path(key)).map(|field| &field.value_type)
    }

    /// Stands for a mapping that was left out.
    fn none(above: &Fields<'a>, key: &str) -> Self {
        Fields { path: above.path(key), place: above.place, entries: &[] }
    }
}

impl Reader<'_> {
    fn config(&mut self, root: &Located) -> Option<Config> {
        if matches!(root.node, Node::Null) {
            self.problem(root.place, "the file is empty", "begin with `name: my-stack` and `region: us-east-1`");
            return None;
        }
        let fields = self.fields("", root)?;
        let name = self.parsed(&fields, "name", "a name such as postagram");
        let region = self.parsed::<Region>(&fields, "region", "a region such as us-east-1");
        let account = self.optional_text(&fields, "account");
        let tags = self.tags(&fields);
        let roles = self.roles(&fields);
        let network = self.network(&fields);
        let buckets = self.section(&fields, "buckets", Self::bucket);
        let tables = self.section(&fields, "tables", Self::table);
        let functions = self.section(&fields, "functions", Self::function);
        let services = self.section(&fields, "services", Self::service);
        let outputs = self.outputs(&fields);
        let verify = fields.get("verify").and_then(|value| self.verify(value));
        Some(Config {
            name: name.unwrap_or_else(|| Name("x".into())),
            region: region.unwrap_or_else(|| Region("us-east-1".into())),
            account,
            tags,
            roles,
            is_lab: false,
            network,
            buckets,
            tables,
            functions,
            services,
            outputs,
            verify,
            places: BTreeMap::new(),
            source: SourceFile::default(),
        })
    }

    fn section<T>(
        &mut self,
        top: &Fields<'_>,
        section: &str,
        read: fn(&mut Self, &str, &Located) -> Option<T>,
    ) -> BTreeMap<Name, T> {
        let Some(value) = top.get(section) else { return BTreeMap::new() };
        let section = top.path(section);
        let Some(entries) = self.map(&section, value) else { return BTreeMap::new() };
        let mut read_entries = BTreeMap::new();
        for (key, place, value) in entries {
            // A dot separates the parts of a path. A name with one is rejected below, and its fields are read all the
            // same.
            let path = format!("{section}.{}", key.replace('.', "-"));
            self.places.insert(path.clone(), *place);
            let name = Name::from_str(key)
                .map_err(|help| self.problem(*place, format!("{key:?} is not a valid entry name"), help))
                .ok();
            let entry = read(self, &path, value);
            read_entries.extend(name.zip(entry));
        }
        read_entries
    }

    fn outputs(&mut self, top: &Fields<'_>) -> Vec<(String, Text)> {
        let Some(entries) = top.get("outputs").and_then(|value| self.map("outputs", value)) else {
            return Vec::new();
        };
        self.named_texts("outputs", entries)
    }

    fn named_texts(&mut self, path: &str, entries: &[(String, Place, Located)]) -> Vec<(String, Text)> {
        let mut texts = Vec::new();
        for (key, place, value) in entries {
            self.places.insert(format!("{path}.{key}"), value.place);
            self.check_variable(key, *place);
            texts.extend(self.reference_text(value).map(|text| (key.clone(), text)));
        }
        texts
    }

    fn check_variable(&mut self, name: &str, place: Place) {
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !begins || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let help = "use letters, digits and underscores, not beginning with a digit";
            self.problem(place, format!("{name:?} is not a valid variable name"), help);
        }
    }

    fn reference_text(&mut self, value: &Located) -> Option<Text> {
        let text = self.scalar(value)?;
        if let Some(character) = text.chars().find(|&c| breaks_a_line(c)) {
            let message = format!("a value with {character:?} in it");
            self.problem(value.place, message, "a variable's value is one line, without control characters");
            return None;
        }
        Text::parse(&text, |part| self.place_within(value, part)).map_err(|problem| self.problems.push(problem)).ok()
    }

    /// Returns a scalar as it is written: `1.10` stays `1.10`, and `no` stays `no`.
    fn scalar(&mut self, value: &Located) -> Option<String> {
        match &value.node {
            Node::Null => Some(String::new()),
            Node::Text(text) => Some(text.clone()),
            Node::Bool(_) | Node::Number(_) | Node::Fraction => Some(self.written(value).to_owned()),
            other => {
                let message = format!("{} instead of a text", other.kind());
                self.problem(value.place, message, "write one text; put quotes around it if it begins with [ or {");
                None
            }
        }
    }

    fn tags(&mut self, top: &Fields<'_>) -> BTreeMap<String, String> {
        let Some(entries) = top.get("tags").and_then(|value| self.map("tags", value)) else {
            return BTreeMap::new();
        };
        let mut tags = BTreeMap::new();
        let mut known = BTreeSet::new();
        for (key, place, value) in entries {
            let reserved = ["aws:", "deployer:"].iter().any(|prefix| key.to_lowercase().starts_with(prefix));
            if reserved || key.is_empty() || key.chars().count() > 128 || !key.chars().all(is_of_tags) {
                let help = "tag keys have 1 to 128 letters, digits, blanks and _.:/=+-@, and begin neither with aws: \
                            nor with deployer:";
                self.problem(*place, format!("{key:?} is not a valid tag key"), help);
            }
            if !known.insert(key.to_lowercase()) {
                self.problem(*place, format!("`{key}` is listed twice"), "IAM ignores the case of tag keys");
            }
            let Some(text) = self.scalar(value) else { continue };
            if text.chars().count() > 256 || !text.chars().all(is_of_tags) {
                let help = "tag values have at most 256 letters, digits, blanks and _.:/=+-@";
                self.problem(value.place, format!("{text:?} is not a valid tag value"), help);
            }
            tags.insert(key.clone(), text);
        }
        if tags.len() > 40 {
            let place = self.place(top, "tags");
            self.problem(place, "more than 40 tags", "AWS allows 50, some of which are the deployer's");
        }
        tags
    }

    fn network(&mut self, top: &Fields<'_>) -> Option<ChosenNetwork> {
        const HELP: &str = "write `network: own` for a network that the stack makes, or name an existing one: \
                            `network: { vpc: vpc-0a1b2c3d, subnets: [subnet-0a1b2c3d, subnet-4e5f6071] }`";
        let value = top.get("network")?;
        match &value.node {
            Node::Text(text) if text == "own" => return Some(ChosenNetwork::Own(Block::default())),
            Node::Text(text) if !text.starts_with("vpc-") => {
                self.problem(value.place, format!("`network` cannot be {text:?}"), HELP);
                return None;
            }
            _ => (),
        }
        let fields = self.fields("network", value)?;
        match fields.get("own") {
            Some(_) => self.own_network(&fields),
            None if ["vpc", "subnets"].into_iter().all(|key| fields.get(key).is_none()) => {
                self.problem(value.place, "`network` does not name a network", HELP);
                None
            }
            None => self.existing_network(&fields),
        }
    }

    fn own_network(&mut self, fields: &Fields<'_>) -> Option<ChosenNetwork> {
        if let Some(other) = ["vpc", "subnets"].into_iter().find(|key| fields.get(key).is_some()) {
            let help = "a network is either made with `own`, or named with `vpc` and `subnets`: leave one of them out";
            self.problem(
                self.place(fields, other),
                format!("`network.own` and `network.{other}` exclude each other"),
                help,
            );
        }
        let Some(Node::Text(text)) = fields.get("own").map(|value| &value.node) else {
            let help = format!("write `network: own`, or a CIDR block: `network: {{ own: {} }}`", Block::default());
            self.problem(self.place(fields, "own"), "`network.own` should be a CIDR block", help);
            return None;
        };
        let said = format!("`network.own` cannot be {text:?}");
        let block = self.understood(fields, "own", &said, Block::of_network(text))?;
        Some(ChosenNetwork::Own(block))
    }

    fn existing_network(&mut self, fields: &Fields<'_>) -> Option<ChosenNetwork> {
        const VPC: &str = "the id of the VPC, such as vpc-0a1b2c3d4e5f60718; or `network: own` for a network that the stack \
                           makes";
        const SUBNETS: &str = "write the ids of two or three subnets, such as [subnet-0a1b2c3d, subnet-4e5f6071]";
        let vpc = self.text(fields, "vpc", VPC);
        if vpc.as_ref().is_some_and(|vpc| !is_id(vpc, "vpc")) {
            self.problem(self.place(fields, "vpc"), "`vpc` is not the id of a VPC", format!("write {VPC}"));
        }
        if fields.get("subnets").is_none() {
            self.problem(fields.place, "`subnets` is missing in network", format!("add `subnets`: {SUBNETS}"));
            return None;
        }
        let written = self.texts(fields, "subnets")?;
        let mut subnets = BTreeSet::new();
        for (id, place) in &written {
            if !is_id(id, "subnet") {
                self.problem(*place, format!("{id:?} is not the id of a subnet"), SUBNETS);
            } else if !subnets.insert(id.clone()) {
                self.problem(*place, format!("{id} is listed twice"), "name each subnet once");
            }
        }
        if !(2..=3).contains(&written.len()) {
            let message = format!("{} subnets; a load balancer needs them in two or three zones", written.len());
            self.problem(self.place(fields, "subnets"), message, SUBNETS);
        }
        Some(ChosenNetwork::Existing(ExistingNetwork { vpc: vpc?, subnets }))
    }

    fn roles(&mut self, top: &Fields<'_>) -> Option<ExistingRoles> {
        let value = top.get("roles")?;
        let fields = self.fields("roles", value)?;
        let existing = self.text(&fields, "existing", "the name of a role, such as LabRole");
        let instance_profile = self.optional_text(&fields, "instance_profile");
        for (key, name) in [("existing", &existing), ("instance_profile", &instance_profile)] {
            let is_name = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
            if name.as_ref().is_some_and(|name| name.is_empty() || name.len() > 128 || !name.chars().all(is_name)) {
                let help = "write the name alone, such as LabRole, without ARN or path";
                self.problem(self.place(&fields, key), format!("`{key}` is not a valid IAM name"), help);
            }
        }
        Some(ExistingRoles { existing: existing?, instance_profile })
    }
}

/// Whether a text is an id of EC2, such as `vpc-0a1b2c3d`.
fn is_id(text: &str, kind: &str) -> bool {
    let digits = text.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-'));
    digits.is_some_and(|digits| {
        !digits.is_empty() && digits.len() <= 32 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// The byte ranges of the scalars in a value: of the value itself, or of its items.
fn scalars(value: &Located, found: &mut Vec<Range<usize>>) {
    match &value.node {
        Node::List(items) => items.iter().for_each(|item| scalars(item, found)),
        Node::Map(entries) => entries.iter().for_each(|(_, _, item)| scalars(item, found)),
        _ => found.push(value.bytes.clone()),
    }
}

/// Characters that user data cannot carry: line breaks of YAML and systemd, and what neither accepts.
fn breaks_a_line(c: char) -> bool {
    (c.is_control() && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// The characters that every AWS service accepts in tags.
fn is_of_tags(c: char) -> bool {
    c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c)
}
