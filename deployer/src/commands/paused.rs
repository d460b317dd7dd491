//! Services that are paused, or that AWS ends at a set time, and the consequences for a plan.

use std::collections::BTreeSet;

use anyhow::anyhow;

use crate::{
    engine::{Address, Plan, Planned, Resource as _, Step},
    kinds::{
        alias::Alias,
        auto_scaling_group::{AutoScalingGroup, Downtime, UNSCHEDULED},
        default_action::DefaultAction,
        listener::Listener,
        load_balancer::LoadBalancer,
        rule::ListenerRule,
        rule_action::RuleAction,
    },
    output::exit::{Exit, Failure},
    page::{Front, Page},
};

/// Which differences count as intended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intended {
    /// The differences that a pause makes.
    Pause,
    /// The differences that a pause or `up --for` makes.
    PauseAndEnd,
}

/// The services that the plan has read and that are off or will be.
pub fn off_or_ending<'a>(page: &'a Page, plan: &Plan) -> Vec<(&'a Front, Downtime)> {
    let downtime = |front: &'a Front| Some((front, plan.outputs().get(front.group)?.downtime));
    let is_affected = |(_, downtime): &(&Front, Downtime)| downtime.paused.is_some() || downtime.ends.is_some();
    page.services.iter().filter_map(downtime).filter(is_affected).collect()
}

/// The time of the first pause of the services that the plan has read.
pub fn paused_since(page: &Page, plan: &Plan) -> Option<String> {
    off_or_ending(page, plan).into_iter().filter_map(|(_, downtime)| downtime.paused).min()
}

/// The services that have ended, each with the time.
pub fn ended(page: &Page, plan: &Plan) -> Vec<(String, String)> {
    let ended = off_or_ending(page, plan).into_iter().filter(|(_, downtime)| downtime.has_ended());
    ended.filter_map(|(front, downtime)| Some((front.name.clone(), downtime.ends?))).collect()
}

/// The error of a command that needs a running stack.
pub fn refuse_paused(since: &str, local: &str) -> Failure {
    Failure::new(Exit::Failed, anyhow!("the stack is paused since {since}"))
        .hint(format!("`deployer resume{local}` brings it back as stack.yaml describes it"))
        .without_change()
}

/// Turns the steps that a pause explains into steps that leave the resource as it is.
pub fn leave(plan: &mut Plan, page: &Page, intended: Intended) {
    let affected = off_or_ending(page, plan);
    let mut left = BTreeSet::new();
    for line in &mut plan.lines {
        let of_it = affected.iter().find(|(front, _)| line.address.section == format!("services.{}", front.name));
        let why = match of_it {
            Some((_, Downtime { paused: Some(since), .. })) => leave_paused(line, since, &left),
            Some((_, downtime)) if intended == Intended::PauseAndEnd => leave_ended(line, downtime),
            _ => None,
        };
        // These wait for the address of a paused service.
        let why = why.or_else(|| waits_for(line, &left).then(|| "until the stack is resumed".to_owned()));
        if let Some(why) = why {
            left.insert(line.address.clone());
            line.step = Step::Leave(why);
        }
    }
}

/// Returns why a pause explains the step of one of the service's resources.
fn leave_paused(line: &mut Planned, since: &str, left: &BTreeSet<Address>) -> Option<String> {
    let waits = waits_for(line, left);
    match (line.address.kind, &mut line.step) {
        (
            LoadBalancer::KIND
            | Listener::KIND
            | DefaultAction::KIND
            | ListenerRule::KIND
            | RuleAction::KIND
            | Alias::KIND,
            Step::Create | Step::Pending(_),
        ) => Some("absent while the stack is paused".into()),
        (AutoScalingGroup::KIND, Step::Update(changes)) => {
            changes.retain(|change| !["min", "max", "paused", "ends"].contains(&change.path.as_str()));
            changes.is_empty().then(|| format!("paused since {since}"))
        }
        (AutoScalingGroup::KIND, _) if waits => Some(format!("paused since {since}")),
        _ => None,
    }
}

/// Why the end of the service explains the step of its group. A time that is not scheduled is a difference.
fn leave_ended(line: &mut Planned, downtime: &Downtime) -> Option<String> {
    let (AutoScalingGroup::KIND, Step::Update(changes)) = (line.address.kind, &mut line.step) else { return None };
    changes.retain(|change| match change.path.as_str() {
        "ends" => change.from.as_ref().and_then(|from| from.open()) == Some(UNSCHEDULED),
        "min" | "max" => !downtime.has_ended(),
        _ => true,
    });
    let verb = if downtime.has_ended() { "ended at" } else { "ends at" };
    changes.is_empty().then(|| format!("{verb} {}", downtime.ends.as_deref().unwrap_or_default()))
}

/// Whether a step waits only for resources that are left as they are.
fn waits_for(line: &Planned, left: &BTreeSet<Address>) -> bool {
    matches!(&line.step, Step::Pending(on) if !on.is_empty() && on.iter().all(|address| left.contains(address)))
}
