//! Compute as its clients see it: groups, instances that run real processes, and load balancers that accept
//! connections.

#[path = "support/stack.rs"]
mod stack;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stack::{Stack, TestCompute, ingress};
use testkit::process::{is_running, kill};

#[tokio::test(flavor = "multi_thread")]
async fn health_checks_use_the_port_of_the_check() {
    let test = TestCompute::start().await;
    let stack = test.up("/", &[]).await;
    test.until("the target is healthy", async || test.healthy(&stack).await == 1).await;
    let elsewhere = [("TargetGroupArn", stack.target_group.as_str()), ("HealthCheckPort", "8081")];
    test.ok("elasticloadbalancing", "ModifyTargetGroup", &elsewhere).await;
    test.until("nothing answers at the other port", async || test.healthy(&stack).await == 0).await;
    let back = [("TargetGroupArn", stack.target_group.as_str()), ("HealthCheckPort", "8080")];
    test.ok("elasticloadbalancing", "ModifyTargetGroup", &back).await;
    test.until("the target is healthy again", async || test.healthy(&stack).await == 1).await;
    test.down(&stack).await;
    test.stop().await;
}

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
    let stack = test.up("/", &[]).await;
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

/// Changes the user data of the launch template, and waits until the console or the journal of the group's first
/// instance contains `expected`.
async fn instance_says(test: &TestCompute, stack: &Stack, changes: &[(&str, &str)], expected: &str) {
    let mut data = test.template_data(&stack.group_id, "GREETING=\"hello\"\nPORT=\"8080\"").await;
    for (name, value) in &mut data {
        for (from, to) in changes {
            if name.ends_with("UserData") {
                let text = String::from_utf8(STANDARD.decode(&*value).unwrap()).unwrap();
                *value = STANDARD.encode(text.replace(from, to));
            } else if name.ends_with(from) {
                *value = (*to).to_owned();
            }
        }
    }
    test.new_version(data).await;
    test.set_desired(1).await;
    test.until(&format!("the instance says {expected:?}"), async || match test.instance_ids().await.first() {
        Some(id) => (test.console(id).await + &test.journal(id).await).contains(expected),
        None => false,
    })
    .await;
    test.set_desired(0).await;
    test.until("the instance is gone", async || test.instance_ids().await.is_empty()).await;
}

#[tokio::test]
async fn the_console_has_the_output_sent_there_and_by_default_that_of_the_last_state_change() {
    let test = TestCompute::start().await;
    let empty = [("MinSize", "0"), ("DesiredCapacity", "0"), ("HealthCheckGracePeriod", "7200")];
    let stack = test.create("/", &empty).await;
    let silent = test.changed_data(&stack.group_id, "    StandardOutput=journal+console\n", "").await;
    test.new_version(silent).await;
    test.set_desired(1).await;
    test.until("the service listens", async || match test.instance_ids().await.first() {
        Some(id) => {
            let journal = test.journal(id).await;
            journal.contains("service[") && journal.contains("tiny_service listens on")
        }
        None => false,
    })
    .await;
    let id = test.instance_ids().await.remove(0);
    let console = test.console(&id).await;
    assert!(console.contains("cloud-init: wrote /etc/web.env") && !console.contains("tiny_service"), "{console}");
    test.set_desired(0).await;
    test.until("the instance is gone", async || test.instance_ids().await.is_empty()).await;

    let loud = test.template_data(&stack.group_id, "GREETING=\"hello\"\nPORT=\"8080\"").await;
    test.new_version(loud).await;
    test.set_desired(1).await;
    test.until("the console has the output", async || match test.instance_ids().await.first() {
        Some(id) => test.console(id).await.contains("tiny_service listens on"),
        None => false,
    })
    .await;
    let id = test.instance_ids().await.remove(0);
    let posted = async || {
        let answer = test.ok("ec2", "GetConsoleOutput", &[("InstanceId", &id)]).await;
        String::from_utf8(STANDARD.decode(answer.field("output")).unwrap()).unwrap()
    };
    assert!(posted().await.contains("cloud-init: wrote") && !posted().await.contains("tiny_service"));
    test.set_desired(0).await;
    test.until("the termination posts the rest", async || posted().await.contains("tiny_service listens on")).await;

    let old = [("InstanceType", "t2.micro")];
    let mut data = test.template_data(&stack.group_id, "PORT=\"8080\"").await;
    data.iter_mut().filter(|(name, _)| name.ends_with(old[0].0)).for_each(|(_, value)| *value = old[0].1.to_owned());
    test.new_version(data).await;
    test.set_desired(1).await;
    test.until("there is an instance", async || test.instance_ids().await.len() == 1).await;
    let id = test.instance_ids().await.remove(0);
    let refused = test.call("ec2", "GetConsoleOutput", &[("InstanceId", &id), ("Latest", "true")]).await;
    assert_eq!((refused.status, refused.field("Code").as_str()), (400, "UnsupportedOperation"));
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn a_units_reports_of_its_exits_outlive_the_instance() {
    let test = TestCompute::start().await;
    let empty = [("MinSize", "0"), ("DesiredCapacity", "0"), ("HealthCheckGracePeriod", "7200")];
    let stack = test.create("/", &empty).await;
    let script = "- path: /opt/web/report
  content: |
    id=$(cat /var/lib/cloud/data/instance-id)
    {
      echo stage=$1 result=$SERVICE_RESULT code=$EXIT_CODE status=$EXIT_STATUS
      systemctl show web --property=NRestarts
      journalctl --unit=web --lines=20 --no-pager --quiet --output=short-iso
    } 2>&1 | aws s3 cp --only-show-errors - s3://artifacts/boot/web/$id/$1
- path: /etc/systemd/system/web.service
";
    let mut data = test.changed_data(&stack.group_id, "- path: /etc/systemd/system/web.service\n", script).await;
    for (name, value) in &mut data {
        if name.ends_with("UserData") {
            let text = String::from_utf8(STANDARD.decode(&*value).unwrap()).unwrap();
            let text = text.replace("GREETING=\"hello\"", "DIE=\"1\"");
            let after = "    ExecStopPost=+-/usr/bin/bash /opt/web/report exit\n    Restart=always\n";
            *value = STANDARD.encode(text.replace("    Restart=always\n", after));
        }
    }
    test.new_version(data).await;
    test.set_desired(1).await;
    let report = || {
        let written = test.written.lock().unwrap();
        written.values().last().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
    };
    test.until("the second exit is reported", async || report().contains("NRestarts=1")).await;
    let id = test.instance_ids().await.remove(0);
    let text = report();
    assert!(text.starts_with("stage=exit result=exit-code code=exited status=1\nNRestarts="), "{text}");
    assert!(text.contains("tiny_service exits because DIE is set"), "{text}");
    assert!(text.contains("web.service: Main process exited, code=exited, status=1/FAILURE"), "{text}");
    let keys: Vec<String> = test.written.lock().unwrap().keys().cloned().collect();
    assert_eq!(keys, [format!("artifacts/boot/web/{id}/exit")]);
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn what_does_not_run_on_an_ec2_instance_does_not_run_here() {
    let test = TestCompute::start().await;
    let no_instances = [("MinSize", "0"), ("DesiredCapacity", "0"), ("HealthCheckGracePeriod", "7200")];
    let stack = test.create("/", &no_instances).await;
    let text = "+/usr/bin/chmod 0755 /etc/web.env\n    ExecStart=/etc/web.env";
    let is_text = [("+/usr/bin/chmod 0755 /opt/web/service\n    ExecStart=/opt/web/service", text)];
    instance_says(&test, &stack, &is_text, "Failed at step EXEC spawning /etc/web.env: Exec format error").await;
    instance_says(&test, &stack, &is_text, "code=exited, status=203/EXEC").await;

    let arm = [("Filter.1.Name", "architecture"), ("Filter.1.Value.1", "arm64")];
    let arm = test.ok("ec2", "DescribeImages", &arm).await.field("imageId");
    let is_arm = [("ImageId", arm.as_str()), ("InstanceType", "t4g.micro")];
    if cfg!(target_arch = "x86_64") {
        let expected =
            "Failed at step EXEC spawning /opt/web/service: Exec format error (os error 8) (t4g.micro is arm64)";
        instance_says(&test, &stack, &is_arm, expected).await;
    }

    let low = [("PORT=\"8080\"", "PORT=\"80\"")];
    instance_says(&test, &stack, &low, "/opt/web/service: cannot listen on port 80: Permission denied").await;
    let bind = "DynamicUser=yes\n    AmbientCapabilities=CAP_NET_BIND_SERVICE";
    instance_says(&test, &stack, &[low[0], ("DynamicUser=yes", bind)], "tiny_service listens on").await;
    instance_says(&test, &stack, &[low[0], ("DynamicUser=yes", "User=root")], "tiny_service listens on").await;
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
async fn the_answer_of_a_target_decides_its_health_and_the_reason() {
    let test = TestCompute::start().await;
    let stack = test.create("/broken", &[("HealthCheckGracePeriod", "3600")]).await;
    test.until("the reason is the status", async || {
        let health =
            test.ok("elasticloadbalancing", "DescribeTargetHealth", &[("TargetGroupArn", &stack.target_group)]).await;
        health.field("Reason") == "Target.ResponseCodeMismatch"
            && health.field("Description") == "Health checks failed with these codes: [500]"
    })
    .await;
    // When all targets are unhealthy, the health checks may be at fault: requests are still forwarded.
    assert_eq!(test.get(&stack.address, "/").await.status, 200);

    test.shut_out_balancer(&stack).await;
    test.until("the reason is the security group", async || {
        let health =
            test.ok("elasticloadbalancing", "DescribeTargetHealth", &[("TargetGroupArn", &stack.target_group)]).await;
        health.field("Reason") == "Target.Timeout"
    })
    .await;
    assert_eq!(test.get(&stack.address, "/").await.status, 504);
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn egress_rules_of_the_load_balancer_apply_and_rules_can_be_described() {
    let test = TestCompute::start().await;
    let stack = test.up("/", &[]).await;
    let everything = [
        ("GroupId", stack.balancer_group_id.as_str()),
        ("IpPermissions.1.IpProtocol", "-1"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
    ];
    test.ok("ec2", "RevokeSecurityGroupEgress", &everything).await;
    test.until("nothing gets out", async || test.get(&stack.address, "/").await.status == 504).await;
    let mut instances = vec![
        ("GroupId", stack.balancer_group_id.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "8080"),
        ("IpPermissions.1.ToPort", "8080"),
        ("IpPermissions.1.Groups.1.GroupId", &stack.group_id),
    ];
    let unknown = test.call("ec2", "UpdateSecurityGroupRuleDescriptionsEgress", &instances).await;
    assert_eq!(unknown.field("Code"), "InvalidPermission.NotFound");
    test.ok("ec2", "AuthorizeSecurityGroupEgress", &instances).await;
    test.until("requests get out to the instances", async || test.get(&stack.address, "/").await.status == 200).await;

    instances.push(("IpPermissions.1.Groups.1.Description", "the instances"));
    test.ok("ec2", "UpdateSecurityGroupRuleDescriptionsEgress", &instances).await;
    let of_group = [("Filter.1.Name", "group-id"), ("Filter.1.Value.1", stack.balancer_group_id.as_str())];
    let rules = test.ok("ec2", "DescribeSecurityGroupRules", &of_group).await;
    assert!(rules.text.contains("<description>the instances</description>"), "{}", rules.text);
    instances.pop();
    test.ok("ec2", "UpdateSecurityGroupRuleDescriptionsEgress", &instances).await;
    let rules = test.ok("ec2", "DescribeSecurityGroupRules", &of_group).await;
    assert!(!rules.text.contains("<description>"), "{}", rules.text);
    instances.push(("IpPermissions.1.Groups.1.Description", "größer"));
    let refused = test.call("ec2", "UpdateSecurityGroupRuleDescriptionsEgress", &instances).await;
    assert_eq!(refused.field("Code"), "InvalidParameterValue");
    instances.pop();
    test.ok("ec2", "RevokeSecurityGroupEgress", &instances).await;
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn after_a_restart_everything_runs_again_where_it_was() {
    let test = TestCompute::start().await;
    let stack = test.up("/", &[]).await;
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

/// An action, its parameters, and the code of the refusal.
type Refusal<'a> = (&'a str, Vec<(&'a str, &'a str)>, &'a str);

const MISSING_BALANCER: &str = "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/x/1";
const MISSING_TARGET_GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/x/1";

/// The parameters of a rule that the load balancer's security group has already.
fn rule_again(stack: &Stack) -> Vec<(&str, &str)> {
    let peer = ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0");
    ingress(&stack.balancer_group_id, "80", peer).to_vec()
}

/// Requests that EC2 refuses, with the error codes.
fn refusals_of_ec2(stack: &Stack) -> Vec<Refusal<'_>> {
    vec![
        ("CreateSecurityGroup", vec![("GroupName", "web"), ("GroupDescription", "x")], "InvalidGroup.Duplicate"),
        ("AuthorizeSecurityGroupIngress", rule_again(stack), "InvalidPermission.Duplicate"),
        ("DeleteSecurityGroup", vec![("GroupId", "sg-1")], "InvalidGroup.NotFound"),
        ("DeleteSecurityGroup", vec![("GroupId", stack.balancer_group_id.as_str())], "DependencyViolation"),
        ("DescribeSecurityGroups", vec![("GroupId.1", "nonsense")], "InvalidGroupId.Malformed"),
        (
            "CreateLaunchTemplate",
            vec![("LaunchTemplateName", "web"), ("LaunchTemplateData.KeyName", "x")],
            "InvalidLaunchTemplateName.AlreadyExistsException",
        ),
        (
            "DescribeLaunchTemplates",
            vec![("LaunchTemplateName.1", "none")],
            "InvalidLaunchTemplateName.NotFoundException",
        ),
        ("DescribeLaunchTemplateVersions", vec![("LaunchTemplateId", "lt-1")], "InvalidLaunchTemplateId.NotFound"),
        (
            "DescribeLaunchTemplateVersions",
            vec![("LaunchTemplateName", "web"), ("LaunchTemplateVersion.1", "9")],
            "InvalidLaunchTemplateId.VersionNotFound",
        ),
        ("DescribeImages", vec![("ImageId.1", "ami-1")], "InvalidAMIID.NotFound"),
        ("DescribeInstances", vec![("InstanceId.1", "i-1")], "InvalidInstanceID.NotFound"),
        ("DescribeInstanceTypes", vec![("InstanceType.1", "t9.micro")], "InvalidInstanceType"),
    ]
}

/// Requests that Auto Scaling refuses, with the error codes.
fn refusals_of_autoscaling() -> Vec<Refusal<'static>> {
    vec![
        ("CreateAutoScalingGroup", vec![("AutoScalingGroupName", "web")], "AlreadyExists"),
        ("SetDesiredCapacity", vec![("AutoScalingGroupName", "none"), ("DesiredCapacity", "1")], "ValidationError"),
        ("DeletePolicy", vec![("AutoScalingGroupName", "web"), ("PolicyName", "none")], "ValidationError"),
        ("CancelInstanceRefresh", vec![("AutoScalingGroupName", "web")], "ActiveInstanceRefreshNotFound"),
    ]
}

/// Requests that Elastic Load Balancing refuses, with the error codes.
fn refusals_of_load_balancing(stack: &Stack) -> Vec<Refusal<'_>> {
    vec![
        ("DescribeLoadBalancers", vec![("Names.member.1", "none")], "LoadBalancerNotFound"),
        ("DescribeTargetGroups", vec![("Names.member.1", "none")], "TargetGroupNotFound"),
        ("DescribeTags", vec![("ResourceArns.member.1", MISSING_BALANCER)], "LoadBalancerNotFound"),
        ("DescribeTargetHealth", vec![("TargetGroupArn", MISSING_TARGET_GROUP)], "TargetGroupNotFound"),
        ("DeleteTargetGroup", vec![("TargetGroupArn", stack.target_group.as_str())], "ResourceInUse"),
        (
            "CreateLoadBalancer",
            vec![("Name", "other"), ("Subnets.member.1", stack.subnets[0].as_str())],
            "ValidationError",
        ),
        (
            "CreateLoadBalancer",
            vec![
                ("Name", "web"),
                ("Subnets.member.1", stack.subnets[0].as_str()),
                ("Subnets.member.2", stack.subnets[1].as_str()),
                ("Scheme", "internal"),
            ],
            "DuplicateLoadBalancerName",
        ),
        (
            "CreateLoadBalancer",
            vec![("Name", "other"), ("Subnets.member.1", "subnet-1"), ("Subnets.member.2", "subnet-2")],
            "SubnetNotFound",
        ),
    ]
}

#[tokio::test]
async fn refusals_have_the_codes_and_texts_of_aws() {
    let test = TestCompute::start().await;
    let stack = test.create("/", &[("MinSize", "0"), ("DesiredCapacity", "0")]).await;
    for (service, refusals) in [
        ("ec2", refusals_of_ec2(&stack)),
        ("autoscaling", refusals_of_autoscaling()),
        ("elasticloadbalancing", refusals_of_load_balancing(&stack)),
    ] {
        for (action, form, expected) in refusals {
            let answer = test.call(service, action, &form).await;
            assert_eq!((answer.status, answer.field("Code").as_str()), (400, expected), "{action}: {}", answer.text);
        }
    }
    let duplicate = test.call("ec2", "AuthorizeSecurityGroupIngress", &rule_again(&stack)).await;
    assert!(duplicate.text.contains(
        "the specified rule &quot;peer: 0.0.0.0/0, TCP, from port: 80, to port: 80, ALLOW&quot; already exists"
    ));
    let in_use = test.call("ec2", "DeleteSecurityGroup", &[("GroupId", stack.balancer_group_id.as_str())]).await;
    assert_eq!(in_use.field("Message"), format!("resource {} has a dependent object", stack.balancer_group_id));
    assert!(
        test.ok("ec2", "DescribeSecurityGroups", &[("Filter.1.Name", "group-name"), ("Filter.1.Value.1", "none")])
            .await
            .field("groupId")
            .is_empty()
    );
    assert_eq!(
        test.ok("ec2", "DescribeSecurityGroups", &[("GroupId.1", stack.group_id.as_str())]).await.field("groupName"),
        "web"
    );
    let unknown = BTreeMap::from([("Action".to_owned(), "RunInstances".to_owned())]);
    assert!(test.compute.handle("ec2", &unknown).await.is_none());
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
