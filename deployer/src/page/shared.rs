//! Services that share a load balancer: the rules by which each of them gets its requests.

use super::{
    Layout,
    front::Front,
    https::{https_key, https_url},
    services::{Fronted, url},
};
use crate::{
    cloud::site::Network,
    config::{self, Behind},
    engine::{Handle, Wire},
    kinds::{
        auto_scaling_group::AutoScalingGroup,
        bucket::Bucket,
        listener::Listener,
        load_balancer::LoadBalancer,
        rule::{self, Rule},
        rule_action::{self, RuleAction},
        security_group::SecurityGroup,
        target_group::TargetGroup,
    },
};

/// What a service with a load balancer has for those behind it.
#[derive(Clone)]
pub struct Shared {
    /// Its security group.
    pub front_door: Handle<SecurityGroup>,
    /// The load balancer.
    pub balancer: Handle<LoadBalancer>,
    /// The listener for plain HTTP.
    pub listener: Handle<Listener>,
    /// The listener for HTTPS, if it is served.
    pub secured: Option<Handle<Listener>>,
}

impl Layout<'_> {
    /// Whether the service that this one is behind has been laid out.
    pub(super) fn has_front(&self, service: &config::Service) -> bool {
        service.behind.as_ref().is_none_or(|behind| self.shared.contains_key(behind.service.as_str()))
    }

    /// Whether other services share the load balancer of this one.
    pub(super) fn is_shared(&self, entry: &str) -> bool {
        let mut others = self.config.services.values().filter_map(|service| service.behind.as_ref());
        others.any(|behind| behind.service.as_str() == entry)
    }

    /// The name of what is behind a load balancer.
    pub(super) fn at_port(&self, entry: &str, wanted: &config::Service) -> String {
        let port = u16::from(wanted.port);
        match &wanted.behind {
            Some(behind) => self.names.at_port_behind(entry, port, behind.service.as_str()),
            None => self.names.at_port(entry, port),
        }
    }

    /// A service behind the load balancer of another one: a rule takes the place of load balancer and listeners.
    pub(super) fn service_behind(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        (behind, shared): (&Behind, &Shared),
        network: &Network,
        anchor: Handle<Bucket>,
    ) -> Front {
        let front_name = self.names.plain(&format!("{}-lb", behind.service));
        let back_door = self.back_door(entry, wanted, network, (shared.front_door, front_name));
        let template = self.instances(entry, wanted, back_door, anchor);
        let target_group = self.target_group(entry, wanted, network);
        let rule = self.rule(entry, behind, shared, target_group);
        let alarms = self.alarms(entry, wanted, shared.balancer, target_group);
        let fronted = Fronted { template, target_group, listener: None, secured: None, rule: Some(rule) };
        let group = self.group(entry, wanted, network, fronted, alarms);
        self.scaling_policy(entry, wanted, group);
        self.rule_action(&rule_key(entry, shared), rule, target_group, group);
        let url = self.url_behind(behind, shared);
        self.offer("services", entry, [("url", url.clone()), ("host", host(shared.balancer))]);
        let place = self.place(entry, wanted);
        let (template, programs) = (self.names.plain(entry), self.stored(entry));
        let (name, balancer) = (entry.into(), shared.balancer);
        Front { name, target_group, group, balancer, is_behind: true, url, https: None, place, template, programs }
    }

    /// The rule of a service, at the listener that forwards: the one for HTTPS if it is served, as plain HTTP is redirected
    /// then. A rule that is left at the other listener is removed last.
    fn rule(
        &mut self,
        entry: &str,
        behind: &Behind,
        shared: &Shared,
        target_group: Handle<TargetGroup>,
    ) -> Handle<Rule> {
        let (key, service, behind) = (rule_key(entry, shared), entry.to_owned(), behind.clone());
        let name = rule::name(&self.names.plain(behind.service.as_str()), &key);
        self.stack.want::<Rule>(name.clone());
        let listener = shared.secured.unwrap_or(shared.listener);
        self.stack.add_inside(key.clone(), (listener, target_group), move |(listener, target_group)| {
            let settings = rule::Settings::of(&behind, &service, &key, target_group.arn.clone());
            let rule = Rule {
                name: name.clone(),
                listener: listener.arn,
                key: key.clone(),
                priority: settings.priority,
                target_group: target_group.arn,
                until_then: listener.forwards,
                arn: None,
            };
            (rule, settings)
        })
    }

    /// The last step of a rule: forwards requests to the wanted targets alone, once they are healthy.
    fn rule_action(
        &mut self,
        key: &str,
        rule: Handle<Rule>,
        target_group: Handle<TargetGroup>,
        group: Handle<AutoScalingGroup>,
    ) {
        let wait = self.wait;
        self.stack.add_inside(key, (rule, target_group, group), move |(rule, target_group, group)| {
            let settings = rule_action::Settings::all_to(&target_group.arn);
            let seen = rule_action::Settings { forwards: rule.forwards };
            (RuleAction { rule: rule.arn, target_group: target_group.arn, group: group.name, seen, wait }, settings)
        });
    }

    /// The URL of a service behind the load balancer of another one.
    fn url_behind(&self, behind: &Behind, shared: &Shared) -> Wire {
        let front = self.config.services.get(&behind.service);
        let port = front.map_or(80, |front| u16::from(front.load_balancer.port));
        let of = behind.clone();
        let plain = shared.balancer.wire(move |balancer| of.url(&url(&balancer.dns_name, port)));
        match (shared.secured, front.and_then(|front| front.domain.clone())) {
            (Some(secured), Some(domain)) => {
                let of = behind.clone();
                secured.wire(move |secured| of.url(&https_url(&domain, secured.front))).or(plain)
            }
            _ => plain,
        }
    }
}

/// The DNS name of a load balancer.
pub(super) fn host(balancer: Handle<LoadBalancer>) -> Wire {
    balancer.wire(|balancer| balancer.dns_name.clone())
}

/// The key of a service's rule, which differs between the listeners. `config/checks.rs` keeps it free.
fn rule_key(entry: &str, shared: &Shared) -> String {
    if shared.secured.is_some() { https_key(entry) } else { entry.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cloud::{health::Wait, site::Site},
        config::Config,
        engine::Address,
        package::programs::Programs,
        page::lay_out,
    };

    #[test]
    fn a_service_behind_another_one_has_a_rule_in_place_of_a_load_balancer() {
        let service = "{ binary: b, instance_type: t3.micro";
        let text = format!(
            "name: app\nregion: us-east-1\nservices:\n  api: {service}, behind: {{ service: web, path: /api/* }} }}\n  \
             web: {service} }}\n"
        );
        let config = Config::parse("stack.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"));
        let site =
            Site { account: "1".into(), caller_arn: String::new(), region: "us-east-1".into(), is_emulated: false };
        let page = lay_out(&config, &site, Some(&Network::unknown()), &Programs::none(), Wait::default());
        let all: Vec<&Address> = page.stack.dependencies().into_iter().map(|(address, _)| address).collect();
        let kinds =
            |section: &str| -> Vec<&str> { all.iter().filter(|it| it.section == section).map(|it| it.kind).collect() };
        let (api, web) = (kinds("services.api"), kinds("services.web"));
        let only = |kinds: &[&str], other: &[&str]| -> Vec<String> {
            kinds.iter().filter(|kind| !other.contains(kind)).map(|kind| (*kind).to_owned()).collect()
        };
        assert_eq!(only(&api, &web), ["rule", "rule_action"]);
        assert_eq!(only(&web, &api), ["load_balancer", "listener", "default_action"]);
        let count = |kinds: &[&str], kind: &str| kinds.iter().filter(|it| **it == kind).count();
        assert_eq!((count(&api, "security_group"), count(&web, "security_group")), (1, 2));
        assert_eq!((count(&api, "alarm"), count(&web, "alarm")), (2, 3));
    }
}
