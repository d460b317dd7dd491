//! Security groups, launch templates, Auto Scaling groups and their scaling policies.

use aws_sdk_ec2::types::SecurityGroupRule;

use super::{
    Sheet, TERRAFORMS_OWN, Terraform,
    hcl::{Body, Expr},
    sheet::{USER_DATA, link, link_as, map},
};
use crate::{
    cloud::aws::Aws,
    engine::{Fault, Live, Resource as _},
    kinds::{
        auto_scaling_group::AutoScalingGroup,
        launch_template::LaunchTemplate,
        scaling_policy::{self, ScalingPolicy},
        security_group::SecurityGroup,
    },
    page::user_data,
};

impl Terraform for SecurityGroup {
    async fn write(&self, live: &Live<Self>, aws: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let body = Body::new()
            .text("name", &self.name)
            .text("description", &live.settings.description)
            .set("vpc_id", link(&self.vpc))
            .set("tags", sheet.tags())
            .ignoring(TERRAFORMS_OWN, &["revoke_rules_on_delete"]);
        let id = &live.output.id;
        let address = sheet.add("aws_security_group", id, body);
        sheet.know(id, format!("{address}.id"));
        // By themselves, because the rules of both groups of a service name the other one.
        for rule in live.output.rules(aws).await? {
            let kind = match rule.is_egress() {
                Some(true) => "aws_vpc_security_group_egress_rule",
                _ => "aws_vpc_security_group_ingress_rule",
            };
            sheet.add(kind, rule.security_group_rule_id().unwrap_or_default(), rule_body(&rule, &address));
        }
        Ok(())
    }
}

fn rule_body(rule: &SecurityGroupRule, group: &str) -> Body {
    let is_everything = rule.ip_protocol() == Some("-1");
    let port = |port: Option<i32>| port.filter(|_| !is_everything).map(Expr::int);
    let other = rule.referenced_group_info().and_then(|it| it.group_id());
    let description = rule.description().filter(|text| !text.is_empty());
    Body::new()
        .set("security_group_id", Expr::raw(format!("{group}.id")))
        .set_some("description", description.map(Expr::text))
        .text("ip_protocol", rule.ip_protocol().unwrap_or_default())
        .set_some("from_port", port(rule.from_port()))
        .set_some("to_port", port(rule.to_port()))
        .set_some("cidr_ipv4", rule.cidr_ipv4().map(Expr::text))
        .set_some("cidr_ipv6", rule.cidr_ipv6().map(Expr::text))
        .set_some("prefix_list_id", rule.prefix_list_id().map(Expr::text))
        .set_some("referenced_security_group_id", other.map(link))
}

impl Terraform for LaunchTemplate {
    async fn write(&self, live: &Live<Self>, aws: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let settings = &live.settings;
        let has_closed = user_data::variables(&settings.user_data)
            .is_none_or(|all| all.iter().any(|(name, value)| !self.is_open(&environment(name), value)));
        // Commands may hold anything.
        let is_secret = has_closed || user_data::has_commands(&settings.user_data);
        let label = sheet.label();
        let boot = sheet.file(&format!("{label}{USER_DATA}"), settings.user_data.clone().into_bytes(), is_secret);
        let instance_type = sheet.setting("instance_type", "string", Expr::text(&settings.instance_type));
        let gb = sheet.setting("disk_gb", "number", Expr::int(settings.disk.gb));
        // The provider takes these truth values as texts.
        let ebs = Body::new()
            .set("volume_size", gb)
            .text("volume_type", &settings.disk.volume_type)
            .text("encrypted", &settings.disk.encrypted.to_string())
            .set_some("kms_key_id", settings.disk.key.as_ref().map(Expr::text))
            .text("delete_on_termination", &settings.disk.ends_with_instance.to_string());
        let metadata = Body::new()
            .text("http_endpoint", &settings.metadata_endpoint)
            .text("http_tokens", &settings.metadata_tokens)
            .int("http_put_response_hop_limit", settings.metadata_hops);
        let tags = |kind: &str, tags| Body::new().text("resource_type", kind).set("tags", map(tags));
        let description = self.description_of_newest(aws).await?;
        let body = Body::new()
            .text("name", &self.name)
            .set_some("description", description.as_deref().filter(|text| !text.is_empty()).map(Expr::text))
            .text("image_id", &live.output.image)
            .set("instance_type", instance_type)
            .set("vpc_security_group_ids", Expr::List(settings.security_groups.iter().map(|id| link(id)).collect()))
            .set("user_data", Expr::Call("filebase64", Box::new(boot)))
            .set("tags", sheet.tags())
            .block("iam_instance_profile", Body::new().set("name", link_as("profile", &settings.instance_profile)))
            .block("block_device_mappings", Body::new().text("device_name", &settings.disk.device).block("ebs", ebs))
            .block("metadata_options", metadata)
            .block("tag_specifications", tags("instance", &settings.instance_tags))
            .block("tag_specifications", tags("volume", &settings.volume_tags));
        let address = sheet.add("aws_launch_template", &live.output.id, body);
        sheet.know(&live.output.id, format!("{address}.id"));
        sheet.know_as(
            "version",
            &format!("{} {}", live.output.id, live.output.version),
            format!("{address}.latest_version"),
        );
        Ok(())
    }
}

/// The path of a variable in the settings of a launch template.
fn environment(variable: &str) -> String {
    format!("user_data.environment.{variable}")
}

const SCALES: &str = "The scaling policy decides how many instances there are. AWS does not return the others.";

/// Arguments of a group that exist in Terraform alone.
const OF_GROUPS: &[&str] = &[
    "desired_capacity",
    "force_delete",
    "force_delete_warm_pool",
    "ignore_failed_scaling_activities",
    "wait_for_capacity_timeout",
];

impl Terraform for AutoScalingGroup {
    async fn write(&self, live: &Live<Self>, _: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let settings = &live.settings;
        let min = sheet.setting("instances.min", "number", Expr::int(settings.min));
        let max = sheet.setting("instances.max", "number", Expr::int(settings.max));
        let version = format!("{} {}", settings.template.id, settings.template.version);
        let template = Body::new()
            .set("id", link(&settings.template.id))
            .set("version", sheet.known_or("version", &version, &settings.template.version));
        let tag = |(key, value): (&String, &String)| {
            Body::new().text("key", key).text("value", value).flag("propagate_at_launch", false)
        };
        let tags: Vec<Body> = sheet.each_tag().iter().map(tag).collect();
        let body = Body::new()
            .text("name", &self.name)
            .set("min_size", min)
            .set("max_size", max)
            .set("vpc_zone_identifier", Expr::List(settings.subnets.iter().map(|id| link(id)).collect()))
            .set("target_group_arns", Expr::List(settings.target_groups.iter().map(|arn| link(arn)).collect()))
            .text("health_check_type", &settings.health_check_type)
            .int("health_check_grace_period", settings.grace_period_s)
            .int("default_instance_warmup", settings.warmup_s)
            .block("launch_template", template)
            .blocks("tag", tags)
            .ignoring(SCALES, OF_GROUPS);
        let address = sheet.add("aws_autoscaling_group", &self.name, body);
        sheet.know_as("group", &self.name, format!("{address}.name"));
        Ok(())
    }
}

impl Terraform for ScalingPolicy {
    async fn write(&self, live: &Live<Self>, _: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let percent = sheet.setting("instances.cpu_percent", "number", Expr::float(live.settings.target_percent));
        let metric = Body::new().text("predefined_metric_type", &live.settings.metric);
        let target = Body::new().set("target_value", percent).block("predefined_metric_specification", metric);
        let body = Body::new()
            .text("name", scaling_policy::NAME)
            .set("autoscaling_group_name", link_as("group", &self.group))
            .text("policy_type", scaling_policy::TYPE)
            .block("target_tracking_configuration", target);
        sheet.add("aws_autoscaling_policy", &format!("{}/{}", self.group, scaling_policy::NAME), body);
        Ok(())
    }
}
