//! A listener's default action: the target groups that receive its requests.
//!
//! It is applied after the instances. Requests keep going to the previous targets until the new ones are healthy, so
//! that nobody reaches a service that is still starting.

use serde::Serialize;

use super::listener::{Forwards, forward, forwards};
use crate::{
    cloud::{
        aws::{Aws, found},
        health,
    },
    engine::{Fault, Live, Observed, Owner, Resource, Tags},
};

/// A listener has one.
#[derive(Debug, Clone)]
pub struct DefaultAction {
    /// The ARN of the listener.
    pub listener: String,
    /// The ARN of the target group that should answer.
    pub target_group: String,
    /// The Auto Scaling group that fills it.
    pub group: String,
    /// The target groups to which the listener last forwarded.
    pub seen: Forwards,
    /// How long the targets may take to become healthy.
    pub wait: health::Wait,
}

/// What we choose.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The target groups, and each one's share of the requests.
    pub forwards: Forwards,
}

/// Nothing that others could use.
#[derive(Debug, Clone)]
pub struct Output {}

impl Settings {
    /// Every request goes to one target group.
    pub fn all_to(target_group: &str) -> Settings {
        Settings { forwards: Forwards::from([(target_group.into(), 1)]) }
    }
}

impl Resource for DefaultAction {
    const KIND: &'static str = "default_action";

    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.listener
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let answer = found(aws.elb.describe_listeners().listener_arns(&self.listener).send().await)?;
        let listener = answer.as_ref().and_then(|answer| answer.listeners().first());
        Ok(listener.map_or(Observed::Absent, |listener| Observed::Present(live(forwards(listener)))))
    }

    /// Every listener is made with an action, which most often is the wanted one; if not, the next look finds it.
    async fn create(&self, _: &Aws, want: &Settings, _: &Tags) -> Result<Option<Live<Self>>, Fault> {
        Ok((self.seen == want.forwards).then(|| live(self.seen.clone())))
    }

    async fn update(&self, aws: &Aws, want: &Settings, _: &Live<Self>) -> Result<(), Fault> {
        let health = health::look(aws, &self.target_group, &self.group).await?;
        if let Some(failure) = health.failure {
            return Err(failure);
        }
        if !health.is_up() {
            return Err(not_yet(health.waiting_for(), self.wait));
        }
        let call = aws.elb.modify_listener().listener_arn(&self.listener);
        call.default_actions(forward(&want.forwards)).send().await?;
        Ok(())
    }

    /// It goes with its listener.
    async fn delete(&self, _: &Aws, _: &Live<Self>) -> Result<(), Fault> {
        Ok(())
    }

    /// It holds nothing that would have to go before its listener.
    fn is_bare(_: &Settings) -> bool {
        true
    }
}

/// Until the new targets are healthy, the previous ones keep the requests.
fn not_yet(waiting_for: String, wait: health::Wait) -> Fault {
    let fault = |message| Fault::new("ModifyListener", health::NOT_HEALTHY, message);
    match wait {
        health::Wait::Within(limit) => fault(waiting_for).within(limit),
        health::Wait::No => fault(format!("requests still go to the previous targets ({waiting_for})")).postponed(),
    }
}

fn live(forwards: Forwards) -> Live<DefaultAction> {
    Live { settings: Settings { forwards }, output: Output {}, owner: Owner::Parent }
}
