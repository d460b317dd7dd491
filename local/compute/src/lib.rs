//! EC2, Auto Scaling and Elastic Load Balancing, with real instances, groups and load balancers.

mod address;
mod archive;
mod autoscaling;
mod balancer;
mod clock;
mod cloud_init;
pub mod cloudwatch;
mod commands;
mod control_loop;
mod dnf;
mod ec2;
mod elastic_ip;
mod elb;
mod health;
mod imds;
mod instance;
mod journal;
mod operation;
mod ports;
mod rehearsal;
mod secrets;
pub mod service_quotas;
mod services;
mod shell;
mod state;
mod systemd;
pub mod waf;

pub use ports::FAVOURITE as PREFERRED_PORT;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use balancer::access_log::{self, AccessLogs, LOG_DELIVERY};
use balancer::{Requests, Tally};
use instance::Machine;
use kit::process;
use kit::query::{Answer, ApiError, NOT_IMPLEMENTED, Params};
use ports::Ports;
use state::State;

use chaos::Chaos;
use kit::account::AccountKind;
use kit::call::{Asked, Need, Operation};
use kit::parameters;
use kit::speed::Speed;
use kit::warden::Warden;

use operation::{ComputeOperation, Run, SERVICES, row, tried};
pub use operation::{autoscaling_rows, ec2_rows, elb_rows};
pub use rehearsal::{rehearse, rehearse_balancer, rehearse_metadata};
pub use services::{
    Certificate, Certificates, Context, Credentials, Deliveries, LogStreams, Objects, Profile, Right, Roles, Values,
};

/// An alarm of target tracking, as CloudWatch shows it.
#[derive(Debug, Clone)]
pub struct Alarm {
    /// Its name, unique in the region.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// The ARN of the policy that it notifies.
    pub policy: String,
    /// Whether it fires above the threshold rather than below it.
    pub is_high: bool,
    /// The number of consecutive minutes for which the value must be beyond the threshold.
    pub periods: u64,
    /// The value that the statistic is compared with.
    pub threshold: f64,
    /// The namespace of the metric, such as `AWS/EC2`.
    pub namespace: &'static str,
    /// The name of the metric.
    pub metric: String,
    /// The statistic over a period, such as `Average`.
    pub statistic: &'static str,
    /// Names and values that select the metric.
    pub dimensions: Vec<(&'static str, String)>,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub state: &'static str,
    /// When it entered this state.
    pub since: OffsetDateTime,
    /// When its policy was last put.
    pub made: OffsetDateTime,
}

/// The environment of operations, besides the state.
struct Site {
    region: String,
    account: String,
    kind: AccountKind,
    dir: PathBuf,
    ports: Ports,
    certificates: Arc<dyn Certificates>,
    chaos: watch::Receiver<Chaos>,
    speed: Speed,
}

impl Site {
    /// Returns the directory of an instance's files.
    fn instance_dir(&self, id: &str) -> PathBuf {
        self.dir.join("instances").join(id)
    }
}

/// Running compute: its state, its instances, its load balancers.
pub struct Compute {
    site: Site,
    endpoint: String,
    objects: Arc<dyn Objects>,
    deliveries: Arc<dyn Deliveries>,
    logs: Arc<dyn LogStreams>,
    values: Arc<dyn Values>,
    roles: Arc<dyn Roles>,
    state: Mutex<SavedState>,
    machines: Mutex<BTreeMap<String, Machine>>,
    warden: Warden,
    requests: Requests,
    tally: Tally,
    metrics: cloudwatch::Metrics,
    access_logs: AccessLogs,
    /// Counts the changes of the state. Anything derived from an earlier generation is computed again.
    generation: AtomicU64,
    wake: Notify,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// The state, and its serialized form as last saved to disk.
struct SavedState {
    state: State,
    saved: Vec<u8>,
}

impl Compute {
    /// Starts compute from the state in the directory: instances and load balancers that were running run again.
    pub async fn start(context: Context) -> anyhow::Result<Arc<Compute>> {
        let Context {
            dir,
            region,
            account,
            kind,
            endpoint,
            objects,
            deliveries,
            logs,
            values,
            roles,
            certificates,
            metrics,
            chaos,
            speed,
        } = context;
        // Processes run in their own directories, where a relative path would mean something else.
        let dir = std::path::absolute(dir)?;
        std::fs::create_dir_all(&dir)?;
        let state = State::load(&dir.join("compute.json"))?;
        let site = Site { region, account, kind, dir, ports: Ports::default(), certificates, chaos, speed };
        let compute = Arc::new(Compute {
            site,
            endpoint,
            objects,
            deliveries,
            logs,
            values,
            roles,
            state: Mutex::new(SavedState { state, saved: Vec::new() }),
            machines: Mutex::default(),
            warden: Warden::default(),
            requests: Requests::default(),
            tally: Tally::default(),
            metrics: cloudwatch::Metrics(metrics),
            access_logs: AccessLogs::default(),
            generation: AtomicU64::new(1),
            wake: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let ids: BTreeSet<String> = compute.read(|state| state.instances.keys().cloned().collect());
        for id in ids {
            instance::reap_leftovers(&compute.site.instance_dir(&id)).await;
        }
        // A server killed right after it started a process has not recorded it yet.
        for group in process::groups_below(&compute.site.dir) {
            process::end_group(group, Duration::from_secs(2)).await;
        }
        compute.change(restore);
        compute.tasks.spawn(control_loop::run(compute.clone()));
        compute.tasks.spawn(access_log::publish(compute.clone()));
        Ok(compute)
    }

    /// Ends all processes and closes all ports; the state stays on disk.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.site.ports.release_all();
    }

    /// Handles a call of `ec2`, `autoscaling` or `elasticloadbalancing`; `None` if there is no such operation.
    pub async fn handle(&self, service: &str, form: &BTreeMap<String, String>) -> Option<http::Response<Bytes>> {
        let (_, operations, envelope) = SERVICES.iter().find(|(name, _, _)| *name == service)?;
        let operation = Operation::find(operations, form.get("Action")?)?;
        let answer = match parameters::check_form(operation.parameters, form) {
            Ok(()) => self.carry_out(operation, &Params::parse(form)).await,
            Err(text) => Err(ApiError::new(NOT_IMPLEMENTED, text)),
        };
        Some(envelope.seal(operation.row.name, answer))
    }

    async fn carry_out(&self, operation: &ComputeOperation, params: &Params) -> Answer {
        if let Some(fault) = self.refusal(operation.row.name, params).await {
            return Err(fault);
        }
        // Only operations of EC2 have this parameter.
        let is_dry = params.flag_of_ec2("DryRun")?;
        match operation.run {
            Run::Reads(call) if is_dry => self.read(|state| tried(call(state, &self.site, params))),
            Run::Writes(call) if is_dry => self.read(|state| tried(call(&mut state.clone(), &self.site, params))),
            Run::Reads(call) => self.read(|state| call(state, &self.site, params)),
            Run::Writes(call) => {
                let answer = self.try_change(|state, site| call(state, site, params));
                self.wake.notify_one();
                answer
            }
        }
    }

    /// Returns an error that only another service can detect.
    async fn refusal(&self, operation: &str, params: &Params) -> Option<ApiError> {
        match operation {
            "CreateAutoScalingGroup" | "UpdateAutoScalingGroup" => self.refused_profile(params).await,
            "ModifyLoadBalancerAttributes" => self.refused_log(params).await,
            _ => None,
        }
    }

    /// Writes the test file of a load balancer's access log. Returns the error if that is not allowed (docs/aws.md §9.9).
    async fn refused_log(&self, params: &Params) -> Option<ApiError> {
        let (balancer, elb::LogPlace { bucket, prefix }) = self.read(|state| elb::wanted_log_place(state, params))?;
        let refuse = |message: String| Some(ApiError::new("InvalidConfigurationRequest", message));
        if bucket.is_empty() {
            return refuse("The value of 'access_logs.s3.bucket' cannot be empty".to_owned());
        }
        if prefix.contains("AWSLogs") || prefix.starts_with('/') || prefix.ends_with("//") {
            return refuse(format!("The value of 'access_logs.s3.prefix' is not valid: '{prefix}'"));
        }
        let key = format!("{prefix}AWSLogs/{}/ELBAccessLogTestFile", self.site.account);
        let name = balancer.split('/').nth(2).unwrap_or_default();
        let text = Bytes::from(format!("Enable AccessLog for ELB: {name}\n"));
        match self.deliveries.deliver(LOG_DELIVERY, &balancer, &bucket, &key, text).await {
            Ok(()) => None,
            Err(_) => refuse(format!("Access Denied for bucket: {bucket}. Please check S3bucket permission")),
        }
    }

    /// Returns an error if the call's launch template names an instance profile that does not exist, which only IAM
    /// knows.
    async fn refused_profile(&self, params: &Params) -> Option<ApiError> {
        let profile = self.read(|state| autoscaling::profile_wanted(state, params))?;
        if self.roles.role_of_profile(&profile).await.is_some() {
            return None;
        }
        let message = format!(
            "You must use a valid fully-formed launch template. Value ({profile}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
        );
        Some(ApiError::new("ValidationError", message))
    }

    /// Counts a response that a load balancer generated itself.
    fn count_own(&self, balancer: &str, status: u16) {
        self.tally.add(balancer, status);
        self.metrics.count_own(balancer, status, self.site.speed);
    }

    /// Returns the running resources, for display.
    pub fn status(&self) -> Value {
        let machines = self.machines();
        self.read(|state| {
            let instances: Vec<Value> = state
                .instances
                .values()
                .map(|one| {
                    let processes = machines.get(&one.id).map(Machine::processes).unwrap_or_default();
                    let kind = ec2::find_type(&one.kind);
                    json!({
                        "id": one.id, "group": one.group, "state": one.state.code().1, "lifecycle": one.lifecycle(),
                        "template_version": one.template.version, "zone": one.zone, "port": one.port, "processes": processes,
                        "directory": self.site.instance_dir(&one.id), "type": one.kind,
                        "memory_mib": kind.map(|kind| kind.memory_mib()), "processors": kind.map(|kind| kind.processors()),
                        "limits": machines.get(&one.id).and_then(Machine::limits),
                    })
                })
                .collect();
            let load_balancers: Vec<Value> = state
                .load_balancers
                .values()
                .map(|one| {
                    let listeners: Vec<Value> = state
                        .listeners_of(&one.arn)
                        .map(|listener| json!({ "port": listener.port, "local_port": listener.local_port, "protocol": listener.protocol }))
                        .collect();
                    json!({ "name": one.name, "address": one.dns_name(), "port": one.port, "listeners": listeners, "own_answers": self.tally.of(&one.arn) })
                })
                .collect();
            let targets: Vec<Value> = state
                .target_groups
                .values()
                .flat_map(|group| group.targets.values().map(move |target| (group, target)))
                .map(|(group, target)| {
                    let (status, reason, _) = elb::TargetStatus::of(state, &self.site, group, target).api();
                    let open = self.requests.of(&group.arn, &elb::target_key(&target.id, target.port)).open();
                    json!({ "group": group.name, "id": target.id, "port": target.port, "state": status, "reason": reason, "open_requests": open })
                })
                .collect();
            let (speed, chaos) = (self.site.speed.to_string(), self.site.chaos.borrow().clone());
            json!({ "speed": speed, "chaos": chaos, "instances": instances, "load_balancers": load_balancers, "targets": targets })
        })
    }

    /// Reads the state.
    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.kept().state)
    }

    /// Returns the permissions for a launch that a call implies. `role_of` returns the ARN of the role of an instance
    /// profile.
    pub fn launch_needs(&self, asked: &Asked, role_of: &dyn Fn(&str) -> Option<String>) -> Vec<Need> {
        self.read(|state| autoscaling::launch_needs(state, asked, role_of))
    }

    /// Returns the tags of an EC2 resource.
    pub fn tags_of(&self, id: &str) -> BTreeMap<String, String> {
        self.read(|state| state.tags_of(id).clone())
    }

    /// Returns the id of the route table that has an association.
    pub fn route_table_of(&self, association: &str) -> Option<String> {
        self.read(|state| ec2::table_of(state, association).map(|table| table.id.clone()))
    }

    /// Returns the allocation of the elastic IP address that has an association.
    pub fn address_of(&self, association: &str) -> Option<String> {
        self.read(|state| ec2::of_association(state, association).map(|address| address.allocation.clone()))
    }

    /// Returns the network interface that an association gives an elastic IP address to.
    pub fn interface_with_address(&self, association: &str) -> Option<String> {
        self.read(|state| {
            let there = ec2::of_association(state, association)?.association.as_ref()?;
            Some(ec2::interface_of(&there.instance))
        })
    }

    /// Returns the ARN of the web ACL of a load balancer, which is given by its ARN.
    pub fn web_acl_of(&self, load_balancer: &str) -> Option<String> {
        self.read(|state| state.load_balancers.get(load_balancer)?.web_acl.clone())
    }

    /// Whether a load balancer has this DNS name, in the hosted zone of the region's load balancers.
    pub fn has_load_balancer(&self, hosted_zone: &str, dns_name: &str) -> bool {
        hosted_zone == elb::hosted_zone(&self.site.region)
            && self.read(|state| state.load_balancers.values().any(|one| one.dns_name() == dns_name))
    }

    /// Returns the load balancers that use certificates: by certificate, the ARNs of the load balancers.
    pub fn certificate_uses(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        self.read(|state| {
            for listener in state.listeners.values() {
                for certificate in &listener.certificates {
                    uses.entry(certificate.clone()).or_default().insert(listener.load_balancer.clone());
                }
            }
        });
        uses
    }

    /// Reads the state together with its generation.
    fn read_with_generation<T>(&self, look: impl FnOnce(&State, u64) -> T) -> T {
        let kept = self.kept();
        look(&kept.state, self.generation())
    }

    /// Returns the current generation of the state.
    fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Changes the state, and saves it if it is different afterwards.
    fn change<T>(&self, change: impl FnOnce(&mut State, &Site) -> T) -> T {
        let mut kept = self.kept();
        let result = change(&mut kept.state, &self.site);
        self.generation.fetch_add(1, Ordering::SeqCst);
        let SavedState { state, saved } = &mut *kept;
        if let Err(error) = state.save_if_new(&self.site.dir.join("compute.json"), saved) {
            // The change has already happened in reality and cannot be undone; the next save includes it.
            tracing::error!("failed to keep the state of compute: {error:#}");
        }
        result
    }

    /// Changes the state as a call requests. If the change cannot be saved, it is undone.
    fn try_change<T, E: From<ApiError>>(&self, change: impl FnOnce(&mut State, &Site) -> Result<T, E>) -> Result<T, E> {
        let mut kept = self.kept();
        let before = kept.state.clone();
        let answer = change(&mut kept.state, &self.site);
        self.generation.fetch_add(1, Ordering::SeqCst);
        let SavedState { state, saved } = &mut *kept;
        match state.save_if_new(&self.site.dir.join("compute.json"), saved) {
            Ok(()) => answer,
            Err(error) => {
                tracing::error!("failed to keep the state of compute: {error:#}");
                *state = before;
                self.generation.fetch_add(1, Ordering::SeqCst);
                let text = format!("the local AWS cannot write its state: {error:#}");
                Err(ApiError::new("InternalFailure", text).into())
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, SavedState> {
        self.state.lock()
    }

    fn machines(&self) -> MutexGuard<'_, BTreeMap<String, Machine>> {
        self.machines.lock()
    }
}

/// Prepares a loaded state for use: reserves its ports again.
fn restore(state: &mut State, site: &Site) {
    ec2::ensure_default_security_group(state, site);
    for one in state.load_balancers.values_mut() {
        let before = one.port;
        one.port = site.ports.reserve(Some(before)).unwrap_or(before);
        let main = |listener: &&mut state::Listener| listener.load_balancer == one.arn && listener.local_port == before;
        for listener in state.listeners.values_mut().filter(main) {
            listener.local_port = one.port;
        }
    }
    for one in state.addresses.values_mut() {
        one.port = site.ports.reserve(Some(one.port)).unwrap_or(one.port);
    }
    let main_ports: BTreeSet<u16> = state.load_balancers.values().map(|one| one.port).collect();
    for listener in state.listeners.values_mut().filter(|listener| !main_ports.contains(&listener.local_port)) {
        listener.local_port = site.ports.reserve(Some(listener.local_port)).unwrap_or(listener.local_port);
    }
    // Pending and running instances are started again. Until their processes run, they get the grace period of new
    // instances.
    for one in state.instances.values_mut().filter(|one| one.is_alive()) {
        one.in_service = one.in_service.map(|_| clock::Moment::now());
    }
}

/// Fixtures for the unit tests of several modules.
#[cfg(test)]
mod fixture {
    use super::*;

    /// Every certificate whose ARN begins with `arn:` is issued; there are no others.
    struct Issued;

    impl Certificates for Issued {
        fn certificate(&self, arn: &str) -> Option<Certificate> {
            arn.starts_with("arn:").then(|| Certificate { names: Vec::new(), issued: Some(Default::default()) })
        }
    }

    /// Returns a site in which nothing exists but certificates.
    pub fn site(speed: Speed, chaos: Chaos) -> Site {
        Site {
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
            kind: Default::default(),
            dir: PathBuf::new(),
            ports: Ports::default(),
            certificates: Arc::new(Issued),
            chaos: watch::channel(chaos).1,
            speed,
        }
    }
}
