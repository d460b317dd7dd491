//! Listeners: the public port of a load balancer, and the target groups that it forwards to.
//!
//! The default action, applied after the instances, decides which of them receive requests.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, ForwardActionConfig, Listener as Described, ProtocolEnum, TargetGroupTuple,
};
use serde::Serialize;

use super::tags;
use crate::{
    cloud::aws::{Aws, found, gone, items},
    engine::{Fault, Live, Observed, Owner, Resource, STACK_TAG, Tags},
};

/// Identified by its load balancer and its tags, since the port may change; a listener without tags, by its port.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The ARN of the load balancer.
    pub load_balancer: String,
    /// The ARN of the target group that it should forward to.
    pub target_group: String,
    /// The wanted public port.
    pub port: i32,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The public port.
    pub port: i32,
    /// The protocol: `HTTP`.
    pub protocol: String,
    /// The ARN of a target group that it forwards to, with any weight: only targets of such a group ever become healthy
    /// (docs/aws.md §11.1).
    pub target_group: String,
}

/// What AWS assigns.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its ARN.
    pub arn: String,
    /// Its port.
    pub port: i32,
    /// The target groups that it forwards to.
    pub forwards: Forwards,
}

/// Target group ARNs with their weights, 0 to 999.
pub type Forwards = BTreeMap<String, i32>;

impl Settings {
    /// Forwards HTTP to a target group.
    pub fn http(port: u16, target_group: String) -> Settings {
        Settings { port: port.into(), protocol: "HTTP".into(), target_group }
    }
}

impl Resource for Listener {
    const KIND: &'static str = "listener";
    const SOURCES: &'static [(&'static str, &'static str)] = &[("port", "load_balancer.port")];

    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.load_balancer
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let call = aws.elb.describe_listeners().load_balancer_arn(&self.load_balancer);
        let Some(all) = found(items(call.into_paginator().send()).await)? else { return Ok(Observed::Absent) };
        let listeners: Vec<(&str, &Described)> =
            all.iter().filter_map(|listener| Some((listener.listener_arn()?, listener))).collect();
        if listeners.is_empty() {
            return Ok(Observed::Absent);
        }
        let arns = listeners.iter().map(|(arn, _)| (*arn).to_owned()).collect();
        let mut tags = tags::of_arns(aws, arns).await?;
        let is_tagged = |arn: &str| tags.get(arn).is_some_and(|tags| tags.contains_key(STACK_TAG));
        // Other listeners may have been added by hand, for a certificate perhaps: ours is the one with our tags, and
        // any other on its port is a conflict.
        let in_place = || listeners.iter().find(|(_, listener)| listener.port() == Some(self.port));
        let ours = listeners.iter().find(|(arn, _)| is_tagged(arn)).or_else(in_place).copied();
        Ok(ours.map_or(Observed::Absent, |(arn, listener)| {
            Observed::Present(Live {
                settings: self.settings(listener),
                output: Output {
                    arn: arn.into(),
                    port: listener.port().unwrap_or_default(),
                    forwards: forwards(listener),
                },
                owner: Owner::Tags(tags.remove(arn).unwrap_or_default()),
            })
        }))
    }

    /// AWS answers the creation of a listener of the same port and action as if it were new (docs/aws.md §9.5): another
    /// client may have created it, and only the tags show the owner.
    async fn create(&self, aws: &Aws, want: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        let only = Forwards::from([(want.target_group.clone(), 1)]);
        let answer = aws
            .elb
            .create_listener()
            .load_balancer_arn(&self.load_balancer)
            .port(want.port)
            .protocol(ProtocolEnum::from(want.protocol.as_str()))
            .default_actions(forward(&only))
            .set_tags(Some(tags::to_elb(tags)))
            .send()
            .await?;
        let arn = answer.listeners().first().and_then(Described::listener_arn).unwrap_or_default();
        if tags::of_arn(aws, arn).await?.get(STACK_TAG) != tags.get(STACK_TAG) {
            return Ok(None);
        }
        Ok(Some(Live {
            settings: want.clone(),
            output: Output { arn: arn.into(), port: want.port, forwards: only },
            owner: Owner::Tags(tags.clone()),
        }))
    }

    /// A new target group gets health checks but no requests yet, so that its targets can become healthy.
    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let mut forwards = live.output.forwards.clone();
        let weight = if forwards.is_empty() { 1 } else { 0 };
        forwards.entry(want.target_group.clone()).or_insert(weight);
        aws.elb
            .modify_listener()
            .listener_arn(&live.output.arn)
            .port(want.port)
            .protocol(ProtocolEnum::from(want.protocol.as_str()))
            .default_actions(forward(&forwards))
            .send()
            .await?;
        Ok(())
    }

    async fn tag(&self, aws: &Aws, live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        tags::tag_in_elb(aws, &live.output.arn, tags).await
    }

    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        gone(aws.elb.delete_listener().listener_arn(&live.output.arn).send().await)
    }
}

impl Listener {
    fn settings(&self, listener: &Described) -> Settings {
        let forwards = forwards(listener);
        let known = forwards.get_key_value(&self.target_group).or_else(|| forwards.first_key_value());
        Settings {
            port: listener.port().unwrap_or_default(),
            protocol: listener.protocol().map(|protocol| protocol.as_str().to_owned()).unwrap_or_default(),
            target_group: known.map(|(arn, _)| arn.clone()).unwrap_or_default(),
        }
    }
}

/// Builds the forwarding action.
pub fn forward(forwards: &Forwards) -> Action {
    let action = Action::builder().r#type(ActionTypeEnum::Forward);
    match forwards.first_key_value() {
        // The form that every implementation of this API accepts.
        Some((only, _)) if forwards.len() == 1 => action.target_group_arn(only).build(),
        _ => {
            let tuple = |(arn, weight): (&String, &i32)| {
                TargetGroupTuple::builder().target_group_arn(arn).weight(*weight).build()
            };
            let config = ForwardActionConfig::builder().set_target_groups(Some(forwards.iter().map(tuple).collect()));
            action.forward_config(config.build()).build()
        }
    }
}

/// Reads the target groups of a listener. AWS returns the only target group of an action in either of two fields, and
/// guarantees neither.
pub fn forwards(listener: &Described) -> Forwards {
    let actions = listener.default_actions().iter();
    let forwards = actions.flat_map(|action| {
        let tuples = action.forward_config().map(ForwardActionConfig::target_groups).unwrap_or_default();
        let weighed =
            |tuple: &TargetGroupTuple| Some((tuple.target_group_arn()?.to_owned(), tuple.weight().unwrap_or(1)));
        let alone = action.target_group_arn().filter(|_| tuples.is_empty()).map(|arn| (arn.to_owned(), 1));
        tuples.iter().filter_map(weighed).chain(alone)
    });
    forwards.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(actions: Vec<Action>) -> Described {
        Described::builder().port(80).protocol(ProtocolEnum::Http).set_default_actions(Some(actions)).build()
    }

    #[test]
    fn every_form_of_a_forward_action_reads_the_same() {
        for forwards in [Forwards::from([("a".into(), 1)]), Forwards::from([("a".into(), 1), ("b".into(), 0)])] {
            assert_eq!(super::forwards(&listener(vec![forward(&forwards)])), forwards);
        }
        assert_eq!(forwards(&listener(vec![])), Forwards::new());
    }

    #[test]
    fn a_target_group_is_known_with_any_weight() {
        let there = listener(vec![forward(&Forwards::from([("old".into(), 1), ("wanted".into(), 0)]))]);
        let known = |target_group: &str| {
            let listener = Listener { load_balancer: "lb".into(), target_group: target_group.into(), port: 80 };
            listener.settings(&there).target_group
        };
        assert_eq!([known("wanted"), known("absent")], ["wanted", "old"]);
    }
}
