//! Auto Scaling groups, their policies and alarms, and launch templates.

use aws_sdk_autoscaling::types::{
    LaunchTemplateSpecification, MetricType, PredefinedMetricSpecification, Tag as GroupTag,
    TargetTrackingConfiguration,
};
use aws_sdk_cloudwatch::types::{ComparisonOperator, Dimension};
use aws_sdk_ec2::types::{
    InstanceType, LaunchTemplateBlockDeviceMappingRequest, LaunchTemplateEbsBlockDeviceRequest,
    LaunchTemplateHttpTokensState, LaunchTemplateIamInstanceProfileSpecificationRequest,
    LaunchTemplateInstanceMetadataEndpointState, LaunchTemplateInstanceMetadataOptionsRequest,
    LaunchTemplateTagSpecificationRequest, RequestLaunchTemplateData, ResourceType, Tag, VolumeType,
};

use super::{AT_PORT, Hands, TAG, WEB};

impl Hands<'_> {
    pub(super) async fn group(&self, field: &str) {
        let autoscaling = &self.aws.autoscaling;
        let update = autoscaling.update_auto_scaling_group().auto_scaling_group_name(AT_PORT);
        let template = LaunchTemplateSpecification::builder().version("$Latest");
        let changed = match field {
            "min" => update.min_size(0),
            "max" => update.max_size(5),
            "subnets" => update.vpc_zone_identifier(self.other_subnets().await.join(",")),
            "health_check_type" => update.health_check_type("EC2"),
            "grace_period_s" => update.health_check_grace_period(0),
            "warmup_s" => update.default_instance_warmup(10),
            "template.version" => update.launch_template(template.launch_template_name(WEB).build()),
            "template.id" => {
                let images = self.aws.ec2.describe_images().owners("amazon").send().await.expect("images");
                let image = images.images()[0].image_id().expect("it has an id");
                let data = RequestLaunchTemplateData::builder().image_id(image).instance_type(InstanceType::T3Micro);
                let make = self.aws.ec2.create_launch_template().launch_template_name("other");
                make.launch_template_data(data.build()).send().await.expect("a template can be made");
                update.launch_template(template.launch_template_name("other").build())
            }
            "ends" => {
                let tag = GroupTag::builder().key("deployer:ends").value("2026-11-29T12:00:00Z").resource_id(AT_PORT);
                let tag = tag.resource_type("auto-scaling-group").propagate_at_launch(false).build();
                return drop(autoscaling.create_or_update_tags().tags(tag).send().await.expect("it can be tagged"));
            }
            "target_groups" => {
                let call = autoscaling.detach_load_balancer_target_groups().auto_scaling_group_name(AT_PORT);
                let call = call.target_group_arns(self.target_group_arn().await);
                return drop(call.send().await.expect("it can be detached"));
            }
            _ => {
                assert_eq!(field, "tags.course");
                let tag = GroupTag::builder().key(TAG).resource_id(AT_PORT).resource_type("auto-scaling-group");
                let tag = tag.build();
                return drop(autoscaling.delete_tags().tags(tag).send().await.expect("it can be untagged"));
            }
        };
        changed.send().await.expect("the group can be changed");
    }

    pub(super) async fn alarm(&self, field: &str) {
        let cloudwatch = &self.aws.cloudwatch;
        let name = "postagram-web-target-5xx";
        let answer = cloudwatch.describe_alarms().alarm_names(name).send().await.expect("alarms");
        let alarm = answer.metric_alarms().first().expect("it is there").clone();
        let mut metrics = alarm.metrics().to_vec();
        let put = cloudwatch
            .put_metric_alarm()
            .alarm_name(name)
            .set_comparison_operator(alarm.comparison_operator().cloned())
            .set_threshold(alarm.threshold())
            .set_evaluation_periods(alarm.evaluation_periods())
            .set_datapoints_to_alarm(alarm.datapoints_to_alarm())
            .set_treat_missing_data(alarm.treat_missing_data().map(str::to_owned));
        let put = match field {
            "errors" | "load_balancer" => {
                let errors = metrics.iter_mut().find(|it| it.id() == Some("errors")).expect("errors are counted");
                let stat = errors.metric_stat.as_mut().expect("it is a metric");
                let metric = stat.metric.as_mut().expect("it is a metric");
                match field {
                    "errors" => metric.metric_name = Some("HTTPCode_Target_4XX_Count".into()),
                    _ => {
                        let other = Dimension::builder().name("LoadBalancer").value("app/other/1").build();
                        metric.dimensions = Some(vec![other]);
                    }
                }
                put
            }
            "expression" => {
                let share = metrics.iter_mut().find(|it| it.id() == Some("share")).expect("there is an expression");
                share.expression = Some("errors / requests".into());
                put
            }
            "comparison" => put.comparison_operator(ComparisonOperator::LessThanThreshold),
            "over_percent" => put.threshold(7.0),
            "minutes" => put.evaluation_periods(5),
            "minutes_over" => put.datapoints_to_alarm(2),
            "missing_data" => put.treat_missing_data("breaching"),
            "+" => {
                let call = cloudwatch.delete_alarms().alarm_names(name);
                return drop(call.send().await.expect("it can be deleted"));
            }
            _ => {
                assert_eq!(field, "tags.course");
                let call = cloudwatch.untag_resource().resource_arn(alarm.alarm_arn().unwrap_or_default());
                return drop(call.tag_keys(TAG).send().await.expect("it can be untagged"));
            }
        };
        put.set_metrics(Some(metrics)).send().await.expect("it can be changed");
    }

    pub(super) async fn scaling_policy(&self, field: &str) {
        let autoscaling = &self.aws.autoscaling;
        let metric = match field {
            "target_percent" => MetricType::AsgAverageCpuUtilization,
            "metric" => MetricType::AsgAverageNetworkIn,
            _ => {
                assert_eq!(field, "+");
                let call = autoscaling.delete_policy().auto_scaling_group_name(AT_PORT).policy_name("cpu");
                return drop(call.send().await.expect("it can be deleted"));
            }
        };
        let metric = PredefinedMetricSpecification::builder().predefined_metric_type(metric).build();
        let tracking =
            TargetTrackingConfiguration::builder().predefined_metric_specification(metric).target_value(70.0).build();
        let call = autoscaling.put_scaling_policy().auto_scaling_group_name(AT_PORT).policy_name("cpu");
        let call = call.policy_type("TargetTrackingScaling").target_tracking_configuration(tracking);
        call.send().await.expect("the policy can be changed");
    }

    /// Creates a new version from the previous one, so that it keeps the previous changes.
    pub(super) async fn template(&self, field: &str) {
        let data = RequestLaunchTemplateData::builder();
        let data = match field {
            // A version written by hand has an image of its own, even if it is the same one.
            "image" => data.instance_type(InstanceType::T3Micro),
            "instance_type" => data.instance_type(InstanceType::T3Small),
            "instance_profile" => {
                let profile = LaunchTemplateIamInstanceProfileSpecificationRequest::builder().name("other");
                data.iam_instance_profile(profile.build())
            }
            "security_groups" => data.security_group_ids(self.firewall_id("postagram-web-lb").await),
            "user_data" => data.user_data("I2Nsb3VkLWNvbmZpZwo="),
            "metadata_endpoint" | "metadata_tokens" | "metadata_hops" => data.metadata_options(metadata(field)),
            "instance_tags.course" | "volume_tags.course" => {
                let data = data.tag_specifications(template_tags(ResourceType::Instance, "other"));
                let volumes = if field == "volume_tags.course" { "other" } else { "cloud" };
                data.tag_specifications(template_tags(ResourceType::Volume, volumes))
            }
            "tags.course" => {
                return self.untag_in_ec2(self.template_id().await).await;
            }
            disk => data.block_device_mappings(other_disk(disk)),
        };
        let call = self.aws.ec2.create_launch_template_version().launch_template_name(WEB).source_version("$Latest");
        let call = call.version_description("by hand").launch_template_data(data.build());
        call.send().await.expect("a version can be made");
    }
}

/// Options in which every field up to this one differs from the desired value.
fn metadata(field: &str) -> LaunchTemplateInstanceMetadataOptionsRequest {
    let (with_tokens, with_hops) = (field != "metadata_endpoint", field == "metadata_hops");
    let tokens =
        if with_tokens { LaunchTemplateHttpTokensState::Optional } else { LaunchTemplateHttpTokensState::Required };
    LaunchTemplateInstanceMetadataOptionsRequest::builder()
        .http_endpoint(LaunchTemplateInstanceMetadataEndpointState::Disabled)
        .http_tokens(tokens)
        .http_put_response_hop_limit(if with_hops { 2 } else { 1 })
        .build()
}

/// The tags of the resources created from the launch template, with this value of the tag `course`.
fn template_tags(of: ResourceType, course: &str) -> LaunchTemplateTagSpecificationRequest {
    let tags =
        [("Name", WEB), (TAG, course), ("deployer:stack", "postagram"), ("deployer:resource", "launch_template.web")];
    let tags = tags.map(|(key, value)| Tag::builder().key(key).value(value).build());
    LaunchTemplateTagSpecificationRequest::builder().resource_type(of).set_tags(Some(tags.into())).build()
}

/// A disk in which every field up to this one differs from the desired value.
fn other_disk(field: &str) -> LaunchTemplateBlockDeviceMappingRequest {
    const FIELDS: [&str; 6] = ["device", "gb", "volume_type", "encrypted", "key", "ends_with_instance"];
    let last = FIELDS.iter().position(|name| Some(*name) == field.strip_prefix("disk.")).expect("a field of the disk");
    let volume = LaunchTemplateEbsBlockDeviceRequest::builder()
        .volume_size(if last >= 1 { 99 } else { 8 })
        .volume_type(if last >= 2 { VolumeType::Gp2 } else { VolumeType::Gp3 })
        .encrypted(last < 3)
        .set_kms_key_id((last >= 4).then(|| "alias/by-hand".into()))
        .delete_on_termination(last < 5);
    LaunchTemplateBlockDeviceMappingRequest::builder().device_name("/dev/sdb").ebs(volume.build()).build()
}
