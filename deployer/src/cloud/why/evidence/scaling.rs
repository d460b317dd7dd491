//! The Auto Scaling group of a service: its members, launches and roll-outs.

use aws_sdk_autoscaling::types::ScalingActivityStatusCode as Status;

use super::ServiceNames;
use super::instance::instance_of;
use crate::cloud::why::report::End;
use crate::{
    cloud::{
        aws::{Aws, found},
        health,
    },
    engine::Fault,
    kinds::auto_scaling_group::{self, Downtime, downtime, tags_of},
};

/// A roll-out, as AWS reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RollOut {
    /// The release that it brings: a version of the launch template.
    pub release: String,
    /// When it began, in seconds since 1970.
    pub begun_s: i64,
    /// When this run gave it up, in seconds since 1970.
    pub undone_s: Option<i64>,
    /// Its progress.
    pub stage: Stage,
    /// Why it was rolled back, according to AWS, if known.
    pub why: Option<String>,
    /// Whether an alarm is the reason.
    pub is_alarmed: bool,
    /// The last exit of the service in the release, if it was rolled back.
    pub end: Option<End>,
}

/// The progress of a roll-out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stage {
    /// It is rolling out its release.
    Forward,
    /// It is rolled back, or has been.
    Back,
    /// It has ended in any other way.
    #[default]
    Over,
}

/// An Auto Scaling group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// Suspended processes.
    pub suspended: Vec<String>,
    /// The ARNs of its target groups.
    pub target_groups: Vec<String>,
    /// The minimum size.
    pub min: i32,
    /// The reason why it is empty on purpose, or the time from which it will be.
    pub downtime: Downtime,
    /// The version of the launch template that new instances start from, as a number.
    pub release: Option<String>,
    /// Its instances, as the group sees them.
    pub members: Vec<Member>,
}

/// An instance, as its group sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// `i-…`.
    pub id: String,
    /// Its Availability Zone.
    pub zone: String,
    /// `Pending`, `InService`, `Terminating`, …
    pub lifecycle: String,
    /// The version of the launch template that it was started from.
    pub release: Option<String>,
}

/// One of the group's activities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Launch {
    /// The error, if it failed.
    pub failure: Option<String>,
    /// Its cause, as AWS words it.
    pub cause: String,
    /// The instance that it launches or terminates; empty if there is none.
    pub instance: String,
    /// Whether it terminates the instance.
    pub ends: bool,
    /// When it began, in seconds since 1970.
    pub at_s: i64,
}

impl Launch {
    /// Whether the load balancer has found the instance unhealthy after its grace period.
    pub fn is_replacement(&self) -> bool {
        self.cause.contains("ELB system health check failure")
    }
}

/// The resources of the current release: the one that is being rolled out, or else that of the group.
pub(super) struct Current<'a> {
    pub(super) group: Option<&'a Group>,
    pub(super) roll_out: Option<&'a RollOut>,
}

impl Current<'_> {
    /// Whether this instance does.
    pub(super) fn has(&self, id: &str, launched_s: i64) -> bool {
        let Some(roll_out) = self.roll_out else { return true };
        let wanted = match roll_out.stage {
            Stage::Back => return !roll_out.launched(launched_s),
            Stage::Forward => Some(roll_out.release.as_str()),
            Stage::Over => self.group.and_then(|group| group.release.as_deref()),
        };
        let members = self.group.map(|group| group.members.as_slice()).unwrap_or_default();
        let member = members.iter().find(|member| member.id == id);
        // Instances that had the version already are kept. Of those that have left, only the time is known.
        match (member.and_then(|member| member.release.as_deref()), wanted) {
            (Some(release), Some(wanted)) if wanted.parse::<u64>().is_ok() => release == wanted,
            _ => launched_s >= roll_out.begun_s,
        }
    }
}

impl RollOut {
    /// Whether it launched what was launched at this time.
    pub(super) fn launched(&self, at_s: i64) -> bool {
        at_s >= self.begun_s && self.undone_s.is_none_or(|undone_s| at_s < undone_s)
    }
}

pub(in crate::cloud) async fn group(aws: &Aws, names: &ServiceNames) -> Result<Option<Group>, Fault> {
    let found = health::describe(aws, &names.group).await?;
    Ok(found.map(|group| Group {
        suspended: group.suspended_processes().iter().filter_map(|it| it.process_name().map(str::to_owned)).collect(),
        target_groups: group.target_group_arns().to_vec(),
        min: group.min_size().unwrap_or_default(),
        downtime: downtime(tags_of(&group), group.max_size()),
        release: group.launch_template().and_then(|it| it.version()).map(str::to_owned),
        members: group.instances().iter().map(member).collect(),
    }))
}

/// The newest roll-out.
pub(super) async fn roll_out(aws: &Aws, names: &ServiceNames) -> Result<Option<RollOut>, Fault> {
    let call = aws.autoscaling.describe_instance_refreshes().auto_scaling_group_name(&names.group).max_records(1);
    let Some(answer) = found(call.send().await)? else { return Ok(None) };
    Ok(answer.instance_refreshes().first().map(|refresh| {
        let desired = refresh.desired_configuration().and_then(|desired| desired.launch_template());
        let undone = refresh.rollback_details().and_then(|details| details.rollback_start_time());
        let stage = match (refresh.status(), auto_scaling_group::in_progress(refresh)) {
            (_, Some((_, true))) => Stage::Forward,
            (Some(status), _) if auto_scaling_group::is_undone(status) => Stage::Back,
            _ => Stage::Over,
        };
        RollOut {
            release: desired.and_then(|template| template.version()).unwrap_or_default().to_owned(),
            begun_s: refresh.start_time().map_or(0, |at| at.secs()),
            undone_s: undone.or(refresh.end_time()).map(|at| at.secs()),
            stage,
            why: auto_scaling_group::undone(refresh),
            is_alarmed: auto_scaling_group::alarmed(refresh).is_some(),
            end: None,
        }
    }))
}

fn member(it: &aws_sdk_autoscaling::types::Instance) -> Member {
    Member {
        id: it.instance_id().unwrap_or_default().into(),
        zone: it.availability_zone().unwrap_or_default().into(),
        lifecycle: it.lifecycle_state().map(|state| state.as_str().to_owned()).unwrap_or_default(),
        release: it.launch_template().and_then(|it| it.version()).map(str::to_owned),
    }
}

pub(in crate::cloud) async fn launches(aws: &Aws, names: &ServiceNames) -> Result<Vec<Launch>, Fault> {
    let activities = found(health::activities(aws, &names.group).await)?.unwrap_or_default();
    Ok(activities
        .iter()
        .map(|activity| Launch {
            failure: activity
                .status_message()
                .filter(|_| activity.status_code() == Some(&Status::Failed))
                .map(str::to_owned),
            cause: activity.cause().unwrap_or_default().into(),
            instance: instance_of(activity.description().unwrap_or_default()).into(),
            ends: activity.description().is_some_and(|text| text.starts_with("Terminating")),
            at_s: activity.start_time().map_or(0, |at| at.secs()),
        })
        .collect())
}
