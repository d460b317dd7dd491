//! Scaling activities: the actions of a group, with their causes (docs/aws.md §10.4).

use crate::Site;
use crate::clock::Moment;
use crate::state::{Activity, AutoScalingGroup, Instance, State};
use kit::query::{Answer, Params, Xml, page};
use uuid::Uuid;

/// The maximum number of activities to keep. AWS keeps them for six weeks instead.
const KEPT: usize = 1000;

/// The kind of an activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivityKind {
    Launch,
    Terminate,
}

/// Records the beginning of a launch or termination.
pub fn begin(state: &mut State, group: &AutoScalingGroup, kind: ActivityKind, instance: &Instance, cause: String) {
    let (description, status) = match kind {
        ActivityKind::Launch => (format!("Launching a new EC2 instance: {}", instance.id), "PreInService"),
        ActivityKind::Terminate => (format!("Terminating EC2 instance: {}", instance.id), "InProgress"),
    };
    let activity = Activity {
        description,
        status: status.to_owned(),
        instance: Some(instance.id.clone()),
        zone: Some(instance.zone.clone()),
        ..empty(group, cause)
    };
    push(state, activity);
}

/// Records a failed launch, with its zone if the failure was specific to that zone.
pub fn failed_launch(state: &mut State, group: &AutoScalingGroup, cause: String, zone: Option<String>, message: &str) {
    let message = format!("{}. Launching EC2 instance failed.", message.trim_end_matches('.'));
    let activity = Activity {
        description: format!("Launching a new EC2 instance.  Status Reason: {message}"),
        status: "Failed".to_owned(),
        message: Some(message),
        ended: Some(Moment::now()),
        zone,
        ..empty(group, cause)
    };
    push(state, activity);
}

fn empty(group: &AutoScalingGroup, cause: String) -> Activity {
    Activity {
        id: Uuid::new_v4().to_string(),
        group: group.name.clone(),
        group_arn: group.arn.clone(),
        group_deleted: false,
        description: String::new(),
        cause,
        started: Moment::now(),
        ended: None,
        status: String::new(),
        message: None,
        instance: None,
        zone: None,
    }
}

fn push(state: &mut State, activity: Activity) {
    state.activities.push(activity);
    let surplus = state.activities.len().saturating_sub(KEPT);
    state.activities.drain(..surplus);
}

/// Records the end of an instance's launch or termination.
pub fn finish(state: &mut State, kind: ActivityKind, instance: &str) {
    let word = match kind {
        ActivityKind::Launch => "Launching",
        ActivityKind::Terminate => "Terminating",
    };
    let ours = |activity: &&mut Activity| {
        activity.ended.is_none()
            && activity.instance.as_deref() == Some(instance)
            && activity.description.starts_with(word)
    };
    for activity in state.activities.iter_mut().filter(ours) {
        activity.ended = Some(Moment::now());
        activity.status = "Successful".to_owned();
    }
}

pub fn describe(state: &State, _site: &Site, params: &Params) -> Answer {
    let name = params.text("AutoScalingGroupName");
    let deleted_too = params.flag("IncludeDeletedGroups")?;
    if let (Some(name), false) = (name, deleted_too) {
        state.group(name)?;
    }
    let ids = params.texts("ActivityIds");
    let chosen = |one: &&Activity| {
        name.is_none_or(|name| one.group == name)
            && (deleted_too || !one.group_deleted)
            && (ids.is_empty() || ids.contains(&one.id))
    };
    let newest_first: Vec<&Activity> = state.activities.iter().rev().filter(chosen).collect();
    let (shown, next) = page(&newest_first, params, 100)?;
    let mut xml = Xml::new();
    xml.members("Activities", shown, |xml, one| write(xml, one));
    xml.maybe("NextToken", next);
    Ok(xml)
}

/// Writes one activity.
pub fn write(xml: &mut Xml, one: &Activity) {
    xml.text("ActivityId", &one.id)
        .text("AutoScalingGroupName", &one.group)
        .text("AutoScalingGroupARN", &one.group_arn);
    xml.text("Description", &one.description).text("Cause", &one.cause);
    xml.text("StartTime", one.started).maybe("EndTime", one.ended);
    xml.text("StatusCode", &one.status).maybe("StatusMessage", one.message.as_ref());
    xml.text("Progress", if one.ended.is_some() { 100 } else { 50 });
    if let Some(zone) = &one.zone {
        xml.text("Details", format!("{{\"Availability Zone\":\"{zone}\"}}"));
    }
    if one.group_deleted {
        xml.text("AutoScalingGroupState", "Deleted");
    }
}
