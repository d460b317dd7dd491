//! Causes in the health check.

use crate::cloud::why::evidence::Evidence;

pub(super) fn another_port(it: &Evidence) -> Option<String> {
    let refused = it.target(&["Target.FailedHealthChecks", "Target.Timeout"]).is_some();
    (it.answered() == Some(0) && it.has_begun() && (refused || it.last_replaced().is_some()))
        .then(|| format!("the service runs, but did not listen on port {} within two minutes", it.port))
}

pub(super) fn wrong_path(it: &Evidence) -> Option<String> {
    let codes = it.statuses().filter(|codes| codes.starts_with(['3', '4']))?;
    Some(format!("the service answers its health check, {}, with {codes}", it.path))
}

pub(super) fn health_error(it: &Evidence) -> Option<String> {
    let codes = it.statuses()?;
    Some(format!("the service answers its health check, {}, with {codes}", it.path))
}

/// A release whose instances have answered requests from their own machine, and were replaced anyway.
pub(super) fn health_failed(it: &Evidence) -> Option<String> {
    it.last_replaced().filter(|_| it.answered().is_some_and(|status| status > 0))?;
    Some(format!("the service runs, but fails its health check, {}, so the group replaces its instances", it.path))
}

pub(super) fn slow_start(it: &Evidence) -> Option<String> {
    it.last_replaced()?;
    Some(format!("it does not become healthy within {} s, after which the group replaces its instances", it.grace_s))
}

pub(super) fn no_answer(it: &Evidence) -> Option<String> {
    it.target(&["Target.Timeout", "Target.FailedHealthChecks"])
        .map(|target| format!("its health check, {}, gets no response: {}", it.path, target.description))
}

pub(super) fn stopped(it: &Evidence) -> Option<String> {
    let target = it.target(&["Target.InvalidState"])?;
    let reason = it.instances.iter().find(|it| it.id == target.id).map(|it| it.reason.as_str()).unwrap_or_default();
    Some(format!("instance {} was stopped or terminated: {reason}", target.id))
}

pub(super) fn starting(it: &Evidence) -> Option<String> {
    let is_begun =
        it.targets.iter().any(|it| it.state == "initial") || it.instances.iter().any(|it| it.state == "pending");
    is_begun.then(|| "it is starting".into())
}
