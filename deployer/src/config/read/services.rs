//! Services: instances, health checks and load balancers.

use super::{Fields, Reader, programs::reserved_by_us, values::usual, values::usual_text};
use crate::{
    config::{
        Balancer, Behind, Cidr, HealthCheck, InstanceType, Instances, Place, Port, Service, WebAcl, behind,
        tree::{Located, Node},
    },
    package::Architecture,
};

/// The word for a service without a load balancer.
const NONE: &str = "none";
/// Its port, unless stack.yaml names another.
const HTTP_PORT: u16 = 80;

/// One status or a range of them, as load balancers take them.
pub(super) fn are_statuses(text: &str) -> bool {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| text.parse().ok().filter(|status: &u16| (200..=499).contains(status));
    status(first).zip(status(last)).is_some_and(|(first, last)| first <= last)
}

/// The longest first name of a certificate, and the longest label of a name (docs/aws.md §9.7).
const LONGEST_DOMAIN: usize = 64;
const LONGEST_LABEL: usize = 63;

/// Checks a domain name.
///
/// Errors: the remedy.
fn check_domain(domain: &str) -> Result<(), &'static str> {
    let is_of_labels = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.chars().all(is_of_labels)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match () {
        () if domain.contains("://") || domain.contains('/') => Err("write the name alone, such as app.example.org"),
        () if domain.starts_with("*.") => Err("write the one name that the service is served at"),
        () if domain.len() > LONGEST_DOMAIN => Err("a certificate takes names of at most 64 characters"),
        () if domain.ends_with('.') => Err("leave out the dot at the end"),
        () if domain.chars().any(|c| c.is_ascii_uppercase()) => Err("write it in lower case"),
        () if !domain.contains('.') || !domain.split('.').all(is_label) => {
            Err("a name such as app.example.org: labels of letters, digits and hyphens, with dots between them")
        }
        () if domain.rsplit('.').next().is_some_and(|last| last.len() < 2) => {
            Err("the last label, such as org, has at least two characters")
        }
        () => Ok(()),
    }
}

/// Whether a text is the ARN of a certificate of AWS Certificate Manager.
fn is_certificate(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let is_id = |id: &str| !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let is_partition = |text: &str| {
        text.strip_prefix("aws").is_some_and(|rest| rest.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
    };
    let is_region =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    let is_account = |text: &str| text.len() == 12 && text.chars().all(|c| c.is_ascii_digit());
    match parts[..] {
        ["arn", partition, "acm", region, account, rest] => {
            is_partition(partition)
                && is_region(region)
                && is_account(account)
                && rest.strip_prefix("certificate/").is_some_and(is_id)
        }
        _ => false,
    }
}

/// Checks the path of a listener rule (docs/aws.md §9.10).
///
/// Errors: the remedy.
fn check_path_pattern(path: &str) -> Result<(), &'static str> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || behind::IN_PATHS.contains(c);
    match () {
        () if !path.starts_with('/') => Err("paths begin with a slash, like /api/*"),
        () if path.len() > behind::LONGEST => Err("a listener rule takes paths of at most 128 characters"),
        () if !path.chars().all(is_known) => Err("use letters, digits, the wildcards * and ?, and _-.$/~\"'@:+&"),
        () => Ok(()),
    }
}

/// Checks the host of a listener rule.
///
/// Errors: the remedy.
fn check_host_pattern(host: &str) -> Result<(), &'static str> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || behind::IN_HOSTS.contains(c);
    let is_last =
        |last: &str| !last.is_empty() && last.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, '*' | '?'));
    match () {
        () if host.contains("://") || host.contains('/') => Err("write the name alone, such as api.example.org"),
        () if host.len() > behind::LONGEST => Err("a listener rule takes hosts of at most 128 characters"),
        () if !host.chars().all(is_known) => Err("use letters, digits, hyphens, dots and the wildcards * and ?"),
        () if !host.rsplit_once('.').is_some_and(|(_, last)| is_last(last)) => {
            Err("a name with a dot and only letters after the last one, such as api.example.org")
        }
        () => Ok(()),
    }
}

impl Reader<'_> {
    pub(super) fn service(&mut self, path: &str, value: &Located) -> Option<Service> {
        let fields = self.fields(path, value)?;
        let is_direct =
            fields.get("load_balancer").is_some_and(|value| matches!(&value.node, Node::Text(text) if text == NONE));
        if is_direct {
            self.refuse_beside_none(&fields);
        }
        Some(Service {
            program: self.service_program(&fields),
            instance_type: self.instance_type(&fields),
            port: self.service_port(&fields, is_direct),
            instances: if is_direct { self.one_instance(&fields) } else { self.instances(&fields) },
            is_direct,
            health_check: self.health_check(&fields),
            load_balancer: self.load_balancer(&fields),
            behind: self.behind(&fields),
            access_logs: self.boolean(&fields, "access_logs"),
            domain: self.domain(&fields),
            certificate: self.certificate(&fields),
            image: self.image(&fields),
            disk_gb: self.number(&fields, "disk_gb"),
            key: self.encryption_key(&fields, "key"),
            grace_period_s: self.number(&fields, "grace_period_s"),
            bake_minutes: self.minutes(&fields, "bake").or(is_direct.then_some(0)),
            log_retention_days: self.retention(&fields),
            log_key: self.encryption_key_arn(&fields, "log_key"),
            variables: self.environment(&fields, reserved_by_us),
            uses: self.uses(&fields),
        })
    }

    /// The port of a service. Without a load balancer, users reach it directly.
    fn service_port(&mut self, fields: &Fields<'_>, is_direct: bool) -> Port {
        match is_direct {
            true => Port(self.optional_number(fields, "port").unwrap_or(HTTP_PORT)),
            false => self.port(fields, "port"),
        }
    }

    /// Refuses what needs a load balancer. `bake: 0` and `access_logs: false` are what a service without one has.
    fn refuse_beside_none(&mut self, fields: &Fields<'_>) {
        for (key, why) in [
            ("domain", "HTTPS is served by a load balancer"),
            ("certificate", "HTTPS is served by a load balancer"),
            ("access_logs", "the load balancer writes the log"),
            ("bake", "the alarms watch the responses of the load balancer"),
        ] {
            let is_off = |value: &Located| match &value.node {
                Node::Bool(truth) => !truth,
                Node::Number(number) => *number == 0,
                Node::Text(text) => text == "0",
                _ => false,
            };
            if fields.get(key).is_some_and(|value| !is_off(value)) {
                let help = format!("{why}: leave `{key}` out, or `load_balancer: none`");
                self.problem(self.place(fields, key), format!("`{key}` needs a load balancer"), help);
            }
        }
    }

    /// The one instance of a service without a load balancer.
    fn one_instance(&mut self, service: &Fields<'_>) -> Instances {
        let fields = self.fields_of(service, "instances");
        for key in ["min", "max"] {
            if let Some(number) = self.optional_number(&fields, key).filter(|number| *number != 1) {
                let help = "one instance has the address: leave `instances` out, or `load_balancer: none`";
                let message = format!("`{key}` cannot be {number} without a load balancer");
                self.problem(self.place(&fields, key), message, help);
            }
        }
        Instances { min: 1, max: 1, cpu_percent: self.number(&fields, "cpu_percent") }
    }

    pub(super) fn instance_type(&mut self, fields: &Fields<'_>) -> InstanceType {
        self.text(fields, "instance_type", "an instance type such as t3.micro")
            .and_then(|text| {
                let message = format!("there is no instance type {text:?}");
                self.understood(fields, "instance_type", &message, text.parse())
            })
            .unwrap_or(InstanceType { name: String::new(), architecture: Architecture::X86_64 })
    }

    pub(super) fn behind(&mut self, service: &Fields<'_>) -> Option<Behind> {
        let fields = self.fields(&service.path("behind"), service.get("behind")?)?;
        let front = self.parsed(&fields, "service", "the name of a service");
        let path = self.optional_text(&fields, "path");
        // Compared without case (docs/aws.md §9.10).
        let host = self.optional_text(&fields, "host").map(|host| host.to_ascii_lowercase());
        if path.is_none() && host.is_none() {
            let help = "add the `path` of its requests, such as /api/*, or their `host`";
            self.problem(fields.place, "`behind` needs a path or a host", help);
        }
        for (key, pattern, check) in [
            ("path", &path, check_path_pattern as fn(&str) -> Result<(), &'static str>),
            ("host", &host, check_host_pattern),
        ] {
            if let Some(pattern) = pattern
                && let Err(help) = check(pattern)
            {
                let place = self.place(&fields, key);
                self.problem(place, format!("{pattern:?} is not a {key} of a listener rule"), help);
            }
        }
        let texts = [&path, &host].into_iter().flatten().flat_map(|text| text.chars());
        if texts.filter(|c| behind::WILDCARDS.contains(c)).count() > behind::MOST_WILDCARDS {
            let help = format!("use at most {} in path and host together", behind::MOST_WILDCARDS);
            self.problem(fields.place, "more wildcards than a listener rule takes", help);
        }
        Some(Behind { service: front?, path, host })
    }

    pub(super) fn image(&mut self, fields: &Fields<'_>) -> Option<String> {
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

    pub(super) fn domain(&mut self, fields: &Fields<'_>) -> Option<String> {
        let domain = self.optional_text(fields, "domain")?;
        if let Err(help) = check_domain(&domain) {
            let place = self.place(fields, "domain");
            self.problem(place, format!("{domain:?} is not a domain name"), help);
        }
        Some(domain)
    }

    pub(super) fn certificate(&mut self, fields: &Fields<'_>) -> Option<String> {
        let certificate = self.optional_text(fields, "certificate")?;
        if !is_certificate(&certificate) {
            let place = self.place(fields, "certificate");
            self.problem(
                place,
                format!("{certificate:?} is not the ARN of a certificate"),
                "write arn:aws:acm:REGION:ACCOUNT:certificate/ID, or leave `certificate` out: one is requested for \
                 `domain`",
            );
        }
        Some(certificate)
    }

    pub(super) fn instances(&mut self, service: &Fields<'_>) -> Instances {
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

    pub(super) fn health_check(&mut self, service: &Fields<'_>) -> HealthCheck {
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

    pub(super) fn matcher(&mut self, fields: &Fields<'_>) -> Option<String> {
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

    pub(super) fn check_path(&mut self, place: Place, path: &str) {
        if !path.starts_with('/') || path.len() > 1024 || path.contains(char::is_whitespace) {
            self.problem(place, format!("{path:?} is not a valid path"), "paths begin with a slash, like /health");
        }
    }

    pub(super) fn load_balancer(&mut self, service: &Fields<'_>) -> Balancer {
        let word = service.get("load_balancer").and_then(|value| match &value.node {
            Node::Text(text) => Some((value.place, text.clone())),
            _ => None,
        });
        let fields = match &word {
            Some(_) => Fields::none(service, "load_balancer"),
            None => self.fields_of(service, "load_balancer"),
        };
        if let Some((place, text)) = word.as_ref().filter(|(_, text)| text != "internal" && text != NONE) {
            let help =
                "write `load_balancer: internal`, `load_balancer: none`, or its fields: `load_balancer: { port: 80 }`";
            self.problem(*place, format!("`load_balancer` cannot be {text:?}"), help);
        }
        let (port, protect) = (self.port(&fields, "port"), self.boolean(&fields, "protect"));
        let internal = self.boolean(&fields, "internal") || word.is_some_and(|(_, text)| text == "internal");
        let web_acl = self.web_acl(&fields);
        if fields.get("allow").is_none() {
            return Balancer { port, allow: vec![Cidr(usual_text(&fields, "allow"))], protect, internal, web_acl };
        }
        if internal {
            let help = "it admits the addresses of its VPC: leave `allow` out";
            self.problem(self.place(&fields, "allow"), "an internal load balancer takes no `allow`", help);
        }
        let blocks = self.some_texts(&fields, "allow", "allow: [\"0.0.0.0/0\"]");
        let mut allow = Vec::new();
        for (text, place) in blocks {
            match text.parse() {
                Ok(block) => allow.push(block),
                Err(help) => self.problem(place, format!("{text:?} is not a CIDR block"), help),
            }
        }
        Balancer { port, allow, protect, internal, web_acl }
    }

    fn web_acl(&mut self, balancer: &Fields<'_>) -> Option<WebAcl> {
        let text = self.optional_text(balancer, "waf")?;
        self.understood(balancer, "waf", &format!("`waf` cannot be {text:?}"), text.parse())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_domain_names_are_taken() {
        let long = format!("{}.example.org", "a".repeat(60));
        for (domain, taken) in [
            ("app.example.org", true),
            ("example.org", true),
            ("xn--bcher-kva.example", true),
            ("a.b.co", true),
            ("1.2", false),
            ("app.x", false),
            ("localhost", false),
            ("App.example.org", false),
            ("app.example.org.", false),
            ("*.example.org", false),
            ("https://app.example.org", false),
            ("app..org", false),
            ("-a.example.org", false),
            ("a-.example.org", false),
            ("a_b.example.org", false),
            (&long, false),
            ("", false),
        ] {
            assert_eq!(check_domain(domain).is_ok(), taken, "{domain}");
        }
    }

    #[test]
    fn only_paths_and_hosts_of_listener_rules_are_taken() {
        let long = format!("/{}", "a".repeat(128));
        for (path, taken) in
            [("/api/*", true), ("/", true), ("api", false), ("/a b", false), ("/ä", false), (&long, false)]
        {
            assert_eq!(check_path_pattern(path).is_ok(), taken, "{path}");
        }
        for (host, taken) in [
            ("api.example.org", true),
            ("*.example.org", true),
            ("api.example.*", true),
            ("localhost", false),
            ("127.0.0.1", false),
            ("http://api.example.org", false),
            ("api.example.org:80", false),
            ("api.", false),
            ("", false),
        ] {
            assert_eq!(check_host_pattern(host).is_ok(), taken, "{host}");
        }
    }

    #[test]
    fn only_arns_of_certificates_are_taken() {
        for (text, taken) in [
            ("arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234", true),
            ("arn:aws-cn:acm:cn-north-1:123456789012:certificate/1", true),
            ("arn:aws:acm:us-east-1:123456789012:certificate/", false),
            ("arn:aws:acm:us-east-1:1234:certificate/1", false),
            ("arn:aws:acm::123456789012:certificate/1", false),
            ("arn:aws:iam::123456789012:server-certificate/1", false),
            ("app.example.org", false),
        ] {
            assert_eq!(is_certificate(text), taken, "{text}");
        }
    }
}
