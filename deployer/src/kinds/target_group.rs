//! Target groups: the instances behind a load balancer, and their health check.

use std::collections::HashMap;

use aws_sdk_elasticloadbalancingv2::types::{
    Matcher, ProtocolEnum, TargetGroup as Described, TargetGroupAttribute, TargetTypeEnum,
};
use serde::Serialize;

use super::tags;
use crate::{
    cloud::aws::{Aws, found, gone, items},
    config,
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, STACK_TAG, Size, Tags},
};

/// A target group, identified by its name.
#[derive(Debug, Clone)]
pub struct TargetGroup {
    /// Its name; at most 32 characters.
    pub name: String,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The port of the targets.
    pub port: i32,
    /// The protocol: `HTTP`.
    pub protocol: String,
    /// The id of the VPC.
    pub vpc: String,
    /// The health check.
    pub health_check: HealthCheck,
    /// The deregistration delay in seconds: how long a target may finish its requests.
    pub deregistration_delay_s: i64,
}

/// The health check of the targets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HealthCheck {
    /// The path to request.
    pub path: String,
    /// The interval in seconds.
    pub interval_s: i32,
    /// The timeout in seconds.
    pub timeout_s: i32,
    /// Consecutive successes that make a target healthy.
    pub healthy: i32,
    /// Consecutive failures that make it unhealthy.
    pub unhealthy: i32,
    /// The statuses that count as success.
    pub matcher: String,
}

/// Outputs for other resources.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
}

/// Enough to finish an upload; AWS's default of 300 s would lengthen every roll-out and every `down` by as much
/// (docs/aws.md §9.3, §10.7).
const DEREGISTRATION_DELAY_S: i64 = 30;
const DEREGISTRATION_DELAY: &str = "deregistration_delay.timeout_seconds";

impl Settings {
    /// Targets that speak HTTP.
    pub fn http(port: u16, vpc: &str, health_check: &config::HealthCheck) -> Settings {
        Settings {
            port: port.into(),
            protocol: "HTTP".into(),
            vpc: vpc.into(),
            health_check: HealthCheck {
                path: health_check.path.clone(),
                interval_s: health_check.interval_s.into(),
                timeout_s: health_check.timeout_s.into(),
                healthy: health_check.healthy.into(),
                unhealthy: health_check.unhealthy.into(),
                matcher: health_check.matcher.clone(),
            },
            deregistration_delay_s: DEREGISTRATION_DELAY_S,
        }
    }
}

impl Resource for TargetGroup {
    const KIND: &'static str = "target_group";
    const SOURCES: &'static [(&'static str, &'static str)] = &[("port", "port"), ("health_check", "health_check")];
    const FIXED: &'static [&'static str] = &["port", "protocol", "vpc"];

    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let found = aws.batches.target_groups.read(&self.name, |names| described(aws, names)).await?;
        let Some((group, tags)) = found else { return Ok(Observed::Absent) };
        let arn = group.target_group_arn().unwrap_or_default();
        let deregistration_delay_s = deregistration_delay_s(aws, arn).await?;
        Ok(Observed::Present(Live {
            settings: settings(&group, deregistration_delay_s),
            output: Output { arn: arn.into(), name: self.name.clone() },
            owner: Owner::Tags(tags),
        }))
    }

    /// AWS answers the creation of a group of the same name and settings as if it were new (docs/aws.md §9.1): another
    /// client may have created it, and only the tags show the owner.
    async fn create(&self, aws: &Aws, want: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        let check = &want.health_check;
        let answer = aws
            .elb
            .create_target_group()
            .name(&self.name)
            .port(want.port)
            .protocol(ProtocolEnum::from(want.protocol.as_str()))
            .vpc_id(&want.vpc)
            .target_type(TargetTypeEnum::Instance)
            .health_check_path(&check.path)
            .health_check_interval_seconds(check.interval_s)
            .health_check_timeout_seconds(check.timeout_s)
            .healthy_threshold_count(check.healthy)
            .unhealthy_threshold_count(check.unhealthy)
            .matcher(Matcher::builder().http_code(&check.matcher).build())
            .set_tags(Some(tags::to_elb(tags)))
            .send()
            .await?;
        let arn = answer.target_groups().first().and_then(Described::target_group_arn).unwrap_or_default();
        if tags::of_arn(aws, arn).await?.get(STACK_TAG) != tags.get(STACK_TAG) {
            return Ok(None);
        }
        // An error here recurs in `update` and is reported there.
        let finished = set_deregistration_delay(aws, arn, want.deregistration_delay_s).await.is_ok();
        let output = Output { arn: arn.into(), name: self.name.clone() };
        let owner = Owner::Tags(tags.clone());
        Ok(finished.then(|| Live { settings: want.clone(), output, owner }))
    }

    async fn update(&self, aws: &Aws, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        let (check, arn) = (&want.health_check, &live.output.arn);
        if *check != live.settings.health_check {
            aws.elb
                .modify_target_group()
                .target_group_arn(arn)
                .health_check_path(&check.path)
                .health_check_interval_seconds(check.interval_s)
                .health_check_timeout_seconds(check.timeout_s)
                .healthy_threshold_count(check.healthy)
                .unhealthy_threshold_count(check.unhealthy)
                .matcher(Matcher::builder().http_code(&check.matcher).build())
                .send()
                .await?;
        }
        if want.deregistration_delay_s != live.settings.deregistration_delay_s {
            set_deregistration_delay(aws, arn, want.deregistration_delay_s).await?;
        }
        Ok(())
    }

    async fn tag(&self, aws: &Aws, live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        tags::tag_in_elb(aws, &live.output.arn, tags).await
    }

    async fn delete(&self, aws: &Aws, live: &Live<Self>) -> Result<(), Fault> {
        gone(aws.elb.delete_target_group().target_group_arn(&live.output.arn).send().await)
    }

    /// Elastic Load Balancing does not report when a target group was created.
    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let groups = items(aws.elb.describe_target_groups().into_paginator().send()).await?;
        let named =
            groups.into_iter().filter_map(|it| Some((it.target_group_name?, it.target_group_arn?, None, Size::None)));
        tags::tagged_in_elb(aws, named.collect()).await
    }

    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        let groups = items(aws.elb.describe_target_groups().into_paginator().send()).await?;
        let named = groups.into_iter().filter_map(|it| it.target_group_name.zip(it.target_group_arn));
        let names = tags::names_in_elb(aws, stack, but, named.collect()).await?;
        Ok(names.into_iter().map(|name| TargetGroup { name }).collect())
    }
}

/// Returns the groups of these names that exist, with their tags. A call with a missing name fails as a whole
/// (docs/aws.md §9.1); then all groups are listed.
async fn described(aws: &Aws, names: Vec<String>) -> Result<HashMap<String, (Described, Tags)>, Fault> {
    let call = aws.elb.describe_target_groups().set_names(Some(names.clone()));
    let groups = match found(call.send().await)? {
        Some(answer) => answer.target_groups.unwrap_or_default(),
        None if names.len() == 1 => Vec::new(),
        None => items(aws.elb.describe_target_groups().into_paginator().send()).await?,
    };
    let wanted = |group: &Described| group.target_group_name().is_some_and(|name| names.iter().any(|it| it == name));
    let groups: Vec<Described> = groups.into_iter().filter(wanted).collect();
    let mut tags =
        tags::of_arns(aws, groups.iter().filter_map(|group| group.target_group_arn.clone()).collect()).await?;
    let with_tags = |group: Described| {
        let tags = tags.remove(group.target_group_arn()?).unwrap_or_default();
        Some((group.target_group_name.clone()?, (group, tags)))
    };
    Ok(groups.into_iter().filter_map(with_tags).collect())
}

async fn deregistration_delay_s(aws: &Aws, arn: &str) -> Result<i64, Fault> {
    let answer = aws.elb.describe_target_group_attributes().target_group_arn(arn).send().await?;
    let delay = answer.attributes().iter().find(|attribute| attribute.key() == Some(DEREGISTRATION_DELAY));
    Ok(delay.and_then(|attribute| attribute.value()?.parse().ok()).unwrap_or_default())
}

async fn set_deregistration_delay(aws: &Aws, arn: &str, delay_s: i64) -> Result<(), Fault> {
    let delay = TargetGroupAttribute::builder().key(DEREGISTRATION_DELAY).value(delay_s.to_string()).build();
    aws.elb.modify_target_group_attributes().target_group_arn(arn).attributes(delay).send().await?;
    Ok(())
}

fn settings(group: &Described, deregistration_delay_s: i64) -> Settings {
    Settings {
        port: group.port().unwrap_or_default(),
        protocol: group.protocol().map(|protocol| protocol.as_str().to_owned()).unwrap_or_default(),
        vpc: group.vpc_id().unwrap_or_default().into(),
        health_check: HealthCheck {
            path: group.health_check_path().unwrap_or_default().into(),
            interval_s: group.health_check_interval_seconds().unwrap_or_default(),
            timeout_s: group.health_check_timeout_seconds().unwrap_or_default(),
            healthy: group.healthy_threshold_count().unwrap_or_default(),
            unhealthy: group.unhealthy_threshold_count().unwrap_or_default(),
            matcher: group.matcher().and_then(Matcher::http_code).unwrap_or_default().into(),
        },
        deregistration_delay_s,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_request_limit_of_the_service_fits_into_the_deregistration_delay() {
        let limits = service::Limits::default();
        assert!(limits.whole < limits.drain);
        assert!(limits.drain < Duration::from_secs(DEREGISTRATION_DELAY_S.unsigned_abs()));
    }
}
