//! Checks of services that share a load balancer.

use std::collections::BTreeMap;

use super::Checks;
use crate::config::{Behind, Config, Name, Service, behind::MOST_BEHIND};

impl Checks<'_> {
    /// The target group, the Auto Scaling group and the security group of a service share a name, which no other service may
    /// have.
    pub(super) fn target_groups(&mut self) {
        let has_balancer = |service: &Service| service.behind.is_none() && !service.is_direct;
        let fronts = self.config.services.iter().filter(|(_, service)| has_balancer(service));
        let named = fronts.map(|(entry, front)| (entry, front.entry_in_names(entry.as_str())));
        let mut known: BTreeMap<String, String> =
            named.map(|(entry, named)| (format!("{named}-lb"), format!("the load balancer of `{entry}`"))).collect();
        for (entry, service) in &self.config.services {
            let name = at_port(self.config, entry, service);
            if let Some(other) = known.get(&name)
                && !self.is_in_names_of_another(entry)
            {
                let message =
                    format!("the resources of `{entry}` and those of {other} would have the same name, {name}");
                self.problem(&format!("services.{entry}"), message, "choose another name for one of the services");
            }
            known.insert(name, format!("`{entry}`"));
        }
    }

    /// Whether another service has this entry in its names, which `firewalls` reports.
    fn is_in_names_of_another(&self, entry: &Name) -> bool {
        let mut services = self.config.services.iter();
        services.any(|(other, service)| other != entry && service.entry_in_names(other.as_str()) == entry.as_str())
    }

    /// Whether a service has a listener for HTTPS, or a rule of one.
    pub(super) fn has_domain(&self, service: &Service) -> bool {
        let front = service.behind.as_ref().and_then(|behind| self.config.services.get(&behind.service));
        front.unwrap_or(service).domain.is_some()
    }

    /// A service behind the load balancer of another one: that exists and has one, and every request has one service.
    pub(super) fn behind(&mut self) {
        let mut rules: BTreeMap<&str, u16> = BTreeMap::new();
        for (entry, service) in &self.config.services {
            let Some(behind) = &service.behind else { continue };
            let (path, front) = (format!("services.{entry}.behind"), behind.service.as_str());
            for taken in ["load_balancer", "access_logs", "domain", "certificate"] {
                let taken_path = format!("services.{entry}.{taken}");
                if self.config.places.contains_key(&taken_path) {
                    let help =
                        format!("it shares the load balancer of `{front}`: remove `{taken}`, or remove `behind`");
                    self.problem(&taken_path, format!("`{taken}` beside `behind`"), help);
                }
            }
            let fronts = self.declared("services");
            let Some(other) = self.config.services.get(front) else {
                if !fronts.iter().any(|other| other == front) {
                    self.unknown(&format!("{path}.service"), "service", front, fronts);
                }
                continue;
            };
            if other.behind.is_some() || other.is_direct {
                let (message, help) = match (front == entry.as_str(), other.is_direct) {
                    (true, _) => {
                        ("a service behind itself".to_owned(), "name another service, or remove `behind`".to_owned())
                    }
                    (false, true) => {
                        let help = format!("name another service, or remove `load_balancer: none` of `{front}`");
                        (format!("`{front}` has no load balancer"), help)
                    }
                    (false, false) => {
                        let help = "name the service that has the load balancer".to_owned();
                        (format!("`{front}` has no load balancer: it is behind another service"), help)
                    }
                };
                self.problem(&format!("{path}.service"), message, help);
                continue;
            }
            self.behind_https(&path, behind, other);
            let twins = self.config.services.iter().take_while(|(other, _)| *other != entry);
            let mut twins = twins.filter_map(|(other, service)| Some((other, service.behind.as_ref()?)));
            if let Some((twin, _)) = twins.find(|(_, other)| *other == behind) {
                let message = format!("services.{twin} gets the requests for {} already", behind.words());
                self.problem(&path, message, "give each service a path or a host of its own");
                continue;
            }
            let rules = rules.entry(front).or_default();
            *rules += 1;
            if *rules == MOST_BEHIND + 1 {
                let message = format!("more than {MOST_BEHIND} services behind `{front}`");
                let help = "AWS limits the rules of a load balancer: put some behind another service";
                self.problem(&path, message, help);
            }
        }
    }

    /// The certificate that is requested for a domain is for no other host.
    fn behind_https(&mut self, path: &str, behind: &Behind, front: &Service) {
        let Some(domain) = front.domain.as_ref().filter(|_| front.certificate.is_none()) else { return };
        if let Some(host) = behind.host.as_ref().filter(|host| !host.eq_ignore_ascii_case(domain)) {
            let help = format!(
                "name a certificate for both with `certificate` in `{}`, or use `path` instead of `host`",
                behind.service
            );
            self.problem(&format!("{path}.host"), format!("the certificate of {domain} is not for {host}"), help);
        }
    }
}

/// The name of a service's resources behind a load balancer, without the stack's name (`page/names.rs`).
pub(super) fn at_port(config: &Config, entry: &Name, service: &Service) -> String {
    let name = format!("{}-{}", service.entry_in_names(entry.as_str()), u16::from(service.port));
    let (front, balanced) = config.front(entry.as_str(), service);
    match &service.behind {
        Some(_) => format!("{name}-{}", balanced.entry_in_names(front)),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_services_than_can_share_a_load_balancer_are_refused() {
        let described = |rules: u16| {
            let service = "binary: b, instance_type: t3.micro";
            let behind: String = (0..rules)
                .map(|at| format!("  s{at}: {{ {service}, behind: {{ service: web, path: /{at} }} }}\n"))
                .collect();
            format!("name: app\nregion: us-east-1\nservices:\n  web: {{ {service} }}\n{behind}")
        };
        Config::parse("stack.yaml", &described(MOST_BEHIND)).unwrap_or_else(|errors| panic!("{errors}"));
        let errors = Config::parse("stack.yaml", &described(MOST_BEHIND + 1)).expect_err("too many");
        let messages: Vec<&str> = errors.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(messages, ["more than 50 services behind `web`"]);
    }
}
