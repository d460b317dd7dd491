//! Services: instances, health checks and load balancers.

use super::{Fields, Reader, programs::kept_by_us, values::usual, values::usual_text};
use crate::{
    config::{
        Balancer, Cidr, HealthCheck, InstanceType, Instances, Place, Service,
        tree::{Located, Node},
    },
    package::Architecture,
};

/// One status or a range of them, as load balancers take them.
pub(super) fn are_statuses(text: &str) -> bool {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| text.parse().ok().filter(|status: &u16| (200..=499).contains(status));
    status(first).zip(status(last)).is_some_and(|(first, last)| first <= last)
}

impl Reader<'_> {
    pub(super) fn service(&mut self, path: &str, value: &Located) -> Option<Service> {
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
            variables: self.environment(&fields, kept_by_us),
            uses: self.uses(&fields),
        })
    }

    pub(super) fn instance_type(&mut self, fields: &Fields<'_>) -> InstanceType {
        self.text(fields, "instance_type", "an instance type such as t3.micro")
            .and_then(|text| {
                let message = format!("there is no instance type {text:?}");
                self.understood(fields, "instance_type", &message, text.parse())
            })
            .unwrap_or(InstanceType { name: String::new(), architecture: Architecture::X86_64 })
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
}
