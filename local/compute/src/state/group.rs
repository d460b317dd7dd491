//! Auto Scaling groups, with their policies, schedules, refreshes and activities.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Tags, TemplateSpec};
use crate::clock::Moment;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AutoScalingGroup {
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
    pub policies: BTreeMap<String, ScalingPolicy>,
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

impl AutoScalingGroup {
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
pub struct ScalingPolicy {
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
    pub verdict: AlarmState,
    pub since: Moment,
}

/// The state of an alarm, by the latest values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlarmState {
    /// There are too few values.
    #[default]
    Unknown,
    Fine,
    Alarm,
}

impl Watch {
    /// Returns a watch that begins now.
    pub fn begin() -> Watch {
        Watch { verdict: AlarmState::Unknown, since: Moment::now() }
    }

    /// Records a state. If it differs from the last one, it holds from now on.
    pub fn note(&mut self, verdict: AlarmState) {
        if self.verdict != verdict {
            *self = Watch { verdict, since: Moment::now() };
        }
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
