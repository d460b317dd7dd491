//! The page: every resource of a stack, and the outputs that each of them uses.

pub mod names;
pub mod policy;
pub mod user_data;

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
};

use crate::{
    cloud::{
        aws::Aws,
        domains::Domain,
        health, partition,
        site::{Network, Site},
        why::{FunctionPlace, Place, Reports},
    },
    config::{self, Config, Piece, Reference, Store, Text},
    engine::{Address, Error, Fault, Handle, Inputs, Joined, Outcome, Outputs, Resource, Stack, Tags, Wire},
    kinds::{
        alarm::{self, Alarm},
        alias::{self, Alias},
        artifact::{self, Artifact},
        auto_scaling_group::{self, AutoScalingGroup, Bake},
        bucket::{self, Bucket},
        certificate::{self, Certificate},
        default_action::{self, DefaultAction},
        function::{self, Function},
        instance_profile::{self, InstanceProfile},
        launch_template::{self, LaunchTemplate},
        listener::{self, HTTPS_PORT, Listener, Part},
        load_balancer::{self, LoadBalancer},
        log_group::{self, LogGroup},
        notification::{self, Notification, Upload},
        origin::Origin,
        permissions::{self, Permissions, Statement},
        role::{self, Role},
        scaling_policy::{self, ScalingPolicy},
        security_group::{self, Rule, SecurityGroup, Side, Source},
        table::{self, Table},
        target_group::{self, TargetGroup},
        validation_record::{self, ValidationRecord},
    },
    package::programs::Programs,
    page::{names::Names, policy::Uses, user_data::UserData},
    releases::programs::ServicePrograms,
};

/// The days that the reports of instances are kept.
const REPORTS_END_DAYS: i32 = 14;

/// How long a new release is watched on AWS, unless stack.yaml says otherwise. CloudWatch sees an error after two to three
/// minutes (docs/aws.md §10.9).
pub const USUAL_BAKE_MINUTES: u16 = 5;

/// How long a new release is watched at this site, unless stack.yaml says otherwise.
pub fn usual_bake_minutes(site: &Site) -> u16 {
    if site.is_emulated { 0 } else { USUAL_BAKE_MINUTES }
}

/// A stack, with what the commands report once it is up.
pub struct Page {
    /// Every resource.
    pub stack: Stack<Aws>,
    /// The `outputs` of `stack.yaml`, in its order.
    pub outputs: Vec<(String, Joined)>,
    /// The values that `verify` refers to, by the paths of the references.
    pub verify: BTreeMap<String, Wire>,
    /// The services whose health `up` waits for.
    pub services: Vec<Front>,
    /// The functions, for their diagnosis.
    pub functions: Vec<FunctionPlace>,
}

/// A service as its users reach it.
pub struct Front {
    /// Its name in `stack.yaml`.
    pub name: String,
    /// Its target group.
    pub target_group: Handle<TargetGroup>,
    /// Its Auto Scaling group.
    pub group: Handle<AutoScalingGroup>,
    /// Its load balancer.
    pub balancer: Handle<LoadBalancer>,
    /// Its URL: its domain if that is served, otherwise the DNS name of its load balancer with scheme and port.
    pub url: Wire,
    /// How it is served over HTTPS, if it is to be.
    pub https: Option<Https>,
    /// The names for its diagnosis.
    pub place: Place,
    /// The name of its launch template, whose versions are its releases.
    pub template: String,
    /// The location of its programs.
    pub programs: ServicePrograms,
}

/// How a service is served over HTTPS.
pub struct Https {
    /// Its domain.
    pub domain: Option<Domain>,
    /// Its certificate, unless `stack.yaml` names one.
    pub certificate: Option<Handle<Certificate>>,
    /// Its listener, if it can be served.
    pub listener: Option<Handle<Listener>>,
}

impl Front {
    /// Whether these nodes include the service.
    pub fn is_among(&self, nodes: &BTreeSet<usize>) -> bool {
        self.group.is_among(nodes)
    }

    /// Returns its URL, once its load balancer exists.
    pub fn url(&self, outputs: &Outputs) -> Option<String> {
        self.url.get(outputs)
    }

    /// The error for a service that was not healthy in time or cannot become so.
    pub fn failed(&self, source: Fault) -> Outcome {
        let (what, name) = (self.address(), self.name.clone());
        Outcome { address: self.address(), result: Some(Err(Error::Fault { verb: "start", what, name, source })) }
    }

    /// Whether its listener could not switch to the wanted targets.
    pub fn is_held_back(&self, outcomes: &[Outcome]) -> bool {
        let mut actions = outcomes.iter().filter(|it| it.address.kind == DefaultAction::KIND);
        actions.any(|it| it.address.key == self.name && matches!(it.result, Some(Err(Error::Fault { .. }))))
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

/// Lays out the whole stack. Without a network there are no services, and none can exist.
pub fn lay_out(
    config: &Config,
    site: &Site,
    network: Option<&Network>,
    programs: &Programs,
    wait: health::Wait,
) -> Page {
    lay_out_until(config, site, network, programs, wait, Later::default())
}

/// What is known of a stack besides its description.
#[derive(Debug, Clone, Default)]
pub struct Later {
    /// When the services end, in the notation of RFC 3339.
    pub ends: Option<String>,
    /// The versions of the values that are kept in AWS.
    pub versions: config::Versions,
}

/// The same, with what is known besides the description.
pub fn lay_out_until(
    config: &Config,
    site: &Site,
    network: Option<&Network>,
    programs: &Programs,
    wait: health::Wait,
    later: Later,
) -> Page {
    let mut page = Layout { later, ..Layout::begin(config, site, programs, wait) };
    let anchor = page.anchor();
    let buckets = page.buckets();
    page.tables();
    let functions = page.functions_and_services(network, anchor);
    let permissions = page.permissions(&functions.functions, &buckets);
    page.notifications(&buckets, &functions.functions, &permissions);
    let outputs = config.outputs.iter().map(|(name, text)| (name.to_string(), page.joined(text))).collect();
    let verify = page.referred(config.verify.iter().flat_map(|verify| verify.references()));
    let places = page.function_places();
    Page { stack: page.stack, outputs, verify, services: functions.fronts, functions: places }
}

/// What a stack runs and holds, by the names that are known before anything has been read.
pub struct Places {
    /// The artifact bucket.
    pub anchor: String,
    /// The services.
    pub services: Vec<Place>,
    /// The functions.
    pub functions: Vec<FunctionPlace>,
    /// The buckets: the name in `stack.yaml`, and the name in the account.
    pub buckets: Vec<(String, String)>,
    /// The tables, in the same way.
    pub tables: Vec<(String, String)>,
}

/// Names everything that a stack runs and holds.
pub fn places(config: &Config, site: &Site) -> Places {
    let programs = Programs::none();
    let page = Layout::begin(config, site, &programs, health::Wait::No);
    let names = &page.names;
    Places {
        anchor: names.artifacts(),
        services: config.services.iter().map(|(entry, service)| page.place(entry.as_str(), service)).collect(),
        functions: page.function_places(),
        buckets: config.buckets.keys().map(|entry| (entry.to_string(), names.bucket(entry.as_str()))).collect(),
        tables: config.tables.keys().map(|entry| (entry.to_string(), names.plain(entry.as_str()))).collect(),
    }
}

struct Layout<'a> {
    stack: Stack<Aws>,
    /// What references in `stack.yaml` can name, as `section.entry.attribute`.
    wires: BTreeMap<String, Wire>,
    names: Names,
    config: &'a Config,
    site: &'a Site,
    programs: &'a Programs,
    wait: health::Wait,
    later: Later,
}

/// Handles of functions and services that later resources use.
struct Running {
    functions: BTreeMap<String, Handle<Function>>,
    fronts: Vec<Front>,
}

impl<'a> Layout<'a> {
    fn begin(config: &'a Config, site: &'a Site, programs: &'a Programs, wait: health::Wait) -> Layout<'a> {
        Layout {
            stack: Stack::new(config.name.to_string(), tags(config)),
            wires: BTreeMap::new(),
            names: Names::of(config, site),
            config,
            site,
            programs,
            wait,
            later: Later::default(),
        }
    }
}

impl Layout<'_> {
    /// The artifact bucket is created first and removed last: without it, the stack has no resources.
    fn anchor(&mut self) -> Handle<Bucket> {
        self.stack.section("artifacts");
        let anchor = Bucket { name: self.names.artifacts(), account: self.site.account.clone() };
        self.stack.add("artifacts", anchor, (), |()| bucket::Settings {
            boot_reports_end_days: Some(REPORTS_END_DAYS),
            ..bucket::Settings::private(Vec::new())
        })
    }

    fn buckets(&mut self) -> BTreeMap<String, Handle<Bucket>> {
        let mut buckets = BTreeMap::new();
        for (entry, wanted) in &self.config.buckets {
            self.stack.section(format!("buckets.{entry}"));
            let cors: Vec<bucket::CorsRule> = wanted.cors.iter().map(cors_rule).collect();
            let bucket = Bucket { name: self.names.bucket(entry.as_str()), account: self.site.account.clone() };
            let protected = wanted.protect;
            let bucket = self.stack.add(entry.as_str(), bucket, (), move |()| bucket::Settings {
                protected,
                ..bucket::Settings::private(cors.clone())
            });
            self.offer(
                "buckets",
                entry.as_str(),
                [
                    ("name", bucket.wire(|bucket| bucket.name.clone())),
                    ("arn", bucket.wire(|bucket| bucket.arn.clone())),
                    ("region", bucket.wire(|bucket| bucket.region.clone())),
                ],
            );
            buckets.insert(entry.to_string(), bucket);
        }
        buckets
    }

    fn tables(&mut self) {
        for (entry, wanted) in &self.config.tables {
            self.stack.section(format!("tables.{entry}"));
            let settings = table_settings(wanted);
            let table = Table { name: self.names.plain(entry.as_str()) };
            let table = self.stack.add(entry.as_str(), table, (), move |()| settings.clone());
            self.offer(
                "tables",
                entry.as_str(),
                [("name", table.wire(|table| table.name.clone())), ("arn", table.wire(|table| table.arn.clone()))],
            );
        }
    }

    /// Functions and services may refer to each other, so each is added after all that it refers to. `config.rs` has
    /// rejected cycles: every round adds at least one.
    fn functions_and_services(&mut self, network: Option<&Network>, anchor: Handle<Bucket>) -> Running {
        let mut running = Running { functions: BTreeMap::new(), fronts: Vec::new() };
        let config = self.config;
        let mut functions: Vec<_> = config.functions.iter().collect();
        let mut services: Vec<_> = network.map(|_| config.services.iter().collect()).unwrap_or_default();
        while !functions.is_empty() || !services.is_empty() {
            let waiting = functions.len() + services.len();
            functions.retain(|(entry, function)| {
                let ready = self.has_all(function.variables.texts.values());
                if ready {
                    running.functions.insert(entry.to_string(), self.function(entry.as_str(), function));
                }
                !ready
            });
            services.retain(|(entry, service)| {
                let (Some(network), true) = (network, self.has_all(service.variables.texts.values())) else {
                    return true;
                };
                running.fronts.push(self.service(entry.as_str(), service, network, anchor));
                false
            });
            if functions.len() + services.len() == waiting {
                break; // the others refer to a service, and without a network there are no services
            }
        }
        running
    }

    fn function(&mut self, entry: &str, wanted: &config::Function) -> Handle<Function> {
        self.stack.section(format!("functions.{entry}"));
        let group = LogGroup { name: self.names.log_group(entry) };
        let arn = self.log_group_arn(&group.name);
        let retention_days = wanted.log_retention_days.map(Into::into);
        let logs = self.stack.add(entry, group, (), move |()| log_group::Settings { retention_days });
        let role = self.function_role(entry, wanted, arn);
        let mut environment = self.environment(&wanted.variables.texts);
        if !wanted.variables.held.is_empty() {
            let references = config::references(&wanted.variables.held, &self.later.versions);
            environment.insert(config::REFERENCES.into(), Joined(vec![Wire::literal(references)]));
        }
        let program = self.programs.function(entry);
        let basis = function::Settings {
            code_sha256: program.sha256,
            zip: program.zip,
            runtime: "provided.al2023".into(),
            handler: "bootstrap".into(),
            architecture: wanted.architecture.name().into(),
            memory_mb: wanted.memory_mb.into(),
            timeout_s: wanted.timeout_s.into(),
            role: String::new(),
            environment: BTreeMap::new(),
            log_group: String::new(),
            published: true,
            failure: None,
        };
        let origin = Origin::new(&self.site.caller_arn, self.programs.commit.as_ref());
        let function = Function { name: self.names.plain(entry), origin, open: wanted.variables.open() };
        let function = self.stack.add(entry, function, (role, logs, environment), move |(role, logs, environment)| {
            function::Settings { role, environment, log_group: logs.name, ..basis.clone() }
        });
        self.offer(
            "functions",
            entry,
            [
                ("name", function.wire(|function| function.name.clone())),
                ("arn", function.wire(|function| function.arn.clone())),
            ],
        );
        function
    }

    /// The role of a function: one of its own with least privileges, or the existing one.
    fn function_role(&mut self, entry: &str, wanted: &config::Function, log_group_arn: String) -> Wire {
        if let Some(existing) = &self.config.roles {
            return Wire::literal(format!(
                "arn:{}:iam::{}:role/{}",
                self.site.partition(),
                self.site.account,
                existing.existing
            ));
        }
        let policy = policy::function_policy(&self.uses(&wanted.uses, &wanted.variables.held), &log_group_arn);
        let role = Role { name: self.names.function_role(entry), path: self.names.iam_path() };
        let settings = role::Settings {
            trusted_service: "lambda.amazonaws.com".into(),
            trusted_account: Some(self.site.account.clone()),
            policy,
        };
        let role = self.stack.add(format!("{entry}-fn"), role, (), move |()| settings.clone());
        role.wire(|role| role.arn.clone())
    }

    fn service(&mut self, entry: &str, wanted: &config::Service, network: &Network, anchor: Handle<Bucket>) -> Front {
        self.stack.section(format!("services.{entry}"));
        // Requested first, so that ACM validates it while the load balancer is provisioned.
        let mut https = self.https(entry, wanted, network);
        let is_served = https.as_ref().is_some_and(|https| self.is_served(https));
        let (front_door, back_door) = self.firewalls(entry, wanted, network, is_served);
        let artifact = self.artifact(entry, anchor);
        let (logs, log_group_arn) = self.service_logs(entry, wanted);
        let profile = self.service_profile(entry, wanted, &log_group_arn);
        let template = self.template(entry, wanted, back_door, profile, artifact, logs);
        let target_group = self.target_group(entry, wanted, network);
        let domain = https.as_ref().and_then(|https| https.domain.as_ref());
        let aliased = domain.filter(|domain| domain.zone.is_some()).map(|domain| domain.name.clone());
        let balancer = self.load_balancer(entry, wanted, network, front_door, aliased);
        // One for HTTPS that is left over serves another domain.
        let part = if is_served { Part::Http } else { Part::Alone };
        let listener = self.listener(entry, wanted, balancer, target_group, part);
        if let Some(https) = &mut https {
            self.alias(entry, https, balancer);
            let validation = self.validation(entry, https);
            if is_served {
                let secured = self.https_listener(entry, wanted, https, (balancer, target_group, validation));
                https.listener = Some(secured);
            }
        }
        let secured = https.as_ref().and_then(|https| https.listener);
        let alarms = self.alarms(entry, wanted, balancer);
        // Before it is issued, the listener for plain HTTP forwards, and instances need not wait for ACM.
        let is_issued = https.as_ref().and_then(|https| https.domain.as_ref()).is_none_or(|it| it.is_served(false));
        let forwarding = secured.filter(|_| is_issued);
        let group = self.group(entry, wanted, network, (template, target_group, listener, forwarding), alarms);
        let cpu_percent = f64::from(wanted.instances.cpu_percent);
        self.stack.add_inside(entry, group, move |group| {
            let policy = ScalingPolicy { group: group.name };
            (policy, scaling_policy::Settings::cpu(cpu_percent))
        });
        let forwarding = secured.map(|secured| self.forward(&https_key(entry), secured, target_group, group));
        match forwarding {
            Some(forwarding) => self.redirect(entry, listener, target_group, group, forwarding),
            None => {
                self.forward(entry, listener, target_group, group);
            }
        }
        let port = u16::from(wanted.load_balancer.port);
        let mut url = balancer.wire(move |balancer| url(&balancer.dns_name, port));
        if let (Some(secured), Some(domain)) = (secured, &wanted.domain) {
            let domain = domain.clone();
            url = secured.wire(move |secured| https_url(&domain, secured.front)).or(url);
        }
        self.offer(
            "services",
            entry,
            [("url", url.clone()), ("host", balancer.wire(|balancer| balancer.dns_name.clone()))],
        );
        let place = self.place(entry, wanted);
        let (template, programs) = (self.names.plain(entry), self.stored(entry));
        Front { name: entry.into(), target_group, group, balancer, url, https, place, template, programs }
    }

    /// The certificate of a service, with its validation record; `None` if the service is not to be served over HTTPS.
    fn https(&mut self, entry: &str, wanted: &config::Service, network: &Network) -> Option<Https> {
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
    fn is_served(&self, https: &Https) -> bool {
        let waits = self.wait != health::Wait::No;
        https.certificate.is_none() || https.domain.as_ref().is_some_and(|domain| domain.is_served(waits))
    }

    /// The record by which ACM validates a domain, in the zone that holds it.
    fn validation(&mut self, entry: &str, https: &Https) -> Option<Handle<ValidationRecord>> {
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
    fn alias(&mut self, entry: &str, https: &Https, balancer: Handle<LoadBalancer>) {
        let Some(Domain { name: domain, zone: Some(zone), .. }) = &https.domain else { return };
        let (domain, zone) = (domain.clone(), zone.id.clone());
        let named = LoadBalancer { name: self.names.plain(entry) };
        let stack = self.config.name.to_string();
        self.stack.add_inside(entry, balancer, move |balancer| {
            let target = named.target(&balancer);
            let settings = alias::Settings::to(&target.dns_name);
            (Alias { stack: stack.clone(), domain: domain.clone(), zone: zone.clone(), target }, settings)
        });
    }

    /// The names for the diagnosis of a service.
    fn place(&self, entry: &str, wanted: &config::Service) -> Place {
        let port = u16::from(wanted.port);
        let at_port = self.names.at_port(entry, port);
        Place {
            service: entry.into(),
            group: at_port.clone(),
            target_group: at_port,
            balancer: self.names.plain(entry),
            template: self.names.plain(entry),
            front_port: u16::from(wanted.load_balancer.port).into(),
            domain: wanted.domain.clone(),
            port,
            path: wanted.health_check.path.clone(),
            grace_s: wanted.grace_period_s.into(),
            instance_type: wanted.instance_type.to_string(),
            reports: self.reports(entry),
            is_watched: self.bake_minutes(wanted) > 0,
        }
    }

    fn reports(&self, entry: &str) -> Reports {
        Reports { bucket: self.names.artifacts(), prefix: user_data::reports_prefix(entry) }
    }

    /// The names for the diagnosis of all functions.
    fn function_places(&self) -> Vec<FunctionPlace> {
        self.config.functions.keys().map(|entry| self.function_place(entry.as_str())).collect()
    }

    /// The names for the diagnosis of a function.
    fn function_place(&self, entry: &str) -> FunctionPlace {
        let notifies =
            |bucket: &config::Bucket| bucket.on_upload.as_ref().is_some_and(|it| it.function.as_str() == entry);
        let buckets = self.config.buckets.iter().filter(|(_, bucket)| notifies(bucket));
        FunctionPlace {
            entry: entry.into(),
            name: self.names.plain(entry),
            log_group: self.names.log_group(entry),
            buckets: buckets.map(|(bucket, _)| self.names.bucket(bucket.as_str())).collect(),
        }
    }

    /// Two groups: the load balancer's admits the CIDR blocks in `allow` and reaches only the instances, whose group
    /// admits only the load balancer.
    fn firewalls(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        network: &Network,
        is_https: bool,
    ) -> (Handle<SecurityGroup>, Handle<SecurityGroup>) {
        let open: Vec<u16> =
            iter::once(u16::from(wanted.load_balancer.port)).chain(is_https.then_some(HTTPS_PORT)).collect();
        let allowed: Vec<String> = wanted.load_balancer.allow.iter().map(ToString::to_string).collect();
        let port = u16::from(wanted.port);
        let (vpc, back_name) = (network.vpc.clone(), self.names.at_port(entry, port));
        let front_name = self.names.plain(&format!("{entry}-lb"));
        let front = SecurityGroup { name: front_name.clone(), vpc, side: Side::Front(back_name.clone()) };
        let front = self.stack.add(format!("{entry}-lb"), front, (), move |()| security_group::Settings {
            description: "Whom the load balancer answers".into(),
            ingress: open
                .iter()
                .flat_map(|open| allowed.iter().map(|cidr| Rule::tcp(*open, Source::Cidr(cidr.clone()), "clients")))
                .collect(),
            egress: Some(BTreeSet::new()),
            reached_by: BTreeSet::new(),
        });
        let back = SecurityGroup { name: back_name, vpc: network.vpc.clone(), side: Side::Back(front_name) };
        let back = self.stack.add(entry, back, front, move |front| security_group::Settings {
            description: "Whom the instances answer: the load balancer".into(),
            ingress: [Rule::tcp(port, Source::Group(front.id.clone()), "load balancer")].into(),
            egress: None,
            reached_by: [Rule::tcp(port, Source::Group(front.id), security_group::INSTANCES)].into(),
        });
        (front, back)
    }

    /// The location of a service's programs.
    fn stored(&self, entry: &str) -> ServicePrograms {
        ServicePrograms { bucket: self.names.artifacts(), prefix: format!("services/{entry}/") }
    }

    fn artifact(&mut self, entry: &str, anchor: Handle<Bucket>) -> Handle<Artifact> {
        let program = self.programs.service(entry);
        let key = format!("{}{}", self.stored(entry).prefix, program.sha256);
        let artifact = Artifact { bucket: self.names.artifacts(), key, program: program.path };
        let settings = artifact::Settings { sha256: Some(program.sha256) };
        self.stack.add_inside(entry, anchor, move |_| (artifact.clone(), settings.clone()))
    }

    /// The log group of a service, and its ARN. A function may have the same name as the service.
    fn service_logs(&mut self, entry: &str, wanted: &config::Service) -> (Handle<LogGroup>, String) {
        let group = LogGroup { name: self.names.service_log_group(entry) };
        let arn = self.log_group_arn(&group.name);
        let retention_days = wanted.log_retention_days.map(Into::into);
        let settings = move |()| log_group::Settings { retention_days };
        (self.stack.add(format!("{entry}-svc"), group, (), settings), arn)
    }

    /// The instance profile of a service: one of its own with least privileges, or the existing one.
    fn service_profile(&mut self, entry: &str, wanted: &config::Service, log_group_arn: &str) -> Wire {
        if let Some(existing) = self.config.roles.as_ref().and_then(|roles| roles.instance_profile.as_ref()) {
            return Wire::literal(existing.to_string());
        }
        let partition = self.site.partition();
        let within = |prefix: &str| format!("arn:{partition}:s3:::{}/{prefix}*", self.names.artifacts());
        let (programs, reports) = (within(&self.stored(entry).prefix), within(&user_data::reports_prefix(entry)));
        let uses = self.uses(&wanted.uses, &wanted.variables.held);
        let policy = policy::service_policy(&uses, &programs, &reports, log_group_arn);
        let (name, path) = (self.names.service_role(entry), self.names.iam_path());
        // EC2 does not say on whose behalf it assumes a role (docs/aws.md §6.1).
        let trusted_service = partition::principal(partition::EC2, partition).into();
        let settings = role::Settings { trusted_service, trusted_account: None, policy };
        let role = Role { name: name.clone(), path: path.clone() };
        let role = self.stack.add(format!("{entry}-svc"), role, (), move |()| settings.clone());
        let profile = InstanceProfile { name, path };
        let profile = self.stack.add(entry, profile, role, |role| instance_profile::Settings { role: Some(role.name) });
        profile.wire(|profile| profile.name.clone())
    }

    fn template(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        firewall: Handle<SecurityGroup>,
        profile: Wire,
        artifact: Handle<Artifact>,
        logs: Handle<LogGroup>,
    ) -> Handle<LaunchTemplate> {
        let environment = self.environment(&wanted.variables.texts);
        let held: Vec<user_data::Held> = wanted
            .variables
            .held
            .iter()
            .map(|(variable, held)| user_data::Held {
                variable: variable.clone(),
                version: held.version(&self.later.versions).to_owned(),
                held: held.clone(),
            })
            .collect();
        let (stack, region) = (self.config.name.to_string(), self.site.region.clone());
        let (service, port, sha256) = (entry.to_owned(), u16::from(wanted.port), self.programs.service(entry).sha256);
        let basis = launch_template::Settings::new(wanted, &self.config.tags, self.config.name.as_str(), entry);
        let origin = Origin::new(&self.site.caller_arn, self.programs.commit.as_ref());
        let template = LaunchTemplate { name: self.names.plain(entry), origin, open: wanted.variables.open() };
        let inputs = (firewall, profile, (artifact, logs), environment);
        self.stack.add(entry, template, inputs, move |(firewall, profile, (artifact, logs), environment)| {
            let user_data = UserData {
                stack: stack.clone(),
                service: service.clone(),
                region: region.clone(),
                bucket: artifact.bucket,
                key: artifact.key,
                environment,
                held: held.clone(),
                port,
                sha256: sha256.clone(),
                log_group: logs.name,
            };
            launch_template::Settings {
                instance_profile: profile,
                security_groups: [firewall.id].into(),
                user_data: user_data.render().expect("config.rs bounds what an environment can hold"),
                ..basis.clone()
            }
        })
    }

    fn target_group(&mut self, entry: &str, wanted: &config::Service, network: &Network) -> Handle<TargetGroup> {
        let port = u16::from(wanted.port);
        let settings = target_group::Settings::http(port, &network.vpc, &wanted.health_check);
        let target_group = TargetGroup { name: self.names.at_port(entry, port) };
        self.stack.add(entry, target_group, (), move |()| settings.clone())
    }

    fn load_balancer(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        network: &Network,
        firewall: Handle<SecurityGroup>,
        domain: Option<String>,
    ) -> Handle<LoadBalancer> {
        let subnets = network.subnet_ids();
        let balancer = LoadBalancer { name: self.names.plain(entry) };
        let protected = wanted.load_balancer.protect;
        self.stack.add(entry, balancer, firewall, move |firewall| load_balancer::Settings {
            protected,
            domain: domain.clone(),
            ..load_balancer::Settings::public(subnets.clone(), [firewall.id].into())
        })
    }

    /// The listener for plain HTTP.
    fn listener(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        balancer: Handle<LoadBalancer>,
        target_group: Handle<TargetGroup>,
        part: Part,
    ) -> Handle<Listener> {
        let port = u16::from(wanted.load_balancer.port);
        let https = https_address(entry);
        self.stack.add_inside(entry, (balancer, target_group), move |(balancer, target_group)| {
            let (load_balancer, target_group, https) = (balancer.arn, target_group.arn, https.clone());
            let settings = listener::Settings::http(port, target_group.clone());
            (Listener { load_balancer, target_group, port: port.into(), part, https }, settings)
        })
    }

    /// The listener for HTTPS. It needs an issued certificate (docs/aws.md §9.5).
    fn https_listener(
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
            let listener = Listener { load_balancer, target_group, port: HTTPS_PORT.into(), part: Part::Https, https };
            (listener, settings)
        })
    }

    /// Added after the listener: targets of a group that no listener uses never become healthy (docs/aws.md §11.1).
    fn group(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        network: &Network,
        (template, target_group, listener, secured): Fronted,
        alarms: BTreeMap<String, Handle<Alarm>>,
    ) -> Handle<AutoScalingGroup> {
        let (instances, subnets) = (wanted.instances.clone(), network.subnet_ids());
        let grace_period_s = wanted.grace_period_s.into();
        let name = self.names.at_port(entry, u16::from(wanted.port));
        let bake = (!alarms.is_empty()).then(|| Bake {
            seconds: i32::from(self.bake_minutes(wanted)) * 60,
            alarms: alarms.keys().cloned().collect(),
        });
        let group = AutoScalingGroup { reports: Some(self.reports(entry)), bake, ..AutoScalingGroup::named(&name) };
        let ends = self.later.ends.clone();
        let inputs = ((template, target_group, listener, secured), alarms);
        self.stack.add(entry, group, inputs, move |((template, target_group, ..), _)| auto_scaling_group::Settings {
            min: instances.min.into(),
            max: instances.max.into(),
            subnets: subnets.clone(),
            target_groups: [target_group.arn].into(),
            health_check_type: "ELB".into(),
            grace_period_s,
            warmup_s: auto_scaling_group::WARMUP_S,
            template: auto_scaling_group::Template { id: template.id, version: template.version.to_string() },
            paused: None,
            ends: ends.clone(),
        })
    }

    /// How long a new release is watched, in minutes.
    fn bake_minutes(&self, wanted: &config::Service) -> u16 {
        wanted.bake_minutes.unwrap_or(usual_bake_minutes(self.site))
    }

    /// The alarms that watch a new release, by name; none if it is not watched.
    fn alarms(
        &mut self,
        entry: &str,
        wanted: &config::Service,
        balancer: Handle<LoadBalancer>,
    ) -> BTreeMap<String, Handle<Alarm>> {
        if self.bake_minutes(wanted) == 0 {
            return BTreeMap::new();
        }
        let service = self.names.plain(entry);
        let add = |watched: &'static alarm::Watched| {
            let (key, name) = (watched.name(entry), watched.name(&service));
            let settings = move |balancer: load_balancer::Output| watched.settings(&balancer.arn);
            (name.clone(), self.stack.add(key, Alarm { name }, balancer, settings))
        };
        alarm::WATCHED.iter().map(add).collect()
    }

    /// The last step of a listener: forwards requests to the wanted targets alone, once they are healthy.
    fn forward(
        &mut self,
        key: &str,
        listener: Handle<Listener>,
        target_group: Handle<TargetGroup>,
        group: Handle<AutoScalingGroup>,
    ) -> Handle<DefaultAction> {
        let wait = self.wait;
        self.stack.add_inside(key, (listener, target_group, group), move |(listener, target_group, group)| {
            let settings = default_action::Settings::all_to(&target_group.arn);
            (default_action(listener, target_group, group, wait), settings)
        })
    }

    /// The last step of the listener for plain HTTP: redirects requests, once HTTPS is served by healthy targets.
    fn redirect(
        &mut self,
        entry: &str,
        listener: Handle<Listener>,
        target_group: Handle<TargetGroup>,
        group: Handle<AutoScalingGroup>,
        https: Handle<DefaultAction>,
    ) {
        let wait = self.wait;
        let inputs = (listener, target_group, group, https);
        self.stack.add_inside(entry, inputs, move |(listener, target_group, group, _)| {
            (default_action(listener, target_group, group, wait), default_action::Settings::to_https())
        });
    }

    /// Permissions for each function: the buckets whose uploads invoke it.
    fn permissions(
        &mut self,
        functions: &BTreeMap<String, Handle<Function>>,
        buckets: &BTreeMap<String, Handle<Bucket>>,
    ) -> BTreeMap<String, Handle<Permissions>> {
        let mut permissions = BTreeMap::new();
        for (entry, &function) in functions {
            self.stack.section(format!("functions.{entry}"));
            let sources: BTreeMap<String, Handle<Bucket>> = self
                .config
                .buckets
                .iter()
                .filter(|(_, bucket)| bucket.on_upload.as_ref().is_some_and(|upload| upload.function.as_str() == entry))
                .map(|(bucket, _)| (format!("deployer-{bucket}"), buckets[bucket.as_str()]))
                .collect();
            let account = self.site.account.clone();
            let handle = self.stack.add_inside(entry, (function, sources), move |(function, sources)| {
                let statement =
                    |bucket: bucket::Output| Statement::invoke("s3.amazonaws.com", bucket.arn, account.clone());
                let statements = sources.into_iter().map(|(id, bucket)| (id, statement(bucket))).collect();
                (Permissions { function: function.name }, permissions::Settings { statements })
            });
            permissions.insert(entry.clone(), handle);
        }
        permissions
    }

    /// Every bucket has this node, so that a trigger removed from `stack.yaml` is removed from the bucket.
    fn notifications(
        &mut self,
        buckets: &BTreeMap<String, Handle<Bucket>>,
        functions: &BTreeMap<String, Handle<Function>>,
        permissions: &BTreeMap<String, Handle<Permissions>>,
    ) {
        for (entry, wanted) in &self.config.buckets {
            self.stack.section(format!("buckets.{entry}"));
            let account = self.site.account.clone();
            let target = wanted.on_upload.as_ref().and_then(|upload| {
                let function = upload.function.as_str();
                Some((*functions.get(function)?, *permissions.get(function)?))
            });
            let (prefix, suffix) = wanted
                .on_upload
                .as_ref()
                .map(|upload| (upload.prefix.clone(), upload.suffix.clone()))
                .unwrap_or_default();
            let inputs = (buckets[entry.as_str()], target);
            self.stack.add_inside(entry.as_str(), inputs, move |(bucket, target)| {
                let upload = |function: function::Output| Upload {
                    prefix: prefix.clone(),
                    suffix: suffix.clone(),
                    ..Upload::created(function.arn)
                };
                let uploads =
                    target.into_iter().map(|(function, _)| ("deployer-upload".to_owned(), upload(function))).collect();
                let notification = Notification { bucket: bucket.name, account: account.clone() };
                (notification, notification::Settings { uploads })
            });
        }
    }

    fn offer<const N: usize>(&mut self, section: &str, entry: &str, attributes: [(&str, Wire); N]) {
        for (attribute, wire) in attributes {
            self.wires.insert(format!("{section}.{entry}.{attribute}"), wire);
        }
    }

    fn has_all<'t>(&self, texts: impl Iterator<Item = &'t Text>) -> bool {
        texts.flat_map(Text::references).all(|reference| self.wires.contains_key(&reference.path()))
    }

    fn environment(&self, texts: &config::Environment) -> BTreeMap<String, Joined> {
        texts.iter().map(|(name, text)| (name.to_string(), self.joined(text))).collect()
    }

    /// A reference to a resource that is not on the page is dropped.
    fn joined(&self, text: &Text) -> Joined {
        let wire = |piece: &Piece| match piece {
            Piece::Literal(text) => Wire::literal(text),
            Piece::Reference(reference) => {
                self.wires.get(&reference.path()).cloned().unwrap_or_else(|| Wire::literal(""))
            }
        };
        Joined(text.pieces().iter().map(wire).collect())
    }

    /// The values that these references stand for. One to a resource that is not on the page is left out.
    fn referred<'r>(&self, references: impl Iterator<Item = &'r Reference>) -> BTreeMap<String, Wire> {
        let known = |path: String| self.wires.get(&path).cloned().map(|wire| (path, wire));
        references.map(Reference::path).filter_map(known).collect()
    }

    /// The ARNs of what is used, derived from names: a policy does not need the resources to exist.
    fn uses(&self, uses: &config::Uses, held: &config::HeldVariables) -> Uses {
        let Site { region, account, .. } = self.site;
        let partition = self.site.partition();
        let arns = |store: Store, arn: fn(&str, &str, &str) -> String| -> BTreeSet<String> {
            held.values().filter(|it| it.store == store).map(|it| arn(region, account, &it.name)).collect()
        };
        let bucket = |entry: &str| format!("arn:{partition}:s3:::{}", self.names.bucket(entry));
        let table = |entry: &str| {
            let Site { region, account, .. } = self.site;
            format!("arn:{partition}:dynamodb:{region}:{account}:table/{}", self.names.plain(entry))
        };
        // An index has an ARN of its own; it can only be read.
        let indexes = |entry: &config::Name, how: config::Access| {
            let has_some = self.config.tables.get(entry).is_some_and(config::Table::has_indexes);
            (has_some && how.reads()).then(|| (format!("{}/index/*", table(entry.as_str())), config::Access::Read))
        };
        let tables = uses
            .tables
            .iter()
            .flat_map(|(entry, how)| iter::once((table(entry.as_str()), *how)).chain(indexes(entry, *how)));
        Uses {
            buckets: uses.buckets.iter().map(|(entry, how)| (bucket(entry.as_str()), *how)).collect(),
            tables: tables.collect(),
            rekognition: uses.rekognition,
            secrets: arns(Store::Secret, policy::secret_arn).into_iter().collect(),
            parameters: arns(Store::Parameter, policy::parameter_arn).into_iter().collect(),
        }
    }

    fn log_group_arn(&self, name: &str) -> String {
        let Site { region, account, .. } = self.site;
        let partition = self.site.partition();
        format!("arn:{partition}:logs:{region}:{account}:log-group:{name}")
    }
}

/// The key of a service's resources for HTTPS. `config/checks.rs` keeps it free.
fn https_key(entry: &str) -> String {
    format!("{entry}-https")
}

/// The address of the listener for HTTPS, as in its tag.
fn https_address(entry: &str) -> String {
    format!("{}.{}", Listener::KIND, https_key(entry))
}

/// What a group of instances is behind.
type Fronted = (Handle<LaunchTemplate>, Handle<TargetGroup>, Handle<Listener>, Option<Handle<Listener>>);

fn default_action(
    listener: listener::Output,
    target_group: target_group::Output,
    group: auto_scaling_group::Output,
    wait: health::Wait,
) -> DefaultAction {
    let seen = default_action::Settings { forwards: listener.forwards, redirect: listener.redirect };
    DefaultAction { listener: listener.arn, target_group: target_group.arn, group: group.name, seen, wait }
}

fn cors_rule(cors: &config::Cors) -> bucket::CorsRule {
    bucket::CorsRule {
        origins: cors.origins.clone(),
        methods: cors.methods.iter().map(ToString::to_string).collect(),
        headers: cors.headers.clone(),
        expose: cors.expose.clone(),
        max_age_s: cors.max_age_s.map(Into::into),
    }
}

fn table_settings(wanted: &config::Table) -> table::Settings {
    table::Settings {
        partition_key: wanted.partition_key.to_string(),
        sort_key: wanted.sort_key.as_ref().map(ToString::to_string),
        local_indexes: table_indexes(&wanted.local_indexes),
        indexes: table_indexes(&wanted.indexes),
        billing: "PAY_PER_REQUEST".into(),
        protected: wanted.protect,
        point_in_time_recovery: wanted.point_in_time_recovery,
        time_to_live: wanted.time_to_live.clone(),
        stream: wanted.stream.as_ref().map(|stream| stream.to_uppercase()),
    }
}

fn table_indexes(wanted: &BTreeMap<config::Name, config::Index>) -> BTreeMap<String, table::Index> {
    let index = |(name, wanted): (&config::Name, &config::Index)| {
        let index = table::Index {
            partition_key: wanted.partition_key.to_string(),
            sort_key: wanted.sort_key.as_ref().map(ToString::to_string),
            include: wanted.include.clone(),
        };
        (name.to_string(), index)
    };
    wanted.iter().map(index).collect()
}

fn tags(config: &Config) -> Tags {
    config.tags.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// The URL of a service that is served over HTTPS.
pub fn https_url(domain: &str, port: u16) -> String {
    match port {
        HTTPS_PORT => format!("https://{domain}"),
        port => format!("https://{domain}:{port}"),
    }
}

/// The URL for users. A local load balancer's DNS name includes its actual port.
pub fn url(dns_name: &str, port: u16) -> String {
    match (dns_name.contains(':'), port) {
        (true, _) | (_, 80) => format!("http://{dns_name}"),
        (false, port) => format!("http://{dns_name}:{port}"),
    }
}
