//! EC2, Auto Scaling and Elastic Load Balancing, with real instances, groups and load balancers.

mod autoscaling;
mod balancer;
mod clock;
mod cloud_init;
pub mod cloudwatch;
mod commands;
mod ec2;
mod elb;
mod health;
mod imds;
mod instance;
mod ports;
mod shell;
mod state;
mod systemd;
mod workings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use balancer::{Requests, Tally};
use instance::Machine;
use kit::process;
use kit::query::{Answer, ApiError, Envelope, NOT_IMPLEMENTED, Params};
use ports::Ports;
use state::State;

use chaos::Chaos;
use kit::call::{Effect, Needs, Operation, Page, Rows};
use kit::speed::Speed;
use kit::taken::{self, Takes};
use kit::warden::Warden;

/// What compute needs from the rest of the local AWS.
pub struct Context {
    /// Where state and the instances' root directories are kept.
    pub dir: PathBuf,
    /// The one region there is.
    pub region: String,
    /// The one account there is.
    pub account: String,
    /// Where instances reach every API.
    pub endpoint: String,
    /// What is in the buckets.
    pub objects: Arc<dyn Objects>,
    /// What IAM knows about roles.
    pub roles: Arc<dyn Roles>,
    /// The bad sides of AWS that show at any time.
    pub chaos: watch::Receiver<Chaos>,
    /// How much faster than AWS everything goes.
    pub speed: Speed,
}

/// Objects in buckets, as an instance's `aws s3 cp` reads and writes them.
#[async_trait]
pub trait Objects: Send + Sync {
    /// An object's bytes, or why they cannot be had.
    async fn get(&self, bucket: &str, key: &str) -> Result<Bytes, String>;

    /// Writes an object. The error is the message of the CLI.
    async fn put(&self, bucket: &str, key: &str, bytes: Bytes) -> Result<(), String>;
}

/// A permission of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// `s3:GetObject`.
    Read,
    /// `s3:PutObject`.
    Write,
    /// `s3:ListBucket`, on the bucket.
    List,
}

/// Roles, as instances take them on.
#[async_trait]
pub trait Roles: Send + Sync {
    /// The instance profile of a name or ARN, if it has a role.
    async fn profile(&self, profile: &str) -> Option<Profile>;

    /// The role inside an instance profile, which is given by name or ARN.
    async fn role_of_profile(&self, profile: &str) -> Option<String>;

    /// Checks a permission of a role's session on an object. The error is AWS's message.
    async fn may(&self, role: &str, session: &str, what: Right, bucket: &str, key: &str) -> Result<(), String>;

    /// Fresh temporary credentials of a role.
    async fn credentials(&self, role: &str, session: &str) -> std::io::Result<Credentials>;
}

/// An alarm of target tracking, as CloudWatch shows it.
#[derive(Debug, Clone)]
pub struct Alarm {
    /// Its name, unique in the region.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// The ARN of the policy that it tells.
    pub policy: String,
    /// Whether it watches for too much or for too little.
    pub is_high: bool,
    /// How many minutes in a row.
    pub periods: u64,
    /// The value that the statistic is compared with.
    pub threshold: f64,
    /// The namespace of the metric, such as `AWS/EC2`.
    pub namespace: &'static str,
    /// The name of the metric.
    pub metric: String,
    /// How the values of a period are combined, such as `Average`.
    pub statistic: &'static str,
    /// Names and values that select the metric.
    pub dimensions: Vec<(&'static str, String)>,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub state: &'static str,
    /// When it got into this state.
    pub since: OffsetDateTime,
    /// When its policy was put.
    pub made: OffsetDateTime,
}

/// An instance profile, as instances show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// With its path.
    pub arn: String,
    /// Begins with `AIPA`.
    pub id: String,
}

/// Temporary credentials.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: String,
    /// What makes them temporary.
    pub session_token: String,
    /// When they stop to work.
    pub expires: time::OffsetDateTime,
}

/// Does with user data what an instance does, and reads the units it starts without starting their programs.
pub async fn rehearse(root: &Path, user_data: &str) {
    let tools = commands::NoTools;
    for unit in cloud_init::run(root, &tools, "i-0", user_data, |line| tracing::trace!("{line}")).await {
        let unit = cloud_init::unit_file(root, &unit).and_then(|text| systemd::Unit::parse(&text));
        let words = unit.and_then(|unit| Ok(unit.main.expanded(&unit.whole_environment(root)?)));
        tracing::trace!(?words);
    }
}

/// Reads the head of a request as a load balancer does.
pub fn rehearse_balancer(head: http::request::Parts) -> http::StatusCode {
    balancer::rehearse(head)
}

/// Reads a request for an instance's metadata, which knows this token.
pub async fn rehearse_metadata(
    compute: Arc<Compute>,
    token: &str,
    method: &http::Method,
    path: &str,
    headers: &http::HeaderMap,
) -> http::StatusCode {
    imds::rehearse(compute, token, method, path, headers).await
}

/// What every operation may know beside the state.
struct Site {
    region: String,
    account: String,
    dir: PathBuf,
    ports: Ports,
    chaos: watch::Receiver<Chaos>,
    speed: Speed,
}

impl Site {
    /// Where an instance's files are.
    fn instance_dir(&self, id: &str) -> PathBuf {
        self.dir.join("instances").join(id)
    }
}

/// The function behind an operation. One that reads cannot change anything.
#[derive(Debug, Clone, Copy)]
enum Run {
    Reads(fn(&State, &Site, &Params) -> Answer),
    Writes(fn(&mut State, &Site, &Params) -> Answer),
}

type Row = Operation<Run>;

const fn row(name: &'static str, run: Run, needs: Needs, page: Option<Page>, takes: Takes) -> Row {
    let effect = match run {
        Run::Reads(_) => Effect::Reads,
        Run::Writes(_) => Effect::Writes,
    };
    Operation::new(name, effect, needs, page, takes, run)
}

/// A service with its operations and the document around their answers.
type Service = (&'static str, &'static [Row], Envelope);

const SERVICES: &[Service] = &[
    ("ec2", ec2::OPERATIONS, Envelope::Ec2),
    ("autoscaling", autoscaling::OPERATIONS, Envelope::Query(autoscaling::NAME_SPACE)),
    ("elasticloadbalancing", elb::OPERATIONS, Envelope::Query(elb::NAME_SPACE)),
];

/// The answer to a call that was only to be tried.
fn tried(answer: Answer) -> Answer {
    answer?;
    Err(ApiError::new("DryRunOperation", "Request would have succeeded, but DryRun flag is set."))
}

/// The operations of EC2.
pub fn ec2_rows() -> Rows {
    Operation::rows(ec2::OPERATIONS)
}

/// The operations of Auto Scaling.
pub fn autoscaling_rows() -> Rows {
    Operation::rows(autoscaling::OPERATIONS)
}

/// The operations of Elastic Load Balancing.
pub fn elb_rows() -> Rows {
    Operation::rows(elb::OPERATIONS)
}

/// Running compute: its state, its instances, its load balancers.
pub struct Compute {
    site: Site,
    endpoint: String,
    objects: Arc<dyn Objects>,
    roles: Arc<dyn Roles>,
    state: Mutex<SavedState>,
    machines: Mutex<BTreeMap<String, Machine>>,
    warden: Warden,
    requests: Requests,
    tally: Tally,
    /// Counts the changes of the state: what was worked out from the one before is worked out anew.
    generation: AtomicU64,
    wake: Notify,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// The state, and what of it is on disk.
struct SavedState {
    state: State,
    saved: Vec<u8>,
}

impl Compute {
    /// Starts what the directory's state says: instances and load balancers that ran before run again.
    pub async fn start(context: Context) -> anyhow::Result<Arc<Compute>> {
        let Context { dir, region, account, endpoint, objects, roles, chaos, speed } = context;
        // Processes have directories of their own, in which a relative path would mean something else.
        let dir = std::path::absolute(dir)?;
        std::fs::create_dir_all(&dir)?;
        let state = State::load(&dir.join("compute.json"))?;
        let site = Site { region, account, dir, ports: Ports::default(), chaos, speed };
        let compute = Arc::new(Compute {
            site,
            endpoint,
            objects,
            roles,
            state: Mutex::new(SavedState { state, saved: Vec::new() }),
            machines: Mutex::default(),
            warden: Warden::default(),
            requests: Requests::default(),
            tally: Tally::default(),
            generation: AtomicU64::new(1),
            wake: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let ids: BTreeSet<String> = compute.read(|state| state.instances.keys().cloned().collect());
        for id in ids {
            instance::reap_leftovers(&compute.site.instance_dir(&id)).await;
        }
        // A server killed right after it had started a process has not written it down.
        for group in process::groups_below(&compute.site.dir) {
            process::end_group(group, Duration::from_secs(2)).await;
        }
        compute.change(restore);
        compute.tasks.spawn(workings::run(compute.clone()));
        Ok(compute)
    }

    /// Ends every process and closes every port; the state stays on disk.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.site.ports.release_all();
    }

    /// Answers a call of `ec2`, `autoscaling` or `elasticloadbalancing`; nothing means that there is no such operation.
    pub async fn handle(&self, service: &str, form: &BTreeMap<String, String>) -> Option<http::Response<Bytes>> {
        let (_, operations, envelope) = SERVICES.iter().find(|(name, _, _)| *name == service)?;
        let operation = Operation::find(operations, form.get("Action")?)?;
        let answer = match taken::check_form(operation.takes, form) {
            Ok(()) => self.carry_out(operation, &Params::parse(form)).await,
            Err(text) => Err(ApiError::new(NOT_IMPLEMENTED, text)),
        };
        Some(envelope.seal(operation.row.name, answer))
    }

    async fn carry_out(&self, operation: &Row, params: &Params) -> Answer {
        if let Some(fault) = self.refusal(operation.row.name, params).await {
            return Err(fault);
        }
        match operation.run {
            Run::Reads(call) if params.flag("DryRun") => self.read(|state| tried(call(state, &self.site, params))),
            Run::Writes(call) if params.flag("DryRun") => {
                self.read(|state| tried(call(&mut state.clone(), &self.site, params)))
            }
            Run::Reads(call) => self.read(|state| call(state, &self.site, params)),
            Run::Writes(call) => {
                let answer = self.try_change(|state, site| call(state, site, params));
                self.wake.notify_one();
                answer
            }
        }
    }

    /// Why a group cannot have this launch template: only IAM knows whether its instance profile exists.
    async fn refusal(&self, operation: &str, params: &Params) -> Option<ApiError> {
        if !matches!(operation, "CreateAutoScalingGroup" | "UpdateAutoScalingGroup") {
            return None;
        }
        let profile = self.read(|state| autoscaling::profile_wanted(state, params))?;
        if self.roles.role_of_profile(&profile).await.is_some() {
            return None;
        }
        let message = format!(
            "You must use a valid fully-formed launch template. Value ({profile}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
        );
        Some(ApiError::new("ValidationError", message))
    }

    /// The alarms of target tracking.
    pub fn alarms(&self) -> Vec<Alarm> {
        self.read(|state| autoscaling::alarms(state, &self.site))
    }

    /// What runs, for people.
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
                        .map(|listener| json!({ "port": listener.port, "local_port": listener.local_port }))
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

    /// Looks at the state.
    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.kept().state)
    }

    /// Looks at the state, and at the number of changes that have made it.
    fn read_with_generation<T>(&self, look: impl FnOnce(&State, u64) -> T) -> T {
        let kept = self.kept();
        look(&kept.state, self.generation())
    }

    /// How many changes have made the state what it is.
    fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Changes the state, and keeps it on disk if it is another one afterwards.
    fn change<T>(&self, change: impl FnOnce(&mut State, &Site) -> T) -> T {
        let mut kept = self.kept();
        let result = change(&mut kept.state, &self.site);
        self.generation.fetch_add(1, Ordering::SeqCst);
        let SavedState { state, saved } = &mut *kept;
        if let Err(error) = state.save_if_new(&self.site.dir.join("compute.json"), saved) {
            // What is really so cannot be undone by not writing it; the next change writes it along.
            tracing::error!("failed to keep the state of compute: {error:#}");
        }
        result
    }

    /// Changes the state as a call wants it, if the change can be kept on disk. Otherwise nothing has happened.
    fn try_change(&self, change: impl FnOnce(&mut State, &Site) -> Answer) -> Answer {
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
                Err(ApiError::new("InternalFailure", format!("the local AWS cannot write its state: {error:#}")))
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, SavedState> {
        self.state.lock().expect("no change to the state panics")
    }

    fn machines(&self) -> MutexGuard<'_, BTreeMap<String, Machine>> {
        self.machines.lock().expect("nothing panics while it looks at the machines")
    }
}

/// Makes a state of before one to go on with: ports are taken again.
fn restore(state: &mut State, site: &Site) {
    ec2::ensure_default_security_group(state);
    for one in state.load_balancers.values_mut() {
        let before = one.port;
        one.port = site.ports.reserve(Some(before)).unwrap_or(before);
        let main = |listener: &&mut state::Listener| listener.load_balancer == one.arn && listener.local_port == before;
        for listener in state.listeners.values_mut().filter(main) {
            listener.local_port = one.port;
        }
    }
    let main_ports: BTreeSet<u16> = state.load_balancers.values().map(|one| one.port).collect();
    for listener in state.listeners.values_mut().filter(|listener| !main_ports.contains(&listener.local_port)) {
        listener.local_port = site.ports.reserve(Some(listener.local_port)).unwrap_or(listener.local_port);
    }
    // What was being born or was alive is started anew; until its processes run it has the time of a new one.
    for one in state.instances.values_mut().filter(|one| one.is_alive()) {
        one.in_service = one.in_service.map(|_| clock::Moment::now());
    }
}
