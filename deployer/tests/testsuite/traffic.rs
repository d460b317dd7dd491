//! Clients of a service do not notice changes: every request is answered while instances are rolled out and while
//! everything behind the load balancer is replaced.

use testkit::proxy::{InjectedFault, parts};

use crate::support::{
    Project, RunOutput,
    cloud::{KEYS, TestAws},
    crowd::Crowd,
    hands::Hands,
    inventory::{Inventory, inventory},
    run::Run,
    scene::{Phase, Scene},
};

async fn up(cloud: &TestAws, project: &Project) -> RunOutput {
    let up = cloud.done(project, &["up", "--yes"]).await;
    assert_eq!(cloud.run(project, &["plan", "--detailed-exitcode"]).await.code, 0, "nothing is left to do");
    up
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_out_and_a_change_of_the_port_lose_no_request() {
    let (cloud, project) = (TestAws::start().await, Project::light());
    let crowd = Crowd::gather(&up(&cloud, &project).await.output("URL"));
    crowd.some_more().await;

    let before_outputs = "      DYNAMO_TABLE: ${tables.posts.name}\n    uses:\n      buckets: { images: read_write }\n      tables: { posts: read_write }\n\noutputs";
    project.edit(before_outputs, &format!("      GREETING: hello\n{before_outputs}"));
    up(&cloud, &project).await;
    assert!(crowd.get("/environment").await.contains("GREETING=hello"));
    let before = crowd.get("/pid").await;
    crowd.some_more().await;

    project.edit("port: 8080", "port: 8081");
    let plan = cloud.run(&project, &["plan"]).await;
    let lines = [
        "+ target_group.web",
        "+ auto_scaling_group.web",
        "~ listener.web",
        "~ default_action.web",
        "- auto_scaling_group.postagram-web-8080",
        "- target_group.postagram-web-8080",
        "- security_group.postagram-web-8080",
    ];
    for line in lines {
        assert!(plan.stderr.contains(line), "{line:?} is not in the plan: {}", plan.all());
    }
    up(&cloud, &project).await;
    assert_ne!(crowd.get("/pid").await, before, "another process answers after the change");
    crowd.go_home().await;

    let there = inventory(&cloud.endpoint(), KEYS).await;
    assert!(!there.keys().any(|name| name.contains("8080")), "{there:?}");
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// An earlier version let load balancers connect to everything.
#[tokio::test(flavor = "multi_thread")]
async fn restricting_a_load_balancer_to_its_instances_loses_no_request() {
    let (cloud, project) = (TestAws::start().await, Project::light());
    let crowd = Crowd::gather(&up(&cloud, &project).await.output("URL"));
    Hands::of(&cloud.aws).open_the_load_balancer().await;
    crowd.some_more().await;
    project.edit("port: 8080", "port: 8081");
    up(&cloud, &project).await;
    crowd.go_home().await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// As long as the new targets are not healthy, the old ones answer, and the run reports what it waits for.
#[tokio::test(flavor = "multi_thread")]
async fn traffic_is_never_switched_to_a_port_without_healthy_targets() {
    let scene = Scene::local().await;
    let first = scene.run(&["up", "--yes"]).await;
    assert_eq!(first.code, 0, "{}", first.all());
    let crowd = Crowd::gather(&first.output("URL"));
    scene.project.edit("port: 8080", "port: 8081");
    let unhealthy =
        "<State>unhealthy</State><Reason>Target.Timeout</Reason><Description>Request timed out</Description>";
    let health =
        InjectedFault::reworded(&[("<State>healthy</State>", unhealthy), ("<State>initial</State>", unhealthy)]);
    scene.proxy.inject(["DescribeTargetHealth"], health, usize::MAX);
    let mut run = Run::start(&scene, &["up", "--yes"]);
    run.hear("default_action.web: waiting: 0 of 1 healthy: no answer on its port").await;
    crowd.some_more().await;
    run.kill().await;
    crowd.some_more().await;

    // The next run, with healthy targets, completes what the interrupted one began.
    scene.proxy.idle().await;
    scene.proxy.reset();
    scene.done(Phase::Up).await;
    crowd.go_home().await;
    scene.assert_nothing_to_do("the new port").await;
    scene.clear().await;
    scene.end().await;
}

/// Both sets exist when a change of the port has failed, and the listener refers to the target groups of both.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_change_of_the_port_ends_in_time_and_down_removes_both_sets() {
    let scene = Scene::local().await;
    let first = scene.run(&["up", "--yes"]).await;
    assert_eq!(first.code, 0, "{}", first.all());
    scene.project.edit("port: 8080", "port: 8081");
    let unhealthy =
        "<State>unhealthy</State><Reason>Target.Timeout</Reason><Description>Request timed out</Description>";
    let health =
        InjectedFault::reworded(&[("<State>healthy</State>", unhealthy), ("<State>initial</State>", unhealthy)]);
    scene.proxy.inject(["DescribeTargetHealth"], health, usize::MAX);

    let at_once = scene.run(&["up", "--yes", "--no-wait"]).await;
    assert_eq!(at_once.code, 0, "{}", at_once.all());
    let left = "default_action.web is left for the next run: requests still go to the previous targets (0 of 1 healthy";
    assert!(at_once.stderr.contains(left), "{}", at_once.all());

    let in_time = scene.run(&["up", "--yes", "--healthy-within", "1"]).await;
    assert_eq!(in_time.code, 1, "{}", in_time.all());
    assert!(in_time.stderr.contains("failed to update default_action.web"), "{}", in_time.all());

    scene.proxy.reset();
    scene.done(Phase::Down).await;
    let deleted = |operation: &str| scene.proxy.mutating().iter().filter(|call| parts(call).0 == operation).count();
    assert_eq!(deleted("DeleteTargetGroup"), 2, "each is deleted once nothing refers to it, and not before");
    assert_eq!(scene.inventory().await, Inventory::new());
    scene.restore();
    scene.end().await;
}
