//! Auto Scaling groups.
//!
//! The desired capacity belongs to the scaling policy and is not a setting of ours.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_sdk_autoscaling::types::{
    AlarmSpecification, AutoScalingGroup as Described, DesiredConfiguration, Filter, Instance, InstanceRefresh,
    InstanceRefreshStatus as Status, LaunchTemplateSpecification, LifecycleState, RefreshPreferences,
    ScheduledUpdateGroupAction,
};
use aws_smithy_types::{DateTime, date_time::Format};
use serde::Serialize;

use super::{alarm, tags};
use crate::{
    cloud::{
        aws::{Aws, found, gone, items},
        usual::UPDATING,
        why::{self, ServiceNames},
    },
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, STACK_TAG, Size, Tagged, Tags},
    output::utc::timestamp,
};

/// An Auto Scaling group, identified by its name.
#[derive(Debug, Clone)]
pub struct AutoScalingGroup {
    /// Its name.
    pub name: String,
    /// The names that the diagnosis of its service reads, if known: without them, only AWS ends a bad release.
    pub names: Option<Box<ServiceNames>>,
    /// The version that a rollback brings back. Then instances of another version, and a roll-out to one, count as a
    /// difference even if the group has this version already.
    pub back_to: Option<Template>,
    /// The alarms and bake time of a new version; `None` without them.
    pub bake: Option<Bake>,
    /// Whether a paused group counts as settling until its last instance has terminated.
    pub empties: bool,
    /// Whether a roll-out ends the only instance before it launches another, since one address leads to it.
    pub ends_first: bool,
}

/// The alarms and the bake time of a roll-out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bake {
    /// How long, after all instances are replaced.
    pub seconds: i32,
    /// The alarms that end it, by name.
    pub alarms: Vec<String>,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The minimum size.
    pub min: i32,
    /// The maximum size.
    pub max: i32,
    /// The subnets of its instances.
    pub subnets: BTreeSet<String>,
    /// The ARNs of the target groups that its instances are registered with.
    pub target_groups: BTreeSet<String>,
    /// `ELB`: an instance that the load balancer finds unhealthy is replaced.
    pub health_check_type: String,
    /// The health check grace period. AWS's default is none, which kills every instance before it has started
    /// (docs/aws.md §10.3).
    pub grace_period_s: i32,
    /// The default instance warm-up: how long a new instance is left out of the metrics.
    pub warmup_s: i32,
    /// The launch template of its instances.
    pub template: Template,
    /// The time of its pause, from its tag; `None` if it is not paused.
    pub paused: Option<String>,
    /// When AWS sets its size to 0, or did so; [`UNSCHEDULED`] if its tag names a time without a scheduled action.
    pub ends: Option<String>,
}

/// A version of a launch template.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Template {
    /// `lt-…`.
    pub id: String,
    /// Its version number: a refresh can only be rolled back from one number to another (docs/aws.md §10.5).
    pub version: String,
}

/// Outputs for other resources.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// The minimum size.
    pub min: i32,
    /// The reason why it is empty on purpose, or the time from which it will be.
    pub downtime: Downtime,
    /// When it was created, in seconds since 1970.
    pub created_s: Option<i64>,
}

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

/// The metrics of an instance say nothing about the load during its first minute.
pub const WARMUP_S: i32 = 60;
/// The code of a roll-out that failed.
pub const FAILED: &str = "InstanceRefreshFailed";
/// How long a refresh may make no progress, in seconds of AWS. AWS itself waits for an hour.
const ROLL_OUT_S: u64 = 30 * 60;
/// The additional time for which its faults are tolerated, so that the run gives the roll-out up instead of leaving it.
const MARGIN: Duration = Duration::from_secs(60);

impl Resource for AutoScalingGroup {
    const KIND: &'static str = "auto_scaling_group";
    const SOURCES: &'static [(&'static str, &'static str)] =
        &[("min", "instances.min"), ("max", "instances.max"), ("grace_period_s", "grace_period_s")];
    /// Deletion takes as long as the termination of the last instance (docs/aws.md §10.7).
    const LIMIT: Duration = Duration::from_secs(15 * 60);

    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let found = aws.together.auto_scaling_groups.read(&self.name, |names| described(aws, names)).await?;
        let Some(group) = found else { return self.remains(aws).await };
        if group.status().is_some_and(|status| !status.is_empty()) {
            return Ok(Observed::Settling("being deleted".into()));
        }
        let (mut settings, downtime) = (settings(&group), downtime(tags_of(&group), group.max_size()));
        if self.empties && downtime.is_paused() && !group.instances().is_empty() {
            return Ok(Observed::Settling(terminating(group.instances().len())));
        }
        if let Some(time) = settings.ends.clone().filter(|_| !downtime.is_empty)
            && self.scheduled(aws).await? != Some(time)
        {
            settings.ends = Some(UNSCHEDULED.into());
        }
        if self.back_to.as_ref() == Some(&settings.template)
            && let Some(other) = self.other_version(aws, &settings.template).await?
        {
            settings.template = other;
        }
        Ok(Observed::Present(Live {
            output: Output {
                name: self.name.clone(),
                min: settings.min,
                downtime,
                created_s: group.created_time().map(|at| at.secs()),
            },
            settings,
            owner: Owner::Tags(tags_of(&group)),
        }))
    }

    /// The target groups belong in this call: if attached later, they do not count until an instance is healthy
    /// (docs/aws.md §10.1).
    async fn create(&self, aws: &Aws, want: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        refuse_past(want)?;
        let target_groups: Vec<String> = want.target_groups.iter().cloned().collect();
        let mut tags = tags.clone();
        tags.extend(want.ends.iter().map(|time| (ENDS_TAG.to_owned(), time.clone())));
        aws.autoscaling
            .create_auto_scaling_group()
            .auto_scaling_group_name(&self.name)
            .launch_template(specification(&want.template))
            .min_size(want.min)
            .max_size(want.max)
            .desired_capacity(want.min)
            .vpc_zone_identifier(joined(&want.subnets))
            .set_target_group_arns(Some(target_groups).filter(|arns| !arns.is_empty()))
            .health_check_type(&want.health_check_type)
            .health_check_grace_period(want.grace_period_s)
            .default_instance_warmup(want.warmup_s)
            .set_tags(Some(tags::to_autoscaling(&self.name, &tags)))
            .send()
            .await?;
        if let Some(time) = &want.ends {
            self.schedule(aws, time).await?;
        }
        let downtime = downtime(tags.clone(), Some(want.max));
        Ok(Some(Live {
            settings: want.clone(),
            output: Output { name: self.name.clone(), min: want.min, downtime, created_s: None },
            owner: Owner::Tags(tags),
        }))
    }

    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let there = &live.settings;
        // AWS may end the group while a roll-out is waited for: its instances would come back without an end.
        if want.max > 0 && there.max == 0 && want.ends == there.ends {
            refuse_past(want)?;
        }
        self.begin_rest(aws, want, there).await?;
        let besides = Settings {
            template: there.template.clone(),
            target_groups: there.target_groups.clone(),
            paused: there.paused.clone(),
            ends: there.ends.clone(),
            ..want.clone()
        };
        if besides != *there {
            self.resize(aws, want).await?;
        }
        if want.target_groups != there.target_groups {
            self.attach(aws, want.target_groups.difference(&there.target_groups)).await?;
            self.detach(aws, there.target_groups.difference(&want.target_groups)).await?;
        }
        if want.template != there.template {
            self.roll_out(aws, want, &there.template).await?;
        }
        self.end_rest(aws, want, there).await
    }

    async fn tag(&self, aws: &Aws, _: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        let tags = tags::to_autoscaling(&self.name, tags);
        aws.autoscaling.create_or_update_tags().set_tags(Some(tags)).send().await?;
        Ok(())
    }

    /// Force-deletes the group, which terminates its instances without waiting for scale-in (docs/aws.md §10.7).
    async fn delete(&self, aws: &Aws, _: &Live<Self>) -> Result<(), Fault> {
        let call = aws.autoscaling.delete_auto_scaling_group().auto_scaling_group_name(&self.name);
        gone(call.force_delete(true).send().await)
    }

    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let filter = Filter::builder().name("tag-key").values(STACK_TAG).build();
        let groups = aws.autoscaling.describe_auto_scaling_groups().filters(filter).into_paginator().send();
        let tagged = |it: Described| {
            let (tags, created_s, size) = (tags_of(&it), it.created_time.map(|at| at.secs()), size(&it));
            Ok(Tagged::new(it.auto_scaling_group_name.unwrap_or_default(), tags, created_s).sized(Ok(size)))
        };
        Ok(items(groups).await?.into_iter().map(tagged).collect())
    }

    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        let filter = Filter::builder().name(format!("tag:{STACK_TAG}")).values(stack).build();
        let call = aws.autoscaling.describe_auto_scaling_groups().filters(filter);
        let mut owned = Vec::new();
        for group in items(call.into_paginator().send()).await? {
            let ours = tags_of(&group).get(STACK_TAG).is_some_and(|owner| owner == stack);
            let name = group.auto_scaling_group_name.unwrap_or_default();
            if ours && !but.contains(&name) {
                owned.push(AutoScalingGroup::named(&name));
            }
        }
        Ok(owned)
    }
}

/// The instances of a group, except those that are leaving it.
fn size(group: &Described) -> Size {
    let is_leaving = |state: &str| state.starts_with("Terminat") || state.starts_with("Detach");
    let there = group.instances().iter().filter(|it| !it.lifecycle_state().is_some_and(|it| is_leaving(it.as_str())));
    let types = there.map(|it| it.instance_type().unwrap_or_default().to_owned()).collect();
    let template = group.launch_template().and_then(|it| it.launch_template_name()).unwrap_or_default();
    Size::Machines { types, template: template.into() }
}

/// Fails if the time of `--for` has passed.
fn refuse_past(want: &Settings) -> Result<(), Fault> {
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

/// Returns the groups of these names that exist.
async fn described(aws: &Aws, names: Vec<String>) -> Result<HashMap<String, Described>, Fault> {
    let call = aws.autoscaling.describe_auto_scaling_groups().set_auto_scaling_group_names(Some(names));
    let groups = items(call.into_paginator().send()).await?;
    Ok(groups.into_iter().filter_map(|group| Some((group.auto_scaling_group_name.clone()?, group))).collect())
}

impl AutoScalingGroup {
    /// A group of which only the name is known.
    pub fn named(name: &str) -> AutoScalingGroup {
        AutoScalingGroup {
            name: name.into(),
            names: None,
            back_to: None,
            bake: None,
            empties: false,
            ends_first: false,
        }
    }

    /// Records on AWS that the group will be without instances, before it is: a tag first, then the scheduled action, so
    /// that there is no action without its tag.
    async fn begin_rest(&self, aws: &Aws, want: &Settings, there: &Settings) -> Result<(), Fault> {
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
    async fn end_rest(&self, aws: &Aws, want: &Settings, there: &Settings) -> Result<(), Fault> {
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
    async fn schedule(&self, aws: &Aws, time: &str) -> Result<(), Fault> {
        let call = aws.autoscaling.put_scheduled_update_group_action().auto_scaling_group_name(&self.name);
        let call = call.scheduled_action_name(ENDS).min_size(0).max_size(0).desired_capacity(0);
        call.set_start_time(DateTime::from_str(time, Format::DateTime).ok()).send().await?;
        Ok(())
    }

    /// The time of the scheduled action; `None` if there is none, or if it does not set the size to 0.
    async fn scheduled(&self, aws: &Aws) -> Result<Option<String>, Fault> {
        let call = aws.autoscaling.describe_scheduled_actions().auto_scaling_group_name(&self.name);
        let answer = found(call.scheduled_action_names(ENDS).send().await)?;
        let action = answer.and_then(|answer| answer.scheduled_update_group_actions?.into_iter().next());
        let ends = |it: &ScheduledUpdateGroupAction| {
            [it.min_size, it.max_size, it.desired_capacity] == [Some(0); 3] && it.recurrence.is_none()
        };
        Ok(action.filter(ends).and_then(|it| timestamp(it.start_time?.secs())))
    }

    /// A group is not absent before its instances are: until then they hold the security group and need the role.
    async fn remains(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let states = ["pending", "running", "shutting-down", "stopping", "stopped"];
        let answer = aws
            .ec2
            .describe_instances()
            .filters(tags::ec2_filter("tag:aws:autoscaling:groupName", [self.name.as_str()]))
            .filters(tags::ec2_filter("instance-state-name", states))
            .send()
            .await?;
        let left: usize = answer.reservations().iter().map(|reservation| reservation.instances().len()).sum();
        Ok(match left {
            0 => Observed::Absent,
            1 => Observed::Settling("waiting for its last instance to terminate".into()),
            left => Observed::Settling(format!("waiting for its last {left} instances to terminate")),
        })
    }

    /// Everything but the template and the target groups. The desired capacity is left out; otherwise every run would
    /// undo the scaling policy's last decision (docs/aws.md §10.1).
    async fn resize(&self, aws: &Aws, want: &Settings) -> Result<(), Fault> {
        aws.autoscaling
            .update_auto_scaling_group()
            .auto_scaling_group_name(&self.name)
            .min_size(want.min)
            .max_size(want.max)
            .vpc_zone_identifier(joined(&want.subnets))
            .health_check_type(&want.health_check_type)
            .health_check_grace_period(want.grace_period_s)
            .default_instance_warmup(want.warmup_s)
            .send()
            .await?;
        Ok(())
    }

    async fn attach(&self, aws: &Aws, arns: impl Iterator<Item = &String>) -> Result<(), Fault> {
        let arns: Vec<String> = arns.cloned().collect();
        if !arns.is_empty() {
            let call = aws.autoscaling.attach_load_balancer_target_groups().auto_scaling_group_name(&self.name);
            call.set_target_group_arns(Some(arns)).send().await?;
        }
        Ok(())
    }

    async fn detach(&self, aws: &Aws, arns: impl Iterator<Item = &String>) -> Result<(), Fault> {
        let arns: Vec<String> = arns.cloned().collect();
        if !arns.is_empty() {
            let call = aws.autoscaling.detach_load_balancer_target_groups().auto_scaling_group_name(&self.name);
            call.set_target_group_arns(Some(arns)).send().await?;
        }
        Ok(())
    }

    /// The version of an unfinished roll-out, or of an instance, other than that of the group. The instances are read last:
    /// a roll-out that ends in between has replaced some of those that were there before.
    async fn other_version(&self, aws: &Aws, own: &Template) -> Result<Option<Template>, Fault> {
        let call = aws.autoscaling.describe_instance_refreshes().auto_scaling_group_name(&self.name);
        let answer = call.max_records(1).send().await?;
        let rolled_out = answer.instance_refreshes().first().and_then(in_progress).map(|(target, _)| target);
        if let Some(target) = rolled_out.filter(|target| target != own) {
            return Ok(Some(target));
        }
        let Some(group) = aws.together.auto_scaling_groups.read(&self.name, |names| described(aws, names)).await?
        else {
            return Ok(None);
        };
        let is_leaving = |state: &LifecycleState| state.as_str().starts_with("Terminat");
        let staying = group.instances().iter().filter(|it| it.lifecycle_state().is_none_or(|state| !is_leaving(state)));
        let mut running = staying.filter_map(|instance| instance.launch_template()).map(template);
        Ok(running.find(|other| other != own))
    }

    /// Replaces the instances with ones of the wanted version. On success AWS writes the version into the group; until
    /// then the result is "not yet".
    async fn roll_out(&self, aws: &Aws, want: &Settings, there: &Template) -> Result<(), Fault> {
        let template = &want.template;
        let call = aws.autoscaling.describe_instance_refreshes().auto_scaling_group_name(&self.name);
        let answer = call.max_records(1).send().await?;
        let newest = answer.instance_refreshes().first();
        let id = newest.and_then(InstanceRefresh::instance_refresh_id);
        let is_watched = id.is_some_and(|id| aws.watched_refreshes.contains(id));
        match RollOut::of(newest, template, aws.began.get(), is_watched) {
            RollOut::Due => self.start(aws, template, there).await,
            // The group has the wanted version still: its instances are brought back without a second roll-out.
            RollOut::Outdated if self.back_to.is_some() && newest.and_then(target).as_ref() == Some(there) => {
                let call = aws.autoscaling.rollback_instance_refresh().auto_scaling_group_name(&self.name);
                gone(call.send().await)
            }
            RollOut::Outdated => {
                let call = aws.autoscaling.cancel_instance_refresh().auto_scaling_group_name(&self.name);
                gone(call.send().await)
            }
            RollOut::Running(progress) => {
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
            RollOut::Failed(reason) => Err(Fault::new("StartInstanceRefresh", FAILED, reason)),
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

/// The ids of the instances of a group that run this version.
pub fn running(group: &Described, wanted: &Template) -> BTreeSet<String> {
    let of_version = |it: &&Instance| it.launch_template().map(template).as_ref() == Some(wanted);
    group.instances().iter().filter(of_version).filter_map(|it| it.instance_id().map(str::to_owned)).collect()
}

/// The state of the roll-out to the wanted version.
#[derive(Debug, PartialEq)]
enum RollOut {
    /// No refresh has started.
    Due,
    /// A refresh to a version that is no longer wanted is running.
    Outdated,
    /// The refresh is running; this is its progress.
    Running(String),
    /// The refresh failed during this run, for this reason.
    Failed(String),
}

impl RollOut {
    /// `began` is when this run began. A refresh that had failed before then does not prevent a new one; a refresh that
    /// this run started or watched counts as its own.
    fn of(newest: Option<&InstanceRefresh>, wanted: &Template, began: SystemTime, is_watched: bool) -> RollOut {
        let Some(refresh) = newest else { return RollOut::Due };
        let is_wanted = target(refresh).as_ref() == Some(wanted);
        match (refresh.status(), is_wanted) {
            (Some(Status::Cancelling), _) => RollOut::Running("the previous roll-out is being cancelled".into()),
            (Some(Status::RollbackInProgress), _) => {
                let why = alarmed(refresh).unwrap_or_else(|| reason(refresh).to_owned());
                RollOut::Running(format!("rolling back: {why}"))
            }
            (Some(Status::Pending | Status::InProgress | Status::Baking), true) => RollOut::Running(progress(refresh)),
            (Some(Status::Pending | Status::InProgress | Status::Baking), false) => RollOut::Outdated,
            (Some(Status::Successful) | None, _) | (_, false) => RollOut::Due,
            (Some(ended), true) if is_watched || has_ended_since(refresh, began) => {
                RollOut::Failed(match alarmed(refresh) {
                    Some(why) => format!("AWS rolled the release back: {why}"),
                    None => format!("the roll-out ended as {}: {}", ended.as_str(), reason(refresh)),
                })
            }
            (Some(_), true) => RollOut::Due,
        }
    }
}

/// The version that a refresh brings.
fn target(refresh: &InstanceRefresh) -> Option<Template> {
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

fn progress(refresh: &InstanceRefresh) -> String {
    if refresh.status() == Some(&Status::Baking) {
        return "rolled out; AWS is watching the responses".into();
    }
    let percent = refresh.percentage_complete().unwrap_or_default();
    match refresh.instances_to_update() {
        Some(left) if left > 0 => format!("rolling out: {percent} %, {left} to be replaced"),
        _ => format!("rolling out: {percent} %"),
    }
}

fn reason(refresh: &InstanceRefresh) -> &str {
    reasons(refresh).unwrap_or("AWS gives no reason")
}

/// The reason of the rollback, or else that of the state.
fn reasons(refresh: &InstanceRefresh) -> Option<&str> {
    refresh.rollback_details().and_then(|details| details.rollback_reason()).or(refresh.status_reason())
}

/// Compares whole seconds, the precision of AWS's timestamps: a refresh that ended in the second in which the run began
/// counts as earlier.
fn has_ended_since(refresh: &InstanceRefresh, began: SystemTime) -> bool {
    let began = began.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let ended = refresh.end_time().and_then(|ended| u64::try_from(ended.secs()).ok());
    ended.is_none_or(|ended| ended > began)
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

fn terminating(instances: usize) -> String {
    match instances {
        1 => "terminating its last instance".into(),
        some => format!("terminating its last {some} instances"),
    }
}

fn settings(group: &Described) -> Settings {
    let Downtime { paused, ends, .. } = downtime(tags_of(group), group.max_size());
    let subnets = group.vpc_zone_identifier().unwrap_or_default().split(',');
    Settings {
        min: group.min_size().unwrap_or_default(),
        max: group.max_size().unwrap_or_default(),
        subnets: subnets.map(str::trim).filter(|subnet| !subnet.is_empty()).map(str::to_owned).collect(),
        target_groups: group.target_group_arns().iter().cloned().collect(),
        health_check_type: group.health_check_type().unwrap_or_default().into(),
        grace_period_s: group.health_check_grace_period().unwrap_or_default(),
        // Some implementations of this API do not return it: a missing value is not a difference.
        warmup_s: group.default_instance_warmup().unwrap_or(WARMUP_S),
        template: group
            .launch_template()
            .map(template)
            .unwrap_or_else(|| Template { id: String::new(), version: String::new() }),
        paused,
        ends,
    }
}

/// The version that a specification names.
pub fn template(specification: &LaunchTemplateSpecification) -> Template {
    Template {
        id: specification.launch_template_id().unwrap_or_default().into(),
        version: specification.version().unwrap_or_default().into(),
    }
}

fn specification(template: &Template) -> LaunchTemplateSpecification {
    LaunchTemplateSpecification::builder().launch_template_id(&template.id).version(&template.version).build()
}

/// The tags of a group.
pub fn tags_of(group: &Described) -> Tags {
    let tags = group.tags().iter();
    tags.filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned()))).collect()
}

fn joined(subnets: &BTreeSet<String>) -> String {
    subnets.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_autoscaling::primitives::DateTime;

    fn wanted() -> Template {
        Template { id: "lt-1".into(), version: "7".into() }
    }

    fn check(status: Status, version: &str, ended_s: Option<i64>, expected: RollOut) {
        assert_eq!(roll_out(status, version, ended_s, false), expected);
    }

    fn roll_out(status: Status, version: &str, ended_s: Option<i64>, is_watched: bool) -> RollOut {
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
        RollOut::of(Some(&refresh), &wanted(), began, is_watched)
    }

    #[test]
    fn a_roll_out_is_started_once_and_waited_for() {
        assert_eq!(RollOut::of(None, &wanted(), UNIX_EPOCH, false), RollOut::Due);
        check(Status::Successful, "6", Some(9_990), RollOut::Due);
        check(Status::InProgress, "7", None, RollOut::Running("rolling out: 50 %, 2 to be replaced".into()));
        check(Status::RollbackInProgress, "7", None, RollOut::Running("rolling back: it is ill".into()));
    }

    #[test]
    fn an_obsolete_roll_out_is_cancelled() {
        check(Status::Pending, "6", None, RollOut::Outdated);
        let cancelling = "the previous roll-out is being cancelled";
        check(Status::Cancelling, "6", None, RollOut::Running(cancelling.into()));
        check(Status::Cancelled, "6", Some(9_999), RollOut::Due);
    }

    #[test]
    fn a_failed_roll_out_ends_its_run_and_is_started_again_by_the_next() {
        let reason = "the roll-out ended as RollbackSuccessful: it is ill";
        check(Status::RollbackSuccessful, "7", Some(10_001), RollOut::Failed(reason.into()));
        check(Status::RollbackSuccessful, "7", None, RollOut::Failed(reason.into()));
        check(Status::RollbackSuccessful, "7", Some(10_000), RollOut::Due);
        // All within the second in which the run began.
        let own = roll_out(Status::RollbackSuccessful, "7", Some(10_000), true);
        assert_eq!(own, RollOut::Failed(reason.into()));
    }
}
