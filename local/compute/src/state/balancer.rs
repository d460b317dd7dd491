//! Load balancers, with their listeners, target groups and targets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Moment;

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
    /// The ARN of its web ACL.
    #[serde(default)]
    pub web_acl: Option<String>,
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
    /// Returns whether it is an HTTPS listener.
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

/// A rule of a listener besides its default actions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerRule {
    pub arn: String,
    pub listener: String,
    /// From 1 to 50,000; the lowest is evaluated first.
    pub priority: u32,
    /// All of them must hold.
    pub conditions: Vec<Condition>,
    pub actions: Vec<Action>,
}

/// A condition of a rule: one of its values must fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    pub field: Field,
    pub values: Vec<String>,
    /// Whether the values were given in the configuration of the field.
    pub has_config: bool,
}

/// The part of a request that a condition compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Field {
    Host,
    Path,
}

impl Action {
    /// Returns whether it sends requests to this target group.
    pub fn names(&self, target_group: &str) -> bool {
        matches!(self, Action::Forward(groups) if groups.iter().any(|(arn, _)| arn == target_group))
    }
}
