//! The status of one stack.

use aws_sdk_acm::types::ValidationMethod;
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use deployer::engine::STACK_TAG;
use serde_json::{Value, json};
use testkit::{Control, eventually, small_programs::echo_function, until};

use super::permissions::{Watcher, denials, documented, timeless};
use super::{BUCKET, json_of, stack, status};
use crate::support::Project;
use crate::support::cloud::TestAws;

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_everything_is_shown_and_every_trouble() {
    let (cloud, project) = (TestAws::start().await, stack());
    let aws = &cloud.aws;
    let before = cloud.run(&project, &["status"]).await;
    assert_eq!(before.code, 1, "{}", before.all());
    assert!(before.stdout.contains("nothing is deployed: `deployer up` deploys it"), "{}", before.all());
    assert_eq!(status(&cloud, &project).await["deployed"], false);
    let polls = Control::of(&cloud.endpoint()).calls("DescribeScalingActivities").await;
    assert_eq!(polls, 2, "what does not exist is read once");

    cloud.done(&project, &["up", "--yes"]).await;
    for key in ["a", "b", "c\u{1}"] {
        aws.s3.put_object().bucket(BUCKET).key(key).send().await.expect("an object can be put");
    }
    let well = status(&cloud, &project).await;
    assert_eq!((&well["stack"], &well["healthy"], &well["deployed"]), (&json!("s"), &json!(true), &json!(true)));
    let service = &well["services"][0];
    let counts = [&service["instances_healthy"], &service["instances_wanted"]];
    assert_eq!((&service["name"], &service["release"], counts), (&json!("web"), &json!("1"), [&json!(1), &json!(1)]));
    let address = service["address"].as_str().expect("an address");
    assert!(reqwest::get(format!("{address}/health")).await.expect("an answer").status().is_success(), "{address}");
    let instance = &service["instances"][0];
    let there = aws.ec2.describe_instances().send().await.expect("instances");
    let there = &there.reservations()[0].instances()[0];
    assert_eq!(instance["id"].as_str(), there.instance_id());
    assert_eq!(instance["zone"].as_str(), there.placement().and_then(|it| it.availability_zone()));
    assert_eq!((&instance["state"], &instance["health"]), (&json!("running"), &json!("healthy")));
    assert_eq!((&well["functions"][0]["state"], &well["functions"][0]["problem"]), (&json!("Active"), &Value::Null));
    assert_eq!((&well["buckets"][0]["objects"], &well["buckets"][0]["more_objects"]), (&json!(3), &json!(false)));
    assert_eq!(well["tables"][0]["state"], "ACTIVE");
    assert_eq!(well["drift"], json!({ "changes": 0, "uncompared": [], "unread": null }));
    let screen = cloud.done(&project, &["status"]).await.stdout;
    for line in ["✓ service web", "✓ function f", "3 objects", "up to 6 h ago", "in sync"] {
        assert!(screen.contains(line), "{line:?} is not in {screen}");
    }
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");

    // A health check that fails.
    let groups = aws.elb.describe_target_groups().send().await.expect("target groups");
    let arn = groups.target_groups()[0].target_group_arn().expect("an ARN");
    let modify = aws.elb.modify_target_group().target_group_arn(arn).health_check_path("/missing");
    modify.send().await.expect("it can be changed");
    let reason = eventually("an unhealthy target", async || {
        let status = status(&cloud, &project).await;
        let instances = status["services"][0]["instances"].as_array().expect("instances").clone();
        let ill = instances.into_iter().find(|it| it["health"] == "unhealthy")?;
        assert_eq!(status["services"][0]["healthy"], false);
        assert_eq!(status["drift"]["changes"], 1);
        Some(ill["reason"].as_str().expect("a reason").to_owned())
    })
    .await;
    assert_eq!(reason, "Health checks failed with these codes: [404]");
    cloud.done(&project, &["up", "--yes"]).await;

    // A function that logs an error.
    let log = "/aws/lambda/s-f";
    aws.logs.create_log_stream().log_group_name(log).log_stream_name("one").send().await.expect("a stream");
    let now_ms = i64::try_from(std::time::UNIX_EPOCH.elapsed().expect("a time").as_millis()).expect("a time");
    let event = InputLogEvent::builder().timestamp(now_ms).message("[ERROR] no such \u{1b}[2Jpost").build();
    let put = aws.logs.put_log_events().log_group_name(log).log_stream_name("one");
    put.log_events(event.expect("an event")).send().await.expect("an event can be put");
    let ill = status(&cloud, &project).await;
    assert_eq!((&ill["functions"][0]["healthy"], &ill["healthy"]), (&json!(false), &json!(false)));
    assert_eq!(ill["functions"][0]["last_error"], "[ERROR] no such \u{1b}[2Jpost");
    let said = cloud.run(&project, &["status"]).await;
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(said.stdout.contains(r"no such \u{1b}[2Jpost") && !said.stdout.contains('\u{1b}'), "{}", said.all());
    assert_eq!(cloud.run(&project, &["why"]).await.code, 1);

    // A table that is gone.
    aws.dynamodb.delete_table().table_name("s-posts").send().await.expect("it can be deleted");
    eventually("the table to be gone", async || {
        let status = status(&cloud, &project).await;
        (status["tables"][0]["state"] == "ABSENT").then_some(())
    })
    .await;
    let said = cloud.run(&project, &["status"]).await;
    assert_eq!(said.code, 1, "{}", said.all());
    let line = said.stdout.lines().find(|line| line.contains("table posts")).expect("its line");
    assert!(line.starts_with('✗') && line.contains("does not exist"), "{line}");
    cloud.done(&project, &["down", "--yes"]).await;
    assert_eq!(status(&cloud, &project).await["deployed"], false);
    cloud.end().await;
}

/// The number of resources that `plan` would change.
async fn changes(cloud: &TestAws, project: &Project) -> usize {
    let plan = json_of(&cloud.done(project, &["plan", "--json"]).await);
    let resources = plan["resources"].as_array().expect("resources").iter();
    resources.filter(|it| it["step"] != "keep" && it["step"] != "protected" && it["step"]["leave"].is_null()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_counts_what_plan_would_change() {
    let (cloud, project) = (TestAws::start().await, stack());
    let check = async |wanted: usize, what: &str| {
        let status = status(&cloud, &project).await;
        assert_eq!(status["drift"]["changes"], wanted, "{what}");
        assert_eq!(changes(&cloud, &project).await, wanted, "{what}");
    };
    let all = changes(&cloud, &project).await;
    check(all, "nothing exists").await;
    cloud.done(&project, &["up", "--yes"]).await;
    check(0, "just deployed").await;
    project.change_function();
    check(1, "another program of the function").await;
    cloud.done(&project, &["up", "--yes"]).await;
    let name = "s-f";
    let update = cloud.aws.lambda.update_function_configuration().function_name(name).memory_size(512);
    update.send().await.expect("it can be changed");
    eventually("the update to end", async || {
        let there = cloud.aws.lambda.get_function_configuration().function_name(name).send().await.expect("a function");
        (there.last_update_status().map(|it| it.as_str()) == Some("Successful")).then_some(())
    })
    .await;
    check(1, "memory changed by hand").await;
    project.edit("max: 2", "max: 3");
    check(2, "another maximum").await;
    project.edit("tables:\n  posts: { partition_key: user }\n", "");
    check(3, "a table that is no longer described").await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// Requests a certificate for a stack: the tags of every certificate are read, and more of those of the own stack.
pub(super) async fn request_certificate(cloud: &TestAws, stack: &str) {
    let tag = aws_sdk_acm::types::Tag::builder().key(STACK_TAG).value(stack).build().expect("a tag");
    let request = cloud.aws.acm.request_certificate().domain_name("other.example.org").tags(tag);
    let made = request.validation_method(ValidationMethod::Dns).send().await.expect("a certificate can be requested");
    let arn = made.certificate_arn.expect("it has an ARN");
    until("the validation record", async || {
        let described = cloud.aws.acm.describe_certificate().certificate_arn(&arn).send().await.expect("it is there");
        let detail = described.certificate.expect("it is described");
        detail.domain_validation_options().iter().any(|it| it.resource_record().is_some())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_needs_exactly_the_permissions_that_are_documented() {
    let (cloud, project) = (TestAws::start().await, stack());
    // Resources that are no longer described are read, too.
    let described = project.description();
    project.edit("  posts:", "  old: { partition_key: id }\n  posts:");
    project.edit("  images:", "  old: {}\n  images:");
    project.edit("functions:\n", &format!("functions:\n  g: {{ binary: {} }}\n", echo_function().display()));
    cloud.done(&project, &["up", "--yes", "--for", "4h"]).await;
    project.describe(&described);
    let log = "/aws/lambda/s-f";
    cloud.aws.logs.create_log_stream().log_group_name(log).log_stream_name("one").send().await.expect("a stream");

    request_certificate(&cloud, "s").await;
    let (watcher, all) = (Watcher::of(&cloud).await, documented("What `status` reads"));
    watcher.allow(&all).await;
    let begun = Control::of(&cloud.endpoint()).journal().await.len();
    let said = watcher.run(&project, &["status", "--json"]).await;
    assert_eq!(denials(&cloud, begun).await, [""; 0]);
    assert_eq!(said.code, 0, "{}", said.all());
    let (theirs, ours) = (timeless(json_of(&said)), timeless(status(&cloud, &project).await));
    assert_eq!(theirs, ours);
    // The table, the certificate, the bucket with its notification, and the function with its log group and role.
    assert!(theirs["drift"]["changes"].as_u64() >= Some(6), "{theirs}");

    for permission in &all {
        watcher.allow(all.iter().filter(|it| *it != permission)).await;
        let said = watcher.run(&project, &["status"]).await;
        let lacking = said.stdout.lines().filter(|line| line.contains("denied (")).count();
        assert!(lacking > 0, "without {permission}: {}", said.all());
        for line in ["service web", "function f", "bucket images", "table posts", "drift"] {
            assert!(said.stdout.contains(line), "without {permission}: {}", said.all());
        }
    }
    watcher.put(json!([{ "Effect": "Deny", "Action": "*", "Resource": "*" }])).await;
    let said = watcher.run(&project, &["status"]).await;
    assert_eq!(said.code, 1, "{}", said.all());
    for line in ["? service web", "? function f", "? bucket images", "? table posts", "unknown: denied ("] {
        assert!(said.stdout.contains(line), "{}", said.all());
    }
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// Without the right to list tags, AWS leaves them out of a function. The missing right is named, instead of an unknown
/// owner.
#[tokio::test(flavor = "multi_thread")]
async fn a_function_whose_tags_are_hidden_is_not_called_foreign() {
    let function = format!("functions:\n  f: {{ binary: {} }}\n", echo_function().display());
    let project = Project::with(&format!("name: s\nregion: us-east-1\n{function}"));
    let cloud = TestAws::start().await;
    cloud.done(&project, &["up", "--yes"]).await;
    let watcher = Watcher::of(&cloud).await;
    let everything_but_tags = json!([
        { "Effect": "Allow", "Action": "*", "Resource": "*" },
        { "Effect": "Deny", "Action": "lambda:ListTags", "Resource": "*" },
    ]);
    watcher.put(everything_but_tags).await;
    let commands: [(&[&str], i32); 6] = [
        (&["status"], 0),
        (&["plan"], 1),
        (&["history", "f"], 1),
        (&["invoke", "f"], 1),
        (&["rollback", "f", "--yes"], 1),
        (&["up", "--yes", "--adopt", "function.f"], 1),
    ];
    for (arguments, code) in commands {
        let said = watcher.run(&project, arguments).await;
        assert!(said.code == code && said.all().contains("ListTags"), "{arguments:?}: {}", said.all());
        assert!(!said.all().contains("unknown owner"), "{arguments:?}: {}", said.all());
    }
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}
