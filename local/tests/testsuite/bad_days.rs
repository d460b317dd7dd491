//! AWS's adverse conditions other than failed calls: zones without capacity, instances that do not become healthy, and
//! resources that linger.

use std::collections::BTreeSet;

use local::{ChaosKind, Speed};

use crate::support::stack::TestCompute;

const EMPTY: &[(&str, &str)] = &[("MinSize", "0"), ("DesiredCapacity", "0")];

#[tokio::test]
async fn a_full_zone_is_reported_and_the_group_launches_in_the_other() {
    let test = TestCompute::start().await;
    test.turn_bad(&[ChaosKind::Capacity], 1);
    let stack = test.create("/", &[("MinSize", "2")]).await;
    test.until("both are healthy", async || test.healthy(&stack).await == 2).await;
    let activities = test.activities().await.text;
    let (_, rest) = activities
        .split_once("We currently do not have sufficient t3.micro capacity in the Availability Zone you requested (")
        .unwrap_or_else(|| panic!("{activities}"));
    let (full, rest) = rest.split_once("). Our system will be working on provisioning additional capacity. You can currently get t3.micro capacity by not specifying an Availability Zone in your request or choosing ").unwrap();
    let (others, _) = rest.split_once(". Launching EC2 instance failed.").unwrap();
    let mut zones: Vec<&str> = others.split(", ").chain([full]).collect();
    zones.sort_unstable();
    assert_eq!(zones, ["us-east-1a", "us-east-1b", "us-east-1c"]);
    let group = test.ok("autoscaling", "DescribeAutoScalingInstances", &[]).await.text;
    assert!(!group.contains(&format!("<AvailabilityZone>{full}<")), "{group}");

    // A group limited to the full zone reports the failure again and again.
    let subnet = stack.subnets.iter().zip(["us-east-1a", "us-east-1b", "us-east-1c"]).find(|(_, zone)| *zone == full);
    let only = [("AutoScalingGroupName", "web"), ("VPCZoneIdentifier", subnet.unwrap().0), ("DesiredCapacity", "3")];
    test.ok("autoscaling", "UpdateAutoScalingGroup", &only).await;
    test.until("the newest activity is a failure", async || {
        let newest = test.activities().await;
        newest.field("StatusCode") == "Failed" && newest.field("Details").contains(full)
    })
    .await;
    test.turn_bad(&[], 0);
    test.until("the group has tried again", async || test.instance_ids().await.len() == 3).await;
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn a_zone_with_capacity_again_is_rebalanced_before_the_other_terminates() {
    let test = TestCompute::start().await;
    test.turn_bad(&[ChaosKind::Capacity], 1);
    let two = [("MinSize", "2"), ("MaxSize", "2"), ("HealthCheckGracePeriod", "7200")];
    let stack = test.create("/", &two).await;
    test.until("both are healthy", async || test.healthy(&stack).await == 2).await;
    let suspended = [("AutoScalingGroupName", "web"), ("ScalingProcesses.member.1", "AZRebalance")];
    test.ok("autoscaling", "SuspendProcesses", &suspended).await;
    test.turn_bad(&[], 0);
    let zones = async || -> BTreeSet<String> {
        let status = test.ok("autoscaling", "DescribeAutoScalingInstances", &[]).await.text;
        let zones = status.split("<AvailabilityZone>").skip(1);
        zones.map(|part| part.split('<').next().unwrap().to_owned()).collect()
    };
    let before = zones().await;
    assert_eq!(before.len(), 1, "{before:?}");

    test.ok("autoscaling", "ResumeProcesses", &suspended).await;
    test.until("each zone has one", async || zones().await.len() == 2 && test.instance_ids().await.len() == 2).await;
    let activities = test.activities().await.text;
    let causes: Vec<&str> = activities
        .split("<Cause>")
        .skip(1)
        .map(|part| part.split("</Cause>").next().unwrap())
        .filter(|cause| cause.contains("instances were launched to balance instances in zones us-east-1"))
        .collect();
    // The newest activity is listed first.
    let [ending, launch] = causes.as_slice() else { panic!("{activities}") };
    assert!(launch.ends_with("with other zones resulting in more than desired number of instances in the group."));
    assert!(
        ending.contains("shrinking the capacity from 3 to 2.") && ending.ends_with("was selected for termination.")
    );
    assert_eq!(test.group_field("DesiredCapacity").await, "2");
    test.down(&stack).await;
    test.stop().await;
}

/// The outcome of six launches, in their order: whether each instance became healthy.
async fn fates(kind: ChaosKind, seed: u64) -> Vec<bool> {
    let test = TestCompute::start().await;
    test.turn_bad(&[kind], seed);
    let six = [("MinSize", "6"), ("MaxSize", "6"), ("HealthCheckGracePeriod", "7200")];
    let stack = test.create("/", &six).await;
    let states = async || -> Vec<(String, String)> {
        let status = test.compute.status();
        let mut states: Vec<_> = status["targets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|target| (target["id"].as_str().unwrap().to_owned(), target["state"].as_str().unwrap().to_owned()))
            .collect();
        states.sort();
        states
    };
    let judged = |(_, state): &(String, String)| state == "healthy" || state == "unhealthy";
    test.until("every target has been judged", async || {
        let states = states().await;
        states.len() == 6 && states.iter().all(judged)
    })
    .await;
    let states = states().await;
    // Instances are listed by their ids; their order of launch is that of the activities, which are listed newest
    // first.
    let activities = test.activities().await.text;
    let mut launched: Vec<String> = activities
        .split("Launching a new EC2 instance: ")
        .skip(1)
        .map(|part| part.split('<').next().unwrap().to_owned())
        .collect();
    launched.reverse();
    let fate = |id: &String| states.iter().any(|(known, state)| known == id && state == "healthy");
    let fates: Vec<bool> = launched.iter().map(fate).collect();
    if let Some(ill) = launched.iter().zip(&fates).find(|(_, healthy)| !**healthy) {
        let console = test.console(ill.0).await + &test.journal(ill.0).await;
        let expected = match kind {
            ChaosKind::BootFail => "cloud-init: ERROR: Failed to run module scripts-user",
            _ => "web.service: Main process exited, code=killed, status=9/KILL",
        };
        assert!(console.contains(expected), "{console}");
    }
    test.down(&stack).await;
    test.stop().await;
    fates
}

#[tokio::test]
async fn the_same_seed_makes_the_same_launches_fail_to_boot() {
    let first = fates(ChaosKind::BootFail, 7).await;
    assert!(first.contains(&true) && first.contains(&false), "{first:?}");
    assert_eq!(fates(ChaosKind::BootFail, 7).await, first);
}

#[tokio::test]
async fn the_same_seed_makes_the_same_services_crash() {
    let first = fates(ChaosKind::CrashLoop, 3).await;
    assert!(first.contains(&true) && first.contains(&false), "{first:?}");
    assert_eq!(fates(ChaosKind::CrashLoop, 3).await, first);
}

#[tokio::test]
async fn an_instance_that_does_not_boot_is_replaced_until_one_does() {
    let test = TestCompute::start_at("100".parse().unwrap()).await;
    test.turn_bad(&[ChaosKind::BootFail, ChaosKind::CrashLoop], 5);
    let stack = test.create("/", &[("MinSize", "3"), ("HealthCheckGracePeriod", "300")]).await;
    test.until("all three are healthy", async || test.healthy(&stack).await == 3).await;
    let activities = test.activities().await.text;
    assert!(activities.contains("in response to an ELB system health check failure"), "{activities}");
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn network_interfaces_outlive_their_load_balancer_and_hold_its_security_group() {
    // At this speed the hour for which interfaces linger is longer than any test.
    let test = TestCompute::start_at(Speed::REAL).await;
    test.turn_bad(&[ChaosKind::EniLinger], 1);
    let stack = test.create("/", EMPTY).await;
    test.ok("elasticloadbalancing", "DeleteLoadBalancer", &[("LoadBalancerArn", &stack.load_balancer)]).await;
    test.ok("elasticloadbalancing", "DeleteTargetGroup", &[("TargetGroupArn", &stack.target_group)]).await;
    test.shut_out_balancer(&stack).await;
    let refused = test.call("ec2", "DeleteSecurityGroup", &[("GroupId", &stack.balancer_group_id)]).await;
    assert_eq!(
        (refused.field("Code"), refused.field("Message")),
        ("DependencyViolation".into(), format!("resource {} has a dependent object", stack.balancer_group_id))
    );
    let left = [("Filter.1.Name", "attachment.instance-owner-id"), ("Filter.1.Value.1", "amazon-elb")];
    let left = test.ok("ec2", "DescribeNetworkInterfaces", &left).await;
    assert_eq!(left.text.matches("<description>ELB app/web/").count(), 2, "{}", left.text);
    test.stop().await;
}

#[tokio::test]
async fn an_account_on_the_free_plan_launches_free_types_only() {
    let test = TestCompute::start().await;
    test.turn_bad(&[ChaosKind::FreePlan], 0);
    let stack = test.create("/", EMPTY).await;
    let free = [("Filter.1.Name", "free-tier-eligible"), ("Filter.1.Value.1", "true")];
    let free = test.ok("ec2", "DescribeInstanceTypes", &free).await;
    assert_eq!(free.text.matches("<instanceType>").count(), 6);
    let mut data = test.template_data(&stack.group_id, "PORT=\"8080\"").await;
    data.retain(|(name, _)| name != "LaunchTemplateData.InstanceType");
    data.push(("LaunchTemplateData.InstanceType".to_owned(), "t3.large".to_owned()));
    test.new_version(data).await;
    test.set_desired(1).await;
    test
        .until("the activity fails with the message", async || {
            test.activities().await.field("StatusMessage") == "The specified instance type is not eligible for Free Tier. For a list of Free Tier instance types, run 'describe-instance-types' with the filter 'free-tier-eligible=true'. Launching EC2 instance failed."
        })
        .await;
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn nothing_is_launched_or_started_beyond_the_vcpu_quota() {
    const TOO_MANY: &str = "vCPU limit of 32 allows for the instance bucket that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit. Launching EC2 instance failed.";
    let test = TestCompute::start().await;
    let stack =
        test.create("/", &[("MinSize", "0"), ("DesiredCapacity", "0"), ("HealthCheckGracePeriod", "7200")]).await;
    let mut data = test.template_data(&stack.group_id, "PORT=\"8080\"").await;
    data.retain(|(name, _)| name != "LaunchTemplateData.InstanceType");
    data.push(("LaunchTemplateData.InstanceType".to_owned(), "m5.8xlarge".to_owned()));
    test.new_version(data).await;
    test.set_desired(2).await;
    test.until("the activity fails with the message", async || {
        let newest = test.activities().await;
        newest.field("StatusCode") == "Failed" && newest.field("StatusMessage").ends_with(TOO_MANY)
    })
    .await;
    test.until("one has its 32 processors", async || test.healthy(&stack).await == 1).await;
    let ids = test.instance_ids().await;
    assert_eq!(ids.len(), 1, "{ids:?}");

    // A stopped instance does not count towards the quota, and cannot be started when the quota has no room for it.
    test.set_desired(1).await;
    let process = [("AutoScalingGroupName", "web"), ("ScalingProcesses.member.1", "ReplaceUnhealthy")];
    test.ok("autoscaling", "SuspendProcesses", &process).await;
    let this = [("InstanceId.1", ids[0].as_str())];
    test.ok("ec2", "StopInstances", &this).await;
    let state = async || test.ok("ec2", "DescribeInstances", &this).await.field("name");
    test.until("it is stopped", async || state().await == "stopped").await;
    test.turn_bad(&[ChaosKind::VcpuLimit], 0);
    let refused = test.call("ec2", "StartInstances", &this).await;
    assert_eq!(refused.field("Code"), "VcpuLimitExceeded");
    assert!(refused.field("Message").contains("current vCPU limit of 1 allows"), "{}", refused.text);
    assert_eq!(state().await, "stopped");
    test.turn_bad(&[], 0);
    test.ok("ec2", "StartInstances", &this).await;
    test.until("it serves again", async || test.healthy(&stack).await == 1).await;
    test.ok("autoscaling", "ResumeProcesses", &process).await;
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn at_real_speed_a_load_balancer_is_provisioned_for_minutes() {
    let test = TestCompute::start_at(Speed::REAL).await;
    test.create("/", EMPTY).await;
    let described = test.ok("elasticloadbalancing", "DescribeLoadBalancers", &[]).await;
    assert_eq!(described.field("Code"), "provisioning");
    assert_eq!(test.compute.status()["speed"], "real");
    test.stop().await;
}
