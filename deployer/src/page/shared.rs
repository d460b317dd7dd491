//! Services that share a load balancer: the rules by which each of them gets its requests.

use super::{
    Layout,
    front::Front,
    https::{https_key, https_url},
    network::Placement,
    services::{Fronted, url},
};
use crate::{
    config::{self, Behind, priorities},
    engine::{Address, Handle, Resource as _, Wire},
    kinds::{
        auto_scaling_group::AutoScalingGroup,
        bucket::Bucket,
        listener::Listener,
        load_balancer::LoadBalancer,
        rule::{self, ListenerRule},
        rule_action::{self, RuleAction},
        security_group::SecurityGroup,
        target_group::TargetGroup,
    },
};

/// What a service with a load balancer has for those behind it.
#[derive(Clone)]
pub struct Shared {
    /// Its entry as it is in the names of the load balancer.
    pub named: String,
    /// Whether the load balancer is reachable from its VPC only.
    pub is_internal: bool,
    /// Its security group.
    pub front_door: Handle<SecurityGroup>,
    /// The load balancer.
    pub balancer: Handle<LoadBalancer>,
    /// The listener for plain HTTP.
    pub listener: Handle<Listener>,
    /// The listener for HTTPS, if it is served.
    pub secured: Option<Handle<Listener>>,
}

/// A rule that is wanted at a listener.
pub struct WantedRule {
    /// Its address.
    pub address: Address,
    /// Its name.
    pub name: String,
    /// The listener.
    pub listener: Handle<Listener>,
    /// Its priority.
    pub priority: i32,
}

impl Layout<'_> {
    /// Whether the service that this one is behind has been laid out.
    pub(super) fn has_front(&self, service: &config::Service) -> bool {
        service.behind.as_ref().is_none_or(|behind| self.shared.contains_key(behind.service.as_str()))
    }

    /// The name of a service's resources behind a load balancer.
    pub(super) fn at_port(&self, entry: &str, wanted: &config::Service) -> String {
        let (port, named) = (u16::from(wanted.port), wanted.entry_in_names(entry));
        let (front_entry, front) = self.config.front(entry, wanted);
        match &wanted.behind {
            Some(_) => self.names.at_port_behind(&named, port, &front.entry_in_names(front_entry)),
            None => self.names.at_port(&named, port),
        }
    }

    /// A service behind the load balancer of another one: a rule takes the place of load balancer and listeners.
    pub(super) fn service_behind(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        (behind, shared): (&Behind, &Shared),
        placement: &Placement,
        anchor: Handle<Bucket>,
    ) -> Front {
        let front_name = self.names.plain(&format!("{}-lb", shared.named));
        let back_door = self.back_door(entry, wanted, placement, (shared.front_door, front_name));
        let template = self.instances(entry, wanted, back_door, anchor, None);
        let target_group = self.target_group(entry, wanted, placement);
        let rule = self.rule(entry, behind, shared, target_group);
        let alarms = self.alarms(entry, wanted, shared.balancer, target_group);
        let fronted = Fronted { template, target_group, listener: None, secured: None, rule: Some(rule) };
        let group = self.group(entry, wanted, placement, fronted, alarms);
        let policy = self.scaling_policy(entry, wanted, group);
        let action = self.rule_action(entry, &rule_key(entry, shared), rule, target_group, group);
        // A change of the listeners, such as to HTTPS, moves the rule: without it, the requests would not arrive.
        self.stack.follow(shared.listener, action);
        self.stack.follow(shared.listener, policy);
        let url = self.url_behind(behind, shared);
        self.offer("services", entry, [("url", url.clone()), ("host", host(shared.balancer))]);
        let names = self.service_names(entry, wanted);
        let (template, programs) = (self.names.plain(entry), self.service_programs(entry));
        Front {
            name: entry.into(),
            target_group: Some(target_group),
            group,
            balancer: Some(shared.balancer),
            is_behind: true,
            address: None,
            url,
            is_internal: shared.is_internal,
            https: None,
            names,
            template,
            programs,
        }
    }

    /// The rule of a service, at the listener that forwards: the one for HTTPS if it is served, as plain HTTP is redirected
    /// then. A rule that is left at the other listener is removed last.
    fn rule(
        &mut self,
        entry: &str,
        behind: &Behind,
        shared: &Shared,
        target_group: Handle<TargetGroup>,
    ) -> Handle<ListenerRule> {
        let (key, stack, behind) = (rule_key(entry, shared), self.config.name.to_string(), behind.clone());
        let order = self.order(&behind, shared);
        let priority = order.get(&key).copied().unwrap_or_default();
        let name = rule::name(&self.names.plain(&shared.named), &key);
        self.stack.want::<ListenerRule>(name.clone());
        let listener = shared.secured.unwrap_or(shared.listener);
        let address = Address { kind: ListenerRule::KIND, key: key.clone(), section: format!("services.{entry}") };
        self.rules.push(WantedRule { address, name: name.clone(), listener, priority });
        self.stack.add_inside(key.clone(), (listener, target_group), move |(listener, target_group)| {
            let settings = rule::Settings::of(&behind, &key, priority, target_group.arn.clone());
            let rule = ListenerRule {
                name: name.clone(),
                stack: stack.clone(),
                listener: listener.arn,
                key: key.clone(),
                order: order.clone(),
                target_group: target_group.arn,
                until_then: listener.forwards,
                arn: None,
            };
            (rule, settings)
        })
    }

    /// The priorities of all rules beside this one, by their keys.
    fn order(&self, behind: &Behind, shared: &Shared) -> rule::Order {
        let services = self.config.services.iter();
        let rules = services.filter_map(|(entry, service)| Some((entry.as_str(), service.behind.as_ref()?)));
        let beside = rules.filter(|(_, other)| other.service == behind.service);
        let priorities = priorities(beside).into_iter();
        priorities.map(|(entry, priority)| (rule_key(&entry, shared), priority.into())).collect()
    }

    /// The last step of a rule: forwards requests to the wanted targets alone, once they are healthy.
    fn rule_action(
        &mut self,
        entry: &str,
        key: &str,
        rule: Handle<ListenerRule>,
        target_group: Handle<TargetGroup>,
        group: Handle<AutoScalingGroup>,
    ) -> Handle<RuleAction> {
        let (service, wait) = (self.reporting(entry), self.wait);
        self.stack.add_inside(key, (rule, target_group, group), move |(rule, target_group, group)| {
            let settings = rule_action::Settings::all_to(&target_group.arn);
            let seen = rule_action::Settings { forwards: rule.forwards };
            let (target_group, group, service) = (target_group.arn, group.name, service.clone());
            (RuleAction { rule: rule.arn, target_group, group, seen, service, wait }, settings)
        })
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
        cloud::{
            health::Wait,
            site::{Network, Site},
        },
        config::Config,
        package::programs::Programs,
        page::{Page, lay_out},
    };

    fn page(services: &str) -> Page {
        let text = format!("name: app\nregion: us-east-1\nservices:\n{services}");
        let config = Config::parse("stack.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"));
        let site =
            Site { account: "1".into(), caller_arn: String::new(), region: "us-east-1".into(), is_emulated: false };
        lay_out(&config, &site, Some(&Network::unknown()), &Programs::none(), Wait::default())
    }

    /// `api` and `docs` behind the load balancer of `web`.
    fn shared_page() -> Page {
        let service = "{ binary: b, instance_type: t3.micro";
        page(&format!(
            "  api: {service}, behind: {{ service: web, path: /api/* }} }}\n  \
             docs: {service}, behind: {{ service: web, path: /docs/v2/* }} }}\n  \
             web: {service} }}\n"
        ))
    }

    #[test]
    fn a_service_behind_another_one_has_a_rule_in_place_of_a_load_balancer() {
        let page = shared_page();
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
        assert_eq!((count(&api, "alarm"), count(&web, "alarm")), (3, 3));
    }

    #[test]
    fn a_service_behind_an_internal_load_balancer_is_internal_and_named_after_it() {
        let service = "{ binary: b, instance_type: t3.micro";
        let page = page(&format!(
            "  api: {service}, behind: {{ service: web, path: /api/* }} }}\n  web: {service}, load_balancer: internal }}\n"
        ));
        let api = page.services.iter().find(|front| front.name == "api").expect("it is there");
        assert!(api.is_internal && api.is_behind && !api.reach().is_empty());
        assert_eq!(api.names.balancer, "app-web-internal");
        // Another load balancer needs other target groups and rules.
        assert_eq!(api.names.target_group, "app-api-8080-web-internal");
        let names: Vec<&str> = page.rules.iter().map(|rule| rule.name.as_str()).collect();
        assert_eq!(names, ["app-web-internal/api"]);
    }

    #[test]
    fn the_rules_of_a_listener_have_priorities_of_their_own_and_the_more_exact_one_is_first() {
        let page = shared_page();
        let names: Vec<&str> = page.rules.iter().map(|rule| rule.name.as_str()).collect();
        assert_eq!(names, ["app-web/api", "app-web/docs"]);
        assert!(page.rules[1].priority < page.rules[0].priority);
    }

    #[test]
    fn a_service_that_is_chosen_takes_those_behind_its_load_balancer_along() {
        let page = shared_page();
        let sections = |target: &str| {
            let chosen = page.stack.select(&[target.to_owned()]).expect("it is there");
            page.stack.sections(&chosen).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(sections("services.web"), ["artifacts", "services.api", "services.docs", "services.web"]);
        assert_eq!(sections("services.api"), ["artifacts", "services.api", "services.web"], "with its load balancer");
    }
}
