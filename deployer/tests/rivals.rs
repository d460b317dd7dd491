//! Concurrent runs, resources of others, other accounts and regions: none of them causes damage.

mod support;

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableDescription, TableStatus,
};
use aws_sdk_route53::types::{ChangeAction, RrType};
use deployer::{
    cloud::{
        aws::Aws,
        lease::{self, Answer, Lease, LeaseStore},
    },
    engine::{Observed, Owner, Resource, STACK_TAG, Tags},
    kinds::{listener, load_balancer, target_group},
};
use support::{
    Project, Said,
    cloud::{KEYS, TestAws, connect},
    domain::{self, DOMAIN},
    hands::Hands,
    inventory::{self, Inventory},
    moto::Moto,
    run::Run,
    scene::{Phase, Scene},
};
use testkit::{
    eventually,
    proxy::{InjectedFault, Proxy},
};

const SMALL: &str = "\
name: small
region: us-east-1
buckets:
  files: {}
tables:
  posts: { partition_key: user }
";
const ARTIFACTS: &str = "small-artifacts-000000000000-us-east-1";

fn says(said: &Said, text: &str) {
    assert!(said.stderr.contains(text), "{text:?} is not in {}", said.all());
}

async fn at_once(cloud: &TestAws, projects: &[(&Project, &[&str])]) -> Vec<Said> {
    let runs = projects.iter().map(|(project, arguments)| cloud.run(project, arguments));
    futures::future::join_all(runs).await
}

async fn inventory(cloud: &TestAws) -> Inventory {
    inventory::inventory(&cloud.endpoint(), KEYS).await
}

/// The inventory after a single undisturbed run.
async fn alone(project: &Project) -> Inventory {
    let cloud = TestAws::start().await;
    cloud.done(project, &["up", "--yes", "--no-wait"]).await;
    let goal = inventory(&cloud).await;
    cloud.done(project, &["down", "--yes"]).await;
    assert_eq!(inventory(&cloud).await, Inventory::new());
    cloud.end().await;
    goal
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_concurrent_first_ups_make_one_stack() {
    let project = Project::light();
    let goal = alone(&project).await;
    for arguments in [&["up", "--yes", "--no-wait"][..], &["up", "--yes", "--no-wait", "--wait"]] {
        let cloud = TestAws::start().await;
        let all = at_once(&cloud, &[(&project, arguments); 8]).await;
        let done = all.iter().filter(|said| said.code == 0).count();
        assert!(done >= 1, "{}", all[0].all());
        for said in all.iter().filter(|said| said.code != 0) {
            assert_eq!(said.code, 75, "{}", said.all());
            assert!(!arguments.contains(&"--wait"), "who waits gets a turn: {}", said.all());
            says(said, "is changing this stack");
            says(said, "`up`, process ");
        }
        assert_eq!(inventory(&cloud).await, goal);
        assert_eq!(cloud.run(&project, &["plan", "--detailed-exitcode"]).await.code, 0);
        cloud.done(&project, &["down", "--yes"]).await;
        assert_eq!(inventory(&cloud).await, Inventory::new());
        cloud.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_runs_with_different_descriptions_take_turns() {
    let (cloud, first) = (TestAws::start().await, Project::with(SMALL));
    let other = Project::with(&SMALL.replace("  posts: {", "  likes: { partition_key: post }\n  posts: {"));
    for round in 0..4 {
        let up: &[&str] = &["up", "--yes", "--wait", "--delete", "table.likes"];
        let all = at_once(&cloud, &[(&first, up), (&other, &up[..3]), (&first, &["down", "--yes", "--wait"])]).await;
        for said in &all {
            assert_eq!(said.code, 0, "round {round}: {}", said.all());
        }
        let there = inventory(&cloud).await;
        if !there.is_empty() {
            let wanted = if there.contains_key("table small-likes") { &other } else { &first };
            let plan = cloud.run(wanted, &["plan", "--detailed-exitcode"]).await;
            assert_eq!(plan.code, 0, "round {round}: {}", plan.all());
        }
    }
    cloud.done(&first, &["down", "--yes"]).await;
    assert_eq!(inventory(&cloud).await, Inventory::new());
    cloud.end().await;
}

const MINUTE: Duration = Duration::from_secs(60);

fn place_of_leases(aws: &Aws, term: Duration) -> LeaseStore {
    LeaseStore::of(aws, ARTIFACTS, "000000000000", term)
}

/// Writes a lease as a run on another machine would.
async fn leased_by_somebody_else(cloud: &TestAws) {
    let holder = serde_json::json!({
        "owner": "ada", "host": "analytical", "command": "down", "since": 0, "expires": 60, "run": 1,
        "process": { "machine": "elsewhere", "pid": 1843, "began": 1 },
    });
    let put = cloud.aws.s3.put_object().bucket(ARTIFACTS).key(lease::KEY).body(holder.to_string().into_bytes().into());
    put.send().await.expect("it can be written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_finds_the_stack_leased_names_the_holder_and_changes_nothing() {
    let (cloud, project) = (TestAws::start().await, Project::with(SMALL));
    cloud.done(&project, &["up", "--yes"]).await;
    leased_by_somebody_else(&cloud).await;
    let before = inventory(&cloud).await;

    // A lease does not prevent plans, nor runs without changes.
    cloud.done(&project, &["plan"]).await;
    says(&cloud.done(&project, &["up", "--yes", "-v"]).await, " calls, 0 of them mutating");
    project.edit("  files: {}", "  files: {}\n  more: {}");
    for command in ["up", "down"] {
        let refused = cloud.run(&project, &[command, "--yes"]).await;
        assert_eq!(refused.code, 75, "{}", refused.all());
        says(&refused, "ada at analytical (`down`, process 1843) is changing this stack");
        says(&refused, "wait for it with --wait");
        let (_, ends) = refused.stderr.split_once("its lease ends in ").expect("it says how long the lease lasts");
        let left: u64 = ends.split(' ').next().and_then(|left| left.parse().ok()).expect("seconds");
        assert!((1..=60).contains(&left), "{}", refused.all());
    }
    assert_eq!(inventory(&cloud).await, before);

    // A waiting run continues when the other one has finished.
    let waiting = cloud.run(&project, &["up", "--yes", "--wait"]);
    let finishing = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cloud.aws.s3.delete_object().bucket(ARTIFACTS).key(lease::KEY).send().await.expect("it can be deleted");
    };
    let (up, ()) = tokio::join!(waiting, finishing);
    assert_eq!(up.code, 0, "{}", up.all());
    assert!(cloud.buckets().await.iter().any(|bucket| bucket.contains("more")));
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_has_one_holder_at_a_time_and_leaves_nothing_behind() {
    let (cloud, project) = (TestAws::start().await, Project::with(SMALL));
    let place = place_of_leases(&cloud.aws, MINUTE);
    let ask = || Lease::take(&place, "test");
    assert!(matches!(ask().await, Ok(Answer::NoBucket)));
    cloud.done(&project, &["up", "--yes"]).await;
    let answers = futures::future::join_all((0..8).map(|_| ask())).await;
    let taken: Vec<Lease> = answers
        .into_iter()
        .filter_map(|answer| if let Ok(Answer::Taken(lease)) = answer { Some(lease) } else { None })
        .collect();
    assert_eq!(taken.len(), 1);
    for lease in taken {
        lease.release().await.expect("it can be given back");
    }
    let Ok(Answer::Taken(lease)) = ask().await else { panic!("it is free again") };
    lease.release().await.expect("it can be given back");
    assert!(!inventory(&cloud).await.keys().any(|thing| thing.contains(lease::KEY)));

    // A bucket with a current lease is not deleted.
    leased_by_somebody_else(&cloud).await;
    cloud.aws.s3.delete_object().bucket(ARTIFACTS).key("x").send().await.expect("an answer");
    let bucket = deployer::kinds::bucket::Bucket { name: ARTIFACTS.into(), account: "000000000000".into() };
    let Ok(Observed::Present(live)) = bucket.read(&cloud.aws).await else { panic!("it is there") };
    assert_eq!(bucket.delete(&cloud.aws, &live).await.expect_err("it is refused").code, "Leased");
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_held_for_as_long_as_its_holder_lives() {
    let (cloud, project) = (TestAws::start().await, Project::with(SMALL));
    cloud.done(&project, &["up", "--yes"]).await;
    let term = Duration::from_secs(8);
    let place = place_of_leases(&cloud.aws, term);
    let Ok(Answer::Taken(lease)) = Lease::take(&place, "up").await else { panic!("it is free") };
    tokio::time::sleep(term * 3).await;
    let Ok(Answer::Held(rival)) = Lease::take(&place, "down").await else { panic!("it is held") };
    assert!(rival.who.contains("(`up`, process ") && rival.lasts.is_some_and(|lasts| lasts <= term), "{rival:?}");
    assert!(!lease.lost().is_cancelled());
    lease.release().await.expect("it can be given back");
    let Ok(Answer::Taken(lease)) = Lease::take(&place, "down").await else { panic!("it is free again") };
    lease.release().await.expect("it can be given back");
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_whose_lease_was_taken_over_notices_and_leaves_it_alone() {
    let (cloud, project) = (TestAws::start().await, Project::with(SMALL));
    cloud.done(&project, &["up", "--yes"]).await;
    let place = place_of_leases(&cloud.aws, Duration::from_secs(2));
    let Ok(Answer::Taken(lease)) = Lease::take(&place, "up").await else { panic!("it is free") };
    leased_by_somebody_else(&cloud).await;
    eventually("the loss", async || lease.lost().is_cancelled().then_some(())).await;
    lease.release().await.expect("there is nothing to give back");
    let patient = place_of_leases(&cloud.aws, MINUTE);
    let Ok(Answer::Held(rival)) = Lease::take(&patient, "up").await else { panic!("theirs is there") };
    assert_eq!(rival.who, "ada at analytical (`down`, process 1843)");
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_not_renewed_for_a_term_is_lost_and_taken_over() {
    let (cloud, project) = (TestAws::start().await, Project::with(SMALL));
    cloud.done(&project, &["up", "--yes"]).await;
    let proxy = Proxy::to(&cloud.endpoint()).await;
    let cut_off = place_of_leases(&connect(&proxy.endpoint(), KEYS).await, Duration::from_secs(2));
    let Ok(Answer::Taken(lease)) = Lease::take(&cut_off, "up").await else { panic!("it is free") };
    // The call hangs as if packets were dropped: it would time out long after the lease has expired.
    proxy.inject(["PutObject"], InjectedFault::Hang, usize::MAX);
    eventually("the loss", async || lease.lost().is_cancelled().then_some(())).await;
    let place = place_of_leases(&cloud.aws, Duration::from_secs(2));
    let taken = eventually("the lease", async || match Lease::take(&place, "down").await {
        Ok(Answer::Taken(lease)) => Some(lease),
        _ => None,
    });
    taken.await.release().await.expect("it can be given back");

    // The same for a run on another machine, of which nothing is known except that it no longer renews its lease.
    leased_by_somebody_else(&cloud).await;
    project.edit("  files: {}", "  files: {}\n  more: {}");
    let up = cloud.done(&project, &["up", "--yes", "--wait", "--lease", "2"]).await;
    says(&up, "waiting for ada at analytical (`down`, process 1843)");
    assert!(cloud.buckets().await.iter().any(|bucket| bucket.contains("more")));
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_lost_its_lease_makes_no_further_changes() {
    let scene = Scene::local().await;
    scene.proxy.inject(["CreateListener"], InjectedFault::refused(400, "CertificateNotFound", "not yet"), usize::MAX);
    let mut run = Run::start(&scene, &["up", "--yes", "--no-wait", "--lease", "3"]);
    run.hear("listener.web: waiting: not yet").await;
    scene.proxy.inject(["PutObject"], InjectedFault::ResetBefore, usize::MAX);
    let said = run.end().await;
    assert_eq!(said.code, 75, "{}", said.all());
    says(&said, "this run has lost its lease");
    says(&said, "the same command continues");
    assert!(!said.stderr.contains("auto_scaling_group.web: creating"), "nothing new was begun: {}", said.all());
    scene.proxy.reset();
    scene.done(Phase::Up).await;
    scene.assert_nothing_to_do("the lease was lost").await;
    scene.clear().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_of_a_run_names_its_holder_and_its_expiry() {
    let scene = Scene::local().await;
    scene.proxy.inject(["CreateListener"], InjectedFault::refused(400, "CertificateNotFound", "not yet"), usize::MAX);
    let mut command = scene.command(&["up", "--yes", "--no-wait", "--lease", "6"]);
    command.env("USER", "grace");
    let mut run = Run::of(command);
    run.hear("listener.web: waiting: not yet").await;
    let aws = connect(&scene.endpoint(), scene.keys).await;
    let read = async || {
        let call = aws.s3.get_object().bucket("postagram-artifacts-000000000000-us-east-1").key(lease::KEY);
        let body = call.send().await.expect("the lease is there").body.collect().await.expect("a whole answer");
        serde_json::from_slice::<lease::Holder>(&body.into_bytes()).expect("it is one")
    };
    let holder = read().await;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("this is Linux");
    assert_eq!([&*holder.owner, &*holder.host, &*holder.command], ["grace", host.trim(), "up"]);
    assert_eq!(holder.process.pid, run.id());
    let renewed =
        eventually("a renewal", async || Some(read().await).filter(|now| now.expires > holder.since + 6)).await;
    assert_eq!(lease::Holder { expires: holder.expires, ..renewed }, holder, "a renewal changes nothing but the end");
    run.kill().await;
    scene.clear().await;
    scene.end().await;
}

async fn make_table(cloud: &TestAws, name: &str) {
    let key = KeySchemaElement::builder().attribute_name("user").key_type(KeyType::Hash).build().expect("whole");
    let attribute = AttributeDefinition::builder().attribute_name("user").attribute_type(ScalarAttributeType::S);
    let call = cloud.aws.dynamodb.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
    let call = call.key_schema(key).attribute_definitions(attribute.build().expect("whole"));
    call.send().await.expect("a table can be made");
    let look = || cloud.aws.dynamodb.describe_table().table_name(name).send();
    let is_active = |table: &TableDescription| table.table_status() == Some(&TableStatus::Active);
    eventually("the table", async || look().await.ok()?.table().filter(|table| is_active(table)).map(drop)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untagged_resource_is_taken_over_only_when_it_is_named() {
    let (cloud, project) = (TestAws::start().await, Project::with(SMALL));
    let ours = cloud.aws.s3.create_bucket().bucket("small-files-000000000000-us-east-1");
    ours.send().await.expect("a bucket can be made");
    let before = inventory(&cloud).await;

    let refused = cloud.run(&project, &["up", "--yes"]).await;
    assert_eq!(refused.code, 1, "{}", refused.all());
    says(
        &refused,
        "bucket.files (small-files-000000000000-us-east-1) exists but belongs to an unknown owner (it carries no deployer tags)",
    );
    says(&refused, "`up --adopt bucket.files`");
    assert_eq!(inventory(&cloud).await, before, "nothing was changed");
    assert_eq!(cloud.run(&project, &["up", "--yes", "--adopt", "bucket.nothing"]).await.code, 64);
    assert_eq!(
        cloud.run(&project, &["up", "--yes", "--adopt", "table.posts"]).await.code,
        1,
        "the bucket is not named"
    );

    let plan = cloud.run(&project, &["plan", "--adopt", "bucket.files"]).await;
    says(&plan, "tags.deployer:stack: small");
    let up = cloud.done(&project, &["up", "--yes", "--adopt", "bucket.small-files-000000000000-us-east-1"]).await;
    says(&up, "bucket.files  updated");
    assert_eq!(cloud.run(&project, &["plan", "--detailed-exitcode"]).await.code, 0, "from now on it is ours");
    cloud.done(&project, &["down", "--yes"]).await;
    assert_eq!(inventory(&cloud).await, Inventory::new());
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_tagged_by_another_stack_is_refused_even_with_adopt() {
    let (cloud, project) = (TestAws::start().await, Project::with(SMALL));
    make_table(&cloud, "small-posts").await;
    let theirs = aws_sdk_dynamodb::types::Tag::builder().key(STACK_TAG).value("large").build().expect("whole");
    let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/small-posts";
    cloud.aws.dynamodb.tag_resource().resource_arn(arn).tags(theirs).send().await.expect("it can be tagged");
    let before = inventory(&cloud).await;
    let refused = cloud.run(&project, &["up", "--yes", "--adopt", "table.posts"]).await;
    assert_eq!(refused.code, 1, "{}", refused.all());
    says(&refused, "belongs to stack \"large\"");
    assert!(!refused.stderr.contains("--adopt"), "{}", refused.all());
    let down = cloud.done(&project, &["down", "--yes"]).await;
    says(&down, "stays: belongs to stack \"large\"");
    assert_eq!(inventory(&cloud).await, before);
    cloud.end().await;
}

/// Elastic Load Balancing answers a creation as if it were new even if another client has just created the same
/// resource: case 8 of docs/aws.md §19.
#[tokio::test(flavor = "multi_thread")]
async fn a_resource_created_by_someone_else_a_moment_before_is_not_taken_over() {
    let cloud = TestAws::start().await;
    let vpcs = cloud.aws.ec2.describe_vpcs().send().await.expect("networks");
    let vpc = vpcs.vpcs()[0].vpc_id().expect("an id").to_owned();
    let subnets = cloud.aws.ec2.describe_subnets().send().await.expect("subnets");
    let subnets = subnets.subnets().iter().take(2).filter_map(|subnet| subnet.subnet_id().map(str::to_owned)).collect();
    let firewalls = cloud.aws.ec2.describe_security_groups().send().await.expect("security groups");
    let firewall = firewalls.security_groups()[0].group_id().expect("an id").to_owned();
    let (theirs, tags) = (tags("large"), tags("small"));

    let group = target_group::TargetGroup { name: "small-web-80".into() };
    let check = deployer::config::HealthCheck {
        path: "/".into(),
        interval_s: 10,
        timeout_s: 5,
        healthy: 2,
        unhealthy: 2,
        matcher: "200".into(),
    };
    let want = target_group::Settings::http(80, &vpc, &check);
    let slow = target_group::Settings { deregistration_delay_s: 300, ..want.clone() };
    group.create(&cloud.aws, &slow, &theirs).await.expect("theirs is made");
    let made = group.create(&cloud.aws, &want, &tags).await.expect("it is answered as if it were new");
    assert!(made.is_none(), "it is looked at before it is believed");
    let Ok(Observed::Present(live)) = group.read(&cloud.aws).await else { panic!("it is there") };
    assert_eq!(live.owner.foreign_to("small").as_deref(), Some("stack \"large\""));
    assert_eq!(live.settings.deregistration_delay_s, 300, "nothing of it was changed");

    let target_group = live.output.arn;

    let balancer = load_balancer::LoadBalancer { name: "small-web".into() };
    let want = load_balancer::Settings::public(vpc.clone(), subnets, [firewall].into());
    balancer.create(&cloud.aws, &want, &theirs).await.expect("theirs is made");
    let made = balancer.create(&cloud.aws, &want, &tags).await.expect("it is answered as if it were new");
    assert!(made.is_none(), "it is looked at before it is believed");
    let live = eventually("the load balancer", async || match balancer.read(&cloud.aws).await {
        Ok(Observed::Present(live)) => Some(live),
        _ => None,
    })
    .await;
    assert_eq!(live.owner, Owner::Tags(theirs.clone()));

    let listener = plain(live.output.arn, target_group.clone());
    let want = listener::Settings::http(80, target_group);
    listener.create(&cloud.aws, &want, &theirs).await.expect("theirs is made");
    let made = listener.create(&cloud.aws, &want, &tags).await.expect("it is answered as if it were new");
    assert!(made.is_none(), "it is looked at before it is believed");
    let Ok(Observed::Present(live)) = listener.read(&cloud.aws).await else { panic!("it is there") };
    assert_eq!(live.owner, Owner::Tags(theirs));
    cloud.end().await;
}

/// The listener of a service without a domain.
fn plain(load_balancer: String, target_group: String) -> listener::Listener {
    let (part, https) = (listener::Part::Alone, "listener.web-https".into());
    listener::Listener { load_balancer, target_group, port: 80, part, https }
}

/// The same listener, created by another client after the reads of `up` and before it creates its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_created_by_someone_else_a_moment_before_is_refused() {
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    let aws = connect(&scene.endpoint(), scene.keys).await;
    let hands = Hands::of(&aws);
    let (load_balancer, target_group) = (hands.load_balancer().await, hands.target_group_arn().await);
    hands.change("listener.web", "+").await;
    let want = listener::Settings::http(80, target_group.clone());
    let theirs = plain(load_balancer, target_group);
    theirs.create(&aws, &want, &tags("large")).await.expect("theirs is made");
    let before = scene.inventory().await;

    // It did not exist when the plan was made, nor when the plan was checked again under the lease.
    let none = "<DescribeListenersResponse><DescribeListenersResult><Listeners/></DescribeListenersResult></DescribeListenersResponse>";
    scene.proxy.reset();
    scene.proxy.inject(["DescribeListeners"], InjectedFault::Answered(none.into()), 2);
    let refused = scene.run(Phase::Up.arguments()).await;
    assert_eq!(refused.code, 1, "{}", refused.all());
    assert!(scene.proxy.calls().contains(&"CreateListener#1".to_owned()), "{:?}", scene.proxy.calls());
    says(&refused, "exists but belongs to stack \"large\"");
    says(&refused, "failed (1): listener.web");
    let Ok(Observed::Present(live)) = theirs.read(&aws).await else { panic!("it is there") };
    assert_eq!(live.owner, Owner::Tags(tags("large")), "nothing of it was changed");
    assert_eq!(scene.inventory().await, before);

    hands.change("listener.web", "+").await;
    scene.proxy.reset();
    scene.done(Phase::Up).await;
    scene.clear().await;
    scene.end().await;
}

/// A record of the domain, created by another client after the reads of `up` and before it creates its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_created_by_someone_else_a_moment_before_is_refused() {
    let scene = Scene::domain().await;
    let described = scene.project.description();
    scene.project.edit(&format!("    domain: {DOMAIN}\n"), "");
    scene.done(Phase::Serve).await;
    scene.project.describe(&described);
    let aws = connect(&scene.endpoint(), scene.keys).await;
    let zones = aws.route53.list_hosted_zones().send().await.expect("zones");
    let zone = &zones.hosted_zones()[0].id;
    let theirs = domain::set(DOMAIN, RrType::A, "192.0.2.7");
    domain::change(&aws, zone, ChangeAction::Create, theirs.clone()).await;

    // It did not exist when the zone was searched for name servers (two reads), when the plan was made, nor when the plan
    // was checked again under the lease.
    let none = "<ListResourceRecordSetsResponse><ResourceRecordSets/><IsTruncated>false</IsTruncated>\
                <MaxItems>100</MaxItems></ListResourceRecordSetsResponse>";
    scene.proxy.reset();
    scene.proxy.inject(["ListResourceRecordSets"], InjectedFault::Answered(none.into()), 4);
    let refused = scene.run(Phase::Serve.arguments()).await;
    assert_eq!(refused.code, 1, "{}", refused.all());
    assert!(scene.proxy.calls().contains(&"ChangeResourceRecordSets#1".to_owned()), "{:?}", scene.proxy.calls());
    says(&refused, "alias.web");
    says(&refused, "belongs to another owner: its A record leads to 192.0.2.7");
    let there = domain::set_of(&aws, zone, DOMAIN, RrType::A).await.expect("theirs is there");
    assert_eq!(there.resource_records()[0].value(), "192.0.2.7");

    domain::change(&aws, zone, ChangeAction::Delete, theirs).await;
    scene.proxy.reset();
    scene.done(Phase::Serve).await;
    scene.assert_nothing_to_do("the record of the other client is gone").await;
    scene.clear().await;
    scene.end().await;
}

/// ACM validates both certificates by the same record. The stack that created it leaves it to the other, which found it.
#[tokio::test(flavor = "multi_thread")]
async fn two_stacks_at_one_domain_share_the_validation_record_alone() {
    let (cloud, first) = (TestAws::start().await, Project::of_service(&format!("    domain: {DOMAIN}\n")));
    let second = Project::with(&first.description().replace("name: s\n", "name: t\n"));
    let zone = domain::make_zone(&cloud.aws).await;
    let before = inventory(&cloud).await;
    cloud.done(&first, &["up", "--yes"]).await;
    let refused = cloud.run(&second, &["up", "--yes"]).await;
    assert_eq!(refused.code, 1, "{}", refused.all());
    says(&refused, "belongs to another owner: its A record leads to ");
    assert_eq!(cloud.run(&first, &["plan", "--detailed-exitcode"]).await.code, 0);

    cloud.done(&first, &["down", "--yes"]).await;
    let is_validation = |set: &aws_sdk_route53::types::ResourceRecordSet| set.r#type == RrType::Cname;
    assert!(domain::sets(&cloud.aws, &zone).await.iter().any(is_validation), "the other certificate needs it");
    let up = cloud.done(&second, &["up", "--yes"]).await;
    domain::assert_https(&up);
    assert_eq!(cloud.run(&second, &["plan", "--detailed-exitcode"]).await.code, 0);
    cloud.done(&second, &["down", "--yes"]).await;
    // It was there before the second certificate, so it is left.
    let left = domain::sets(&cloud.aws, &zone).await.into_iter().find(is_validation).expect("it stays");
    domain::change(&cloud.aws, &zone, ChangeAction::Delete, left).await;
    assert_eq!(inventory(&cloud).await, before);
    cloud.end().await;
}

fn tags(stack: &str) -> Tags {
    [(STACK_TAG.to_owned(), stack.to_owned())].into()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_or_region_is_refused_naming_both() {
    let (cloud, project) = (TestAws::start().await, Project::with(SMALL));
    cloud.done(&project, &["up", "--yes"]).await;
    let pin = project.path().join(".deployer/pin");
    assert_eq!(std::fs::read_to_string(&pin).expect("it is remembered"), "small 000000000000 us-east-1\n");

    std::fs::write(&pin, "small 111122223333 us-east-1\n").expect("a file can be written");
    for command in ["plan", "up", "down", "outputs"] {
        let refused = cloud.run(&project, &[command]).await;
        assert_eq!(refused.code, 64, "{}", refused.all());
        says(&refused, "account 111122223333");
        says(&refused, "account 000000000000");
    }
    project.edit("name: small\n", "name: small\naccount: \"000000000000\"\n");
    project.edit("  files: {}", "  files: {}\n  more: {}");
    cloud.done(&project, &["up", "--yes"]).await;
    assert_eq!(std::fs::read_to_string(&pin).expect("it is remembered"), "small 000000000000 us-east-1\n");
    project.edit("\"000000000000\"", "\"111122223333\"");
    let refused = cloud.run(&project, &["plan"]).await;
    assert_eq!(refused.code, 64, "{}", refused.all());
    says(&refused, "111122223333");

    project.edit("account: \"111122223333\"\n", "");
    project.edit("region: us-east-1", "region: eu-west-1");
    let elsewhere = TestAws::start_in_region("eu-west-1").await;
    let refused = elsewhere.run(&project, &["up", "--yes"]).await;
    assert_eq!(refused.code, 64, "{}", refused.all());
    elsewhere.end().await;
    says(&refused, "small is deployed in us-east-1");
    says(&refused, "stack.yaml says eu-west-1");
    says(&refused, "--region eu-west-1");

    project.edit("region: eu-west-1", "region: us-east-1");
    cloud.done(&project, &["down", "--yes"]).await;
    assert!(!pin.exists(), "where nothing is left, nothing is remembered");
    cloud.end().await;
}

/// On moto, which has every region.
#[tokio::test(flavor = "multi_thread")]
async fn stacks_of_two_regions_do_not_affect_each_other() {
    let (moto, project) = (Moto::start(), Project::light());
    let settled = |place: &[&str]| {
        let plan = moto.run(&project, &[&["plan", "--detailed-exitcode"], place].concat());
        assert_eq!(plan.code, 0, "{}", plan.all());
    };
    let there = ["--region", "eu-west-1"];
    moto.done(&project, &["up", "--yes", "--no-wait"]);
    moto.done(&project, &[&["up", "--yes", "--no-wait"], &there[..]].concat());
    settled(&[]);
    settled(&there);
    moto.done(&project, &["down", "--yes"]);
    assert_eq!(moto.fleet().await, [0, 0, 0]);
    settled(&there);
    moto.done(&project, &[&["down", "--yes"], &there[..]].concat());
    let roles = moto.ask("iam", "Action=ListRoles&Version=2010-05-08").await;
    assert!(!roles.contains("postagram"), "{roles}");
}

/// On the local AWS: moto identifies a scaling policy by its name alone, whatever its group.
#[tokio::test(flavor = "multi_thread")]
async fn stacks_of_two_names_do_not_affect_each_other() {
    let (cloud, first) = (TestAws::start().await, Project::light());
    let second = Project::with(&first.description().replace("name: postagram", "name: postagram-two"));
    let settled = async |project: &Project| {
        let plan = cloud.run(project, &["plan", "--detailed-exitcode"]).await;
        assert_eq!(plan.code, 0, "{}", plan.all());
    };
    for project in [&first, &second] {
        cloud.done(project, &["up", "--yes", "--no-wait"]).await;
    }
    settled(&first).await;
    settled(&second).await;
    cloud.done(&first, &["down", "--yes"]).await;
    let there = inventory(&cloud).await;
    assert!(there.keys().all(|thing| thing.contains("postagram-two")), "{there:?}");
    settled(&second).await;
    cloud.done(&first, &["up", "--yes", "--no-wait"]).await;
    cloud.done(&second, &["down", "--yes"]).await;
    settled(&first).await;
    cloud.done(&first, &["down", "--yes"]).await;
    assert_eq!(inventory(&cloud).await, Inventory::new());
    cloud.end().await;
}
