//! Services that are folders with a program in any language: packed, unpacked, set up, run, changed and brought back.

use std::{
    fs::{create_dir_all, write},
    time::Duration,
};

use testkit::{
    eventually,
    programs::{root, tool},
    until,
};

use crate::support::{
    Project, RunOutput,
    cloud::TestAws,
    crowd::Crowd,
    scene::{Phase, Scene},
};

const BUCKET: &str = "s-artifacts-000000000000-us-east-1";

/// A service of Python's standard library.
const SERVER: &str = include_str!("folders/server.py");

/// A stack with the folder `app`, whose `setup` counts how often it runs.
fn project(fields: &str) -> Project {
    let project = Project::with(&format!(
        "\
name: s
region: us-east-1
services:
  web:
    files: app
{fields}    port: 8080
    instance_type: t3.micro
    instances: {{ min: 1, max: 1 }}
    health_check: /health
    environment:
      GREETING: hello
outputs:
  URL: ${{services.web.url}}
"
    ));
    create_dir_all(project.path().join("app")).expect("the folder can be written to");
    put(&project, "server.py", SERVER);
    put(&project, "name.txt", "Ada");
    project
}

const RUN: &str = "    run: python3 server.py\n";
const COUNTED: &str = "    packages: [python3]\n    setup: echo once >> counted.txt\n    run: python3 server.py\n";

/// Writes a file of the folder.
fn put(project: &Project, name: &str, text: &str) {
    write(project.path().join("app").join(name), text).expect("the folder can be written to");
}

async fn up(cloud: &TestAws, project: &Project) -> RunOutput {
    cloud.done(project, &["up", "--yes"]).await
}

async fn is_unchanged(cloud: &TestAws, project: &Project, why: &str) {
    let plan = cloud.run(project, &["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 0, "{why}: {}", plan.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_deployed_changed_and_brought_back_without_a_lost_request() {
    let (cloud, project) = (TestAws::start().await, project(COUNTED));
    let crowd = Crowd::gather(&up(&cloud, &project).await.output("URL"));
    crowd.some_more().await;
    assert_eq!(crowd.get("/").await, "hello, Ada");

    // Only contents and modes count, and only of what is deployed.
    put(&project, "name.txt", "Ada");
    create_dir_all(project.path().join("app/__pycache__")).expect("the folder can be written to");
    put(&project, "__pycache__/server.pyc", "compiled");
    put(&project, ".env", "TOKEN=hunter2");
    is_unchanged(&cloud, &project, "the same content").await;

    put(&project, "name.txt", "Grace");
    let plan = cloud.run(&project, &["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 2, "{}", plan.all());
    assert!(plan.stderr.contains("+ artifact.web            services/web/"), "{}", plan.all());
    up(&cloud, &project).await;
    assert_eq!(crowd.get("/").await, "hello, Grace");
    let history = cloud.done(&project, &["history", "web"]).await;
    assert!(history.stdout.contains("program"), "{}", history.all());

    cloud.done(&project, &["rollback", "web", "--yes"]).await;
    assert_eq!(crowd.get("/").await, "hello, Ada");
    crowd.go_home().await;
    cloud.done(&project, &["down", "--yes"]).await;
    assert!(cloud.buckets().await.is_empty(), "`down` leaves nothing");
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_crashes_is_started_again_and_neither_downloaded_nor_set_up_again() {
    let (cloud, project) = (TestAws::start().await, project(COUNTED));
    let url = up(&cloud, &project).await.output("URL");
    let s3 = &cloud.aws.s3;
    let listed = s3.list_objects_v2().bucket(BUCKET).prefix("services/web/").send().await.expect("a list");
    let key = listed.contents()[0].key().expect("a key").to_owned();
    s3.delete_object().bucket(BUCKET).key(&key).send().await.expect("it can be removed");
    let get = async |path: &str| reqwest::get(format!("{url}{path}")).await.ok()?.text().await.ok();
    let first = get("/pid").await.expect("it answers");
    get("/crash").await;
    eventually("another process", async || get("/pid").await.filter(|pid| *pid != first && pid.parse::<u32>().is_ok()))
        .await;
    assert_eq!(get("/counted").await.as_deref(), Some("once\n"), "`setup` ran once");
    until("its lines in CloudWatch Logs", async || {
        let said = cloud.run(&project, &["logs", "web"]).await;
        said.stdout.matches("serving Ada").count() >= 2 && said.stdout.contains("crashing")
    })
    .await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_start_is_explained() {
    for (fields, says, remedy) in [
        (
            "    setup: pipp install -r requirements.txt\n    run: python3 server.py\n",
            "web: it cannot be set up: `setup` exits with 127: setup: line 1: pipp: command not found",
            "correct `setup`",
        ),
        (
            "    setup: echo no such version >&2; exit 3\n    run: python3 server.py\n",
            "web: it cannot be set up: `setup` exits with 3: no such version",
            "correct `setup`",
        ),
        (
            "    setup: |\n      echo no network >&2; (exit 4)\n      touch done\n    run: python3 server.py\n",
            "web: it cannot be set up: `setup` exits with 4: no network",
            "correct `setup`",
        ),
        (
            "    setup: (echo no mirror >&2; exit 5) | cat\n    run: python3 server.py\n",
            "web: it cannot be set up: `setup` exits with 5: no mirror",
            "correct `setup`",
        ),
        (
            "    run: uvicornn main:app --port $PORT\n",
            "web: its instances do not have uvicornn, which `run` starts: it exits with 127",
            "`packages`",
        ),
        (
            "    run: ./missing\n",
            "web: its instances do not have ./missing, which `run` starts: it exits with 127",
            "correct `run`",
        ),
        ("    run: python3 missing.py\n", "web: the service exits with 2: ", "correct the service"),
        (
            "    packages: [python3, pyton3-pip]\n    run: python3 server.py\n",
            "web: dnf cannot install its `packages`: Unable to find a match: pyton3-pip",
            "correct `packages`",
        ),
    ] {
        let (cloud, project) = (TestAws::start().await, project(fields));
        cloud.done(&project, &["up", "--yes", "--no-wait"]).await;
        let mut last = String::new();
        let said = tokio::time::timeout(Duration::from_secs(120), async {
            loop {
                let said = cloud.run(&project, &["why"]).await;
                if said.stdout.contains(says) {
                    return said;
                }
                last = said.all();
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        })
        .await;
        let said = said.unwrap_or_else(|_| panic!("{fields} is not explained: {last}"));
        assert_eq!(said.code, 1, "{}", said.all());
        assert!(said.stdout.contains("(stack.yaml:") && said.stdout.contains(remedy), "{}", said.all());
        cloud.done(&project, &["down", "--yes"]).await;
        cloud.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setup_that_takes_long_is_the_cause_until_it_has_ended() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let done = folder.path().join("done");
    let fields = format!("    setup: until [ -e {} ]; do sleep 0.1; done\n{RUN}", done.display());
    let (cloud, project) = (TestAws::start().await, project(&fields));
    cloud.done(&project, &["up", "--yes", "--no-wait"]).await;
    until("the cause", async || {
        let said = cloud.run(&project, &["why"]).await;
        assert!(!said.stdout.contains("did not listen"), "{}", said.all());
        said.stdout.contains("web: its `setup` is still running")
    })
    .await;
    write(&done, "").expect("the folder can be written to");
    let url = up(&cloud, &project).await.output("URL");
    assert_eq!(reqwest::get(&url).await.expect("an answer").text().await.expect("a text"), "hello, Ada");
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// `up` does not wait for what will never start.
#[tokio::test(flavor = "multi_thread")]
async fn a_setup_that_fails_ends_up_early_and_keeps_the_release_before() {
    let (cloud, project) = (TestAws::start().await, project(RUN));
    let url = up(&cloud, &project).await.output("URL");
    project.edit("    run:", "    setup: exit 9\n    run:");
    let failed = cloud.run(&project, &["up", "--yes"]).await;
    assert_ne!(failed.code, 0, "{}", failed.all());
    assert!(failed.stderr.contains("cannot be set up: `setup` exits with 9"), "{}", failed.all());
    let answer = reqwest::get(&url).await.expect("it is still served").text().await.expect("a text");
    assert_eq!(answer, "hello, Ada");
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_modified_in_the_bucket_is_not_unpacked() {
    let (cloud, project) = (TestAws::start().await, project(RUN));
    up(&cloud, &project).await;
    let aws = &cloud.aws;
    let listed = aws.s3.list_objects_v2().bucket(BUCKET).prefix("services/web/").send().await.expect("a list");
    let key = listed.contents()[0].key().expect("a key").to_owned();
    let put = aws.s3.put_object().bucket(BUCKET).key(&key).body(b"another archive".to_vec().into());
    put.send().await.expect("it can be replaced");
    let groups = aws.autoscaling.describe_auto_scaling_groups().send().await.expect("groups");
    let id = groups.auto_scaling_groups()[0].instances()[0].instance_id().expect("an id").to_owned();
    let ended = aws.autoscaling.terminate_instance_in_auto_scaling_group().instance_id(id);
    ended.should_decrement_desired_capacity(false).send().await.expect("an instance can be ended");
    until("the cause", async || {
        let said = cloud.run(&project, &["why"]).await;
        said.stdout.contains("the program in the artifact bucket is not the one that was built")
    })
    .await;
    let plan = cloud.run(&project, &["plan"]).await;
    assert!(plan.stderr.contains("~ artifact.web"), "{}", plan.all());
    let url = up(&cloud, &project).await.output("URL");
    assert_eq!(reqwest::get(&url).await.expect("an answer").text().await.expect("a text"), "hello, Ada");
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// The calls that make a release.
const OF_A_RELEASE: &[&str] = &[
    "PutObject",
    "CreateLaunchTemplate",
    "CreateLaunchTemplateVersion",
    "CreateAutoScalingGroup",
    "StartInstanceRefresh",
];

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_any_call_of_a_release_up_is_completed_by_the_next() {
    let scene = Scene::folder(project(RUN)).await;
    let goal = scene.undisturbed(Phase::Up).await;
    let first = calls_of_a_release(&goal.mutating);
    assert!(first.len() >= 3, "{:?}", goal.mutating);
    for call in &first {
        assert!(scene.kill_at(Phase::Up, call).await, "{call} is made");
        scene.done(Phase::Up).await;
        scene.assert_settled(Phase::Up, &goal.goal, &format!("killed at {call}")).await;
        scene.clear().await;
    }
    let change = |scene: &Scene, name: &str| put(&scene.project, "name.txt", name);
    scene.done(Phase::Up).await;
    change(&scene, "Grace");
    let changed = scene.watch(Phase::Up).await;
    let second = calls_of_a_release(&changed.mutating);
    assert!(second.iter().any(|call| call.starts_with("StartInstanceRefresh")), "{:?}", changed.mutating);
    for (number, call) in second.iter().enumerate() {
        change(&scene, &format!("Grace {number}"));
        assert!(scene.kill_at(Phase::Up, call).await, "{call} is made");
        scene.done(Phase::Up).await;
        scene.assert_nothing_to_do(&format!("killed at {call}")).await;
    }
    scene.clear().await;
    scene.end().await;
}

fn calls_of_a_release(calls: &testkit::proxy::Calls) -> Vec<String> {
    let is_of_it = |call: &&String| OF_A_RELEASE.contains(&testkit::proxy::parts(call).0);
    calls.iter().filter(is_of_it).cloned().collect()
}

/// Copies an example of the documentation into a project.
fn example(name: &str) -> Project {
    let from = root().join("docs/examples").join(name);
    let project = Project::with(&std::fs::read_to_string(from.join("stack.yaml")).expect("the example is there"));
    create_dir_all(project.path().join("app")).expect("the folder can be written to");
    for file in std::fs::read_dir(from.join("app")).expect("the example has a folder").flatten() {
        std::fs::copy(file.path(), project.path().join("app").join(file.file_name())).expect("it can be copied");
    }
    project
}

/// Deploys an example to this machine and returns its address.
fn up_local(project: &Project) -> String {
    project.done(&["up", "--local", "--yes"]).output("URL")
}

async fn greets(project: &Project) {
    let url = up_local(project);
    let greeting: serde_json::Value =
        reqwest::get(format!("{url}/?name=Ada")).await.expect("an answer").json().await.expect("JSON");
    assert_eq!(greeting, serde_json::json!({ "greeting": "hello, Ada" }));
    project.done(&["down", "--local", "--yes"]);
}

/// `.ci/setup` installs Node.js.
#[tokio::test(flavor = "multi_thread")]
async fn the_example_for_node_runs_on_this_machine() {
    greets(&example("node")).await;
}

/// `.ci/setup` downloads the packages, so that `setup` needs no network.
#[tokio::test(flavor = "multi_thread")]
async fn the_example_for_fastapi_runs_on_this_machine() {
    let project = example("fastapi");
    let wheels = tool("wheels");
    let offline = format!("      PIP_NO_INDEX: \"1\"\n      PIP_FIND_LINKS: {}\n", wheels.display());
    project.edit("      GREETING: hello\n", &format!("      GREETING: hello\n{offline}"));
    greets(&project).await;
}
