//! Reads typed values from a located tree, field by field, and collects every problem.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    ops::{Range, RangeInclusive},
    str::FromStr,
};

use super::{
    Access, Balancer, Bucket, Cidr, Config, Cors, Environment, ExistingRoles, Function, HealthCheck, Index,
    InstanceType, Instances, Key, Name, Place, Port, Problem, Program, RETENTIONS, Region, Service, Source, Table,
    Text, Upload, Uses, checks,
    error::did_you_mean,
    fields::{self, Field, Takes},
    hidden,
    tree::{self, Located, Node},
};
use crate::package::Architecture;

mod verify;

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
    let source = Source { file: String::new(), text: shown };
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

    /// The row of a field, which has its range and its default.
    fn takes(&self, key: &str) -> Option<&'static Takes> {
        Field::at(&self.path(key)).map(|field| &field.takes)
    }

    /// Stands for a mapping that was left out.
    fn none(above: &Fields<'a>, key: &str) -> Self {
        Fields { path: above.path(key), place: above.place, entries: &[] }
    }
}

/// The range and the default of a number, from its row. `fields.rs` tests that every field is read according to its row.
fn number(fields: &Fields<'_>, key: &str) -> (RangeInclusive<i64>, Option<u16>) {
    match fields.takes(key) {
        Some(Takes::Number { least, most, usual }) => (i64::from(*least)..=i64::from(*most), *usual),
        Some(Takes::OneOfNumbers([first, .., last])) => (*first..=*last, None),
        _ => (0..=i64::from(u16::MAX), None),
    }
}

fn usual(fields: &Fields<'_>, key: &str) -> u16 {
    number(fields, key).1.unwrap_or_default()
}

fn usual_text(fields: &Fields<'_>, key: &str) -> String {
    fields.takes(key).map(Takes::usual_text).unwrap_or_default().to_owned()
}

/// The methods that a CORS rule may allow.
pub const METHODS: &[&str] = &["GET", "HEAD", "PUT", "POST", "DELETE"];

/// The types of key attributes.
pub const KEY_TYPES: &[&str] = &["string", "number", "binary"];

/// What a stream of a table may record: DynamoDB's view types in lower case.
pub const STREAMS: &[&str] = &["none", "keys_only", "new_image", "old_image", "new_and_old_images"];

/// DynamoDB's limits for a table (docs/aws.md §5.2).
const MOST_INDEXES: usize = 20;
const MOST_LOCAL_INDEXES: usize = 5;
const MOST_INCLUDED: usize = 100;

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
            buckets,
            tables,
            functions,
            services,
            outputs,
            verify,
            places: BTreeMap::new(),
            source: Source::default(),
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

    fn bucket(&mut self, path: &str, value: &Located) -> Option<Bucket> {
        if matches!(value.node, Node::Null) {
            return Some(Bucket::default());
        }
        let fields = self.fields(path, value)?;
        let cors = fields.get("cors").and_then(|value| self.cors(&fields.path("cors"), value));
        let on_upload = fields.get("on_upload").and_then(|value| self.upload(&fields.path("on_upload"), value));
        Some(Bucket { cors, on_upload, protect: self.boolean(&fields, "protect") })
    }

    fn cors(&mut self, path: &str, value: &Located) -> Option<Cors> {
        let fields = self.fields(path, value)?;
        let methods = self.some_texts(&fields, "methods", "methods: [GET, HEAD, PUT]");
        for (method, place) in &methods {
            if !METHODS.contains(&method.as_str()) {
                let help = format!("use {}", METHODS.join(", "));
                self.problem(*place, format!("S3 does not support the method {method:?}"), help);
            }
        }
        let origins = match fields.get("origins") {
            Some(_) => self.some_texts(&fields, "origins", "origins: [\"*\"]"),
            None => vec![(usual_text(&fields, "origins"), fields.place)],
        };
        let headers = self.texts(&fields, "headers").unwrap_or_default();
        for (pattern, place) in origins.iter().chain(&headers) {
            if pattern.matches('*').count() > 1 {
                self.problem(*place, format!("more than one `*` in {pattern:?}"), "S3 allows at most one");
            }
        }
        let plain = |texts: Vec<(String, Place)>| -> Vec<String> { texts.into_iter().map(|(text, _)| text).collect() };
        Some(Cors {
            origins: plain(origins),
            methods: plain(methods),
            headers: plain(headers),
            expose: plain(self.texts(&fields, "expose").unwrap_or_default()),
            max_age_s: self.optional_number(&fields, "max_age_s"),
        })
    }

    fn upload(&mut self, path: &str, value: &Located) -> Option<Upload> {
        let fields = self.fields(path, value)?;
        Some(Upload {
            function: self.parsed(&fields, "function", "the name of a function")?,
            prefix: self.optional_text(&fields, "prefix"),
            suffix: self.optional_text(&fields, "suffix"),
        })
    }

    fn table(&mut self, path: &str, value: &Located) -> Option<Table> {
        let fields = self.fields(path, value)?;
        let (partition_key, sort_key) = self.keys(&fields);
        let mut local_indexes = self.section(&fields, "local_indexes", Self::local_index);
        for index in local_indexes.values_mut() {
            index.partition_key = partition_key.clone();
        }
        if sort_key.is_none() && !local_indexes.is_empty() {
            let place = self.place(&fields, "local_indexes");
            self.problem(place, "a table with local indexes needs a sort key", "add `sort_key`, or use `indexes`");
        }
        let indexes = self.section(&fields, "indexes", Self::index);
        for (key, named, most) in
            [("indexes", &indexes, MOST_INDEXES), ("local_indexes", &local_indexes, MOST_LOCAL_INDEXES)]
        {
            let place = self.place(&fields, key);
            if named.len() > most {
                let message = format!("{} {key}", named.len());
                self.problem(place, message, format!("DynamoDB allows {most} {key} for a table"));
            }
            if let Some(short) = named.keys().find(|name| name.as_str().len() < 3) {
                let message = format!("the name of an index is too short: {short}");
                self.problem(place, message, "names of indexes have at least 3 characters");
            }
        }
        if let Some(twice) = indexes.keys().find(|name| local_indexes.contains_key(*name)) {
            let place = self.place(&fields, "local_indexes");
            self.problem(place, format!("two indexes are called {twice}"), "choose another name for one of them");
        }
        let table = Table {
            partition_key,
            sort_key,
            indexes,
            local_indexes,
            protect: self.boolean(&fields, "protect"),
            point_in_time_recovery: self.boolean(&fields, "point_in_time_recovery"),
            time_to_live: self.time_to_live(&fields),
            stream: self.stream(&fields),
        };
        self.check_key_types(&fields, &table);
        Some(table)
    }

    fn index(&mut self, path: &str, value: &Located) -> Option<Index> {
        let fields = self.fields(path, value)?;
        let (partition_key, sort_key) = self.keys(&fields);
        Some(Index { partition_key, sort_key, include: self.included(&fields) })
    }

    /// The partition key is filled in later: it is the table's.
    fn local_index(&mut self, path: &str, value: &Located) -> Option<Index> {
        let fields = self.fields(path, value)?;
        if fields.get("sort_key").is_none() {
            self.text(&fields, "sort_key", "the attribute that is the sort key");
        }
        Some(Index {
            partition_key: no_key(),
            sort_key: self.key(&fields, "sort_key"),
            include: self.included(&fields),
        })
    }

    /// The keys of a table or a global index.
    fn keys(&mut self, fields: &Fields<'_>) -> (Key, Option<Key>) {
        if fields.get("partition_key").is_none() {
            self.text(fields, "partition_key", "the attribute that is the partition key");
        }
        let partition_key = self.key(fields, "partition_key").unwrap_or_else(no_key);
        let sort_key = self.key(fields, "sort_key");
        if sort_key.as_ref().is_some_and(|key| !key.name.is_empty() && key.name == partition_key.name) {
            let place = self.place(fields, "sort_key");
            self.problem(place, "both keys are the same attribute", "leave `sort_key` out, or choose another one");
        }
        (partition_key, sort_key)
    }

    /// An attribute's name, or its name and type.
    fn key(&mut self, above: &Fields<'_>, key: &str) -> Option<Key> {
        let (name, kind) = match &above.get(key)?.node {
            Node::Map(_) => {
                let fields = self.fields_of(above, key);
                (self.text(&fields, "name", "the attribute")?, self.one_of(&fields, "type", KEY_TYPES))
            }
            _ => (self.optional_text(above, key)?, KEY_TYPES[0]),
        };
        let place = self.place(above, key);
        if name.is_empty() || name.len() > 255 {
            let message = format!("`{key}` is not a valid attribute name");
            self.problem(place, message, "attribute names have 1 to 255 bytes");
        }
        // The notation of types in plans would be ambiguous.
        if let Some((name, kind)) = name.strip_suffix(')').and_then(|name| name.rsplit_once(" ("))
            && KEY_TYPES.contains(&kind)
        {
            let help = format!("write {key}: {{ name: {name}, type: {kind} }}");
            self.problem(place, format!("`{key}` is a name and a type in one text"), help);
        }
        Some(Key { name, kind })
    }

    fn included(&mut self, fields: &Fields<'_>) -> Option<Vec<String>> {
        let mut names: Vec<String> = self.texts(fields, "include")?.into_iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        let place = self.place(fields, "include");
        if names.len() > MOST_INCLUDED {
            let help = format!("DynamoDB allows {MOST_INCLUDED}: leave `include` out to copy all attributes");
            self.problem(place, format!("{} attributes in one index", names.len()), help);
        }
        if names.iter().any(|name| name.is_empty() || name.len() > 255) {
            self.problem(place, "this is not a valid attribute name", "attribute names have 1 to 255 bytes");
        }
        Some(names)
    }

    fn time_to_live(&mut self, fields: &Fields<'_>) -> Option<String> {
        let name = self.optional_text(fields, "time_to_live")?;
        if name.is_empty() || name.len() > 255 {
            let place = self.place(fields, "time_to_live");
            self.problem(place, "`time_to_live` is not a valid attribute name", "attribute names have 1 to 255 bytes");
        }
        Some(name)
    }

    fn stream(&mut self, fields: &Fields<'_>) -> Option<String> {
        let contents = self.one_of(fields, "stream", STREAMS);
        (contents != STREAMS[0]).then(|| contents.to_owned())
    }

    /// An attribute has one type in all keys of a table.
    fn check_key_types(&mut self, fields: &Fields<'_>, table: &Table) {
        let of_indexes = table.indexes.values().chain(table.local_indexes.values());
        let of_indexes = of_indexes.flat_map(|index| iter::once(&index.partition_key).chain(&index.sort_key));
        let mut known: BTreeMap<&str, &str> = BTreeMap::new();
        for key in iter::once(&table.partition_key).chain(&table.sort_key).chain(of_indexes) {
            let first = *known.entry(&key.name).or_insert(key.kind);
            if first != key.kind && !key.name.is_empty() {
                let message = format!("the key `{}` is a {first} in one place and a {} in another", key.name, key.kind);
                self.problem(fields.place, message, "an attribute has the same type in all keys of a table");
                return;
            }
        }
    }

    /// One of these texts, of which the first is the default.
    fn one_of(&mut self, fields: &Fields<'_>, key: &str, texts: &'static [&'static str]) -> &'static str {
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

    fn function(&mut self, path: &str, value: &Located) -> Option<Function> {
        let fields = self.fields(path, value)?;
        Some(Function {
            program: self.program(&fields),
            architecture: self.architecture(&fields),
            memory_mb: self.number(&fields, "memory_mb"),
            timeout_s: self.number(&fields, "timeout_s"),
            log_retention_days: self.retention(&fields),
            environment: self.environment(&fields, kept_by_lambda),
            uses: self.uses(&fields),
        })
    }

    fn service(&mut self, path: &str, value: &Located) -> Option<Service> {
        let fields = self.fields(path, value)?;
        Some(Service {
            program: self.program(&fields),
            instance_type: self.instance_type(&fields),
            port: self.port(&fields, "port"),
            instances: self.instances(&fields),
            health_check: self.health_check(&fields),
            load_balancer: self.load_balancer(&fields),
            image: self.image(&fields),
            disk_gb: self.number(&fields, "disk_gb"),
            grace_period_s: self.number(&fields, "grace_period_s"),
            bake_minutes: self.minutes(&fields, "bake"),
            log_retention_days: self.retention(&fields),
            environment: self.environment(&fields, kept_by_us),
            uses: self.uses(&fields),
        })
    }

    fn instance_type(&mut self, fields: &Fields<'_>) -> InstanceType {
        self.text(fields, "instance_type", "an instance type such as t3.micro")
            .and_then(|text| {
                let message = format!("there is no instance type {text:?}");
                self.understood(fields, "instance_type", &message, text.parse())
            })
            .unwrap_or(InstanceType { name: String::new(), architecture: Architecture::X86_64 })
    }

    fn image(&mut self, fields: &Fields<'_>) -> Option<String> {
        let image = self.optional_text(fields, "image")?;
        let hex = image.strip_prefix("ami-").unwrap_or_default();
        if hex.is_empty() || !hex.chars().all(|c| c.is_ascii_hexdigit()) {
            let place = self.place(fields, "image");
            self.problem(
                place,
                format!("{image:?} is not a machine image id"),
                "image ids look like ami-0abc…; leave `image` out to use the newest Amazon Linux 2023",
            );
        }
        Some(image)
    }

    fn instances(&mut self, service: &Fields<'_>) -> Instances {
        let fields = self.fields_of(service, "instances");
        let min = self.number(&fields, "min");
        // A larger `min` raises the default of `max`.
        let max = self.optional_number(&fields, "max").unwrap_or_else(|| usual(&fields, "max").max(min));
        if min > max {
            let place = self.place(&fields, "min");
            self.problem(place, format!("min ({min}) is more than max ({max})"), "lower `min` or raise `max`");
        }
        Instances { min, max, cpu_percent: self.number(&fields, "cpu_percent") }
    }

    fn health_check(&mut self, service: &Fields<'_>) -> HealthCheck {
        let short = service.get("health_check").and_then(|value| match &value.node {
            Node::Text(text) => Some((value.place, text.clone())),
            _ => None,
        });
        let fields = match &short {
            Some(_) => Fields::none(service, "health_check"),
            None => self.fields_of(service, "health_check"),
        };
        let (place, path) = short.unwrap_or_else(|| {
            let path = self.optional_text(&fields, "path").unwrap_or_else(|| usual_text(&fields, "path"));
            (self.place(&fields, "path"), path)
        });
        self.check_path(place, &path);
        let interval_s = self.number(&fields, "interval_s");
        let timeout_s = self
            .optional_number(&fields, "timeout_s")
            .unwrap_or_else(|| usual(&fields, "timeout_s").min(interval_s - 1));
        if timeout_s >= interval_s {
            let place = self.place(&fields, "timeout_s");
            self.problem(place, "the timeout must be shorter than the interval", "lower `timeout_s`");
        }
        HealthCheck {
            path,
            interval_s,
            timeout_s,
            healthy: self.number(&fields, "healthy"),
            unhealthy: self.number(&fields, "unhealthy"),
            matcher: self.matcher(&fields).unwrap_or_else(|| usual_text(&fields, "matcher")),
        }
    }

    fn matcher(&mut self, fields: &Fields<'_>) -> Option<String> {
        match &fields.get("matcher")?.node {
            Node::Number(status @ 200..=499) => Some(status.to_string()),
            Node::Text(text) if text.split(',').all(are_statuses) => Some(text.clone()),
            _ => {
                let place = self.place(fields, "matcher");
                self.problem(place, "this is not a set of HTTP statuses", "write 200, 200-299 or 200,204");
                None
            }
        }
    }

    fn check_path(&mut self, place: Place, path: &str) {
        if !path.starts_with('/') || path.len() > 1024 || path.contains(char::is_whitespace) {
            self.problem(place, format!("{path:?} is not a valid path"), "paths begin with a slash, like /health");
        }
    }

    fn load_balancer(&mut self, service: &Fields<'_>) -> Balancer {
        let fields = self.fields_of(service, "load_balancer");
        let (port, protect) = (self.port(&fields, "port"), self.boolean(&fields, "protect"));
        if fields.get("allow").is_none() {
            return Balancer { port, allow: vec![Cidr(usual_text(&fields, "allow"))], protect };
        }
        let blocks = self.some_texts(&fields, "allow", "allow: [\"0.0.0.0/0\"]");
        let mut allow = Vec::new();
        for (text, place) in blocks {
            match text.parse() {
                Ok(block) => allow.push(block),
                Err(help) => self.problem(place, format!("{text:?} is not a CIDR block"), help),
            }
        }
        Balancer { port, allow, protect }
    }

    fn program(&mut self, fields: &Fields<'_>) -> Program {
        let nothing = Program::Package(String::new());
        let help = "name a Cargo package with `package`, or a finished program with `binary`";
        match (fields.get("package"), fields.get("binary")) {
            (Some(_), None) => self.package(fields).map_or(nothing, Program::Package),
            (None, Some(_)) => {
                let binary = self.optional_text(fields, "binary").unwrap_or_default();
                if binary.is_empty() {
                    self.problem(self.place(fields, "binary"), "`binary` names no file", help);
                }
                Program::Binary(binary.into())
            }
            (package, _) => {
                let what = if package.is_some() { "two programs" } else { "no program" };
                self.problem(fields.place, format!("{} has {what}", fields.path), help);
                nothing
            }
        }
    }

    fn package(&mut self, fields: &Fields<'_>) -> Option<String> {
        let package = self.optional_text(fields, "package")?;
        let is_name = |c: char| c.is_alphanumeric() || "-_".contains(c);
        if package.is_empty() || package.starts_with('-') || !package.chars().all(is_name) {
            let help = "write the package's name from its Cargo.toml; `binary` is for files";
            self.problem(self.place(fields, "package"), format!("{package:?} is not a package name"), help);
        }
        Some(package)
    }

    fn architecture(&mut self, fields: &Fields<'_>) -> Architecture {
        match self.optional_text(fields, "architecture").as_deref() {
            None | Some("x86_64") => Architecture::X86_64,
            Some("arm64") => Architecture::Arm64,
            Some(other) => {
                let place = self.place(fields, "architecture");
                let help = match other.to_lowercase().as_str() {
                    "amd64" | "x86-64" | "x64" | "x86" | "i686" => "use x86_64, as AWS calls it",
                    "aarch64" | "arm" | "graviton" => "use arm64, as AWS calls it",
                    _ => "use x86_64 or arm64",
                };
                self.problem(place, format!("there is no architecture {other:?}"), help);
                Architecture::X86_64
            }
        }
    }

    fn retention(&mut self, fields: &Fields<'_>) -> Option<u16> {
        let days: u16 = self.optional_number(fields, "log_retention_days")?;
        if !RETENTIONS.contains(&i64::from(days)) {
            let nearest = RETENTIONS.iter().find(|allowed| **allowed >= i64::from(days)).unwrap_or(&3_653);
            let place = self.place(fields, "log_retention_days");
            self.problem(place, format!("CloudWatch cannot keep a log for {days} days"), format!("use {nearest}"));
        }
        Some(days)
    }

    fn uses(&mut self, fields: &Fields<'_>) -> Uses {
        let fields = self.fields_of(fields, "uses");
        Uses {
            buckets: self.accesses(&fields, "buckets"),
            tables: self.accesses(&fields, "tables"),
            rekognition: self.boolean(&fields, "rekognition"),
        }
    }

    fn accesses(&mut self, uses: &Fields<'_>, section: &str) -> BTreeMap<Name, Access> {
        let path = uses.path(section);
        let Some(entries) = uses.get(section).and_then(|value| self.map(&path, value)) else {
            return BTreeMap::new();
        };
        let mut accesses = BTreeMap::new();
        for (key, place, value) in entries {
            self.places.insert(format!("{path}.{key}"), *place);
            let access = match &value.node {
                Node::Text(text) if text == "read" => Access::Read,
                Node::Text(text) if text == "write" => Access::Write,
                Node::Text(text) if text == "read_write" => Access::ReadWrite,
                _ => {
                    self.problem(value.place, "this is not a kind of access", "use read, write or read_write");
                    continue;
                }
            };
            match key.parse() {
                Ok(name) => drop(accesses.insert(name, access)),
                Err(help) => self.problem(*place, format!("{key:?} is not a valid entry name"), help),
            }
        }
        accesses
    }

    fn environment(
        &mut self,
        fields: &Fields<'_>,
        kept: fn(&str) -> Option<(&'static str, &'static str)>,
    ) -> Environment {
        let path = fields.path("environment");
        let value = fields.get("environment");
        value.iter().for_each(|value| scalars(value, &mut self.secrets));
        let Some(entries) = value.and_then(|value| self.map(&path, value)) else {
            return Environment::new();
        };
        for (key, place, _) in entries {
            if let Some((what, help)) = kept(key) {
                self.problem(*place, format!("`{key}` {what}"), help);
            }
        }
        self.named_texts(&path, entries).into_iter().collect()
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
            let begins = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            if !begins || !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                let help = "use letters, digits and underscores, not beginning with a digit";
                self.problem(*place, format!("{key:?} is not a valid variable name"), help);
            }
            texts.extend(self.reference_text(value).map(|text| (key.clone(), text)));
        }
        texts
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

    fn written(&self, value: &Located) -> &str {
        self.text.get(value.bytes.clone()).unwrap_or_default()
    }

    /// Returns a scalar as it is written, if it is short and plain enough to be repeated in an example.
    fn plain<'v>(&'v self, value: &'v Located) -> Option<&'v str> {
        let written = match &value.node {
            Node::Text(text) => text,
            Node::Number(_) | Node::Fraction | Node::Bool(_) => self.written(value),
            _ => return None,
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
        (!written.is_empty() && written.len() <= 40 && written.chars().all(is_plain)).then_some(written)
    }

    /// The kind of a value, for messages: digits alone are a number, however many there are.
    fn kind(&self, value: &Located) -> &'static str {
        let is_digits = || self.written(value).chars().all(|c| c.is_ascii_digit());
        if matches!(value.node, Node::Fraction) && is_digits() { "a number" } else { value.node.kind() }
    }

    /// The place of a part of a value: that of the value itself if it contains escapes.
    fn place_within(&self, value: &Located, part: &str) -> Place {
        let written = self.written(value);
        let Some(before) = written.find(part).map(|at| &written[..at]) else { return value.place };
        match before.rsplit_once('\n') {
            None => Place { column: value.place.column + before.chars().count(), ..value.place },
            Some((lines, line)) => {
                Place { line: value.place.line + lines.matches('\n').count() + 1, column: line.chars().count() + 1 }
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
                self.problem(*place, format!("`{key}` stands twice"), "IAM ignores the case of tag keys");
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

    /// Returns the fields of an optional mapping; a value of another kind has none.
    fn fields_of<'a>(&mut self, above: &Fields<'a>, key: &str) -> Fields<'a> {
        let fields = above.get(key).and_then(|value| self.fields(&above.path(key), value));
        fields.unwrap_or_else(|| Fields::none(above, key))
    }

    fn fields<'a>(&mut self, path: &str, value: &'a Located) -> Option<Fields<'a>> {
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
                None => format!("known are: {}", known.join(", ")),
            };
            self.problem(*place, format!("unknown key `{key}`"), help);
        }
        Some(fields)
    }

    fn map<'a>(&mut self, path: &str, value: &'a Located) -> Option<&'a [(String, Place, Located)]> {
        match &value.node {
            Node::Map(entries) => Some(entries),
            other => {
                let what = if path.is_empty() { "the file" } else { path };
                let help = format!("write {}", shape(path, self.plain(value)));
                self.problem(value.place, format!("{what} is {}, and should be a mapping", other.kind()), help);
                None
            }
        }
    }

    fn text(&mut self, fields: &Fields<'_>, key: &str, example: &str) -> Option<String> {
        if fields.get(key).is_none() {
            let whole = if fields.path.is_empty() { String::new() } else { format!(" in {}", fields.path) };
            self.problem(fields.place, format!("`{key}` is missing{whole}"), format!("add `{key}`: {example}"));
            return None;
        }
        self.optional_text(fields, key)
    }

    fn optional_text(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
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

    fn parsed<T: FromStr<Err = String>>(&mut self, fields: &Fields<'_>, key: &str, example: &str) -> Option<T> {
        let text = self.text(fields, key, example)?;
        self.understood(fields, key, &format!("`{key}` cannot be {text:?}"), text.parse())
    }

    fn understood<T>(&mut self, fields: &Fields<'_>, key: &str, message: &str, parsed: Result<T, String>) -> Option<T> {
        parsed
            .map_err(|help| {
                let place = self.place(fields, key);
                self.problem(place, message, help);
            })
            .ok()
    }

    fn texts(&mut self, fields: &Fields<'_>, key: &str) -> Option<Vec<(String, Place)>> {
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
    fn some_texts(&mut self, fields: &Fields<'_>, key: &str, example: &str) -> Vec<(String, Place)> {
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

    fn boolean(&mut self, fields: &Fields<'_>, key: &str) -> bool {
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

    fn port(&mut self, fields: &Fields<'_>, key: &str) -> Port {
        Port(self.number(fields, key))
    }

    fn number(&mut self, fields: &Fields<'_>, key: &str) -> u16 {
        self.optional_number(fields, key).unwrap_or_else(|| usual(fields, key))
    }

    /// Every number in a description fits 16 bits.
    fn optional_number(&mut self, fields: &Fields<'_>, key: &str) -> Option<u16> {
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
    fn minutes(&mut self, fields: &Fields<'_>, key: &str) -> Option<u16> {
        let Some(Takes::Minutes { least, most, .. }) = fields.takes(key) else { return None };
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

    fn place(&self, fields: &Fields<'_>, key: &str) -> Place {
        fields.get(key).map_or(fields.place, |value| value.place)
    }

    fn problem(&mut self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem { place, message: message.into(), help: Some(help.into()) });
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The byte ranges of the scalars in a value: of the value itself, or of its items.
fn scalars(value: &Located, found: &mut Vec<Range<usize>>) {
    match &value.node {
        Node::List(items) => items.iter().for_each(|item| scalars(item, found)),
        Node::Map(entries) => entries.iter().for_each(|(_, _, item)| scalars(item, found)),
        _ => found.push(value.bytes.clone()),
    }
}

/// Stands for a key that is missing or that comes later.
fn no_key() -> Key {
    Key { name: String::new(), kind: KEY_TYPES[0] }
}

/// One status or a range of them, as load balancers take them.
fn are_statuses(text: &str) -> bool {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| text.parse().ok().filter(|status: &u16| (200..=499).contains(status));
    status(first).zip(status(last)).is_some_and(|(first, last)| first <= last)
}

/// Examples of mappings, by the end of their path; `*` stands for an entry's name. `$` stands for the value that was
/// written in place of the mapping, or else for the default beside it.
const SHAPES: &[(&str, &str, &str)] = &[
    ("tags", "tags: { $: value }", "course"),
    ("roles", "roles: { existing: $, instance_profile: LabInstanceProfile }", "LabRole"),
    ("buckets", "buckets: { $: {} }", "images"),
    ("buckets.*", "*: { protect: true }", ""),
    ("buckets.*.cors", "cors: { methods: [GET, PUT] }", ""),
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
    ("services.*.load_balancer", "load_balancer: { port: $ }", "80"),
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
fn shape(path: &str, written: Option<&str>) -> String {
    let parts: Vec<&str> = path.split('.').collect();
    let fits = |pattern: &str| {
        let pattern: Vec<&str> = pattern.split('.').collect();
        let is_end = pattern[0] == "*" && parts.len() >= pattern.len();
        let end = &parts[parts.len().saturating_sub(pattern.len())..];
        (is_end || parts.len() == pattern.len())
            && pattern.iter().zip(end).all(|(wanted, part)| *wanted == "*" || wanted == part)
    };
    match SHAPES.iter().find(|(pattern, _, _)| fits(pattern)) {
        Some((_, example, usual)) => {
            let entry = parts.last().copied().unwrap_or_default();
            example.replace("*:", &format!("{entry}:")).replace('$', written.unwrap_or(usual))
        }
        None => "`name: my-stack` and `region: us-east-1` first, each on a line of its own".into(),
    }
}

/// Variables that Lambda sets itself and rejects (AWS Lambda Developer Guide, "Defined runtime environment variables",
/// reserved ones). All others may be set, such as `AWS_ENDPOINT_URL_REKOGNITION` or `TZ`.
pub const RESERVED_BY_LAMBDA: &[&str] = &[
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
];

/// Variables that a function cannot have, and why (docs/aws.md §7.1).
fn kept_by_lambda(name: &str) -> Option<(&'static str, &'static str)> {
    if RESERVED_BY_LAMBDA.contains(&name) {
        return Some(("is set by Lambda itself", "leave it out"));
    }
    let taken = name.len() > 1 && !name.starts_with('_');
    let help = "Lambda takes names of at least two characters that begin with a letter";
    (!taken).then_some(("cannot be a variable of a function", help))
}

/// Variables that a service cannot have, and why.
fn kept_by_us(name: &str) -> Option<(&'static str, &'static str)> {
    (name == "PORT").then_some(("is set by the deployer", "leave it out: the service's `port` is where it listens"))
}

/// Characters that user data cannot carry: line breaks of YAML and systemd, and what neither accepts.
fn breaks_a_line(c: char) -> bool {
    (c.is_control() && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// The characters that every AWS service accepts in tags.
fn is_of_tags(c: char) -> bool {
    c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c)
}
