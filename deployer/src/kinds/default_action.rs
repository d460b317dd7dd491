//! A listener's default action: the target groups that receive its requests, or the redirect to HTTPS.
//!
//! It is applied after the instances. Requests keep going to the previous targets until the new ones are healthy, so
//! that no request reaches a service that is still starting.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::listener::{Forwards, forward, forwards, redirect, redirect_of, to_https};
use crate::{
    cloud::{
        aws::{Aws, found},
        health::{self, Health},
        why::{self, Reports, report::End},
    },
    engine::{Fault, Live, Observed, Owner, Resource, Tags},
};

/// The age up to which a report of an exit counts. Instances write another one after each exit.
const RECENT_S: i64 = 60;

/// The default action of a listener.
#[derive(Debug, Clone)]
pub struct DefaultAction {
    /// The ARN of the listener.
    pub listener: String,
    /// The ARN of the target group that should receive the requests.
    pub target_group: String,
    /// The Auto Scaling group that registers its targets.
    pub group: String,
    /// The listener's action when it was read.
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
    /// The URL and the status of the redirect.
    pub redirect: Option<String>,
}

/// No outputs.
#[derive(Debug, Clone)]
pub struct Output {}

impl Settings {
    /// Sends every request to one target group.
    pub fn all_to(target_group: &str) -> Settings {
        Settings { forwards: Forwards::from([(target_group.into(), 1)]), redirect: None }
    }

    /// Redirects every request to HTTPS.
    pub fn to_https() -> Settings {
        Settings { forwards: Forwards::new(), redirect: redirect_of(&[to_https()]) }
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
        let settings =
            |listener| Observed::Present(live(Settings { forwards: forwards(listener), redirect: redirect(listener) }));
        Ok(listener.map_or(Observed::Absent, settings))
    }

    /// A listener is created with an action, usually the wanted one; if it differs, the next read finds it.
    async fn create(&self, _: &Aws, want: &Settings, _: &Tags) -> Result<Option<Live<Self>>, Fault> {
        Ok((self.seen == *want).then(|| live(self.seen.clone())))
    }

    async fn update(&self, aws: &Aws, want: &Settings, _: &Live<Self>) -> Result<(), Fault> {
        let targets = (self.target_group.as_str(), self.group.as_str());
        require_healthy(aws, targets, &self.service, "ModifyListener", self.wait).await?;
        let call = aws.elb.modify_listener().listener_arn(&self.listener);
        let action = if want.redirect.is_some() { to_https() } else { forward(&want.forwards) };
        call.default_actions(action).send().await?;
        Ok(())
    }

    /// Deleted together with its listener.
    async fn delete(&self, _: &Aws, _: &Live<Self>) -> Result<(), Fault> {
        Ok(())
    }

    /// It holds nothing that would have to be removed before its listener.
    fn is_bare(_: &Settings) -> bool {
        true
    }
}

/// Fails as long as the targets that a group registers are not healthy: the previous ones keep the requests until then.
/// `call` is the operation that waits for them.
pub async fn require_healthy(
    aws: &Aws,
    (target_group, group): (&str, &str),
    (service, reports): &(String, Reports),
    call: &str,
    wait: health::Wait,
) -> Result<(), Fault> {
    let health = health::look(aws, target_group, group).await?;
    if health.is_up() {
        return health.failure.map_or(Ok(()), Err);
    }
    let end = match wait {
        health::Wait::Within(_) => certain_end(aws, reports, &health).await,
        health::Wait::No => None,
    };
    let hopeless = end.map(|end| health::hopeless(service, &end));
    let waiting_for = health.waiting_for();
    Err(health.failure.or(hopeless).unwrap_or_else(|| not_yet(call, waiting_for, wait)))
}

/// The exit that an unhealthy instance repeats. Without permission to read the reports, the wait goes on.
async fn certain_end(aws: &Aws, reports: &Reports, health: &Health) -> Option<End> {
    let is_ill = |id: &str| health.is_ill(id) && health.targets.iter().any(|it| it.id == id && it.state == "unhealthy");
    if !health.targets.iter().any(|target| is_ill(&target.id)) {
        return None;
    }
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    let ends = why::certain_ends(aws, reports, now_s - RECENT_S).await.unwrap_or_default();
    ends.into_iter().find(|(id, _)| is_ill(id)).map(|(_, end)| end)
}

fn not_yet(call: &str, waiting_for: String, wait: health::Wait) -> Fault {
    let fault = |message| Fault::new(call, health::NOT_HEALTHY, message);
    match wait {
        health::Wait::Within(limit) => fault(waiting_for).within(limit),
        health::Wait::No => fault(format!("requests still go to the previous targets ({waiting_for})")).postponed(),
    }
}

fn live(settings: Settings) -> Live<DefaultAction> {
    Live { settings, output: Output {}, owner: Owner::Parent }
}
