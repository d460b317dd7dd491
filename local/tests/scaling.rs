//! Groups that change: by load, on a schedule, by refreshes, and when their instances fail.

#[path = "support/stack.rs"]
mod stack;

use std::collections::BTreeSet;

use local::Speed;
use stack::{Stack, TestCompute};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

fn times(factor: u32) -> Speed {
    factor.to_string().parse().unwrap()
}

const EMPTY: &[(&str, &str)] = &[("MinSize", "0"), ("DesiredCapacity", "0")];

#[tokio::test(flavor = "multi_thread")]
async fn a_group_grows_from_one_to_four_under_load_and_shrinks_when_it_is_over() {
    let test = TestCompute::start_at(times(100)).await;
    let patient = [("MaxSize", "4"), ("DefaultInstanceWarmup", "60"), ("HealthCheckGracePeriod", "3600")];
    let stack = test.up("/", &patient).await;
    let policy = [
        ("AutoScalingGroupName", "web"),
        ("PolicyName", "cpu"),
        ("PolicyType", "TargetTrackingScaling"),
        ("TargetTrackingConfiguration.PredefinedMetricSpecification.PredefinedMetricType", "ASGAverageCPUUtilization"),
        ("TargetTrackingConfiguration.TargetValue", "2"),
    ];
    test.ok("autoscaling", "PutScalingPolicy", &policy).await;

    let client = reqwest::Client::new();
    let burn = |_| {
        let (client, url) = (client.clone(), format!("http://{}/burn=200", stack.address));
        tokio::spawn(async move {
            loop {
                // Requests may fail while instances are launched and terminated.
                drop(client.get(&url).send().await);
            }
        })
    };
    let load: Vec<_> = (0..4).map(burn).collect();
    test.until("four instances serve", async || test.healthy(&stack).await == 4).await;
    for one in &load {
        one.abort();
    }
    test.until("one instance is left", async || test.instance_ids().await.len() == 1).await;

    let activities = test.activities().await.text;
    assert!(activities.contains("a monitor alarm TargetTracking-web-AlarmHigh-"), "{activities}");
    assert!(activities.contains("in state ALARM triggered policy cpu changing the desired capacity from 1 to "));
    assert!(activities.contains("a monitor alarm TargetTracking-web-AlarmLow-"), "{activities}");
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn a_group_has_at_most_125_scheduled_actions() {
    let test = TestCompute::start().await;
    let stack = test.create("/", EMPTY).await;
    let put = async |number: usize| {
        let name = number.to_string();
        let form = [("AutoScalingGroupName", "web"), ("ScheduledActionName", &*name), ("Recurrence", "0 0 1 1 *")];
        let form: Vec<_> = form.into_iter().chain([("MinSize", "0")]).collect();
        test.call("autoscaling", "PutScheduledUpdateGroupAction", &form).await
    };
    for number in 0..125 {
        assert_eq!(put(number).await.status, 200, "{number}");
    }
    let refused = put(125).await;
    assert_eq!((refused.status, refused.field("Code")), (400, "LimitExceeded".into()));
    assert_eq!(put(0).await.status, 200, "an action that exists can be changed");
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn a_scheduled_action_resizes_the_group_and_a_single_one_is_removed() {
    let test = TestCompute::start().await;
    let stack = test.create("/", EMPTY).await;
    let at = |seconds: i64| (OffsetDateTime::now_utc() + time::Duration::seconds(seconds)).format(&Rfc3339).unwrap();
    let (soon, later) = (at(2), at(3600));
    let put = async |form: &[(&str, &str)]| {
        let form: Vec<_> = form.iter().copied().chain([("AutoScalingGroupName", "web")]).collect();
        test.call("autoscaling", "PutScheduledUpdateGroupAction", &form).await
    };
    let once = [("ScheduledActionName", "morning"), ("StartTime", &soon), ("DesiredCapacity", "2"), ("MaxSize", "4")];
    assert_eq!(put(&once).await.status, 200);
    let daily = [
        ("ScheduledActionName", "evening"),
        ("Recurrence", "0 22 * * *"),
        ("TimeZone", "Europe/Paris"),
        ("MinSize", "0"),
        ("DesiredCapacity", "0"),
    ];
    assert_eq!(put(&daily).await.status, 200);
    let night = [("ScheduledActionName", "night"), ("StartTime", &later), ("MinSize", "0")];
    assert_eq!(put(&night).await.status, 200);
    assert_eq!(put(&night).await.status, 200, "the same action again");
    for (form, expected) in [
        (
            &[("ScheduledActionName", "x"), ("MinSize", "1")][..],
            "Either a start time or a recurrence must be specified",
        ),
        (
            &[("ScheduledActionName", "x"), ("StartTime", &later)],
            "At least one of MinSize, MaxSize and DesiredCapacity",
        ),
        (
            &[("ScheduledActionName", "x"), ("StartTime", "2020-01-01T00:00:00Z"), ("MinSize", "1")],
            "Given start time is in the past",
        ),
        (
            &[("ScheduledActionName", "x"), ("StartTime", &later), ("MinSize", "0")],
            "Scheduled action with this scheduled start time already exists",
        ),
        (
            &[("ScheduledActionName", "x"), ("Recurrence", "0 0 22 * * *"), ("MinSize", "1")],
            "Given recurrence string: 0 0 22 * * * is invalid",
        ),
    ] {
        let refused = put(form).await;
        // No source names the code of two actions at one time.
        if !expected.ends_with("already exists") {
            assert_eq!(refused.field("Code"), "ValidationError");
        }
        assert_eq!(refused.status, 400);
        assert!(refused.field("Message").starts_with(expected), "{}", refused.text);
    }

    let night = [("AutoScalingGroupName", "web"), ("ScheduledActionName", "night")];
    test.ok("autoscaling", "DeleteScheduledAction", &night).await;
    let describe = async |names: &[(&str, &str)]| {
        let form: Vec<_> = names.iter().copied().chain([("AutoScalingGroupName", "web")]).collect();
        test.ok("autoscaling", "DescribeScheduledActions", &form).await
    };
    let evening = describe(&[("ScheduledActionNames.member.1", "evening")]).await;
    assert_eq!((evening.field("Recurrence"), evening.field("TimeZone")), ("0 22 * * *".into(), "Europe/Paris".into()));
    let starts = evening.field("StartTime");
    assert!(starts.ends_with("T20:00:00Z") || starts.ends_with("T21:00:00Z"), "{starts}");

    test.until("the group has been moved", async || test.healthy(&stack).await == 2).await;
    assert_eq!(test.group_field("MaxSize").await, "4");
    assert!(test.activities().await.text.contains(
        "the scheduled action morning executed. Setting max size from 3 to 4. Setting desired capacity from 0 to 2"
    ));
    let left = describe(&[]).await;
    assert_eq!(left.text.matches("<ScheduledActionName>").count(), 1, "{}", left.text);

    let batch = [
        ("AutoScalingGroupName", "web"),
        ("ScheduledUpdateGroupActions.member.1.ScheduledActionName", "noon"),
        ("ScheduledUpdateGroupActions.member.1.Recurrence", "0 12 * * *"),
        ("ScheduledUpdateGroupActions.member.1.DesiredCapacity", "1"),
        ("ScheduledUpdateGroupActions.member.2.ScheduledActionName", "never"),
    ];
    let failed = test.ok("autoscaling", "BatchPutScheduledUpdateGroupAction", &batch).await;
    assert_eq!(
        (failed.field("ScheduledActionName"), failed.field("ErrorCode")),
        ("never".into(), "ValidationError".into())
    );
    let batch = [
        ("AutoScalingGroupName", "web"),
        ("ScheduledActionNames.member.1", "noon"),
        ("ScheduledActionNames.member.2", "missing"),
    ];
    let failed = test.ok("autoscaling", "BatchDeleteScheduledAction", &batch).await;
    assert_eq!(failed.text.matches("<ScheduledActionName>").count(), 1);
    let evening = [("AutoScalingGroupName", "web"), ("ScheduledActionName", "evening")];
    test.ok("autoscaling", "DeleteScheduledAction", &evening).await;
    let again = test.call("autoscaling", "DeleteScheduledAction", &evening).await;
    assert_eq!(again.field("Code"), "ValidationError");
    assert!(!describe(&[]).await.text.contains("<ScheduledActionName>"));
    test.down(&stack).await;
    test.stop().await;
}

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
async fn a_failed_launch_has_the_status_message_of_aws() {
    let test = TestCompute::start().await;
    let stack = test.create("/", EMPTY).await;
    let good = test.template_data(&stack.group_id, "PORT=\"8080\"").await;
    let with = |name: &str, value: &str| {
        let key = format!("LaunchTemplateData.{name}");
        let mut data: Vec<_> = good.iter().filter(|(name, _)| *name != key).cloned().collect();
        data.push((key, value.to_owned()));
        data
    };
    let fails_with = async |expected: &str| {
        test.set_desired(1).await;
        test.until(&format!("the launch to fail with {expected}"), async || {
            let newest = test.activities().await;
            newest.field("StatusCode") == "Failed" && newest.field("StatusMessage") == expected
        })
        .await;
        test.set_desired(0).await;
    };
    test.new_version(with("IamInstanceProfile.Name", "absent")).await;
    fails_with("Value (absent) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name. Launching EC2 instance failed.").await;
    test.new_version(with("SecurityGroupId.1", "sg-0123456789abcdef0")).await;
    fails_with("The security group 'sg-0123456789abcdef0' does not exist. Launching EC2 instance failed.").await;
    test.new_version(with("KeyName", "vockey")).await;
    fails_with("The key pair 'vockey' does not exist. Launching EC2 instance failed.").await;
    test.new_version(with("InstanceType", "t9.micro")).await;
    fails_with("Invalid value 't9.micro' for InstanceType. Launching EC2 instance failed.").await;

    let template = test.ok("ec2", "DescribeLaunchTemplates", &[]).await.field("launchTemplateId");
    test.ok("ec2", "DeleteLaunchTemplate", &[("LaunchTemplateId", &template)]).await;
    fails_with(&format!(
        "The specified launch template, with template ID {template}, does not exist. Launching EC2 instance failed."
    ))
    .await;
    test.stop().await;
}

#[tokio::test]
async fn a_zone_without_the_instance_type_is_reported_and_the_group_uses_another() {
    let test = TestCompute::start().await;
    let stack = test.create("/", EMPTY).await;
    let offered =
        [("LocationType", "availability-zone"), ("Filter.1.Name", "instance-type"), ("Filter.1.Value.1", "m7i.large")];
    let offered = test.ok("ec2", "DescribeInstanceTypeOfferings", &offered).await;
    assert_eq!(offered.text.matches("<location>").count(), 2, "{}", offered.text);
    let mut data = test.template_data(&stack.group_id, "PORT=\"8080\"").await;
    data.retain(|(name, _)| name != "LaunchTemplateData.InstanceType");
    data.push(("LaunchTemplateData.InstanceType".to_owned(), "m7i.large".to_owned()));
    test.new_version(data).await;
    let zones = format!("{},{}", stack.subnets[2], stack.subnets[1]);
    let zones = [("AutoScalingGroupName", "web"), ("VPCZoneIdentifier", zones.as_str()), ("DesiredCapacity", "2")];
    test.ok("autoscaling", "UpdateAutoScalingGroup", &zones).await;
    test.until("both serve in the zone that has it", async || test.healthy(&stack).await == 2).await;
    let activities = test.activities().await.text;
    assert!(
        activities.contains(
            "Your requested instance type (m7i.large) is not supported in your requested Availability Zone (us-east-1c). Please retry your request by not specifying an Availability Zone or choosing us-east-1a, us-east-1b. Launching EC2 instance failed."
        ),
        "{activities}"
    );
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn a_stopped_instance_is_replaced_and_a_rebooted_one_is_kept() {
    let test = TestCompute::start().await;
    let stack = test.up("/", &[("HealthCheckGracePeriod", "7200")]).await;
    let id = test.instance_ids().await.remove(0);
    let pid = test.get(&stack.address, "/pid").await.body;
    let this = [("InstanceId.1", id.as_str())];

    test.ok("ec2", "RebootInstances", &this).await;
    test.until("another process answers", async || {
        let answer = test.get_or_refused(&stack.address, "/pid").await;
        answer.is_some_and(|answer| answer.status == 200 && answer.body != pid)
    })
    .await;
    assert_eq!(test.instance_ids().await, std::slice::from_ref(&id));
    let console = test.console(&id).await;
    assert!(console.contains("systemd: powering off") && console.contains("cloud-init: has run before"), "{console}");

    let stopping = test.ok("ec2", "StopInstances", &this).await;
    assert_eq!(stopping.field("name"), "stopping");
    test.until("another instance serves", async || {
        let ids = test.instance_ids().await;
        ids.len() == 1 && ids[0] != id && test.healthy(&stack).await == 1
    })
    .await;
    let activities = test.activities().await.text;
    assert!(activities.contains("EC2 health check indicating it has been terminated or stopped"), "{activities}");
    test.until("the group has ended the stopped one", async || {
        test.ok("ec2", "DescribeInstances", &[("InstanceId.1", &id)]).await.field("name") == "terminated"
    })
    .await;
    for operation in ["StopInstances", "StartInstances", "RebootInstances"] {
        let refused = test.call("ec2", operation, &this).await;
        assert_eq!(refused.field("Code"), "IncorrectInstanceState", "{operation}");
    }
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn a_group_with_replacement_suspended_leaves_a_stopped_instance_alone() {
    let test = TestCompute::start().await;
    let stack = test.up("/", &[("HealthCheckGracePeriod", "7200")]).await;
    let id = test.instance_ids().await.remove(0);
    let this = [("InstanceId.1", id.as_str())];
    let process = [("AutoScalingGroupName", "web"), ("ScalingProcesses.member.1", "ReplaceUnhealthy")];
    test.ok("autoscaling", "SuspendProcesses", &process).await;

    test.ok("ec2", "StopInstances", &this).await;
    let state = async || test.ok("ec2", "DescribeInstances", &this).await.field("name");
    test.until("it is stopped", async || state().await == "stopped").await;
    let health = [("TargetGroupArn", stack.target_group.as_str())];
    let health = test.ok("elasticloadbalancing", "DescribeTargetHealth", &health).await;
    assert_eq!(
        (health.field("Reason"), health.field("Description")),
        ("Target.InvalidState".into(), "Target is in the stopped state".into())
    );
    assert_eq!(test.get(&stack.address, "/").await.status, 503);
    assert_eq!(test.group_field("HealthStatus").await, "Unhealthy");

    test.ok("ec2", "StartInstances", &this).await;
    test.until("it serves again", async || test.healthy(&stack).await == 1).await;
    assert_eq!(test.instance_ids().await, [id]);
    test.ok("autoscaling", "ResumeProcesses", &process).await;
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn a_service_that_exits_at_once_reaches_the_start_limit_of_its_unit() {
    let test = TestCompute::start().await;
    let stack =
        test.create("/", &[("MinSize", "0"), ("DesiredCapacity", "0"), ("HealthCheckGracePeriod", "7200")]).await;
    let mut data = test.changed_data(&stack.group_id, "GREETING=\"hello\"", "DIE=\"1\"").await;
    for (name, value) in &mut data {
        if name.ends_with("UserData") {
            use base64::Engine as _;
            let base64 = base64::engine::general_purpose::STANDARD;
            let text = String::from_utf8(base64.decode(&value).unwrap()).unwrap();
            *value = base64.encode(text.replace("    StartLimitIntervalSec=0\n", "    StartLimitIntervalSec=1h\n"));
        }
    }
    test.new_version(data).await;
    test.set_desired(1).await;
    test.until("there is an instance", async || test.instance_ids().await.len() == 1).await;
    let id = test.instance_ids().await.remove(0);
    test.until("systemd gives up", async || test.journal(&id).await.contains("Start request repeated too quickly."))
        .await;
    let journal = test.journal(&id).await;
    for line in [
        "tiny_service exits because DIE is set",
        "web.service: Main process exited, code=exited, status=1/FAILURE",
        "web.service: Failed with result 'exit-code'.",
        "web.service: Scheduled restart job, restart counter is at 4.",
        "web.service: Failed with result 'start-limit-hit'.",
    ] {
        assert!(journal.contains(line), "{line} is not in {journal}");
    }
    assert_eq!(journal.matches("exits because DIE is set").count(), 5);
    test.until("the load balancer sees it", async || {
        let health = [("TargetGroupArn", stack.target_group.as_str())];
        let health = test.ok("elasticloadbalancing", "DescribeTargetHealth", &health).await;
        health.field("Reason") == "Target.FailedHealthChecks"
    })
    .await;
    test.down(&stack).await;
    test.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_service_has_the_memory_of_its_instance_type_and_no_more() {
    let test = TestCompute::start().await;
    let stack = test.up("/", &[("HealthCheckGracePeriod", "7200")]).await;
    let pid = test.get(&stack.address, "/pid").await.body;
    assert_eq!(test.get(&stack.address, "/eat=100").await.status, 200);
    let status = test.compute.status()["instances"][0].clone();
    assert_eq!((&status["memory_mib"], &status["processors"]), (&1024.into(), &2.into()));
    let limits = status["limits"].as_str().unwrap();
    assert!(limits.starts_with("each process may have 1024 MiB of memory"), "{limits}");

    // A t3.micro has 1 GiB of memory.
    assert_eq!(test.get(&stack.address, "/eat=1500").await.status, 502);
    test.until("systemd has started it again", async || {
        let answer = test.get_or_refused(&stack.address, "/pid").await;
        answer.is_some_and(|answer| answer.status == 200 && answer.body != pid)
    })
    .await;
    let journal = test.journal(&test.instance_ids().await[0]).await;
    assert!(journal.contains("memory allocation of 1572864000 bytes failed"), "{journal}");
    assert!(journal.contains("code=killed, status=6/ABRT"), "{journal}");
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
    test.ok("autoscaling", "AttachLoadBalancerTargetGroups", &group).await;
    let state = async || {
        test.ok("autoscaling", "DescribeLoadBalancerTargetGroups", &[("AutoScalingGroupName", "web")])
            .await
            .field("State")
    };
    assert_ne!(state().await, "InService");
    test.until("it is in service", async || state().await == "InService").await;
    assert_eq!(test.healthy(&stack).await, 1);
    test.down(&stack).await;
    test.stop().await;
}
