//! The lease of a stack has one holder at a time.

use std::time::Duration;

use deployer::{
    cloud::{
        aws::Aws,
        lease::{self, Lease, LeaseAttempt, LeaseStore},
    },
    engine::{Observed, Resource},
};
use testkit::{
    eventually,
    proxy::{InjectedFault, Proxy},
};

use super::{ARTIFACTS, inventory};
use crate::support::cloud::{KEYS, TestAws, connect};
use crate::support::run::Run;
use crate::support::scene::{Phase, Scene};
use crate::support::{Project, SMALL, says};

const MINUTE: Duration = Duration::from_secs(60);

fn place_of_leases(aws: &Aws, term: Duration) -> LeaseStore {
    LeaseStore::of(aws, ARTIFACTS, "000000000000", term)
}

/// Writes a lease as a run on another machine would.
async fn leased_by_another_run(cloud: &TestAws) {
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
    leased_by_another_run(&cloud).await;
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
    assert!(matches!(ask().await, Ok(LeaseAttempt::NoBucket)));
    cloud.done(&project, &["up", "--yes"]).await;
    let answers = futures::future::join_all((0..8).map(|_| ask())).await;
    let taken: Vec<Lease> = answers
        .into_iter()
        .filter_map(|answer| if let Ok(LeaseAttempt::Taken(lease)) = answer { Some(lease) } else { None })
        .collect();
    assert_eq!(taken.len(), 1);
    for lease in taken {
        lease.release().await.expect("it can be given back");
    }
    let Ok(LeaseAttempt::Taken(lease)) = ask().await else { panic!("it is free again") };
    lease.release().await.expect("it can be given back");
    assert!(!inventory(&cloud).await.keys().any(|thing| thing.contains(lease::KEY)));

    // A bucket with a current lease is not deleted.
    leased_by_another_run(&cloud).await;
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
    let Ok(LeaseAttempt::Taken(lease)) = Lease::take(&place, "up").await else { panic!("it is free") };
    tokio::time::sleep(term * 3).await;
    let Ok(LeaseAttempt::Held(rival)) = Lease::take(&place, "down").await else { panic!("it is held") };
    assert!(rival.who.contains("(`up`, process ") && rival.lasts.is_some_and(|lasts| lasts <= term), "{rival:?}");
    assert!(!lease.lost().is_cancelled());
    lease.release().await.expect("it can be given back");
    let Ok(LeaseAttempt::Taken(lease)) = Lease::take(&place, "down").await else { panic!("it is free again") };
    lease.release().await.expect("it can be given back");
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_whose_lease_was_taken_over_notices_and_leaves_it_alone() {
    let (cloud, project) = (TestAws::start().await, Project::with(SMALL));
    cloud.done(&project, &["up", "--yes"]).await;
    let place = place_of_leases(&cloud.aws, Duration::from_secs(2));
    let Ok(LeaseAttempt::Taken(lease)) = Lease::take(&place, "up").await else { panic!("it is free") };
    leased_by_another_run(&cloud).await;
    eventually("the loss", async || lease.lost().is_cancelled().then_some(())).await;
    lease.release().await.expect("there is nothing to give back");
    let patient = place_of_leases(&cloud.aws, MINUTE);
    let Ok(LeaseAttempt::Held(rival)) = Lease::take(&patient, "up").await else { panic!("theirs is there") };
    assert_eq!(rival.who, "ada at analytical (`down`, process 1843)");
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_not_renewed_for_a_term_is_lost_and_taken_over() {
    let (cloud, project) = (TestAws::start().await, Project::with(SMALL));
    cloud.done(&project, &["up", "--yes"]).await;
    let proxy = Proxy::to(&cloud.endpoint()).await;
    let cut_off = place_of_leases(&connect(&proxy.endpoint(), KEYS).await, Duration::from_secs(2));
    let Ok(LeaseAttempt::Taken(lease)) = Lease::take(&cut_off, "up").await else { panic!("it is free") };
    // The call hangs as if packets were dropped: it would time out long after the lease has expired.
    proxy.inject(["PutObject"], InjectedFault::Hang, usize::MAX);
    eventually("the loss", async || lease.lost().is_cancelled().then_some(())).await;
    let place = place_of_leases(&cloud.aws, Duration::from_secs(2));
    let taken = eventually("the lease", async || match Lease::take(&place, "down").await {
        Ok(LeaseAttempt::Taken(lease)) => Some(lease),
        _ => None,
    });
    taken.await.release().await.expect("it can be given back");

    // The same for a run on another machine, of which nothing is known except that it no longer renews its lease.
    leased_by_another_run(&cloud).await;
    project.edit("  files: {}", "  files: {}\n  more: {}");
    let up = cloud.done(&project, &["up", "--yes", "--wait", "--lease", "8"]).await;
    says(&up, "waiting for ada at analytical (`down`, process 1843)");
    assert!(cloud.buckets().await.iter().any(|bucket| bucket.contains("more")));
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_lost_its_lease_makes_no_further_changes() {
    let scene = Scene::local().await;
    scene.proxy.inject(["CreateListener"], InjectedFault::refused(400, "CertificateNotFound", "not yet"), usize::MAX);
    let mut run = Run::start(&scene, &["up", "--yes", "--no-wait", "--lease", "8"]);
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
