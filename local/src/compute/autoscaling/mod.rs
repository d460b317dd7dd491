//! Auto Scaling: groups that maintain a number of healthy instances.

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

use super::Operation::{Reads, Writes};
use super::Row;

pub use groups::profile_wanted;
pub use launch::Profiles;
pub use policies::alarms;
pub use reconcile::{profiles_needed, reconcile};
pub use schedules::run_due;
pub use tracking::{Samples, track};

/// The name space of the answers.
pub const NAME_SPACE: &str = "http://autoscaling.amazonaws.com/doc/2011-01-01/";

/// What is said of a group.
macro_rules! group {
    () => {
        "AutoScalingGroupName AvailabilityZones CapacityRebalance=false DefaultCooldown DefaultInstanceWarmup \
     DeletionProtection DesiredCapacity DesiredCapacityType=units HealthCheckGracePeriod HealthCheckType \
     LaunchTemplate.* MaxInstanceLifetime=0 MaxSize MinSize NewInstancesProtectedFromScaleIn \
     TerminationPolicies VPCZoneIdentifier \
     AvailabilityZoneDistribution.CapacityDistributionStrategy=balanced-best-effort \
     CapacityReservationSpecification.CapacityReservationPreference=default SkipZonalShiftValidation \
     AvailabilityZoneImpairmentPolicy.ZonalShiftEnabled=false AvailabilityZoneIds ServiceLinkedRoleARN"
    };
}

/// Every operation, its function, and the parameters that have an effect.
pub const OPERATIONS: &[Row] = &[
    ("AttachLoadBalancerTargetGroups", Writes(groups::attach_target_groups), "AutoScalingGroupName TargetGroupARNs"),
    ("BatchDeleteScheduledAction", Writes(schedules::delete_batch), "AutoScalingGroupName ScheduledActionNames"),
    (
        "BatchPutScheduledUpdateGroupAction",
        Writes(schedules::put_batch),
        "AutoScalingGroupName ScheduledUpdateGroupActions.ScheduledActionName ScheduledUpdateGroupActions.StartTime ScheduledUpdateGroupActions.EndTime ScheduledUpdateGroupActions.Recurrence ScheduledUpdateGroupActions.MinSize ScheduledUpdateGroupActions.MaxSize ScheduledUpdateGroupActions.DesiredCapacity ScheduledUpdateGroupActions.TimeZone",
    ),
    ("CancelInstanceRefresh", Writes(refreshes::cancel), "AutoScalingGroupName WaitForTransitioningInstances=true"),
    (
        "CreateAutoScalingGroup",
        Writes(groups::create),
        concat!(
            group!(),
            " Tags.Key Tags.Value Tags.PropagateAtLaunch Tags.ResourceId Tags.ResourceType=auto-scaling-group TargetGroupARNs TrafficSources.Identifier TrafficSources.Type=elbv2"
        ),
    ),
    (
        "CreateOrUpdateTags",
        Writes(tags::create_or_update),
        "Tags.Key Tags.Value Tags.PropagateAtLaunch Tags.ResourceId Tags.ResourceType=auto-scaling-group",
    ),
    ("DeleteAutoScalingGroup", Writes(groups::delete), "AutoScalingGroupName ForceDelete"),
    ("DeletePolicy", Writes(policies::delete), "AutoScalingGroupName PolicyName"),
    ("DeleteScheduledAction", Writes(schedules::delete), "AutoScalingGroupName ScheduledActionName"),
    (
        "DeleteTags",
        Writes(tags::delete),
        "Tags.Key Tags.Value Tags.PropagateAtLaunch Tags.ResourceId Tags.ResourceType=auto-scaling-group",
    ),
    ("DescribeAccountLimits", Reads(groups::describe_limits), ""),
    (
        "DescribeAutoScalingGroups",
        Reads(groups::describe),
        "AutoScalingGroupNames Filters.Name Filters.Values IncludeInstances IncludeManagedResources MaxRecords NextToken",
    ),
    (
        "DescribeAutoScalingInstances",
        Reads(groups::describe_instances),
        "IncludeManagedResources InstanceIds MaxRecords NextToken",
    ),
    (
        "DescribeInstanceRefreshes",
        Reads(refreshes::describe),
        "AutoScalingGroupName InstanceRefreshIds MaxRecords NextToken",
    ),
    ("DescribeLifecycleHooks", Reads(groups::describe_hooks), "AutoScalingGroupName LifecycleHookNames"),
    (
        "DescribeLoadBalancerTargetGroups",
        Reads(groups::describe_target_groups),
        "AutoScalingGroupName MaxRecords NextToken",
    ),
    (
        "DescribeNotificationConfigurations",
        Reads(groups::describe_notifications),
        "AutoScalingGroupNames MaxRecords NextToken",
    ),
    (
        "DescribePolicies",
        Reads(policies::describe),
        "AutoScalingGroupName IncludeManagedResources PolicyNames PolicyTypes MaxRecords NextToken",
    ),
    (
        "DescribeScalingActivities",
        Reads(activities::describe),
        "ActivityIds AutoScalingGroupName IncludeDeletedGroups IncludeManagedResources MaxRecords NextToken",
    ),
    (
        "DescribeScheduledActions",
        Reads(schedules::describe),
        "AutoScalingGroupName EndTime IncludeManagedResources ScheduledActionNames StartTime MaxRecords NextToken",
    ),
    ("DescribeTags", Reads(tags::describe), "Filters.Name Filters.Values IncludeManagedResources MaxRecords NextToken"),
    (
        "DescribeTrafficSources",
        Reads(groups::describe_traffic_sources),
        "AutoScalingGroupName MaxRecords NextToken TrafficSourceType",
    ),
    ("DetachLoadBalancerTargetGroups", Writes(groups::detach_target_groups), "AutoScalingGroupName TargetGroupARNs"),
    ("DisableMetricsCollection", Writes(groups::disable_metrics), "AutoScalingGroupName Metrics"),
    (
        "PutScalingPolicy",
        Writes(policies::put),
        "AutoScalingGroupName EstimatedInstanceWarmup Enabled=true PolicyName PolicyType TargetTrackingConfiguration.DisableScaleIn TargetTrackingConfiguration.TargetValue TargetTrackingConfiguration.PredefinedMetricSpecification.*",
    ),
    (
        "PutScheduledUpdateGroupAction",
        Writes(schedules::put),
        "AutoScalingGroupName ScheduledActionName StartTime EndTime Recurrence MinSize MaxSize DesiredCapacity TimeZone",
    ),
    ("ResumeProcesses", Writes(groups::resume), "AutoScalingGroupName ScalingProcesses"),
    ("RollbackInstanceRefresh", Writes(refreshes::roll_back), "AutoScalingGroupName"),
    ("SetDesiredCapacity", Writes(groups::set_desired_capacity), "AutoScalingGroupName DesiredCapacity HonorCooldown"),
    ("SetInstanceHealth", Writes(groups::set_instance_health), "HealthStatus InstanceId ShouldRespectGracePeriod"),
    (
        "StartInstanceRefresh",
        Writes(refreshes::start),
        concat!(
            "AutoScalingGroupName DesiredConfiguration.LaunchTemplate.* Strategy ",
            "Preferences.AutoRollback Preferences.InstanceWarmup Preferences.MaxHealthyPercentage Preferences.MinHealthyPercentage Preferences.ScaleInProtectedInstances Preferences.SkipMatching Preferences.StandbyInstances=Ignore|Terminate|Wait"
        ),
    ),
    ("SuspendProcesses", Writes(groups::suspend), "AutoScalingGroupName ScalingProcesses"),
    (
        "TerminateInstanceInAutoScalingGroup",
        Writes(groups::terminate_instance),
        "InstanceId ShouldDecrementDesiredCapacity",
    ),
    ("UpdateAutoScalingGroup", Writes(groups::update), group!()),
];
