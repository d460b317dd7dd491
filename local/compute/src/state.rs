//! The state of compute, and the file in which it is saved.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::Profile;
use super::clock::Moment;
use kit::query::ApiError;

/// The tags of a resource.
pub type Tags = BTreeMap<String, String>;

/// Everything that compute stores.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    pub networks: Networks,
    pub security_groups: BTreeMap<String, SecurityGroup>,
    pub launch_templates: BTreeMap<String, LaunchTemplate>,
    pub instances: BTreeMap<String, Instance>,
    pub groups: BTreeMap<String, Group>,
    /// The activities of all groups, including deleted ones; the newest is last.
    pub activities: Vec<Activity>,
    pub load_balancers: BTreeMap<String, LoadBalancer>,
    pub target_groups: BTreeMap<String, TargetGroup>,
    pub listeners: BTreeMap<String, Listener>,
    /// The load balancers' network interfaces, which outlive them for a while.
    pub interfaces: BTreeMap<String, Interface>,
    /// CloudWatch's alarms by name, other than those of target tracking.
    pub alarms: BTreeMap<String, MetricAlarm>,
    /// By resource id or ARN. The tags of an Auto Scaling group are stored in the group.
    pub tags: BTreeMap<String, Tags>,
}

impl State {
    /// Returns the state from a file, or an empty one if the file does not exist.
    pub fn load(file: &Path) -> anyhow::Result<State> {
        match kit::store::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} does not hold the state of compute", file.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(State::default()),
            Err(error) => Err(error).with_context(|| format!("failed to read {}", file.display())),
        }
    }

    /// Replaces the file atomically if the state differs from `saved`, so that a crash leaves either the old state or
    /// the new one.
    pub fn save_if_new(&self, file: &Path, saved: &mut Vec<u8>) -> anyhow::Result<()> {
        let bytes = serde_json::to_vec(self)?;
        if bytes == *saved {
            return Ok(());
        }
        let next = file.with_extension("next");
        std::fs::write(&next, &bytes).with_context(|| format!("failed to write {}", next.display()))?;
        std::fs::rename(&next, file).with_context(|| format!("failed to replace {}", file.display()))?;
        *saved = bytes;
        Ok(())
    }

    /// Returns a resource's tags.
    pub fn tags_of(&self, resource: &str) -> &Tags {
        static NONE: Tags = Tags::new();
        self.tags.get(resource).unwrap_or(&NONE)
    }

    /// Adds tags to a resource.
    pub fn tag(&mut self, resource: &str, tags: Tags) {
        if !tags.is_empty() {
            self.tags.entry(resource.to_owned()).or_default().extend(tags);
        }
    }

    /// Returns the Auto Scaling group with a name.
    pub fn group(&self, name: &str) -> Result<&Group, ApiError> {
        self.groups.get(name).ok_or_else(|| unknown_group(name))
    }

    /// Returns the group with a name for modification. A group that is being deleted cannot be modified.
    pub fn group_mut(&mut self, name: &str) -> Result<&mut Group, ApiError> {
        match self.groups.get_mut(name) {
            Some(group) if group.deleting => {
                let text = "The AutoScaling group may not be modified while it is pending delete";
                Err(ApiError::new("ValidationError", text))
            }
            Some(group) => Ok(group),
            None => Err(unknown_group(name)),
        }
    }

    /// Returns the load balancer with an ARN.
    pub fn load_balancer(&self, arn: &str) -> Result<&LoadBalancer, ApiError> {
        of_kind(arn, "loadbalancer", "load balancer")?;
        self.load_balancers.get(arn).ok_or_else(|| unknown_load_balancer(arn))
    }

    /// Returns the load balancer with an ARN for modification.
    pub fn load_balancer_mut(&mut self, arn: &str) -> Result<&mut LoadBalancer, ApiError> {
        of_kind(arn, "loadbalancer", "load balancer")?;
        self.load_balancers.get_mut(arn).ok_or_else(|| unknown_load_balancer(arn))
    }

    /// Returns the target group with an ARN.
    pub fn target_group(&self, arn: &str) -> Result<&TargetGroup, ApiError> {
        of_kind(arn, "targetgroup", "target group")?;
        self.target_groups.get(arn).ok_or_else(unknown_target_group)
    }

    /// Returns the target group with an ARN for modification.
    pub fn target_group_mut(&mut self, arn: &str) -> Result<&mut TargetGroup, ApiError> {
        of_kind(arn, "targetgroup", "target group")?;
        self.target_groups.get_mut(arn).ok_or_else(unknown_target_group)
    }

    /// Returns the listener with an ARN.
    pub fn listener(&self, arn: &str) -> Result<&Listener, ApiError> {
        self.listeners.get(arn).ok_or_else(|| ApiError::new("ListenerNotFound", "One or more listeners not found"))
    }

    /// Returns a group's instances, the oldest first.
    pub fn members(&self, group: &str) -> Vec<&Instance> {
        let mut members: Vec<&Instance> = self.instances.values().filter(|one| one.is_member_of(group)).collect();
        members.sort_by_key(|one| (one.launched, one.id.clone()));
        members
    }

    /// Returns the listeners of a load balancer.
    pub fn listeners_of<'a>(&'a self, load_balancer: &'a str) -> impl Iterator<Item = &'a Listener> {
        self.listeners.values().filter(move |listener| listener.load_balancer == load_balancer)
    }

    /// Returns the ARNs of the load balancers that send requests to a target group.
    pub fn balancers_of(&self, target_group: &str) -> BTreeSet<&str> {
        let forwards = |listener: &&Listener| listener.actions.iter().any(|action| action.names(target_group));
        self.listeners.values().filter(forwards).map(|listener| listener.load_balancer.as_str()).collect()
    }
}

/// Returns the error for a group that does not exist.
pub fn unknown_group(name: &str) -> ApiError {
    ApiError::new("ValidationError", format!("AutoScalingGroup name not found - AutoScalingGroup '{name}' not found"))
}

fn unknown_target_group() -> ApiError {
    ApiError::new("TargetGroupNotFound", "One or more target groups not found")
}

fn unknown_load_balancer(arn: &str) -> ApiError {
    ApiError::new("LoadBalancerNotFound", format!("Load balancer '{arn}' not found"))
}

/// Refuses a string that is not an ARN of this kind.
fn of_kind(arn: &str, kind: &str, words: &str) -> Result<(), ApiError> {
    match arn.contains(&format!(":{kind}/")) {
        true => Ok(()),
        false => Err(ApiError::new("ValidationError", format!("'{arn}' is not a valid {words} ARN"))),
    }
}

/// Returns a new id such as `sg-0f00ba4…`.
pub fn new_id(kind: &str) -> String {
    format!("{kind}-0{}", new_hex())
}

/// Returns 16 hexadecimal digits of a new UUID.
pub fn new_hex() -> String {
    Uuid::new_v4().simple().to_string()[..16].to_owned()
}

/// The networks that the account has made; the default one is not stored.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Networks {
    pub vpcs: BTreeMap<String, Vpc>,
    pub subnets: BTreeMap<String, Subnet>,
    /// The internet gateways, each with the VPC that it is attached to.
    pub gateways: BTreeMap<String, Option<String>>,
    pub route_tables: BTreeMap<String, RouteTable>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Vpc {
    pub id: String,
    pub cidr: String,
    pub dns_support: bool,
    pub dns_hostnames: bool,
    pub is_default: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Subnet {
    pub id: String,
    pub vpc: String,
    pub cidr: String,
    pub zone: String,
    /// Whether instances get public addresses.
    pub public_addresses: bool,
    pub is_default: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RouteTable {
    pub id: String,
    pub vpc: String,
    pub is_main: bool,
    /// The routes beside that within the VPC.
    pub routes: Vec<Routed>,
    /// The subnets by the ids of their associations.
    pub associations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routed {
    /// The destination.
    pub to: String,
    /// The internet gateway.
    pub gateway: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecurityGroup {
    pub id: String,
    pub name: String,
    /// Its VPC; empty for the default one.
    #[serde(default)]
    pub vpc: String,
    pub description: String,
    pub rules: Vec<Rule>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rule {
    pub id: String,
    pub egress: bool,
    pub traffic: Traffic,
    pub description: Option<String>,
}

/// The traffic that a rule allows, which identifies the rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Traffic {
    pub protocol: String,
    pub ports: Option<(i32, i32)>,
    pub peer: Peer,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Peer {
    Cidr(String),
    Cidr6(String),
    Group(String),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LaunchTemplate {
    pub id: String,
    pub name: String,
    pub created: Moment,
    pub default: u64,
    pub latest: u64,
    pub versions: BTreeMap<u64, Version>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Version {
    pub description: Option<String>,
    pub created: Moment,
    /// The client token, which identifies a repeated call.
    pub token: Option<String>,
    /// The launch template data, under the parameter names of the request.
    pub data: Value,
}

/// A launch template by id, and a version by number, `$Latest` or `$Default`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateSpec {
    pub id: String,
    pub name: String,
    pub version: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstanceState {
    #[default]
    Pending,
    Running,
    ShuttingDown,
    Terminated,
    Stopping,
    Stopped,
}

impl InstanceState {
    /// Returns the state's code and name.
    pub fn code(self) -> (u8, &'static str) {
        match self {
            InstanceState::Pending => (0, "pending"),
            InstanceState::Running => (16, "running"),
            InstanceState::ShuttingDown => (32, "shutting-down"),
            InstanceState::Terminated => (48, "terminated"),
            InstanceState::Stopping => (64, "stopping"),
            InstanceState::Stopped => (80, "stopped"),
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Instance {
    pub id: String,
    pub group: Option<String>,
    /// The template, with the version resolved to a number.
    pub template: TemplateSpec,
    pub image: String,
    pub kind: String,
    pub zone: String,
    pub subnet: String,
    pub address: String,
    pub security_groups: Vec<String>,
    pub profile: Option<String>,
    /// Its instance profile as of the launch.
    #[serde(default)]
    pub shown_profile: Option<Profile>,
    #[serde(default)]
    pub settings: Settings,
    #[serde(default)]
    pub volumes: Vec<Volume>,
    pub user_data: String,
    pub state: InstanceState,
    pub launched: Moment,
    pub ended: Option<Moment>,
    /// The local port on which its service really listens, once known.
    pub port: Option<u16>,
    /// The port on which its service would listen on AWS.
    pub declared_port: Option<u16>,
    pub in_service: Option<Moment>,
    /// Why the group considers it unhealthy, if it does.
    pub unhealthy: Option<String>,
    pub protected: bool,
    /// Its group has released it: it is terminated once its requests have finished.
    pub leaving: bool,
    /// The target groups with which its group has registered it.
    pub registered: Vec<String>,
    /// The fault that chaos has injected into it, if any.
    #[serde(default)]
    pub mishap: Option<Mishap>,
    /// Whether it has to be rebooted.
    #[serde(default)]
    pub rebooting: bool,
}

/// Further settings of an instance from its launch template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub metadata_enabled: bool,
    /// Whether the metadata service requires a token.
    pub needs_token: bool,
    pub hop_limit: u8,
    pub has_public_address: bool,
    pub interface: String,
    pub ebs_optimized: bool,
    pub is_monitored: bool,
    /// Whether API calls must not terminate the instance. `may_not_stop` does the same for stopping it.
    pub may_not_terminate: bool,
    pub may_not_stop: bool,
    /// `stop` or `terminate`.
    pub on_shutdown: String,
}

impl Default for Settings {
    /// Returns the settings for an image that requires version 2 of the metadata service, in the default network.
    fn default() -> Settings {
        Settings {
            metadata_enabled: true,
            needs_token: true,
            hop_limit: 2,
            has_public_address: true,
            interface: String::new(),
            ebs_optimized: false,
            is_monitored: false,
            may_not_terminate: false,
            may_not_stop: false,
            on_shutdown: "stop".to_owned(),
        }
    }
}

/// A volume of an instance, which is deleted with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub id: String,
    pub device: String,
    pub gib: u32,
    pub kind: String,
    pub iops: Option<u32>,
    pub throughput: Option<u32>,
    pub encrypted: bool,
}

/// What can go wrong on an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mishap {
    /// Its user data fails.
    BootFail,
    /// Its service crashes at every start.
    CrashLoop,
}

impl Instance {
    /// Returns whether it is pending or running.
    pub fn is_alive(&self) -> bool {
        matches!(self.state, InstanceState::Pending | InstanceState::Running)
    }

    /// Returns whether it has been terminated or is being terminated.
    pub fn is_gone(&self) -> bool {
        matches!(self.state, InstanceState::ShuttingDown | InstanceState::Terminated)
    }

    /// Returns whether a group still lists it.
    pub fn is_member_of(&self, group: &str) -> bool {
        self.group.as_deref() == Some(group) && self.state != InstanceState::Terminated
    }

    /// Returns whether it counts towards its group's capacity.
    pub fn serves(&self) -> bool {
        !self.is_gone() && !self.leaving
    }

    /// Returns its lifecycle state in the group.
    pub fn lifecycle(&self) -> &'static str {
        match (self.serves(), self.in_service) {
            (false, _) => "Terminating",
            (true, None) => "Pending",
            (true, Some(_)) => "InService",
        }
    }

    /// Returns its health status in the group.
    pub fn health(&self) -> &'static str {
        if self.unhealthy.is_none() && self.is_alive() { "Healthy" } else { "Unhealthy" }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    pub arn: String,
    pub created: Moment,
    pub template: TemplateSpec,
    pub min: u32,
    pub max: u32,
    pub desired: u32,
    pub cooldown_s: u64,
    pub subnets: Vec<String>,
    pub health_check_type: String,
    pub grace_s: u64,
    pub warmup_s: Option<u64>,
    pub target_groups: Vec<String>,
    pub termination_policies: Vec<String>,
    pub protect_new: bool,
    pub tags: BTreeMap<String, GroupTag>,
    pub suspended: BTreeSet<String>,
    pub deletion_protection: Option<String>,
    pub deleting: bool,
    pub policies: BTreeMap<String, Policy>,
    pub refreshes: Vec<Refresh>,
    /// Why the desired capacity has its value, for the cause of the next activities.
    pub cause: String,
    /// The number of consecutive launch failures.
    pub failures: u32,
    /// When it last tried to launch an instance; the pause after a failure counts from then.
    pub last_launch: Option<Moment>,
    pub scaled: Option<Moment>,
    /// The number of instances it has launched, from which chaos draws the fault of the next one.
    #[serde(default)]
    pub launches: u64,
    /// Scheduled actions by name.
    #[serde(default)]
    pub schedules: BTreeMap<String, Schedule>,
    /// Target groups attached later in which no target has been healthy yet. Their health checks do not count.
    #[serde(default)]
    pub adding: BTreeSet<String>,
    /// The instance launched in an emptier zone. Once it is ready, one in the fullest zone is terminated.
    #[serde(default)]
    pub rebalancing: Option<String>,
}

impl Group {
    /// Returns the refresh in progress.
    pub fn refresh(&self) -> Option<&Refresh> {
        self.refreshes.last().filter(|refresh| refresh.is_open())
    }

    /// Returns the group's tags without their propagation flags.
    pub fn plain_tags(&self) -> Tags {
        self.tags.iter().map(|(key, tag)| (key.clone(), tag.value.clone())).collect()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Schedule {
    pub arn: String,
    pub end: Option<Moment>,
    /// A cron expression with five fields.
    pub recurrence: Option<String>,
    pub zone: Option<String>,
    pub min: Option<u32>,
    pub max: Option<u32>,
    pub desired: Option<u32>,
    /// When it is next due.
    pub next: Moment,
    /// When an action with a single time is due here, where AWS's clock may be faster.
    #[serde(default)]
    pub due: Option<Moment>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupTag {
    pub value: String,
    pub propagate: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Policy {
    pub name: String,
    pub arn: String,
    pub kind: String,
    pub tracking: Option<Tracking>,
    pub warmup_s: Option<u64>,
    pub alarm: String,
    /// When it was last put.
    #[serde(default)]
    pub made: Moment,
    #[serde(default)]
    pub high: Watch,
    #[serde(default)]
    pub low: Watch,
}

/// The state of one of a policy's alarms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    pub verdict: Verdict,
    pub since: Moment,
}

/// An alarm's verdict on the latest values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// There are too few values.
    #[default]
    Unknown,
    Fine,
    Alarm,
}

impl Watch {
    /// Returns a watch that begins now.
    pub fn begin() -> Watch {
        Watch { verdict: Verdict::Unknown, since: Moment::now() }
    }

    /// Records a verdict. If it differs from the last one, it holds from now on.
    pub fn note(&mut self, verdict: Verdict) {
        if self.verdict != verdict {
            *self = Watch { verdict, since: Moment::now() };
        }
    }
}

/// An alarm that `PutMetricAlarm` made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MetricAlarm {
    /// Its configuration, under the parameter names of the request.
    pub config: Value,
    /// When the configuration was last put.
    pub made: Moment,
    pub watch: Watch,
    /// Why it has its state.
    pub reason: String,
}

impl MetricAlarm {
    /// Returns whether it is in the state `ALARM`.
    pub fn rings(&self) -> bool {
        self.watch.verdict == Verdict::Alarm
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tracking {
    pub metric: String,
    pub label: Option<String>,
    pub target: f64,
    pub only_out: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefreshStatus {
    Pending,
    InProgress,
    /// All instances are replaced; the bake time has not passed yet.
    Baking,
    Successful,
    Failed,
    Cancelling,
    Cancelled,
    RollbackInProgress,
    RollbackSuccessful,
    RollbackFailed,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refresh {
    pub id: String,
    pub status: RefreshStatus,
    pub reason: Option<String>,
    pub started: Moment,
    pub ended: Option<Moment>,
    pub min_healthy: u32,
    pub max_healthy: u32,
    pub warmup_s: Option<u64>,
    pub skip_matching: bool,
    pub auto_rollback: bool,
    /// How protected instances are treated.
    #[serde(default)]
    pub protected: Protected,
    pub desired: Option<TemplateSpec>,
    /// The bake time in seconds.
    #[serde(default)]
    pub bake_s: u64,
    /// When the bake time began.
    #[serde(default)]
    pub baking: Option<Moment>,
    /// The alarms that it watches, by name.
    #[serde(default)]
    pub alarms: Vec<String>,
    /// The first of them that was in the state `ALARM`.
    #[serde(default)]
    pub rung: Option<String>,
    /// Its rollback, once that has begun.
    #[serde(default)]
    pub rollback: Option<Rollback>,
    /// The number of instances to replace at first. `left` is how many remain.
    pub total: usize,
    pub left: usize,
    pub progressed: Moment,
}

/// The rollback of an instance refresh.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rollback {
    pub reason: String,
    pub started: Moment,
    /// The progress of the refresh when it began.
    pub percent: usize,
    pub left: usize,
}

/// How an instance refresh treats instances that are protected from scale-in (docs/aws.md §10.5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protected {
    /// Waits until the protection is removed, and eventually fails.
    #[default]
    Wait,
    /// Keeps them.
    Ignore,
    /// Replaces them as well.
    Refresh,
}

impl Protected {
    /// The names in the API.
    pub const NAMES: [(&str, Protected); 3] =
        [("Wait", Protected::Wait), ("Ignore", Protected::Ignore), ("Refresh", Protected::Refresh)];
}

impl Refresh {
    /// Returns how much of it is done, in percent.
    pub fn percent(&self) -> usize {
        use RefreshStatus::{Baking, RollbackSuccessful, Successful};
        match (self.status, self.total) {
            (Baking | Successful | RollbackSuccessful, _) => 100,
            (_, 0) => 0,
            (_, total) => total.saturating_sub(self.left) * 100 / total,
        }
    }

    /// Begins to roll it back.
    pub fn roll_back(&mut self, reason: String) {
        let (percent, left) = (self.percent(), self.left);
        self.rollback = Some(Rollback { reason: reason.clone(), started: Moment::now(), percent, left });
        (self.status, self.reason) = (RefreshStatus::RollbackInProgress, Some(reason));
        self.progressed = Moment::now();
    }

    /// Returns whether the refresh is still in progress.
    pub fn is_open(&self) -> bool {
        self.ended.is_none()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Activity {
    pub id: String,
    pub group: String,
    pub group_arn: String,
    pub group_deleted: bool,
    pub description: String,
    pub cause: String,
    pub started: Moment,
    pub ended: Option<Moment>,
    pub status: String,
    pub message: Option<String>,
    pub instance: Option<String>,
    pub zone: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoadBalancer {
    pub arn: String,
    pub name: String,
    pub scheme: String,
    pub ip_address_type: String,
    pub subnets: Vec<String>,
    pub security_groups: Vec<String>,
    pub created: Moment,
    pub active: bool,
    /// The local port of its first listener.
    pub port: u16,
    pub attributes: BTreeMap<String, String>,
}

impl LoadBalancer {
    /// Returns the last part of the ARN: `app/name/id`.
    pub fn path(&self) -> &str {
        self.arn.split_once("loadbalancer/").map_or(self.name.as_str(), |(_, path)| path)
    }

    /// Returns its local address and port.
    pub fn dns_name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Interface {
    pub id: String,
    pub description: String,
    pub subnet: String,
    pub address: String,
    pub security_groups: Vec<String>,
    pub load_balancer: String,
    /// When its load balancer was deleted.
    pub orphaned: Option<Moment>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TargetGroup {
    pub arn: String,
    pub name: String,
    pub protocol: String,
    pub protocol_version: String,
    pub port: u16,
    pub vpc: String,
    pub target_type: String,
    pub check: HealthCheck,
    pub attributes: BTreeMap<String, String>,
    /// By `id:port`.
    pub targets: BTreeMap<String, Target>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub enabled: bool,
    pub protocol: String,
    pub port: String,
    pub path: String,
    pub interval_s: u64,
    pub timeout_s: u64,
    pub healthy: u32,
    pub unhealthy: u32,
    pub matcher: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Target {
    pub id: String,
    pub port: u16,
    /// Not saved: after a restart, health checks have to determine it again.
    #[serde(skip)]
    pub health: Health,
    pub draining: Option<Moment>,
}

/// The result of a target's health checks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Health {
    #[default]
    Initial,
    Healthy,
    Unhealthy {
        reason: String,
        description: String,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Listener {
    pub arn: String,
    pub load_balancer: String,
    pub port: u16,
    pub protocol: String,
    pub actions: Vec<Action>,
    /// The port of this machine on which it listens.
    pub local_port: u16,
    /// The ARNs of its certificates; the first is the default.
    #[serde(default)]
    pub certificates: Vec<String>,
    /// The security policy of an HTTPS listener.
    #[serde(default)]
    pub ssl_policy: Option<String>,
}

impl Listener {
    /// Returns whether it speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.protocol == "HTTPS"
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// To target groups, by weight.
    Forward(Vec<(String, u32)>),
    Redirect {
        protocol: String,
        host: String,
        port: String,
        path: String,
        query: String,
        status: String,
    },
    Fixed {
        status: String,
        content_type: Option<String>,
        body: Option<String>,
    },
}

impl Action {
    /// Returns whether it sends requests to this target group.
    pub fn names(&self, target_group: &str) -> bool {
        matches!(self, Action::Forward(groups) if groups.iter().any(|(arn, _)| arn == target_group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_state_is_loaded_and_a_missing_one_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("compute.json");
        assert!(State::load(&file).unwrap().groups.is_empty());
        let mut state = State::default();
        state.tag("sg-1", Tags::from([("a".to_owned(), "b".to_owned())]));
        state.save_if_new(&file, &mut Vec::new()).unwrap();
        assert_eq!(State::load(&file).unwrap().tags_of("sg-1"), state.tags_of("sg-1"));
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("compute.json");
        std::fs::write(&file, "{").unwrap();
        assert!(State::load(&file).unwrap_err().to_string().contains("compute.json"));
    }
}
