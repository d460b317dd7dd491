//! Elastic Load Balancing v2: load balancers, target groups, listeners.

mod attributes;
mod limits;
mod listeners;
mod load_balancers;
mod tags;
mod target_groups;
mod targets;

use super::Operation::{Reads, Writes};
use super::Row;

pub use attributes::{deregistration_delay_s, idle_timeout_s, text as attribute};
pub use targets::{
    Reachability, checked_at, deregister, register, routable, seen_by, status as target_status, target_key,
};

/// The name space of the answers.
pub const NAME_SPACE: &str = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/";

/// What is said of the actions at a place.
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

/// Every operation, its function, and the parameters that have an effect.
pub const OPERATIONS: &[Row] = &[
    ("AddTags", Writes(tags::add), "ResourceArns Tags.*"),
    (
        "CreateListener",
        Writes(listeners::create),
        concat!("LoadBalancerArn Port Protocol Tags.* ", actions!("DefaultActions")),
    ),
    (
        "CreateLoadBalancer",
        Writes(load_balancers::create),
        "Name Subnets SubnetMappings.SubnetId SecurityGroups Scheme Tags.* Type IpAddressType=ipv4",
    ),
    (
        "CreateTargetGroup",
        Writes(target_groups::create),
        "Name Protocol ProtocolVersion=HTTP1 Port VpcId TargetType IpAddressType=ipv4 Tags.* HealthCheckEnabled HealthCheckIntervalSeconds HealthCheckPath HealthCheckPort HealthCheckProtocol HealthCheckTimeoutSeconds HealthyThresholdCount Matcher.HttpCode UnhealthyThresholdCount",
    ),
    ("DeleteListener", Writes(listeners::delete), "ListenerArn"),
    ("DeleteLoadBalancer", Writes(load_balancers::delete), "LoadBalancerArn"),
    ("DeleteTargetGroup", Writes(target_groups::delete), "TargetGroupArn"),
    ("DeregisterTargets", Writes(targets::deregister_by_id), "TargetGroupArn Targets.Id Targets.Port"),
    ("DescribeAccountLimits", Reads(limits::describe), "Marker PageSize"),
    ("DescribeCapacityReservation", Reads(attributes::describe_capacity), "LoadBalancerArn"),
    ("DescribeListenerAttributes", Reads(attributes::describe_listener), "ListenerArn"),
    ("DescribeListeners", Reads(listeners::describe), "ListenerArns LoadBalancerArn Marker PageSize"),
    ("DescribeLoadBalancerAttributes", Reads(attributes::describe_load_balancer), "LoadBalancerArn"),
    ("DescribeLoadBalancers", Reads(load_balancers::describe), "LoadBalancerArns Names Marker PageSize"),
    ("DescribeRules", Reads(listeners::describe_rules), "ListenerArn Marker PageSize RuleArns"),
    ("DescribeSSLPolicies", Reads(limits::describe_policies), "LoadBalancerType=application Marker Names PageSize"),
    ("DescribeTags", Reads(tags::describe), "ResourceArns"),
    ("DescribeTargetGroupAttributes", Reads(attributes::describe_target_group), "TargetGroupArn"),
    ("DescribeTargetGroups", Reads(target_groups::describe), "LoadBalancerArn Names TargetGroupArns Marker PageSize"),
    ("DescribeTargetHealth", Reads(targets::describe), "TargetGroupArn Targets.Id Targets.Port"),
    ("ModifyListener", Writes(listeners::modify), concat!("ListenerArn Port Protocol ", actions!("DefaultActions"))),
    (
        "ModifyLoadBalancerAttributes",
        Writes(attributes::modify_load_balancer),
        "LoadBalancerArn Attributes.Key Attributes.Value",
    ),
    (
        "ModifyTargetGroup",
        Writes(target_groups::modify),
        "TargetGroupArn HealthCheckEnabled HealthCheckIntervalSeconds HealthCheckPath HealthCheckPort HealthCheckProtocol HealthCheckTimeoutSeconds HealthyThresholdCount Matcher.HttpCode UnhealthyThresholdCount",
    ),
    (
        "ModifyTargetGroupAttributes",
        Writes(attributes::modify_target_group),
        "TargetGroupArn Attributes.Key Attributes.Value",
    ),
    ("RegisterTargets", Writes(targets::register_by_id), "TargetGroupArn Targets.Id Targets.Port"),
    ("RemoveTags", Writes(tags::remove), "ResourceArns TagKeys"),
    ("SetSecurityGroups", Writes(load_balancers::set_security_groups), "LoadBalancerArn SecurityGroups"),
    (
        "SetSubnets",
        Writes(load_balancers::set_subnets),
        "IpAddressType=ipv4 LoadBalancerArn Subnets SubnetMappings.SubnetId",
    ),
];
