//! Refusals of EC2, Auto Scaling and load balancing.

use std::collections::BTreeMap;

use crate::support::stack::{Stack, TestCompute, ingress};

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
