//! Services: instances behind a load balancer, with their programs, logs and reports.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
};

use super::{
    Layout,
    front::Front,
    https::{https_address, https_key, https_url},
    network, policy,
    shared::{Shared, host},
    storage::access_logs_prefix,
    user_data::{self, UserData},
    usual_bake_minutes,
};
use crate::{
    cloud::{health, partition, site::Network, why::Reports},
    config::{self, HTTPS_PORT},
    engine::{Handle, Wire},
    kinds::{
        alarm::{self, Alarm},
        artifact::{self, Artifact},
        auto_scaling_group::{self, AutoScalingGroup, Bake},
        bucket::Bucket,
        default_action::{self, DefaultAction},
        elastic_address::ElasticAddress,
        instance_profile::{self, InstanceProfile},
        launch_template::{self, LaunchTemplate},
        listener::{self, Listener, ListenerPart},
        load_balancer::{self, LoadBalancer},
        log_group::{self, LogGroup},
        origin::Origin,
        role::{self, Role},
        rule::ListenerRule,
        scaling_policy::{self, ScalingPolicy},
        security_group::{self, RuleSource, SecurityGroup, SecurityGroupRule, Side},
        target_group::{self, TargetGroup},
    },
    releases::programs::ServicePrograms,
};

impl Layout<'_> {
    pub(super) fn service(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        (network, placement): (&Network, &network::Placement),
        anchor: Handle<Bucket>,
    ) -> Front {
        self.stack.section(format!("services.{entry}"));
        let front = wanted.behind.as_ref().and_then(|behind| Some((behind, self.shared.get(behind.service.as_str())?)));
        if let Some((behind, shared)) = front {
            let shared = shared.clone();
            return self.service_behind(entry, wanted, (behind, &shared), placement, anchor);
        }
        // Requested first, so that ACM validates it while the load balancer is provisioned.
        let mut https = self.https(entry, wanted, network);
        let is_served = https.as_ref().is_some_and(|https| self.is_served(https));
        let (front_door, back_door) = self.firewalls(entry, wanted, placement, is_served);
        let template = self.instances(entry, wanted, back_door, anchor, None);
        let target_group = self.target_group(entry, wanted, placement);
        let domain = https.as_ref().and_then(|https| https.domain.as_ref());
        let aliased = domain.filter(|domain| domain.zone.is_some()).map(|domain| domain.name.clone());
        let balancer = self.load_balancer(entry, wanted, placement, (front_door, anchor), aliased);
        // One for HTTPS that is left over serves another domain.
        let part = if is_served { ListenerPart::Http } else { ListenerPart::Alone };
        let listener = self.listener(entry, wanted, balancer, target_group, part);
        if let Some(https) = &mut https {
            self.alias(entry, wanted, https, balancer);
            let validation = self.validation(entry, https);
            if is_served {
                let secured = self.https_listener(entry, wanted, https, (balancer, target_group, validation));
                https.listener = Some(secured);
            }
        }
        let secured = https.as_ref().and_then(|https| https.listener);
        let (named, is_internal) = (wanted.entry_in_names(entry), wanted.load_balancer.internal);
        let shared = Shared { named, is_internal, front_door, balancer, listener, secured };
        self.shared.insert(entry.to_owned(), shared);
        let alarms = self.alarms(entry, wanted, balancer, target_group);
        // Before it is issued, the listener for plain HTTP forwards, and instances need not wait for ACM.
        let is_issued = https.as_ref().and_then(|https| https.domain.as_ref()).is_none_or(|it| it.is_served(false));
        let forwarding = secured.filter(|_| is_issued);
        let fronted = Fronted { template, target_group, listener: Some(listener), secured: forwarding, rule: None };
        let group = self.group(entry, wanted, placement, fronted, alarms);
        self.scaling_policy(entry, wanted, group);
        let forwarding = secured.map(|secured| self.forward(entry, &https_key(entry), secured, target_group, group));
        match forwarding {
            Some(forwarding) => self.redirect(entry, listener, target_group, group, forwarding),
            None => {
                self.forward(entry, entry, listener, target_group, group);
            }
        }
        let port = u16::from(wanted.load_balancer.port);
        let mut url = balancer.wire(move |balancer| url(&balancer.dns_name, port));
        if let (Some(secured), Some(domain)) = (secured, &wanted.domain) {
            let domain = domain.clone();
            url = secured.wire(move |secured| https_url(&domain, secured.front)).or(url);
        }
        self.offer("services", entry, [("url", url.clone()), ("host", host(balancer))]);
        let names = self.service_names(entry, wanted);
        let (template, programs) = (self.names.plain(entry), self.service_programs(entry));
        let (target_group, balancer) = (Some(target_group), Some(balancer));
        Front {
            name: entry.into(),
            target_group,
            group,
            balancer,
            is_behind: false,
            address: None,
            url,
            is_internal,
            https,
            names,
            template,
            programs,
        }
    }

    /// The launch template, with the program, the log group and the instance profile that it names.
    pub(super) fn instances(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        firewall: Handle<SecurityGroup>,
        anchor: Handle<Bucket>,
        address: Option<Handle<ElasticAddress>>,
    ) -> Handle<LaunchTemplate> {
        let artifact = self.artifact(entry, anchor);
        let (logs, log_group_arn) = self.service_logs(entry, wanted);
        let profile = self.service_profile(entry, wanted, &log_group_arn);
        self.template(entry, wanted, firewall, profile, (artifact, logs), address)
    }

    /// The policy by which the group scales.
    pub(super) fn scaling_policy(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        group: Handle<AutoScalingGroup>,
    ) -> Handle<ScalingPolicy> {
        let cpu_percent = f64::from(wanted.instances.cpu_percent);
        self.stack.add_inside(entry, group, move |group| {
            let policy = ScalingPolicy { group: group.name };
            (policy, scaling_policy::Settings::cpu(cpu_percent))
        })
    }

    /// Two groups: the load balancer's admits the CIDR blocks in `allow`, or those of its VPC if it is internal, and
    /// reaches only the instances, whose group admits only the load balancer.
    fn firewalls(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        placement: &network::Placement,
        is_https: bool,
    ) -> (Handle<SecurityGroup>, Handle<SecurityGroup>) {
        let open: Vec<u16> =
            iter::once(u16::from(wanted.load_balancer.port)).chain(is_https.then_some(HTTPS_PORT)).collect();
        let allowed: Vec<String> = match wanted.load_balancer.internal {
            true => placement.blocks.clone(),
            false => wanted.load_balancer.allow.iter().map(ToString::to_string).collect(),
        };
        let front_name = self.names.plain(&format!("{}-lb", wanted.entry_in_names(entry)));
        let (name, side) = (front_name.clone(), Side::Front(self.at_port(entry, wanted)));
        let front = move |vpc| SecurityGroup { name: name.clone(), vpc, side: side.clone() };
        let description = format!("Load balancer of {entry}");
        let front = self.add_in_vpc(&format!("{entry}-lb"), placement, front, (), move |()| security_group::Settings {
            description: description.clone(),
            ingress: open
                .iter()
                .flat_map(|open| {
                    allowed.iter().map(|cidr| SecurityGroupRule::tcp(*open, RuleSource::Cidr(cidr.clone()), "clients"))
                })
                .collect(),
            egress: Some(BTreeSet::new()),
            reached_by: BTreeSet::new(),
        });
        let back = self.back_door(entry, wanted, placement, (front, front_name));
        (front, back)
    }

    /// The security group of the instances, behind that of a load balancer, given with its name.
    pub(super) fn back_door(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        placement: &network::Placement,
        (front, front_name): (Handle<SecurityGroup>, String),
    ) -> Handle<SecurityGroup> {
        let (port, name) = (u16::from(wanted.port), self.at_port(entry, wanted));
        let side = Side::Back(front_name);
        let back = move |vpc| SecurityGroup { name: name.clone(), vpc, side: side.clone() };
        let description = format!("Instances of {entry}");
        self.add_in_vpc(entry, placement, back, front, move |front| security_group::Settings {
            description: description.clone(),
            ingress: [SecurityGroupRule::tcp(port, RuleSource::Group(front.id.clone()), "load balancer")].into(),
            egress: None,
            reached_by: [SecurityGroupRule::tcp(port, RuleSource::Group(front.id), security_group::INSTANCES)].into(),
        })
    }

    /// The location of a service's programs.
    pub(super) fn service_programs(&self, entry: &str) -> ServicePrograms {
        ServicePrograms { bucket: self.names.artifacts(), prefix: format!("services/{entry}/") }
    }

    fn artifact(&mut self, entry: &str, anchor: Handle<Bucket>) -> Handle<Artifact> {
        let program = self.programs.service(entry);
        let key = format!("{}{}", self.service_programs(entry).prefix, program.sha256);
        let artifact = Artifact { bucket: self.names.artifacts(), key, content: program.content };
        let settings = artifact::Settings { sha256: Some(program.sha256) };
        self.stack.add_inside(entry, anchor, move |_| (artifact.clone(), settings.clone()))
    }

    /// The log group of a service, and its ARN. A function may have the same name as the service.
    fn service_logs(&mut self, entry: &str, wanted: &config::Service) -> (Handle<LogGroup>, String) {
        let group = LogGroup { name: self.names.service_log_group(entry) };
        let arn = self.log_group_arn(&group.name);
        let retention_days = wanted.log_retention_days.map(Into::into);
        let key = wanted.log_key.as_ref().map(ToString::to_string);
        let settings = move |()| log_group::Settings { retention_days, key: key.clone() };
        (self.stack.add(format!("{entry}-svc"), group, (), settings), arn)
    }

    /// The instance profile of a service: one of its own with least privileges, or the existing one.
    fn service_profile(&mut self, entry: &str, wanted: &config::Service, log_group_arn: &str) -> Wire {
        if let Some(existing) = self.config.roles.as_ref().and_then(|roles| roles.instance_profile.as_ref()) {
            return Wire::literal(existing.to_string());
        }
        let partition = self.site.partition();
        let within = |prefix: &str| format!("arn:{partition}:s3:::{}/{prefix}*", self.names.artifacts());
        let (programs, reports) =
            (within(&self.service_programs(entry).prefix), within(&user_data::reports_prefix(entry)));
        let uses = self.uses(&wanted.uses, &wanted.variables.stored);
        let take_address = match wanted.is_direct {
            true => {
                let (site, stack) = (&self.site, self.config.name.as_str());
                policy::take_address(partition, &site.region, &site.account, stack, entry)
            }
            false => Vec::new(),
        };
        let policy = policy::service_policy(&uses, &programs, &reports, log_group_arn, take_address);
        let (name, path) = (self.names.service_role(entry), self.names.iam_path());
        // EC2 does not send the account when it assumes a role (docs/aws.md §6.1).
        let trusted_service = partition::principal(partition::EC2, partition).into();
        let settings = role::Settings { path: path.clone(), trusted_service, trusted_account: None, policy };
        let role = Role { name: name.clone() };
        let role = self.stack.add(format!("{entry}-svc"), role, (), move |()| settings.clone());
        let profile = InstanceProfile { name };
        let profile = self.stack.add(entry, profile, role, move |role| {
            let path = path.clone();
            instance_profile::Settings { path, role: Some(role.name) }
        });
        profile.wire(|profile| profile.name.clone())
    }

    fn template(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        firewall: Handle<SecurityGroup>,
        profile: Wire,
        (artifact, logs): (Handle<Artifact>, Handle<LogGroup>),
        address: Option<Handle<ElasticAddress>>,
    ) -> Handle<LaunchTemplate> {
        let environment = self.environment(&wanted.variables.texts);
        let stored: Vec<user_data::StoredVariable> = wanted
            .variables
            .stored
            .iter()
            .map(|(variable, value)| user_data::StoredVariable {
                variable: variable.clone(),
                version: value.version(&self.later.versions).to_owned(),
                value: value.clone(),
            })
            .collect();
        let (stack, region) = (self.config.name.to_string(), self.site.region.clone());
        let (service, port, sha256) = (entry.to_owned(), u16::from(wanted.port), self.programs.service(entry).sha256);
        let commands = match &wanted.program {
            config::Program::Files(folder) => Some(folder.commands.clone()),
            config::Program::Package(_) | config::Program::Binary(_) | config::Program::Managed(_) => None,
        };
        let basis = launch_template::Settings::new(wanted, &self.config.tags, self.config.name.as_str(), entry);
        let origin = Origin::new(&self.site.caller_arn, self.programs.commit.as_ref());
        let template = LaunchTemplate { name: self.names.plain(entry), origin, open: wanted.variables.open() };
        let inputs = (firewall, profile, (artifact, logs, address), environment);
        self.stack.add(entry, template, inputs, move |(firewall, profile, (artifact, logs, address), environment)| {
            let user_data = UserData {
                stack: stack.clone(),
                service: service.clone(),
                region: region.clone(),
                bucket: artifact.bucket,
                key: artifact.key,
                environment,
                stored: stored.clone(),
                port,
                sha256: sha256.clone(),
                commands: commands.clone(),
                log_group: logs.name,
                address: address.map(|address| address.allocation),
            };
            launch_template::Settings {
                instance_profile: profile,
                security_groups: [firewall.id].into(),
                user_data: user_data.render().expect("config.rs bounds what an environment can hold"),
                ..basis.clone()
            }
        })
    }

    pub(super) fn target_group(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        placement: &network::Placement,
    ) -> Handle<TargetGroup> {
        let (port, health_check) = (u16::from(wanted.port), wanted.health_check.clone());
        let target_group = TargetGroup { name: self.at_port(entry, wanted) };
        let settings = move |vpc: String| target_group::Settings::http(port, &vpc, &health_check);
        self.stack.add(entry, target_group, placement.vpc(), settings)
    }

    fn load_balancer(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        placement: &network::Placement,
        (firewall, bucket): (Handle<SecurityGroup>, Handle<Bucket>),
        domain: Option<String>,
    ) -> Handle<LoadBalancer> {
        let balancer = LoadBalancer {
            name: self.names.plain(&wanted.entry_in_names(entry)),
            manages_web_acl: wanted.load_balancer.web_acl.is_some(),
        };
        let web_acl = wanted.load_balancer.web_acl.as_ref().and_then(|web_acl| web_acl.arn().map(str::to_owned));
        let scheme = if wanted.load_balancer.internal { load_balancer::INTERNAL } else { load_balancer::PUBLIC };
        let protected = wanted.load_balancer.protect;
        let inputs = (firewall, bucket, placement.vpc(), placement.subnets.clone());
        let logs = wanted.access_logs.then(|| access_logs_prefix(entry));
        self.stack.add(entry, balancer, inputs, move |(firewall, bucket, vpc, subnets)| load_balancer::Settings {
            protected,
            access_logs: logs.as_ref().map(|prefix| format!("{}/{prefix}", bucket.name)),
            web_acl: web_acl.clone(),
            domain: domain.clone(),
            ..load_balancer::Settings::of(scheme, vpc, subnets.into_iter().collect(), [firewall.id].into())
        })
    }

    /// The listener for plain HTTP.
    fn listener(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        balancer: Handle<LoadBalancer>,
        target_group: Handle<TargetGroup>,
        part: ListenerPart,
    ) -> Handle<Listener> {
        let port = u16::from(wanted.load_balancer.port);
        let https = https_address(entry);
        self.stack.add_inside(entry, (balancer, target_group), move |(balancer, target_group)| {
            let (load_balancer, target_group, https) = (balancer.arn, target_group.arn, https.clone());
            let settings = listener::Settings::http(port, target_group.clone());
            (Listener { load_balancer, target_group, port: port.into(), part, https }, settings)
        })
    }

    /// Added after the listener or the rule: targets of a group that neither uses never become healthy (docs/aws.md
    /// §11.1).
    pub(super) fn group(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        placement: &network::Placement,
        Fronted { template, target_group, listener, secured, rule }: Fronted,
        alarms: BTreeMap<String, Handle<Alarm>>,
    ) -> Handle<AutoScalingGroup> {
        let instances = wanted.instances.clone();
        let grace_period_s = wanted.grace_period_s.into();
        let name = self.at_port(entry, wanted);
        let bake = (!alarms.is_empty()).then(|| Bake {
            seconds: i32::from(self.bake_minutes(wanted)) * 60,
            alarms: alarms.keys().cloned().collect(),
        });
        let group = AutoScalingGroup {
            names: Some(Box::new(self.service_names(entry, wanted))),
            bake,
            ..AutoScalingGroup::named(&name)
        };
        let ends = self.later.ends.clone();
        let inputs = ((template, target_group, listener, secured, rule), alarms, placement.subnets.clone());
        self.stack.add(entry, group, inputs, move |((template, target_group, ..), _, subnets)| {
            auto_scaling_group::Settings {
                min: instances.min.into(),
                max: instances.max.into(),
                subnets: subnets.into_iter().collect(),
                target_groups: [target_group.arn].into(),
                health_check_type: "ELB".into(),
                grace_period_s,
                warmup_s: auto_scaling_group::WARMUP_S,
                template: auto_scaling_group::Template { id: template.id, version: template.version.to_string() },
                paused: None,
                ends: ends.clone(),
            }
        })
    }

    /// How long a new release is watched, in minutes.
    pub(super) fn bake_minutes(&self, wanted: &config::Service) -> u16 {
        wanted.bake_minutes.unwrap_or(usual_bake_minutes(self.site))
    }

    /// The alarms that watch a new release, by name; none if it is not watched. Of a shared load balancer, only the
    /// requests to the service's own targets count.
    pub(super) fn alarms(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        balancer: Handle<LoadBalancer>,
        target_group: Handle<TargetGroup>,
    ) -> BTreeMap<String, Handle<Alarm>> {
        if self.bake_minutes(wanted) == 0 {
            return BTreeMap::new();
        }
        let service = self.names.plain(entry);
        let is_sharing = self.config.is_sharing(entry, wanted);
        let own = is_sharing.then_some(target_group);
        let add = |watched: &'static alarm::Watched| {
            let (key, name) = (watched.name(entry), watched.name(&service));
            let alarm = self.stack.add(key, Alarm { name: name.clone() }, (balancer, own), move |(balancer, own)| {
                watched.settings(&balancer.arn, own.as_ref().map(|own| own.arn.as_str()))
            });
            (name, alarm)
        };
        alarm::watching(is_sharing).map(add).collect()
    }

    /// The last step of a listener: forwards requests to the wanted targets alone, once they are healthy.
    fn forward(
        &mut self,
        entry: &str,
        key: &str,
        listener: Handle<Listener>,
        target_group: Handle<TargetGroup>,
        group: Handle<AutoScalingGroup>,
    ) -> Handle<DefaultAction> {
        let (service, wait) = (self.reporting(entry), self.wait);
        self.stack.add_inside(key, (listener, target_group, group), move |(listener, target_group, group)| {
            let settings = default_action::Settings::all_to(&target_group.arn);
            (default_action_of(listener, target_group, group, service.clone(), wait), settings)
        })
    }
}

/// The launch template of an Auto Scaling group, and everything that sends requests to its instances.
pub(super) struct Fronted {
    pub template: Handle<LaunchTemplate>,
    pub target_group: Handle<TargetGroup>,
    /// The listener for plain HTTP.
    pub listener: Option<Handle<Listener>>,
    /// The listener for HTTPS, if it forwards.
    pub secured: Option<Handle<Listener>>,
    /// The rule of a service behind the load balancer of another one.
    pub rule: Option<Handle<ListenerRule>>,
}

pub(super) fn default_action_of(
    listener: listener::Output,
    target_group: target_group::Output,
    group: auto_scaling_group::Output,
    service: (String, Reports),
    wait: health::Wait,
) -> DefaultAction {
    let seen = default_action::Settings { forwards: listener.forwards, redirect: listener.redirect };
    let (target_group, group) = (target_group.arn, group.name);
    DefaultAction { listener: listener.arn, target_group, group, seen, service, wait }
}

/// The URL for users. A local load balancer's DNS name includes its actual port.
pub fn url(dns_name: &str, port: u16) -> String {
    match (dns_name.contains(':'), port) {
        (true, _) | (_, 80) => format!("http://{dns_name}"),
        (false, port) => format!("http://{dns_name}:{port}"),
    }
}
