//! EC2: the part of it a stack uses.

mod images;
mod instances;
mod interfaces;
mod launch_templates;
mod network;
mod quotas;
mod security_groups;
mod tags;
mod types;

use super::Operation::{self, Reads, Writes};

pub use images::find as find_image;
pub use instances::terminate;
pub use launch_templates::{Data, find as find_template, resolve as resolve_template};
pub use network::{Subnet, subnets, vpc_id};
pub use quotas::check as check_quota;
pub use security_groups::{admits, ensure_default as ensure_default_security_group};
pub use types::{Kind, find as find_type};

/// Every operation and its function.
pub const OPERATIONS: &[(&str, Operation)] = &[
    ("AuthorizeSecurityGroupEgress", Writes(security_groups::authorize_egress)),
    ("AuthorizeSecurityGroupIngress", Writes(security_groups::authorize_ingress)),
    ("CreateLaunchTemplate", Writes(launch_templates::create)),
    ("CreateLaunchTemplateVersion", Writes(launch_templates::create_version)),
    ("CreateSecurityGroup", Writes(security_groups::create)),
    ("CreateTags", Writes(tags::create)),
    ("DeleteLaunchTemplate", Writes(launch_templates::delete)),
    ("DeleteLaunchTemplateVersions", Writes(launch_templates::delete_versions)),
    ("DeleteSecurityGroup", Writes(security_groups::delete)),
    ("DeleteTags", Writes(tags::delete)),
    ("DescribeAvailabilityZones", Reads(network::describe_zones)),
    ("DescribeImages", Reads(images::describe)),
    ("DescribeInstanceStatus", Reads(instances::describe_status)),
    ("DescribeInstanceTypeOfferings", Reads(types::describe_offerings)),
    ("DescribeInstanceTypes", Reads(types::describe)),
    ("DescribeInstances", Reads(instances::describe)),
    ("DescribeLaunchTemplateVersions", Reads(launch_templates::describe_versions)),
    ("DescribeLaunchTemplates", Reads(launch_templates::describe)),
    ("DescribeNetworkInterfaces", Reads(interfaces::describe)),
    ("DescribeRouteTables", Reads(network::describe_route_tables)),
    ("DescribeSecurityGroupRules", Reads(security_groups::describe_rules)),
    ("DescribeSecurityGroups", Reads(security_groups::describe)),
    ("DescribeSubnets", Reads(network::describe_subnets)),
    ("DescribeTags", Reads(tags::describe)),
    ("DescribeVpcAttribute", Reads(network::describe_vpc_attribute)),
    ("DescribeVpcs", Reads(network::describe_vpcs)),
    ("GetConsoleOutput", Reads(instances::console_output)),
    ("ModifyLaunchTemplate", Writes(launch_templates::modify)),
    ("RebootInstances", Writes(instances::reboot)),
    ("RevokeSecurityGroupEgress", Writes(security_groups::revoke_egress)),
    ("RevokeSecurityGroupIngress", Writes(security_groups::revoke_ingress)),
    ("StartInstances", Writes(instances::start)),
    ("StopInstances", Writes(instances::stop)),
    ("TerminateInstances", Writes(instances::terminate_by_id)),
];
