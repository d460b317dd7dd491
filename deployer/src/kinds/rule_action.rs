//! The action of a rule: the target groups that receive its requests.
//!
//! It is applied after the instances, like a listener's default action. Requests keep going to the previous targets until
//! the new ones are healthy; those of a new rule, to the service with the load balancer.

use serde::Serialize;

use super::{
    default_action::require_healthy,
    listener::{Forwards, forward, forwards_of},
};
use crate::{
    cloud::{
        aws::{Aws, found},
        health,
        why::Reports,
    },
    engine::{Fault, Live, Observed, Owner, Resource, Tags},
};

/// The action of a rule.
#[derive(Debug, Clone)]
pub struct RuleAction {
    /// The ARN of the rule.
    pub rule: String,
    /// The ARN of the target group that should receive the requests.
    pub target_group: String,
    /// The Auto Scaling group that registers its targets.
    pub group: String,
    /// What the rule did when it was read.
    pub seen: Settings,
    /// The service whose targets these are, with the reports of its instances: a program that keeps exiting ends the wait.
    pub service: (String, Reports),
    /// How long to wait for healthy targets.
    pub wait: health::Wait,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The target groups with their weights.
    pub forwards: Forwards,
}

/// No outputs.
#[derive(Debug, Clone)]
pub struct Output {}

impl Settings {
    /// Sends every request to one target group.
    pub fn all_to(target_group: &str) -> Settings {
        Settings { forwards: Forwards::from([(target_group.into(), 1)]) }
    }
}

impl Resource for RuleAction {
    const KIND: &'static str = "rule_action";

    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.rule
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let answer = found(aws.elb.describe_rules().rule_arns(&self.rule).send().await)?;
        let rule = answer.as_ref().and_then(|answer| answer.rules().first());
        let live = |actions| live(Settings { forwards: forwards_of(actions) });
        Ok(rule.map_or(Observed::Absent, |rule| Observed::Present(live(rule.actions()))))
    }

    /// A rule is created with an action; if it differs, the next read finds it.
    async fn create(&self, _: &Aws, want: &Settings, _: &Tags) -> Result<Option<Live<Self>>, Fault> {
        Ok((self.seen == *want).then(|| live(self.seen.clone())))
    }

    async fn update(&self, aws: &Aws, want: &Settings, _: &Live<Self>) -> Result<(), Fault> {
        let targets = (self.target_group.as_str(), self.group.as_str());
        require_healthy(aws, targets, &self.service, "ModifyRule", self.wait).await?;
        aws.elb.modify_rule().rule_arn(&self.rule).actions(forward(&want.forwards)).send().await?;
        Ok(())
    }

    /// Deleted together with its rule.
    async fn delete(&self, _: &Aws, _: &Live<Self>) -> Result<(), Fault> {
        Ok(())
    }

    /// It holds nothing that would have to be removed before its rule.
    fn is_bare(_: &Settings) -> bool {
        true
    }
}

fn live(settings: Settings) -> Live<RuleAction> {
    Live { settings, output: Output {}, owner: Owner::Parent }
}
