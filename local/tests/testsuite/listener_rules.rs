//! Rules of listeners: what AWS refuses of them, and the order in which they decide (docs/aws.md §9.10).

use crate::support::stack::TestCompute;

const EMPTY: &[(&str, &str)] = &[("MinSize", "0"), ("DesiredCapacity", "0")];

const BALANCING: &str = "elasticloadbalancing";

/// Rules with one condition that is refused, and the message.
const BAD_CONDITIONS: &[(&str, &str, &str)] = &[
    ("path-pattern", "", "A condition value must be specified"),
    ("path-pattern", "/a b", "Condition value '/a b' contains a character that is not valid"),
    ("host-header", "localhost", "Condition value 'localhost' contains a character that is not valid"),
    ("host-header", "127.0.0.1", "Condition value '127.0.0.1' contains a character that is not valid"),
    ("path-pattern", "/*a*b*c*d*e*f*", "A rule can only have '6' condition wildcards"),
    (
        "path",
        "/a",
        "Condition field 'path' must be one of \
         '[path-pattern,host-header,http-header,http-request-method,query-string,source-ip]'",
    ),
];

#[tokio::test]
async fn rules_of_listeners_follow_the_rules_of_aws() {
    let test = TestCompute::start().await;
    let stack = test.create("/", EMPTY).await;
    let of_balancer = [("LoadBalancerArn", stack.load_balancer.as_str())];
    let listener = test.ok(BALANCING, "DescribeListeners", &of_balancer).await.field("ListenerArn");
    let new = |priority: &str, field: &str, value: &str| {
        let form = [
            ("ListenerArn", listener.as_str()),
            ("Priority", priority),
            ("Conditions.member.1.Field", field),
            ("Conditions.member.1.Values.member.1", value),
            ("Actions.member.1.Type", "forward"),
            ("Actions.member.1.TargetGroupArn", stack.target_group.as_str()),
            ("Tags.member.1.Key", "owner"),
            ("Tags.member.1.Value", "me"),
        ];
        form.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    };
    let refused = async |action: &str, form: Vec<(String, String)>| {
        let answer = test.call_with(BALANCING, action, form).await;
        (answer.status, answer.field("Code"), answer.field("Message"))
    };
    for (field, value, message) in BAD_CONDITIONS {
        let answer = refused("CreateRule", new("1", field, value)).await;
        assert_eq!(answer, (400, "ValidationError".into(), (*message).into()), "{field} {value}");
    }
    for priority in ["0", "50001"] {
        assert_eq!(refused("CreateRule", new(priority, "path-pattern", "/a")).await.1, "ValidationError", "{priority}");
    }
    let not_here = refused("CreateRule", new("1", "source-ip", "10.0.0.0/8")).await;
    assert_eq!(not_here.0, 501, "{not_here:?}");

    let made = test.ok_with(BALANCING, "CreateRule", new("1", "path-pattern", "/a")).await;
    let (rule, second) = (made.field("RuleArn"), new("2", "host-header", "api.example.org"));
    let second = test.ok_with(BALANCING, "CreateRule", second).await.field("RuleArn");
    let again = refused("CreateRule", new("1", "path-pattern", "/a")).await;
    assert_eq!(again, (400, "PriorityInUse".into(), "Priority '1' is currently in use".into()));
    let tags = test.ok(BALANCING, "DescribeTags", &[("ResourceArns.member.1", &rule)]).await;
    assert_eq!((tags.field("Key"), tags.field("Value")), ("owner".into(), "me".into()));

    let swap = |first: &str, then: &str| {
        let form = [
            ("RulePriorities.member.1.RuleArn", rule.as_str()),
            ("RulePriorities.member.1.Priority", first),
            ("RulePriorities.member.2.RuleArn", second.as_str()),
            ("RulePriorities.member.2.Priority", then),
        ];
        form.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    };
    assert_eq!(refused("SetRulePriorities", swap("3", "3")).await.1, "ValidationError");
    let alone = swap("2", "1")[..2].to_vec();
    assert_eq!(refused("SetRulePriorities", alone).await.1, "PriorityInUse");
    test.ok_with(BALANCING, "SetRulePriorities", swap("2", "1")).await;
    let shown = test.ok(BALANCING, "DescribeRules", &[("ListenerArn", &listener)]).await;
    assert_eq!(shown.field("RuleArn"), second, "the lowest priority is first");

    // The listener forwards to the group by itself; a rule of its own is in the way of another group's deletion.
    let group = [("Name", "other"), ("Protocol", "HTTP"), ("Port", "80"), ("VpcId", ""), ("TargetType", "instance")];
    let vpc = test.ok("ec2", "DescribeVpcs", &[]).await.field("vpcId");
    let group: Vec<_> =
        group.into_iter().map(|(name, value)| (name, if name == "VpcId" { vpc.as_str() } else { value })).collect();
    let group = test.ok(BALANCING, "CreateTargetGroup", &group).await.field("TargetGroupArn");
    let other = [
        ("RuleArn", rule.as_str()),
        ("Actions.member.1.Type", "forward"),
        ("Actions.member.1.TargetGroupArn", group.as_str()),
    ];
    test.ok(BALANCING, "ModifyRule", &other).await;
    let in_use = test.call(BALANCING, "DeleteTargetGroup", &[("TargetGroupArn", &group)]).await;
    assert_eq!(in_use.field("Code"), "ResourceInUse");
    let used = test.ok(BALANCING, "DescribeTargetGroups", &[("TargetGroupArns.member.1", &group)]).await;
    assert!(used.text.contains(&stack.load_balancer), "{}", used.text);

    let all = test.ok(BALANCING, "DescribeRules", &[("ListenerArn", &listener)]).await.text;
    let arns = all.split("<RuleArn>").skip(1).filter_map(|rest| rest.split('<').next());
    let default = arns.last().expect("the default rule is last").to_owned();
    for operation in ["DeleteRule", "ModifyRule"] {
        let mut form = vec![("RuleArn", default.as_str())];
        form.extend(other[1..].iter().copied());
        let form = if operation == "DeleteRule" { &form[..1] } else { &form[..] };
        assert_eq!(test.call(BALANCING, operation, form).await.field("Code"), "OperationNotPermitted", "{operation}");
    }
    test.ok(BALANCING, "DeleteRule", &[("RuleArn", &rule)]).await;
    assert_eq!(test.call(BALANCING, "DeleteRule", &[("RuleArn", &rule)]).await.field("Code"), "RuleNotFound");
    test.ok(BALANCING, "DeleteTargetGroup", &[("TargetGroupArn", &group)]).await;
    test.ok(BALANCING, "DeleteListener", &[("ListenerArn", &listener)]).await;
    assert_eq!(test.call(BALANCING, "DeleteRule", &[("RuleArn", &second)]).await.field("Code"), "RuleNotFound");
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn the_rule_with_the_lowest_priority_decides_and_hosts_are_case_insensitive() {
    let test = TestCompute::start().await;
    let stack = test.create("/", EMPTY).await;
    let of_balancer = [("LoadBalancerArn", stack.load_balancer.as_str())];
    let listener = test.ok(BALANCING, "DescribeListeners", &of_balancer).await.field("ListenerArn");
    let rule = async |priority: &str, field: &str, value: &str, status: &str| {
        let form = [
            ("ListenerArn", listener.as_str()),
            ("Priority", priority),
            ("Conditions.member.1.Field", field),
            ("Conditions.member.1.Values.member.1", value),
            ("Actions.member.1.Type", "fixed-response"),
            ("Actions.member.1.FixedResponseConfig.StatusCode", status),
        ];
        test.ok(BALANCING, "CreateRule", &form).await.field("RuleArn")
    };
    let status = async |host: &str, path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        test.bytes(&stack.address, request.as_bytes()).await.expect("an answer").status
    };
    // Created against their order, and the less exact one is before the exact one.
    let exact = rule("30", "path-pattern", "/a/b", "202").await;
    let any = rule("20", "path-pattern", "/a*", "201").await;
    rule("10", "host-header", "*.Example.org", "203").await;
    assert_eq!(status("example.net", "/a/b").await, 201);
    assert_eq!(status("example.net", "/a?b").await, 201, "the query does not count");
    assert_eq!(status("example.net", "/A/b").await, 503, "paths have a case");
    assert_eq!(status("API.EXAMPLE.ORG:80", "/a/b").await, 203, "hosts have none, and the port does not count");
    assert_eq!(status("example.org", "/").await, 503, "no rule is about it, and there are no targets");
    let swap = [
        ("RulePriorities.member.1.RuleArn", exact.as_str()),
        ("RulePriorities.member.1.Priority", "20"),
        ("RulePriorities.member.2.RuleArn", any.as_str()),
        ("RulePriorities.member.2.Priority", "30"),
    ];
    test.ok(BALANCING, "SetRulePriorities", &swap).await;
    assert_eq!((status("example.net", "/a/b").await, status("example.net", "/a").await), (202, 201));
    test.down(&stack).await;
    test.stop().await;
}
