//! No fault of the cloud or of the line reaches the user: every call of `up` and of `down` meets each of them, and
//! the command completes.

mod support;

use std::path::Path;

use support::{
    line::{Calls, Trouble},
    scene::{Phase, Scene},
    world::Inventory,
};

/// In how many runs all calls have had their turn. Calls far apart meet the fault in one run.
const ROUNDS: usize = 4;

async fn every_call_gets_over(what: &str, trouble: Trouble, times: usize) {
    let scene = Scene::ours().await;
    let up = scene.undisturbed(Phase::Up).await;
    let down = scene.undisturbed(Phase::Down).await;
    let (mut met_by_up, mut met_by_down) = (Calls::new(), Calls::new());
    for round in 0..ROUNDS {
        let turn = |calls: &Calls| -> Calls { calls.iter().skip(round).step_by(ROUNDS).cloned().collect() };

        let mut spoilt = turn(&up.calls);
        met_by_up.extend(meet(&scene, Phase::Up, &mut spoilt, &trouble, times).await);
        scene.assert_settled(Phase::Up, &up.goal, what).await;

        let mut spoilt = turn(&down.calls);
        met_by_down.extend(meet(&scene, Phase::Down, &mut spoilt, &trouble, times).await);
        scene.assert_settled(Phase::Down, &Inventory::new(), what).await;
    }
    report(what, Phase::Up, &up.calls, &met_by_up);
    report(what, Phase::Down, &down.calls, &met_by_down);
    scene.end().await;
    the_wait_for_health_gets_over(&trouble, times).await;
}

/// What `up` asks while it waits for health, beside what it asks before.
const WAIT: [&str; 2] = ["DescribeTargetHealth", "DescribeScalingActivities"];
/// What it asks when it has waited long enough.
const REASONS: [&str; 3] = ["DescribeTargetHealth", "DescribeScalingActivities", "GetConsoleOutput"];

/// The targets take their time, and each call of the wait meets the trouble: it completes. They never come: the reasons
/// are told all the same.
async fn the_wait_for_health_gets_over(trouble: &Trouble, times: usize) {
    let scene = Scene::ours().await;
    scene.done(Phase::Up).await;
    let not_yet = || Trouble::reworded(&[("<State>healthy</State>", "<State>initial</State>")]);

    scene.line.mend();
    scene.line.spoil(WAIT, trouble.clone(), times);
    scene.line.spoil(["DescribeTargetHealth"], not_yet(), 2);
    let said = scene.run(&["up", "--yes", "--timeout", "2"]).await;
    assert_eq!(said.code, 0, "{trouble:?}: {}", said.all());
    assert!(!said.stderr.contains("error") && !said.stderr.contains('✗'), "{}", said.stderr);
    assert_eq!(scene.line.spoilt(), WAIT.map(str::to_owned).into());

    scene.line.mend();
    scene.line.spoil(REASONS, trouble.clone(), times);
    scene.line.spoil(["DescribeTargetHealth"], not_yet(), usize::MAX);
    let said = scene.run(&["up", "--yes", "--timeout", "2", "--healthy-within", "1"]).await;
    assert_eq!(said.code, 1, "{trouble:?}: {}", said.all());
    let reasons = ["NotHealthy", "is initial", "tiny_service listens"];
    assert!(reasons.iter().all(|reason| said.stderr.contains(reason)), "{trouble:?}: {}", said.stderr);
    assert_eq!(scene.line.spoilt(), REASONS.map(str::to_owned).into());

    scene.clear().await;
    scene.end().await;
}

/// Runs a command whose calls meet the trouble. The user sees nothing of it but time.
async fn meet(scene: &Scene, phase: Phase, calls: &mut Calls, trouble: &Trouble, times: usize) -> Calls {
    scene.line.mend();
    scene.line.spoil(std::mem::take(calls), trouble.clone(), times);
    let mut arguments = phase.arguments().to_vec();
    arguments.extend(["--timeout", "2"]);
    let said = scene.run(&arguments).await;
    assert_eq!(said.code, 0, "{phase:?} with {trouble:?}: {}", said.all());
    assert!(!said.stderr.contains("error") && !said.stderr.contains('✗'), "{}", said.stderr);
    scene.line.spoilt()
}

fn report(what: &str, phase: Phase, calls: &Calls, met: &Calls) {
    let kinds = |calls: &Calls| calls.iter().filter_map(|call| call.split('#').next()).map(str::to_owned).collect();
    let (all, kinds_met): (Calls, Calls) = (kinds(calls), kinds(met));
    let never: Vec<_> = all.difference(&kinds_met).collect();
    assert!(never.is_empty(), "{what}: {} never met it with {never:?}", phase.name());
    let row = format!("| `{}` | {what} | {} | {} |\n", phase.name(), met.len(), met.len());
    let file = format!("faults-{}-{what}.md", phase.name()).replace(' ', "-");
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(file), &row).expect("the folder can be written to");
    print!("{row}");
}

macro_rules! proofs {
    ($($test:ident: $what:literal, $trouble:expr, $times:literal;)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            every_call_gets_over($what, $trouble, $times).await;
        })*
    };
}

proofs! {
    every_call_gets_over_being_throttled_five_times: "throttled five times", Trouble::Throttled, 5;
    every_call_gets_over_an_internal_error: "internal error (500)", Trouble::refused(500, "InternalError", "We encountered an internal error."), 1;
    every_call_gets_over_an_unavailable_service: "unavailable (503)", Trouble::refused(503, "ServiceUnavailable", "The service is unavailable."), 1;
    every_call_gets_over_silence: "no answer in time", Trouble::Silence, 1;
    every_call_gets_over_a_reset_before_its_effect: "reset before the effect", Trouble::Before, 1;
    every_call_gets_over_a_reset_after_its_effect: "reset after the effect", Trouble::After, 1;
    every_call_gets_over_half_an_answer: "half an answer", Trouble::Truncated, 1;
}
