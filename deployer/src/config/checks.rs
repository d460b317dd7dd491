//! Rules across values: references, derived names, and AWS's limits.

mod behind;
mod web_acls;

use std::collections::{BTreeMap, BTreeSet};

use self::behind::at_port;
use super::{
    Config, DIRECT_SUFFIX, Destination, Folder, Function, HTTPS_PORT, INTERNAL_SUFFIX, LAB_ROLE, LARGEST_COMMANDS,
    LARGEST_DIRECT_ENVIRONMENT, LARGEST_ENVIRONMENT, Name, Place, Problem, Program, Reference, SIZES, Upload, Uses,
    Variables, error::did_you_mean, verify::RUN,
};

/// The attributes that references can name, by section.
pub const ATTRIBUTES: &[(&str, &[&str])] = &[
    ("buckets", &["name", "arn", "region"]),
    ("tables", &["name", "arn"]),
    ("functions", &["name", "arn"]),
    ("services", &["url", "host"]),
];

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

/// The most instances in an AWS Academy account (docs/aws.md §3.4).
pub const LAB_INSTANCES: u32 = 9;
/// The largest disk there, in GB.
const LAB_DISK_GB: u16 = 100;
/// The only regions there.
const LAB_REGIONS: &[&str] = &["us-east-1", "us-west-2"];

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

    /// Existing roles mean an AWS Academy account, which has limits of its own (docs/aws.md §3.4).
    fn lab(&mut self) {
        let Some(roles) = &self.config.roles else { return };
        if roles.instance_profile.is_none() && !self.config.services.is_empty() {
            let help = "services need one that exists, too: add `instance_profile: LabInstanceProfile`";
            self.problem("roles", "`instance_profile` is missing in roles", help);
        }
        let mut instances = 0_u32;
        for (entry, service) in &self.config.services {
            instances += u32::from(service.instances.max);
            if instances > LAB_INSTANCES {
                let why = if self.config.is_lab { "in AWS Academy" } else { "with existing roles" };
                let message = format!("up to {instances} instances, {why}");
                let help = format!(
                    "an account of AWS Academy terminates all instances beyond {LAB_INSTANCES}, and at 20 itself: use at most \
                     {LAB_INSTANCES} in all services together"
                );
                self.problem(&format!("services.{entry}.instances.max"), message, help);
            }
        }
        if self.config.is_lab || roles.existing == LAB_ROLE {
            self.academy();
        }
    }

    /// Only AWS Academy accounts have a `LabRole`.
    fn academy(&mut self) {
        if !LAB_REGIONS.contains(&self.config.region.as_str()) {
            let help = format!("use {}", LAB_REGIONS.join(" or "));
            self.problem("region", format!("AWS Academy does not allow {}", self.config.region), help);
        }
        for (entry, function) in &self.config.functions {
            if function.concurrency.is_some_and(|reserved| reserved > 0) {
                let help = "leave it out: Lambda runs at most 10 invocations at once there, and reserves none of them";
                self.problem(
                    &format!("functions.{entry}.concurrency"),
                    "AWS Academy has no concurrency to reserve",
                    help,
                );
            }
        }
        for (entry, service) in &self.config.services {
            let name = service.instance_type.to_string();
            let size = name.split_once('.').and_then(|(_, size)| SIZES.iter().position(|known| *known == size));
            if size > SIZES.iter().position(|size| *size == "large") {
                let path = format!("services.{entry}.instance_type");
                self.problem(
                    &path,
                    format!("AWS Academy terminates instances like {name} at once"),
                    "use sizes nano to large",
                );
            }
            if service.disk_gb > LAB_DISK_GB {
                let help = format!("use at most {LAB_DISK_GB}");
                self.problem(&format!("services.{entry}.disk_gb"), "a larger disk than AWS Academy allows", help);
            }
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

    /// A destination is in the function's own region; of a bucket, only its name is known here.
    fn destination(&mut self, path: &str, function: &Function) {
        let path = format!("{path}.on_failure");
        match &function.on_failure {
            Some(Destination::Bucket(bucket)) if !self.config.buckets.contains_key(bucket) => {
                self.unknown(&path, "entry of buckets", bucket.as_str(), keys(&self.config.buckets));
            }
            Some(Destination::Arn(arn)) => {
                let (elsewhere, region) = (arn.split(':').nth(3).unwrap_or_default(), self.config.region.as_str());
                if !elsewhere.is_empty() && elsewhere != region {
                    let message = format!("a destination in {elsewhere}, and the stack is in {region}");
                    self.problem(&path, message, "name a queue or topic of the function's region");
                }
            }
            _ => {}
        }
    }

    /// The record of a failed event is an upload like any other. If it triggers the function that has failed, directly
    /// or by way of other functions, each failure makes another event, without end.
    fn endless_failures(&mut self, path: &str, entry: &Name) {
        let (mut way, mut buckets) = (vec![entry], Vec::new());
        while let Some((bucket, next)) = way.last().and_then(|last| self.triggered_by_failures(last)) {
            buckets.push(bucket);
            if next == entry {
                break;
            }
            // A circle that does not contain this function, and is reported at its own.
            if way.contains(&next) {
                return;
            }
            way.push(next);
        }
        // Each circle is reported once.
        if buckets.len() < way.len() || way.iter().any(|other| *other < entry) {
            return;
        }
        let names: Vec<String> = way.iter().chain([&entry]).map(ToString::to_string).collect();
        let bucket = buckets[0];
        let message = format!("records of failed events trigger functions without end: {}", names.join(" → "));
        let help = format!(
            "record them in another bucket, or give `buckets.{bucket}.on_upload` a `prefix` that keys below {FAILURES} do \
             not have"
        );
        self.problem(&format!("{path}.on_failure"), message, help);
    }

    /// The bucket with the records of a function's failed events, and the function that they trigger.
    fn triggered_by_failures(&self, entry: &Name) -> Option<(&Name, &Name)> {
        let destination = self.config.functions.get(entry)?.on_failure.as_ref()?;
        let (name, bucket) = self.config.buckets.iter().find(|(name, _)| match destination {
            Destination::Bucket(bucket) => bucket == *name,
            Destination::Arn(arn) => self.is_bucket(arn, name),
        })?;
        let upload = bucket.on_upload.as_ref()?;
        let folder = format!("{FAILURES}{}-{entry}/", self.config.name);
        admits_record(upload, &folder).then_some((name, &upload.function))
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

    fn reference(&mut self, reference: &Reference) {
        let Reference { section, entry, attribute, place } = reference;
        let Some((_, attributes)) = ATTRIBUTES.iter().find(|(known, _)| known == section) else {
            let known = ATTRIBUTES.iter().map(|(known, _)| (*known).to_owned()).collect();
            return self.unknown_at(*place, "section", section, known);
        };
        let entries = self.declared(section);
        if !entries.contains(entry) {
            return self.unknown_at(*place, &format!("entry of {section}"), entry, entries);
        }
        if !attributes.contains(&attribute.as_str()) {
            let known = attributes.iter().map(|known| (*known).to_owned()).collect();
            self.unknown_at(*place, &format!("attribute of {section}"), attribute, known);
        }
    }

    /// A function or service can only be created after those that its environment refers to.
    fn cycles(&mut self) {
        let mut needs: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (node, variables) in self.config.variables() {
            let named = variables.texts.values().flat_map(|text| text.references());
            needs.insert(node, named.map(|named| format!("{}.{}", named.section, named.entry)).collect());
        }
        for (entry, service) in &self.config.services {
            // `behind` reports one that is behind itself.
            let front = service.behind.as_ref().filter(|behind| behind.service != *entry);
            let front = front.map(|behind| format!("services.{}", behind.service));
            needs.entry(format!("services.{entry}")).or_default().extend(front);
        }
        // Removes everything that can be created; what remains is in a cycle or depends on one.
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
        let is_behind = |node: &String| self.config.places.contains_key(&format!("{node}.behind"));
        let help = match way[from..].iter().any(is_behind) {
            true => "remove one of these references; `behind` is one, too",
            false => "remove one of these references",
        };
        let (way, path) = (way[from..].join(" → "), format!("{}.environment", way[from]));
        self.problem(&path, format!("circular references: {way}"), help);
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

/// The folder in a bucket for the records of failed events (docs/aws.md §7.5).
const FAILURES: &str = "aws/lambda/async/";

/// Whether the key of a record in this folder of a function triggers. It is `FOLDER/yyyy/mm/dd/TIME-UUID`.
fn admits_record(upload: &Upload, folder: &str) -> bool {
    let prefix = upload.prefix.as_deref().unwrap_or_default();
    let suffix = upload.suffix.as_deref().unwrap_or_default();
    let is_of_id = |(at, byte): (usize, u8)| match at {
        12 | 17 | 22 | 27 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    let ends_alike = suffix.bytes().rev().take(36).enumerate().all(is_of_id);
    (folder.starts_with(prefix) || prefix.starts_with(folder)) && ends_alike
}

fn keys<T>(entries: &BTreeMap<super::Name, T>) -> Vec<String> {
    entries.keys().map(ToString::to_string).collect()
}
