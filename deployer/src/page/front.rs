//! A service as its users reach it.

use std::collections::BTreeSet;

use super::https::Https;
use crate::{
    cloud::why::ServiceNames,
    engine::{Address, Error, Fault, Handle, Inputs as _, Outcome, Outputs, Resource as _, Wire},
    kinds::{
        auto_scaling_group::AutoScalingGroup, default_action::DefaultAction, elastic_address::ElasticAddress,
        load_balancer::LoadBalancer, rule_action::RuleAction, target_group::TargetGroup,
    },
    releases::programs::ServicePrograms,
};

/// A service as its users reach it.
pub struct Front {
    /// Its name in `stack.yaml`.
    pub name: String,
    /// Its target group; `None` without a load balancer.
    pub target_group: Option<Handle<TargetGroup>>,
    /// Its Auto Scaling group.
    pub group: Handle<AutoScalingGroup>,
    /// Its load balancer, or that of the service that it is behind; `None` if it has an address in place of it.
    pub balancer: Option<Handle<LoadBalancer>>,
    /// Whether the load balancer is that of another service.
    pub is_behind: bool,
    /// Its elastic IP address, which it has in place of a load balancer.
    pub address: Option<Handle<ElasticAddress>>,
    /// Its URL: its domain if that is served, otherwise the DNS name of its load balancer with scheme and port.
    pub url: Wire,
    /// Whether it is reachable from its VPC only.
    pub is_internal: bool,
    /// Its HTTPS settings, if any.
    pub https: Option<Https>,
    /// The names for its diagnosis.
    pub names: ServiceNames,
    /// The name of its launch template, whose versions are its releases.
    pub template: String,
    /// The location of its programs.
    pub programs: ServicePrograms,
}

/// The note on the address of an internal load balancer.
pub const INTERNAL_REACH: &str = " (reachable from its VPC only)";

impl Front {
    /// Whether these nodes include the service.
    pub fn is_among(&self, nodes: &BTreeSet<usize>) -> bool {
        self.group.is_among(nodes)
    }

    /// Whether no hosted zone of the account holds its domain, as far as is known, so that the user enters its records.
    pub fn may_have_records_by_hand(&self) -> bool {
        let domain = self.https.as_ref().and_then(|https| https.domain.as_ref());
        domain.is_some_and(|domain| !domain.is_in_known_zone())
    }

    /// Returns its URL, once its load balancer exists.
    pub fn url(&self, outputs: &Outputs) -> Option<String> {
        self.url.get(outputs)
    }

    /// Returns the URL to open, once its load balancer exists.
    pub fn url_to_open(&self, outputs: &Outputs) -> Option<String> {
        let url = self.url(outputs)?;
        Some(self.names.behind.as_ref().map_or(url.clone(), |behind| behind.url_to_open(&url)))
    }

    /// Returns the note that follows its URL in messages; empty unless its load balancer is internal.
    pub fn reach(&self) -> &'static str {
        if self.is_internal { INTERNAL_REACH } else { "" }
    }

    /// The error for a service that was not healthy in time or cannot become so.
    pub fn failed(&self, source: Fault) -> Outcome {
        let (what, name) = (self.address(), self.name.clone());
        Outcome { address: self.address(), result: Some(Err(Error::Fault { verb: "start", what, name, source })) }
    }

    /// Whether its listener or its rule could not switch to the wanted targets.
    pub fn is_held_back(&self, outcomes: &[Outcome]) -> bool {
        let is_ours = |it: &Address| match it.kind {
            DefaultAction::KIND => it.key == self.name,
            RuleAction::KIND => it.section == self.address().section,
            _ => false,
        };
        let mut actions = outcomes.iter().filter(|it| is_ours(&it.address));
        actions.any(|it| matches!(it.result, Some(Err(Error::Fault { .. }))))
    }

    /// Whether its instances could not be rolled out.
    pub fn is_refused(&self, outcomes: &[Outcome]) -> bool {
        let mut groups = outcomes.iter().filter(|it| it.address.kind == AutoScalingGroup::KIND);
        groups.any(|it| it.address.key == self.name && matches!(it.result, Some(Err(Error::Fault { .. }))))
    }

    /// Whether the user chose not to wait any longer.
    pub fn interrupted(&self) -> Outcome {
        Outcome { address: self.address(), result: Some(Err(Error::Interrupted { what: self.address() })) }
    }

    /// The address of the service as a whole, whose health is waited for.
    pub fn address(&self) -> Address {
        Address { kind: "service", key: self.name.clone(), section: format!("services.{}", self.name) }
    }
}
