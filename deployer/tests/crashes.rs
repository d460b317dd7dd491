//! No crash can hurt a stack: the deployer is killed after every call that changes something, the line is cut before
//! and after every such call, and the same command makes good what is left. Against our own AWS and against moto.

mod support;

use std::path::Path;

use support::{
    line::{Calls, Trouble},
    scene::{Phase, Scene, Undisturbed},
    world::Inventory,
};

/// Kills at every call; the same command must then make of it what an undisturbed run makes.
async fn killed_anywhere_it_converges(scene: Scene, phase: Phase) {
    let Undisturbed { goal, mutating, .. } = scene.undisturbed(phase).await;
    let mut points = Calls::new();
    for call in &mutating {
        scene.prepare(phase).await;
        if scene.kill_at(phase, call).await {
            points.insert(call.clone());
            scene.done(phase).await;
        }
        scene.assert_settled(phase, &goal, &format!("killed at {call}")).await;
        scene.clear().await;
    }
    report(&scene, phase, "killed", &mutating, &points);
    scene.end().await;
}

/// Cuts the line once, before or after the effect of every call: the run itself must get over it.
async fn cut_anywhere_it_completes(scene: Scene, phase: Phase, how: &str, cut: Trouble) {
    let Undisturbed { goal, mutating, .. } = scene.undisturbed(phase).await;
    let mut points = Calls::new();
    for call in &mutating {
        scene.prepare(phase).await;
        scene.line.spoil([call], cut.clone(), 1);
        scene.done(phase).await;
        points.extend(scene.line.spoilt());
        scene.assert_settled(phase, &goal, &format!("{how} {call}")).await;
        scene.clear().await;
    }
    report(&scene, phase, how, &mutating, &points);
    scene.end().await;
}

/// Adds a row to the table that the README shows; every test writes its own file.
fn report(scene: &Scene, phase: Phase, how: &str, calls: &Calls, points: &Calls) {
    // Calls that take turns may differ from run to run by one that was refused and repeated: a second or third of
    // its kind. Each kind has had its turn.
    let kinds = |calls: &Calls| calls.iter().filter_map(|call| call.split('#').next()).map(str::to_owned).collect();
    let (all, met): (Calls, Calls) = (kinds(calls), kinds(points));
    assert_eq!(met, all, "{phase:?} {how}: some kinds of calls were never met");
    let (phase, cloud, points) = (phase.name(), scene.cloud(), points.len());
    let row = format!("| `{phase}` | {how} | {cloud} | {points} | {points} |\n");
    let file = format!("crashes-{phase}-{how}-{cloud}.md").replace(' ', "-");
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(file), &row).expect("the folder can be written to");
    print!("{row}");
}

macro_rules! proofs {
    ($($test:ident: $scene:ident, $phase:ident, $how:ident;)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            proofs!(@ $how, Scene::$scene().await, Phase::$phase)
        })*
    };
    (@ Kill, $scene:expr, $phase:expr) => { killed_anywhere_it_converges($scene, $phase).await };
    (@ Before, $scene:expr, $phase:expr) => {
        cut_anywhere_it_completes($scene, $phase, "cut before", Trouble::Before).await
    };
    (@ After, $scene:expr, $phase:expr) => {
        cut_anywhere_it_completes($scene, $phase, "cut after", Trouble::After).await
    };
}

proofs! {
    up_killed_after_any_call_is_completed_by_the_next: ours, Up, Kill;
    a_change_killed_after_any_call_is_completed_by_the_next: ours, Change, Kill;
    another_port_killed_after_any_call_is_completed_by_the_next: ours, Move, Kill;
    down_killed_after_any_call_is_completed_by_the_next: ours, Down, Kill;
    up_gets_over_a_line_cut_before_any_call: ours, Up, Before;
    up_gets_over_a_line_cut_after_any_call: ours, Up, After;
    a_change_gets_over_a_line_cut_before_any_call: ours, Change, Before;
    a_change_gets_over_a_line_cut_after_any_call: ours, Change, After;
    down_gets_over_a_line_cut_before_any_call: ours, Down, Before;
    down_gets_over_a_line_cut_after_any_call: ours, Down, After;
    on_moto_up_killed_after_any_call_is_completed_by_the_next: motos, Up, Kill;
    on_moto_down_killed_after_any_call_is_completed_by_the_next: motos, Down, Kill;
}

/// What the walk below takes its steps from, unless DEPLOYER_TEST_SEED says otherwise.
const SEED: u64 = 20_241_124;

/// Commands killed anywhere, one after the other, in any order; the last one is left alone.
#[tokio::test(flavor = "multi_thread")]
async fn any_row_of_killed_commands_can_be_ended_by_up_or_by_down() {
    let seed = std::env::var("DEPLOYER_TEST_SEED").map_or(SEED, |seed| seed.parse().expect("a number"));
    println!("DEPLOYER_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let scene = Scene::ours().await;
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
        let steps = format!("seed {seed}: {}", steps.join(", "));
        let (last, goal) = if random.bool() { (Phase::Up, &up.goal) } else { (Phase::Down, &Inventory::new()) };
        scene.done(last).await;
        scene.assert_settled(last, goal, &steps).await;
    }
    scene.clear().await;
    scene.end().await;
}
