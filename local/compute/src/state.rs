//! The state of compute, and the file in which it is saved.

mod address;
mod alarm;
mod balancer;
mod group;
mod instance;
mod network;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use kit::query::ApiError;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use address::{Address, Association};
pub use alarm::MetricAlarm;
pub use balancer::{
    Action, Condition, Field, Health, HealthCheck, Interface, Listener, ListenerRule, LoadBalancer, Target, TargetGroup,
};
pub use group::{
    Activity, AlarmState, AutoScalingGroup, GroupTag, Protected, Refresh, RefreshStatus, ScalingPolicy, Schedule,
    Tracking, Watch,
};
pub use instance::{Instance, InstanceFault, InstanceSettings, InstanceState, Volume};
pub use network::{Networks, Peer, RouteTable, Routed, SecurityGroup, SecurityGroupRule, Subnet, Traffic, Vpc};
pub use template::{LaunchTemplate, TemplateSpec, TemplateVersion};

/// The tags of a resource.
pub type Tags = BTreeMap<String, String>;

/// The stored state of compute.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    pub networks: Networks,
    pub security_groups: BTreeMap<String, SecurityGroup>,
    pub launch_templates: BTreeMap<String, LaunchTemplate>,
    pub instances: BTreeMap<String, Instance>,
    /// The elastic IP addresses, by the ids of their allocations.
    pub addresses: BTreeMap<String, Address>,
    pub groups: BTreeMap<String, AutoScalingGroup>,
    /// The activities of all groups, including deleted ones; the newest is last.
    pub activities: Vec<Activity>,
    pub load_balancers: BTreeMap<String, LoadBalancer>,
    pub target_groups: BTreeMap<String, TargetGroup>,
    pub listeners: BTreeMap<String, Listener>,
    /// The rules of listeners other than the default ones.
    pub rules: BTreeMap<String, ListenerRule>,
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
    pub fn group(&self, name: &str) -> Result<&AutoScalingGroup, ApiError> {
        self.groups.get(name).ok_or_else(|| unknown_group(name))
    }

    /// Returns the group with a name for modification. A group that is being deleted cannot be modified.
    pub fn group_mut(&mut self, name: &str) -> Result<&mut AutoScalingGroup, ApiError> {
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

    /// Returns the rule with an ARN, other than a default one.
    pub fn rule(&self, arn: &str) -> Result<&ListenerRule, ApiError> {
        self.rules.get(arn).ok_or_else(|| ApiError::new("RuleNotFound", "One or more rules not found"))
    }

    /// Returns the rules of a listener other than its default one, the first to be evaluated first.
    pub fn rules_of(&self, listener: &str) -> Vec<&ListenerRule> {
        let mut rules: Vec<&ListenerRule> = self.rules.values().filter(|rule| rule.listener == listener).collect();
        rules.sort_by_key(|rule| rule.priority);
        rules
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
        let forwards = |actions: &[Action]| actions.iter().any(|action| action.names(target_group));
        let by_rule = self.rules.values().filter(|rule| forwards(&rule.actions));
        let by_rule = by_rule.filter_map(|rule| self.listeners.get(&rule.listener));
        let listeners = self.listeners.values().filter(|listener| forwards(&listener.actions)).chain(by_rule);
        listeners.map(|listener| listener.load_balancer.as_str()).collect()
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
