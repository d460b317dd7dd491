//! Target tracking policies of Auto Scaling groups.

use aws_sdk_autoscaling::types::{
    MetricType, PredefinedMetricSpecification, ScalingPolicy as Described, TargetTrackingConfiguration,
};
use serde::Serialize;

use crate::{
    cloud::aws::{Aws, found, gone},
    engine::{Fault, Live, Observed, Owner, Resource, Tags},
};

/// The target tracking policy of a group.
#[derive(Debug, Clone)]
pub struct ScalingPolicy {
    /// The Auto Scaling group.
    pub group: String,
}

/// The settings that we manage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The metric.
    pub metric: String,
    /// The target value.
    pub target_percent: f64,
}

/// No outputs.
#[derive(Debug, Clone)]
pub struct Output {}

/// The name of the policy.
pub const NAME: &str = "cpu";
/// The type of the policy.
pub const TYPE: &str = "TargetTrackingScaling";

impl Settings {
    /// Keeps the average CPU utilisation at this percentage.
    pub fn cpu(target_percent: f64) -> Settings {
        Settings { metric: "ASGAverageCPUUtilization".into(), target_percent }
    }
}

impl Resource for ScalingPolicy {
    const KIND: &'static str = "scaling_policy";
    const SOURCES: &'static [(&'static str, &'static str)] = &[("target_percent", "instances.cpu_percent")];

    type Cloud = Aws;
    type Settings = Settings;
    type Output = Output;

    fn name(&self) -> &str {
        &self.group
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let call = aws.autoscaling.describe_policies().auto_scaling_group_name(&self.group).policy_names(NAME);
        let answer = found(call.send().await)?;
        let policy = answer.as_ref().and_then(|answer| answer.scaling_policies().first());
        Ok(policy.map_or(Observed::Absent, |policy| Observed::Present(live(settings(policy)))))
    }

    async fn create(&self, aws: &Aws, want: &Settings, _: &Tags) -> Result<Option<Live<Self>>, Fault> {
        self.put(aws, want).await?;
        Ok(Some(live(want.clone())))
    }

    async fn update(&self, aws: &Aws, want: &Settings, _: &Live<Self>) -> Result<(), Fault> {
        self.put(aws, want).await
    }

    async fn delete(&self, aws: &Aws, _: &Live<Self>) -> Result<(), Fault> {
        let call = aws.autoscaling.delete_policy().auto_scaling_group_name(&self.group).policy_name(NAME);
        gone(call.send().await)
    }
}

impl ScalingPolicy {
    /// Creates or overwrites it (docs/aws.md §10.6).
    async fn put(&self, aws: &Aws, want: &Settings) -> Result<(), Fault> {
        let metric = PredefinedMetricSpecification::builder()
            .predefined_metric_type(MetricType::from(want.metric.as_str()))
            .build();
        let target = TargetTrackingConfiguration::builder()
            .predefined_metric_specification(metric)
            .target_value(want.target_percent)
            .build();
        aws.autoscaling
            .put_scaling_policy()
            .auto_scaling_group_name(&self.group)
            .policy_name(NAME)
            .policy_type(TYPE)
            .target_tracking_configuration(target)
            .send()
            .await?;
        Ok(())
    }
}

fn live(settings: Settings) -> Live<ScalingPolicy> {
    Live { settings, output: Output {}, owner: Owner::Parent }
}

fn settings(policy: &Described) -> Settings {
    let target = policy.target_tracking_configuration();
    let metric = target.and_then(|target| target.predefined_metric_specification());
    Settings {
        metric: metric
            .and_then(|metric| metric.predefined_metric_type())
            .map(|metric| metric.as_str().to_owned())
            .unwrap_or_default(),
        target_percent: target.and_then(|target| target.target_value()).unwrap_or_default(),
    }
}
