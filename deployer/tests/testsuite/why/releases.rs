//! Releases that cannot start.

use testkit::eventually;

use super::cloud;
use super::group::{instance, until_rolled_back};
use super::services::stack;
use crate::support::RunOutput;

/// Asserts that the command fails with the sentence and the remedy.
fn assert_explained(said: &RunOutput) {
    assert_eq!(said.code, 1, "{}", said.all());
    let sentence = "web: the service exits with 78: JWT_AUDIENCE is not set";
    assert!(
        said.stderr.lines().any(|line| line.starts_with(sentence) && line.contains("(stack.yaml:")),
        "{}",
        said.all()
    );
    assert!(said.stderr.contains("hint: correct the service or its `environment`"), "{}", said.all());
}

const BAD: &str = "environment: { SAY: JWT_AUDIENCE is not set, EXIT: 78 }";

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_release_is_explained_and_rolled_back_early() {
    let (cloud, project) = (cloud().await, stack(&[("web", "environment: { GOOD: 1 }")]));
    cloud.done(&project, &["up", "--yes"]).await;
    let before = instance(&cloud).await;
    project.edit("environment: { GOOD: 1 }", BAD);
    let said = cloud.run(&project, &["up", "--yes"]).await;
    assert_explained(&said);
    assert!(said.stderr.contains("the new version exits with 78: JWT_AUDIENCE is not set"), "{}", said.all());
    until_rolled_back(&cloud).await;
    assert_eq!(instance(&cloud).await, before, "the old instance still serves");
    project.edit(BAD, "environment: { GOOD: 2 }");
    cloud.done(&project, &["up", "--yes"]).await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// Releases that do not exit, and are not healthy: their lines, the sentence, and a part of the remedy.
const DO_NOT_EXIT: &[(&str, &str, &str)] = &[
    ("environment: { FAIL: 500 }", "the service answers its health check, /, with 500", "with 200"),
    ("environment: { LISTEN: 0 }", "the service runs, but did not listen on port 8080", "the variable PORT"),
    (
        "grace_period_s: 100\n    environment: { SLOW: 86400 }",
        "it does not become healthy within 100 s",
        "`grace_period_s`",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_release_that_does_not_exit_is_explained_and_rolled_back_early() {
    let mut present = "environment: { GOOD: 1 }";
    let (cloud, project) = (cloud().await, stack(&[("web", present)]));
    cloud.done(&project, &["up", "--yes"]).await;
    let before = instance(&cloud).await;
    for (lines, sentence, remedy) in DO_NOT_EXIT {
        project.edit(present, lines);
        present = lines;
        // Meanwhile the old instance serves, and `why` says what is wrong with the new one.
        let seen = async || {
            let why = cloud.run(&project, &["why"]).await;
            (why.code == 1 && why.stdout.starts_with(&format!("web: {sentence}"))).then_some(())
        };
        let (said, ()) =
            tokio::join!(cloud.run(&project, &["up", "--yes"]), eventually("`why` during the roll-out", seen));
        assert_eq!(said.code, 1, "{}", said.all());
        let is_named = |line: &str| line.starts_with(&format!("web: {sentence}")) && line.contains("(stack.yaml:");
        assert!(said.stderr.lines().any(is_named), "{}", said.all());
        let hint = said.stderr.lines().find(|line| line.starts_with("hint: ")).unwrap_or_default();
        assert!(hint.contains(remedy), "{}", said.all());
        assert!(said.stderr.contains(&format!("the new version is not healthy: {sentence}")), "{}", said.all());
        // The deployer has taken it back, and not AWS, which waits for an hour.
        let refresh = until_rolled_back(&cloud).await;
        assert_eq!(refresh, "Rolled back by user.", "{}", said.all());
        assert_eq!(instance(&cloud).await, before, "the old instance still serves");
        let after = cloud.run(&project, &["why"]).await;
        assert_eq!(after.code, 0, "{}", after.all());
        assert!(after.stdout.contains(" was rolled back: "), "{}", after.all());
    }
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_release_that_cannot_start_fails_early() {
    let (cloud, project) = (cloud().await, stack(&[("web", BAD)]));
    let said = cloud.run(&project, &["up", "--yes"]).await;
    assert_explained(&said);
    assert!(said.stderr.contains("NotHealthy: web exits with 78: JWT_AUDIENCE is not set"), "{}", said.all());
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}
