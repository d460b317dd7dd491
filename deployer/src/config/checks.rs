//! Rules across values: references, derived names, and AWS's limits.

mod behind;
mod failures;
mod lab;
mod references;
mod web_acls;

use std::collections::{BTreeMap, BTreeSet};

use self::behind::at_port;
use super::{
    Config, DIRECT_SUFFIX, Folder, HTTPS_PORT, INTERNAL_SUFFIX, LARGEST_COMMANDS, LARGEST_DIRECT_ENVIRONMENT,
    LARGEST_ENVIRONMENT, Name, Place, Problem, Program, Uses, Variables, error::did_you_mean, verify::RUN,
};

pub use lab::LAB_INSTANCES;

/// Reports everything that is wrong between values that are valid by themselves.
pub fn all(config: &Config) -> Vec<Problem> {
    let mut checks = Checks { config, problems: Vec::new() };
    checks.names();
    checks.beginnings();
    checks.firewalls();
    checks.target_groups();
    checks.plain_http();
    checks.https();
    checks.behind();
    checks.account();
    checks.lab();
    checks.triggers();
    checks.keys();
    checks.web_acls();
    config.variables().for_each(|(path, variables)| checks.environment(&path, variables));
    for (entry, function) in &config.functions {
        let path = format!("functions.{entry}");
        checks.uses(&path, &function.uses);
        checks.destination(&path, function);
        checks.endless_failures(&path, entry);
    }
    for (entry, service) in &config.services {
        let path = format!("services.{entry}");
        checks.commands(&path, &service.program);
        checks.uses(&path, &service.uses);
    }
    let outputs = config.outputs.iter().flat_map(|(_, text)| text.references());
    outputs.for_each(|reference| checks.reference(reference));
    checks.cycles();
    checks.verify();
    checks.problems
}

/// Prefixes that AWS reserves (docs/aws.md §1).
const KEPT_BY_AWS: &[(&str, &str)] =
    &[("internal-", "load balancer"), ("sg-", "security group"), ("sthree-", "bucket"), ("amzn-s3-demo-", "bucket")];

/// The regions without a regional namespace of accounts (docs/aws.md §4.1).
const WITHOUT_NAMESPACE: &[&str] = &["me-central-1", "me-south-1"];

/// The end of names of buckets in the account's regional namespace (docs/aws.md §4.1).
pub const ACCOUNT_REGIONAL: &str = "-an";

struct Checks<'a> {
    config: &'a Config,
    problems: Vec<Problem>,
}

impl Checks<'_> {
    /// Names in the cloud are derived from the stack's and the entry's names; AWS limits their length (docs/aws.md §1).
    fn names(&mut self) {
        let (stack, region) = (&self.config.name, &self.config.region);
        let account = "0".repeat(12);
        let mut names = vec![("name".to_owned(), format!("{stack}-artifacts-{account}-{region}"), 63, "bucket")];
        for (entry, bucket) in &self.config.buckets {
            let path = format!("buckets.{entry}");
            if entry.as_str() == "artifacts" {
                let help = "the deployer keeps programs in a bucket of that name: choose another name";
                self.problem(&path, "the name `artifacts` is taken", help);
            }
            if bucket.is_account_regional && WITHOUT_NAMESPACE.contains(&region.as_str()) {
                let message = format!("{region} has no account-regional namespace");
                self.problem(&format!("{path}.namespace"), message, "leave `namespace` out");
            }
            let end = if bucket.is_account_regional { ACCOUNT_REGIONAL } else { "" };
            names.push((path, format!("{stack}-{entry}-{account}-{region}{end}"), 63, "bucket"));
        }
        for entry in self.config.functions.keys() {
            let path = format!("functions.{entry}");
            names.push((path.clone(), format!("{stack}-{entry}"), 64, "function"));
            names.push((path, format!("{stack}-{region}-{entry}-fn"), 64, "role"));
        }
        for (entry, service) in &self.config.services {
            let path = format!("services.{entry}");
            if !service.is_direct {
                let name = at_port(self.config, entry, service);
                names.push((path.clone(), format!("{stack}-{name}"), 32, "target group"));
            }
            if !service.is_direct && service.behind.is_none() {
                let named = service.entry_in_names(entry.as_str());
                names.push((path.clone(), format!("{stack}-{named}"), 32, "load balancer"));
            }
            names.push((path, format!("{stack}-{region}-{entry}-svc"), 64, "role"));
        }
        for (path, name, most, kind) in names {
            if name.len() > most {
                let message =
                    format!("the {kind} would be called {name}, which is {} characters too long", name.len() - most);
                let help = format!("a {kind}'s name has at most {most} characters: shorten the name here");
                self.problem(&path, message, help);
            }
        }
    }

    /// Names must not begin with a prefix that AWS reserves.
    fn beginnings(&mut self) {
        let stack = &self.config.name;
        let services = keys(&self.config.services);
        // Every stack has the artifact bucket.
        let buckets = [keys(&self.config.buckets), vec!["artifacts".into()]].concat();
        for (beginning, kind) in KEPT_BY_AWS {
            let entries = if *kind == "bucket" { &buckets } else { &services };
            if entries.iter().any(|entry| format!("{stack}-{entry}").starts_with(beginning)) {
                let message = format!("the name of a {kind} must not begin with {beginning}");
                self.problem("name", message, "choose another name for the stack");
            }
        }
    }

    /// A service `web` has a second security group, `web-lb`, and with HTTPS a second listener, `web-https`. What is behind
    /// an internal load balancer is called `web-internal`.
    fn firewalls(&mut self) {
        for entry in self.config.services.keys() {
            let inside = entry.as_str().strip_suffix(INTERNAL_SUFFIX).unwrap_or_default();
            if self.config.services.get(inside).is_some_and(|other| other.load_balancer.internal) {
                let help = format!("the internal load balancer of `{inside}` has that name: choose another name");
                self.problem(&format!("services.{entry}"), format!("the name `{entry}` is taken"), help);
            }
            let secured = entry.as_str().strip_suffix("-https").unwrap_or_default();
            if self.config.services.get(secured).is_some_and(|other| self.has_domain(other)) {
                let help = format!("the listener for HTTPS of `{secured}` has that name: choose another name");
                self.problem(&format!("services.{entry}"), format!("the name `{entry}` is taken"), help);
            }
            let direct = entry.as_str().strip_suffix(DIRECT_SUFFIX).unwrap_or_default();
            if self.config.services.get(direct).is_some_and(|other| other.is_direct) {
                let help = format!("the instance of `{direct}` has that name: choose another name");
                self.problem(&format!("services.{entry}"), format!("the name `{entry}` is taken"), help);
            }
            let other = entry.as_str().strip_suffix("-lb").unwrap_or_default();
            if self.config.services.contains_key(other) {
                let help =
                    format!("the load balancer of `{other}` has a security group of that name: choose another name");
                self.problem(&format!("services.{entry}"), format!("the name `{entry}` is taken"), help);
            }
        }
    }

    /// A domain points to one load balancer, a certificate is for a domain, and a load balancer takes certificates of its
    /// region only (docs/aws.md §9.5).
    fn https(&mut self) {
        let mut known: BTreeMap<&str, &str> = BTreeMap::new();
        for (entry, service) in &self.config.services {
            let path = format!("services.{entry}");
            if let Some(domain) = &service.domain
                && let Some(other) = known.insert(domain, entry.as_str())
            {
                let help = format!("services.{other} has it: give each service a name of its own");
                self.problem(&format!("{path}.domain"), format!("{domain} is taken"), help);
            }
            if service.certificate.is_some() && service.domain.is_none() {
                let help = "add `domain`: the name that the certificate is for";
                self.problem(&format!("{path}.certificate"), "a certificate needs a domain", help);
            }
            let region = self.config.region.as_str();
            let elsewhere = service.certificate.as_deref().and_then(|arn| arn.split(':').nth(3));
            if let Some(elsewhere) = elsewhere.filter(|there| !there.is_empty() && *there != region) {
                let message = format!("a certificate of {elsewhere}, and the stack is in {region}");
                let help =
                    format!("load balancers take certificates of their region: request or import one in {region}");
                self.problem(&format!("{path}.certificate"), message, help);
            }
        }
    }

    /// The listener for plain HTTP; browsers expect TLS on this port.
    fn plain_http(&mut self) {
        for (entry, service) in &self.config.services {
            if u16::from(service.load_balancer.port) == HTTPS_PORT {
                let help = format!(
                    "this is the port for plain HTTP: use 80, or another one; `domain` adds HTTPS on port {HTTPS_PORT}"
                );
                let message = format!("{HTTPS_PORT} is the port of HTTPS");
                self.problem(&format!("services.{entry}.load_balancer.port"), message, help);
            }
        }
    }

    fn account(&mut self) {
        if let Some(account) = &self.config.account
            && (account.len() != 12 || !account.chars().all(|c| c.is_ascii_digit()))
        {
            self.problem(
                "account",
                format!("{account:?} is not an account number"),
                "write its twelve digits, in quotes",
            );
        }
    }

    fn triggers(&mut self) {
        for (entry, bucket) in &self.config.buckets {
            let Some(upload) = &bucket.on_upload else { continue };
            let known = self.declared("functions");
            if !known.iter().any(|function| function == upload.function.as_str()) {
                let path = format!("buckets.{entry}.on_upload.function");
                self.unknown(&path, "function", upload.function.as_str(), known);
            }
        }
    }

    /// A key encrypts in its own region only (docs/aws.md §2.7).
    fn keys(&mut self) {
        let region = self.config.region.as_str();
        for (path, key) in self.config.keys() {
            if let Some(elsewhere) = key.region().filter(|there| *there != region) {
                let message = format!("a key of {elsewhere}, and the stack is in {region}");
                self.problem(&path, message, format!("name a key of {region}"));
            }
        }
    }

    fn uses(&mut self, path: &str, uses: &Uses) {
        for (section, kind, used) in [("buckets", "bucket", &uses.buckets), ("tables", "table", &uses.tables)] {
            let known = self.declared(section);
            for entry in used.keys().filter(|entry| !known.iter().any(|known| known == entry.as_str())) {
                self.unknown(&format!("{path}.uses.{section}.{entry}"), kind, entry.as_str(), known.clone());
            }
        }
    }

    fn environment(&mut self, path: &str, variables: &Variables) {
        let environment = &variables.texts;
        environment.values().flat_map(|text| text.references()).for_each(|reference| self.reference(reference));
        let texts: usize = environment.iter().map(|(name, text)| name.len() + text.known_len()).sum();
        let bytes = texts + variables.stored.iter().map(|(name, stored)| stored.bytes(name)).sum::<usize>();
        let service = path.strip_prefix("services.").and_then(|entry| self.config.services.get(entry));
        let is_direct = service.is_some_and(|service| service.is_direct);
        let most = if is_direct { LARGEST_DIRECT_ENVIRONMENT } else { LARGEST_ENVIRONMENT };
        if bytes > most {
            let message = format!("an environment of {bytes} bytes");
            let help = format!("{most} bytes is the most: put large values in a bucket");
            self.problem(&format!("{path}.environment"), message, help);
        }
    }

    /// User data carries them to the instances.
    fn commands(&mut self, path: &str, program: &Program) {
        let Program::Files(Folder { commands, .. }) = program else { return };
        let bytes = commands.bytes();
        if bytes > LARGEST_COMMANDS {
            let longest =
                if commands.setup.as_ref().is_some_and(|it| it.len() > commands.run.len()) { "setup" } else { "run" };
            let message = format!("`run`, `setup` and `packages` take {bytes} bytes");
            let help = format!("{LARGEST_COMMANDS} bytes is the most: put long commands in a script in the folder");
            self.problem(&format!("{path}.{longest}"), message, help);
        }
    }

    /// Whether this is the ARN of a bucket of the stack. The account may not be known.
    fn is_bucket(&self, arn: &str, entry: &Name) -> bool {
        let (stack, region) = (&self.config.name, &self.config.region);
        let name = arn.strip_prefix("arn:").and_then(|rest| rest.split_once(":s3:::")).map(|(_, name)| name);
        let after = name.and_then(|name| name.strip_prefix(&format!("{stack}-{entry}-")));
        let after = after.map(|after| after.strip_suffix(ACCOUNT_REGIONAL).unwrap_or(after));
        let account = after.and_then(|after| after.strip_suffix(&format!("-{region}")));
        account.is_some_and(|account| match &self.config.account {
            Some(own) => account == own,
            None => account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()),
        })
    }

    /// The entries of a section as the file names them, including invalid ones.
    fn declared(&self, section: &str) -> Vec<String> {
        let below = format!("{section}.");
        let places = self.config.places.range(below.clone()..).map(|(path, _)| path);
        let names = places.map_while(|path| path.strip_prefix(&below)).filter(|name| !name.contains('.'));
        names.map(str::to_owned).collect()
    }

    fn unknown(&mut self, path: &str, what: &str, unknown: &str, known: Vec<String>) {
        self.unknown_at(self.place(path), what, unknown, known);
    }

    fn unknown_at(&mut self, place: Place, what: &str, unknown: &str, known: Vec<String>) {
        let help = match did_you_mean(unknown, known.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if known.is_empty() => format!("no {what} is defined"),
            None => format!("choose from: {}", known.join(", ")),
        };
        let message = format!("there is no {what} `{unknown}`");
        self.problems.push(Problem { place, message, help: Some(help) });
    }

    /// A step can only use variables that are set before it, and repeat steps before it.
    fn verify(&mut self) {
        let Some(verify) = &self.config.verify else { return };
        let services = self.declared("services");
        match &verify.service {
            Some(name) if !services.iter().any(|service| service == name.as_str()) => {
                self.unknown("verify.service", "service", name.as_str(), services.clone());
            }
            None if services.len() > 1 => {
                let help = format!("name the service that paths are requested from: {}", services.join(", "));
                self.problem("verify", "`service` is missing in verify", help);
            }
            _ => (),
        }
        verify.references().for_each(|reference| self.reference(reference));
        let (mut known, mut before): (BTreeSet<&str>, Vec<&str>) = ([RUN].into(), Vec::new());
        for (name, request) in &verify.steps {
            let path = format!("verify.steps.{name}");
            let is_whole = request.target.words().first().is_some_and(|word| !word.is_path());
            if !is_whole && services.is_empty() {
                let help = "no service can answer a path: write a whole URL";
                self.problem(&format!("{path}.request"), "a path without a service", help);
            }
            for (variable, place) in request.sent().into_iter().flat_map(|text| text.variables()) {
                if !known.contains(variable) {
                    let known = known.iter().map(|known| (*known).to_owned()).collect();
                    self.unknown_at(place, "variable", variable, known);
                }
            }
            known.extend(request.capture.iter().map(|(variable, _)| variable.as_str()));
            for (variable, place) in request.texts().into_iter().flat_map(|text| text.variables()) {
                if !known.contains(variable) {
                    let known = known.iter().map(|known| (*known).to_owned()).collect();
                    self.unknown_at(place, "variable", variable, known);
                }
            }
            if let Some(from) = &request.from {
                self.repetition(&path, from.as_str(), request.within_s, &before);
            }
            before.push(name.as_str());
        }
    }

    /// A repetition begins from an earlier step.
    fn repetition(&mut self, path: &str, from: &str, within_s: u16, before: &[&str]) {
        let path = format!("{path}.from");
        if !before.contains(&from) {
            let before = before.iter().map(|step| (*step).to_owned()).collect();
            self.unknown(&path, "earlier step", from, before);
        } else if within_s == 0 {
            let help = "say with `within_s` for how many seconds to repeat these steps";
            self.problem(&path, "`from` has no effect without `within_s`", help);
        }
    }

    /// The place of a value, or of the mapping that lacks it.
    fn place(&self, path: &str) -> Place {
        let outer = || path.rsplit_once('.').map_or(Place { line: 1, column: 1 }, |(outer, _)| self.place(outer));
        self.config.place_of(path).unwrap_or_else(outer)
    }

    fn problem(&mut self, path: &str, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem { place: self.place(path), message: message.into(), help: Some(help.into()) });
    }
}

fn keys<T>(entries: &BTreeMap<super::Name, T>) -> Vec<String> {
    entries.keys().map(ToString::to_string).collect()
}
