//! Auto Scaling: groups that maintain a number of healthy instances.

mod activities;
mod groups;
mod launch;
mod policies;
mod rebalance;
mod reconcile;
mod refreshes;
mod rights;
mod schedules;
mod tags;
mod termination;
mod tracking;

use super::Run::{Reads, Writes};
use super::{ComputeOperation, row};
use kit::call::{Needs, Pagination, Style};

pub use groups::profile_wanted;
pub use launch::Profiles;
pub use policies::alarms;
pub use reconcile::{profiles_needed, reconcile};
pub use rights::launch_needs;
pub use schedules::run_due;
pub use tracking::{Samples, track};

/// The XML namespace of the responses.
pub const NAME_SPACE: &str = "http://autoscaling.amazonaws.com/doc/2011-01-01/";

/// The supported parameters of a group.
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

/// A caller names only the group, so the unique part of its ARN is a wildcard.
const GROUP: Needs =
    Needs::On("arn:aws:autoscaling:{region}:{account}:autoScalingGroup:*:autoScalingGroupName/{AutoScalingGroupName}");

static PAGES: Style = Style {
    size: "MaxRecords",
    from: "NextToken",
    next: "NextToken",
    usual: 50,
    least: 1,
    most: 100,
    bad_token: "ValidationError",
};

const fn list(items: &'static str) -> Option<Pagination> {
    Some(Pagination::Cut(&PAGES, items))
}

/// Lists that need the state to know where a page ends.
const OWN: Option<Pagination> = Some(Pagination::Own("MaxRecords"));

/// Every operation.
pub const OPERATIONS: &[ComputeOperation] = &[
    row(
        "AttachLoadBalancerTargetGroups",
        Writes(groups::attach_target_groups),
        GROUP,
        None,
        "AutoScalingGroupName TargetGroupARNs",
    ),
    row(
        "BatchDeleteScheduledAction",
        Writes(schedules::delete_batch),
        GROUP,
        None,
        "AutoScalingGroupName ScheduledActionNames",
    ),
    row(
        "BatchPutScheduledUpdateGroupAction",
        Writes(schedules::put_batch),
        GROUP,
        None,
        "AutoScalingGroupName ScheduledUpdateGroupActions.ScheduledActionName ScheduledUpdateGroupActions.StartTime ScheduledUpdateGroupActions.EndTime ScheduledUpdateGroupActions.Recurrence ScheduledUpdateGroupActions.MinSize ScheduledUpdateGroupActions.MaxSize ScheduledUpdateGroupActions.DesiredCapacity ScheduledUpdateGroupActions.TimeZone",
    ),
    row(
        "CancelInstanceRefresh",
        Writes(refreshes::cancel),
        GROUP,
        None,
        "AutoScalingGroupName WaitForTransitioningInstances=true",
    ),
    row(
        "CreateAutoScalingGroup",
        Writes(groups::create),
        GROUP,
        None,
        concat!(
            group!(),
            " Tags.Key Tags.Value Tags.PropagateAtLaunch Tags.ResourceId Tags.ResourceType=auto-scaling-group TargetGroupARNs TrafficSources.Identifier TrafficSources.Type=elbv2"
        ),
    ),
    row(
        "CreateOrUpdateTags",
        Writes(tags::create_or_update),
        Needs::Of(tags::needs),
        None,
        "Tags.Key Tags.Value Tags.PropagateAtLaunch Tags.ResourceId Tags.ResourceType=auto-scaling-group",
    ),
    row("DeleteAutoScalingGroup", Writes(groups::delete), GROUP, None, "AutoScalingGroupName ForceDelete"),
    row("DeletePolicy", Writes(policies::delete), GROUP, None, "AutoScalingGroupName PolicyName"),
    row("DeleteScheduledAction", Writes(schedules::delete), GROUP, None, "AutoScalingGroupName ScheduledActionName"),
    row(
        "DeleteTags",
        Writes(tags::delete),
        Needs::Of(tags::needs),
        None,
        "Tags.Key Tags.Value Tags.PropagateAtLaunch Tags.ResourceId Tags.ResourceType=auto-scaling-group",
    ),
    row("DescribeAccountLimits", Reads(groups::describe_limits), Needs::Own, None, ""),
    row(
        "DescribeAutoScalingGroups",
        Reads(groups::describe),
        Needs::Own,
        OWN,
        "AutoScalingGroupNames Filters.Name Filters.Values IncludeInstances IncludeManagedResources MaxRecords NextToken",
    ),
    row(
        "DescribeAutoScalingInstances",
        Reads(groups::describe_instances),
        Needs::Own,
        list("AutoScalingInstances"),
        "IncludeManagedResources InstanceIds MaxRecords NextToken",
    ),
    row(
        "DescribeInstanceRefreshes",
        Reads(refreshes::describe),
        Needs::Own,
        OWN,
        "AutoScalingGroupName InstanceRefreshIds MaxRecords NextToken",
    ),
    row(
        "DescribeLifecycleHooks",
        Reads(groups::describe_hooks),
        Needs::Own,
        None,
        "AutoScalingGroupName LifecycleHookNames",
    ),
    row(
        "DescribeLoadBalancerTargetGroups",
        Reads(groups::describe_target_groups),
        Needs::Own,
        list("LoadBalancerTargetGroups"),
        "AutoScalingGroupName MaxRecords NextToken",
    ),
    row(
        "DescribeNotificationConfigurations",
        Reads(groups::describe_notifications),
        Needs::Own,
        None,
        "AutoScalingGroupNames MaxRecords NextToken",
    ),
    row(
        "DescribePolicies",
        Reads(policies::describe),
        Needs::Own,
        list("ScalingPolicies"),
        "AutoScalingGroupName IncludeManagedResources PolicyNames PolicyTypes MaxRecords NextToken",
    ),
    row(
        "DescribeScalingActivities",
        Reads(activities::describe),
        Needs::Own,
        OWN,
        "ActivityIds AutoScalingGroupName IncludeDeletedGroups IncludeManagedResources MaxRecords NextToken",
    ),
    row(
        "DescribeScheduledActions",
        Reads(schedules::describe),
        Needs::Own,
        OWN,
        "AutoScalingGroupName EndTime IncludeManagedResources ScheduledActionNames StartTime MaxRecords NextToken",
    ),
    row(
        "DescribeTags",
        Reads(tags::describe),
        Needs::Own,
        list("Tags"),
        "Filters.Name Filters.Values IncludeManagedResources MaxRecords NextToken",
    ),
    row(
        "DescribeTrafficSources",
        Reads(groups::describe_traffic_sources),
        Needs::Own,
        list("TrafficSources"),
        "AutoScalingGroupName MaxRecords NextToken TrafficSourceType",
    ),
    row(
        "DetachLoadBalancerTargetGroups",
        Writes(groups::detach_target_groups),
        GROUP,
        None,
        "AutoScalingGroupName TargetGroupARNs",
    ),
    row("DisableMetricsCollection", Writes(groups::disable_metrics), GROUP, None, "AutoScalingGroupName Metrics"),
    row(
        "PutScalingPolicy",
        Writes(policies::put),
        GROUP,
        None,
        "AutoScalingGroupName EstimatedInstanceWarmup Enabled=true PolicyName PolicyType TargetTrackingConfiguration.DisableScaleIn TargetTrackingConfiguration.TargetValue TargetTrackingConfiguration.PredefinedMetricSpecification.*",
    ),
    row(
        "PutScheduledUpdateGroupAction",
        Writes(schedules::put),
        GROUP,
        None,
        "AutoScalingGroupName ScheduledActionName StartTime EndTime Recurrence MinSize MaxSize DesiredCapacity TimeZone",
    ),
    row("ResumeProcesses", Writes(groups::resume), GROUP, None, "AutoScalingGroupName ScalingProcesses"),
    row("RollbackInstanceRefresh", Writes(refreshes::roll_back), GROUP, None, "AutoScalingGroupName"),
    row(
        "SetDesiredCapacity",
        Writes(groups::set_desired_capacity),
        GROUP,
        None,
        "AutoScalingGroupName DesiredCapacity HonorCooldown",
    ),
    row(
        "SetInstanceHealth",
        Writes(groups::set_instance_health),
        Needs::Own,
        None,
        "HealthStatus InstanceId ShouldRespectGracePeriod",
    ),
    row(
        "StartInstanceRefresh",
        Writes(refreshes::start),
        GROUP,
        None,
        concat!(
            "AutoScalingGroupName DesiredConfiguration.LaunchTemplate.* Strategy ",
            "Preferences.AlarmSpecification.Alarms Preferences.AutoRollback Preferences.BakeTime Preferences.InstanceWarmup Preferences.MaxHealthyPercentage Preferences.MinHealthyPercentage Preferences.ScaleInProtectedInstances Preferences.SkipMatching Preferences.StandbyInstances=Ignore|Terminate|Wait"
        ),
    ),
    row("SuspendProcesses", Writes(groups::suspend), GROUP, None, "AutoScalingGroupName ScalingProcesses"),
    row(
        "TerminateInstanceInAutoScalingGroup",
        Writes(groups::terminate_instance),
        Needs::Own,
        None,
        "InstanceId ShouldDecrementDesiredCapacity",
    ),
    row("UpdateAutoScalingGroup", Writes(groups::update), GROUP, None, group!()),
];
