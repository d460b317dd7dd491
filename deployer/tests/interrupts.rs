//! Ctrl-C and SIGTERM: the first lets the calls in flight finish and says what is done, the second leaves at once, and
//! the same command continues.

mod support;

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use support::{
    Said,
    line::Trouble,
    scene::{Phase, Scene},
    world::Inventory,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, ChildStderr},
};

/// A run of the deployer that is being listened to.
struct Run {
    child: Child,
    stderr: BufReader<ChildStderr>,
    heard: String,
}

impl Run {
    fn start(scene: &Scene, arguments: &[&str]) -> Run {
        let mut child = scene.command(arguments).stdout(Stdio::null()).spawn().expect("the deployer can be started");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        Run { child, stderr, heard: String::new() }
    }

    /// Reads on until this has been said.
    async fn hear(&mut self, text: &str) {
        while !self.heard.contains(text) {
            let read = self.stderr.read_line(&mut self.heard).await.expect("it speaks UTF-8");
            assert_ne!(read, 0, "it ended without saying {text:?}: {}", self.heard);
        }
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("it runs");
        let id = i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("it can be signalled");
    }

    async fn end(mut self) -> Said {
        self.stderr.read_to_string(&mut self.heard).await.expect("it speaks UTF-8");
        let status = self.child.wait().await.expect("it ends");
        Said { code: status.code().unwrap_or(-1), stdout: String::new(), stderr: self.heard }
    }
}

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
