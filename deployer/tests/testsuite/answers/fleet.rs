//! Instances and load balancers: launches, health and roll-outs.

use testkit::proxy::InjectedFault;

use super::reports::{assert_state_is_reported, remedies};
use crate::support::RunOutput;
use crate::support::cloud::connect;
use crate::support::run::Run;
use crate::support::scene::{Phase, Scene};

/// Runs `up` while the proxy injects `answers` about the instances.
async fn up_with_fleet(answers: &[(&str, InjectedFault)], more: &[&str]) -> RunOutput {
    let scene = Scene::local().await;
    for (operation, trouble) in answers {
        scene.proxy.inject([*operation], trouble.clone(), usize::MAX);
    }
    let said = scene.run(&[&["up", "--yes"], more].concat()).await;
    scene.proxy.reset();
    scene.done(Phase::Down).await;
    scene.end().await;
    said
}

/// Asserts that the output has what failed, AWS's message, the line of stack.yaml, the remedy, what exists, and that
/// the same command continues.
fn assert_the_service_failed(said: &RunOutput, words: &str, advice: &str) {
    assert_eq!(said.code, 1, "{}", said.all());
    for wanted in ["failed to start service.web", words, "stack.yaml:", "the same command continues"] {
        assert!(said.stderr.contains(wanted), "{wanted:?} is missing: {}", said.stderr);
    }
    assert!(remedies(said, words).contains(advice), "{advice:?} is not among the remedies of {}", said.stderr);
    assert_state_is_reported(said);
    assert!(said.stderr.contains("failed (1): service.web"), "{}", said.stderr);
}

fn never_healthy() -> (&'static str, InjectedFault) {
    ("DescribeTargetHealth", InjectedFault::reworded(&[("<State>healthy</State>", "<State>initial</State>")]))
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_launch_that_can_never_succeed_ends_the_wait_with_its_reason() {
    let failures = [
        (
            "InvalidParameterCombination: The specified instance type is not eligible for Free Tier. Launching EC2 instance failed.",
            "set `instance_type: t3.micro`",
        ),
        (
            "VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit of 1 allows. Launching EC2 instance failed.",
            "L-1216C47A",
        ),
        (
            "Unsupported: Your requested instance type (t3.micro) is not supported in your requested Availability Zone (us-east-1e).",
            "choose another `instance_type`",
        ),
        (
            "InvalidFleetConfiguration: Your requested instance type (t3.micro) is not supported in your requested Availability Zone (us-east-1e). Launching EC2 instance failed.",
            "choose another `instance_type`",
        ),
        ("The image id '[ami-0]' does not exist. Launching EC2 instance failed.", "name another as `image`"),
    ];
    for (text, advice) in failures {
        let failed = format!("<StatusCode>Failed</StatusCode><StatusMessage>{text}</StatusMessage>");
        let activities = InjectedFault::reworded(&[("<StatusCode>Successful</StatusCode>", &failed)]);
        let said = up_with_fleet(&[("DescribeScalingActivities", activities), never_healthy()], &[]).await;
        assert_the_service_failed(&said, text, advice);
    }
}

/// AWS's message for a zone without capacity for an instance.
const NO_ROOM: &str = "We currently do not have sufficient t3.micro capacity in the Availability Zone you requested (us-east-1a). Our system will be working on provisioning additional capacity. Launching EC2 instance failed.";

fn no_room() -> (&'static str, InjectedFault) {
    let failed = format!("<StatusCode>Failed</StatusCode><StatusMessage>{NO_ROOM}</StatusMessage>");
    let activities = InjectedFault::reworded(&[("<StatusCode>Successful</StatusCode>", &failed)]);
    ("DescribeScalingActivities", activities)
}

/// The group tries the next zone on its own.
#[tokio::test(flavor = "multi_thread")]
pub async fn a_zone_without_capacity_does_not_end_the_wait() {
    let scene = Scene::local().await;
    let (activities, answer) = no_room();
    scene.proxy.inject([activities], answer, usize::MAX);
    let (health, unhealthy) = never_healthy();
    scene.proxy.inject([health], unhealthy, 3);
    let said = scene.run(&["up", "--yes"]).await;
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(scene.proxy.hit().contains(activities), "the group's activities were not read: {:?}", scene.proxy.calls());
    scene.clear().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn full_zones_end_the_wait_at_its_limit_with_the_reason() {
    let text = "InsufficientInstanceCapacity: We currently do not have sufficient t3.micro capacity in the Availability \
                Zone you requested (us-east-1a). Launching EC2 instance failed.";
    let failed = format!("<StatusCode>Failed</StatusCode><StatusMessage>{text}</StatusMessage>");
    let activities = InjectedFault::reworded(&[("<StatusCode>Successful</StatusCode>", &failed)]);
    let answers = [("DescribeScalingActivities", activities), never_healthy()];
    let said = up_with_fleet(&answers, &["--healthy-within", "3"]).await;
    assert_the_service_failed(&said, text, "choose another `instance_type`");
    assert!(said.stderr.contains("within 3 s"), "the group keeps trying, and so it is waited for: {}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_load_balancer_that_is_long_being_provisioned_is_waited_for() {
    const LOOKS: usize = 8;
    let scene = Scene::local().await;
    let busy = InjectedFault::reworded(&[("<Code>active</Code>", "<Code>provisioning</Code>")]);
    scene.proxy.inject(["DescribeLoadBalancers"], busy, LOOKS);
    let said = scene.done(Phase::Up).await;
    assert!(said.stderr.contains("load_balancer.web: provisioning"), "{}", said.stderr);
    let looks = scene.proxy.calls().iter().filter(|call| call.starts_with("DescribeLoadBalancers#")).count();
    assert!(looks > LOOKS, "it ended after {looks} polls");
    scene.assert_nothing_to_do("provisioned").await;
    scene.clear().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_load_balancer_that_aws_could_not_provision_is_reported_with_the_reason() {
    let reason = "<Code>failed</Code><Reason>The load balancer could not be set up because of subnet x</Reason>";
    let failed = InjectedFault::reworded(&[("<Code>active</Code>", reason), ("<Code>provisioning</Code>", reason)]);
    let said = up_with_fleet(&[("DescribeLoadBalancers", failed)], &["--no-wait"]).await;
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(said.stderr.contains("could not be set up because of subnet x"), "{}", said.stderr);
}

/// The target group exists, but other parts of AWS may not know it yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_group_that_cannot_be_seen_yet_is_waited_for_by_the_wait_for_health() {
    let scene = Scene::local().await;
    let refused = InjectedFault::refused(400, "TargetGroupNotFound", "One or more target groups not found");
    scene.proxy.inject(["DescribeTargetHealth"], refused, 3);
    let said = scene.run(&["up", "--yes"]).await;
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(!said.stderr.contains("error:"), "{}", said.stderr);
    assert!(scene.proxy.hit().contains("DescribeTargetHealth"), "{:?}", scene.proxy.calls());
    scene.clear().await;
    scene.end().await;
}

/// §19: the targets stay unhealthy until the time limit, and the wait ends with the reason (§9.4).
#[tokio::test(flavor = "multi_thread")]
pub async fn a_service_that_stays_unhealthy_ends_the_wait_at_its_limit_with_the_reason() {
    let unhealthy = "<State>unhealthy</State><Reason>Target.ResponseCodeMismatch</Reason>\
               <Description>Health checks failed with these codes: [500]</Description>";
    let answers = InjectedFault::reworded(&[("<State>healthy</State>", unhealthy)]);
    let said = up_with_fleet(&[("DescribeTargetHealth", answers)], &["--healthy-within", "3"]).await;
    assert_the_service_failed(&said, "web has not become healthy within 3 s", "--healthy-within");
    let advice = "does not answer the health check's path with the expected status";
    for wanted in ["codes: [500]", advice] {
        assert!(said.stderr.contains(wanted), "{wanted:?} is missing: {}", said.stderr);
    }
}

/// Rolls out a change whose refresh has these states according to AWS, the last one permanently.
async fn roll_out_through(states: &[&str]) -> RunOutput {
    let scene = Scene::local().await;
    scene.prepare(Phase::Change).await;
    for (n, state) in states.iter().enumerate() {
        let status =
            format!("<Status>{state}</Status><StatusReason>The instances never became healthy.</StatusReason>");
        let real = ["Successful", "InProgress", "Pending"].map(|status| format!("<Status>{status}</Status>"));
        let texts: Vec<_> = real.iter().map(|real| (real.as_str(), status.as_str())).collect();
        let times = if n + 1 < states.len() { 4 } else { usize::MAX };
        scene.proxy.inject(["DescribeInstanceRefreshes"], InjectedFault::reworded(&texts), times);
    }
    let said = scene.run(&["up", "--yes"]).await;
    scene.end().await;
    said
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_failed_roll_out_fails_the_run() {
    let said = roll_out_through(&["Failed"]).await;
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(said.stderr.contains("Failed: The instances never became healthy."), "{}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_roll_back_is_watched_to_its_end() {
    let said = roll_out_through(&["RollbackInProgress", "RollbackSuccessful"]).await;
    assert_eq!(said.code, 1, "{}", said.all());
    for wanted in ["rolling back: The instances", "RollbackSuccessful: The instances never became healthy."] {
        assert!(said.stderr.contains(wanted), "{wanted:?} is missing: {}", said.stderr);
    }
}

/// The new program exits at every start, and the roll-out is rolled back by hand. The same command begins another
/// roll-out, and does not mistake the end of the old one for that of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_roll_out_that_was_rolled_back_is_started_again_by_the_same_command() {
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    let aws = connect(&scene.endpoint(), scene.keys).await;
    let variables = "allow: [\"0.0.0.0/0\"] }\n    environment:\n";
    scene.project.edit(variables, &format!("{variables}      DIE: now\n"));
    for _ in 0..2 {
        scene.proxy.reset();
        let mut run = Run::start(&scene, &["up", "--yes", "--no-wait"]);
        run.hear("auto_scaling_group.web: waiting: rolling out").await;
        let call = aws.autoscaling.rollback_instance_refresh().auto_scaling_group_name("postagram-web-8080");
        call.send().await.expect("it can be rolled back");
        let said = run.end().await;
        assert_eq!(said.code, 1, "{}", said.all());
        assert!(said.stderr.contains("the roll-out ended as RollbackSuccessful"), "{}", said.stderr);
        let begun = scene.proxy.calls().iter().filter(|call| call.starts_with("StartInstanceRefresh")).count();
        assert_eq!(begun, 1, "the run starts exactly one roll-out: {:?}", scene.proxy.calls());
    }
    scene.restore();
    scene.done(Phase::Up).await;
    scene.clear().await;
    scene.end().await;
}
