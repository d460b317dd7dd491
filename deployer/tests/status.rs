//! `status` shows the state of a stack, and `ls` every stack of an account, with exactly the permissions that are
//! documented.

mod support;

use std::{collections::BTreeSet, path::Path, process::Stdio};

use aws_sdk_acm::types::ValidationMethod;
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use aws_sdk_ssm::types::{ParameterType, Tag};
use deployer::engine::STACK_TAG;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::{Project, Said, cloud::TestAws, terminal::Terminal};
use testkit::{
    Control, eventually,
    programs::root,
    small_programs::{echo_function, tiny_service},
    until,
};
use tokio::io::{AsyncBufReadExt as _, BufReader};

const BUCKET: &str = "s-images-000000000000-us-east-1";

/// A stack with one of each kind.
fn stack() -> Project {
    Project::with(&format!(
        "name: s
region: us-east-1
tags: {{ owner: ada }}
buckets:
  images: {{ on_upload: {{ function: f }} }}
tables:
  posts: {{ partition_key: user }}
functions:
  f:
    binary: {}
services:
  web:
    binary: {}
    port: 8080
    instance_type: t3.micro
    instances: {{ min: 1, max: 2 }}
    health_check: /health
    bake: 3m
    load_balancer: {{ port: 80, allow: [\"0.0.0.0/0\"] }}
",
        echo_function().display(),
        tiny_service().display()
    ))
}

/// A stack with nothing but a table.
fn small(name: &str, region: &str) -> Project {
    Project::with(&format!("name: {name}\nregion: {region}\ntables:\n  posts: {{ partition_key: user }}\n"))
}

fn json_of(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}", said.all()))
}

/// Runs `status --json`, and checks that its exit code agrees with it.
async fn status(cloud: &TestAws, project: &Project) -> Value {
    let said = cloud.run(project, &["status", "--json"]).await;
    let status = json_of(&said);
    assert_eq!(status["healthy"], said.code == 0, "{}", said.all());
    status
}

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
async fn request_certificate(cloud: &TestAws, stack: &str) {
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

/// The permissions that docs/commands.md lists below this heading.
fn documented(heading: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("docs/commands.md")).expect("the page is there");
    let (_, after) = text.split_once(&format!("## {heading}\n")).expect("the heading is there");
    let section = after.split("\n## ").next().expect("a section");
    let is_permission = |word: &&str| {
        let (service, action) = word.split_once(':').unwrap_or_default();
        let is_service = !service.is_empty() && service.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        is_service && action.starts_with(|c: char| c.is_ascii_uppercase()) && action.chars().all(char::is_alphanumeric)
    };
    section.split('`').filter(is_permission).map(str::to_owned).collect()
}

/// A role whose permissions can be set, and a session of it.
struct Watcher<'a> {
    cloud: &'a TestAws,
    keys: (String, String, String),
}

impl Watcher<'_> {
    async fn of(cloud: &TestAws) -> Watcher<'_> {
        let trust = json!({ "Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "AWS": "arn:aws:iam::000000000000:root" },
        }});
        let create = cloud.aws.iam.create_role().role_name("watcher").assume_role_policy_document(trust.to_string());
        create.send().await.expect("a role can be made");
        let assume = cloud.aws.sts.assume_role().role_arn("arn:aws:iam::000000000000:role/watcher");
        let assumed = assume.role_session_name("me").send().await.expect("a session");
        let keys = assumed.credentials().expect("credentials");
        let keys = (keys.access_key_id().into(), keys.secret_access_key().into(), keys.session_token().into());
        Watcher { cloud, keys }
    }

    async fn put(&self, statements: Value) {
        let policy = json!({ "Version": "2012-10-17", "Statement": statements });
        let put = self.cloud.aws.iam.put_role_policy().role_name("watcher").policy_name("reads");
        put.policy_document(policy.to_string()).send().await.expect("a policy can be put");
    }

    /// Allows these actions and no other.
    async fn allow<'p>(&self, actions: impl IntoIterator<Item = &'p String>) {
        let actions: Vec<&String> = actions.into_iter().collect();
        self.put(json!([{ "Effect": "Allow", "Action": actions, "Resource": "*" }])).await;
    }

    async fn run(&self, project: &Project, arguments: &[&str]) -> Said {
        let mut command = self.cloud.command(project, arguments);
        let (id, secret, token) = &self.keys;
        command.env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", secret).env("AWS_SESSION_TOKEN", token);
        command.output().await.expect("the deployer can be started").into()
    }
}

/// Returns the actions that this AWS has denied, of the calls from `since` on.
async fn denials(cloud: &TestAws, since: usize) -> Vec<String> {
    let journal = Control::of(&cloud.endpoint()).journal().await;
    journal[since..].iter().filter_map(|call| call["denied"].as_str().map(str::to_owned)).collect()
}

/// The same without times, which differ between two looks.
fn timeless(mut status: Value) -> Value {
    status["at"].take();
    status
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

/// A list of stacks without the number of objects: instances go on adding their reports.
fn settled(mut list: Value) -> Value {
    for stack in list["stacks"].as_array_mut().expect("stacks") {
        assert!(stack["size"]["objects"].is_u64() && stack["size"]["object_bytes"].is_u64(), "{stack}");
        stack["size"]["objects"].take();
        stack["size"]["object_bytes"].take();
    }
    list
}

#[tokio::test(flavor = "multi_thread")]
async fn ls_needs_exactly_the_permissions_that_are_documented() {
    let (cloud, project) = (TestAws::start().await, stack());
    cloud.done(&project, &["up", "--yes"]).await;
    request_certificate(&cloud, "other").await;
    let tag = Tag::builder().key(STACK_TAG).value("other").build().expect("key and value are given");
    let put = cloud.aws.ssm.put_parameter().name("/other/password").value("v").r#type(ParameterType::SecureString);
    put.tags(tag).send().await.expect("a parameter can be put");
    let (watcher, all) = (Watcher::of(&cloud).await, documented("What `ls` reads"));
    watcher.allow(&all).await;
    let begun = Control::of(&cloud.endpoint()).journal().await.len();
    for arguments in [&["ls", "--json"][..], &["ls", "--json", "--all-regions"]] {
        let said = watcher.run(&project, arguments).await;
        assert_eq!(said.code, 0, "{}", said.all());
        let (theirs, ours) = (json_of(&said), json_of(&cloud.done(&project, arguments).await));
        assert_eq!(settled(theirs), settled(ours));
    }
    assert_eq!(denials(&cloud, begun).await, [""; 0]);
    for permission in &all {
        watcher.allow(all.iter().filter(|it| *it != permission)).await;
        let said = watcher.run(&project, &["ls", "--all-regions"]).await;
        assert_eq!(said.code, 1, "without {permission}: {}", said.all());
        match permission.as_str() {
            "ec2:DescribeRegions" => {
                assert!(said.stderr.contains("failed to list the regions of the account"), "{}", said.all());
            }
            _ => {
                let is_named = |line: &str| line.starts_with("could not read us-east-1: denied (");
                assert!(said.stdout.lines().any(is_named), "without {permission}: {}", said.all());
                assert!(said.stdout.contains("s in us-east-1: "), "the rest is listed: {}", said.all());
            }
        }
    }
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_shown_again_until_it_is_interrupted() {
    let (cloud, project) = (TestAws::start().await, small("s", "us-east-1"));
    cloud.done(&project, &["up", "--yes"]).await;

    // On a terminal, in place of the one before.
    let mut terminal = Terminal::of(&cloud.command(&project, &["status", "--watch", "1"]));
    for _ in 0..2 {
        terminal.see("\u{1b}[Hs in account 000000000000").await;
        terminal.see("table posts").await;
        terminal.see("\u{1b}[J").await;
    }
    terminal.press(support::terminal::CTRL_C).await;
    assert_eq!(terminal.end().await.code, 130);

    // Elsewhere, one block or one document after the other.
    let mut command = cloud.command(&project, &["status", "--watch", "1", "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the deployer can be started");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    cloud.aws.dynamodb.delete_table().table_name("s-posts").send().await.expect("it can be deleted");
    let mut seen = 0;
    loop {
        let line = lines.next_line().await.expect("it can be read").expect("a line");
        let status: Value = serde_json::from_str(&line).expect("each line is a document");
        seen += 1;
        if seen > 1 && status["tables"][0]["state"] == "ABSENT" {
            assert_eq!(status["healthy"], false);
            break;
        }
    }
    let id = i32::try_from(child.id().expect("it runs")).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(id, Signal::INT).expect("it can be signalled");
    assert_eq!(child.wait().await.expect("it ends").code(), Some(130));

    // A reader that has seen enough ends it.
    let text = cloud.command(&project, &["status", "--watch", "1"]);
    let mut text = text.into_std();
    let mut text = text.stdout(Stdio::piped()).spawn().expect("the deployer can be started");
    drop(text.stdout.take());
    assert!(text.wait().expect("it ends").success());
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// Runs the deployer in another folder, as on another machine.
async fn elsewhere(cloud: &TestAws, folder: &Path, arguments: &[&str]) -> Said {
    let mut command = cloud.command(&small("other", "us-east-1"), arguments);
    command.current_dir(folder).env("AWS_REGION", "us-east-1");
    command.output().await.expect("the deployer can be started").into()
}

/// The stacks that `ls` finds, each with its number of resources.
fn found(list: &Value) -> Vec<(&str, &str, u64)> {
    let total = |it: &Value| it["resources"].as_object().expect("kinds").values().filter_map(Value::as_u64).sum();
    let stacks = list["stacks"].as_array().expect("a list").iter();
    stacks.map(|it| (it["name"].as_str().unwrap(), it["region"].as_str().unwrap(), total(it))).collect()
}

/// Follows the instructions of `ls` for a stack, word for word.
async fn follow(cloud: &TestAws, folder: &Path, stack: &Value) {
    let remove = &stack["remove"];
    let commands = remove["commands"].as_array().expect("commands");
    if let Some(text) = remove["stack_yaml"].as_str() {
        let name = stack["name"].as_str().expect("a name");
        std::fs::write(folder.join(format!("{name}.yaml")), text).expect("the folder can be written to");
    }
    for command in commands {
        let mut words = command.as_str().expect("a command").split(' ');
        assert_eq!(words.next(), Some("deployer"));
        let said = elsewhere(cloud, folder, &words.chain(["--yes"]).collect::<Vec<_>>()).await;
        // 3: tables and buckets that are no longer described are kept by `up`.
        assert!([0, 3].contains(&said.code), "{command}: {}", said.all());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stacks_without_their_descriptions_are_found_and_removed() {
    let cloud = TestAws::start().await;
    let (first, second) = (stack(), small("t", "us-east-1"));
    let folder = tempfile::tempdir().expect("a folder can be made");
    let ls = async || json_of(&elsewhere(&cloud, folder.path(), &["ls", "--json"]).await);
    assert_eq!(ls().await, json!({ "account": "000000000000", "stacks": [], "unread": [] }));
    cloud.done(&first, &["up", "--yes", "--no-wait"]).await;
    cloud.done(&second, &["up", "--yes"]).await;
    // A bucket whose name has our form, and which is not ours.
    let strange = "strange-images-000000000000-us-east-1";
    cloud.aws.s3.create_bucket().bucket(strange).send().await.expect("a bucket can be made");

    let list = ls().await;
    // All kinds with tags of their own.
    assert_eq!(found(&list), [("s", "us-east-1", 18), ("t", "us-east-1", 2)]);
    let kinds: Vec<&String> = list["stacks"][0]["resources"].as_object().expect("kinds").keys().collect();
    assert_eq!(kinds.len(), 12, "{kinds:?}");
    assert_eq!((&list["stacks"][0]["owner"], &list["stacks"][1]["owner"]), (&json!("ada"), &Value::Null));
    assert!(list["stacks"].as_array().expect("a list").iter().all(|it| it["created"].is_string()), "{list}");
    let text = cloud.done(&first, &["ls"]).await.stdout;
    for line in ["2 stacks in account 000000000000\n", "s in us-east-1: 18 resources, ", ", owner ada\n"] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    assert!(text.contains("to remove it: deployer down\n"), "its own description is here: {text}");
    assert!(text.contains("and run: deployer down --file t.yaml\n"), "{text}");

    follow(&cloud, folder.path(), &list["stacks"][0]).await;
    let list = ls().await;
    assert_eq!(found(&list), [("t", "us-east-1", 2)]);

    // Without its artifact bucket, `down` would take the stack for removed.
    let anchor = "t-artifacts-000000000000-us-east-1";
    let objects = cloud.aws.s3.list_objects_v2().bucket(anchor).send().await.expect("a list");
    for object in objects.contents() {
        let delete = cloud.aws.s3.delete_object().bucket(anchor).key(object.key().expect("a key"));
        delete.send().await.expect("it can be deleted");
    }
    cloud.aws.s3.delete_bucket().bucket(anchor).send().await.expect("it can be deleted");
    let list = ls().await;
    assert_eq!(found(&list), [("t", "us-east-1", 1)]);
    assert_eq!(list["stacks"][0]["remove"]["commands"].as_array().map(Vec::len), Some(2));
    follow(&cloud, folder.path(), &list["stacks"][0]).await;
    assert_eq!(found(&ls().await), []);
    assert_eq!(cloud.buckets().await, [strange], "what is not ours is left alone");
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ls_shows_size_and_cost_without_a_description() {
    let (cloud, project) = (TestAws::start().await, stack());
    project.edit("    port: 8080\n", "    port: 8080\n    disk_gb: 30\n");
    let data =
        Project::with("name: t\nregion: us-east-1\nbuckets:\n  images: {}\ntables: { rows: { partition_key: id } }\n");
    for project in [&project, &data] {
        cloud.done(project, &["up", "--yes"]).await;
    }
    for key in ["a", "b\u{1}"] {
        let put = cloud.aws.s3.put_object().bucket("t-images-000000000000-us-east-1").key(key);
        put.body(b"12345".to_vec().into()).send().await.expect("an object can be put");
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let ls = async || json_of(&elsewhere(&cloud, folder.path(), &["ls", "--json"]).await)["stacks"].take();
    let stacks = ls().await;
    let held = json!({
        "instances": 0, "objects": 2, "more_objects": false, "object_bytes": 10, "rows": 0, "row_bytes": 0,
    });
    assert_eq!((&stacks[1]["name"], &stacks[1]["size"]), (&json!("t"), &held));
    assert_eq!(stacks[1]["cost"]["monthly"], 0.0);
    // The same amount as with the description, disk and zones included.
    assert_eq!(stacks[0]["size"]["instances"], 1);
    let described = status(&cloud, &project).await["cost"].clone();
    assert_eq!(stacks[0]["cost"], described);
    let text = elsewhere(&cloud, folder.path(), &["ls"]).await.stdout;
    let cost = format!("  cost about ${:.2} a month (prices of ", described["monthly"].as_f64().expect("an amount"));
    for line in [&cost, "  1 instance, ", "  cost only by use\n", "  2 objects of 10 B\n"] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");

    // A paused stack has neither instances nor a load balancer.
    cloud.done(&project, &["pause", "--yes"]).await;
    let paused = ls().await[0].take();
    assert_eq!(paused["size"]["instances"], 0);
    assert_eq!(paused["cost"], status(&cloud, &project).await["cost"]);
    assert!(paused["cost"]["monthly"].as_f64() < Some(1.0), "{paused}");
    for project in [&project, &data] {
        cloud.done(project, &["down", "--yes"]).await;
    }
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_region_is_searched_and_a_denied_one_is_named() {
    let (cloud, watcher_folder) = (TestAws::start().await, tempfile::tempdir().expect("a folder can be made"));
    let (here, there) = (small("s", "us-east-1"), small("s", "eu-west-1"));
    for project in [&here, &there] {
        cloud.done(project, &["up", "--yes"]).await;
    }
    let list = elsewhere(&cloud, watcher_folder.path(), &["ls", "--json"]).await;
    assert_eq!(found(&json_of(&list)), [("s", "us-east-1", 2)]);
    let list = elsewhere(&cloud, watcher_folder.path(), &["ls", "--json", "--all-regions"]).await;
    assert_eq!(list.code, 0, "{}", list.all());
    let list = json_of(&list);
    assert_eq!(found(&list), [("s", "eu-west-1", 2), ("s", "us-east-1", 2)]);

    let watcher = Watcher::of(&cloud).await;
    let regions = json!({ "StringEquals": { "aws:RequestedRegion": ["us-east-1", "eu-west-1"] } });
    watcher.put(json!([{ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": regions }])).await;
    let said = watcher.run(&here, &["ls", "--all-regions"]).await;
    assert_eq!(said.code, 1, "{}", said.all());
    let denied: Vec<&str> = said.stdout.lines().filter(|line| line.starts_with("could not read ")).collect();
    assert!(denied.iter().any(|line| line.starts_with("could not read eu-west-3: denied (")), "{}", said.all());
    assert!(!denied.iter().any(|line| line.contains("us-east-1") || line.contains("eu-west-1")), "{}", said.all());
    for line in ["s in eu-west-1: 2 resources", "s in us-east-1: 2 resources"] {
        assert!(said.stdout.contains(line), "{}", said.all());
    }
    assert!(said.stdout.contains("deployer down --region eu-west-1\n"), "{}", said.all());

    let usage = elsewhere(&cloud, watcher_folder.path(), &["ls", "--all-regions", "--region", "eu-west-1"]).await;
    assert_eq!(usage.code, 64, "{}", usage.all());
    let mut unset = cloud.command(&small("other", "us-east-1"), &["ls"]);
    let unset: Said = unset.current_dir(watcher_folder.path()).output().await.expect("it can be started").into();
    assert_eq!(unset.code, 64, "{}", unset.all());
    assert!(unset.stderr.contains("hint: name one with --region"), "{}", unset.all());
    for project in [&here, &there] {
        cloud.done(project, &["down", "--yes"]).await;
    }
    cloud.end().await;
}

#[test]
fn both_commands_work_on_this_machine() {
    let project = small("s", "us-east-1");
    let nothing = project.run(&["status", "--local"]);
    assert_eq!(nothing.code, 1, "{}", nothing.all());
    assert!(nothing.stderr.contains("run `deployer up --local` first"), "{}", nothing.all());
    assert_eq!(project.done(&["ls", "--local"]).stdout, "no stacks: there is no local AWS here\n");
    project.done(&["up", "--local", "--yes"]);
    let status = project.done(&["status", "--local"]);
    assert!(status.stdout.contains("in sync"), "{}", status.all());
    let ls = project.done(&["ls", "--local"]);
    assert!(ls.stdout.contains("s in us-east-1: 2 resources"), "{}", ls.all());
    assert!(ls.stdout.contains("to remove it: deployer down --local\n"), "{}", ls.all());
    project.done(&["down", "--local", "--yes"]);
    assert!(project.done(&["ls", "--local"]).stdout.starts_with("no stacks in account"));
    let nothing = project.run(&["status", "--local"]);
    assert!(nothing.stdout.contains("nothing is deployed: `deployer up --local` deploys it"), "{}", nothing.all());
}
