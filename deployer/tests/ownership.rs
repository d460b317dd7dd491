//! A resource with our name but without our tags is not ours: for every kind, `up` and `down` report the owner and
//! change nothing, and unowned resources are adopted if they are named.

mod support;

use std::collections::BTreeSet;

use support::{
    Said,
    cloud::connect,
    hands::Hands,
    scene::{Phase, Scene},
};

/// One resource of each kind that has its own tags, and the bucket that everything needs.
const OWNED: &[&str] = &[
    "bucket.artifacts",
    "bucket.images",
    "table.posts",
    "log_group.labeler",
    "role.labeler-fn",
    "instance_profile.web",
    "function.labeler",
    "security_group.web-lb",
    "launch_template.web",
    "target_group.web",
    "load_balancer.web",
    "listener.web",
    "alarm.web-target-5xx",
    "auto_scaling_group.web",
];

/// Kinds that are part of another resource, whose tags determine the owner.
const INSIDE: &[&str] = &["artifact", "default_action", "notification", "permissions", "scaling_policy"];

fn says(said: &Said, text: &str) {
    assert!(said.stderr.contains(text), "{text:?} is not in {}", said.all());
}

/// Makes another change for `up` to apply; `n` counts the calls.
fn change_something(scene: &Scene, n: usize) {
    let [from, to] = if n.is_multiple_of(2) { ["max: 4", "max: 6"] } else { ["max: 6", "max: 4"] };
    scene.project.edit(from, to);
}

/// The resources that a plan would create or change: a part of an existing resource counts as a change of it.
fn to_be_made(plan: &Said) -> BTreeSet<String> {
    let is_work = |line: &&str| ["  + ", "  ~ "].iter().any(|mark| line.starts_with(mark));
    let lines = plan.stderr.lines().filter(is_work).map(|line| &line[4..]);
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Asserts that neither command changes anything, and that both give the reason; `down` also reports how to remove the
/// rest.
async fn is_refused(scene: &Scene, address: &str, owner: &str) {
    scene.proxy.reset();
    for arguments in [Phase::Up.arguments(), Phase::Down.arguments()] {
        let said = scene.run(arguments).await;
        assert_eq!(said.code, 1, "{address}: {}", said.all());
        says(&said, address);
        says(&said, &format!("belongs to {owner}"));
        let is_free = owner.contains("no deployer tags");
        assert_eq!(said.stderr.contains(&format!("`up --adopt {address}`")), is_free, "{address}: {}", said.all());
        if arguments == Phase::Down.arguments() {
            says(&said, &format!("`down --keep {address}`"));
        }
    }
    assert_eq!(scene.proxy.mutating(), Vec::<String>::new(), "something was changed although {address} is not ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_lost_our_tag_is_left_alone_until_it_is_adopted() {
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    let aws = connect(&scene.endpoint(), scene.keys).await;
    for (n, address) in OWNED.iter().enumerate() {
        change_something(&scene, n);
        Hands::of(&aws).give(address, None).await;
        is_refused(&scene, address, "an unknown owner (it carries no deployer tags)").await;
        let adopted = scene.run(&["up", "--yes", "--no-wait", "--adopt", address]).await;
        assert_eq!(adopted.code, 0, "{address}: {}", adopted.all());
        says(&adopted, "tags.deployer:stack: postagram");
        scene.assert_nothing_to_do(&format!("{address} was adopted")).await;
    }
    scene.clear().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_with_the_tag_of_another_stack_is_never_taken_over() {
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    let aws = connect(&scene.endpoint(), scene.keys).await;
    for (n, address) in OWNED.iter().enumerate() {
        change_something(&scene, n);
        Hands::of(&aws).give(address, Some("large")).await;
        is_refused(&scene, address, "stack \"large\"").await;
        scene.proxy.reset();
        let adopted = scene.run(&["up", "--yes", "--no-wait", "--adopt", address]).await;
        assert_eq!(adopted.code, 1, "{address}: {}", adopted.all());
        says(&adopted, "belongs to stack \"large\"");
        assert_eq!(scene.proxy.mutating(), Vec::<String>::new(), "{address} is another stack's");
        Hands::of(&aws).give(address, Some("postagram")).await;
        scene.done(Phase::Up).await;
    }
    scene.clear().await;
    scene.end().await;
}

/// What remains besides each kept resource, because that needs it.
const NEEDED: &[(&str, &[&str])] = &[
    ("bucket.artifacts", &[]),
    ("bucket.images", &[]),
    ("table.posts", &[]),
    ("log_group.labeler", &[]),
    ("role.labeler-fn", &[]),
    ("instance_profile.web", &["role.web-svc"]),
    ("function.labeler", &["bucket.images", "log_group.labeler", "role.labeler-fn", "table.posts"]),
    ("security_group.web-lb", &[]),
    ("launch_template.web", BEHIND_A_TEMPLATE),
    ("target_group.web", &[]),
    ("load_balancer.web", &["security_group.web-lb"]),
    ("listener.web", &["load_balancer.web", "security_group.web-lb", "target_group.web"]),
    ("alarm.web-target-5xx", &["load_balancer.web", "security_group.web-lb"]),
    ("auto_scaling_group.web", BEHIND_A_GROUP),
];
/// The environment of its instances names a bucket and a table.
const BEHIND_A_TEMPLATE: &[&str] = &[
    "bucket.images",
    "instance_profile.web",
    "log_group.web-svc",
    "role.web-svc",
    "security_group.web",
    "security_group.web-lb",
    "table.posts",
];
/// Its listener remains, and so do the listener's dependencies.
const BEHIND_A_GROUP: &[&str] = &[
    "alarm.web-balancer-5xx",
    "alarm.web-target-4xx",
    "alarm.web-target-5xx",
    "bucket.images",
    "default_action.web",
    "instance_profile.web",
    "launch_template.web",
    "listener.web",
    "log_group.web-svc",
    "load_balancer.web",
    "role.web-svc",
    "security_group.web",
    "security_group.web-lb",
    "table.posts",
    "target_group.web",
];
/// The anchor, which everything needs, and the program stored in it.
const ANCHOR: &[&str] = &["bucket.artifacts", "artifact.web"];

/// A resource of any kind that is not ours can be kept, and everything that it does not need is deleted.
#[tokio::test(flavor = "multi_thread")]
async fn down_continues_without_what_keep_names() {
    let scene = Scene::local().await;
    let all = to_be_made(&scene.run(&["plan"]).await);
    let aws = connect(&scene.endpoint(), scene.keys).await;
    assert_eq!(NEEDED.iter().map(|(address, _)| *address).collect::<BTreeSet<_>>(), OWNED.iter().copied().collect());
    for (address, needed) in NEEDED {
        scene.done(Phase::Up).await;
        Hands::of(&aws).give(address, Some("large")).await;
        let down = scene.run(&["down", "--yes", "--keep", address]).await;
        assert_eq!(down.code, 0, "{address}: {}", down.all());
        says(&down, "only kept resources are left");
        // Giving it back fails unless it still exists.
        Hands::of(&aws).give(address, Some("postagram")).await;
        let gone = to_be_made(&scene.run(&["plan"]).await);
        let stays: BTreeSet<&str> = all.difference(&gone).map(String::as_str).collect();
        let expected = needed.iter().chain(ANCHOR).chain([address]).copied().collect();
        assert_eq!(stays, expected, "resources left after keeping {address}");
        scene.clear().await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kind_is_left_out_of_these_lists() {
    let scene = Scene::local().await;
    let plan = scene.run(&["plan"]).await;
    let created = to_be_made(&plan);
    let kinds: BTreeSet<&str> = created.iter().filter_map(|address| address.split('.').next()).collect();
    let listed: BTreeSet<&str> =
        OWNED.iter().filter_map(|address| address.split('.').next()).chain(INSIDE.iter().copied()).collect();
    assert_eq!(kinds, listed);
    scene.end().await;
}
