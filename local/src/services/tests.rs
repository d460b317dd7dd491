//! Tests of what is derived from the rows of all services.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use expect_test::expect_file;
use http::Method;

use crate::routing::{self, SERVICES};
use identity::permissions::Caller;
use kit::answer::Protocol;
use kit::call::{Asked, Call, Effect, Input, Needs, Request, Row};

/// Returns all implemented operations, with their services.
fn operations() -> Vec<(&'static str, &'static Row)> {
    SERVICES.iter().flat_map(|service| (service.rows)().map(|row| (service.name, row))).collect()
}

/// Compares the README with a copy in which the table lists the operations in the rows.
#[test]
fn the_readme_lists_exactly_the_supported_operations() {
    let readme = include_str!("../../README.md");
    let mut found = 0;
    let mut derived = |line: &str| {
        let (title, rest) = line.strip_prefix("| ")?.split_once(" | ")?;
        let service = SERVICES.iter().find(|service| service.title == title)?;
        let (_, simpler) = rest.split_once(" | ")?;
        let names: BTreeSet<String> = (service.rows)().map(|row| format!("`{}`", row.name)).collect();
        found += 1;
        Some(format!("| {title} | {} | {simpler}", Vec::from_iter(names).join(" ")))
    };
    let lines: Vec<String> = readme.lines().map(|line| derived(line).unwrap_or_else(|| line.to_owned())).collect();
    expect_file!["../../README.md"].assert_eq(&(lines.join("\n") + "\n"));
    assert_eq!(found, SERVICES.len());
}

#[test]
fn no_name_is_given_twice_in_a_service() {
    let mut seen = BTreeSet::new();
    for (service, row) in operations() {
        assert!(seen.insert((service, row.name)), "{service} {}", row.name);
    }
}

/// The prefixes of operations that change nothing; all others do.
const READING: &[&str] = &[
    "AssumeRole",
    "BatchGet",
    "Describe",
    "Detect",
    "Filter",
    "Get",
    "Head",
    "Invoke",
    "List",
    "Query",
    "Scan",
    "Simulate",
    "TransactGet",
];

#[test]
fn an_operation_reads_or_writes_as_its_name_says() {
    for (service, row) in operations() {
        let reads = READING.iter().any(|verb| row.name.starts_with(verb));
        assert_eq!(row.effect == Effect::Reads, reads, "{service} {}", row.name);
    }
}

#[test]
fn only_get_caller_identity_needs_no_permission() {
    let free: Vec<_> = operations().into_iter().filter(|(_, row)| matches!(row.needs, Needs::Nothing)).collect();
    let free: Vec<_> = free.into_iter().map(|(service, row)| (service, row.name)).collect();
    // `DeleteObjects` checks and reports each key on its own.
    assert_eq!(free, [("s3", "DeleteObjects"), ("sts", "GetCallerIdentity"), ("sts", "GetSessionToken")]);
}

#[test]
fn a_role_without_permissions_is_denied_and_the_action_is_named() {
    let powerless = Caller::in_role("me".into(), "id".into(), "us-east-1", None, Arc::default());
    let mut actions = BTreeSet::new();
    for service in SERVICES {
        for row in (service.rows)().filter(|row| !matches!(row.needs, Needs::Nothing)) {
            let request = Request::default();
            let input = Input::of(Protocol::Query, &request);
            let call = Call { row: Some(row), ..Call::of(service.name, row.name, Protocol::Query, input) };
            let asked = Asked { call: &call, request: &request, region: "us-east-1", entity_arn: &|_, _| None };
            let needs = asked.needs();
            let text = powerless.may(needs.first().expect(row.name)).unwrap_err().text();
            let action = text.split("perform: ").nth(1).unwrap().split_whitespace().next().unwrap();
            assert_eq!(action, needs[0].action, "{} {}", service.name, row.name);
            actions.extend(action.split_once(':').map(|(service, _)| service.to_owned()));
        }
    }
    let prefixes = [
        "acm",
        "autoscaling",
        "cloudwatch",
        "dynamodb",
        "ec2",
        "elasticloadbalancing",
        "iam",
        "lambda",
        "logs",
        "rekognition",
        "route53",
        "s3",
        "secretsmanager",
        "servicequotas",
        "ssm",
        "sts",
        "wafv2",
    ];
    assert_eq!(Vec::from_iter(actions), prefixes);
}

/// Lists that AWS does not paginate, or that have at most one item.
const WHOLE: &[(&str, &str)] = &[
    ("acm", "DescribeCertificate"),
    ("acm", "ListTagsForCertificate"),
    ("autoscaling", "DescribeAccountLimits"),
    ("autoscaling", "DescribeLifecycleHooks"),
    ("autoscaling", "DescribeNotificationConfigurations"),
    ("dynamodb", "DescribeContinuousBackups"),
    ("dynamodb", "DescribeEndpoints"),
    ("dynamodb", "DescribeLimits"),
    ("dynamodb", "DescribeStream"),
    ("dynamodb", "DescribeTable"),
    ("dynamodb", "DescribeTimeToLive"),
    ("ec2", "DescribeAddresses"),
    ("ec2", "DescribeAvailabilityZones"),
    ("ec2", "DescribeInstanceAttribute"),
    ("ec2", "DescribeRegions"),
    ("ec2", "DescribeVpcAttribute"),
    ("elasticloadbalancing", "DescribeCapacityReservation"),
    ("elasticloadbalancing", "DescribeListenerAttributes"),
    ("elasticloadbalancing", "DescribeLoadBalancerAttributes"),
    ("elasticloadbalancing", "DescribeTags"),
    ("elasticloadbalancing", "DescribeTargetGroupAttributes"),
    ("elasticloadbalancing", "DescribeTargetHealth"),
    ("iam", "ListAccountAliases"),
    ("lambda", "ListAliases"),
    ("lambda", "ListEventSourceMappings"),
    ("lambda", "ListFunctionEventInvokeConfigs"),
    ("lambda", "ListFunctionUrlConfigs"),
    ("lambda", "ListTags"),
    ("logs", "DescribeMetricFilters"),
    ("logs", "DescribeSubscriptionFilters"),
    ("logs", "ListTagsForResource"),
    ("logs", "ListTagsLogGroup"),
    ("monitoring", "ListTagsForResource"),
    ("route53", "ListTagsForResource"),
    ("route53", "ListTagsForResources"),
    ("secretsmanager", "DescribeSecret"),
    ("ssm", "ListTagsForResource"),
];

#[test]
fn every_list_is_paginated_or_known_to_be_complete() {
    let mut lists = 0;
    for (service, row) in operations() {
        let whole = WHOLE.contains(&(service, row.name));
        if row.name.starts_with("List") || row.name.starts_with("Describe") {
            lists += 1;
            assert_ne!(row.page.is_some(), whole, "{service} {}", row.name);
        }
    }
    assert!(lists > 50, "only {lists} lists were found");
}

#[test]
fn a_call_is_recorded_with_its_effect_and_an_unimplemented_one_has_none() {
    let target = |target: &str| {
        let headers = [("x-amz-target".parse().unwrap(), target.parse().unwrap())].into_iter().collect();
        routing::identify(&Request { headers, ..Request::default() }).mutating()
    };
    assert!(target("DynamoDB_20120810.PutItem") && !target("DynamoDB_20120810.Query"));
    assert!(target("Logs_20140328.CreateLogGroup") && !target("Logs_20140328.FilterLogEvents"));
    assert!(!target("Logs_20140328.CreateDelivery"));
}

/// Returns the permissions that a call needs, as lines of `action resource`.
fn of(service: &str, method: Method, path: &str, headers: &[(&'static str, &str)], body: &str) -> Vec<String> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let scope = format!(
        "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    );
    let mut request = Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers: headers.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        upload: None,
    };
    request.headers.insert("authorization", scope.parse().unwrap());
    // A role and an instance profile with this name exist.
    let entity_arn =
        |kind: &str, name: &str| (name == "web").then(|| format!("arn:aws:iam::000000000000:{kind}/deployer/web"));
    let call = routing::identify(&request);
    let asked = Asked { call: &call, request: &request, region: "us-east-1", entity_arn: &entity_arn };
    asked.needs().into_iter().map(|need| format!("{} {}", need.action, need.resource)).collect()
}

fn s3(method: Method, path: &str, headers: &[(&'static str, &str)]) -> Vec<String> {
    of("s3", method, path, headers, "")
}

#[test]
fn objects_and_buckets_have_their_own_actions() {
    for (method, path, expected) in [
        (Method::GET, "/", "s3:ListAllMyBuckets arn:aws:s3:::*"),
        (Method::GET, "/b/a%20b/c", "s3:GetObject arn:aws:s3:::b/a b/c"),
        (Method::HEAD, "/b/k", "s3:GetObject arn:aws:s3:::b/k"),
        (Method::GET, "/b/k?versionId=1", "s3:GetObjectVersion arn:aws:s3:::b/k"),
        (Method::DELETE, "/b/k?versionId=1", "s3:DeleteObjectVersion arn:aws:s3:::b/k"),
        (Method::PUT, "/b/k", "s3:PutObject arn:aws:s3:::b/k"),
        (Method::POST, "/b/k?uploads", "s3:PutObject arn:aws:s3:::b/k"),
        (Method::PUT, "/b/k?partNumber=1&uploadId=u", "s3:PutObject arn:aws:s3:::b/k"),
        (Method::DELETE, "/b/k?uploadId=u", "s3:AbortMultipartUpload arn:aws:s3:::b/k"),
        (Method::GET, "/b/k?uploadId=u", "s3:ListMultipartUploadParts arn:aws:s3:::b/k"),
        (Method::PUT, "/b/k?tagging", "s3:PutObjectTagging arn:aws:s3:::b/k"),
        (Method::GET, "/b?list-type=2", "s3:ListBucket arn:aws:s3:::b"),
        (Method::HEAD, "/b", "s3:ListBucket arn:aws:s3:::b"),
        (Method::GET, "/b?versions", "s3:ListBucketVersions arn:aws:s3:::b"),
        (Method::PUT, "/b?cors", "s3:PutBucketCORS arn:aws:s3:::b"),
        (Method::DELETE, "/b", "s3:DeleteBucket arn:aws:s3:::b"),
    ] {
        assert_eq!(s3(method.clone(), path, &[]), [expected], "{method} {path}");
    }
    let copy = s3(Method::PUT, "/b/k", &[("x-amz-copy-source", "/from/a%20b?versionId=1")]);
    assert_eq!(copy, ["s3:PutObject arn:aws:s3:::b/k", "s3:GetObjectVersion arn:aws:s3:::from/a b"]);
    let tagged = s3(Method::PUT, "/b/k", &[("x-amz-tagging", "a=b")]);
    assert_eq!(tagged, ["s3:PutObject arn:aws:s3:::b/k", "s3:PutObjectTagging arn:aws:s3:::b/k"]);
    let locked = s3(Method::PUT, "/b/k?x-amz-object-lock-mode=GOVERNANCE", &[]);
    assert_eq!(locked, ["s3:PutObject arn:aws:s3:::b/k", "s3:PutObjectRetention arn:aws:s3:::b/k"]);
}

#[test]
fn each_table_of_a_call_counts() {
    let dynamodb = |operation: &'static str, body: &str| {
        let target = format!("DynamoDB_20120810.{operation}");
        let needs = of("dynamodb", Method::POST, "/", &[("x-amz-target", &target)], body);
        needs.join(" + ").replace("arn:aws:dynamodb:us-east-1:000000000000:table/", "")
    };
    for (operation, body, expected) in [
        ("PutItem", r#"{"TableName":"posts"}"#, "dynamodb:PutItem posts"),
        ("Query", r#"{"TableName":"posts","IndexName":"by-day"}"#, "dynamodb:Query posts/index/by-day"),
        ("GetItem", r#"{"TableName":"arn:aws:dynamodb:us-east-1:000000000000:table/posts"}"#, "dynamodb:GetItem posts"),
        ("ListTables", "{}", "dynamodb:ListTables *"),
        ("BatchGetItem", r#"{"RequestItems":{"a":{},"b":{}}}"#, "dynamodb:BatchGetItem a + dynamodb:BatchGetItem b"),
        (
            "TransactWriteItems",
            r#"{"TransactItems":[{"Put":{"TableName":"a"}},{"ConditionCheck":{"TableName":"b"}}]}"#,
            "dynamodb:PutItem a + dynamodb:ConditionCheckItem b",
        ),
        ("ExecuteStatement", r#"{"Statement":"select * from \"a\".\"i\""}"#, "dynamodb:PartiQLSelect a/index/i"),
        ("ExecuteStatement", r#"{"Statement":"INSERT INTO a VALUE {}"}"#, "dynamodb:PartiQLInsert a"),
        ("ExecuteStatement", r#"{"Statement":"UPDATE \"a\" SET x=1"}"#, "dynamodb:PartiQLUpdate a"),
        ("ExecuteStatement", r#"{"Statement":"DELETE FROM a"}"#, "dynamodb:PartiQLDelete a"),
        ("ExecuteStatement", "{}", "dynamodb:PartiQLSelect "),
        (
            "ExecuteTransaction",
            r#"{"TransactStatements":[{"Statement":"DELETE FROM a"},{"Statement":"SELECT * FROM b"}]}"#,
            "dynamodb:PartiQLDelete a + dynamodb:PartiQLSelect b",
        ),
        ("BatchExecuteStatement", r#"{"Statements":[{"Statement":"UPDATE a SET x=1"}]}"#, "dynamodb:PartiQLUpdate a"),
        ("ListStreams", r#"{"TableName":"a"}"#, "dynamodb:ListStreams a/stream/*"),
        (
            "DescribeStream",
            r#"{"StreamArn":"arn:aws:dynamodb:us-east-1:000000000000:table/a/stream/b"}"#,
            "dynamodb:DescribeStream a/stream/b",
        ),
    ] {
        assert_eq!(dynamodb(operation, body), expected, "{operation} {body}");
    }
}

#[test]
fn the_other_services_name_what_they_are_about() {
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let query = |service: &str, body: &str| of(service, Method::POST, "/", &form, body).join(" + ");
    let logs = |operation: &str, body: &str| {
        let target = format!("Logs_20140328.{operation}");
        of("logs", Method::POST, "/", &[("x-amz-target", &target)], body).join(" + ")
    };
    for (found, expected) in [
        (
            logs("PutLogEvents", r#"{"logGroupName":"g","logStreamName":"s"}"#),
            "logs:PutLogEvents arn:aws:logs:us-east-1:000000000000:log-group:g:log-stream:s",
        ),
        (
            logs("CreateLogStream", r#"{"logGroupName":"g","logStreamName":"s"}"#),
            "logs:CreateLogStream arn:aws:logs:us-east-1:000000000000:log-group:g:log-stream:",
        ),
        (
            of("lambda", Method::POST, "/2015-03-31/functions/f/invocations", &[], "{}").join(" + "),
            "lambda:InvokeFunction arn:aws:lambda:us-east-1:000000000000:function:f",
        ),
        (
            of("lambda", Method::POST, "/2015-03-31/functions", &[], r#"{"FunctionName":"f","Role":"r"}"#).join(" + "),
            "lambda:CreateFunction arn:aws:lambda:us-east-1:000000000000:function:f + iam:PassRole r",
        ),
        (query("sts", "Action=GetCallerIdentity"), ""),
        (query("sts", "Action=AssumeRole&RoleArn=r"), "sts:AssumeRole r"),
        (query("iam", "Action=GetRole&RoleName=web"), "iam:GetRole arn:aws:iam::000000000000:role/deployer/web"),
        (
            query("iam", "Action=GetInstanceProfile&InstanceProfileName=web"),
            "iam:GetInstanceProfile arn:aws:iam::000000000000:instance-profile/deployer/web",
        ),
        (
            query("iam", "Action=AddRoleToInstanceProfile&InstanceProfileName=web&RoleName=web"),
            "iam:AddRoleToInstanceProfile arn:aws:iam::000000000000:instance-profile/deployer/web + iam:PassRole arn:aws:iam::000000000000:role/deployer/web",
        ),
        // A new entity has the requested path, even if there is one with its name.
        (
            query("iam", "Action=CreateInstanceProfile&InstanceProfileName=web&Path=/mine/"),
            "iam:CreateInstanceProfile arn:aws:iam::000000000000:instance-profile/mine/web",
        ),
        (query("iam", "Action=CreateRole&RoleName=web"), "iam:CreateRole arn:aws:iam::000000000000:role/web"),
        (query("iam", "Action=ListRoles"), "iam:ListRoles arn:aws:iam::000000000000:role/"),
        (query("ec2", "Action=DescribeVpcs"), "ec2:DescribeVpcs *"),
        (
            query("ec2", "Action=TerminateInstances&InstanceId.1=i-1"),
            "ec2:TerminateInstances arn:aws:ec2:us-east-1:000000000000:instance/i-1",
        ),
        (
            query("autoscaling", "Action=SetDesiredCapacity&AutoScalingGroupName=web"),
            "autoscaling:SetDesiredCapacity arn:aws:autoscaling:us-east-1:000000000000:autoScalingGroup:*:autoScalingGroupName/web",
        ),
        (query("elasticloadbalancing", "Action=DeleteListener&ListenerArn=l"), "elasticloadbalancing:DeleteListener l"),
        (query("sqs", "Action=SendMessage"), "sqs:SendMessage *"),
    ] {
        assert_eq!(found, expected);
    }
}
