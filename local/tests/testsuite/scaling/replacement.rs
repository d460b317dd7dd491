//! Instances that fail, stop or cannot be launched.

use super::sizes::EMPTY;
use crate::support::stack::TestCompute;

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
