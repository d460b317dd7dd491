//! HTTPS of services: certificates, their validation, records, listeners and redirects.

use super::{Layout, services::default_action_of};
use crate::{
    cloud::{domains::Domain, health, site::Network},
    config::{self, HTTPS_PORT},
    engine::{Handle, Resource as _, Wire},
    kinds::{
        alias::{self, Alias},
        auto_scaling_group::AutoScalingGroup,
        certificate::{self, Certificate},
        default_action::{self, DefaultAction},
        listener::{self, Listener, ListenerPart},
        load_balancer::LoadBalancer,
        target_group::TargetGroup,
        validation_record::{self, ValidationRecord},
    },
};

impl Layout<'_> {
    /// The certificate of a service, with its validation record; `None` if the service is not to be served over HTTPS.
    pub(super) fn https(&mut self, entry: &str, wanted: &config::Service, network: &Network) -> Option<Https> {
        let known = |name: &String| network.domains.get(entry).cloned().unwrap_or_else(|| Domain::unknown(name));
        let domain = wanted.domain.as_ref().map(known);
        let certificate = match (&domain, &wanted.certificate) {
            (None, None) => return None,
            (Some(domain), None) => {
                let certificate = Certificate::of(self.config.name.as_str(), &domain.name);
                Some(self.stack.add(entry, certificate, (), |()| certificate::Settings::wanted()))
            }
            (_, Some(_)) => None,
        };
        Some(Https { domain, certificate, listener: None })
    }

    /// Whether this run ends with a listener for HTTPS.
    pub(super) fn is_served(&self, https: &Https) -> bool {
        let waits = self.wait != health::Wait::No;
        https.certificate.is_none() || https.domain.as_ref().is_some_and(|domain| domain.is_served(waits))
    }

    /// The record by which ACM validates a domain, in the zone that holds it.
    pub(super) fn validation(&mut self, entry: &str, https: &Https) -> Option<Handle<ValidationRecord>> {
        let (domain, certificate) = (https.domain.as_ref()?, https.certificate?);
        let zone = domain.zone.clone()?.id;
        let awaits = self.is_served(https) && self.wait != health::Wait::No;
        Some(self.stack.add_inside(entry, certificate, move |certificate| {
            // One that is issued without a record was not validated by DNS.
            let record = certificate.record.unwrap_or_default();
            let settings = validation_record::Settings::to(&record.value);
            let record = ValidationRecord {
                zone: zone.clone(),
                record,
                certificate: certificate.arn,
                awaits,
                is_kept: certificate.keeps_record,
            };
            (record, settings)
        }))
    }

    /// The records by which a domain leads to the load balancer, in the zone that holds it.
    pub(super) fn alias(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        https: &Https,
        balancer: Handle<LoadBalancer>,
    ) {
        let Some(Domain { name: domain, zone: Some(zone), .. }) = &https.domain else { return };
        let (domain, zone) = (domain.clone(), zone.id.clone());
        let named = LoadBalancer::named(&self.names.plain(&wanted.entry_in_names(entry)));
        let stack = self.config.name.to_string();
        self.stack.add_inside(entry, balancer, move |balancer| {
            let target = named.target(&balancer);
            let settings = alias::Settings::to(&target.dns_name);
            (Alias { stack: stack.clone(), domain: domain.clone(), zone: zone.clone(), target }, settings)
        });
    }

    /// The listener for HTTPS. It needs an issued certificate (docs/aws.md §9.5).
    pub(super) fn https_listener(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        https: &Https,
        (balancer, target_group, validation): (
            Handle<LoadBalancer>,
            Handle<TargetGroup>,
            Option<Handle<ValidationRecord>>,
        ),
    ) -> Handle<Listener> {
        let named = wanted.certificate.clone().unwrap_or_default();
        let certificate = https.certificate.map(|it| it.wire(|certificate| certificate.arn.clone()));
        let certificate = certificate.unwrap_or_else(|| Wire::literal(named));
        let https = https_address(entry);
        let inputs = (balancer, target_group, certificate, validation);
        self.stack.add_inside(https_key(entry), inputs, move |(balancer, target_group, certificate, _)| {
            let (load_balancer, target_group, https) = (balancer.arn, target_group.arn, https.clone());
            let settings = listener::Settings::https(target_group.clone(), certificate);
            let listener =
                Listener { load_balancer, target_group, port: HTTPS_PORT.into(), part: ListenerPart::Https, https };
            (listener, settings)
        })
    }

    /// The last step of the listener for plain HTTP: redirects requests, once HTTPS is served by healthy targets.
    pub(super) fn redirect(
        &mut self,
        entry: &str,
        listener: Handle<Listener>,
        target_group: Handle<TargetGroup>,
        group: Handle<AutoScalingGroup>,
        https: Handle<DefaultAction>,
    ) {
        let (service, wait) = (self.reporting(entry), self.wait);
        let inputs = (listener, target_group, group, https);
        self.stack.add_inside(entry, inputs, move |(listener, target_group, group, _)| {
            let action = default_action_of(listener, target_group, group, service.clone(), wait);
            (action, default_action::Settings::to_https())
        });
    }
}

/// The HTTPS settings of a service.
pub struct Https {
    /// Its domain.
    pub domain: Option<Domain>,
    /// Its certificate, unless `stack.yaml` names one.
    pub certificate: Option<Handle<Certificate>>,
    /// Its listener, if it can be served.
    pub listener: Option<Handle<Listener>>,
}

/// The key of a service's resources for HTTPS. `config/checks.rs` keeps it free.
pub(super) fn https_key(entry: &str) -> String {
    format!("{entry}-https")
}

/// The address of the listener for HTTPS, as in its tag.
pub(super) fn https_address(entry: &str) -> String {
    format!("{}.{}", Listener::KIND, https_key(entry))
}

/// The URL of a service that is served over HTTPS.
pub fn https_url(domain: &str, port: u16) -> String {
    match port {
        HTTPS_PORT => format!("https://{domain}"),
        port => format!("https://{domain}:{port}"),
    }
}
