//! From a located tree to typed values, field by field, collecting every problem on the way.

use std::{collections::BTreeMap, ops::RangeInclusive, str::FromStr};

use super::{
    Access, Balancer, Bucket, Cidr, Config, Cors, Environment, ExistingRoles, Function, HealthCheck, InstanceType,
    Instances, Name, Place, Port, Problem, Program, RETENTIONS, Region, Service, Table, Text, Upload, Uses, checks,
    error::did_you_mean,
    tree::{Located, Node},
};
use crate::package::Architecture;

/// Reads a whole description.
pub fn read(text: &str) -> Result<Config, Vec<Problem>> {
    let root: Located = serde_yaml::from_str(text).map_err(|error| vec![syntax(&error)])?;
    let mut reader = Reader::default();
    let config = reader.config(&root);
    match config {
        Some(mut config) if reader.problems.is_empty() => {
            config.places = reader.places;
            let problems = checks::all(&config);
            if problems.is_empty() { Ok(config) } else { Err(problems) }
        }
        _ => Err(reader.problems),
    }
}

fn syntax(error: &serde_yaml::Error) -> Problem {
    let error = error.without_snippet();
    let place = error.location().map(|location| Place::from(&location)).unwrap_or_default();
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    let message = message.split(", set DuplicateKeyPolicy").next().unwrap_or_default().to_owned();
    let help = if message.contains("duplicate") {
        "keep one of the two"
    } else {
        "check the indentation and the quotes around here"
    };
    Problem { place, message, help: Some(help.into()) }
}

#[derive(Default)]
struct Reader {
    problems: Vec<Problem>,
    places: BTreeMap<String, Place>,
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
}

const TOP: &[&str] =
    &["name", "region", "account", "tags", "roles", "buckets", "tables", "functions", "services", "outputs"];

impl Reader {
    fn config(&mut self, root: &Located) -> Option<Config> {
        if matches!(root.node, Node::Null) {
            self.problem(root.place, "the file is empty", "begin with `name: my-stack` and `region: us-east-1`");
            return None;
        }
        let fields = self.fields("", root, TOP)?;
        let name = self.parsed(&fields, "name", "a name such as postagram");
        let region = self.parsed::<Region>(&fields, "region", "a region such as us-east-1");
        let account = self.optional_text(&fields, "account");
        let tags = self.tags(&fields);
        let roles = self.roles(&fields);
        let buckets = self.section(&fields, "buckets", Reader::bucket);
        let tables = self.section(&fields, "tables", Reader::table);
        let functions = self.section(&fields, "functions", Reader::function);
        let services = self.section(&fields, "services", Reader::service);
        let outputs = self.outputs(&fields);
        Some(Config {
            name: name?,
            region: region?,
            account,
            tags,
            roles,
            buckets,
            tables,
            functions,
            services,
            outputs,
            places: BTreeMap::new(),
        })
    }

    fn section<T>(
        &mut self,
        top: &Fields<'_>,
        section: &str,
        read: fn(&mut Reader, &str, &Located) -> Option<T>,
    ) -> BTreeMap<Name, T> {
        let Some(value) = top.get(section) else { return BTreeMap::new() };
        let Some(entries) = self.map(section, value) else { return BTreeMap::new() };
        let mut read_entries = BTreeMap::new();
        for (key, place, value) in entries {
            let path = format!("{section}.{key}");
            self.places.insert(path.clone(), *place);
            let name = Name::from_str(key)
                .map_err(|help| self.problem(*place, format!("{key:?} is no name for an entry"), help))
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
        let fields = self.fields(path, value, &["cors", "on_upload"])?;
        let cors = fields.get("cors").and_then(|value| self.cors(&fields.path("cors"), value));
        let on_upload = fields.get("on_upload").and_then(|value| self.upload(&fields.path("on_upload"), value));
        Some(Bucket { cors, on_upload })
    }

    fn cors(&mut self, path: &str, value: &Located) -> Option<Cors> {
        let fields = self.fields(path, value, &["origins", "methods", "headers", "expose", "max_age_s"])?;
        let methods = self.texts(&fields, "methods").unwrap_or_default();
        for (method, place) in &methods {
            if !["GET", "HEAD", "PUT", "POST", "DELETE"].contains(&method.as_str()) {
                self.problem(*place, format!("S3 knows no method {method:?}"), "use GET, HEAD, PUT, POST or DELETE");
            }
        }
        let plain = |texts: Option<Vec<(String, Place)>>| -> Vec<String> {
            texts.unwrap_or_default().into_iter().map(|(text, _)| text).collect()
        };
        Some(Cors {
            origins: match self.texts(&fields, "origins") {
                Some(origins) => plain(Some(origins)),
                None => vec!["*".into()],
            },
            methods: plain(Some(methods)),
            headers: plain(self.texts(&fields, "headers")),
            expose: plain(self.texts(&fields, "expose")),
            max_age_s: self.optional_number(&fields, "max_age_s", 0..=65_535),
        })
    }

    fn upload(&mut self, path: &str, value: &Located) -> Option<Upload> {
        let fields = self.fields(path, value, &["function", "prefix", "suffix"])?;
        Some(Upload {
            function: self.parsed(&fields, "function", "the name of a function")?,
            prefix: self.optional_text(&fields, "prefix"),
            suffix: self.optional_text(&fields, "suffix"),
        })
    }

    fn table(&mut self, path: &str, value: &Located) -> Option<Table> {
        let known = ["partition_key", "sort_key", "protect", "point_in_time_recovery"];
        let fields = self.fields(path, value, &known)?;
        let partition_key = self.text(&fields, "partition_key", "the attribute that is the partition key");
        Some(Table {
            partition_key: partition_key?,
            sort_key: self.optional_text(&fields, "sort_key"),
            protect: self.boolean(&fields, "protect"),
            point_in_time_recovery: self.boolean(&fields, "point_in_time_recovery"),
        })
    }

    fn function(&mut self, path: &str, value: &Located) -> Option<Function> {
        let known = [
            "package",
            "binary",
            "architecture",
            "memory_mb",
            "timeout_s",
            "log_retention_days",
            "environment",
            "uses",
        ];
        let fields = self.fields(path, value, &known)?;
        let program = self.program(&fields);
        Some(Function {
            architecture: self.architecture(&fields),
            memory_mb: self.number(&fields, "memory_mb", 128..=10_240, 128),
            timeout_s: self.number(&fields, "timeout_s", 1..=900, 30),
            log_retention_days: self.retention(&fields),
            environment: self.environment(&fields),
            uses: self.uses(&fields, &["buckets", "tables", "rekognition"]),
            program: program?,
        })
    }

    fn service(&mut self, path: &str, value: &Located) -> Option<Service> {
        let known = [
            "package",
            "binary",
            "port",
            "instance_type",
            "instances",
            "health_check",
            "load_balancer",
            "image",
            "disk_gb",
            "grace_period_s",
            "environment",
            "uses",
        ];
        let fields = self.fields(path, value, &known)?;
        let program = self.program(&fields);
        let instance_type = self.instance_type(&fields);
        Some(Service {
            port: self.port(&fields, "port", 8080),
            instances: self.instances(&fields),
            health_check: self.health_check(&fields),
            load_balancer: self.load_balancer(&fields),
            image: self.image(&fields),
            disk_gb: self.number(&fields, "disk_gb", 8..=16_384, 8),
            grace_period_s: self.number(&fields, "grace_period_s", 30..=7_200, 240),
            environment: self.environment(&fields),
            uses: self.uses(&fields, &["buckets", "tables"]),
            program: program?,
            instance_type: instance_type?,
        })
    }

    fn instance_type(&mut self, fields: &Fields<'_>) -> Option<InstanceType> {
        let text = self.text(fields, "instance_type", "an instance type such as t3.micro")?;
        self.understood(fields, "instance_type", &format!("there is no instance type {text:?}"), text.parse())
    }

    fn image(&mut self, fields: &Fields<'_>) -> Option<String> {
        let image = self.optional_text(fields, "image")?;
        let hex = image.strip_prefix("ami-").unwrap_or_default();
        if hex.is_empty() || !hex.chars().all(|c| c.is_ascii_hexdigit()) {
            let place = self.place(fields, "image");
            self.problem(
                place,
                format!("{image:?} is no machine image"),
                "images are called like ami-0abc…; leave `image` out to use the newest Amazon Linux 2023",
            );
        }
        Some(image)
    }

    fn instances(&mut self, service: &Fields<'_>) -> Instances {
        let usual = Instances { min: 1, max: 4, cpu_percent: 50 };
        let Some(value) = service.get("instances") else { return usual };
        let path = service.path("instances");
        let Some(fields) = self.fields(&path, value, &["min", "max", "cpu_percent"]) else { return usual };
        let min = self.number(&fields, "min", 0..=100, usual.min);
        let max = self.number(&fields, "max", 1..=100, usual.max.max(min));
        if min > max {
            let place = self.place(&fields, "min");
            self.problem(place, format!("min ({min}) is more than max ({max})"), "lower `min` or raise `max`");
        }
        Instances { min, max, cpu_percent: self.number(&fields, "cpu_percent", 10..=100, usual.cpu_percent) }
    }

    fn health_check(&mut self, service: &Fields<'_>) -> HealthCheck {
        let path = |path: &str| HealthCheck {
            path: path.into(),
            interval_s: 10,
            timeout_s: 5,
            healthy: 2,
            unhealthy: 2,
            matcher: "200".into(),
        };
        let usual = path("/");
        let Some(value) = service.get("health_check") else { return usual };
        if let Node::Text(text) = &value.node {
            self.check_path(value.place, text);
            return path(text);
        }
        let known = ["path", "interval_s", "timeout_s", "healthy", "unhealthy", "matcher"];
        let Some(fields) = self.fields(&service.path("health_check"), value, &known) else { return usual };
        let path = self.optional_text(&fields, "path").unwrap_or(usual.path);
        let place = self.place(&fields, "path");
        self.check_path(place, &path);
        let interval_s = self.number(&fields, "interval_s", 5..=300, usual.interval_s);
        let timeout_s = self.number(&fields, "timeout_s", 2..=120, usual.timeout_s.min(interval_s - 1));
        if timeout_s >= interval_s {
            let place = self.place(&fields, "timeout_s");
            self.problem(place, "the timeout must be shorter than the interval", "lower `timeout_s`");
        }
        HealthCheck {
            path,
            interval_s,
            timeout_s,
            healthy: self.number(&fields, "healthy", 2..=10, usual.healthy),
            unhealthy: self.number(&fields, "unhealthy", 2..=10, usual.unhealthy),
            matcher: self.matcher(&fields).unwrap_or(usual.matcher),
        }
    }

    fn matcher(&mut self, fields: &Fields<'_>) -> Option<String> {
        match &fields.get("matcher")?.node {
            Node::Number(status @ 200..=499) => Some(status.to_string()),
            Node::Text(text) if text.chars().all(|c| c.is_ascii_digit() || "-,".contains(c)) => Some(text.clone()),
            _ => {
                let place = self.place(fields, "matcher");
                self.problem(place, "this is no set of HTTP statuses", "write 200, 200-299 or 200,204");
                None
            }
        }
    }

    fn check_path(&mut self, place: Place, path: &str) {
        if !path.starts_with('/') || path.len() > 1024 || path.contains(char::is_whitespace) {
            self.problem(place, format!("{path:?} is no path"), "paths begin with a slash, like /health");
        }
    }

    fn load_balancer(&mut self, service: &Fields<'_>) -> Balancer {
        let everyone = || vec![Cidr("0.0.0.0/0".into())];
        let usual = Balancer { port: Port(80), allow: everyone() };
        let Some(value) = service.get("load_balancer") else { return usual };
        let Some(fields) = self.fields(&service.path("load_balancer"), value, &["port", "allow"]) else {
            return usual;
        };
        let port = self.port(&fields, "port", 80);
        let Some(blocks) = self.texts(&fields, "allow") else { return Balancer { port, allow: everyone() } };
        let mut allow = Vec::new();
        for (text, place) in blocks {
            match text.parse() {
                Ok(block) => allow.push(block),
                Err(help) => self.problem(place, format!("{text:?} is no block of addresses"), help),
            }
        }
        Balancer { port, allow }
    }

    fn program(&mut self, fields: &Fields<'_>) -> Option<Program> {
        match (self.optional_text(fields, "package"), self.optional_text(fields, "binary")) {
            (Some(package), None) => Some(Program::Package(package)),
            (None, Some(binary)) => Some(Program::Binary(binary.into())),
            (package, _) => {
                let what = if package.is_some() { "two programs" } else { "no program" };
                let help = "name a Cargo package with `package`, or a finished program with `binary`";
                self.problem(fields.place, format!("{} has {what}", fields.path), help);
                None
            }
        }
    }

    fn architecture(&mut self, fields: &Fields<'_>) -> Architecture {
        match self.optional_text(fields, "architecture").as_deref() {
            None | Some("x86_64") => Architecture::X86_64,
            Some("arm64") => Architecture::Arm64,
            Some(other) => {
                let place = self.place(fields, "architecture");
                self.problem(place, format!("there is no architecture {other:?}"), "use x86_64 or arm64");
                Architecture::X86_64
            }
        }
    }

    fn retention(&mut self, fields: &Fields<'_>) -> Option<u16> {
        let days: u16 = self.optional_number(fields, "log_retention_days", 1..=3_653)?;
        if !RETENTIONS.contains(&i64::from(days)) {
            let nearest = RETENTIONS.iter().find(|allowed| **allowed >= i64::from(days)).unwrap_or(&3_653);
            let place = self.place(fields, "log_retention_days");
            self.problem(place, format!("CloudWatch cannot keep a log for {days} days"), format!("use {nearest}"));
        }
        Some(days)
    }

    fn uses(&mut self, fields: &Fields<'_>, known: &[&str]) -> Uses {
        let Some(value) = fields.get("uses") else { return Uses::default() };
        let Some(fields) = self.fields(&fields.path("uses"), value, known) else { return Uses::default() };
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
                    self.problem(value.place, "this is no way to use something", "use read, write or read_write");
                    continue;
                }
            };
            match key.parse() {
                Ok(name) => drop(accesses.insert(name, access)),
                Err(help) => self.problem(*place, format!("{key:?} is no entry's name"), help),
            }
        }
        accesses
    }

    fn environment(&mut self, fields: &Fields<'_>) -> Environment {
        let path = fields.path("environment");
        let Some(entries) = fields.get("environment").and_then(|value| self.map(&path, value)) else {
            return Environment::new();
        };
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
                self.problem(*place, format!("{key:?} is no name of a variable"), help);
            }
            texts.extend(self.reference_text(value).map(|text| (key.clone(), text)));
        }
        texts
    }

    fn reference_text(&mut self, value: &Located) -> Option<Text> {
        let text = match &value.node {
            Node::Text(text) => text.clone(),
            Node::Number(number) => number.to_string(),
            Node::Bool(truth) => truth.to_string(),
            Node::Null => String::new(),
            other => {
                self.problem(value.place, format!("{} where a text belongs", other.kind()), "write a text");
                return None;
            }
        };
        if text.contains(['\n', '\r', '\0']) {
            self.problem(value.place, "a value of more than one line", "variables hold one line");
            return None;
        }
        match Text::parse(&text) {
            Ok(text) => Some(text),
            Err((message, at)) => {
                // Behind an opening quote, which the place of the value points at.
                let place = Place { column: value.place.column + at + 1, ..value.place };
                let help = "references look like ${buckets.images.name}; write $${ for the characters themselves";
                self.problem(place, message, help);
                None
            }
        }
    }

    fn tags(&mut self, top: &Fields<'_>) -> BTreeMap<String, String> {
        let Some(entries) = top.get("tags").and_then(|value| self.map("tags", value)) else {
            return BTreeMap::new();
        };
        let mut tags = BTreeMap::new();
        for (key, place, value) in entries {
            let reserved = ["aws:", "deployer:"].iter().any(|prefix| key.to_lowercase().starts_with(prefix));
            if reserved || key.is_empty() || key.chars().count() > 128 {
                let help = "tag names have 1 to 128 characters and begin neither with aws: nor with deployer:";
                self.problem(*place, format!("{key:?} is no name of a tag"), help);
            }
            let text = match &value.node {
                Node::Text(text) => text.clone(),
                Node::Number(number) => number.to_string(),
                Node::Bool(truth) => truth.to_string(),
                other => {
                    self.problem(value.place, format!("{} where a text belongs", other.kind()), "write a text");
                    continue;
                }
            };
            if text.chars().count() > 256 {
                self.problem(value.place, "a tag of more than 256 characters", "shorten it");
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
        let fields = self.fields("roles", value, &["existing", "instance_profile"])?;
        Some(ExistingRoles {
            existing: self.text(&fields, "existing", "the name of a role, such as LabRole")?,
            instance_profile: self.optional_text(&fields, "instance_profile"),
        })
    }

    fn fields<'a>(&mut self, path: &str, value: &'a Located, known: &[&str]) -> Option<Fields<'a>> {
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
                let help = "write `key: value` lines below it, indented";
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
            // `account: 012345678901` and the like: quotes are what keeps the zeros.
            other => {
                let help = "put it in quotes if it is meant as a text";
                self.problem(value.place, format!("`{key}` is {}, and should be a text", other.kind()), help);
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
            let message = format!("`{key}` is {}, and should be a list", value.node.kind());
            self.problem(value.place, message, "write it as [one, two]");
            return None;
        };
        let mut texts = Vec::new();
        for item in items {
            match &item.node {
                Node::Text(text) => texts.push((text.clone(), item.place)),
                other => {
                    let message = format!("{} in a list of texts", other.kind());
                    self.problem(item.place, message, "put it in quotes if it is meant as a text");
                }
            }
        }
        Some(texts)
    }

    fn boolean(&mut self, fields: &Fields<'_>, key: &str) -> bool {
        match fields.get(key).map(|value| (&value.node, value.place)) {
            None => false,
            Some((Node::Bool(truth), _)) => *truth,
            Some((other, place)) => {
                let message = format!("`{key}` is {}, and should be true or false", other.kind());
                self.problem(place, message, "write true or false, without quotes");
                false
            }
        }
    }

    fn port(&mut self, fields: &Fields<'_>, key: &str, usual: u16) -> Port {
        Port(self.number(fields, key, 1..=65_535, usual))
    }

    fn number(&mut self, fields: &Fields<'_>, key: &str, range: RangeInclusive<i64>, usual: u16) -> u16 {
        self.optional_number(fields, key, range).unwrap_or(usual)
    }

    /// Every number of a description fits 16 bits.
    fn optional_number(&mut self, fields: &Fields<'_>, key: &str, range: RangeInclusive<i64>) -> Option<u16> {
        let value = fields.get(key)?;
        let Node::Number(number) = value.node else {
            let message = format!("`{key}` is {}, and should be a number", value.node.kind());
            self.problem(value.place, message, "write a whole number, without quotes");
            return None;
        };
        let small = u16::try_from(number).ok().filter(|_| range.contains(&number));
        if small.is_none() {
            let help = format!("use {} to {}", range.start(), range.end());
            self.problem(value.place, format!("`{key}` cannot be {number}"), help);
        }
        small
    }

    fn place(&self, fields: &Fields<'_>, key: &str) -> Place {
        fields.get(key).map_or(fields.place, |value| value.place)
    }

    fn problem(&mut self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem { place, message: message.into(), help: Some(help.into()) });
    }
}
