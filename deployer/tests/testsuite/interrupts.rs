//! Ctrl-C and SIGTERM: after the first, the calls in flight finish and the result is reported; the second ends the run
//! immediately; and the same command continues.

use rustix::process::Signal;
use testkit::proxy::InjectedFault;

use crate::support::{
    RunOutput,
    cloud::upload,
    inventory::Inventory,
    run::Run,
    scene::{Phase, Scene},
    terminal::{CTRL_C, Terminal},
};

/// Waits for the end of an interrupted run.
async fn interrupted(run: Run) -> RunOutput {
    let said = run.end().await;
    assert_eq!(said.code, 130, "{}", said.all());
    said
}

/// The same command continues an interrupted `up`.
async fn up_continues(scene: Scene, goal: &Inventory, after: &str) {
    scene.proxy.reset();
    scene.done(Phase::Up).await;
    scene.assert_settled(Phase::Up, goal, after).await;
    scene.clear().await;
    scene.end().await;
}

/// The same command continues an interrupted `down`.
async fn down_continues(scene: Scene) {
    scene.proxy.reset();
    scene.done(Phase::Down).await;
    assert_eq!(scene.inventory().await, Inventory::new());
    scene.end().await;
}

/// One signal during a wait: everything that has begun is finished, nothing new begins.
async fn one_signal_finishes_what_was_begun(signal: Signal) {
    let scene = Scene::local().await;
    let goal = scene.undisturbed(Phase::Up).await.goal;
    scene.proxy.reset();
    scene.proxy.inject(["CreateListener"], InjectedFault::refused(400, "CertificateNotFound", "not yet"), usize::MAX);
    let mut run = Run::start(&scene, Phase::Up.arguments());
    run.hear("listener.web: waiting: not yet").await;
    run.signal(signal);
    let said = interrupted(run).await;
    assert!(said.stderr.contains("stopping after the calls in flight"), "{}", said.stderr);
    assert!(said.stderr.contains("the same command continues"), "{}", said.stderr);
    assert!(!said.stderr.contains("auto_scaling_group.web: creating"), "nothing new was begun: {}", said.stderr);
    up_continues(scene, &goal, "interrupted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_ctrl_c_finishes_the_calls_in_flight_and_reports() {
    one_signal_finishes_what_was_begun(Signal::INT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_sigterm_finishes_the_calls_in_flight_and_reports() {
    one_signal_finishes_what_was_begun(Signal::TERM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_ctrl_c_leaves_at_once_and_hurts_nothing() {
    the_second_signal_leaves_at_once(Signal::INT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_sigterm_leaves_at_once_and_hurts_nothing() {
    the_second_signal_leaves_at_once(Signal::TERM).await;
}

async fn the_second_signal_leaves_at_once(signal: Signal) {
    let scene = Scene::local().await;
    let goal = scene.undisturbed(Phase::Up).await.goal;
    // A call that never returns: the first signal waits for it.
    scene.proxy.inject(["CreateTable"], InjectedFault::Hang, usize::MAX);
    let mut run = Run::start(&scene, Phase::Up.arguments());
    run.hear("listener.web  created").await;
    run.signal(signal);
    run.hear("press again to exit at once").await;
    run.signal(signal);
    interrupted(run).await;
    up_continues(scene, &goal, "interrupted twice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_down_is_continued_by_the_next() {
    let scene = Scene::local().await;
    scene.prepare(Phase::Down).await;
    let in_use = InjectedFault::refused(400, "ResourceInUse", "not yet");
    scene.proxy.inject(["DeleteTargetGroup"], in_use, usize::MAX);
    let mut run = Run::start(&scene, Phase::Down.arguments());
    run.hear("target_group.web: waiting: not yet").await;
    run.signal(Signal::INT);
    interrupted(run).await;
    down_continues(scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_signal_leaves_a_down_that_the_next_continues() {
    let scene = Scene::local().await;
    scene.prepare(Phase::Down).await;
    scene.proxy.inject(["DeleteTable"], InjectedFault::Hang, usize::MAX);
    let mut run = Run::start(&scene, Phase::Down.arguments());
    run.hear("listener.web  deleted").await;
    run.signal(Signal::INT);
    run.hear("press again to exit at once").await;
    run.signal(Signal::TERM);
    interrupted(run).await;
    down_continues(scene).await;
}

/// As long as no work has begun, the run ends immediately and reports that nothing was changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_while_reading_ends_the_run_with_the_exit_code_of_an_interrupt() {
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    scene.proxy.reset();
    // A call that never returns.
    scene.proxy.inject(["ListBuckets"], InjectedFault::Hang, usize::MAX);
    for command in [&["plan"][..], &["up", "--yes"], &["down", "--yes"]] {
        let mut run = Run::start(&scene, command);
        run.hear("postagram in account").await;
        run.signal(Signal::TERM);
        let said = run.end().await;
        assert_eq!(said.code, 130, "{command:?}: {}", said.all());
        assert!(said.stderr.contains("error: interrupted"), "{command:?}: {}", said.stderr);
    }
    assert_eq!(scene.proxy.mutating(), Vec::<String>::new(), "nothing was changed");
    scene.clear().await;
    scene.end().await;
}

/// The same before the first answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_before_the_first_answer_ends_the_run_with_the_exit_code_of_an_interrupt() {
    let scene = Scene::local().await;
    scene.proxy.inject(["GetCallerIdentity"], InjectedFault::Hang, usize::MAX);
    let run = Run::start(&scene, Phase::Up.arguments());
    testkit::eventually("the first call", async || (!scene.proxy.calls().is_empty()).then_some(())).await;
    run.signal(Signal::TERM);
    let said = interrupted(run).await;
    assert!(said.stderr.contains("nothing was changed; the same command continues"), "{}", said.stderr);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_at_a_question_is_an_interrupt_and_not_an_answer() {
    let scene = Scene::local().await;
    let mut terminal = Terminal::of(&scene.command(&["up"]));
    terminal.see("Go ahead?").await;
    terminal.press(CTRL_C).await;
    let said = terminal.end().await;
    assert_eq!(said.code, 130, "{}", said.all());
    assert!(said.stderr.contains("nothing was changed; the same command continues"), "{}", said.stderr);
    assert_eq!(scene.inventory().await, Inventory::new());
    scene.end().await;
}

/// `up` waits for another run and then prompts again: Ctrl-C ends that, too.
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_at_a_question_after_a_wait_for_another_run_is_an_interrupt() {
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    scene.proxy.reset();
    // The other run holds the lease while it waits.
    let busy = InjectedFault::refused(400, "ScalingActivityInProgress", "not yet");
    scene.proxy.inject(["UpdateAutoScalingGroup"], busy, usize::MAX);
    scene.describe_change();
    let mut other = Run::start(&scene, Phase::Up.arguments());
    other.hear("auto_scaling_group.web: waiting: not yet").await;
    let mut terminal = Terminal::of(&scene.command(&["down", "--wait"]));
    terminal.see("Type postagram").await;
    terminal.press("postagram\n").await;
    terminal.see("to finish").await;
    upload(&scene.endpoint(), scene.keys, "another picture").await;
    scene.proxy.reset();
    assert_eq!(other.end().await.code, 0);
    terminal.see("the stack has changed in the meantime").await;
    terminal.see("to remove all this: ").await;
    terminal.press(CTRL_C).await;
    let said = terminal.end().await;
    assert_eq!(said.code, 130, "{}", said.all());
    scene.clear().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_wait_for_health() {
    let scene = Scene::local().await;
    let goal = scene.undisturbed(Phase::Up).await.goal;
    let never = InjectedFault::reworded(&[("<State>healthy</State>", "<State>initial</State>")]);
    scene.proxy.inject(["DescribeTargetHealth"], never, usize::MAX);
    let mut run = Run::start(&scene, &["up", "--yes"]);
    run.hear("service.web: 0 of 1 healthy").await;
    run.signal(Signal::TERM);
    let said = interrupted(run).await;
    assert!(said.stderr.contains("the same command continues"), "{}", said.stderr);
    up_continues(scene, &goal, "interrupted").await;
}
