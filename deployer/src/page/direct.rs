//! Services without a load balancer: one instance with an elastic IP address, which it takes itself when it boots.

use super::{Front, Layout, network, services::url};
use crate::{
    config,
    engine::Handle,
    kinds::{
        auto_scaling_group::{self, AutoScalingGroup},
        bucket::Bucket,
        elastic_address::{self, ElasticAddress},
        launch_template::LaunchTemplate,
        security_group::{self, RuleSource, SecurityGroup, SecurityGroupRule, Side},
    },
};

impl Layout<'_> {
    pub(super) fn direct_service(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        placement: &network::Placement,
        anchor: Handle<Bucket>,
    ) -> Front {
        self.stack.section(format!("services.{entry}"));
        let address = ElasticAddress::of(self.config.name.as_str(), entry);
        let address = self.stack.add(entry, address, (), |()| elastic_address::Settings::wanted());
        let firewall = self.open_firewall(entry, wanted, placement);
        let template = self.instances(entry, wanted, firewall, anchor, Some(address));
        let group = self.one_instance(entry, wanted, placement, template);
        let port = u16::from(wanted.port);
        let url = address.wire(move |address| url(&address.public_ip, port));
        let host = address.wire(|address| address.public_ip.clone());
        self.offer("services", entry, [("url", url.clone()), ("host", host)]);
        Front {
            name: entry.into(),
            target_group: None,
            group,
            balancer: None,
            is_behind: false,
            address: Some(address),
            url,
            is_internal: false,
            https: None,
            names: self.service_names(entry, wanted),
            template: self.names.plain(entry),
            programs: self.service_programs(entry),
        }
    }

    /// The group of the instance, which admits everyone.
    fn open_firewall(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        placement: &network::Placement,
    ) -> Handle<SecurityGroup> {
        let port = u16::from(wanted.port);
        let name = self.at_port(entry, wanted);
        let group = move |vpc| SecurityGroup { name: name.clone(), vpc, side: Side::Alone };
        let description = format!("Instance of {entry}");
        self.add_in_vpc(entry, placement, group, (), move |()| security_group::Settings {
            description: description.clone(),
            ingress: [SecurityGroupRule::tcp(port, RuleSource::Cidr("0.0.0.0/0".into()), "clients")].into(),
            egress: None,
            reached_by: Default::default(),
        })
    }

    /// The group that replaces the instance. The address leads to one instance only, so the old one ends first.
    fn one_instance(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        placement: &network::Placement,
        template: Handle<LaunchTemplate>,
    ) -> Handle<AutoScalingGroup> {
        let name = self.at_port(entry, wanted);
        let group = AutoScalingGroup {
            names: Some(Box::new(self.service_names(entry, wanted))),
            ends_first: true,
            ..AutoScalingGroup::named(&name)
        };
        let (grace_period_s, ends) = (wanted.grace_period_s.into(), self.later.ends.clone());
        let inputs = (template, placement.subnets.clone());
        self.stack.add(entry, group, inputs, move |(template, subnets)| auto_scaling_group::Settings {
            min: 1,
            max: 1,
            subnets: subnets.into_iter().collect(),
            target_groups: Default::default(),
            health_check_type: "EC2".into(),
            grace_period_s,
            warmup_s: auto_scaling_group::WARMUP_S,
            template: auto_scaling_group::Template { id: template.id, version: template.version.to_string() },
            paused: None,
            ends: ends.clone(),
        })
    }
}
