//! Processes of groups, and their suspension.

use super::refuse;
use crate::Site;
use crate::state::State;
use kit::query::{Answer, ApiError, Params, Xml};

const PROCESSES: &[&str] = &[
    "Launch",
    "Terminate",
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "ReplaceUnhealthy",
    "ScheduledActions",
];

pub fn suspend(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let chosen = processes(params)?;
    state.group_mut(params.required("AutoScalingGroupName")?)?.suspended.extend(chosen);
    Ok(Xml::new())
}

pub fn resume(state: &mut State, _site: &Site, params: &Params) -> Answer {
    let chosen = processes(params)?;
    state.group_mut(params.required("AutoScalingGroupName")?)?.suspended.retain(|one| !chosen.contains(one));
    Ok(Xml::new())
}

fn processes(params: &Params) -> Result<Vec<String>, ApiError> {
    let named = params.texts("ScalingProcesses");
    if named.is_empty() {
        return Ok(PROCESSES.iter().map(|one| (*one).to_owned()).collect());
    }
    match named.iter().find(|one| !PROCESSES.contains(&one.as_str())) {
        Some(unknown) => Err(refuse(format!("{unknown} is not a scaling process"))),
        None => Ok(named),
    }
}
