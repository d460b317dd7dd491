//! Services that are broken, each in a stack of its own.

use testkit::{eventually, programs::program, small_programs::tiny_service, until};

use super::cloud;
use super::timing::{Broken, about, all_explained};
use crate::support::Project;

/// A broken service: its name, the cause, its lines of `stack.yaml`, and parts of the sentence and of the remedy.
struct Row {
    name: &'static str,
    cause: &'static str,
    lines: &'static str,
    says: &'static [&'static str],
    remedy: &'static str,
}

const fn row(
    name: &'static str,
    cause: &'static str,
    lines: &'static str,
    says: &'static [&'static str],
    remedy: &'static str,
) -> Row {
    Row { name, cause, lines, says, remedy }
}

const BROKEN: &[Row] = &[
    row(
        "variable",
        "a missing variable",
        "environment: { SAY: JWT_AUDIENCE is not set, EXIT: 78 }",
        &["the service exits with 78: JWT_AUDIENCE is not set"],
        "`environment`",
    ),
    row(
        "crash",
        "a crash at start",
        "environment: { SAY: it cannot be, EXIT: 1 }",
        &["the service exits with 1: it cannot be"],
        "correct",
    ),
    row(
        "later",
        "a crash later",
        "environment: { LIFE: 3 }",
        &["the service exits with 3: it has lived long enough"],
        "correct the service",
    ),
    row(
        "port",
        "another port",
        // Any port that the load balancer does not ask.
        "grace_period_s: 3600\n    environment: { LISTEN: 0 }",
        &["the service runs, but did not listen on port 8080"],
        "the variable PORT",
    ),
    row(
        "path",
        "a wrong health check path",
        "health_check: /missing\n    grace_period_s: 3600",
        &["the service answers its health check, /missing, with 404"],
        "`health_check.path`",
    ),
    row(
        "error",
        "an error in the health check",
        "health_check: /broken\n    grace_period_s: 3600",
        &["the service answers its health check, /broken, with 500"],
        "with 200",
    ),
    row(
        "slow",
        "a start longer than the grace period",
        "grace_period_s: 30\n    environment: { SLOW: 600 }",
        &["does not become healthy within 30 s"],
        "`grace_period_s`",
    ),
    row(
        "denied",
        "a missing permission of the service",
        "environment: { SAY: 'x is not authorized to perform: dynamodb:PutItem on resource: y', EXIT: 1 }",
        &["the service lacks a permission: x is not authorized to perform: dynamodb:PutItem"],
        "`uses`",
    ),
    #[cfg(target_os = "linux")]
    row(
        "memory",
        "too little memory",
        "environment: { EAT: 1500 }",
        &["the service needs more memory than t3.micro has"],
        "`instance_type`",
    ),
];

/// A stack with these services, each with its own lines.
pub(super) fn stack(services: &[(&str, &str)]) -> Project {
    let mut text = "name: s\nregion: us-east-1\nservices:\n".to_owned();
    for (name, lines) in services {
        text += &format!(
            "  {name}:\n    binary: {}\n    port: 8080\n    instance_type: t3.micro\n    instances: {{ min: 1, max: 1 }}\n    load_balancer: {{ port: 80, allow: [\"0.0.0.0/0\"] }}\n",
            tiny_service().display()
        );
        if !lines.is_empty() {
            text += &format!("    {lines}\n");
        }
    }
    Project::with(&text)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_broken_service_is_explained() {
    let services: Vec<(&str, &str)> = BROKEN.iter().map(|row| (row.name, row.lines)).collect();
    let (cloud, project) = (cloud().await, stack(&services));
    cloud.done(&project, &["up", "--yes", "--no-wait"]).await;
    let broken: Vec<Broken> =
        BROKEN.iter().map(|&Row { name, cause, says, remedy, .. }| Broken { name, cause, says, remedy }).collect();
    all_explained(&cloud, &project, &broken).await;
    // The load balancer finds this one healthy now and then.
    let later = broken.iter().find(|it| it.name == "later").expect("there is one");
    for _ in 0..5 {
        let said = cloud.run(&project, &["why", "later"]).await;
        assert!(said.code == 1 && about(&said, later).is_some(), "{}", said.all());
    }
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_the_shipped_service_may_not_read_is_explained() {
    let uses = "uses: { buckets: { images: read_write } }";
    let text = format!(
        "name: s
region: us-east-1
buckets: {{ images: {{}} }}
tables: {{ posts: {{ partition_key: user, sort_key: id }} }}
services:
  web:
    binary: {}
    port: 8080
    instance_type: t3.micro
    instances: {{ min: 1, max: 1 }}
    health_check: /health
    environment: {{ BUCKET: \"${{buckets.images.name}}\", DYNAMO_TABLE: \"${{tables.posts.name}}\" }}
    {uses}
outputs:
  URL: ${{services.web.url}}
",
        program("service").display()
    );
    let (cloud, project) = (cloud().await, Project::with(&text));
    let url = cloud.done(&project, &["up", "--yes"]).await.output("URL");
    let posts = async || reqwest::get(format!("{url}/posts")).await.map(|answer| answer.status().as_u16());
    // Its lines are sent every few seconds.
    let said = eventually("the denied call in the log", async || {
        assert_eq!(posts().await.ok(), Some(500));
        let said = cloud.run(&project, &["why", "web"]).await;
        (said.code == 1).then_some(said)
    })
    .await;
    let first = said.stdout.lines().next().unwrap_or_default();
    assert!(
        first.starts_with("web: the service lacks a permission: ") && first.contains("AccessDenied"),
        "{}",
        said.all()
    );
    assert!(first.contains("(stack.yaml:13)"), "{}", said.all());
    assert!(said.stdout.contains("hint: add what the service uses to `uses`"), "{}", said.all());
    project.edit(uses, "uses: { buckets: { images: read_write }, tables: { posts: read_write } }");
    cloud.done(&project, &["up", "--yes"]).await;
    until("the posts", async || posts().await.ok() == Some(200)).await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}
