//! Ctrl-C and SIGTERM: the first lets the calls in flight finish and says what is done, the second leaves at once, and
//! the same command continues.

mod support;

use rustix::process::Signal;
use support::{
    line::Trouble,
    run::Run,
    scene::{Phase, Scene},
    world::Inventory,
};

/// One signal in the middle of a wait: everything that was begun is finished, nothing new is begun.
async fn one_signal_finishes_what_was_begun(signal: Signal) {
    let scene = Scene::ours().await;
    let goal = scene.undisturbed(Phase::Up).await.goal;
    scene.line.mend();
    scene.line.spoil(["CreateListener"], Trouble::refused(400, "CertificateNotFound", "not yet"), usize::MAX);
    let mut run = Run::start(&scene, Phase::Up.arguments());
    run.hear("listener.web: waiting: not yet").await;
    run.signal(signal);
    let said = run.end().await;
    assert_eq!(said.code, 130, "{}", said.all());
    assert!(said.stderr.contains("stopping after the calls in flight"), "{}", said.stderr);
    assert!(said.stderr.contains("the same command continues"), "{}", said.stderr);
    assert!(!said.stderr.contains("auto_scaling_group.web: creating"), "nothing new was begun: {}", said.stderr);
    scene.line.mend();
    scene.done(Phase::Up).await;
    scene.assert_settled(Phase::Up, &goal, "interrupted").await;
    scene.clear().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_ctrl_c_finishes_the_calls_in_flight_and_reports() {
    one_signal_finishes_what_was_begun(Signal::INT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_does_the_same() {
    one_signal_finishes_what_was_begun(Signal::TERM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_ctrl_c_leaves_at_once_and_hurts_nothing() {
    let scene = Scene::ours().await;
    let goal = scene.undisturbed(Phase::Up).await.goal;
    // A call that never returns: the first signal waits for it.
    scene.line.spoil(["CreateTable"], Trouble::Silence, usize::MAX);
    let mut run = Run::start(&scene, Phase::Up.arguments());
    run.hear("listener.web  created").await;
    run.signal(Signal::INT);
    run.hear("once more leaves at once").await;
    run.signal(Signal::INT);
    let said = run.end().await;
    assert_eq!(said.code, 130, "{}", said.all());
    scene.line.mend();
    scene.done(Phase::Up).await;
    scene.assert_settled(Phase::Up, &goal, "interrupted twice").await;
    scene.clear().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_down_is_continued_by_the_next() {
    let scene = Scene::ours().await;
    scene.prepare(Phase::Down).await;
    let in_use = Trouble::refused(400, "ResourceInUse", "not yet");
    scene.line.spoil(["DeleteTargetGroup"], in_use, usize::MAX);
    let mut run = Run::start(&scene, Phase::Down.arguments());
    run.hear("target_group.web: waiting: not yet").await;
    run.signal(Signal::INT);
    let said = run.end().await;
    assert_eq!(said.code, 130, "{}", said.all());
    scene.line.mend();
    scene.done(Phase::Down).await;
    assert_eq!(scene.inventory().await, Inventory::new());
    scene.end().await;
}
