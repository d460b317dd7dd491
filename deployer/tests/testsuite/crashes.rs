//! No crash can damage a stack: the deployer is killed after every mutating call, the connection is reset before and
//! after every such call, and the same command completes the work. Tested with the local AWS and with moto. This is
//! case 19 of docs/aws.md §19.

use std::{collections::VecDeque, path::Path};

use testkit::proxy::{Calls, InjectedFault, parts};

use crate::support::{
    domain,
    inventory::Inventory,
    network, options,
    scene::{PICTURE, Phase, Scene, Undisturbed, WATCHED},
    shared,
};

/// How often a point is tried if its call does not occur: the numbers of concurrent calls differ from run to run.
const TRIES: usize = 5;

/// How many calls of a run are reset: it survives all of them.
const RESETS: usize = 8;

/// Which of the mutating calls of a command are tried.
#[derive(Clone, Copy)]
enum Points {
    /// All except those of these operations, with the reason.
    AllBut(&'static [(&'static str, &'static str)]),
    /// Those of these operations. The others are tried elsewhere.
    Only(&'static [&'static str]),
    /// None: the command leads to the next one.
    None,
}

/// What happens at a point.
#[derive(Clone, Copy)]
enum Blow {
    /// The deployer is killed, and runs again.
    Kill,
    /// The connection is reset before the call takes effect: the run itself must survive that.
    Before,
    /// The connection is reset after the call has taken effect.
    After,
}

/// A command in the life of a stack, and its points that have not been met.
struct Proof {
    phase: Phase,
    goal: Inventory,
    planned: usize,
    met: usize,
    /// Each with the number of times that it has been tried.
    left: VecDeque<(String, usize)>,
}

/// Commands, each of which starts from the result of the previous one. The last one removes everything.
type Life = [(Phase, Points)];

/// Runs the commands of a life again and again, each disturbed at other ones of its calls. Each must then reach the state
/// of an undisturbed run.
async fn converges(scene: Scene, life: &Life, blow: Blow) {
    let mut proofs = watch(&scene, life).await;
    while proofs.iter().any(|proof| !proof.left.is_empty()) {
        for proof in &mut proofs {
            scene.begin(proof.phase).await;
            let tried: Vec<(String, usize)> = proof.left.drain(..blow.at_once().min(proof.left.len())).collect();
            if tried.is_empty() {
                scene.done(proof.phase).await;
                continue;
            }
            let calls: Vec<&str> = tried.iter().map(|(call, _)| &**call).collect();
            let met = blow.strike(&scene, proof.phase, &calls).await;
            let after = format!("{} {}", blow.name(), calls.join(", "));
            scene.assert_settled(proof.phase, &proof.goal, &after).await;
            for (call, tries) in tried {
                match met.contains(&call) {
                    true => proof.met += 1,
                    false if tries + 1 < TRIES => proof.left.push_back((call, tries + 1)),
                    false => panic!("{}: {call} of every undisturbed run did not occur", proof.phase.name()),
                }
            }
        }
        scene.assert_empty().await;
        scene.restore();
    }
    proofs.iter().filter(|proof| proof.planned > 0).for_each(|proof| proof.report(&scene, blow));
    scene.end().await;
}

/// Runs the life several times without a blow, and returns the goal and the points of each command.
async fn watch(scene: &Scene, life: &Life) -> Vec<Proof> {
    let mut lives = Vec::new();
    for _ in 0..WATCHED {
        let mut seen = Vec::new();
        for (phase, _) in life {
            scene.begin(*phase).await;
            seen.push(scene.watch(*phase).await);
        }
        scene.assert_empty().await;
        scene.restore();
        lives.push(seen);
    }
    let common = |all: Vec<Undisturbed>, life: Vec<Undisturbed>| {
        all.into_iter().zip(&life).map(|(all, one)| all.and(one)).collect()
    };
    let steady = lives.into_iter().reduce(common).expect("lives are watched");
    let proofs = life.iter().zip(steady).map(|((phase, points), Undisturbed { goal, mutating, .. })| {
        let planned = points.of(&mutating);
        let left = planned.into_iter().map(|call| (call, 0));
        Proof { phase: *phase, goal, planned: left.len(), met: 0, left: left.collect() }
    });
    proofs.collect()
}

impl Blow {
    /// At how many calls of one run it strikes.
    fn at_once(self) -> usize {
        match self {
            Blow::Kill => 1,
            Blow::Before | Blow::After => RESETS,
        }
    }

    /// Disturbs a command at these calls, completes it, and returns those that were made.
    async fn strike(self, scene: &Scene, phase: Phase, calls: &[&str]) -> Calls {
        // Shown when the test fails.
        println!("{}: {} {}", phase.name(), self.name(), calls.join(", "));
        let reset = match self {
            Blow::Kill => {
                let mut met = Calls::new();
                for call in calls {
                    if scene.kill_at(phase, call).await {
                        scene.assert_served(phase).await;
                        scene.done(phase).await;
                        met.insert((*call).to_owned());
                    }
                }
                return met;
            }
            Blow::Before => InjectedFault::ResetBefore,
            Blow::After => InjectedFault::ResetAfter,
        };
        scene.proxy.inject(calls.iter().copied(), reset, 1);
        scene.done(phase).await;
        scene.proxy.hit()
    }

    /// Its name in the table of docs/proofs.md.
    fn name(self) -> &'static str {
        match self {
            Blow::Kill => "killed",
            Blow::Before => "reset before",
            Blow::After => "reset after",
        }
    }
}

impl Points {
    /// Chooses from these calls. Each operation that is left out must occur among them, and so must one that is chosen.
    fn of(self, calls: &Calls) -> Calls {
        let is_of = |call: &str, operation: &str| parts(call).0 == operation;
        let chosen: Calls = match self {
            Points::None => return Calls::new(),
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

impl Proof {
    /// Writes a row of the table of docs/proofs.md, each into its own file.
    fn report(&self, scene: &Scene, blow: Blow) {
        let (phase, how, cloud) = (self.phase.name(), blow.name(), scene.cloud());
        let row = format!("| `{phase}` | {how} | {cloud} | {} | {} |\n", self.planned, self.met);
        let file = format!("crashes-{phase}-{how}-{cloud}.md").replace(' ', "-");
        std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(file), &row).expect("the folder can be written to");
        print!("{row}");
    }
}

macro_rules! proofs {
    ($($test:ident: $scene:ident, $blow:ident, [$($phase:ident: $points:expr),*];)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            converges(Scene::$scene().await, &[$((Phase::$phase, $points)),*], Blow::$blow).await;
        })*
    };
}

const ALL: Points = Points::AllBut(&[]);
const NONE: Points = Points::None;
const OF_A_DOMAIN: Points = Points::Only(domain::OPERATIONS);
const OF_A_NETWORK: Points = Points::Only(network::OPERATIONS);
const OF_OPTIONS: Points = Points::Only(options::OPERATIONS);
const OF_RULES: Points = Points::Only(shared::OPERATIONS);
const OF_AN_ADDRESS: Points = Points::Only(&[
    "AllocateAddress",
    "CreateLaunchTemplate",
    "DescribeAddresses",
    "DisassociateAddress",
    "ReleaseAddress",
]);
/// What replaces a load balancer with everything behind it.
const OF_A_REPLACEMENT: Points = Points::Only(&[
    "AuthorizeSecurityGroupEgress",
    "CreateAutoScalingGroup",
    "CreateListener",
    "CreateLoadBalancer",
    "CreateSecurityGroup",
    "CreateTargetGroup",
    "DeleteAutoScalingGroup",
    "DeleteLoadBalancer",
    "DeleteSecurityGroup",
    "DeleteTargetGroup",
    "ModifyLoadBalancerAttributes",
    "RevokeSecurityGroupEgress",
]);

/// What replaces a shared load balancer with the rules and target groups of the services behind it. The groups of their
/// instances are as without others.
const OF_A_SHARED_REPLACEMENT: Points = Points::Only(&[
    "CreateListener",
    "CreateLoadBalancer",
    "CreateRule",
    "CreateTargetGroup",
    "DeleteLoadBalancer",
    "DeleteRule",
    "DeleteTargetGroup",
    "ModifyRule",
]);

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

// On the local AWS, `faults` resets the connection before and after every call of these commands.
proofs! {
    up_changes_and_down_killed_after_any_call_are_completed_by_the_next:
        local, Kill, [Up: ALL, Change: ALL, Move: ALL, Down: ALL];
    pause_resume_and_rollbacks_killed_after_any_call_are_completed_by_the_next:
        local, Kill, [Up: NONE, Pause: ALL, Resume: ALL, Rollback: ALL, RollbackFunction: ALL, Down: NONE];
    a_removal_killed_after_any_call_is_completed_by_the_next:
        local, Kill, [Guard: NONE, Shrink: ALL, Down: NONE];
    options_killed_after_any_call_are_completed_by_the_next:
        local, Kill, [Up: NONE, Harden: OF_OPTIONS, Soften: OF_OPTIONS, Down: NONE];
    a_replaced_load_balancer_killed_after_any_call_is_completed_by_the_next:
        local, Kill, [Up: NONE, Inside: OF_A_REPLACEMENT, Down: NONE];
    a_domain_killed_after_any_call_is_completed_by_the_next:
        domain, Kill, [Serve: OF_A_DOMAIN, Close: OF_A_DOMAIN];
    a_removed_domain_killed_after_any_call_is_completed_by_the_next:
        domain, Kill, [Serve: NONE, Plain: OF_A_DOMAIN, Close: NONE];
    an_instance_without_a_load_balancer_killed_after_any_call_is_completed_by_the_next:
        direct, Kill, [Direct: OF_AN_ADDRESS, Undirect: OF_AN_ADDRESS];
    a_network_killed_after_any_call_is_completed_by_the_next:
        network, Kill, [Settle: OF_A_NETWORK, Leave: OF_A_NETWORK];
    rules_killed_after_any_call_are_completed_by_the_next:
        shared, Kill, [Share: OF_RULES, Reroute: OF_RULES, Swap: OF_RULES, Part: OF_RULES, Unshare: OF_RULES];
    a_replaced_load_balancer_of_two_services_killed_after_any_call_is_completed_by_the_next:
        behind, Kill, [Share: NONE, Withdraw: OF_A_SHARED_REPLACEMENT, Publish: OF_A_SHARED_REPLACEMENT, Unshare: NONE];
    on_moto_commands_killed_after_any_call_are_completed_by_the_next:
        moto, Kill, [Up: Points::AllBut(UNTAGGED_BY_MOTO), Pause: ALL, Resume: ALL, Down: ALL];
    on_moto_up_and_down_survive_a_reset_before_any_call:
        moto, Before, [Up: ALL, Down: ALL];
    on_moto_up_and_down_survive_a_reset_after_any_call:
        moto, After, [Up: Points::AllBut(MADE_TWICE_BY_MOTO), Down: ALL];
}

/// Requested by a run that was killed right after that, and not listed at once: the next run must not request another.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_listed_yet_is_not_requested_twice() {
    let scene = Scene::domain().await;
    let goal = scene.undisturbed(Phase::Serve).await.goal;
    assert!(scene.kill_at(Phase::Serve, "RequestCertificate#1").await);
    let none = r#"{"CertificateSummaryList":[]}"#;
    // The plan, its check under the lease, and polls after the request.
    scene.proxy.inject(["ListCertificates"], InjectedFault::Answered(none.into()), 6);
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
    scene.begin(Phase::Guard).await;
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
        scene.proxy.inject([call], InjectedFault::CutAfter, 1);
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
