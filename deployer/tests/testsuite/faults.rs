//! No fault of the cloud or of the connection reaches the user: every call of `up`, of an `up` that changes the stack, of
//! `rollback`, `pause`, `resume` and `down` meets each fault, and the command succeeds.

use std::{collections::BTreeSet, path::Path};

use testkit::{
    eventually,
    proxy::{Calls, InjectedFault, is_read, parts},
};
use tokio::sync::OnceCell;

use crate::support::{
    domain, network, options,
    scene::{Phase, Scene, Undisturbed},
    shared,
};

/// Commands, each of which starts from the result of the previous one.
struct Life {
    phases: &'static [Phase],
    /// The undisturbed runs, if they are the same in every scene. Those at a domain are not: the names of a hosted zone
    /// and of validation records are random.
    undisturbed: Option<OnceCell<Vec<Undisturbed>>>,
}

impl Life {
    const fn of(phases: &'static [Phase]) -> Life {
        Life { phases, undisturbed: Some(OnceCell::const_new()) }
    }
}

static LIFE: Life = Life::of(&[
    Phase::Up,
    Phase::Rollback,
    Phase::RollbackFunction,
    Phase::Change,
    Phase::Move,
    Phase::Pause,
    Phase::Resume,
    Phase::Down,
]);
/// The life of a service at a domain, of which only the calls for the domain are tried.
static LIFE_AT_A_DOMAIN: Life = Life { phases: &[Phase::Serve, Phase::Close], undisturbed: None };
/// The life of a service in a network of its own, of which only the calls for the network are tried.
static LIFE_IN_A_NETWORK: Life = Life::of(&[Phase::Settle, Phase::Leave]);
/// The life of a service without a load balancer, of which only the calls for its address are tried.
static LIFE_WITHOUT_A_BALANCER: Life = Life::of(&[Phase::Direct, Phase::Undirect]);
/// The operations that only such a service needs.
const OF_AN_ADDRESS: &[&str] = &["AllocateAddress", "DescribeAddresses", "DisassociateAddress", "ReleaseAddress"];
/// The life of a stack with optional lines, of which only the calls for these are tried.
static LIFE_WITH_OPTIONS: Life = Life::of(&[Phase::Up, Phase::Harden, Phase::Soften, Phase::Down]);
/// The life of services behind one load balancer, of which only the calls for rules are tried.
static LIFE_WITH_RULES: Life = Life::of(&[Phase::Share, Phase::Reroute, Phase::Swap, Phase::Part, Phase::Unshare]);
/// How many lives are observed to learn the calls of each command: the number of polls differs between runs.
const WATCHED: usize = 3;
/// The number of lives in which every call is tried once. Each run tries calls that are far apart.
const ROUNDS: usize = 4;
/// The same for the few calls for a domain, or for options.
const ROUNDS_OF_A_PART: usize = 2;
/// The number of additional lives for calls that were not made in their turn, because of a fault before them.
const MORE_ROUNDS: usize = 8;

/// The deletions that AWS refuses while something else is in use, so that they are repeated until it is gone.
const REPEATED: &[&str] =
    &["DeleteSecurityGroup", "DeleteSubnet", "DeleteTargetGroup", "DeleteVpc", "DetachInternetGateway"];

/// Whether the number of such calls may differ between two runs of a command.
fn is_poll(call: &str) -> bool {
    let (operation, number) = parts(call);
    is_read(operation) || number > 1 && REPEATED.contains(&operation)
}

/// The calls to try for one command, and those that have met the fault.
struct Proof {
    phase: Phase,
    undisturbed: Undisturbed,
    met: Calls,
}

impl Proof {
    /// The calls to try in this round: first each of them once, then those that have not been made.
    fn turn(&self, round: usize, rounds: usize) -> Calls {
        match round < rounds {
            true => self.undisturbed.calls.iter().skip(round).step_by(rounds).cloned().collect(),
            false => &self.undisturbed.calls - &self.met,
        }
    }

    /// Keeps only calls that a run without faults has made, besides those that met the fault. The number of polls
    /// depends on the load of the machine; other calls must occur in every run.
    fn do_without_all_but(&mut self, made: &Calls) {
        let met = &self.met;
        let must_come = |call: &String| met.contains(call) || made.contains(call) || !is_poll(call);
        self.undisturbed.calls.retain(must_come);
    }

    fn is_complete(&self) -> bool {
        self.undisturbed.calls.is_subset(&self.met)
    }
}

async fn every_call_survives(what: &str, fault: InjectedFault, times: usize) {
    let scene = Scene::local().await;
    let mut proofs = proofs_of(&scene, &LIFE).await;
    if fault == InjectedFault::Hang {
        spare_the_changes(&mut proofs);
    }
    all_survive(&scene, &mut proofs, ROUNDS, what, (&fault, times)).await;
    scene.end().await;
    the_wait_for_health_survives(&fault, times).await;
}

async fn every_call_for_a_domain_survives(what: &str, fault: InjectedFault, times: usize) {
    a_part_survives(Scene::domain().await, &LIFE_AT_A_DOMAIN, domain::OPERATIONS, what, (fault, times)).await;
}

async fn every_call_for_a_network_survives(what: &str, fault: InjectedFault, times: usize) {
    a_part_survives(Scene::network().await, &LIFE_IN_A_NETWORK, network::OPERATIONS, what, (fault, times)).await;
}

async fn every_call_for_an_address_survives(what: &str, fault: InjectedFault, times: usize) {
    a_part_survives(Scene::direct().await, &LIFE_WITHOUT_A_BALANCER, OF_AN_ADDRESS, what, (fault, times)).await;
}

async fn every_call_for_options_survives(what: &str, fault: InjectedFault, times: usize) {
    a_part_survives(Scene::local().await, &LIFE_WITH_OPTIONS, options::OPERATIONS, what, (fault, times)).await;
}

async fn every_call_for_rules_survives(what: &str, fault: InjectedFault, times: usize) {
    a_part_survives(Scene::shared().await, &LIFE_WITH_RULES, shared::OPERATIONS, what, (fault, times)).await;
}

/// The calls of these operations alone.
async fn a_part_survives(scene: Scene, life: &Life, part: &[&str], what: &str, (fault, times): (InjectedFault, usize)) {
    let mut proofs = proofs_of(&scene, life).await;
    for proof in &mut proofs {
        // Of reads, which are mostly polls, the first one.
        let is_tried = |call: &str| !is_read(call) || parts(call).1 == 1;
        proof.undisturbed.calls.retain(|call| part.contains(&parts(call).0) && is_tried(call));
    }
    all_survive(&scene, &mut proofs, ROUNDS_OF_A_PART, what, (&fault, times)).await;
    scene.end().await;
}

async fn all_survive(
    scene: &Scene,
    proofs: &mut [Proof],
    rounds: usize,
    what: &str,
    (fault, times): (&InjectedFault, usize),
) {
    for round in 0..rounds + MORE_ROUNDS {
        if round >= rounds && proofs.iter().all(Proof::is_complete) {
            break;
        }
        for proof in &mut *proofs {
            scene.begin(proof.phase).await;
            let met = meet(scene, proof.phase, proof.turn(round, rounds), fault, times).await;
            if met.is_empty() {
                proof.do_without_all_but(&scene.proxy.calls().into_iter().collect());
            }
            proof.met.extend(met);
            scene.assert_settled(proof.phase, &proof.undisturbed.goal, what).await;
        }
        scene.restore();
    }
    proofs.iter().for_each(|proof| report(what, proof));
}

/// Limits the changes to operations that only they call, and to the first call of each operation.
///
/// An unanswered call costs a second, and most calls of a change poll its roll-out: trying all of them would take
/// minutes. The timeout is the same for every call; operations differ only in how they react to a repeated call, and
/// one call of each is enough for that.
fn spare_the_changes(proofs: &mut [Proof]) {
    let is_change = |proof: &Proof| ![Phase::Up, Phase::Down].contains(&proof.phase);
    let (changes, others): (Vec<_>, Vec<_>) = proofs.iter_mut().partition(|proof| is_change(proof));
    let mut tried: BTreeSet<String> = others.iter().flat_map(|proof| operations(&proof.undisturbed.calls)).collect();
    for proof in changes {
        let calls = &mut proof.undisturbed.calls;
        let own = &operations(calls) - &tried;
        calls.retain(|call| call.strip_suffix("#1").is_some_and(|operation| own.contains(operation)));
        tried.extend(own);
    }
}

fn operations(calls: &Calls) -> BTreeSet<String> {
    calls.iter().map(|call| parts(call).0.to_owned()).collect()
}

/// The additional calls of `up` while it waits for health.
const WAIT: [&str; 2] = ["DescribeTargetHealth", "DescribeScalingActivities"];
/// The calls of `up` after the time limit for health.
const REASONS: [&str; 3] = ["DescribeTargetHealth", "DescribeScalingActivities", "GetConsoleOutput"];

/// If the targets become healthy late, and each call of the wait meets the fault, `up` succeeds. If they never do, the
/// reasons are still reported.
async fn the_wait_for_health_survives(fault: &InjectedFault, times: usize) {
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    let not_yet = || InjectedFault::reworded(&[("<State>healthy</State>", "<State>initial</State>")]);

    scene.proxy.reset();
    scene.proxy.inject(WAIT, fault.clone(), times);
    scene.proxy.inject(["DescribeTargetHealth"], not_yet(), 2);
    let said = scene.run(&["up", "--yes", "--timeout", "2"]).await;
    assert_eq!(said.code, 0, "{fault:?}: {}", said.all());
    assert!(!said.stderr.contains("error") && !said.stderr.contains('✗'), "{}", said.stderr);
    assert_eq!(scene.proxy.hit(), WAIT.map(str::to_owned).into());

    // An instance that was replaced a moment ago has not written anything yet.
    eventually("the reasons are reported", async || {
        scene.proxy.reset();
        scene.proxy.inject(REASONS, fault.clone(), times);
        scene.proxy.inject(["DescribeTargetHealth"], not_yet(), usize::MAX);
        let said = scene.run(&["up", "--yes", "--timeout", "2", "--healthy-within", "1"]).await;
        assert_eq!(said.code, 1, "{fault:?}: {}", said.all());
        let reasons = ["NotHealthy", "is initial", "tiny_service listens"];
        reasons.iter().all(|reason| said.stderr.contains(reason)).then_some(())
    })
    .await;
    assert_eq!(scene.proxy.hit(), REASONS.map(str::to_owned).into());

    scene.clear().await;
    scene.end().await;
}

/// Returns the goal and the calls of each command. Tests of the same life share the observation if they can.
async fn proofs_of(scene: &Scene, life: &Life) -> Vec<Proof> {
    let undisturbed = match &life.undisturbed {
        Some(shared) => shared.get_or_init(|| watch(scene, life.phases)).await.clone(),
        None => watch(scene, life.phases).await,
    };
    let commands = life.phases.iter().zip(undisturbed);
    commands.map(|(phase, undisturbed)| Proof { phase: *phase, undisturbed, met: Calls::new() }).collect()
}

/// Runs each command undisturbed several times, and returns its result and the calls that all runs have in common.
async fn watch(scene: &Scene, phases: &[Phase]) -> Vec<Undisturbed> {
    let mut lives: Vec<Vec<Undisturbed>> = Vec::new();
    for _ in 0..WATCHED {
        let mut seen = Vec::new();
        for phase in phases {
            scene.begin(*phase).await;
            seen.push(scene.watch(*phase).await);
        }
        scene.restore();
        lives.push(seen);
    }
    let steady = lives.into_iter().reduce(|all, life| {
        let both = all.into_iter().zip(&life);
        both.map(|(all, one)| all.and(one)).collect()
    });
    steady.expect("lives are watched")
}

/// Runs a command whose calls meet the fault. The user may notice only the delay.
async fn meet(scene: &Scene, phase: Phase, calls: Calls, fault: &InjectedFault, times: usize) -> Calls {
    scene.proxy.reset();
    scene.proxy.inject(calls, fault.clone(), times);
    let mut arguments = phase.arguments().to_vec();
    arguments.extend(["--timeout", patience(fault)]);
    let said = scene.run(&arguments).await;
    assert_eq!(said.code, 0, "{phase:?} with {fault:?}: {}", said.all());
    assert!(!said.stderr.contains("error") && !said.stderr.contains('✗'), "{}", said.stderr);
    scene.proxy.hit()
}

/// The timeout of a call in seconds: as short as possible if no answer will arrive.
fn patience(fault: &InjectedFault) -> &'static str {
    if matches!(fault, InjectedFault::Hang) { "1" } else { "2" }
}

/// Writes a row of a table, each command and fault into its own file, and asserts that no call was missed.
fn report(what: &str, Proof { phase, undisturbed, met }: &Proof) {
    let (phase, planned) = (phase.name(), &undisturbed.calls);
    let row = format!("| `{phase}` | {what} | {} | {} |\n", planned.len(), met.len());
    let file = format!("faults-{phase}-{what}.md").replace(' ', "-");
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(file), &row).expect("the folder can be written to");
    print!("{row}");
    assert_eq!(planned - met, Calls::new(), "{phase}, {what}: these calls of every undisturbed run never met it");
}

macro_rules! proofs {
    ($($test:ident: $what:literal, $fault:expr, $times:literal;)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            every_call_survives($what, $fault, $times).await;
        })*

        mod for_a_domain {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                every_call_for_a_domain_survives($what, $fault, $times).await;
            })*
        }

        mod for_a_network {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                every_call_for_a_network_survives($what, $fault, $times).await;
            })*
        }

        mod for_an_address {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                every_call_for_an_address_survives($what, $fault, $times).await;
            })*
        }

        mod for_options {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                every_call_for_options_survives($what, $fault, $times).await;
            })*
        }

        mod for_rules {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                every_call_for_rules_survives($what, $fault, $times).await;
            })*
        }
    };
}

proofs! {
    every_call_survives_being_throttled_five_times: "throttled five times", InjectedFault::Throttled, 5;
    every_call_survives_an_internal_error: "internal error (500)", InjectedFault::refused(500, "InternalError", "We encountered an internal error."), 1;
    every_call_survives_an_unavailable_service: "unavailable (503)", InjectedFault::refused(503, "ServiceUnavailable", "The service is unavailable."), 1;
    every_call_survives_an_answer_that_never_comes: "no answer in time", InjectedFault::Hang, 1;
    every_call_survives_a_reset_before_its_effect: "reset before the effect", InjectedFault::ResetBefore, 1;
    every_call_survives_a_reset_after_its_effect: "reset after the effect", InjectedFault::ResetAfter, 1;
    every_call_survives_a_truncated_answer: "half an answer", InjectedFault::Truncated, 1;
}
