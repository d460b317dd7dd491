//! Elastic Load Balancing v2: load balancers, target groups, listeners.

mod attributes;
mod listeners;
mod load_balancers;
mod tags;
mod target_groups;
mod targets;

use super::Operation::{self, Reads, Writes};

pub use attributes::{deregistration_delay_s, idle_timeout_s, text as attribute};
pub use targets::{Place, checked_at, deregister, register, routable, seen_by, status as target_status, target_key};

/// The name space of the answers.
pub const NAME_SPACE: &str = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/";

/// Every operation and its function.
pub const OPERATIONS: &[(&str, Operation)] = &[
    ("AddTags", Writes(tags::add)),
    ("CreateListener", Writes(listeners::create)),
    ("CreateLoadBalancer", Writes(load_balancers::create)),
    ("CreateTargetGroup", Writes(target_groups::create)),
    ("DeleteListener", Writes(listeners::delete)),
    ("DeleteLoadBalancer", Writes(load_balancers::delete)),
    ("DeleteTargetGroup", Writes(target_groups::delete)),
    ("DeregisterTargets", Writes(targets::deregister_by_id)),
    ("DescribeCapacityReservation", Reads(attributes::describe_capacity)),
    ("DescribeListenerAttributes", Reads(attributes::describe_listener)),
    ("DescribeListeners", Reads(listeners::describe)),
    ("DescribeLoadBalancerAttributes", Reads(attributes::describe_load_balancer)),
    ("DescribeLoadBalancers", Reads(load_balancers::describe)),
    ("DescribeTags", Reads(tags::describe)),
    ("DescribeTargetGroupAttributes", Reads(attributes::describe_target_group)),
    ("DescribeTargetGroups", Reads(target_groups::describe)),
    ("DescribeTargetHealth", Reads(targets::describe)),
    ("ModifyListener", Writes(listeners::modify)),
    ("ModifyLoadBalancerAttributes", Writes(attributes::modify_load_balancer)),
    ("ModifyTargetGroup", Writes(target_groups::modify)),
    ("ModifyTargetGroupAttributes", Writes(attributes::modify_target_group)),
    ("RegisterTargets", Writes(targets::register_by_id)),
    ("RemoveTags", Writes(tags::remove)),
    ("SetSecurityGroups", Writes(load_balancers::set_security_groups)),
    ("SetSubnets", Writes(load_balancers::set_subnets)),
];
