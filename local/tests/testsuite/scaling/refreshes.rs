//! Instance refreshes, and how they are rolled back.

use std::collections::BTreeSet;

use super::sizes::times;
use crate::support::stack::{Stack, TestCompute};

/// Starts a refresh to a version of the launch template, after setting the group's own version to 1.
async fn refresh(test: &TestCompute, version: &str, more: &[(&str, &str)]) -> String {
    let first = [
        ("AutoScalingGroupName", "web"),
        ("LaunchTemplate.LaunchTemplateName", "web"),
        ("LaunchTemplate.Version", "1"),
    ];
    test.ok("autoscaling", "UpdateAutoScalingGroup", &first).await;
    let mut form = vec![
        ("AutoScalingGroupName", "web"),
        ("DesiredConfiguration.LaunchTemplate.LaunchTemplateName", "web"),
        ("DesiredConfiguration.LaunchTemplate.Version", version),
        ("Preferences.MinHealthyPercentage", "100"),
        ("Preferences.MaxHealthyPercentage", "200"),
        ("Preferences.InstanceWarmup", "0"),
    ];
    form.extend(more);
    test.ok("autoscaling", "StartInstanceRefresh", &form).await.field("InstanceRefreshId")
}

async fn refresh_status(test: &TestCompute) -> String {
    test.ok("autoscaling", "DescribeInstanceRefreshes", &[("AutoScalingGroupName", "web")]).await.field("Status")
}

/// The number of the group's targets in a state.
async fn targets(test: &TestCompute, stack: &Stack, state: &str) -> usize {
    let form = [("TargetGroupArn", stack.target_group.as_str())];
    let health = test.ok("elasticloadbalancing", "DescribeTargetHealth", &form).await.text;
    health.matches(&format!("<State>{state}</State>")).count()
}

#[tokio::test]
async fn an_unhealthy_instance_serves_until_its_replacement_is_ready() {
    let test = TestCompute::start().await;
    for grace in ["7200", "0"] {
        let stack = test.up("/", &[("HealthCheckGracePeriod", "7200")]).await;
        let before = test.instance_ids().await.remove(0);
        let check = async |path: &str| {
            let form = [("TargetGroupArn", stack.target_group.as_str()), ("HealthCheckPath", path)];
            test.ok("elasticloadbalancing", "ModifyTargetGroup", &form).await;
        };
        check("/broken").await;
        test.until("the instance is ill", async || targets(&test, &stack, "unhealthy").await == 1).await;
        let data = test.template_data(&stack.group_id, "GREETING=\"new\"\nPORT=\"8080\"").await;
        let version = test.new_version(data).await;
        refresh(&test, &version, &[]).await;
        let form = [("AutoScalingGroupName", "web"), ("HealthCheckGracePeriod", grace)];
        test.ok("autoscaling", "UpdateAutoScalingGroup", &form).await;
        let answers = async || {
            let status = test.get(&stack.address, "/").await.status;
            assert_eq!(status, 200, "a request is lost with a grace period of {grace}: {:#}", test.compute.status());
        };
        test.until("the new instance to be unhealthy, too", async || {
            answers().await;
            match grace {
                // It is replaced as soon as it is unhealthy.
                "0" => test.activities().await.text.contains("an ELB system health check failure"),
                _ => targets(&test, &stack, "unhealthy").await == 2,
            }
        })
        .await;
        assert!(test.instance_ids().await.contains(&before), "the old instance has not been terminated");
        check("/").await;
        test.until("the refresh is successful", async || {
            answers().await;
            refresh_status(&test).await == "Successful"
        })
        .await;
        assert!(!test.instance_ids().await.contains(&before), "only the new instance is left");
        let described = test.ok("ec2", "DescribeInstances", &[]).await.text;
        let count = |element: &str| described.matches(&format!("<{element}>")).count();
        let (instances, profiles) = (count("instanceState"), count("iamInstanceProfile"));
        assert_eq!(instances, profiles, "every instance has the profile of its template: {described}");
        test.down(&stack).await;
    }
    test.stop().await;
}

async fn bad_version(test: &TestCompute, stack: &Stack) -> String {
    test.new_version(test.changed_data(&stack.group_id, "GREETING=\"hello\"", "DIE=\"1\"").await).await
}

#[tokio::test]
async fn a_bad_version_is_rolled_back_and_the_old_instances_keep_serving() {
    let test = TestCompute::start_at(times(300)).await;
    let stack = test.up("/", &[("HealthCheckGracePeriod", "7200")]).await;
    let before = test.instance_ids().await;
    let version = bad_version(&test, &stack).await;
    refresh(&test, &version, &[("Preferences.AutoRollback", "true")]).await;

    let mut seen = BTreeSet::new();
    test.until("it is rolled back", async || {
        let answer = test.get(&stack.address, "/").await.status;
        assert_eq!(answer, 200, "the old instance serves all the time: {:#}", test.compute.status());
        let status = refresh_status(&test).await;
        seen.insert(status.clone());
        status == "RollbackSuccessful"
    })
    .await;
    assert!(seen.contains("InProgress") && !seen.contains("Failed"), "{seen:?}");
    assert_eq!(test.group_field("Version").await, "1", "the group keeps the version it had");
    test.until("only the old instance is left", async || test.instance_ids().await == before).await;
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn a_refresh_can_be_cancelled_or_rolled_back() {
    let test = TestCompute::start().await;
    let stack = test.up("/", &[("HealthCheckGracePeriod", "7200")]).await;
    let before = test.instance_ids().await;
    let group = [("AutoScalingGroupName", "web")];
    for operation in ["CancelInstanceRefresh", "RollbackInstanceRefresh"] {
        let refused = test.call("autoscaling", operation, &group).await;
        assert_eq!(refused.field("Code"), "ActiveInstanceRefreshNotFound", "{operation}");
    }
    let version = bad_version(&test, &stack).await;
    refresh(&test, &version, &[]).await;
    let attach = [("AutoScalingGroupName", "web"), ("TargetGroupARNs.member.1", &stack.target_group)];
    let refused = test.call("autoscaling", "AttachLoadBalancerTargetGroups", &attach).await;
    assert_eq!(refused.field("Code"), "InstanceRefreshInProgress");
    test.until("the new one is there beside the old one", async || test.instance_ids().await.len() == 2).await;
    test.ok("autoscaling", "CancelInstanceRefresh", &group).await;
    test.until("it is cancelled", async || refresh_status(&test).await == "Cancelled").await;
    test.until("the old one serves on", async || test.instance_ids().await == before).await;

    refresh(&test, &version, &[]).await;
    test.ok("autoscaling", "RollbackInstanceRefresh", &group).await;
    test.until("it is rolled back", async || refresh_status(&test).await == "RollbackSuccessful").await;

    test.ok("autoscaling", "StartInstanceRefresh", &group).await;
    let refused = test.call("autoscaling", "RollbackInstanceRefresh", &group).await;
    assert_eq!(refused.field("Code"), "IrreversibleInstanceRefresh", "there is no version to roll back to");
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_waits_for_ignores_or_replaces_protected_instances() {
    let test = TestCompute::start_at(times(1000)).await;
    let protected = [("NewInstancesProtectedFromScaleIn", "true"), ("HealthCheckGracePeriod", "7200")];
    let stack = test.up("/", &protected).await;
    let before = test.instance_ids().await;
    for (wanted, end, replaced) in
        [("Wait", "Failed", false), ("Ignore", "Successful", false), ("Refresh", "Successful", true)]
    {
        let form = [
            ("AutoScalingGroupName", "web"),
            ("Preferences.MinHealthyPercentage", "0"),
            ("Preferences.InstanceWarmup", "0"),
            ("Preferences.ScaleInProtectedInstances", wanted),
        ];
        test.ok("autoscaling", "StartInstanceRefresh", &form).await;
        test.until(wanted, async || refresh_status(&test).await == end).await;
        assert_eq!(test.instance_ids().await != before, replaced, "{wanted}");
    }
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn a_target_group_attached_later_counts_once_it_has_a_healthy_target() {
    let test = TestCompute::start_at(times(300)).await;
    // Only a target group that was attached later could report the instances as unhealthy.
    let stack = test.up("/", &[("HealthCheckGracePeriod", "7200")]).await;
    let group = [("AutoScalingGroupName", "web"), ("TargetGroupARNs.member.1", stack.target_group.as_str())];
    test.ok("autoscaling", "DetachLoadBalancerTargetGroups", &group).await;
    test.until("no target is healthy", async || test.healthy(&stack).await == 0).await;
    let check = async |path: &str| {
        let form = [("TargetGroupArn", stack.target_group.as_str()), ("HealthCheckPath", path)];
        test.ok("elasticloadbalancing", "ModifyTargetGroup", &form).await;
    };
    // At this speed a target is healthy at once, unless its health checks fail.
    check("/broken").await;
    test.ok("autoscaling", "AttachLoadBalancerTargetGroups", &group).await;
    let state = async || {
        test.ok("autoscaling", "DescribeLoadBalancerTargetGroups", &[("AutoScalingGroupName", "web")])
            .await
            .field("State")
    };
    test.until("the target is ill", async || targets(&test, &stack, "unhealthy").await == 1).await;
    assert_ne!(state().await, "InService");
    check("/").await;
    test.until("it is in service", async || state().await == "InService").await;
    assert_eq!(test.healthy(&stack).await, 1);
    test.down(&stack).await;
    test.stop().await;
}
