//! Listeners: the public ports of a load balancer, and the target groups that they forward to.
//!
//! The default action, applied after the instances, decides which of them receive requests.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, Certificate, ForwardActionConfig, Listener as Described, ProtocolEnum,
    RedirectActionConfig, RedirectActionStatusCodeEnum, TargetGroupTuple,
};
use serde::Serialize;

use super::tags;
use crate::{
    cloud::aws::{Aws, found, gone, items},
    config::HTTPS_PORT,
    engine::{Fault, Live, Observed, Owner, RESOURCE_TAG, Resource, STACK_TAG, Tags},
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
    /// Which of the listeners of the load balancer it is.
    pub part: ListenerPart,
    /// The address of the listener for HTTPS, which its tag contains.
    pub https: String,
}

/// The part of a listener beside the other one of its load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerPart {
    /// The only listener: one for HTTPS is no longer wanted.
    Alone,
    /// The plain HTTP listener of a load balancer that also has one for HTTPS, to which its default action may
    /// redirect.
    Http,
    /// The HTTPS listener.
    Https,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The public port.
    pub port: i32,
    /// The protocol: `HTTP` or `HTTPS`.
    pub protocol: String,
    /// The ARN of a target group that it forwards to, with any weight: only targets of such a group ever become healthy
    /// (docs/aws.md §11.1).
    pub target_group: String,
    /// The ARN of the certificate.
    pub certificate: Option<String>,
    /// Which versions and ciphers of TLS it accepts.
    pub tls_policy: Option<String>,
    /// The ports of our other listeners that are no longer wanted.
    pub superfluous: BTreeSet<i32>,
}

/// TLS 1.2 and 1.3 with forward secrecy, and post-quantum key exchange: the policy that AWS recommends (docs/aws.md §9.5).
const TLS_POLICY: &str = "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09";

/// Outputs for other resources.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its ARN.
    pub arn: String,
    /// Its port.
    pub port: i32,
    /// The target groups that it forwards to.
    pub forwards: Forwards,
    /// The target of its redirect.
    pub redirect: Option<String>,
    /// The port at which clients reach it.
    pub front: u16,
    /// The ARNs of our other listeners, by port.
    others: BTreeMap<i32, String>,
}

/// Target group ARNs with their weights, 0 to 999.
pub type Forwards = BTreeMap<String, i32>;

impl Settings {
    /// Forwards HTTP to a target group.
    pub fn http(port: u16, target_group: String) -> Settings {
        Settings {
            port: port.into(),
            protocol: "HTTP".into(),
            target_group,
            certificate: None,
            tls_policy: None,
            superfluous: BTreeSet::new(),
        }
    }

    /// Forwards HTTPS to a target group.
    pub fn https(target_group: String, certificate: String) -> Settings {
        Settings {
            protocol: "HTTPS".into(),
            certificate: Some(certificate),
            tls_policy: Some(TLS_POLICY.into()),
            ..Settings::http(HTTPS_PORT, target_group)
        }
    }

    fn certificates(&self) -> Option<Vec<Certificate>> {
        let certificate = |arn: &String| Certificate::builder().certificate_arn(arn).build();
        self.certificate.as_ref().map(|arn| vec![certificate(arn)])
    }
}

impl Resource for Listener {
    const KIND: &'static str = "listener";
    const SOURCES: &'static [(&'static str, &'static str)] =
        &[("port", "load_balancer.port"), ("certificate", "certificate")];

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
        let is_https = |arn: &str| tags.get(arn).and_then(|tags| tags.get(RESOURCE_TAG)) == Some(&self.https);
        let is_of_part = |arn: &str| is_https(arn) == (self.part == ListenerPart::Https);
        // Other listeners may have been added by hand, for a certificate perhaps: ours is the one with our tags, and
        // any other on its port is a conflict.
        let in_place = || listeners.iter().find(|(_, listener)| listener.port() == Some(self.port));
        let ours = listeners.iter().find(|(arn, _)| is_tagged(arn) && is_of_part(arn)).or_else(in_place).copied();
        let others = listeners.iter().filter(|(arn, _)| is_tagged(arn) && !is_of_part(arn));
        let others: BTreeMap<i32, String> =
            others.map(|(arn, listener)| (listener.port().unwrap_or_default(), (*arn).to_owned())).collect();
        let front = self.front(aws, ours.and_then(|(_, listener)| listener.port())).await;
        Ok(ours.map_or(Observed::Absent, |(arn, listener)| {
            Observed::Present(Live {
                settings: self.settings(listener, &others),
                output: Output {
                    arn: arn.into(),
                    port: listener.port().unwrap_or_default(),
                    forwards: forwards(listener),
                    redirect: redirect(listener),
                    front,
                    others,
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
            .set_certificates(want.certificates())
            .set_ssl_policy(want.tls_policy.clone())
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
            output: Output {
                arn: arn.into(),
                port: want.port,
                forwards: only,
                redirect: None,
                front: self.front(aws, Some(want.port)).await,
                others: BTreeMap::new(),
            },
            owner: Owner::Tags(tags.clone()),
        }))
    }

    /// A new target group gets health checks but no requests yet, so that its targets can become healthy. A redirect is
    /// kept if it may stay.
    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let Live { settings: there, output, .. } = live;
        let mut forwards = output.forwards.clone();
        let weight = if forwards.is_empty() { 1 } else { 0 };
        forwards.entry(want.target_group.clone()).or_insert(weight);
        let keeps_redirect = output.redirect.is_some() && want.target_group == there.target_group;
        let superfluous = there.superfluous.clone();
        if (Settings { superfluous, ..want.clone() }) != *there {
            aws.elb
                .modify_listener()
                .listener_arn(&output.arn)
                .port(want.port)
                .protocol(ProtocolEnum::from(want.protocol.as_str()))
                .set_certificates(want.certificates())
                .set_ssl_policy(want.tls_policy.clone())
                .set_default_actions((!keeps_redirect).then(|| vec![forward(&forwards)]))
                .send()
                .await?;
        }
        // Only now, since this listener redirected to them.
        for port in there.superfluous.difference(&want.superfluous) {
            if let Some(arn) = output.others.get(port) {
                gone(aws.elb.delete_listener().listener_arn(arn).send().await)?;
            }
        }
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
    /// The port at which clients reach it. Only HTTPS addresses use it.
    async fn front(&self, aws: &Aws, port: Option<i32>) -> u16 {
        let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(HTTPS_PORT);
        // …:loadbalancer/app/NAME/ID
        let name = self.load_balancer.rsplit('/').nth(1).unwrap_or_default();
        match self.part {
            ListenerPart::Https => aws.front_port(name, port).await,
            ListenerPart::Alone | ListenerPart::Http => port,
        }
    }

    fn settings(&self, listener: &Described, others: &BTreeMap<i32, String>) -> Settings {
        let forwards = forwards(listener);
        let known = forwards.get_key_value(&self.target_group).or_else(|| forwards.first_key_value());
        let known = known.map(|(arn, _)| arn.clone());
        // The default action decides whether it redirects.
        let redirects = self.part == ListenerPart::Http && redirect(listener).is_some();
        // moto shows a policy of every listener (docs/aws.md §17).
        let secured = Some(listener).filter(|it| it.protocol() == Some(&ProtocolEnum::Https));
        let certificate = secured.and_then(|it| it.certificates().first()?.certificate_arn());
        Settings {
            port: listener.port().unwrap_or_default(),
            protocol: listener.protocol().map(|protocol| protocol.as_str().to_owned()).unwrap_or_default(),
            target_group: known.or_else(|| redirects.then(|| self.target_group.clone())).unwrap_or_default(),
            certificate: certificate.map(str::to_owned),
            tls_policy: secured.and_then(|it| it.ssl_policy()).map(str::to_owned),
            superfluous: others.keys().copied().filter(|_| self.part == ListenerPart::Alone).collect(),
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

/// The redirect of plain HTTP to HTTPS: the same host, path and query.
pub fn to_https() -> Action {
    let config = RedirectActionConfig::builder()
        .protocol("HTTPS")
        .port(HTTPS_PORT.to_string())
        .status_code(RedirectActionStatusCodeEnum::Http301);
    Action::builder().r#type(ActionTypeEnum::Redirect).redirect_config(config.build()).build()
}

/// The redirect of a listener: the URL, and the status.
pub fn redirect(listener: &Described) -> Option<String> {
    redirect_of(listener.default_actions())
}

/// Returns the redirect of these actions. Omitted parts stay as in the request (docs/aws.md §9.5).
pub fn redirect_of(actions: &[Action]) -> Option<String> {
    let config = actions.iter().find_map(Action::redirect_config)?;
    let or = |value: Option<&str>, kept: &str| value.unwrap_or(kept).to_owned();
    let (protocol, host) = (or(config.protocol(), "#{protocol}"), or(config.host(), "#{host}"));
    let (port, path) = (or(config.port(), "#{port}"), or(config.path(), "/#{path}"));
    let query = or(config.query(), "#{query}");
    let status = config.status_code().map(|code| code.as_str()).unwrap_or_default();
    Some(format!("{protocol}://{host}:{port}{path}?{query} {status}"))
}

/// Reads the target groups of a listener. AWS returns the only target group of an action in either of two fields, and
/// guarantees neither.
pub fn forwards(listener: &Described) -> Forwards {
    forwards_of(listener.default_actions())
}

/// Reads the target groups of actions.
pub fn forwards_of(actions: &[Action]) -> Forwards {
    let forwards = actions.iter().flat_map(|action| {
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
            named(target_group, ListenerPart::Alone).settings(&there, &BTreeMap::new()).target_group
        };
        assert_eq!([known("wanted"), known("absent")], ["wanted", "old"]);
    }

    fn named(target_group: &str, part: ListenerPart) -> Listener {
        let (load_balancer, https) = ("lb".into(), "listener.web-https".into());
        Listener { load_balancer, target_group: target_group.into(), port: 80, part, https }
    }

    #[test]
    fn a_redirect_may_stay_beside_a_listener_for_https_alone() {
        let (there, others) = (listener(vec![to_https()]), BTreeMap::from([(443, "arn".to_owned())]));
        let beside = named("wanted", ListenerPart::Http).settings(&there, &others);
        assert_eq!((beside.target_group.as_str(), beside.superfluous.len()), ("wanted", 0));
        let alone = named("wanted", ListenerPart::Alone).settings(&there, &others);
        assert_eq!((alone.target_group.as_str(), alone.superfluous), ("", BTreeSet::from([443])));
    }

    #[test]
    fn a_redirect_reads_the_same_with_and_without_what_it_keeps() {
        let config = RedirectActionConfig::builder().protocol("HTTPS").port("443").host("#{host}").path("/#{path}");
        let config = config.query("#{query}").status_code(RedirectActionStatusCodeEnum::Http301).build();
        let full = Action::builder().r#type(ActionTypeEnum::Redirect).redirect_config(config).build();
        assert_eq!(redirect_of(&[full]), redirect_of(&[to_https()]));
        assert_eq!(redirect(&listener(vec![forward(&Forwards::from([("a".into(), 1)]))])), None);
    }
}
