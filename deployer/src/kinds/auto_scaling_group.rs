//! Auto Scaling groups.
//!
//! The desired capacity belongs to the scaling policy and is not a setting of ours.

mod downtime;
mod refresh;
mod roll_out;

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use aws_sdk_autoscaling::types::{AutoScalingGroup as Described, Filter, Instance, LaunchTemplateSpecification};
use serde::Serialize;

use super::tags;
use crate::{
    cloud::{
        aws::{Aws, gone, items},
        why::ServiceNames,
    },
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, STACK_TAG, Size, Tagged, Tags},
};

use downtime::refuse_past;
pub use downtime::{Downtime, ENDS_TAG, PAUSED_TAG, UNSCHEDULED, downtime};
pub use refresh::{alarmed, in_progress, is_undone, undone};
pub use roll_out::{Bake, FAILED};

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

/// The metrics of an instance say nothing about the load during its first minute.
pub const WARMUP_S: i32 = 60;

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
        let found = aws.batches.auto_scaling_groups.read(&self.name, |names| described(aws, names)).await?;
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
}

/// The ids of the instances of a group that run this version.
pub fn running(group: &Described, wanted: &Template) -> BTreeSet<String> {
    let of_version = |it: &&Instance| it.launch_template().map(template).as_ref() == Some(wanted);
    group.instances().iter().filter(of_version).filter_map(|it| it.instance_id().map(str::to_owned)).collect()
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
