//! A resource with our name but without our tags is not ours: for every kind, `up` and `down` report the owner and
//! change nothing, and unowned resources are adopted if they are named.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_acm::types::{Tag, ValidationMethod};
use aws_sdk_route53::types::{ChangeAction, RrType};
use deployer::{cloud::aws::Aws, engine::STACK_TAG};

use crate::support::{
    RunOutput,
    cloud::connect,
    domain::{self, DOMAIN},
    hands::Hands,
    says,
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
const INSIDE: &[&str] = &[
    "alias",
    "artifact",
    "default_action",
    "notification",
    "permissions",
    "rule_action",
    "scaling_policy",
    "validation_record",
];

/// Kinds of services that share a load balancer, with tags of their own: shared.rs.
const SHARED: &[&str] = &["rule"];

/// Kinds without a name: the one of another owner is another resource.
const NAMELESS: &[&str] = &["certificate", "elastic_address", "internet_gateway", "route_table", "subnet", "vpc"];

/// Makes another change for `up` to apply; `n` counts the calls.
fn change_something(scene: &Scene, n: usize) {
    let [from, to] = if n.is_multiple_of(2) { ["max: 4", "max: 6"] } else { ["max: 6", "max: 4"] };
    scene.project.edit(from, to);
}

/// The resources that a plan would create or change: a part of an existing resource counts as a change of it.
fn to_be_made(plan: &RunOutput) -> BTreeSet<String> {
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

/// The resources that remain with each kept resource, because it needs them.
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

/// The certificates of the account for the domain, each with the stack that its tag names.
async fn certificates(aws: &Aws) -> BTreeMap<String, Option<String>> {
    let mut owners = BTreeMap::new();
    for one in aws.acm.list_certificates().send().await.expect("certificates").certificate_summary_list() {
        let arn = one.certificate_arn().expect("it has an ARN");
        let tags = aws.acm.list_tags_for_certificate().certificate_arn(arn).send().await.expect("tags");
        let owner = tags.tags().iter().find(|tag| tag.key() == STACK_TAG).and_then(|tag| tag.value());
        owners.insert(arn.to_owned(), owner.map(str::to_owned));
    }
    owners
}

fn tag(owner: Option<&str>) -> Tag {
    Tag::builder().key(STACK_TAG).set_value(owner.map(str::to_owned)).build().expect("it has a key")
}

/// Returns the ARN of the certificate that the listener for HTTPS presents.
async fn presented(aws: &Aws) -> String {
    let balancers = aws.elb.describe_load_balancers().send().await.expect("load balancers");
    let balancer = balancers.load_balancers()[0].load_balancer_arn().expect("it has an ARN");
    let listeners = aws.elb.describe_listeners().load_balancer_arn(balancer).send().await.expect("listeners");
    let mut certificates = listeners.listeners().iter().flat_map(|listener| listener.certificates());
    let presented = certificates.next().expect("there is a listener for HTTPS");
    presented.certificate_arn().expect("it has an ARN").to_owned()
}

/// Certificates of other owners for the same domain, and one of ours that has lost its tag, stay as they are, and so does
/// the record by which ACM validates all of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_owner_is_neither_used_nor_changed_nor_deleted() {
    let scene = Scene::domain().await;
    let aws = connect(&scene.endpoint(), scene.keys).await;
    let request = || aws.acm.request_certificate().domain_name(DOMAIN).validation_method(ValidationMethod::Dns);
    request().send().await.expect("one without tags");
    request().tags(tag(Some("large"))).send().await.expect("one of another stack");
    let mut others = certificates(&aws).await;
    assert_eq!(others.len(), 2);

    scene.done(Phase::Serve).await;
    let ours = presented(&aws).await;
    assert!(!others.contains_key(&ours), "the listener presents a certificate of another owner");
    others.insert(ours.clone(), Some("s".into()));
    assert_eq!(certificates(&aws).await, others);
    scene.assert_nothing_to_do("beside certificates of others").await;

    let untag = aws.acm.remove_tags_from_certificate().certificate_arn(&ours).tags(tag(None));
    untag.send().await.expect("it can be untagged");
    others.insert(ours.clone(), None);
    scene.done(Phase::Serve).await;
    let new = presented(&aws).await;
    assert_ne!(new, ours, "one that has lost our tag is not ours");
    others.insert(new.clone(), Some("s".into()));
    assert_eq!(certificates(&aws).await, others);

    scene.done(Phase::Close).await;
    others.remove(&new);
    assert_eq!(certificates(&aws).await, others);
    let zones = aws.route53.list_hosted_zones().send().await.expect("zones");
    let names: BTreeSet<RrType> =
        domain::sets(&aws, &zones.hosted_zones()[0].id).await.into_iter().map(|set| set.r#type).collect();
    assert!(names.contains(&RrType::Cname), "the others are renewed by that record");
    assert!(!names.contains(&RrType::Aaaa), "the alias is gone");
    scene.end().await;
}

/// Records have no tags: those that do not lead to our load balancer are not ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_another_owner_is_neither_changed_nor_deleted() {
    let scene = Scene::domain().await;
    let aws = connect(&scene.endpoint(), scene.keys).await;
    let zones = aws.route53.list_hosted_zones().send().await.expect("zones");
    let zone = &zones.hosted_zones()[0].id;
    for (kind, value) in [(RrType::Aaaa, "2001:db8::7"), (RrType::Cname, "elsewhere.example.org")] {
        let theirs = domain::set(DOMAIN, kind.clone(), value);
        domain::change(&aws, zone, ChangeAction::Create, theirs.clone()).await;
        let before = scene.inventory().await;
        let up = scene.run(Phase::Serve.arguments()).await;
        assert_eq!(up.code, 1, "{}", up.all());
        says(&up, "alias.web");
        says(&up, &format!("belongs to another owner: its {} record leads to {value}", kind.as_str()));
        assert!(!up.stderr.contains("--adopt"), "{}", up.all());
        scene.done(Phase::Close).await;
        assert_eq!(scene.inventory().await, before);
        domain::change(&aws, zone, ChangeAction::Delete, theirs).await;
    }
    scene.end().await;
}

/// One of the two records of the domain is replaced by hand: `down` leaves it, and removes ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_others_have_replaced_is_left_and_ours_beside_it_is_removed() {
    let scene = Scene::domain().await;
    let aws = connect(&scene.endpoint(), scene.keys).await;
    let zones = aws.route53.list_hosted_zones().send().await.expect("zones");
    let zone = &zones.hosted_zones()[0].id;
    let theirs = domain::set(DOMAIN, RrType::Aaaa, "2001:db8::7");
    let mut before = scene.inventory().await;
    before.insert(format!("record example.org. {DOMAIN}. AAAA 2001:db8::7"), 1);
    scene.done(Phase::Serve).await;
    let ours = domain::set_of(&aws, zone, DOMAIN, RrType::Aaaa).await.expect("an alias for IPv6");
    domain::change(&aws, zone, ChangeAction::Delete, ours).await;
    domain::change(&aws, zone, ChangeAction::Create, theirs).await;

    scene.proxy.reset();
    let up = scene.run(Phase::Serve.arguments()).await;
    assert_eq!(up.code, 1, "{}", up.all());
    says(&up, "belongs to another owner: its AAAA record leads to 2001:db8::7");
    assert_eq!(scene.proxy.mutating(), Vec::<String>::new(), "nothing is changed");
    let down = scene.done(Phase::Close).await;
    assert_eq!(scene.inventory().await, before, "{}", down.all());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kind_is_left_out_of_these_lists() {
    let mut kinds = BTreeSet::new();
    let scenes = [
        Scene::local().await,
        Scene::domain().await,
        Scene::network().await,
        Scene::shared().await,
        Scene::direct().await,
    ];
    for scene in scenes {
        let created = to_be_made(&scene.run(&["plan"]).await);
        kinds.extend(created.iter().filter_map(|address| address.split('.').next()).map(str::to_owned));
        scene.end().await;
    }
    let owned = OWNED.iter().filter_map(|address| address.split('.').next());
    let listed = owned.chain(INSIDE.iter().copied()).chain([NAMELESS, SHARED].concat());
    assert_eq!(kinds, listed.map(str::to_owned).collect());
}
