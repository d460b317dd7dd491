//! Instances, with their volumes and settings.

use serde::{Deserialize, Serialize};

use super::TemplateSpec;
use crate::Profile;
use crate::clock::Moment;

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
    pub settings: InstanceSettings,
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
    pub mishap: Option<InstanceFault>,
    /// Whether it has to be rebooted.
    #[serde(default)]
    pub rebooting: bool,
}

/// Further settings of an instance from its launch template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSettings {
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

impl Default for InstanceSettings {
    /// Returns the settings for an image that requires version 2 of the metadata service, in the default network.
    fn default() -> InstanceSettings {
        InstanceSettings {
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
    /// The ARN of the key of KMS that it is encrypted with, if one is named.
    #[serde(default)]
    pub key: Option<String>,
}

/// An injected failure of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstanceFault {
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
