//! Groups keep their instances, and replace them.

use testkit::process::{is_running, kill};

use crate::support::stack::TestCompute;

/// Keeps instances whose processes are slow to start again from being replaced.
const PATIENT: (&str, &str) = ("HealthCheckGracePeriod", "7200");

#[tokio::test]
async fn a_group_brings_a_service_up_behind_a_load_balancer_and_takes_it_down() {
    let test = TestCompute::start().await;
    let stack = test.up("/", &[]).await;

    let environment = test.get(&stack.address, "/environment").await;
    assert_eq!(environment.status, 200);
    let line = |name: &str| {
        environment.body.lines().find_map(|line| line.strip_prefix(&format!("{name}=")).map(str::to_owned))
    };
    assert_eq!(line("GREETING").as_deref(), Some("hello \"you\""));
    assert_eq!(line("AWS_ENDPOINT_URL").as_deref(), Some("http://127.0.0.1:1"));
    assert_eq!(line("HOME"), None, "nothing of the host is inherited");

    let headers = test.get(&stack.address, "/headers").await.body;
    for name in ["x-forwarded-for=127.0.0.1", "x-forwarded-proto=http", "x-forwarded-port=", "x-amzn-trace-id=Root=1-"]
    {
        assert!(headers.contains(name), "{name} is missing in {headers}");
    }
    test.another_protocol_is_carried_both_ways(&stack.address).await;
    let long = "x".repeat(300_000);
    let echoed = test.send(&stack.address, "POST", "/echo", &long).await;
    assert_eq!((echoed.status, echoed.body.len()), (200, long.len()));

    test.metadata_needs_a_token_and_gives_credentials(&line("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap()).await;

    let id = test.instance_ids().await.remove(0);
    let console = test.console(&id).await;
    assert!(
        console.contains("cloud-init: wrote /etc/web.env") && console.contains("tiny_service listens on"),
        "{console}"
    );
    assert!(!console.contains("ERROR"), "{console}");

    let described = test
        .ok(
            "ec2",
            "DescribeInstances",
            &[("Filter.1.Name", "tag:aws:autoscaling:groupName"), ("Filter.1.Value.1", "web")],
        )
        .await;
    assert!(described.text.contains("<key>colour</key><value>blue</value>"), "tags of the group reach its instances");

    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn a_process_that_dies_is_restarted_and_an_instance_that_dies_is_replaced() {
    let test = TestCompute::start().await;
    let stack = test.up("/", &[PATIENT]).await;
    let (id, pid) = (test.instance_ids().await.remove(0), test.get(&stack.address, "/pid").await.body);

    kill(&pid);
    test.until("another process answers", async || {
        let answer = test.get_or_refused(&stack.address, "/pid").await;
        answer.is_some_and(|answer| answer.status == 200 && answer.body != pid)
    })
    .await;
    assert_eq!(
        test.instance_ids().await,
        std::slice::from_ref(&id),
        "systemd has restarted it, the group has nothing to do"
    );

    test.ok("ec2", "TerminateInstances", &[("InstanceId.1", &id)]).await;
    test.until("another instance serves", async || {
        let ids = test.instance_ids().await;
        ids.len() == 1 && ids[0] != id && test.healthy(&stack).await == 1
    })
    .await;
    let activities = test.ok("autoscaling", "DescribeScalingActivities", &[("AutoScalingGroupName", "web")]).await;
    assert!(
        activities
            .text
            .contains("a user request created an AutoScalingGroup changing the desired capacity from 0 to 1")
    );
    assert!(activities.text.contains("EC2 health check indicating it has been terminated or stopped"));
    assert!(activities.text.contains("an unhealthy instance needing to be replaced"));
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn a_refresh_replaces_instances_without_losing_a_request() {
    let test = TestCompute::start().await;
    let stack = test.up("/", &[]).await;
    let before = test.instance_ids().await.remove(0);

    let data = test.template_data(&stack.group_id, "GREETING=\"new\"\nPORT=\"8080\"").await;
    let mut form = vec![("LaunchTemplateName".to_owned(), "web".to_owned())];
    form.extend(data);
    let version = test.ok_with("ec2", "CreateLaunchTemplateVersion", form).await.field("versionNumber");
    assert_eq!(version, "2");
    let template =
        test.ok("ec2", "DescribeLaunchTemplates", &[("LaunchTemplateName.1", "web")]).await.field("launchTemplateId");
    let started = test
        .ok(
            "autoscaling",
            "StartInstanceRefresh",
            &[
                ("AutoScalingGroupName", "web"),
                ("DesiredConfiguration.LaunchTemplate.LaunchTemplateId", &template),
                ("DesiredConfiguration.LaunchTemplate.Version", "2"),
                ("Preferences.MinHealthyPercentage", "100"),
                ("Preferences.MaxHealthyPercentage", "200"),
                ("Preferences.InstanceWarmup", "0"),
            ],
        )
        .await;
    assert!(!started.field("InstanceRefreshId").is_empty());
    let again = test.call("autoscaling", "StartInstanceRefresh", &[("AutoScalingGroupName", "web")]).await;
    assert_eq!(again.field("Code"), "InstanceRefreshInProgress");

    test.until("the refresh is successful", async || {
        let answer = test.get(&stack.address, "/environment").await;
        assert_eq!(answer.status, 200, "a request was lost");
        let refreshes = test.ok("autoscaling", "DescribeInstanceRefreshes", &[("AutoScalingGroupName", "web")]).await;
        assert_ne!(refreshes.field("Status"), "Failed", "{}", refreshes.text);
        refreshes.field("Status") == "Successful"
    })
    .await;
    assert!(test.get(&stack.address, "/environment").await.body.contains("GREETING=new\n"));
    assert_ne!(test.instance_ids().await, [before]);
    let group = test.ok("autoscaling", "DescribeAutoScalingGroups", &[("AutoScalingGroupNames.member.1", "web")]).await;
    assert_eq!(group.field("Version"), "2", "the group keeps the version of a successful refresh");
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn the_settings_of_a_template_are_shown_and_applied() {
    let test = TestCompute::start().await;
    let stack = test.create("/", &[("MinSize", "0"), ("DesiredCapacity", "0")]).await;
    let mut data = test.template_data(&stack.group_id, "PORT=\"8080\"").await;
    for (name, value) in [
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "20"),
        ("BlockDeviceMapping.2.DeviceName", "/dev/sdf"),
        ("BlockDeviceMapping.2.Ebs.VolumeSize", "100"),
        ("BlockDeviceMapping.2.Ebs.VolumeType", "gp2"),
        ("BlockDeviceMapping.2.Ebs.Encrypted", "true"),
        ("DisableApiTermination", "true"),
        ("InstanceInitiatedShutdownBehavior", "terminate"),
        ("MetadataOptions.HttpTokens", "optional"),
        ("MetadataOptions.HttpPutResponseHopLimit", "3"),
        ("Monitoring.Enabled", "true"),
        ("TagSpecification.1.ResourceType", "volume"),
        ("TagSpecification.1.Tag.1.Key", "kept"),
        ("TagSpecification.1.Tag.1.Value", "no"),
        ("TagSpecification.2.ResourceType", "network-interface"),
        ("TagSpecification.2.Tag.1.Key", "first"),
        ("TagSpecification.2.Tag.1.Value", "yes"),
    ] {
        data.push((format!("LaunchTemplateData.{name}"), value.to_owned()));
    }
    test.new_version(data).await;
    test.set_desired(1).await;
    test.until("it is there", async || !test.instance_ids().await.is_empty()).await;
    let id = test.instance_ids().await.remove(0);
    let shown = test.ok("ec2", "DescribeInstances", &[("InstanceId.1", &id)]).await;
    for (field, expected) in [
        ("arn", "arn:aws:iam::000000000000:instance-profile/web/web-profile"),
        ("httpTokens", "optional"),
        ("httpPutResponseHopLimit", "3"),
        ("macAddress", "02:ff:ac:1f"),
        ("deviceName", "/dev/xvda"),
    ] {
        assert!(shown.field(field).starts_with(expected), "{field} is {}: {}", shown.field(field), shown.text);
    }
    assert!(shown.text.contains("<monitoring><state>enabled</state></monitoring>"), "{}", shown.text);
    assert!(shown.text.contains("<id>AIPAEXAMPLE</id>"), "{}", shown.text);
    let mine = [("Filter.1.Name", "attachment.instance-id"), ("Filter.1.Value.1", id.as_str())];
    let volumes = test.ok("ec2", "DescribeVolumes", &mine).await.text;
    for part in [
        "<size>20</size><volumeType>gp3</volumeType><iops>3000</iops><throughput>125</throughput>",
        "<size>100</size><volumeType>gp2</volumeType><iops>300</iops><encrypted>true</encrypted>",
        "<key>kept</key><value>no</value>",
    ] {
        assert!(volumes.contains(part), "{part} is not in {volumes}");
    }
    let tagged = [("Filter.1.Name", "tag:first"), ("Filter.1.Value.1", "yes")];
    assert!(test.ok("ec2", "DescribeNetworkInterfaces", &tagged).await.field("instanceId") == id);
    for (attribute, expected) in [
        ("disableApiTermination", "true"),
        ("instanceInitiatedShutdownBehavior", "terminate"),
        ("instanceType", "t3.micro"),
    ] {
        let form = [("InstanceId", id.as_str()), ("Attribute", attribute)];
        assert_eq!(test.ok("ec2", "DescribeInstanceAttribute", &form).await.field("value"), expected, "{attribute}");
    }
    let refused = test.call("ec2", "TerminateInstances", &[("InstanceId.1", &id)]).await;
    assert_eq!(refused.field("Code"), "OperationNotPermitted");
    assert!(refused.field("Message").contains("disableApiTermination"), "{}", refused.text);
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn a_group_moves_within_its_bounds_and_its_load_is_shared() {
    let test = TestCompute::start().await;
    let stack = test.up("/", &[]).await;
    let bounds = [("AutoScalingGroupName", "web"), ("MinSize", "2"), ("MaxSize", "3")];
    test.ok("autoscaling", "UpdateAutoScalingGroup", &bounds).await;
    test.until("two targets are healthy", async || test.healthy(&stack).await == 2).await;

    let mut answered = std::collections::BTreeSet::new();
    for _ in 0..4 {
        answered.insert(test.get(&stack.address, "/pid").await.body);
    }
    assert_eq!(answered.len(), 2, "requests alternate between both targets");

    let refused = test
        .call("autoscaling", "SetDesiredCapacity", &[("AutoScalingGroupName", "web"), ("DesiredCapacity", "4")])
        .await;
    assert_eq!(refused.field("Code"), "ValidationError");
    let bounds = [("AutoScalingGroupName", "web"), ("MinSize", "0"), ("DesiredCapacity", "0")];
    test.ok("autoscaling", "UpdateAutoScalingGroup", &bounds).await;
    test.until("no instance is left", async || test.instance_ids().await.is_empty()).await;
    assert_eq!(test.get(&stack.address, "/").await.status, 503);
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn after_a_restart_everything_runs_again_where_it_was() {
    let test = TestCompute::start().await;
    let stack = test.up("/", &[PATIENT]).await;
    let (ids, pid) = (test.instance_ids().await, test.get(&stack.address, "/pid").await.body);
    let test = test.restart().await;
    assert!(!is_running(&pid), "stopping ends every process");
    test.until("the target is healthy again", async || test.healthy(&stack).await == 1).await;
    assert_eq!(test.instance_ids().await, ids);
    assert_ne!(test.get(&stack.address, "/pid").await.body, pid);
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn a_failed_launch_is_an_activity_and_is_retried() {
    let test = TestCompute::start().await;
    let stack = test.create("/", &[("MinSize", "0"), ("DesiredCapacity", "0")]).await;
    test.ok_with(
        "ec2",
        "CreateLaunchTemplateVersion",
        vec![
            ("LaunchTemplateName".to_owned(), "web".to_owned()),
            ("SourceVersion".to_owned(), "1".to_owned()),
            ("LaunchTemplateData.ImageId".to_owned(), "ami-0123456789abcdef0".to_owned()),
        ],
    )
    .await;
    test.ok("ec2", "ModifyLaunchTemplate", &[("LaunchTemplateName", "web"), ("SetDefaultVersion", "2")]).await;
    let refused = test
        .call(
            "autoscaling",
            "UpdateAutoScalingGroup",
            &[
                ("AutoScalingGroupName", "web"),
                ("LaunchTemplate.LaunchTemplateName", "web"),
                ("LaunchTemplate.Version", "2"),
            ],
        )
        .await;
    assert_eq!(
        refused.field("Message"),
        "You must use a valid fully-formed launch template. The image id '[ami-0123456789abcdef0]' does not exist"
    );

    test.ok("autoscaling", "SetDesiredCapacity", &[("AutoScalingGroupName", "web"), ("DesiredCapacity", "1")]).await;
    test.until("the failure to be reported", async || {
        let activities = test.ok("autoscaling", "DescribeScalingActivities", &[("AutoScalingGroupName", "web")]).await;
        activities.field("StatusCode") == "Failed"
            && activities.field("StatusMessage")
                == "The image id '[ami-0123456789abcdef0]' does not exist. Launching EC2 instance failed."
    })
    .await;
    test.ok("ec2", "ModifyLaunchTemplate", &[("LaunchTemplateName", "web"), ("SetDefaultVersion", "1")]).await;
    test.until("the next try succeeds", async || test.healthy(&stack).await == 1).await;
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn the_newest_image_of_each_architecture_and_three_zones_are_there() {
    let test = TestCompute::start().await;
    for architecture in ["x86_64", "arm64"] {
        let images = test
            .ok(
                "ec2",
                "DescribeImages",
                &[
                    ("Owner.1", "amazon"),
                    ("Filter.1.Name", "name"),
                    ("Filter.1.Value.1", "al2023-ami-2023.*"),
                    ("Filter.2.Name", "architecture"),
                    ("Filter.2.Value.1", architecture),
                ],
            )
            .await;
        assert_eq!(images.text.matches("<imageId>").count(), 3);
        assert_eq!(images.field("rootDeviceName"), "/dev/xvda");
    }
    let offered = test
        .ok(
            "ec2",
            "DescribeInstanceTypeOfferings",
            &[
                ("LocationType", "availability-zone"),
                ("Filter.1.Name", "instance-type"),
                ("Filter.1.Value.1", "t3.micro"),
            ],
        )
        .await;
    for zone in ["us-east-1a", "us-east-1b", "us-east-1c"] {
        assert!(offered.text.contains(&format!("<location>{zone}</location>")));
    }
    let vpcs = test.ok("ec2", "DescribeVpcs", &[("Filter.1.Name", "is-default"), ("Filter.1.Value.1", "true")]).await;
    assert_eq!(vpcs.field("cidrBlock"), "172.31.0.0/16");
    test.stop().await;
}
