//! No crash can damage a stack: the deployer is killed after every mutating call, the connection is reset before and
//! after every such call, and the same command completes the work. Tested with the local AWS and with moto. This is
//! case 19 of docs/aws.md §19.

mod support;

use std::path::Path;

use support::{
    domain,
    inventory::Inventory,
    scene::{PICTURE, Phase, Scene, Undisturbed},
    shared,
};
use testkit::proxy::{Calls, Fault, parts};

/// How often a point is tried if its call does not occur: the numbers of concurrent calls differ from run to run.
const TRIES: usize = 5;

/// Which of the mutating calls are tried.
#[derive(Clone, Copy)]
enum Points {
    /// All except those of these operations, with the reason.
    AllBut(&'static [(&'static str, &'static str)]),
    /// Those of these operations. The others are tried without a domain.
    Only(&'static [&'static str]),
}

/// Kills the deployer at every call; the same command must then reach the state of an undisturbed run.
async fn killed_anywhere_it_converges(scene: Scene, phase: Phase, points: Points) {
    let Undisturbed { goal, mutating, .. } = scene.steady(phase).await;
    let points = points.of(&mutating);
    let converged = at_every_point(&points, async |call| {
        scene.prepare(phase).await;
        let met = scene.kill_at(phase, call).await;
        if met {
            scene.done(phase).await;
        }
        scene.assert_settled(phase, &goal, &format!("killed at {call}")).await;
        scene.clear().await;
        met
    })
    .await;
    report(&scene, phase, "killed", &points, &converged);
    scene.end().await;
}

/// Resets the connection once, before or after the effect of every call: the run itself must survive that.
async fn reset_anywhere_it_completes(scene: Scene, phase: Phase, how: &str, reset: Fault, points: Points) {
    let Undisturbed { goal, mutating, .. } = scene.steady(phase).await;
    let points = points.of(&mutating);
    let converged = at_every_point(&points, async |call| {
        scene.prepare(phase).await;
        scene.proxy.inject([call], reset.clone(), 1);
        scene.done(phase).await;
        let met = scene.proxy.hit().contains(call);
        scene.assert_settled(phase, &goal, &format!("{how} {call}")).await;
        scene.clear().await;
        met
    })
    .await;
    report(&scene, phase, how, &points, &converged);
    scene.end().await;
}

/// Tries each point until its call occurs, and returns the points whose call did.
async fn at_every_point(points: &Calls, attempt: impl AsyncFn(&str) -> bool) -> Calls {
    let mut met = Calls::new();
    for call in points {
        // Shown when the test fails.
        println!("at {call}");
        for _ in 0..TRIES {
            if attempt(call).await {
                met.insert(call.clone());
                break;
            }
        }
    }
    met
}

impl Points {
    /// Chooses from these calls. Each operation that is left out must occur among them, and so must one that is chosen.
    fn of(self, calls: &Calls) -> Calls {
        let is_of = |call: &str, operation: &str| parts(call).0 == operation;
        let chosen: Calls = match self {
            Points::AllBut(spared) => {
                for (operation, why) in spared {
                    let occurs = calls.iter().any(|call| is_of(call, operation));
                    assert!(occurs, "{operation} is exempt ({why}) but never called");
                }
                let is_spared = |call: &String| spared.iter().any(|(operation, _)| is_of(call, operation));
                calls.iter().filter(|call| !is_spared(call)).cloned().collect()
            }
            Points::Only(operations) => {
                let is_chosen = |call: &&String| operations.iter().any(|operation| is_of(call, operation));
                calls.iter().filter(is_chosen).cloned().collect()
            }
        };
        assert!(!chosen.is_empty(), "nothing is tried");
        chosen
    }
}

/// Writes a row of the table of docs/proofs.md, each test into its own file, and asserts that no point was missed.
fn report(scene: &Scene, phase: Phase, how: &str, planned: &Calls, converged: &Calls) {
    let (phase, cloud) = (phase.name(), scene.cloud());
    let row = format!("| `{phase}` | {how} | {cloud} | {} | {} |\n", planned.len(), converged.len());
    let file = format!("crashes-{phase}-{how}-{cloud}.md").replace(' ', "-");
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(file), &row).expect("the folder can be written to");
    print!("{row}");
    assert_eq!(planned - converged, Calls::new(), "{phase}, {how}: these calls of every undisturbed run did not occur");
}

macro_rules! proofs {
    ($($test:ident: $scene:ident, $phase:ident, $how:ident, $points:expr;)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            proofs!(@ $how, Scene::$scene().await, Phase::$phase, $points)
        })*
    };
    (@ Kill, $scene:expr, $phase:expr, $points:expr) => { killed_anywhere_it_converges($scene, $phase, $points).await };
    (@ Before, $scene:expr, $phase:expr, $points:expr) => {
        reset_anywhere_it_completes($scene, $phase, "reset before", Fault::ResetBefore, $points).await
    };
    (@ After, $scene:expr, $phase:expr, $points:expr) => {
        reset_anywhere_it_completes($scene, $phase, "reset after", Fault::ResetAfter, $points).await
    };
}

const ALL: Points = Points::AllBut(&[]);
const OF_A_DOMAIN: Points = Points::Only(domain::OPERATIONS);
const OF_RULES: Points = Points::Only(shared::OPERATIONS);

/// Calls that a client repeats if their answer is lost. AWS returns the existing resource, or reports that it exists;
/// moto creates a second one (docs/aws.md §17), so that ours could not be identified.
const MADE_TWICE_BY_MOTO: &[(&str, &str)] = &[
    ("CreateLoadBalancer", "moto gives every load balancer an ARN of its own, whatever its name"),
    ("CreateListener", "moto takes a second listener at the same port"),
    ("CreateAutoScalingGroup", "moto replaces the group and keeps the first one's instances, for which `down` waits"),
];

/// AWS creates a bucket together with its tags. moto drops them, and the next run rightly refuses a bucket without an
/// owner: it would only seem to converge because moto remembers the tags of a deleted bucket of the same name.
const UNTAGGED_BY_MOTO: &[(&str, &str)] = &[("CreateBucket", "moto ignores the tags of the creation")];

proofs! {
    up_killed_after_any_call_is_completed_by_the_next: local, Up, Kill, ALL;
    a_change_killed_after_any_call_is_completed_by_the_next: local, Change, Kill, ALL;
    a_change_of_the_port_killed_after_any_call_is_completed_by_the_next: local, Move, Kill, ALL;
    a_removal_killed_after_any_call_is_completed_by_the_next: local, Shrink, Kill, ALL;
    a_rollback_killed_after_any_call_is_completed_by_the_next: local, Rollback, Kill, ALL;
    a_rollback_of_a_function_killed_after_any_call_is_completed_by_the_next: local, RollbackFunction, Kill, ALL;
    a_pause_killed_after_any_call_is_completed_by_the_next: local, Pause, Kill, ALL;
    a_resume_killed_after_any_call_is_completed_by_the_next: local, Resume, Kill, ALL;
    down_killed_after_any_call_is_completed_by_the_next: local, Down, Kill, ALL;
    up_survives_a_reset_before_any_call: local, Up, Before, ALL;
    up_survives_a_reset_after_any_call: local, Up, After, ALL;
    a_change_survives_a_reset_before_any_call: local, Change, Before, ALL;
    a_change_survives_a_reset_after_any_call: local, Change, After, ALL;
    a_pause_survives_a_reset_before_any_call: local, Pause, Before, ALL;
    a_pause_survives_a_reset_after_any_call: local, Pause, After, ALL;
    a_resume_survives_a_reset_before_any_call: local, Resume, Before, ALL;
    a_resume_survives_a_reset_after_any_call: local, Resume, After, ALL;
    down_survives_a_reset_before_any_call: local, Down, Before, ALL;
    down_survives_a_reset_after_any_call: local, Down, After, ALL;
    up_at_a_domain_killed_after_any_call_is_completed_by_the_next: domain, Serve, Kill, OF_A_DOMAIN;
    a_removed_domain_killed_after_any_call_is_completed_by_the_next: domain, Plain, Kill, OF_A_DOMAIN;
    down_at_a_domain_killed_after_any_call_is_completed_by_the_next: domain, Close, Kill, OF_A_DOMAIN;
    up_at_a_domain_survives_a_reset_before_any_call: domain, Serve, Before, OF_A_DOMAIN;
    up_at_a_domain_survives_a_reset_after_any_call: domain, Serve, After, OF_A_DOMAIN;
    up_of_two_services_killed_after_any_rule_is_completed_by_the_next: shared, Share, Kill, OF_RULES;
    another_path_killed_after_any_rule_is_completed_by_the_next: shared, Reroute, Kill, OF_RULES;
    a_removed_service_killed_after_any_rule_is_completed_by_the_next: shared, Part, Kill, OF_RULES;
    down_of_two_services_killed_after_any_rule_is_completed_by_the_next: shared, Leave, Kill, OF_RULES;
    up_of_two_services_survives_a_reset_before_any_rule: shared, Share, Before, OF_RULES;
    up_of_two_services_survives_a_reset_after_any_rule: shared, Share, After, OF_RULES;
    another_path_survives_a_reset_before_any_rule: shared, Reroute, Before, OF_RULES;
    another_path_survives_a_reset_after_any_rule: shared, Reroute, After, OF_RULES;
    on_moto_up_killed_after_any_call_is_completed_by_the_next: moto, Up, Kill, Points::AllBut(UNTAGGED_BY_MOTO);
    on_moto_a_pause_killed_after_any_call_is_completed_by_the_next: moto, Pause, Kill, ALL;
    on_moto_down_killed_after_any_call_is_completed_by_the_next: moto, Down, Kill, ALL;
    on_moto_up_survives_a_reset_before_any_call: moto, Up, Before, ALL;
    on_moto_up_survives_a_reset_after_any_call: moto, Up, After, Points::AllBut(MADE_TWICE_BY_MOTO);
    on_moto_down_survives_a_reset_before_any_call: moto, Down, Before, ALL;
    on_moto_down_survives_a_reset_after_any_call: moto, Down, After, ALL;
}

/// Requested by a run that was killed right after that, and not listed at once: the next run must not request another.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_listed_yet_is_not_requested_twice() {
    let scene = Scene::domain().await;
    let goal = scene.undisturbed(Phase::Serve).await.goal;
    assert!(scene.kill_at(Phase::Serve, "RequestCertificate#1").await);
    let none = r#"{"CertificateSummaryList":[]}"#;
    // The plan, its check under the lease, and polls after the request.
    scene.proxy.inject(["ListCertificates"], Fault::Answered(none.into()), 6);
    scene.done(Phase::Serve).await;
    assert!(scene.proxy.calls().contains(&"RequestCertificate#1".to_owned()), "it cannot know of the first request");
    scene.assert_settled(Phase::Serve, &goal, "its certificate was not listed").await;
    scene.clear().await;
    scene.end().await;
}

/// Everything that is no longer in the description is removed: what remains equals a stack that was always small. Only
/// programs stay until `down`: an older instance that is restarted downloads the one that it was created with.
#[tokio::test(flavor = "multi_thread")]
async fn a_shrunk_stack_equals_one_that_was_always_small() {
    let scene = Scene::local().await;
    let mut shrunk = scene.undisturbed(Phase::Shrink).await.goal;
    shrunk.retain(|thing, _| !(thing.starts_with("object ") && thing.contains("/services/")));
    scene.describe_guarded();
    scene.begin(Phase::Shrink).await;
    scene.done(Phase::Up).await;
    assert_eq!(shrunk, scene.inventory().await);
    scene.clear().await;
    scene.end().await;
}

/// The seed of the random points below, unless CRASHES_SEED sets another.
const SEED: u64 = 20_241_124;
/// The number of random points of each loop.
const DRAWN: usize = 12;

fn random() -> (u64, fastrand::Rng) {
    let seed = std::env::var("CRASHES_SEED").map_or(SEED, |seed| seed.parse().expect("a number"));
    println!("CRASHES_SEED={seed}");
    (seed, fastrand::Rng::with_seed(seed))
}

/// Kills a command at random calls, including reads, and runs the opposite command after each.
async fn killed_at_random_and_followed_by(killed: Phase, next: Phase) {
    let (seed, mut random) = random();
    let scene = Scene::local().await;
    let calls: Vec<String> = scene.steady(killed).await.calls.into_iter().collect();
    let goal = scene.undisturbed(next).await.goal;
    let mut met = 0;
    for _ in 0..DRAWN {
        let call = random.choice(&calls).expect("every command makes calls");
        scene.prepare(killed).await;
        met += usize::from(scene.kill_at(killed, call).await);
        scene.done(next).await;
        let there = scene.inventory().await;
        let after = format!("CRASHES_SEED={seed}: {} killed at {call}", killed.name());
        scene.assert_settled(next, &with_picture_of(&goal, &there), &after).await;
        scene.clear().await;
    }
    assert!(met > DRAWN / 2, "CRASHES_SEED={seed}: only {met} of {DRAWN} were killed");
    scene.end().await;
}

/// Adds the object in the bucket to the goal if it still exists: `down` may or may not have deleted it.
fn with_picture_of(goal: &Inventory, there: &Inventory) -> Inventory {
    let picture = there.iter().filter(|(thing, _)| thing.starts_with("object ") && thing.ends_with(PICTURE));
    goal.iter().chain(picture).map(|(thing, count)| (thing.clone(), *count)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn up_killed_at_any_random_call_is_undone_by_down() {
    killed_at_random_and_followed_by(Phase::Up, Phase::Down).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn down_killed_at_any_random_call_is_repaired_by_up() {
    killed_at_random_and_followed_by(Phase::Down, Phase::Up).await;
}

/// A sequence of commands, each killed at a random call; only the last one is undisturbed.
#[tokio::test(flavor = "multi_thread")]
async fn any_sequence_of_killed_commands_can_be_completed_by_up_or_down() {
    let (seed, mut random) = random();
    let scene = Scene::local().await;
    let up = scene.undisturbed(Phase::Up).await;
    let down = scene.undisturbed(Phase::Down).await;
    for _ in 0..8 {
        let mut steps = Vec::new();
        for _ in 0..random.usize(2..=4) {
            let (phase, calls) = if random.bool() { (Phase::Up, &up) } else { (Phase::Down, &down) };
            let calls: Vec<&String> = calls.mutating.iter().collect();
            let call = random.choice(calls).expect("every command changes something");
            steps.push(format!("{} killed at {call}", phase.name()));
            scene.kill_at(phase, call).await;
        }
        let steps = format!("CRASHES_SEED={seed}: {}", steps.join(", "));
        let (last, goal) = if random.bool() { (Phase::Up, &up.goal) } else { (Phase::Down, &Inventory::new()) };
        scene.done(last).await;
        scene.assert_settled(last, goal, &steps).await;
    }
    scene.clear().await;
    scene.end().await;
}

/// Of the mutating calls, every n-th is tried as the last one before the connection is cut.
const SAMPLED: usize = 7;

/// A run that has lost its connection ends on its own and reports that, and the same command continues.
async fn without_a_connection_it_ends_by_itself(phase: Phase) {
    let scene = Scene::local().await;
    let Undisturbed { goal, mutating, .. } = scene.steady(phase).await;
    // The lease is given back when all work is done: if that fails, it expires.
    let sample = mutating.iter().filter(|call| !call.starts_with("DeleteObject#"));
    let sample: Calls = sample.step_by(SAMPLED).cloned().collect();
    let ended = at_every_point(&sample, async |call| {
        scene.prepare(phase).await;
        scene.proxy.inject([call], Fault::CutAfter, 1);
        let said = scene.run(phase.arguments()).await;
        let met = scene.proxy.hit().contains(call);
        assert_eq!(said.code, i32::from(met), "{call}: {}", said.all());
        assert!(!met || said.stderr.contains("the same command continues"), "{call}: {}", said.all());
        scene.proxy.reset();
        scene.done(phase).await;
        scene.assert_settled(phase, &goal, &format!("without a connection from {call} on")).await;
        scene.clear().await;
        met
    })
    .await;
    assert_eq!(ended, sample, "a call of every undisturbed run did not occur");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn up_without_a_connection_ends_by_itself_and_is_continued_by_the_next() {
    without_a_connection_it_ends_by_itself(Phase::Up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn down_without_a_connection_ends_by_itself_and_is_continued_by_the_next() {
    without_a_connection_it_ends_by_itself(Phase::Down).await;
}
