//! Roll-outs of a version of the template to the instances of a group.

use std::time::{Duration, SystemTime};

use aws_sdk_autoscaling::types::{
    AlarmSpecification, DesiredConfiguration, InstanceRefresh, InstanceRefreshStatus as Status, LifecycleState,
    RefreshPreferences,
};

use super::refresh::{alarmed, has_ended_since, in_progress, progress, reason, target};
use super::{AutoScalingGroup, Settings, Template, described, specification, template};
use crate::{
    cloud::{
        aws::{Aws, gone},
        usual::UPDATING,
        why::{self, ServiceNames},
    },
    engine::{Fault, Resource},
    kinds::alarm,
};

/// The alarms and the bake time of a roll-out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bake {
    /// How long, after all instances are replaced.
    pub seconds: i32,
    /// The alarms that end it, by name.
    pub alarms: Vec<String>,
}

/// The code of a roll-out that failed.
pub const FAILED: &str = "InstanceRefreshFailed";
/// How long a refresh may make no progress, in seconds of AWS. AWS itself waits for an hour.
const ROLL_OUT_S: u64 = 30 * 60;
/// The additional time for which its faults are tolerated, so that the run gives the roll-out up instead of leaving it.
const MARGIN: Duration = Duration::from_secs(60);

impl AutoScalingGroup {
    /// The version of an unfinished roll-out, or of an instance, other than that of the group. The instances are read last:
    /// a roll-out that ends in between has replaced some of those that were there before.
    pub(super) async fn other_version(&self, aws: &Aws, own: &Template) -> Result<Option<Template>, Fault> {
        let call = aws.autoscaling.describe_instance_refreshes().auto_scaling_group_name(&self.name);
        let answer = call.max_records(1).send().await?;
        let rolled_out = answer.instance_refreshes().first().and_then(in_progress).map(|(target, _)| target);
        if let Some(target) = rolled_out.filter(|target| target != own) {
            return Ok(Some(target));
        }
        let Some(group) = aws.batches.auto_scaling_groups.read(&self.name, |names| described(aws, names)).await? else {
            return Ok(None);
        };
        let is_leaving = |state: &LifecycleState| state.as_str().starts_with("Terminat");
        let staying = group.instances().iter().filter(|it| it.lifecycle_state().is_none_or(|state| !is_leaving(state)));
        let mut running = staying.filter_map(|instance| instance.launch_template()).map(template);
        Ok(running.find(|other| other != own))
    }

    /// Replaces the instances with ones of the wanted version. On success AWS writes the version into the group; until
    /// then the result is "not yet".
    pub(super) async fn roll_out(&self, aws: &Aws, want: &Settings, there: &Template) -> Result<(), Fault> {
        let template = &want.template;
        let call = aws.autoscaling.describe_instance_refreshes().auto_scaling_group_name(&self.name);
        let answer = call.max_records(1).send().await?;
        let newest = answer.instance_refreshes().first();
        let id = newest.and_then(InstanceRefresh::instance_refresh_id);
        let is_watched = id.is_some_and(|id| aws.watched_refreshes.contains(id));
        match RollOutState::of(newest, template, aws.began.get(), is_watched) {
            RollOutState::Due => self.start(aws, template, there).await,
            // The group has the wanted version still: its instances are brought back without a second roll-out.
            RollOutState::Outdated if self.back_to.is_some() && newest.and_then(target).as_ref() == Some(there) => {
                let call = aws.autoscaling.rollback_instance_refresh().auto_scaling_group_name(&self.name);
                gone(call.send().await)
            }
            RollOutState::Outdated => {
                let call = aws.autoscaling.cancel_instance_refresh().auto_scaling_group_name(&self.name);
                gone(call.send().await)
            }
            RollOutState::Running(progress) => {
                aws.watched_refreshes.add(id);
                let (watched, stuck) = aws.roll_outs.note(&self.name, id.unwrap_or_default(), &progress);
                let at_work = newest.filter(|it| matches!(it.status(), Some(Status::InProgress | Status::Baking)));
                let baking = self.bake.as_ref().map_or(0, |bake| bake.seconds.unsigned_abs());
                let limit = aws.scale.lasts(ROLL_OUT_S + u64::from(baking));
                let mut progress = progress;
                if let (Some(refresh), Some(names)) = (at_work, &self.names) {
                    if let Some(why) = self.hopeless(aws, names, refresh, want, (stuck, limit)).await {
                        return Err(self.give_up(aws, there, &why).await);
                    }
                    if watched > aws.scale.usual(Self::KIND, UPDATING)
                        && refresh.status() == Some(&Status::InProgress)
                        && let Some(words) = aws.roll_outs.explanation(aws, names).await
                    {
                        progress = format!("{progress}: {words}");
                    }
                }
                let fault = Fault::new("StartInstanceRefresh", "InstanceRefreshInProgress", progress);
                Err(fault.within(watched - stuck + limit + MARGIN))
            }
            RollOutState::Failed(reason) => Err(Fault::new("StartInstanceRefresh", FAILED, reason)),
        }
    }

    /// Returns why a roll-out will not succeed: the new instances repeat an exit, or stay unhealthy, or nothing has
    /// happened for too long. AWS itself would wait for an hour. What cannot be read is left to AWS.
    async fn hopeless(
        &self,
        aws: &Aws,
        names: &ServiceNames,
        refresh: &InstanceRefresh,
        want: &Settings,
        (stuck, limit): (Duration, Duration),
    ) -> Option<String> {
        let begun_s = refresh.start_time()?.secs();
        let looked = why::look(aws, names, &want.target_groups, &want.template, begun_s).await.ok();
        let ends = why::certain_ends(aws, &names.reports, begun_s).await.unwrap_or_default();
        // Instances of the previous version may be broken too, and this roll-out the fix.
        let is_new = |id: &String| looked.as_ref().is_some_and(|look| look.current.contains(id));
        let end = ends.into_iter().find(|(instance, _)| is_new(instance)).map(|(_, end)| end);
        let grace = aws.scale.lasts(u64::from(want.grace_period_s.unsigned_abs()));
        let is_ill = looked.as_ref().is_some_and(|look| aws.roll_outs.is_hopeless(&self.name, look, grace));
        if end.is_none() && !is_ill && stuck <= limit {
            return None;
        }
        let judgement = aws.roll_outs.judge(aws, names).await;
        Some(match (end, judgement.words()) {
            (Some(end), _) => format!("the new version {end}"),
            (None, Some(words)) => format!("the new version is not healthy: {words}"),
            (None, None) if is_ill => "the new version does not become healthy".into(),
            (None, None) => format!("the roll-out has made no progress within {} s", limit.as_secs()),
        })
    }

    /// Rolls back a roll-out that cannot succeed, or cancels it if the current version has no number.
    async fn give_up(&self, aws: &Aws, there: &Template, why: &str) -> Fault {
        let can_go_back = there.version.parse::<u64>().is_ok();
        let ended = match can_go_back {
            true => {
                let call = aws.autoscaling.rollback_instance_refresh().auto_scaling_group_name(&self.name);
                call.send().await.map(drop).map_err(Fault::from)
            }
            false => {
                let call = aws.autoscaling.cancel_instance_refresh().auto_scaling_group_name(&self.name);
                call.send().await.map(drop).map_err(Fault::from)
            }
        };
        let then = match (ended, can_go_back) {
            (Ok(()), true) => "rolling back to the previous version".to_owned(),
            (Ok(()), false) => "the roll-out is cancelled".to_owned(),
            (Err(fault), _) => format!("the roll-out continues because it could not be stopped: {fault}"),
        };
        Fault::new("StartInstanceRefresh", FAILED, format!("{why}; {then}"))
    }

    /// Launches a new instance before it terminates an old one, so that a group of one stays up, unless the instance has
    /// an elastic IP address. Skips instances that already have the wanted version. Rolls back on failure if the current
    /// version has a number (docs/aws.md §10.5).
    /// An alarm that has gone off already would fail the roll-out at once, even if it is the fix: it is left out.
    async fn start(&self, aws: &Aws, template: &Template, there: &Template) -> Result<(), Fault> {
        let (least, most) = if self.ends_first { (0, 100) } else { (100, 200) };
        let preferences = RefreshPreferences::builder()
            .min_healthy_percentage(least)
            .max_healthy_percentage(most)
            .skip_matching(true)
            .auto_rollback(there.version.parse::<u64>().is_ok())
            .set_bake_time(self.bake.as_ref().map(|bake| bake.seconds))
            .set_alarm_specification(self.quiet_alarms(aws).await?);
        let wanted = DesiredConfiguration::builder().launch_template(specification(template));
        let begun = aws
            .autoscaling
            .start_instance_refresh()
            .auto_scaling_group_name(&self.name)
            .desired_configuration(wanted.build())
            .preferences(preferences.build())
            .send()
            .await?;
        aws.watched_refreshes.add(begun.instance_refresh_id());
        Ok(())
    }

    /// The alarms to watch the roll-out with: those that have not gone off. Without permission to read their states, all.
    async fn quiet_alarms(&self, aws: &Aws) -> Result<Option<AlarmSpecification>, Fault> {
        let Some(bake) = &self.bake else { return Ok(None) };
        let ringing = match alarm::in_alarm(aws, &bake.alarms).await {
            Err(fault) if why::is_denied(&fault) => Vec::new(),
            read => read?,
        };
        let quiet: Vec<String> = bake.alarms.iter().filter(|name| !ringing.contains(name)).cloned().collect();
        Ok((!quiet.is_empty()).then(|| AlarmSpecification::builder().set_alarms(Some(quiet)).build()))
    }
}

/// The state of the roll-out to the wanted version.
#[derive(Debug, PartialEq)]
enum RollOutState {
    /// No refresh has started.
    Due,
    /// A refresh to a version that is no longer wanted is running.
    Outdated,
    /// The refresh is running; this is its progress.
    Running(String),
    /// The refresh failed during this run, for this reason.
    Failed(String),
}

impl RollOutState {
    /// `began` is when this run began. A refresh that had failed before then does not prevent a new one; a refresh that
    /// this run started or watched counts as its own.
    fn of(newest: Option<&InstanceRefresh>, wanted: &Template, began: SystemTime, is_watched: bool) -> RollOutState {
        let Some(refresh) = newest else { return RollOutState::Due };
        let is_wanted = target(refresh).as_ref() == Some(wanted);
        match (refresh.status(), is_wanted) {
            (Some(Status::Cancelling), _) => RollOutState::Running("the previous roll-out is being cancelled".into()),
            (Some(Status::RollbackInProgress), _) => {
                let why = alarmed(refresh).unwrap_or_else(|| reason(refresh).to_owned());
                RollOutState::Running(format!("rolling back: {why}"))
            }
            (Some(Status::Pending | Status::InProgress | Status::Baking), true) => {
                RollOutState::Running(progress(refresh))
            }
            (Some(Status::Pending | Status::InProgress | Status::Baking), false) => RollOutState::Outdated,
            (Some(Status::Successful) | None, _) | (_, false) => RollOutState::Due,
            (Some(ended), true) if is_watched || has_ended_since(refresh, began) => {
                RollOutState::Failed(match alarmed(refresh) {
                    Some(why) => format!("AWS rolled the release back: {why}"),
                    None => format!("the roll-out ended as {}: {}", ended.as_str(), reason(refresh)),
                })
            }
            (Some(_), true) => RollOutState::Due,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use aws_sdk_autoscaling::primitives::DateTime;

    fn wanted() -> Template {
        Template { id: "lt-1".into(), version: "7".into() }
    }

    fn check(status: Status, version: &str, ended_s: Option<i64>, expected: RollOutState) {
        assert_eq!(roll_out(status, version, ended_s, false), expected);
    }

    fn roll_out(status: Status, version: &str, ended_s: Option<i64>, is_watched: bool) -> RollOutState {
        let target = Template { id: "lt-1".into(), version: version.into() };
        let refresh = InstanceRefresh::builder()
            .status(status)
            .status_reason("it is ill")
            .percentage_complete(50)
            .instances_to_update(2)
            .set_end_time(ended_s.map(DateTime::from_secs))
            .desired_configuration(DesiredConfiguration::builder().launch_template(specification(&target)).build())
            .build();
        let began = UNIX_EPOCH + Duration::from_secs(10_000);
        RollOutState::of(Some(&refresh), &wanted(), began, is_watched)
    }

    #[test]
    fn a_roll_out_is_started_once_and_waited_for() {
        assert_eq!(RollOutState::of(None, &wanted(), UNIX_EPOCH, false), RollOutState::Due);
        check(Status::Successful, "6", Some(9_990), RollOutState::Due);
        check(Status::InProgress, "7", None, RollOutState::Running("rolling out: 50 %, 2 to be replaced".into()));
        check(Status::RollbackInProgress, "7", None, RollOutState::Running("rolling back: it is ill".into()));
    }

    #[test]
    fn an_obsolete_roll_out_is_cancelled() {
        check(Status::Pending, "6", None, RollOutState::Outdated);
        let cancelling = "the previous roll-out is being cancelled";
        check(Status::Cancelling, "6", None, RollOutState::Running(cancelling.into()));
        check(Status::Cancelled, "6", Some(9_999), RollOutState::Due);
    }

    #[test]
    fn a_failed_roll_out_ends_its_run_and_is_started_again_by_the_next() {
        let reason = "the roll-out ended as RollbackSuccessful: it is ill";
        check(Status::RollbackSuccessful, "7", Some(10_001), RollOutState::Failed(reason.into()));
        check(Status::RollbackSuccessful, "7", None, RollOutState::Failed(reason.into()));
        check(Status::RollbackSuccessful, "7", Some(10_000), RollOutState::Due);
        // All within the second in which the run began.
        let own = roll_out(Status::RollbackSuccessful, "7", Some(10_000), true);
        assert_eq!(own, RollOutState::Failed(reason.into()));
    }
}
