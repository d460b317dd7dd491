//! Releases are listed, and a service is brought back to one: program and environment, without a lost request.

use std::path::Path;

use deployer::{cloud::lease, releases::KEPT};
use serde_json::Value;
use testkit::{
    eventually,
    proxy::parts,
    small_programs::{echo_function, tiny_service},
};

use crate::support::{
    Project, RunOutput,
    cloud::{TestAws, connect},
    crowd::Crowd,
    run::Run,
    scene::{Phase, Scene},
};

const BUCKET: &str = "s-artifacts-000000000000-us-east-1";
const TEMPLATE: &str = "s-web";

/// A stack with one service and one function.
fn project() -> Project {
    Project::with(&format!(
        "\
name: s
region: us-east-1
functions:
  labels: {{ binary: {} }}
services:
  web:
    binary: {}
    port: 8080
    instance_type: t3.micro
    instances: {{ min: 1, max: 1 }}
    load_balancer: {{ port: 80, allow: [\"0.0.0.0/0\"] }}
    environment:
      GREETING: hello
outputs:
  URL: ${{services.web.url}}
",
        echo_function().display(),
        tiny_service().display()
    ))
}

async fn up(cloud: &TestAws, project: &Project) -> RunOutput {
    cloud.done(project, &["up", "--yes"]).await
}

/// The releases of `web`, newest first.
async fn history(cloud: &TestAws, project: &Project) -> Vec<Value> {
    let said = cloud.done(project, &["history", "web", "--json"]).await;
    let document: Value = serde_json::from_str(&said.stdout).expect("JSON");
    document["services"]["web"].as_array().expect("a list").clone()
}

/// The release in service.
async fn in_service(cloud: &TestAws, project: &Project) -> i64 {
    let all = history(cloud, project).await;
    let one = all.iter().find(|release| release["state"] == "in_service").expect("a release is in service");
    one["release"].as_i64().expect("a number")
}

/// Asserts that a command fails with this exit code and these words.
async fn refuses(cloud: &TestAws, project: &Project, arguments: &[&str], code: i32, says: &[&str]) {
    let said = cloud.run(project, arguments).await;
    assert_eq!(said.code, code, "{arguments:?}: {}", said.all());
    for text in says {
        assert!(said.stderr.contains(text), "{arguments:?}, {text:?}: {}", said.all());
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let identity = ["-c", "user.name=ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"];
    let output = std::process::Command::new("git").args(identity).args(arguments).current_dir(folder).output();
    let output = output.expect("git can be started");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The bytes of the program that answers.
#[cfg(target_os = "linux")]
async fn program_in_service(crowd: &Crowd) -> Vec<u8> {
    let id = crowd.get("/pid").await;
    std::fs::read(format!("/proc/{}/exe", id.trim())).expect("the process runs here")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_loses_no_request_and_brings_back_program_and_environment() {
    let (cloud, project) = (TestAws::start().await, project());
    let folder = project.path();
    git(folder, &["init", "--quiet"]);
    git(folder, &["add", "stack.yaml"]);
    git(folder, &["commit", "--quiet", "--message", "first"]);
    let commit = git(folder, &["rev-parse", "HEAD"]);
    let crowd = Crowd::gather(&up(&cloud, &project).await.output("URL"));
    crowd.some_more().await;
    #[cfg(target_os = "linux")]
    let first = program_in_service(&crowd).await;

    project.change_service();
    project.edit("GREETING: hello", "GREETING: goodbye\n      TOKEN: hunter2");
    up(&cloud, &project).await;
    assert!(crowd.get("/environment").await.contains("GREETING=goodbye"));
    #[cfg(target_os = "linux")]
    assert_ne!(program_in_service(&crowd).await, first);

    let all = history(&cloud, &project).await;
    let field = |name: &str| all.iter().map(|release| release[name].clone()).collect::<Vec<_>>();
    assert_eq!(field("release"), [2, 1]);
    assert_eq!(field("state"), [Value::from("in_service"), Value::Null]);
    assert_eq!(field("who"), ["local", "local"]);
    let commits = field("commit");
    assert_eq!(commits[1], serde_json::json!({ "hash": commit, "dirty": false }));
    assert_eq!(commits[0], serde_json::json!({ "hash": commit, "dirty": true }), "stack.yaml was edited");
    assert_eq!(field("changed"), ["program; environment GREETING, TOKEN", "first release"]);

    let said = cloud.done(&project, &["history"]).await;
    assert!(!said.all().contains("hunter2"), "{}", said.all());
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!((lines[0], lines[4], lines[5]), ("web", "* in service", "labels"), "{}", said.all());
    let second = format!("{}+", &commit[..7]);
    assert!(lines[2].starts_with("* 2  ") && lines[2].contains(&second), "{}", said.all());
    assert!(lines[2].ends_with("program; environment GREETING, TOKEN"), "{}", said.all());
    assert!(lines[7].starts_with("* 1  ") && lines[7].ends_with("first release"), "{}", said.all());

    // Nothing happens without an answer, and values are shown only on request.
    let asked = cloud.at_a_terminal(&project, &["rollback", "web"], &["n"]).await;
    assert_eq!(asked.code, 0, "{}", asked.all());
    for text in [
        "template.version: 2 → 1",
        "environment.GREETING (changed)",
        "environment.TOKEN (removed)",
        "web: release 1, made 20",
        "UTC by local from commit",
        "nothing was changed",
    ] {
        assert!(asked.stderr.contains(text), "{text}: {}", asked.all());
    }
    assert!(!asked.stderr.contains("hunter2"), "{}", asked.all());
    refuses(&cloud, &project, &["rollback", "web", "--show-values"], 64, &["environment.GREETING: goodbye → hello"])
        .await;

    let said = cloud.done(&project, &["rollback", "web", "--yes"]).await;
    for text in ["release 1 is in service", "the next `up` deploys what it describes"] {
        assert!(said.stderr.contains(text), "{text}: {}", said.all());
    }
    let environment = crowd.get("/environment").await;
    assert!(environment.contains("GREETING=hello") && !environment.contains("TOKEN"), "{environment}");
    #[cfg(target_os = "linux")]
    assert_eq!(program_in_service(&crowd).await, first);
    assert_eq!(in_service(&cloud, &project).await, 1);
    let again = cloud.done(&project, &["rollback", "web", "--yes"]).await;
    assert!(again.stderr.contains("nothing to do: release 1 of web is in service"), "{}", again.all());

    // The description is that of release 2, and no new release is needed.
    let plan = cloud.run(&project, &["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 2, "{}", plan.all());
    assert!(plan.stderr.contains("template.version: 1 → 2"), "{}", plan.all());
    up(&cloud, &project).await;
    assert!(crowd.get("/environment").await.contains("GREETING=goodbye"));
    crowd.go_home().await;
    assert_eq!(history(&cloud, &project).await.len(), 2);

    // Another commit of the same stack is not a change.
    git(folder, &["commit", "--quiet", "--all", "--message", "second"]);
    assert_eq!(cloud.run(&project, &["plan", "--detailed-exitcode"]).await.code, 0);
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_of_the_last_releases_are_kept_and_older_ones_removed() {
    let (cloud, project) = (TestAws::start().await, project());
    let stored = async || {
        let listed = cloud.aws.s3.list_objects_v2().bucket(BUCKET).prefix("services/web/").send().await;
        listed.expect("a list").contents().len()
    };
    up(&cloud, &project).await;
    for release in 2..=KEPT + 1 {
        project.change_service();
        let said = up(&cloud, &project).await;
        assert_eq!(stored().await, release.min(KEPT), "release {release}");
        assert_eq!(said.stderr.contains("web: removed an old program"), release > KEPT, "{}", said.all());
    }
    let all = history(&cloud, &project).await;
    let kept: Vec<bool> = all.iter().map(|release| release["program"]["kept"] == true).collect();
    assert_eq!(kept, [true, true, true, true, true, false]);
    let text = cloud.done(&project, &["history", "web"]).await;
    assert!(text.stdout.contains("x 1  ") && text.stdout.contains("x its program is gone"), "{}", text.all());

    let gone = ["the program of release 1 of web is no longer there (s3://", "restore stack.yaml and the program"];
    refuses(&cloud, &project, &["rollback", "web", "1", "--yes"], 1, &gone).await;
    cloud.done(&project, &["rollback", "web", "2", "--yes"]).await;
    assert_eq!(in_service(&cloud, &project).await, 2);

    // A change of something else rolls nothing out and removes nothing.
    up(&cloud, &project).await;
    project.edit("max: 1", "max: 2");
    let said = up(&cloud, &project).await;
    assert!(!said.stderr.contains("removed"), "{}", said.all());
    assert_eq!(stored().await, KEPT);
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_rolled_back_is_refused_with_the_remedy() {
    let (cloud, project) = (TestAws::start().await, project());
    refuses(&cloud, &project, &["rollback", "web"], 1, &["web is not deployed", "run `deployer up`"]).await;
    let empty = cloud.done(&project, &["history"]).await;
    assert_eq!(empty.stdout, "web: not deployed\nlabels: not deployed\n");
    up(&cloud, &project).await;
    let function = ["labels has no release before release 1", "run `deployer up`"];
    refuses(&cloud, &project, &["rollback", "labels"], 1, &function).await;
    refuses(&cloud, &project, &["rollback", "labels", "7"], 64, &["labels has no release 7", "kept are 1"]).await;
    let unknown = ["stack.yaml has no service or function \"wob\"", "services.web"];
    refuses(&cloud, &project, &["rollback", "wob"], 64, &unknown).await;
    refuses(&cloud, &project, &["history", "wob"], 64, &unknown).await;
    refuses(&cloud, &project, &["rollback", "web"], 1, &["web has no release before release 1"]).await;
    refuses(&cloud, &project, &["rollback", "web", "7"], 64, &["web has no release 7", "the newest are 1;"]).await;
    refuses(&cloud, &project, &["rollback", "web", "0"], 64, &["0 is not in 1.."]).await;

    project.edit("GREETING: hello", "GREETING: goodbye");
    up(&cloud, &project).await;
    project.edit("GREETING: goodbye", "GREETING: hello again");
    up(&cloud, &project).await;
    let (ec2, s3) = (&cloud.aws.ec2, &cloud.aws.s3);

    // A changed program, and a missing one.
    let key = s3.list_objects_v2().bucket(BUCKET).prefix("services/web/").send().await.expect("a list");
    let key = key.contents()[0].key().expect("a key").to_owned();
    let put = s3.put_object().bucket(BUCKET).key(&key).body(b"another program".to_vec().into());
    put.checksum_algorithm(aws_sdk_s3::types::ChecksumAlgorithm::Sha256).send().await.expect("it can be replaced");
    let changed = ["the program of release 2 of web has been changed", "stack.yaml:6"];
    refuses(&cloud, &project, &["rollback", "web", "--yes"], 1, &changed).await;
    s3.delete_object().bucket(BUCKET).key(&key).send().await.expect("it can be deleted");
    refuses(&cloud, &project, &["rollback", "web", "--yes"], 1, &["is no longer there"]).await;
    up(&cloud, &project).await;

    // A deleted version: the one before it is next.
    let delete = ec2.delete_launch_template_versions().launch_template_name(TEMPLATE).versions("2");
    delete.send().await.expect("a version can be deleted");
    let deleted = ["release 2 of web has been deleted (version 2 of s-web)", "the newest are 3, 1;"];
    refuses(&cloud, &project, &["rollback", "web", "2", "--yes"], 1, &deleted).await;
    cloud.done(&project, &["rollback", "--yes"]).await;
    assert_eq!(in_service(&cloud, &project).await, 1, "the only service is meant");
    cloud.done(&project, &["rollback", "3", "--yes"]).await;
    assert_eq!(in_service(&cloud, &project).await, 3);

    // Another port: the load balancer does not know it.
    project.edit("port: 8080", "port: 8081");
    refuses(&cloud, &project, &["rollback", "web", "--yes"], 1, &["web is not deployed on port 8081"]).await;
    up(&cloud, &project).await;
    let port = ["web cannot go back to release 3: it listens on port 8080, and the load balancer uses 8081"];
    refuses(&cloud, &project, &["rollback", "web", "--yes"], 1, &port).await;

    // A launch template of another owner.
    let templates = ec2.describe_launch_templates().launch_template_names(TEMPLATE).send().await.expect("templates");
    let id = templates.launch_templates()[0].launch_template_id().expect("an id").to_owned();
    let owner = |stack: &str| aws_sdk_ec2::types::Tag::builder().key("deployer:stack").value(stack).build();
    ec2.create_tags().resources(&id).tags(owner("other")).send().await.expect("it can be tagged");
    let foreign = ["launch_template.web (s-web) exists but belongs to stack \"other\""];
    refuses(&cloud, &project, &["rollback", "web", "--yes"], 1, &foreign).await;
    refuses(&cloud, &project, &["history"], 1, &foreign).await;
    ec2.create_tags().resources(&id).tags(owner("s")).send().await.expect("it can be tagged");
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// The new release never becomes healthy, and its `up` dies: going back needs no second roll-out.
#[tokio::test(flavor = "multi_thread")]
async fn a_roll_out_in_progress_is_taken_back() {
    let scene = Scene::local().await;
    let url = scene.run(&["up", "--yes"]).await.output("URL");
    let crowd = Crowd::gather(&url);
    let variables = "allow: [\"0.0.0.0/0\"] }\n    environment:\n";
    scene.project.edit(variables, &format!("{variables}      SLOW: 600\n"));
    let mut run = Run::start(&scene, &["up", "--yes"]);
    run.hear("auto_scaling_group.web: waiting: rolling out").await;
    run.kill().await;
    scene.proxy.idle().await;
    let aws = connect(&scene.endpoint(), scene.keys).await;
    eventually("an instance of the new release", async || {
        let groups = aws.autoscaling.describe_auto_scaling_groups().send().await.expect("groups");
        let mut versions = groups.auto_scaling_groups()[0].instances().iter().filter_map(|it| it.launch_template());
        versions.any(|template| template.version() == Some("2")).then_some(())
    })
    .await;
    let said = scene.run(&["history", "web"]).await;
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert!(lines[2].starts_with("> 2  ") && said.stdout.contains("> rolling out"), "{}", said.all());
    assert!(lines[3].starts_with("* 1  "), "{}", said.all());

    scene.proxy.reset();
    let said = scene.done(Phase::Rollback).await;
    for text in ["template.version: 2 → 1", "environment.SLOW (removed)", "release 1 is in service"] {
        assert!(said.stderr.contains(text), "{text}: {}", said.all());
    }
    let made = |operation: &str| scene.proxy.mutating().iter().filter(|call| parts(call).0 == operation).count();
    assert_eq!(
        [made("RollbackInstanceRefresh"), made("StartInstanceRefresh"), made("CancelInstanceRefresh")],
        [1, 0, 0]
    );
    assert!(!crowd.get("/environment").await.contains("SLOW"));
    crowd.go_home().await;
    let again = scene.done(Phase::Rollback).await;
    assert!(again.stderr.contains("nothing to do: release 1 of web is in service"), "{}", again.all());
    scene.clear().await;
    scene.end().await;
}

/// Going back to a release that cannot start fails with the cause, and the present release stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_fails_is_explained_and_undone() {
    let (cloud, project) = (TestAws::start().await, project());
    project.edit("GREETING: hello", "EXIT: 78");
    cloud.done(&project, &["up", "--yes", "--no-wait"]).await;
    project.edit("EXIT: 78", "GREETING: hello");
    up(&cloud, &project).await;
    refuses(&cloud, &project, &["rollback", "web", "--yes"], 1, &["web: the service exits with 78", "rolling back"])
        .await;
    eventually("the present release", async || {
        let all = history(&cloud, &project).await;
        (all[0]["state"] == "in_service" && all[1]["state"].is_null()).then_some(())
    })
    .await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// The releases of the function, newest first.
async fn versions(cloud: &TestAws, project: &Project) -> Vec<Value> {
    let said = cloud.done(project, &["history", "labels", "--json"]).await;
    let document: Value = serde_json::from_str(&said.stdout).expect("JSON");
    document["functions"]["labels"].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_brought_back_with_code_and_configuration() {
    let (cloud, project) = (TestAws::start().await, project());
    let binary = format!("labels: {{ binary: {}", echo_function().display());
    project.edit(&binary, &format!("{binary}, memory_mb: 128, environment: {{ KEY: hunter2 }}"));
    let up = up(&cloud, &project).await;
    assert!(!up.all().contains("hunter2"), "{}", up.all());
    let present = async || {
        let call = cloud.aws.lambda.get_function_configuration().function_name("s-labels");
        let it = call.send().await.expect("the function");
        let variables = it.environment.and_then(|it| it.variables).unwrap_or_default();
        (it.code_sha256.unwrap_or_default(), it.memory_size.unwrap_or_default(), variables.get("KEY").cloned())
    };
    let first = present().await;
    project.change_function();
    project.edit("memory_mb: 128", "memory_mb: 256");
    project.edit("KEY: hunter2", "KEY: hunter3");
    cloud.done(&project, &["up", "--yes"]).await;
    let second = present().await;
    assert!(first.0 != second.0 && second.1 == 256, "{second:?}");

    let all = versions(&cloud, &project).await;
    let field = |name: &str| all.iter().map(|release| release[name].clone()).collect::<Vec<_>>();
    assert_eq!(field("release"), [2, 1]);
    assert_eq!(field("state"), [Value::from("in_service"), Value::Null]);
    assert_eq!(field("who"), ["local", "local"]);
    assert_eq!(field("changed"), ["program; environment KEY; memory 128 → 256", "first release"]);

    // Killed between configuration and code, and repeated, it does not go back twice.
    let asked = cloud.at_a_terminal(&project, &["rollback", "labels"], &["n"]).await;
    for text in
        ["memory_mb: 256 → 128", "environment.KEY (changed)", "labels: release 1, made 20", "nothing was changed"]
    {
        assert!(asked.stderr.contains(text), "{text}: {}", asked.all());
    }
    assert!(!asked.stderr.contains("hunter"), "{}", asked.all());
    let said = cloud.done(&project, &["rollback", "labels", "--yes"]).await;
    assert!(said.stderr.contains("labels: release 1 is in service"), "{}", said.all());
    assert_eq!(present().await, first);
    let again = cloud.done(&project, &["rollback", "labels", "--yes"]).await;
    assert!(again.stderr.contains("nothing to do: release 1 of labels is in service"), "{}", again.all());
    assert_eq!(versions(&cloud, &project).await.len(), 2, "a rollback publishes no version");

    // The description is that of release 2, and no new version is needed.
    cloud.done(&project, &["up", "--yes"]).await;
    assert_eq!(present().await, second);
    assert_eq!(versions(&cloud, &project).await.len(), 2);

    // The last five are kept, and the one that was made by hand.
    cloud
        .aws
        .lambda
        .update_function_configuration()
        .function_name("s-labels")
        .timeout(77)
        .send()
        .await
        .expect("changed");
    eventually("the update", async || {
        let call = cloud.aws.lambda.publish_version().function_name("s-labels").description("by hand");
        call.send().await.ok()
    })
    .await;
    for memory in [300, 400, 500, 600, 700] {
        let text = project.description();
        let (before, rest) = text.split_once("memory_mb: ").expect("it has memory");
        let (_, after) = rest.split_once(',').expect("something follows");
        project.describe(&format!("{before}memory_mb: {memory},{after}"));
        cloud.done(&project, &["up", "--yes"]).await;
    }
    let numbers: Vec<i64> =
        versions(&cloud, &project).await.iter().filter_map(|release| release["release"].as_i64()).collect();
    assert_eq!(numbers, [8, 7, 6, 5, 4, 3]);
    refuses(&cloud, &project, &["rollback", "labels", "2"], 1, &["release 2 of labels is no longer kept"]).await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_keeps_what_another_run_has_changed_before_its_turn() {
    let (cloud, project) = (TestAws::start().await, project());
    let (lambda, s3) = (&cloud.aws.lambda, &cloud.aws.s3);
    up(&cloud, &project).await;
    project.change_function();
    up(&cloud, &project).await;
    let holder = serde_json::json!({
        "owner": "ada", "host": "analytical", "command": "up", "since": 0, "expires": 60, "run": 1,
        "process": { "machine": "elsewhere", "pid": 1843, "began": 1 },
    });
    let put = s3.put_object().bucket(BUCKET).key(lease::KEY).body(holder.to_string().into_bytes().into());
    put.send().await.expect("it can be written");
    let mut run = Run::of(cloud.command(&project, &["rollback", "labels", "--yes", "--wait"]));
    run.hear("waiting for ada").await;
    let reserve = lambda.put_function_concurrency().function_name("s-labels").reserved_concurrent_executions(7);
    reserve.send().await.expect("it can be reserved");
    s3.delete_object().bucket(BUCKET).key(lease::KEY).send().await.expect("it can be removed");
    let said = run.end().await;
    assert!(said.code == 0 && said.stderr.contains("labels: release 1 is in service"), "{}", said.all());
    let reserved = lambda.get_function_concurrency().function_name("s-labels").send().await.expect("it is there");
    assert_eq!(reserved.reserved_concurrent_executions, Some(7));
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}
