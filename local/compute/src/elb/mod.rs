//! Elastic Load Balancing v2: load balancers, target groups, listeners and their rules.

mod attributes;
mod certificates;
mod hosted_zones;
mod limits;
mod listeners;
mod load_balancers;
mod policies;
mod rules;
mod tags;
mod target_groups;
mod targets;

use super::Run::{Reads, Writes};
use super::{ComputeOperation, row};
use kit::call::{Asked, Need, Needs, Pagination, Style};
use kit::constraint;
use kit::query::{ApiError, Params};

pub use attributes::{
    LogPlace, deregistration_delay_s, idle_timeout_s, log_place, text as attribute, wanted_log_place,
};
pub use hosted_zones::hosted_zone;
pub use load_balancers::is_reachable;
pub use policies::SslPolicy;
pub use targets::{Reachability, TargetStatus, checked_at, deregister, register, routable, seen_by, target_key};

/// The XML namespace of the responses.
pub const NAME_SPACE: &str = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/";

/// The supported parameters of the actions under a prefix.
macro_rules! actions {
    ($place:literal) => {
        concat!(
            $place,
            ".Type ",
            $place,
            ".Order ",
            $place,
            ".TargetGroupArn ",
            $place,
            ".ForwardConfig.TargetGroups.TargetGroupArn ",
            $place,
            ".ForwardConfig.TargetGroups.Weight ",
            $place,
            ".ForwardConfig.TargetGroupStickinessConfig.Enabled=false ",
            $place,
            ".RedirectConfig.Protocol ",
            $place,
            ".RedirectConfig.Port ",
            $place,
            ".RedirectConfig.Host ",
            $place,
            ".RedirectConfig.Path ",
            $place,
            ".RedirectConfig.Query ",
            $place,
            ".RedirectConfig.StatusCode ",
            $place,
            ".FixedResponseConfig.StatusCode ",
            $place,
            ".FixedResponseConfig.ContentType ",
            $place,
            ".FixedResponseConfig.MessageBody "
        )
    };
}

/// The supported parameters of the conditions of a rule.
macro_rules! conditions {
    () => {
        "Conditions.Field Conditions.Values Conditions.HostHeaderConfig.Values Conditions.PathPatternConfig.Values "
    };
}

const LISTENER: Needs = Needs::On("{ListenerArn}");
const RULE: Needs = Needs::On("{RuleArn}");
const RULES: Needs = Needs::Of(|asked| {
    let form = asked.call.input.form();
    let arns = form.iter().filter(|(name, _)| name.starts_with("RulePriorities.") && name.ends_with(".RuleArn"));
    let needs: Vec<Need> = arns.map(|(_, arn)| asked.own(arn.as_str())).collect();
    if needs.is_empty() { vec![asked.own("*")] } else { needs }
});
const LOAD_BALANCER: Needs = Needs::On("{LoadBalancerArn}");
const TARGET_GROUP: Needs = Needs::On("{TargetGroupArn}");
const TAGGED: Needs = Needs::On("{ResourceArns}");
/// The unique part of a new ARN is not known yet, so it is a wildcard.
const NEW_LOAD_BALANCER: Needs = Needs::Of(|asked| with_tags(asked, named(asked, "loadbalancer/app")));
const NEW_TARGET_GROUP: Needs = Needs::Of(|asked| with_tags(asked, named(asked, "targetgroup")));
const NEW_RULE: Needs = Needs::Of(|asked| with_tags(asked, asked.text("ListenerArn").to_owned()));
const NEW_LISTENER: Needs = Needs::Of(|asked| with_tags(asked, asked.text("LoadBalancerArn").to_owned()));

fn named(asked: &Asked, kind: &str) -> String {
    asked.arn(&format!("{kind}/{}/*", asked.call.input.text("Name").unwrap_or("*")))
}

/// The action on a resource; creating something with tags needs `AddTags` as well (docs/aws.md §2.5).
fn with_tags(asked: &Asked, arn: String) -> Vec<Need> {
    let has_tags = asked.call.input.form().keys().any(|name| name.starts_with("Tags."));
    let tag = has_tags.then(|| Need::new("elasticloadbalancing:AddTags", arn.as_str()));
    [asked.own(arn.as_str())].into_iter().chain(tag).collect()
}

static PAGES: Style = Style {
    size: "PageSize",
    from: "Marker",
    next: "NextMarker",
    usual: 400,
    least: 1,
    most: 400,
    bad_token: "ValidationError",
};

/// Errors: a required list is missing.
fn needs(params: &Params, name: &str) -> Result<(), ApiError> {
    match params.has(name) {
        true => Ok(()),
        false => Err(ApiError::new("ValidationError", constraint::missing(&constraint::member(name)))),
    }
}

const fn list(items: &'static str) -> Option<Pagination> {
    Some(Pagination::Cut(&PAGES, items))
}

/// Every operation.
pub const OPERATIONS: &[ComputeOperation] = &[
    row(
        "AddListenerCertificates",
        Writes(certificates::add),
        LISTENER,
        None,
        "ListenerArn Certificates.CertificateArn Certificates.IsDefault",
    ),
    row("AddTags", Writes(tags::add), TAGGED, None, "ResourceArns Tags.*"),
    row(
        "CreateListener",
        Writes(listeners::create),
        NEW_LISTENER,
        None,
        concat!(
            "LoadBalancerArn Port Protocol SslPolicy Certificates.* AlpnPolicy Tags.* ",
            actions!("DefaultActions")
        ),
    ),
    row(
        "CreateLoadBalancer",
        Writes(load_balancers::create),
        NEW_LOAD_BALANCER,
        None,
        "Name Subnets SubnetMappings.SubnetId SecurityGroups Scheme Tags.* Type IpAddressType=ipv4",
    ),
    row(
        "CreateRule",
        Writes(rules::create),
        NEW_RULE,
        None,
        concat!("ListenerArn Priority Tags.* ", conditions!(), actions!("Actions")),
    ),
    row(
        "CreateTargetGroup",
        Writes(target_groups::create),
        NEW_TARGET_GROUP,
        None,
        "Name Protocol ProtocolVersion=HTTP1 Port VpcId TargetType IpAddressType=ipv4 Tags.* HealthCheckEnabled HealthCheckIntervalSeconds HealthCheckPath HealthCheckPort HealthCheckProtocol HealthCheckTimeoutSeconds HealthyThresholdCount Matcher.HttpCode UnhealthyThresholdCount",
    ),
    row("DeleteListener", Writes(listeners::delete), LISTENER, None, "ListenerArn"),
    row("DeleteLoadBalancer", Writes(load_balancers::delete), LOAD_BALANCER, None, "LoadBalancerArn"),
    row("DeleteRule", Writes(rules::delete), RULE, None, "RuleArn"),
    row("DeleteTargetGroup", Writes(target_groups::delete), TARGET_GROUP, None, "TargetGroupArn"),
    row(
        "DeregisterTargets",
        Writes(targets::deregister_by_id),
        TARGET_GROUP,
        None,
        "TargetGroupArn Targets.Id Targets.Port",
    ),
    row("DescribeAccountLimits", Reads(limits::describe), Needs::Own, list("Limits"), "Marker PageSize"),
    row("DescribeCapacityReservation", Reads(attributes::describe_capacity), Needs::Own, None, "LoadBalancerArn"),
    row("DescribeListenerAttributes", Reads(attributes::describe_listener), Needs::Own, None, "ListenerArn"),
    row(
        "DescribeListenerCertificates",
        Reads(certificates::describe),
        Needs::Own,
        list("Certificates"),
        "ListenerArn Marker PageSize",
    ),
    row(
        "DescribeListeners",
        Reads(listeners::describe),
        Needs::Own,
        list("Listeners"),
        "ListenerArns LoadBalancerArn Marker PageSize",
    ),
    row(
        "DescribeLoadBalancerAttributes",
        Reads(attributes::describe_load_balancer),
        Needs::Own,
        None,
        "LoadBalancerArn",
    ),
    row(
        "DescribeLoadBalancers",
        Reads(load_balancers::describe),
        Needs::Own,
        list("LoadBalancers"),
        "LoadBalancerArns Names Marker PageSize",
    ),
    row("DescribeRules", Reads(rules::describe), Needs::Own, list("Rules"), "ListenerArn Marker PageSize RuleArns"),
    row(
        "DescribeSSLPolicies",
        Reads(policies::describe),
        Needs::Own,
        list("SslPolicies"),
        "LoadBalancerType=application Marker Names PageSize",
    ),
    row("DescribeTags", Reads(tags::describe), Needs::Own, None, "ResourceArns"),
    row("DescribeTargetGroupAttributes", Reads(attributes::describe_target_group), Needs::Own, None, "TargetGroupArn"),
    row(
        "DescribeTargetGroups",
        Reads(target_groups::describe),
        Needs::Own,
        list("TargetGroups"),
        "LoadBalancerArn Names TargetGroupArns Marker PageSize",
    ),
    row("DescribeTargetHealth", Reads(targets::describe), Needs::Own, None, "TargetGroupArn Targets.Id Targets.Port"),
    row(
        "ModifyListener",
        Writes(listeners::modify),
        LISTENER,
        None,
        concat!("ListenerArn Port Protocol SslPolicy Certificates.* AlpnPolicy ", actions!("DefaultActions")),
    ),
    row(
        "ModifyLoadBalancerAttributes",
        Writes(attributes::modify_load_balancer),
        LOAD_BALANCER,
        None,
        "LoadBalancerArn Attributes.Key Attributes.Value",
    ),
    row("ModifyRule", Writes(rules::modify), RULE, None, concat!("RuleArn ", conditions!(), actions!("Actions"))),
    row(
        "ModifyTargetGroup",
        Writes(target_groups::modify),
        TARGET_GROUP,
        None,
        "TargetGroupArn HealthCheckEnabled HealthCheckIntervalSeconds HealthCheckPath HealthCheckPort HealthCheckProtocol HealthCheckTimeoutSeconds HealthyThresholdCount Matcher.HttpCode UnhealthyThresholdCount",
    ),
    row(
        "ModifyTargetGroupAttributes",
        Writes(attributes::modify_target_group),
        TARGET_GROUP,
        None,
        "TargetGroupArn Attributes.Key Attributes.Value",
    ),
    row(
        "RegisterTargets",
        Writes(targets::register_by_id),
        TARGET_GROUP,
        None,
        "TargetGroupArn Targets.Id Targets.Port",
    ),
    row(
        "RemoveListenerCertificates",
        Writes(certificates::remove),
        LISTENER,
        None,
        "ListenerArn Certificates.CertificateArn Certificates.IsDefault",
    ),
    row("RemoveTags", Writes(tags::remove), TAGGED, None, "ResourceArns TagKeys"),
    row(
        "SetRulePriorities",
        Writes(rules::set_priorities),
        RULES,
        None,
        "RulePriorities.RuleArn RulePriorities.Priority",
    ),
    row(
        "SetSecurityGroups",
        Writes(load_balancers::set_security_groups),
        LOAD_BALANCER,
        None,
        "LoadBalancerArn SecurityGroups",
    ),
    row(
        "SetSubnets",
        Writes(load_balancers::set_subnets),
        LOAD_BALANCER,
        None,
        "IpAddressType=ipv4 LoadBalancerArn Subnets SubnetMappings.SubnetId",
    ),
];
