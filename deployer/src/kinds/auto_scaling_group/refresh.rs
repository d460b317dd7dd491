//! Instance refreshes: their targets, progress and reasons.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_autoscaling::types::{
    AlarmSpecification, InstanceRefresh, InstanceRefreshStatus as Status, RefreshPreferences,
};

use super::{Template, template};
use crate::kinds::alarm;

/// The alarms of a refresh.
fn alarms(refresh: &InstanceRefresh) -> &[String] {
    let specification = refresh.preferences().and_then(RefreshPreferences::alarm_specification);
    specification.map(AlarmSpecification::alarms).unwrap_or_default()
}

/// Returns why AWS rolls a refresh back, or has rolled it back, if one of its alarms is the cause. The reason names it
/// (docs/aws.md §10.5).
pub fn alarmed(refresh: &InstanceRefresh) -> Option<String> {
    let reason = reasons(refresh).filter(|_| refresh.status().is_some_and(is_undone))?;
    let named = alarms(refresh).iter().find(|name| reason.contains(name.as_str()));
    let any = || alarms(refresh).first().filter(|_| reason.to_lowercase().contains("cloudwatch alarm"));
    let name = named.or_else(any)?;
    let meaning = alarm::meaning(name).unwrap_or("an alarm went off");
    Some(format!("{meaning} (alarm {name})"))
}

/// Whether a refresh has failed, and is rolled back if it can be.
pub fn is_undone(status: &Status) -> bool {
    matches!(status, Status::RollbackInProgress | Status::RollbackSuccessful | Status::RollbackFailed | Status::Failed)
}

/// Returns why a refresh is rolled back, or has been.
pub fn undone(refresh: &InstanceRefresh) -> Option<String> {
    let reason = || reasons(refresh).filter(|_| refresh.status().is_some_and(is_undone));
    alarmed(refresh).or_else(|| reason().map(str::to_owned))
}

/// The version that a refresh brings.
pub(super) fn target(refresh: &InstanceRefresh) -> Option<Template> {
    refresh.desired_configuration().and_then(|desired| desired.launch_template()).map(template)
}

/// The version of a refresh that has not ended, and whether it is being rolled out rather than rolled back.
pub fn in_progress(refresh: &InstanceRefresh) -> Option<(Template, bool)> {
    let is_forward = match refresh.status()? {
        Status::Pending | Status::InProgress | Status::Baking => true,
        Status::Cancelling | Status::RollbackInProgress => false,
        _ => return None,
    };
    Some((target(refresh)?, is_forward))
}

pub(super) fn progress(refresh: &InstanceRefresh) -> String {
    if refresh.status() == Some(&Status::Baking) {
        return "rolled out; AWS is watching the responses".into();
    }
    let percent = refresh.percentage_complete().unwrap_or_default();
    match refresh.instances_to_update() {
        Some(left) if left > 0 => format!("rolling out: {percent} %, {left} to be replaced"),
        _ => format!("rolling out: {percent} %"),
    }
}

pub(super) fn reason(refresh: &InstanceRefresh) -> &str {
    reasons(refresh).unwrap_or("AWS gives no reason")
}

/// The reason of the rollback, or else that of the state.
fn reasons(refresh: &InstanceRefresh) -> Option<&str> {
    refresh.rollback_details().and_then(|details| details.rollback_reason()).or(refresh.status_reason())
}

/// Compares whole seconds, the precision of AWS's timestamps: a refresh that ended in the second in which the run began
/// counts as earlier.
pub(super) fn has_ended_since(refresh: &InstanceRefresh, began: SystemTime) -> bool {
    let began = began.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let ended = refresh.end_time().and_then(|ended| u64::try_from(ended.secs()).ok());
    ended.is_none_or(|ended| ended > began)
}
