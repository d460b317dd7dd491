//! Options that make a stack safer, one line each: they do what they promise, and without the line the default is back.

use std::{collections::BTreeSet, io::Read as _};

use aws_sdk_elasticloadbalancingv2::types::LoadBalancerAttribute;
use aws_sdk_lambda::{
    config::retry::RetryConfig, error::ProvideErrorMetadata as _, primitives::Blob, types::InvocationType,
};
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter,
};
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use testkit::{eventually, small_programs::echo_function};
use tokio::io::AsyncWriteExt as _;

use crate::support::{Project, cloud::TestAws, says};

const BUCKET: &str = "small-a-000000000000-us-east-1";
const FUNCTION: &str = "small-f";

async fn is_unchanged(cloud: &TestAws, project: &Project) {
    let plan = cloud.run(project, &["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 0, "{}", plan.all());
}

/// A stack `small` with one bucket, `a`, that has these lines.
fn bucket(lines: &str) -> String {
    format!("name: small\nregion: us-east-1\nbuckets:\n  a:\n    protect: false\n{lines}")
}

/// A stack `small` with one function, `f`, that has these lines.
fn function(lines: &str) -> String {
    let binary = echo_function().display();
    format!("name: small\nregion: us-east-1\nfunctions:\n  f:\n    binary: {binary}\n{lines}")
}

async fn status_of_versions(cloud: &TestAws) -> Option<BucketVersioningStatus> {
    cloud.aws.s3.get_bucket_versioning().bucket(BUCKET).send().await.expect("the bucket is there").status
}

async fn rules(cloud: &TestAws) -> Vec<LifecycleRule> {
    let call = cloud.aws.s3.get_bucket_lifecycle_configuration().bucket(BUCKET);
    call.send().await.expect("there are rules").rules.unwrap_or_default()
}

async fn put_rules(cloud: &TestAws, rules: Vec<LifecycleRule>) {
    let rules = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build().expect("rules are given");
    let call = cloud.aws.s3.put_bucket_lifecycle_configuration().bucket(BUCKET).lifecycle_configuration(rules);
    call.send().await.expect("rules can be put");
}

#[tokio::test(flavor = "multi_thread")]
async fn older_versions_are_kept_counted_and_removed_with_the_bucket() {
    let (cloud, project) = (TestAws::start().await, Project::with(&bucket("    versioning: true\n")));
    let s3 = &cloud.aws.s3;
    cloud.done(&project, &["up", "--yes"]).await;
    is_unchanged(&cloud, &project).await;
    for text in ["one", "two"] {
        let put = s3.put_object().bucket(BUCKET).key("a").body(text.as_bytes().to_vec().into());
        put.send().await.expect("an object can be put");
    }
    let versions = async || s3.list_object_versions().bucket(BUCKET).send().await.expect("versions");
    assert_eq!(versions().await.versions().len(), 2);

    // S3 has no way back to a bucket that never kept versions: what is there stays.
    project.edit("    versioning: true\n", "");
    let plan = cloud.run(&project, &["plan"]).await;
    says(&plan, "versioned: true → false");
    cloud.done(&project, &["up", "--yes"]).await;
    assert_eq!(status_of_versions(&cloud).await, Some(BucketVersioningStatus::Suspended));
    is_unchanged(&cloud, &project).await;
    assert_eq!(versions().await.versions().len(), 2);

    // Only older versions, which no list of objects shows.
    s3.delete_object().bucket(BUCKET).key("a").send().await.expect("it can be deleted");
    assert!(s3.list_objects_v2().bucket(BUCKET).send().await.expect("a list").contents().is_empty());
    let down = cloud.at_a_terminal(&project, &["down"], &["no"]).await;
    assert!(down.all().contains("2 older versions, 6 B"), "{}", down.all());
    cloud.done(&project, &["down", "--yes"]).await;
    assert_eq!(cloud.buckets().await, Vec::<String>::new());
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lifecycle_is_merged_with_the_rules_of_others() {
    let lines = "    lifecycle: { expire_days: 30, noncurrent_days: 7 }\n";
    let (cloud, project) = (TestAws::start().await, Project::with(&bucket(lines)));
    cloud.done(&project, &["up", "--yes"]).await;
    is_unchanged(&cloud, &project).await;
    let ids = async || rules(&cloud).await.iter().filter_map(|rule| rule.id.clone()).collect::<BTreeSet<_>>();
    let all = ["deployer-objects", "deployer-older-versions", "deployer-unfinished-uploads"];
    assert_eq!(ids().await, all.map(str::to_owned).into());
    // S3 itself says when an object ends, by our rule.
    let put = cloud.aws.s3.put_object().bucket(BUCKET).key("a").body(b"a".to_vec().into());
    put.send().await.expect("an object can be put");
    let object = cloud.aws.s3.head_object().bucket(BUCKET).key("a").send().await.expect("it is there");
    let expiration = object.expiration.expect("it expires");
    assert!(expiration.contains("rule-id=\"deployer-objects\""), "{expiration}");

    let theirs = LifecycleRule::builder().id("theirs").status(ExpirationStatus::Enabled);
    let theirs = theirs.filter(LifecycleRuleFilter::builder().prefix("tmp/").build());
    let theirs = theirs.expiration(LifecycleExpiration::builder().days(2).build()).build().expect("a status is given");
    put_rules(&cloud, [vec![theirs.clone()], rules(&cloud).await].concat()).await;
    is_unchanged(&cloud, &project).await;
    let mut changed = rules(&cloud).await;
    for rule in changed.iter_mut().filter(|rule| rule.id() == Some("deployer-objects")) {
        rule.expiration = Some(LifecycleExpiration::builder().days(1).build());
    }
    put_rules(&cloud, changed).await;
    says(&cloud.run(&project, &["plan"]).await, "objects_end_days: 1 → 30");
    cloud.done(&project, &["up", "--yes"]).await;
    is_unchanged(&cloud, &project).await;

    project.edit(lines, "");
    cloud.done(&project, &["up", "--yes"]).await;
    is_unchanged(&cloud, &project).await;
    assert_eq!(ids().await, ["deployer-unfinished-uploads", "theirs"].map(str::to_owned).into());
    assert!(rules(&cloud).await.contains(&theirs));
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_runs_no_more_invocations_than_reserved() {
    let (cloud, project) = (TestAws::start().await, Project::with(&function("    concurrency: 1\n")));
    cloud.done(&project, &["up", "--yes"]).await;
    is_unchanged(&cloud, &project).await;
    let once = cloud.aws.lambda.config().to_builder().retry_config(RetryConfig::disabled()).build();
    let lambda = aws_sdk_lambda::Client::from_conf(once);

    // The first invocation lasts until the test answers it.
    let meeting = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let event = format!("\"meet {}\"", meeting.local_addr().expect("an address"));
    let first = tokio::spawn(lambda.invoke().function_name(FUNCTION).payload(Blob::new(event.clone())).send());
    let (mut guest, _) = meeting.accept().await.expect("it calls");
    let second = lambda.invoke().function_name(FUNCTION).payload(Blob::new("\"pid\"")).send().await;
    assert_eq!(second.expect_err("it is one too many").code(), Some("TooManyRequestsException"));
    // An event waits for its turn.
    let later = lambda.invoke().function_name(FUNCTION).invocation_type(InvocationType::Event);
    let later = later.payload(Blob::new(event)).send().await.expect("it is accepted");
    assert_eq!(later.status_code(), 202);
    guest.write_all(b"!").await.expect("it reads");
    assert!(first.await.expect("it ends").expect("it was invoked").function_error().is_none());
    let (mut guest, _) = meeting.accept().await.expect("the event is handled");
    guest.write_all(b"!").await.expect("it reads");

    project.edit("    concurrency: 1\n", "");
    says(&cloud.run(&project, &["plan"]).await, "concurrency: 1 → nothing");
    cloud.done(&project, &["up", "--yes"]).await;
    is_unchanged(&cloud, &project).await;
    let reserved = lambda.get_function_concurrency().function_name(FUNCTION).send().await.expect("it is there");
    assert_eq!(reserved.reserved_concurrent_executions, None);
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_beyond_the_quota_is_refused_with_the_remedy_and_can_be_lowered() {
    let (cloud, project) = (TestAws::start().await, Project::with(&function("    concurrency: 901\n")));
    let up = cloud.run(&project, &["up", "--yes"]).await;
    assert_eq!(up.code, 1, "{}", up.all());
    says(&up, "below its minimum value of [100]");
    says(&up, "lower the function's `concurrency`");
    project.edit("901", "900");
    cloud.done(&project, &["up", "--yes"]).await;
    is_unchanged(&cloud, &project).await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_have_failed_are_recorded_in_a_bucket() {
    let failures = "    on_failure: ${buckets.a.arn}\n";
    let description = format!("{}buckets: {{ a: }}\n", function(failures));
    let (cloud, project) = (TestAws::start().await, Project::with(&description));
    let (lambda, s3) = (&cloud.aws.lambda, &cloud.aws.s3);
    cloud.done(&project, &["up", "--yes"]).await;
    is_unchanged(&cloud, &project).await;
    let event = lambda.invoke().function_name(FUNCTION).invocation_type(InvocationType::Event);
    event.payload(Blob::new("\"fail\"")).send().await.expect("it is accepted");
    let key = eventually("the record", async || {
        let listed = s3.list_objects_v2().bucket(BUCKET).prefix("aws/lambda/async/small-f/").send().await.ok()?;
        listed.contents().first().and_then(|object| object.key().map(str::to_owned))
    })
    .await;
    let record = s3.get_object().bucket(BUCKET).key(key).send().await.expect("it can be read");
    let record = record.body.collect().await.expect("it has a body").to_vec();
    let record: Value = serde_json::from_slice(&record).expect("it is JSON");
    let context = &record["requestContext"];
    assert_eq!((&context["condition"], &context["approximateInvokeCount"]), (&json!("RetriesExhausted"), &json!(3)));
    assert_eq!(
        (&record["requestPayload"], &record["responsePayload"]["errorMessage"]),
        (&json!("fail"), &json!("as asked"))
    );

    // Settings for events that others have made are kept.
    let retries = lambda.update_function_event_invoke_config().function_name(FUNCTION).maximum_retry_attempts(1);
    retries.send().await.expect("it can be changed");
    is_unchanged(&cloud, &project).await;
    project.edit(failures, "");
    says(&cloud.run(&project, &["plan"]).await, &format!("on_failure: arn:aws:s3:::{BUCKET} → nothing"));
    cloud.done(&project, &["up", "--yes"]).await;
    is_unchanged(&cloud, &project).await;
    let left = lambda.get_function_event_invoke_config().function_name(FUNCTION).send().await.expect("it is there");
    assert_eq!(left.maximum_retry_attempts(), Some(1));
    assert_eq!(left.destination_config().and_then(|config| config.on_failure()?.destination()), None);
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_stopped_records_its_events_at_once() {
    let lines = "    concurrency: 0\n    on_failure: ${buckets.a.arn}\n";
    let description = format!("{}buckets: {{ a: }}\n", function(lines));
    let (cloud, project) = (TestAws::start().await, Project::with(&description));
    cloud.done(&project, &["up", "--yes"]).await;
    let event = cloud.aws.lambda.invoke().function_name(FUNCTION).invocation_type(InvocationType::Event);
    event.payload(Blob::new("\"pid\"")).send().await.expect("it is accepted");
    eventually("the record", async || {
        let listed = cloud.aws.s3.list_objects_v2().bucket(BUCKET).send().await.ok()?;
        (!listed.contents().is_empty()).then_some(())
    })
    .await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// The lines of all access logs in the artifact bucket of the stack `s`.
async fn access_log(cloud: &TestAws) -> Vec<String> {
    let (s3, bucket) = (&cloud.aws.s3, "s-artifacts-000000000000-us-east-1");
    let prefix = "access-logs/web/AWSLogs/000000000000/elasticloadbalancing/us-east-1/";
    let listed = s3.list_objects_v2().bucket(bucket).prefix(prefix).send().await.expect("a list");
    let mut lines = Vec::new();
    for key in listed.contents().iter().filter_map(|object| object.key()) {
        assert!(key.ends_with(".log.gz"), "{key}");
        let file = s3.get_object().bucket(bucket).key(key).send().await.expect("it can be read");
        let file = file.body.collect().await.expect("it has a body").to_vec();
        let mut text = String::new();
        GzDecoder::new(&*file).read_to_string(&mut text).expect("it is compressed");
        lines.extend(text.lines().map(str::to_owned));
    }
    lines
}

/// The fields of a line, without their quotes.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    for c in line.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => fields.push(String::new()),
            c => fields.last_mut().expect("there is one").push(c),
        }
    }
    fields
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_writes_a_log_of_its_requests() {
    let (cloud, project) = (TestAws::start().await, Project::of_service("    access_logs: true\n"));
    let up = cloud.done(&project, &["up", "--yes"]).await;
    is_unchanged(&cloud, &project).await;
    let client = reqwest::Client::builder().user_agent("a \"test\"").build().expect("a client");
    let answer = client.get(format!("{}/looked-for?a=b", up.output("URL"))).send().await.expect("it answers");
    let status = answer.status().as_u16().to_string();
    let line = eventually("the line of the request", async || {
        access_log(&cloud).await.into_iter().find(|line| line.contains("/looked-for?a=b"))
    })
    .await;
    let fields = fields(&line);
    assert_eq!(fields.len(), 33, "{line}");
    assert_eq!((&*fields[0], &fields[8], &fields[9]), ("http", &status, &status), "{line}");
    assert!(fields[2].starts_with("app/s-web/") && fields[12].starts_with("GET http://"), "{line}");
    assert!(fields[13] == "a \\x22test\\x22" && fields[16].contains(":targetgroup/s-web-8080/"), "{line}");

    // Elastic Load Balancing writes only where a bucket's policy allows it.
    let balancers = cloud.aws.elb.describe_load_balancers().send().await.expect("load balancers");
    let arn = balancers.load_balancers()[0].load_balancer_arn().expect("an ARN");
    let attribute = |key: &str, value: &str| LoadBalancerAttribute::builder().key(key).value(value).build();
    let elsewhere = cloud.aws.elb.modify_load_balancer_attributes().load_balancer_arn(arn);
    let elsewhere = elsewhere.attributes(attribute("access_logs.s3.prefix", "elsewhere")).send().await;
    let refused = elsewhere.expect_err("no policy allows it");
    assert_eq!(refused.code(), Some("InvalidConfigurationRequest"));
    assert!(
        refused.message().is_some_and(|text| text.starts_with("Access Denied for bucket: s-artifacts-")),
        "{refused:?}"
    );

    let off = cloud.aws.elb.modify_load_balancer_attributes().load_balancer_arn(arn);
    off.attributes(attribute("access_logs.s3.enabled", "false")).send().await.expect("it can be turned off");
    let place = "s-artifacts-000000000000-us-east-1/access-logs/web";
    says(&cloud.run(&project, &["plan"]).await, &format!("access_logs: {place}"));
    cloud.done(&project, &["up", "--yes"]).await;
    is_unchanged(&cloud, &project).await;

    project.edit("    access_logs: true\n", "");
    says(&cloud.run(&project, &["plan"]).await, &format!("access_logs: {place} → nothing"));
    cloud.done(&project, &["up", "--yes"]).await;
    is_unchanged(&cloud, &project).await;
    let attributes = cloud.aws.elb.describe_load_balancer_attributes().load_balancer_arn(arn).send().await;
    let attributes = attributes.expect("attributes").attributes.unwrap_or_default();
    let enabled = attributes.iter().find(|it| it.key() == Some("access_logs.s3.enabled"));
    assert_eq!(enabled.and_then(|it| it.value()), Some("false"));
    let policy = cloud.aws.s3.get_bucket_policy().bucket("s-artifacts-000000000000-us-east-1").send().await;
    assert!(!policy.expect("a policy").policy.unwrap_or_default().contains("AccessLogs"));
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}
