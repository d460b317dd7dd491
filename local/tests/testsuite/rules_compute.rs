//! Rules of EC2, Auto Scaling and Elastic Load Balancing that AWS enforces, with its error codes and messages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::stack::TestCompute;

const EMPTY: &[(&str, &str)] = &[("MinSize", "0"), ("DesiredCapacity", "0")];

#[tokio::test]
async fn names_within_a_group_follow_the_rules_of_aws_and_target_groups_are_attached_ten_at_a_time() {
    let test = TestCompute::start().await;
    let stack = test.create("/", &[("MinSize", "0"), ("DesiredCapacity", "0")]).await;
    let longer = "x".repeat(256);
    let put = async |name: &str| {
        let action = [("AutoScalingGroupName", "web"), ("ScheduledActionName", name), ("Recurrence", "0 0 * * *")];
        let action: Vec<_> = action.into_iter().chain([("MinSize", "0")]).collect();
        let policy = [
            ("AutoScalingGroupName", "web"),
            ("PolicyName", name),
            ("PolicyType", "TargetTrackingScaling"),
            (
                "TargetTrackingConfiguration.PredefinedMetricSpecification.PredefinedMetricType",
                "ASGAverageCPUUtilization",
            ),
            ("TargetTrackingConfiguration.TargetValue", "50"),
        ];
        [
            test.call("autoscaling", "PutScheduledUpdateGroupAction", &action).await.status,
            test.call("autoscaling", "PutScalingPolicy", &policy).await.status,
        ]
    };
    for (name, status) in [("cpu/50", 200), ("a:b", 400), (longer.as_str(), 400)] {
        assert_eq!(put(name).await, [status, status], "{name}");
    }
    let names: Vec<String> = (1..=11).map(|number| format!("TargetGroupARNs.member.{number}")).collect();
    for operation in ["AttachLoadBalancerTargetGroups", "DetachLoadBalancerTargetGroups"] {
        for (number, status) in [(10, 200), (11, 400)] {
            let mut form = vec![("AutoScalingGroupName", "web")];
            form.extend(names.iter().take(number).map(|name| (name.as_str(), stack.target_group.as_str())));
            assert_eq!(test.call("autoscaling", operation, &form).await.status, status, "{operation} {number}");
        }
    }
    test.stop().await;
}

/// Service, operation and parameters.
type Call = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Parameters that AWS supports and this server does not, in each service.
const NOT_CARRIED_OUT: &[Call] = &[
    ("ec2", "CreateLaunchTemplate", &[("LaunchTemplateData.InstanceMarketOptions.MarketType", "spot")]),
    ("ec2", "CreateLaunchTemplate", &[("LaunchTemplateData.NetworkInterface.1.SubnetId", "subnet-1")]),
    ("ec2", "CreateLaunchTemplate", &[("LaunchTemplateData.HibernationOptions.Configured", "true")]),
    ("ec2", "StopInstances", &[("Hibernate", "true")]),
    ("ec2", "AuthorizeSecurityGroupIngress", &[("IpPermissions.1.PrefixListIds.1.PrefixListId", "pl-1")]),
    ("autoscaling", "CreateAutoScalingGroup", &[("MixedInstancesPolicy.InstancesDistribution.SpotMaxPrice", "1")]),
    ("autoscaling", "CreateAutoScalingGroup", &[("MaxInstanceLifetime", "86400")]),
    ("autoscaling", "CreateAutoScalingGroup", &[("LifecycleHookSpecificationList.member.1.LifecycleHookName", "x")]),
    ("autoscaling", "UpdateAutoScalingGroup", &[("CapacityRebalance", "true")]),
    ("autoscaling", "StartInstanceRefresh", &[("Preferences.CheckpointDelay", "60")]),
    ("autoscaling", "PutScalingPolicy", &[("Enabled", "false")]),
    ("elasticloadbalancing", "CreateListener", &[("MutualAuthentication.Mode", "off")]),
    ("elasticloadbalancing", "CreateListener", &[("DefaultActions.member.1.AuthenticateOidcConfig.Issuer", "x")]),
    (
        "elasticloadbalancing",
        "CreateListener",
        &[("DefaultActions.member.1.ForwardConfig.TargetGroupStickinessConfig.Enabled", "true")],
    ),
    ("elasticloadbalancing", "CreateLoadBalancer", &[("IpAddressType", "dualstack")]),
    ("elasticloadbalancing", "CreateLoadBalancer", &[("SubnetMappings.member.1.AllocationId", "eipalloc-1")]),
    ("elasticloadbalancing", "CreateTargetGroup", &[("ProtocolVersion", "GRPC")]),
];

#[tokio::test]
async fn a_parameter_without_effect_is_refused_and_named() {
    let test = TestCompute::start().await;
    for (service, action, form) in NOT_CARRIED_OUT {
        let answer = test.call(service, action, form).await;
        let (name, value) = form[0];
        let expected = format!("the local AWS does not carry out the parameter {name}={value}");
        assert_eq!((answer.status, answer.field("Message")), (501, expected), "{action}");
        assert_eq!(answer.field("Code"), "NotImplementedException", "{action}");
    }
    let stack = test.create("/", &[("MinSize", "0"), ("DesiredCapacity", "0")]).await;
    for (operation, of, arn, key, value, expected) in [
        ("ModifyTargetGroupAttributes", "TargetGroupArn", &stack.target_group, "stickiness.enabled", "true", 501),
        ("ModifyTargetGroupAttributes", "TargetGroupArn", &stack.target_group, "stickiness.enabled", "false", 200),
        (
            "ModifyTargetGroupAttributes",
            "TargetGroupArn",
            &stack.target_group,
            "slow_start.duration_seconds",
            "30",
            501,
        ),
        (
            "ModifyLoadBalancerAttributes",
            "LoadBalancerArn",
            &stack.load_balancer,
            "connection_logs.s3.enabled",
            "true",
            501,
        ),
        // Without a bucket.
        (
            "ModifyLoadBalancerAttributes",
            "LoadBalancerArn",
            &stack.load_balancer,
            "access_logs.s3.enabled",
            "true",
            400,
        ),
        (
            "ModifyLoadBalancerAttributes",
            "LoadBalancerArn",
            &stack.load_balancer,
            "routing.http2.enabled",
            "false",
            501,
        ),
    ] {
        let form = [(of, arn.as_str()), ("Attributes.member.1.Key", key), ("Attributes.member.1.Value", value)];
        assert_eq!(test.call("elasticloadbalancing", operation, &form).await.status, expected, "{key}={value}");
    }
    let listener = [
        ("LoadBalancerArn", stack.load_balancer.as_str()),
        ("Port", "443"),
        ("DefaultActions.member.1.Type", "forward"),
        ("DefaultActions.member.1.TargetGroupArn", &stack.target_group),
    ];
    let with = |protocol| listener.into_iter().chain([("Protocol", protocol)]).collect::<Vec<_>>();
    let refused = test.call("elasticloadbalancing", "CreateListener", &with("HTTPS")).await;
    assert_eq!(refused.field("Message"), "A certificate must be specified for HTTPS listeners");
    test.ok("elasticloadbalancing", "CreateListener", &with("HTTP")).await;

    let group = [("GroupName", "tried"), ("GroupDescription", "x"), ("DryRun", "true")];
    let tried = test.call("ec2", "CreateSecurityGroup", &group).await;
    assert_eq!((tried.status, tried.field("Code").as_str()), (412, "DryRunOperation"));
    let named = [("GroupName.1", "tried")];
    assert_eq!(test.call("ec2", "DescribeSecurityGroups", &named).await.field("Code"), "InvalidGroup.NotFound");
    let tags = [("TagSpecification.1.ResourceType", "instance"), ("TagSpecification.1.Tag.1.Key", "a")];
    let group: Vec<_> = group[..2].iter().copied().chain(tags).collect();
    assert_eq!(test.call("ec2", "CreateSecurityGroup", &group).await.field("Code"), "InvalidParameterValue");
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn invalid_names_are_refused_with_the_codes_of_aws() {
    let test = TestCompute::start().await;
    let (long, longer) = ("x".repeat(33), "x".repeat(256));
    let vpc = test.ok("ec2", "DescribeVpcs", &[]).await.field("vpcId");
    let subnets = test.ok("ec2", "DescribeSubnets", &[]).await.text;
    let subnets: Vec<&str> = subnets.split("<subnetId>").skip(1).filter_map(|part| part.split('<').next()).collect();
    let balancer = |name: &'static str| {
        (
            "elasticloadbalancing",
            "CreateLoadBalancer",
            vec![("Name", name), ("Subnets.member.1", subnets[0]), ("Subnets.member.2", subnets[1])],
            "ValidationError",
        )
    };
    let target_group = |name| {
        let form = vec![("Name", name), ("Protocol", "HTTP"), ("Port", "80"), ("VpcId", vpc.as_str())];
        ("elasticloadbalancing", "CreateTargetGroup", form, "ValidationError")
    };
    let group =
        |name| ("autoscaling", "CreateAutoScalingGroup", vec![("AutoScalingGroupName", name)], "ValidationError");
    let security_group = |name, about| {
        ("ec2", "CreateSecurityGroup", vec![("GroupName", name), ("GroupDescription", about)], "InvalidParameterValue")
    };
    let template = |name| {
        let form = vec![("LaunchTemplateName", name), ("LaunchTemplateData.KeyName", "x")];
        ("ec2", "CreateLaunchTemplate", form, "InvalidLaunchTemplateName.MalformedException")
    };
    for (service, action, form, expected) in [
        balancer("-web"),
        balancer("web_1"),
        balancer("internal-web"),
        balancer("abcdefghijklmnopqrstuvwxyzabcdefg"),
        target_group("web-"),
        target_group("web.1"),
        target_group(&long),
        group("a:b"),
        group("a b"),
        group("é"),
        group(&longer),
        security_group("sg-web", "x"),
        security_group("é", "x"),
        security_group("web", "a|b"),
        security_group(&longer, "x"),
        template("ab"),
        template("a b c"),
    ] {
        let refused = test.call(service, action, &form).await;
        assert_eq!((refused.status, refused.field("Code").as_str()), (400, expected), "{form:?}: {}", refused.text);
    }
    test.stop().await;
}

/// The form fields of these tags, in the naming scheme of this list.
fn tags(list: &str, tags: &[(&str, &str)]) -> Vec<(String, String)> {
    let field = |at: usize, name: &str, value: &str| (format!("{list}.{}.{name}", at + 1), value.to_owned());
    let both = |(at, (key, value)): (usize, &(&str, &str))| [field(at, "Key", key), field(at, "Value", value)];
    tags.iter().enumerate().flat_map(both).collect()
}

#[tokio::test]
async fn invalid_tags_are_refused_with_the_codes_of_each_service() {
    let test = TestCompute::start().await;
    let stack = test.create("/", EMPTY).await;
    let keys: Vec<String> = (0..51).map(|number| format!("k{number}")).collect();
    let many: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "v")).collect();
    let (key, value) = ("k".repeat(129), "v".repeat(257));
    let wrong = [
        ("long key", vec![(key.as_str(), "v")]),
        ("long value", vec![("k", value.as_str())]),
        ("no key", vec![("", "v")]),
        ("reserved", vec![("aws:k", "v")]),
        ("twice", vec![("k", "v"), ("k", "w")]),
        ("many", many.clone()),
    ];
    let (ec2, elb, asg) = ("ec2", "elasticloadbalancing", "autoscaling");
    let (invalid, failed) = ("InvalidParameterValue", "ValidationError");
    for (what, given) in &wrong {
        let (in_ec2, in_elb, in_asg) = match *what {
            "twice" => (invalid, "DuplicateTagKeys", ""),
            "many" => ("TagLimitExceeded", "TooManyTags", "LimitExceeded"),
            _ => (invalid, failed, failed),
        };
        let name = what.replace(' ', "-");
        let group = [("AutoScalingGroupName", name.as_str()), ("MinSize", "0"), ("MaxSize", "0")];
        let template = [("LaunchTemplate.LaunchTemplateName", "web"), ("VPCZoneIdentifier", &stack.subnets[0])];
        let made =
            [("Name", "other"), ("Subnets.member.1", &stack.subnets[0]), ("Subnets.member.2", &stack.subnets[1])];
        let of_group: Vec<(String, String)> =
            (1..=given.len()).map(|at| (format!("Tags.member.{at}.ResourceId"), "web".to_owned())).collect();
        for (service, operation, form, list, expected) in [
            (ec2, "CreateTags", vec![("ResourceId.1", stack.group_id.as_str())], "Tag", in_ec2),
            (
                ec2,
                "CreateSecurityGroup",
                vec![
                    ("GroupName", "other"),
                    ("GroupDescription", "x"),
                    ("TagSpecification.1.ResourceType", "security-group"),
                ],
                "TagSpecification.1.Tag",
                in_ec2,
            ),
            (elb, "AddTags", vec![("ResourceArns.member.1", stack.load_balancer.as_str())], "Tags.member", in_elb),
            (elb, "CreateLoadBalancer", made.to_vec(), "Tags.member", in_elb),
            (
                asg,
                "CreateOrUpdateTags",
                of_group.iter().map(|(field, name)| (field.as_str(), name.as_str())).collect(),
                "Tags.member",
                in_asg,
            ),
            (asg, "CreateAutoScalingGroup", [group.as_slice(), &template].concat(), "Tags.member", in_asg),
        ] {
            let given = tags(list, given);
            let mut form = form.clone();
            form.extend(given.iter().map(|(field, value)| (field.as_str(), value.as_str())));
            let answer = test.call(service, operation, &form).await;
            assert_eq!(answer.field("Code"), expected, "{operation} {what}: {}", answer.text);
        }
    }
    // Existing tags count towards the limit, and those of a refused call are not added.
    let add = async |given: &[(&str, &str)]| {
        let form = tags("Tag", given);
        let mut form: Vec<(&str, &str)> = form.iter().map(|(field, value)| (field.as_str(), value.as_str())).collect();
        form.push(("ResourceId.1", &stack.group_id));
        test.call("ec2", "CreateTags", &form).await.field("Code")
    };
    assert_eq!(add(&many[..50]).await, "");
    assert_eq!(add(&many[..1]).await, "");
    assert_eq!(add(&many[50..]).await, "TagLimitExceeded");
    let listed = [("Filter.1.Name", "resource-id"), ("Filter.1.Value.1", stack.group_id.as_str())];
    assert_eq!(test.ok("ec2", "DescribeTags", &listed).await.text.matches("<key>").count(), 50);
    test.stop().await;
}

#[tokio::test]
async fn duplicates_are_refused_and_idempotent_calls_are_not() {
    let test = TestCompute::start().await;
    let stack = test.create("/", EMPTY).await;
    let upper = test.call("ec2", "CreateSecurityGroup", &[("GroupName", "WEB"), ("GroupDescription", "x")]).await;
    assert_eq!(upper.field("Code"), "InvalidGroup.Duplicate", "names are case-insensitive");

    // Another creation with the same settings returns the existing load balancer, which keeps its own tags.
    let again = [
        ("Name", "web"),
        ("Subnets.member.1", stack.subnets[1].as_str()),
        ("Subnets.member.2", stack.subnets[0].as_str()),
        ("SecurityGroups.member.1", &stack.balancer_group_id),
        ("Tags.member.1.Key", "owner"),
        ("Tags.member.1.Value", "somebody else"),
    ];
    let balancer = test.ok("elasticloadbalancing", "CreateLoadBalancer", &again).await;
    assert_eq!(balancer.field("LoadBalancerArn"), stack.load_balancer);
    let tags = [("ResourceArns.member.1", stack.load_balancer.as_str())];
    assert!(!test.ok("elasticloadbalancing", "DescribeTags", &tags).await.text.contains("somebody else"));

    let other = [
        ("Name", "other"),
        ("Subnets.member.1", stack.subnets[0].as_str()),
        ("Subnets.member.2", stack.subnets[1].as_str()),
    ];
    let other = test.ok("elasticloadbalancing", "CreateLoadBalancer", &other).await.field("LoadBalancerArn");
    let listener = [
        ("LoadBalancerArn", other.as_str()),
        ("Protocol", "HTTP"),
        ("Port", "80"),
        ("DefaultActions.member.1.Type", "forward"),
        ("DefaultActions.member.1.TargetGroupArn", stack.target_group.as_str()),
    ];
    let shared = test.call("elasticloadbalancing", "CreateListener", &listener).await;
    assert_eq!(
        (shared.field("Code"), shared.field("Message")),
        (
            "TargetGroupAssociationLimit".into(),
            format!(
                "The following target groups cannot be associated with more than one load balancer: {}",
                stack.target_group
            )
        )
    );
    let same_zone = [
        ("Name", "third"),
        ("Subnets.member.1", stack.subnets[0].as_str()),
        ("Subnets.member.2", stack.subnets[0].as_str()),
    ];
    let same_zone = test.call("elasticloadbalancing", "CreateLoadBalancer", &same_zone).await;
    assert_eq!(
        (same_zone.field("Code"), same_zone.field("Message")),
        (
            "InvalidConfigurationRequest".into(),
            "A load balancer cannot be attached to multiple subnets in the same Availability Zone".into()
        )
    );
    test.ok("elasticloadbalancing", "DeleteLoadBalancer", &[("LoadBalancerArn", &other)]).await;
    test.until("only one is left", async || test.compute.status()["load_balancers"].as_array().unwrap().len() == 1)
        .await;
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn user_data_is_limited_to_sixteen_kilobytes_before_its_encoding() {
    let test = TestCompute::start().await;
    let create = async |name: &str, bytes: usize| {
        let user_data = STANDARD.encode("x".repeat(bytes));
        let form = [("LaunchTemplateName", name), ("LaunchTemplateData.UserData", user_data.as_str())];
        test.call("ec2", "CreateLaunchTemplate", &form).await
    };
    assert_eq!(create("just", 16 * 1024).await.status, 200);
    let refused = create("more", 16 * 1024 + 1).await;
    assert_eq!(
        (refused.field("Code"), refused.field("Message")),
        ("InvalidParameterValue".into(), "User data is limited to 16384 bytes".into())
    );
    test.stop().await;
}

#[tokio::test]
async fn the_description_of_a_version_is_limited() {
    let test = TestCompute::start().await;
    let describe = async |name: &str, description: String| {
        let form = [
            ("LaunchTemplateName", name),
            ("VersionDescription", &description),
            ("LaunchTemplateData.InstanceType", "t3.micro"),
        ];
        test.call("ec2", "CreateLaunchTemplate", &form).await
    };
    let longest = "é".repeat(255);
    assert_eq!(describe("longest", longest.clone()).await.field("launchTemplateName"), "longest");
    let version = test.ok("ec2", "DescribeLaunchTemplateVersions", &[("LaunchTemplateName", "longest")]).await;
    assert_eq!(version.field("versionDescription"), longest);
    assert_eq!(describe("longer", "é".repeat(256)).await.field("Code"), "InvalidParameterValue");
    test.stop().await;
}

#[tokio::test]
async fn a_template_is_checked_when_a_group_uses_it_and_not_before() {
    let test = TestCompute::start().await;
    let form = [
        ("LaunchTemplateName", "odd"),
        ("LaunchTemplateData.ImageId", "ami-0123456789abcdef0"),
        ("LaunchTemplateData.InstanceType", "t3.micro"),
        ("LaunchTemplateData.IamInstanceProfile.Name", "missing"),
        ("LaunchTemplateData.SecurityGroupId.1", "sg-0123456789abcdef0"),
    ];
    test.ok("ec2", "CreateLaunchTemplate", &form).await;
    let subnet = test.ok("ec2", "DescribeSubnets", &[]).await.field("subnetId");
    let group = [
        ("AutoScalingGroupName", "odd"),
        ("LaunchTemplate.LaunchTemplateName", "odd"),
        ("MinSize", "0"),
        ("MaxSize", "1"),
        ("VPCZoneIdentifier", subnet.as_str()),
    ];
    let refused = test.call("autoscaling", "CreateAutoScalingGroup", &group).await;
    assert_eq!(
        refused.field("Message"),
        "You must use a valid fully-formed launch template. Value (missing) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
    );
    test.stop().await;
}

#[tokio::test]
async fn a_group_that_is_being_deleted_is_in_the_way_until_it_is_gone() {
    let test = TestCompute::start().await;
    let stack = test.up("/", &[("HealthCheckGracePeriod", "7200")]).await;
    let group = [("AutoScalingGroupName", "web")];
    let refused = test.call("autoscaling", "DeleteAutoScalingGroup", &group).await;
    assert_eq!(refused.field("Code"), "ResourceInUse");
    let bounds = [("AutoScalingGroupName", "web"), ("MaxSize", "10001")];
    assert_eq!(test.call("autoscaling", "UpdateAutoScalingGroup", &bounds).await.field("Code"), "ValidationError");
    let odd = [("AutoScalingGroupName", "web"), ("TerminationPolicies.member.1", "Nicest")];
    assert_eq!(test.call("autoscaling", "UpdateAutoScalingGroup", &odd).await.field("Code"), "ValidationError");

    // An open request keeps the instance, and the instance keeps the group.
    let mut stream = tokio::net::TcpStream::connect(&stack.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /wait HTTP/1.1\r\nHost: web\r\n\r\n").await.unwrap();
    test.until("the target has it", async || test.compute.status()["targets"][0]["open_requests"] == 1).await;
    let no_instances = [("AutoScalingGroupName", "web"), ("MinSize", "0"), ("DesiredCapacity", "0")];
    test.ok("autoscaling", "UpdateAutoScalingGroup", &no_instances).await;
    test.until("it is leaving", async || test.instance_ids().await.is_empty()).await;
    let refused = test.call("autoscaling", "DeleteAutoScalingGroup", &group).await;
    assert_eq!(
        (refused.field("Code"), refused.field("Message")),
        (
            "ScalingActivityInProgress".into(),
            "You cannot delete an AutoScalingGroup while there are scaling activities in progress for that group."
                .into()
        )
    );
    let force = [("AutoScalingGroupName", "web"), ("ForceDelete", "true")];
    test.ok("autoscaling", "DeleteAutoScalingGroup", &force).await;
    assert_eq!(test.group_field("Status").await, "Delete in progress");
    let again = test.call("autoscaling", "CreateAutoScalingGroup", &group).await;
    assert_eq!(again.field("Code"), "AlreadyExists");
    assert!(again.field("Message").contains("is pending delete. Please wait"), "{}", again.text);
    let update = test.call("autoscaling", "UpdateAutoScalingGroup", &group).await;
    assert_eq!(update.field("Message"), "The AutoScaling group may not be modified while it is pending delete");
    drop(stream);
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn with_terminate_suspended_the_deletion_of_a_group_waits() {
    let test = TestCompute::start().await;
    let stack = test.up("/", &[("HealthCheckGracePeriod", "7200")]).await;
    let process = [("AutoScalingGroupName", "web"), ("ScalingProcesses.member.1", "Terminate")];
    test.ok("autoscaling", "SuspendProcesses", &process).await;
    let no_instances = [("AutoScalingGroupName", "web"), ("MinSize", "0"), ("DesiredCapacity", "0")];
    test.ok("autoscaling", "UpdateAutoScalingGroup", &no_instances).await;
    test.ok(
        "autoscaling",
        "SetInstanceHealth",
        &[
            ("InstanceId", test.instance_ids().await[0].as_str()),
            ("HealthStatus", "Unhealthy"),
            ("ShouldRespectGracePeriod", "false"),
        ],
    )
    .await;
    assert_eq!(test.get(&stack.address, "/").await.status, 200, "the service still answers");
    assert_eq!(test.instance_ids().await.len(), 1);
    test.ok("autoscaling", "ResumeProcesses", &process).await;
    test.until("it goes", async || test.instance_ids().await.is_empty()).await;
    test.down(&stack).await;
    test.stop().await;
}
