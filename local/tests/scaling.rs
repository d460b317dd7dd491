//! Groups that move: by load, by the clock, by refreshes, and by what becomes of their instances.

mod stage;

use std::collections::BTreeSet;

use local::Speed;
use stage::{Stack, World};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

fn times(factor: u32) -> Speed {
    factor.to_string().parse().unwrap()
}

const NOBODY: &[(&str, &str)] = &[("MinSize", "0"), ("DesiredCapacity", "0")];

#[tokio::test(flavor = "multi_thread")]
async fn a_group_grows_from_one_to_four_under_load_and_shrinks_when_it_is_over() {
    let world = World::start_at(times(100)).await;
    let patient = [("MaxSize", "4"), ("DefaultInstanceWarmup", "60"), ("HealthCheckGracePeriod", "3600")];
    let stack = world.up("/", &patient).await;
    let policy = [
        ("AutoScalingGroupName", "web"),
        ("PolicyName", "cpu"),
        ("PolicyType", "TargetTrackingScaling"),
        ("TargetTrackingConfiguration.PredefinedMetricSpecification.PredefinedMetricType", "ASGAverageCPUUtilization"),
        ("TargetTrackingConfiguration.TargetValue", "2"),
    ];
    world.ok("autoscaling", "PutScalingPolicy", &policy).await;

    let client = reqwest::Client::new();
    let burn = |_| {
        let (client, url) = (client.clone(), format!("http://{}/burn=200", stack.address));
        tokio::spawn(async move {
            loop {
                // While instances come and go some may fail.
                drop(client.get(&url).send().await);
            }
        })
    };
    let load: Vec<_> = (0..4).map(burn).collect();
    world.eventually("four instances serve", async || world.healthy(&stack).await == 4).await;
    for one in &load {
        one.abort();
    }
    world.eventually("one instance is left", async || world.instance_ids().await.len() == 1).await;

    let activities = world.activities().await.text;
    assert!(activities.contains("a monitor alarm TargetTracking-web-AlarmHigh-"), "{activities}");
    assert!(activities.contains("in state ALARM triggered policy cpu changing the desired capacity from 1 to "));
    assert!(activities.contains("a monitor alarm TargetTracking-web-AlarmLow-"), "{activities}");
    world.down(&stack).await;
    world.stop().await;
}

#[tokio::test]
async fn a_scheduled_action_moves_the_group_at_its_time_and_is_gone_when_it_was_for_once() {
    let world = World::start().await;
    let stack = world.create("/", NOBODY).await;
    let at = |seconds: i64| (OffsetDateTime::now_utc() + time::Duration::seconds(seconds)).format(&Rfc3339).unwrap();
    let (soon, later) = (at(2), at(3600));
    let put = async |form: &[(&str, &str)]| {
        let form: Vec<_> = form.iter().copied().chain([("AutoScalingGroupName", "web")]).collect();
        world.call("autoscaling", "PutScheduledUpdateGroupAction", &form).await
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
            &[("ScheduledActionName", "x"), ("Recurrence", "0 0 22 * * *"), ("MinSize", "1")],
            "Given recurrence string: 0 0 22 * * * is invalid",
        ),
    ] {
        let refused = put(form).await;
        assert_eq!((refused.status, refused.field("Code").as_str()), (400, "ValidationError"));
        assert!(refused.field("Message").starts_with(expected), "{}", refused.text);
    }

    let describe = async |names: &[(&str, &str)]| {
        let form: Vec<_> = names.iter().copied().chain([("AutoScalingGroupName", "web")]).collect();
        world.ok("autoscaling", "DescribeScheduledActions", &form).await
    };
    let evening = describe(&[("ScheduledActionNames.member.1", "evening")]).await;
    assert_eq!((evening.field("Recurrence"), evening.field("TimeZone")), ("0 22 * * *".into(), "Europe/Paris".into()));
    let starts = evening.field("StartTime");
    assert!(starts.ends_with("T20:00:00Z") || starts.ends_with("T21:00:00Z"), "{starts}");

    world.eventually("the group has been moved", async || world.healthy(&stack).await == 2).await;
    assert_eq!(world.group_field("MaxSize").await, "4");
    assert!(world.activities().await.text.contains(
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
    let failed = world.ok("autoscaling", "BatchPutScheduledUpdateGroupAction", &batch).await;
    assert_eq!(
        (failed.field("ScheduledActionName"), failed.field("ErrorCode")),
        ("never".into(), "ValidationError".into())
    );
    let batch = [
        ("AutoScalingGroupName", "web"),
        ("ScheduledActionNames.member.1", "noon"),
        ("ScheduledActionNames.member.2", "nobody"),
    ];
    let failed = world.ok("autoscaling", "BatchDeleteScheduledAction", &batch).await;
    assert_eq!(failed.text.matches("<ScheduledActionName>").count(), 1);
    let evening = [("AutoScalingGroupName", "web"), ("ScheduledActionName", "evening")];
    world.ok("autoscaling", "DeleteScheduledAction", &evening).await;
    let again = world.call("autoscaling", "DeleteScheduledAction", &evening).await;
    assert_eq!(again.field("Code"), "ValidationError");
    assert!(!describe(&[]).await.text.contains("<ScheduledActionName>"));
    world.down(&stack).await;
    world.stop().await;
}

/// Starts a refresh to a version of the launch template, with the group's version a number before.
async fn refresh(world: &World, version: &str, more: &[(&str, &str)]) -> String {
    let first = [
        ("AutoScalingGroupName", "web"),
        ("LaunchTemplate.LaunchTemplateName", "web"),
        ("LaunchTemplate.Version", "1"),
    ];
    world.ok("autoscaling", "UpdateAutoScalingGroup", &first).await;
    let mut form = vec![
        ("AutoScalingGroupName", "web"),
        ("DesiredConfiguration.LaunchTemplate.LaunchTemplateName", "web"),
        ("DesiredConfiguration.LaunchTemplate.Version", version),
        ("Preferences.MinHealthyPercentage", "100"),
        ("Preferences.MaxHealthyPercentage", "200"),
        ("Preferences.InstanceWarmup", "0"),
    ];
    form.extend(more);
    world.ok("autoscaling", "StartInstanceRefresh", &form).await.field("InstanceRefreshId")
}

async fn refresh_status(world: &World) -> String {
    world.ok("autoscaling", "DescribeInstanceRefreshes", &[("AutoScalingGroupName", "web")]).await.field("Status")
}

/// How many of the group's targets are in a state.
async fn targets(world: &World, stack: &Stack, state: &str) -> usize {
    let form = [("TargetGroupArn", stack.target_group.as_str())];
    let health = world.ok("elasticloadbalancing", "DescribeTargetHealth", &form).await.text;
    health.matches(&format!("<State>{state}</State>")).count()
}

#[tokio::test]
async fn an_ill_instance_answers_until_its_replacement_is_ready() {
    let world = World::start().await;
    for grace in ["7200", "0"] {
        let stack = world.up("/", &[("HealthCheckGracePeriod", "7200")]).await;
        let before = world.instance_ids().await.remove(0);
        let check = async |path: &str| {
            let form = [("TargetGroupArn", stack.target_group.as_str()), ("HealthCheckPath", path)];
            world.ok("elasticloadbalancing", "ModifyTargetGroup", &form).await;
        };
        check("/broken").await;
        world.eventually("the instance is ill", async || targets(&world, &stack, "unhealthy").await == 1).await;
        let data = world.template_data(&stack.group_id, "GREETING=\"new\"\nPORT=\"8080\"").await;
        let version = world.new_version(data).await;
        refresh(&world, &version, &[]).await;
        let form = [("AutoScalingGroupName", "web"), ("HealthCheckGracePeriod", grace)];
        world.ok("autoscaling", "UpdateAutoScalingGroup", &form).await;
        let answers = async || {
            let status = world.get(&stack.address, "/").await.status;
            assert_eq!(status, 200, "a request is lost with a grace period of {grace}: {:#}", world.compute.status());
        };
        world
            .eventually("the new one is there, and as ill", async || {
                answers().await;
                match grace {
                    // It is replaced as soon as it is ill.
                    "0" => world.activities().await.text.contains("an ELB system health check failure"),
                    _ => targets(&world, &stack, "unhealthy").await == 2,
                }
            })
            .await;
        assert!(world.instance_ids().await.contains(&before), "the old one has not gone");
        check("/").await;
        world
            .eventually("the refresh is successful", async || {
                answers().await;
                refresh_status(&world).await == "Successful"
            })
            .await;
        assert!(!world.instance_ids().await.contains(&before), "the new one serves alone");
        world.down(&stack).await;
    }
    world.stop().await;
}

async fn bad_version(world: &World, stack: &Stack) -> String {
    world.new_version(world.changed_data(&stack.group_id, "GREETING=\"hello\"", "DIE=\"1\"").await).await
}

#[tokio::test]
async fn a_bad_version_is_rolled_back_and_the_old_instances_serve_on() {
    let world = World::start_at(times(300)).await;
    let stack = world.up("/", &[("HealthCheckGracePeriod", "7200")]).await;
    let before = world.instance_ids().await;
    let version = bad_version(&world, &stack).await;
    refresh(&world, &version, &[("Preferences.AutoRollback", "true")]).await;

    let mut seen = BTreeSet::new();
    world
        .eventually("it is rolled back", async || {
            let answer = world.get(&stack.address, "/").await.status;
            assert_eq!(answer, 200, "the old instance serves all the time: {:#}", world.compute.status());
            let status = refresh_status(&world).await;
            seen.insert(status.clone());
            status == "RollbackSuccessful"
        })
        .await;
    assert!(seen.contains("InProgress") && !seen.contains("Failed"), "{seen:?}");
    assert_eq!(world.group_field("Version").await, "1", "the group keeps the version it had");
    world.eventually("only the old instance is left", async || world.instance_ids().await == before).await;
    world.down(&stack).await;
    world.stop().await;
}

#[tokio::test]
async fn a_refresh_is_cancelled_or_rolled_back_when_somebody_says_so() {
    let world = World::start().await;
    let stack = world.up("/", &[("HealthCheckGracePeriod", "7200")]).await;
    let before = world.instance_ids().await;
    let group = [("AutoScalingGroupName", "web")];
    for operation in ["CancelInstanceRefresh", "RollbackInstanceRefresh"] {
        let refused = world.call("autoscaling", operation, &group).await;
        assert_eq!(refused.field("Code"), "ActiveInstanceRefreshNotFound", "{operation}");
    }
    let version = bad_version(&world, &stack).await;
    refresh(&world, &version, &[]).await;
    let attach = [("AutoScalingGroupName", "web"), ("TargetGroupARNs.member.1", &stack.target_group)];
    let refused = world.call("autoscaling", "AttachLoadBalancerTargetGroups", &attach).await;
    assert_eq!(refused.field("Code"), "InstanceRefreshInProgress");
    world.eventually("the new one is there beside the old one", async || world.instance_ids().await.len() == 2).await;
    world.ok("autoscaling", "CancelInstanceRefresh", &group).await;
    world.eventually("it is cancelled", async || refresh_status(&world).await == "Cancelled").await;
    world.eventually("the old one serves on", async || world.instance_ids().await == before).await;

    refresh(&world, &version, &[]).await;
    world.ok("autoscaling", "RollbackInstanceRefresh", &group).await;
    world.eventually("it is rolled back", async || refresh_status(&world).await == "RollbackSuccessful").await;

    world.ok("autoscaling", "StartInstanceRefresh", &group).await;
    let refused = world.call("autoscaling", "RollbackInstanceRefresh", &group).await;
    assert_eq!(refused.field("Code"), "IrreversibleInstanceRefresh", "there is no version to go back to");
    world.down(&stack).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_waits_for_protected_instances_leaves_them_alone_or_replaces_them() {
    let world = World::start_at(times(1000)).await;
    let protected = [("NewInstancesProtectedFromScaleIn", "true"), ("HealthCheckGracePeriod", "7200")];
    let stack = world.up("/", &protected).await;
    let before = world.instance_ids().await;
    for (wanted, end, replaced) in
        [("Wait", "Failed", false), ("Ignore", "Successful", false), ("Refresh", "Successful", true)]
    {
        let form = [
            ("AutoScalingGroupName", "web"),
            ("Preferences.MinHealthyPercentage", "0"),
            ("Preferences.InstanceWarmup", "0"),
            ("Preferences.ScaleInProtectedInstances", wanted),
        ];
        world.ok("autoscaling", "StartInstanceRefresh", &form).await;
        world.eventually(wanted, async || refresh_status(&world).await == end).await;
        assert_eq!(world.instance_ids().await != before, replaced, "{wanted}");
    }
    world.down(&stack).await;
    world.stop().await;
}

#[tokio::test]
async fn why_a_launch_fails_is_told_in_the_words_of_aws() {
    let world = World::start().await;
    let stack = world.create("/", NOBODY).await;
    let good = world.template_data(&stack.group_id, "PORT=\"8080\"").await;
    let with = |name: &str, value: &str| {
        let key = format!("LaunchTemplateData.{name}");
        let mut data: Vec<_> = good.iter().filter(|(name, _)| *name != key).cloned().collect();
        data.push((key, value.to_owned()));
        data
    };
    let told = async |expected: &str| {
        world.set_desired(1).await;
        world
            .eventually(&format!("it is told that {expected}"), async || {
                let newest = world.activities().await;
                newest.field("StatusCode") == "Failed" && newest.field("StatusMessage") == expected
            })
            .await;
        world.set_desired(0).await;
    };
    world.new_version(with("IamInstanceProfile.Name", "nobody")).await;
    told("Value (nobody) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name. Launching EC2 instance failed.").await;
    world.new_version(with("SecurityGroupId.1", "sg-0123456789abcdef0")).await;
    told("The security group 'sg-0123456789abcdef0' does not exist. Launching EC2 instance failed.").await;
    world.new_version(with("KeyName", "vockey")).await;
    told("The key pair 'vockey' does not exist. Launching EC2 instance failed.").await;
    world.new_version(with("InstanceType", "t9.micro")).await;
    told("Invalid value 't9.micro' for InstanceType. Launching EC2 instance failed.").await;

    let template = world.ok("ec2", "DescribeLaunchTemplates", &[]).await.field("launchTemplateId");
    world.ok("ec2", "DeleteLaunchTemplate", &[("LaunchTemplateId", &template)]).await;
    told(&format!(
        "The specified launch template, with template ID {template}, does not exist. Launching EC2 instance failed."
    ))
    .await;
    world.stop().await;
}

#[tokio::test]
async fn a_zone_without_the_type_is_told_and_the_group_goes_to_another() {
    let world = World::start().await;
    let stack = world.create("/", NOBODY).await;
    let offered =
        [("LocationType", "availability-zone"), ("Filter.1.Name", "instance-type"), ("Filter.1.Value.1", "m7i.large")];
    let offered = world.ok("ec2", "DescribeInstanceTypeOfferings", &offered).await;
    assert_eq!(offered.text.matches("<location>").count(), 2, "{}", offered.text);
    let mut data = world.template_data(&stack.group_id, "PORT=\"8080\"").await;
    data.retain(|(name, _)| name != "LaunchTemplateData.InstanceType");
    data.push(("LaunchTemplateData.InstanceType".to_owned(), "m7i.large".to_owned()));
    world.new_version(data).await;
    let zones = format!("{},{}", stack.subnets[2], stack.subnets[1]);
    let zones = [("AutoScalingGroupName", "web"), ("VPCZoneIdentifier", zones.as_str()), ("DesiredCapacity", "2")];
    world.ok("autoscaling", "UpdateAutoScalingGroup", &zones).await;
    world.eventually("both serve in the zone that has it", async || world.healthy(&stack).await == 2).await;
    let activities = world.activities().await.text;
    assert!(
        activities.contains(
            "Your requested instance type (m7i.large) is not supported in your requested Availability Zone (us-east-1c). Please retry your request by not specifying an Availability Zone or choosing us-east-1a, us-east-1b. Launching EC2 instance failed."
        ),
        "{activities}"
    );
    world.down(&stack).await;
    world.stop().await;
}

#[tokio::test]
async fn a_stopped_instance_is_replaced_and_a_rebooted_one_is_the_same() {
    let world = World::start().await;
    let stack = world.up("/", &[("HealthCheckGracePeriod", "7200")]).await;
    let id = world.instance_ids().await.remove(0);
    let pid = world.get(&stack.address, "/pid").await.body;
    let this = [("InstanceId.1", id.as_str())];

    world.ok("ec2", "RebootInstances", &this).await;
    world
        .eventually("another process answers", async || {
            let answer = world.get_or_refused(&stack.address, "/pid").await;
            answer.is_some_and(|answer| answer.status == 200 && answer.body != pid)
        })
        .await;
    assert_eq!(world.instance_ids().await, std::slice::from_ref(&id));
    let console = world.console(&id).await;
    assert!(console.contains("systemd: powering off") && console.contains("cloud-init: has run before"), "{console}");

    let stopping = world.ok("ec2", "StopInstances", &this).await;
    assert_eq!(stopping.field("name"), "stopping");
    world
        .eventually("another instance serves", async || {
            let ids = world.instance_ids().await;
            ids.len() == 1 && ids[0] != id && world.healthy(&stack).await == 1
        })
        .await;
    let activities = world.activities().await.text;
    assert!(activities.contains("EC2 health check indicating it has been terminated or stopped"), "{activities}");
    world
        .eventually("the group has ended the stopped one", async || {
            world.ok("ec2", "DescribeInstances", &[("InstanceId.1", &id)]).await.field("name") == "terminated"
        })
        .await;
    for operation in ["StopInstances", "StartInstances", "RebootInstances"] {
        let refused = world.call("ec2", operation, &this).await;
        assert_eq!(refused.field("Code"), "IncorrectInstanceState", "{operation}");
    }
    world.down(&stack).await;
    world.stop().await;
}

#[tokio::test]
async fn a_group_that_looks_away_leaves_a_stopped_instance_alone_and_it_starts_again() {
    let world = World::start().await;
    let stack = world.up("/", &[("HealthCheckGracePeriod", "7200")]).await;
    let id = world.instance_ids().await.remove(0);
    let this = [("InstanceId.1", id.as_str())];
    let process = [("AutoScalingGroupName", "web"), ("ScalingProcesses.member.1", "ReplaceUnhealthy")];
    world.ok("autoscaling", "SuspendProcesses", &process).await;

    world.ok("ec2", "StopInstances", &this).await;
    let state = async || world.ok("ec2", "DescribeInstances", &this).await.field("name");
    world.eventually("it is stopped", async || state().await == "stopped").await;
    let health = [("TargetGroupArn", stack.target_group.as_str())];
    let health = world.ok("elasticloadbalancing", "DescribeTargetHealth", &health).await;
    assert_eq!(
        (health.field("Reason"), health.field("Description")),
        ("Target.InvalidState".into(), "Target is in the stopped state".into())
    );
    assert_eq!(world.get(&stack.address, "/").await.status, 503);
    assert_eq!(world.group_field("HealthStatus").await, "Unhealthy");

    world.ok("ec2", "StartInstances", &this).await;
    world.eventually("it serves again", async || world.healthy(&stack).await == 1).await;
    assert_eq!(world.instance_ids().await, [id]);
    world.ok("autoscaling", "ResumeProcesses", &process).await;
    world.down(&stack).await;
    world.stop().await;
}

#[tokio::test]
async fn a_service_that_dies_at_once_meets_the_start_limit_of_its_unit() {
    let world = World::start().await;
    let stack =
        world.create("/", &[("MinSize", "0"), ("DesiredCapacity", "0"), ("HealthCheckGracePeriod", "7200")]).await;
    let mut data = world.changed_data(&stack.group_id, "GREETING=\"hello\"", "DIE=\"1\"").await;
    for (name, value) in &mut data {
        if name.ends_with("UserData") {
            use base64::Engine as _;
            let base64 = base64::engine::general_purpose::STANDARD;
            let text = String::from_utf8(base64.decode(&value).unwrap()).unwrap();
            *value = base64.encode(text.replace("    StartLimitIntervalSec=0\n", "    StartLimitIntervalSec=1h\n"));
        }
    }
    world.new_version(data).await;
    world.set_desired(1).await;
    world.eventually("there is an instance", async || world.instance_ids().await.len() == 1).await;
    let id = world.instance_ids().await.remove(0);
    world
        .eventually("systemd gives up", async || {
            world.journal(&id).await.contains("Start request repeated too quickly.")
        })
        .await;
    let console = world.journal(&id).await;
    for line in [
        "tiny_service dies as it was told",
        "web.service: Main process exited, code=exited, status=1/FAILURE",
        "web.service: Failed with result 'exit-code'.",
        "web.service: Scheduled restart job, restart counter is at 4.",
        "web.service: Failed with result 'start-limit-hit'.",
    ] {
        assert!(console.contains(line), "{line} is not in {console}");
    }
    assert_eq!(console.matches("dies as it was told").count(), 5);
    world
        .eventually("the load balancer sees it", async || {
            let health = [("TargetGroupArn", stack.target_group.as_str())];
            let health = world.ok("elasticloadbalancing", "DescribeTargetHealth", &health).await;
            health.field("Reason") == "Target.FailedHealthChecks"
        })
        .await;
    world.down(&stack).await;
    world.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_service_has_the_memory_of_its_instance_type_and_no_more() {
    let world = World::start().await;
    let stack = world.up("/", &[("HealthCheckGracePeriod", "7200")]).await;
    let pid = world.get(&stack.address, "/pid").await.body;
    assert_eq!(world.get(&stack.address, "/eat=100").await.status, 200);
    let status = world.compute.status()["instances"][0].clone();
    assert_eq!((&status["memory_mib"], &status["processors"]), (&1024.into(), &2.into()));
    let limits = status["limits"].as_str().unwrap();
    assert!(limits.starts_with("each process may have 1024 MiB of memory"), "{limits}");

    // A t3.micro has a GiB.
    assert_eq!(world.get(&stack.address, "/eat=1500").await.status, 502);
    world
        .eventually("systemd has started it again", async || {
            let answer = world.get_or_refused(&stack.address, "/pid").await;
            answer.is_some_and(|answer| answer.status == 200 && answer.body != pid)
        })
        .await;
    let console = world.journal(&world.instance_ids().await[0]).await;
    assert!(console.contains("memory allocation of 1572864000 bytes failed"), "{console}");
    assert!(console.contains("code=killed, status=6/ABRT"), "{console}");
    world.down(&stack).await;
    world.stop().await;
}

#[tokio::test]
async fn a_target_group_attached_later_counts_once_somebody_is_healthy_there() {
    let world = World::start_at(times(300)).await;
    // Nothing but the group attached later could find the instances ill.
    let stack = world.up("/", &[("HealthCheckGracePeriod", "7200")]).await;
    let group = [("AutoScalingGroupName", "web"), ("TargetGroupARNs.member.1", stack.target_group.as_str())];
    world.ok("autoscaling", "DetachLoadBalancerTargetGroups", &group).await;
    world.eventually("nobody is registered", async || world.healthy(&stack).await == 0).await;
    world.ok("autoscaling", "AttachLoadBalancerTargetGroups", &group).await;
    let state = async || {
        world
            .ok("autoscaling", "DescribeLoadBalancerTargetGroups", &[("AutoScalingGroupName", "web")])
            .await
            .field("State")
    };
    assert_ne!(state().await, "InService");
    world.eventually("it is in service", async || state().await == "InService").await;
    assert_eq!(world.healthy(&stack).await, 1);
    world.down(&stack).await;
    world.stop().await;
}
