//! What must hold between values: references, names that follow from names, and limits of AWS.

use std::collections::BTreeMap;

use super::{Config, Environment, Place, Problem, Reference, Uses, error::did_you_mean};

/// The attributes that references can name, by section.
pub const ATTRIBUTES: &[(&str, &[&str])] = &[
    ("buckets", &["name", "arn", "region"]),
    ("tables", &["name", "arn"]),
    ("functions", &["name", "arn"]),
    ("services", &["url", "host"]),
];

/// Everything that is wrong between values that are each right.
pub fn all(config: &Config) -> Vec<Problem> {
    let mut checks = Checks { config, problems: Vec::new() };
    checks.names();
    checks.account();
    checks.lab();
    checks.triggers();
    for (entry, function) in &config.functions {
        let path = format!("functions.{entry}");
        checks.environment(&path, &function.environment);
        checks.reserved(&path, &function.environment);
        checks.uses(&path, &function.uses);
    }
    for (entry, service) in &config.services {
        let path = format!("services.{entry}");
        checks.environment(&path, &service.environment);
        checks.uses(&path, &service.uses);
    }
    for (name, text) in &config.outputs {
        let path = format!("outputs.{name}");
        text.references().for_each(|reference| checks.reference(&path, reference));
    }
    checks.cycles();
    checks.problems
}

struct Checks<'a> {
    config: &'a Config,
    problems: Vec<Problem>,
}

impl Checks<'_> {
    /// Names in the cloud follow from the stack's and the entry's; AWS limits them (aws-facts §1).
    fn names(&mut self) {
        let (stack, region) = (&self.config.name, &self.config.region);
        let account = "0".repeat(12);
        let mut names = vec![("name".to_owned(), format!("{stack}-artifacts-{account}-{region}"), 63, "bucket")];
        for entry in self.config.buckets.keys() {
            let path = format!("buckets.{entry}");
            if entry.as_str() == "artifacts" {
                let help = "the deployer keeps programs in a bucket of that name: call yours otherwise";
                self.problem(&path, "the name `artifacts` is taken", help);
            }
            names.push((path, format!("{stack}-{entry}-{account}-{region}"), 63, "bucket"));
        }
        for entry in self.config.functions.keys() {
            let path = format!("functions.{entry}");
            names.push((path.clone(), format!("{stack}-{entry}"), 64, "function"));
            names.push((path, format!("{stack}-{region}-{entry}-fn"), 64, "role"));
        }
        for (entry, service) in &self.config.services {
            let (path, port) = (format!("services.{entry}"), u16::from(service.port));
            names.push((path.clone(), format!("{stack}-{entry}-{port}"), 32, "target group"));
            names.push((path.clone(), format!("{stack}-{entry}"), 32, "load balancer"));
            names.push((path, format!("{stack}-{region}-{entry}-svc"), 64, "role"));
        }
        for (path, name, most, kind) in names {
            if name.len() > most {
                let message = format!("the {kind} would be called {name}, which is {} too long", name.len() - most);
                let help = format!("a {kind}'s name has at most {most} characters: shorten the name here");
                self.problem(&path, message, help);
            }
        }
        let internal = self.config.services.keys().find(|entry| format!("{stack}-{entry}").starts_with("internal-"));
        if internal.is_some() {
            self.problem("name", "load balancers' names must not begin with internal-", "choose another name");
        }
    }

    fn account(&mut self) {
        if let Some(account) = &self.config.account
            && (account.len() != 12 || !account.chars().all(|c| c.is_ascii_digit()))
        {
            self.problem("account", format!("{account:?} is no account"), "accounts are twelve digits, in quotes");
        }
    }

    /// AWS Academy: no instance profile can be made, and twenty instances end the account (aws-facts §3.4).
    fn lab(&mut self) {
        let Some(roles) = &self.config.roles else { return };
        if roles.instance_profile.is_none() && !self.config.services.is_empty() {
            let help = "services need one that exists, too: add `instance_profile: LabInstanceProfile`";
            self.problem("roles", "`instance_profile` is missing in roles", help);
        }
        for (entry, service) in &self.config.services {
            if service.instances.max >= 10 {
                let help = "with existing roles this may be an AWS Academy account, which ends instances beyond 9 and \
                            the whole account at 20: use at most 9";
                self.problem(&format!("services.{entry}.instances.max"), "too many instances", help);
            }
        }
    }

    fn triggers(&mut self) {
        for (entry, bucket) in &self.config.buckets {
            let Some(upload) = &bucket.on_upload else { continue };
            if !self.config.functions.contains_key(upload.function.as_str()) {
                let known = keys(&self.config.functions);
                let path = format!("buckets.{entry}.on_upload.function");
                self.unknown(&path, "function", upload.function.as_str(), known);
            }
        }
    }

    fn uses(&mut self, path: &str, uses: &Uses) {
        for entry in uses.buckets.keys().filter(|entry| !self.config.buckets.contains_key(entry.as_str())) {
            let known = keys(&self.config.buckets);
            self.unknown(&format!("{path}.uses.buckets.{entry}"), "bucket", entry.as_str(), known);
        }
        for entry in uses.tables.keys().filter(|entry| !self.config.tables.contains_key(entry.as_str())) {
            let known = keys(&self.config.tables);
            self.unknown(&format!("{path}.uses.tables.{entry}"), "table", entry.as_str(), known);
        }
    }

    fn environment(&mut self, path: &str, environment: &Environment) {
        for (name, text) in environment {
            let place = format!("{path}.environment.{name}");
            text.references().for_each(|reference| self.reference(&place, reference));
        }
        // Lambda's limit (aws-facts §7.1). It leaves user data room for everything else it holds (§8.4).
        let bytes: usize = environment.iter().map(|(name, text)| name.len() + text.known_len()).sum();
        if bytes > 4096 {
            let message = format!("an environment of {bytes} bytes");
            self.problem(
                &format!("{path}.environment"),
                message,
                "4096 bytes is the most: put large values in a bucket",
            );
        }
    }

    fn reserved(&mut self, path: &str, environment: &Environment) {
        for name in environment.keys().filter(|name| name.starts_with("AWS_") || *name == "_HANDLER") {
            let message = format!("`{name}` is set by Lambda itself");
            self.problem(&format!("{path}.environment.{name}"), message, "leave it out");
        }
    }

    fn reference(&mut self, path: &str, reference: &Reference) {
        let Reference { section, entry, attribute } = reference;
        let Some((_, attributes)) = ATTRIBUTES.iter().find(|(known, _)| known == section) else {
            let known = ATTRIBUTES.iter().map(|(known, _)| (*known).to_owned()).collect();
            return self.unknown(path, "section", section, known);
        };
        let entries = match section.as_str() {
            "buckets" => keys(&self.config.buckets),
            "tables" => keys(&self.config.tables),
            "functions" => keys(&self.config.functions),
            _ => keys(&self.config.services),
        };
        if !entries.contains(entry) {
            return self.unknown(path, &format!("entry of {section}"), entry, entries);
        }
        if !attributes.contains(&attribute.as_str()) {
            let known = attributes.iter().map(|known| (*known).to_owned()).collect();
            self.unknown(path, &format!("attribute of {section}"), attribute, known);
        }
    }

    /// A function or service can only be made after those whose outputs its environment names.
    fn cycles(&mut self) {
        let mut needs: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let functions = self.config.functions.iter().map(|(entry, f)| (format!("functions.{entry}"), &f.environment));
        let services = self.config.services.iter().map(|(entry, s)| (format!("services.{entry}"), &s.environment));
        for (node, environment) in functions.chain(services) {
            let named = environment.values().flat_map(|text| text.references());
            needs.insert(node, named.map(|named| format!("{}.{}", named.section, named.entry)).collect());
        }
        // Whatever can be made is taken away; what is left stands in a cycle or behind one.
        loop {
            let free: Vec<String> = needs
                .iter()
                .filter(|(_, needed)| needed.iter().all(|need| !needs.contains_key(need)))
                .map(|(node, _)| node.clone())
                .collect();
            if free.is_empty() {
                break;
            }
            free.iter().for_each(|node| drop(needs.remove(node)));
        }
        let Some(start) = needs.keys().next() else { return };
        let mut way = vec![start.clone()];
        let mut at = start;
        while let Some(next) = needs[at].iter().find(|need| needs.contains_key(*need)) {
            let seen = way.contains(next);
            way.push(next.clone());
            if seen {
                break;
            }
            at = next;
        }
        let from = way.iter().position(|node| Some(node) == way.last()).unwrap_or_default();
        let (way, path) = (way[from..].join(" → "), format!("{}.environment", way[from]));
        self.problem(&path, format!("a circle of references: {way}"), "take one of these references away");
    }

    fn unknown(&mut self, path: &str, what: &str, unknown: &str, known: Vec<String>) {
        let help = match did_you_mean(unknown, known.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if known.is_empty() => "there is none".into(),
            None => format!("there are: {}", known.join(", ")),
        };
        self.problem(path, format!("there is no {what} `{unknown}`"), help);
    }

    fn problem(&mut self, path: &str, message: impl Into<String>, help: impl Into<String>) {
        let place = self.config.place_of(path).unwrap_or(Place { line: 1, column: 1 });
        self.problems.push(Problem { place, message: message.into(), help: Some(help.into()) });
    }
}

fn keys<T>(entries: &BTreeMap<super::Name, T>) -> Vec<String> {
    entries.keys().map(ToString::to_string).collect()
}
