//! Health checks, and the rules that let them through.

use crate::support::stack::TestCompute;

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
