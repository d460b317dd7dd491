//! Auto Scaling: groups that keep as many healthy instances as they are told to.

mod activities;
mod groups;
mod launch;
mod policies;
mod rebalance;
mod reconcile;
mod refreshes;
mod schedules;
mod tags;
mod termination;
mod tracking;

use super::Operation::{self, Reads, Writes};

pub use groups::profile_wanted;
pub use reconcile::{profiles_needed, reconcile};
pub use schedules::run_due;
pub use tracking::{Samples, track};

/// The name space of the answers.
pub const NAME_SPACE: &str = "http://autoscaling.amazonaws.com/doc/2011-01-01/";

/// Every operation and its function.
pub const OPERATIONS: &[(&str, Operation)] = &[
    ("AttachLoadBalancerTargetGroups", Writes(groups::attach_target_groups)),
    ("BatchDeleteScheduledAction", Writes(schedules::delete_batch)),
    ("BatchPutScheduledUpdateGroupAction", Writes(schedules::put_batch)),
    ("CancelInstanceRefresh", Writes(refreshes::cancel)),
    ("CreateAutoScalingGroup", Writes(groups::create)),
    ("CreateOrUpdateTags", Writes(tags::create_or_update)),
    ("DeleteAutoScalingGroup", Writes(groups::delete)),
    ("DeletePolicy", Writes(policies::delete)),
    ("DeleteScheduledAction", Writes(schedules::delete)),
    ("DeleteTags", Writes(tags::delete)),
    ("DescribeAutoScalingGroups", Reads(groups::describe)),
    ("DescribeAutoScalingInstances", Reads(groups::describe_instances)),
    ("DescribeInstanceRefreshes", Reads(refreshes::describe)),
    ("DescribeLoadBalancerTargetGroups", Reads(groups::describe_target_groups)),
    ("DescribePolicies", Reads(policies::describe)),
    ("DescribeScalingActivities", Reads(activities::describe)),
    ("DescribeScheduledActions", Reads(schedules::describe)),
    ("DescribeTags", Reads(tags::describe)),
    ("DetachLoadBalancerTargetGroups", Writes(groups::detach_target_groups)),
    ("PutScalingPolicy", Writes(policies::put)),
    ("PutScheduledUpdateGroupAction", Writes(schedules::put)),
    ("ResumeProcesses", Writes(groups::resume)),
    ("RollbackInstanceRefresh", Writes(refreshes::roll_back)),
    ("SetDesiredCapacity", Writes(groups::set_desired_capacity)),
    ("SetInstanceHealth", Writes(groups::set_instance_health)),
    ("StartInstanceRefresh", Writes(refreshes::start)),
    ("SuspendProcesses", Writes(groups::suspend)),
    ("TerminateInstanceInAutoScalingGroup", Writes(groups::terminate_instance)),
    ("UpdateAutoScalingGroup", Writes(groups::update)),
];
