//! The downtime of a group: the tags that record it, and the scheduled action that begins it.

use aws_sdk_autoscaling::types::ScheduledUpdateGroupAction;
use aws_smithy_types::{DateTime, date_time::Format};

use super::{AutoScalingGroup, Settings};
use crate::{
    cloud::aws::{Aws, found, gone},
    engine::{Fault, Tags},
    kinds::tags,
    output::utc::timestamp,
};

/// The reason why a group is empty on purpose, or the time from which it will be, according to its tags and its size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Downtime {
    /// When it was paused.
    pub paused: Option<String>,
    /// When a scheduled action sets its size to 0, or did so.
    pub ends: Option<String>,
    /// Whether its maximum size is 0.
    pub is_empty: bool,
}

/// The tag with the time at which a group was paused.
pub const PAUSED_TAG: &str = "deployer:paused";
/// The tag with the time of the scheduled action. AWS deletes the action when it has run, and the tag stays.
pub const ENDS_TAG: &str = "deployer:ends";
/// The name of the scheduled action that sets the size to 0.
pub const ENDS: &str = "deployer-ends";
/// Stands for a tag without its scheduled action: a run died between the two. Never wanted, so always a difference.
pub const UNSCHEDULED: &str = "not scheduled";

/// Fails if the time of `--for` has passed.
pub(super) fn refuse_past(want: &Settings) -> Result<(), Fault> {
    let now = timestamp(time::OffsetDateTime::now_utc().unix_timestamp()).unwrap_or_default();
    // Both are in UTC, as in RFC 3339, and so in the order of their text.
    match want.ends.as_deref().filter(|time| *time != UNSCHEDULED && *time <= now.as_str()) {
        None => Ok(()),
        Some(time) => {
            let message = format!("its --for time passed at {time}, during this run: run `up` with a later --for");
            Err(Fault::new("PutScheduledUpdateGroupAction", "Ended", message))
        }
    }
}

impl AutoScalingGroup {
    /// Records on AWS that the group will be without instances, before it is: a tag first, then the scheduled action, so
    /// that there is no action without its tag.
    pub(super) async fn begin_rest(&self, aws: &Aws, want: &Settings, there: &Settings) -> Result<(), Fault> {
        let paused = want.paused.as_ref().filter(|_| want.paused != there.paused).map(|time| (PAUSED_TAG, time));
        let ends = want.ends.as_ref().filter(|_| want.ends != there.ends).map(|time| (ENDS_TAG, time));
        let new: Tags = paused.into_iter().chain(ends).map(|(key, time)| (key.to_owned(), time.clone())).collect();
        if !new.is_empty() {
            let call = aws.autoscaling.create_or_update_tags();
            call.set_tags(Some(tags::to_autoscaling(&self.name, &new))).send().await?;
        }
        if let Some((_, time)) = ends {
            self.schedule(aws, time).await?;
        }
        // Before anything that takes time: the action must not run meanwhile. A group of size 0 has none: it has run.
        if want.ends.is_none() && there.max > 0 && there.ends.as_deref().is_some_and(|time| time != UNSCHEDULED) {
            let call = aws.autoscaling.delete_scheduled_action().auto_scaling_group_name(&self.name);
            gone(call.scheduled_action_name(ENDS).send().await)?;
        }
        Ok(())
    }

    /// Removes those records after everything else: until then the group counts as paused or ended.
    pub(super) async fn end_rest(&self, aws: &Aws, want: &Settings, there: &Settings) -> Result<(), Fault> {
        let over = [(PAUSED_TAG, &there.paused, want.paused.is_none()), (ENDS_TAG, &there.ends, want.ends.is_none())];
        let over = over.into_iter().filter(|(_, there, is_over)| there.is_some() && *is_over);
        let over: Tags = over.map(|(key, there, _)| (key.to_owned(), there.clone().unwrap_or_default())).collect();
        if !over.is_empty() {
            // Without a value, since it is the key that is deleted.
            let mut tags = tags::to_autoscaling(&self.name, &over);
            tags.iter_mut().for_each(|tag| tag.value = None);
            aws.autoscaling.delete_tags().set_tags(Some(tags)).send().await?;
        }
        Ok(())
    }

    /// Makes or moves the scheduled action (docs/aws.md §10.8).
    pub(super) async fn schedule(&self, aws: &Aws, time: &str) -> Result<(), Fault> {
        let call = aws.autoscaling.put_scheduled_update_group_action().auto_scaling_group_name(&self.name);
        let call = call.scheduled_action_name(ENDS).min_size(0).max_size(0).desired_capacity(0);
        call.set_start_time(DateTime::from_str(time, Format::DateTime).ok()).send().await?;
        Ok(())
    }

    /// The time of the scheduled action; `None` if there is none, or if it does not set the size to 0.
    pub(super) async fn scheduled(&self, aws: &Aws) -> Result<Option<String>, Fault> {
        let call = aws.autoscaling.describe_scheduled_actions().auto_scaling_group_name(&self.name);
        let answer = found(call.scheduled_action_names(ENDS).send().await)?;
        let action = answer.and_then(|answer| answer.scheduled_update_group_actions?.into_iter().next());
        let ends = |it: &ScheduledUpdateGroupAction| {
            [it.min_size, it.max_size, it.desired_capacity] == [Some(0); 3] && it.recurrence.is_none()
        };
        Ok(action.filter(ends).and_then(|it| timestamp(it.start_time?.secs())))
    }
}

impl Downtime {
    /// Whether it is paused and has been scaled to 0. A run that died may have left one without the other.
    pub fn is_paused(&self) -> bool {
        self.paused.is_some() && self.is_empty
    }

    /// Whether its time is over.
    pub fn has_ended(&self) -> bool {
        self.ends.is_some() && self.paused.is_none() && self.is_empty
    }
}

/// Returns whether and when the group was paused or ends, from its tags and maximum size.
pub fn downtime(mut tags: Tags, max: Option<i32>) -> Downtime {
    Downtime { paused: tags.remove(PAUSED_TAG), ends: tags.remove(ENDS_TAG), is_empty: max == Some(0) }
}
