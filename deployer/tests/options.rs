//! Options that make a stack safer, one line each: they do what they promise, and without the line the default is back.

mod support;

use std::collections::BTreeSet;

use aws_sdk_lambda::{
    config::retry::RetryConfig, error::ProvideErrorMetadata as _, primitives::Blob, types::InvocationType,
};
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter,
};
use support::{Project, Said, cloud::TestAws};
use testkit::small_programs::echo_function;
use tokio::io::AsyncWriteExt as _;

const BUCKET: &str = "small-a-000000000000-us-east-1";
const FUNCTION: &str = "small-f";

fn says(said: &Said, text: &str) {
    assert!(said.stderr.contains(text), "{text:?} is not in {}", said.all());
}

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
