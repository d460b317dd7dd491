//! A release that answers its health check and fails the requests of users is rolled back by AWS, even if the deployer
//! is gone.

use aws_sdk_autoscaling::types::{InstanceRefresh, InstanceRefreshStatus as Status};
use aws_sdk_cloudwatch::types::{MetricAlarm, StateValue};
use aws_sdk_ec2::types::{IpPermission, UserIdGroupPair};
use serde_json::Value;
use testkit::{eventually, until};

use crate::support::{
    Project,
    cloud::TestAws,
    crowd::Crowd,
    run::Run,
    shared::{service, stack},
};

const GROUP: &str = "s-web-8080";
const ALARMS: [&str; 3] = ["s-web-balancer-5xx", "s-web-target-4xx", "s-web-target-5xx"];
/// Those of a service that shares its load balancer.
const SHARING: [&str; 3] = ["s-web-target-4xx", "s-web-target-5xx", "s-web-target-connections"];

fn project() -> Project {
    Project::of_service("    bake: 3m\n    environment: { RELEASE: 1 }\n")
}

/// A service whose roll-outs are watched, and two behind its load balancer whose are not.
fn sharing() -> Project {
    let behind = |entry: &str| {
        let fields = format!("    bake: 0\n    behind: {{ service: web, path: /{entry}/* }}\n");
        service(entry, &fields)
    };
    Project::with(&stack(&[service("web", "    bake: 3m\n"), behind("api"), behind("other")]))
}

/// The newest roll-out.
async fn refresh(cloud: &TestAws) -> Option<InstanceRefresh> {
    let call = cloud.aws.autoscaling.describe_instance_refreshes().auto_scaling_group_name(GROUP);
    call.send().await.expect("refreshes").instance_refreshes.unwrap_or_default().into_iter().next()
}

/// The names of the stack's alarms.
async fn alarms(cloud: &TestAws) -> Vec<String> {
    alarms_that(cloud, |_| true).await
}

/// The names of those of the stack's alarms that this is true of.
async fn alarms_that(cloud: &TestAws, is_meant: fn(&MetricAlarm) -> bool) -> Vec<String> {
    let answer = cloud.aws.cloudwatch.describe_alarms().alarm_name_prefix("s-").send().await.expect("alarms");
    let meant = answer.metric_alarms().iter().filter(|alarm| is_meant(alarm));
    meant.filter_map(|alarm| alarm.alarm_name().map(str::to_owned)).collect()
}

async fn in_service(cloud: &TestAws, project: &Project) -> Value {
    let said = cloud.done(project, &["history", "web", "--json"]).await;
    let document: Value = serde_json::from_str(&said.stdout).expect("JSON");
    let all = document["services"]["web"].as_array().expect("a list").clone();
    all.iter().find(|release| release["state"] == "in_service").expect("one is in service")["release"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_rolls_a_release_back_that_fails_under_traffic_although_the_deployer_was_killed() {
    let (cloud, project) = (TestAws::start().await, project());
    let crowd = Crowd::gather(&cloud.done(&project, &["up", "--yes"]).await.output("URL"));
    assert_eq!(alarms(&cloud).await, ALARMS);
    crowd.some_more().await;

    project.edit("RELEASE: 1", "RELEASE: 2, FAIL: pages");
    let up = Run::of(cloud.command(&project, &["up", "--yes"]));
    until("the roll-out", async || refresh(&cloud).await.is_some()).await;
    up.kill().await;

    let ended = eventually("the rollback", async || {
        refresh(&cloud).await.filter(|it| it.status() == Some(&Status::RollbackSuccessful))
    })
    .await;
    let watched = ended.preferences().and_then(|it| it.alarm_specification()).map(|it| it.alarms().to_vec());
    assert_eq!(watched.unwrap_or_default(), ALARMS);
    assert_eq!(ended.preferences().and_then(|it| it.bake_time()), Some(180));
    until("the release before", async || crowd.get("/environment").await.contains("RELEASE=1")).await;
    assert_eq!(in_service(&cloud, &project).await, 1);

    let why = cloud.run(&project, &["why", "web"]).await;
    assert_eq!(why.code, 0, "it is healthy again: {}", why.all());
    let sentence = "web: AWS rolled release 2 back: it answered more than 1 % of the requests of a minute with 5xx \
                    (alarm s-web-target-5xx)";
    assert!(why.stdout.starts_with(sentence) && why.stdout.contains("hint: correct the service"), "{}", why.all());
    crowd.disperse().await;
    cloud.done(&project, &["down", "--yes"]).await;
    assert!(alarms(&cloud).await.is_empty());
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn up_says_why_aws_rolled_back_and_the_fix_is_rolled_out() {
    let (cloud, project) = (TestAws::start().await, project());
    let crowd = Crowd::gather(&cloud.done(&project, &["up", "--yes"]).await.output("URL"));
    project.edit("RELEASE: 1", "RELEASE: 2, FAIL: 404");
    project.edit("health_check: /health", "health_check: { path: /health, matcher: 200-499 }");
    let up = cloud.run(&project, &["up", "--yes"]).await;
    assert_eq!(up.code, 1, "{}", up.all());
    for text in [
        "AWS rolled the release back: it answered more than half of the requests of a minute with 4xx",
        "(alarm s-web-target-4xx)",
        "`bake: 0` turns the alarms off",
    ] {
        assert!(up.stderr.contains(text), "{text:?}: {}", up.all());
    }
    assert_eq!(in_service(&cloud, &project).await, 1);

    // The alarm lasts for some minutes after the last error; the fix need not wait for its end.
    project.edit("RELEASE: 2, FAIL: 404", "RELEASE: 3");
    let mut up = Run::of(cloud.command(&project, &["up", "--yes"]));
    up.hear("rolled out; AWS is watching the responses").await;
    let baking = refresh(&cloud).await.expect("a roll-out");
    assert_eq!(baking.status(), Some(&Status::Baking));
    let up = up.end().await;
    assert_eq!(up.code, 0, "{}", up.all());
    assert!(crowd.get("/environment").await.contains("RELEASE=3"));
    assert_eq!(cloud.run(&project, &["plan", "--detailed-exitcode"]).await.code, 0);
    crowd.disperse().await;

    // Without a bake time, there is nothing to watch.
    project.edit("bake: 3m", "bake: 0");
    cloud.done(&project, &["up", "--yes"]).await;
    assert!(alarms(&cloud).await.is_empty());
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_rolled_back_for_its_own_failures_and_not_for_those_of_its_neighbours() {
    let (cloud, project) = (TestAws::start().await, sharing());
    // One answers 500. The other closes the connection, and the load balancer answers 502.
    project.edit("WHO: api", "WHO: api, FAIL: pages");
    project.edit("WHO: other", "WHO: other, FAIL: cut");
    let url = cloud.done(&project, &["up", "--yes"]).await.output("URL");
    assert_eq!(alarms(&cloud).await, SHARING);
    let crowd = Crowd::gather(&url);
    crowd.some_more().await;

    project.edit("WHO: web", "WHO: web, RELEASE: 2");
    let up = Run::of(cloud.command(&project, &["up", "--yes"]));
    until("the roll-out", async || refresh(&cloud).await.is_some()).await;
    // Only now: the roll-out would leave out an alarm that has gone off before.
    let neighbours = ["api", "other"].map(|entry| Crowd::gather(&format!("{url}/{entry}")));
    let up = up.end().await;
    assert_eq!(up.code, 0, "{}", up.all());
    let ended = refresh(&cloud).await.expect("a roll-out");
    let watched = ended.preferences().and_then(|it| it.alarm_specification()).map(|it| it.alarms().to_vec());
    assert_eq!(
        (ended.status(), watched.unwrap_or_default().as_slice()),
        (Some(&Status::Successful), &SHARING.map(str::to_owned)[..])
    );
    assert_eq!(in_service(&cloud, &project).await, 2);
    for neighbour in &neighbours {
        let (asked, failed) = neighbour.counts();
        assert!(asked > 0 && failed >= asked, "{failed} of {asked} requests failed");
    }

    project.edit("RELEASE: 2", "RELEASE: 3, FAIL: pages");
    let up = cloud.run(&project, &["up", "--yes"]).await;
    assert_eq!(up.code, 1, "{}", up.all());
    assert!(up.stderr.contains("(alarm s-web-target-5xx)"), "{}", up.all());
    assert_eq!(in_service(&cloud, &project).await, 2);
    for crowd in neighbours.into_iter().chain([crowd]) {
        crowd.disperse().await;
    }
    cloud.done(&project, &["down", "--yes"]).await;
    assert!(alarms(&cloud).await.is_empty());
    cloud.end().await;
}

/// AWS counts failed connections by target group, unlike the load balancer's own responses.
#[tokio::test(flavor = "multi_thread")]
async fn failed_connections_set_off_the_alarm_of_their_service_alone() {
    let (cloud, project) = (TestAws::start().await, sharing());
    project.edit("    bake: 0\n", "    bake: 3m\n");
    let crowd = Crowd::gather(&cloud.done(&project, &["up", "--yes"]).await.output("URL"));
    crowd.some_more().await;
    // The security group of the instances no longer admits the load balancer.
    let groups = cloud.aws.ec2.describe_security_groups().send().await.expect("groups");
    let id = |name: &str| {
        let found = groups.security_groups().iter().find(|group| group.group_name() == Some(name));
        found.and_then(|group| group.group_id()).unwrap_or_else(|| panic!("no group {name}")).to_owned()
    };
    let pair = UserIdGroupPair::builder().group_id(id("s-web-lb")).build();
    let rule = IpPermission::builder().ip_protocol("tcp").from_port(8080).to_port(8080).user_id_group_pairs(pair);
    let revoke = cloud.aws.ec2.revoke_security_group_ingress().group_id(id(GROUP)).ip_permissions(rule.build());
    revoke.send().await.expect("a rule can be removed");
    let rings = |alarm: &MetricAlarm| alarm.state_value() == Some(&StateValue::Alarm);
    until("the alarm", async || alarms_that(&cloud, rings).await == ["s-web-target-connections"]).await;
    crowd.disperse().await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alarms_of_a_service_change_when_another_one_joins_its_load_balancer_and_when_it_leaves() {
    let web = service("web", "    bake: 3m\n");
    let api = service("api", "    bake: 0\n    behind: { service: web, path: /api/* }\n");
    let (alone, shared) = (stack(std::slice::from_ref(&web)), stack(&[web, api]));
    let (cloud, project) = (TestAws::start().await, Project::with(&alone));
    for (description, expected) in [(&alone, ALARMS), (&shared, SHARING), (&alone, ALARMS)] {
        project.describe(description);
        cloud.done(&project, &["up", "--yes"]).await;
        assert_eq!(alarms(&cloud).await, expected);
        cloud.done(&project, &["plan", "--detailed-exitcode"]).await;
    }
    cloud.done(&project, &["down", "--yes"]).await;
    assert!(alarms(&cloud).await.is_empty());
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_of_someone_else_is_left_alone() {
    let (cloud, project) = (TestAws::start().await, project());
    cloud.done(&project, &["up", "--yes"]).await;
    let cloudwatch = &cloud.aws.cloudwatch;
    let there = cloudwatch.describe_alarms().alarm_names(ALARMS[2]).send().await.expect("alarms");
    let arn = there.metric_alarms()[0].alarm_arn().expect("an ARN").to_owned();
    cloudwatch.untag_resource().resource_arn(arn).tag_keys("deployer:stack").send().await.expect("it can be untagged");
    let up = cloud.run(&project, &["up", "--yes"]).await;
    assert_eq!(up.code, 1, "{}", up.all());
    assert!(up.stderr.contains("alarm.web-target-5xx"), "{}", up.all());
    cloud.run(&project, &["down", "--yes"]).await;
    assert!(alarms(&cloud).await.contains(&ALARMS[2].to_owned()), "it is not deleted");
    cloud.end().await;
}
