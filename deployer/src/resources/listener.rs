//! A listener: the port at which a load balancer takes requests, and where it takes them to.

use aws_sdk_elasticloadbalancingv2::types::{Action, ActionTypeEnum, Listener as Described, ProtocolEnum};
use serde::Serialize;

use super::tags;
use crate::{
    aws::{Aws, found, gone},
    engine::{Fault, Live, Observed, Owner, Resource, STACK_TAG, Tags},
};

/// Known by its load balancer and its tags: the port may change.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The ARN of the load balancer.
    pub load_balancer: String,
}

/// What we choose.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// Where people come in.
    pub port: i32,
    /// What they speak.
    pub protocol: String,
    /// The ARN of the target group that answers them.
    pub target_group: String,
}

/// What AWS assigns.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its ARN.
    pub arn: String,
    /// Its port.
    pub port: i32,
}

impl Settings {
    /// Passes HTTP on to a target group.
    pub fn http(port: u16, target_group: String) -> Settings {
        Settings { port: port.into(), protocol: "HTTP".into(), target_group }
    }
}

impl Resource for Listener {
    const KIND: &'static str = "listener";

    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.load_balancer
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let call = aws.elb.describe_listeners().load_balancer_arn(&self.load_balancer);
        let all = call.into_paginator().items().send().try_collect().await;
        let Some(all) = found(all)? else { return Ok(Observed::Absent) };
        let listeners: Vec<(&str, &Described)> =
            all.iter().filter_map(|listener| Some((listener.listener_arn()?, listener))).collect();
        if listeners.is_empty() {
            return Ok(Observed::Absent);
        }
        let arns = listeners.iter().map(|(arn, _)| (*arn).to_owned()).collect();
        let mut tags = tags::of_arns(aws, arns).await?;
        let is_tagged = |arn: &str| tags.get(arn).is_some_and(|tags| tags.contains_key(STACK_TAG));
        // Somebody may have added one by hand, for a certificate perhaps: ours is the one with our tags.
        let ours = listeners.iter().find(|(arn, _)| is_tagged(arn)).or(listeners.first()).copied();
        Ok(ours.map_or(Observed::Absent, |(arn, listener)| {
            Observed::Present(Live {
                settings: settings(listener),
                output: Output { arn: arn.into(), port: listener.port().unwrap_or_default() },
                owner: Owner::Tags(tags.remove(arn).unwrap_or_default()),
            })
        }))
    }

    async fn create(&self, aws: &Aws, want: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        let answer = aws
            .elb
            .create_listener()
            .load_balancer_arn(&self.load_balancer)
            .port(want.port)
            .protocol(ProtocolEnum::from(want.protocol.as_str()))
            .default_actions(forward(&want.target_group))
            .set_tags(Some(tags::to_elb(tags)))
            .send()
            .await?;
        let arn = answer.listeners().first().and_then(Described::listener_arn).unwrap_or_default().into();
        Ok(Some(Live {
            settings: want.clone(),
            output: Output { arn, port: want.port },
            owner: Owner::Tags(tags.clone()),
        }))
    }

    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        aws.elb
            .modify_listener()
            .listener_arn(&live.output.arn)
            .port(want.port)
            .protocol(ProtocolEnum::from(want.protocol.as_str()))
            .default_actions(forward(&want.target_group))
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

fn forward(target_group: &str) -> Action {
    Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(target_group).build()
}

/// AWS answers the one target group of an action in two places, and promises neither.
fn settings(listener: &Described) -> Settings {
    let target_group = listener.default_actions().iter().find_map(|action| {
        let first = || action.forward_config()?.target_groups().first()?.target_group_arn();
        action.target_group_arn().or_else(first)
    });
    Settings {
        port: listener.port().unwrap_or_default(),
        protocol: listener.protocol().map(|protocol| protocol.as_str().to_owned()).unwrap_or_default(),
        target_group: target_group.unwrap_or_default().into(),
    }
}
