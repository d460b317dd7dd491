//! Resources of others are not taken over.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableDescription, TableStatus,
};
use aws_sdk_route53::types::{ChangeAction, RrType};
use deployer::{
    engine::{Observed, Owner, Resource, STACK_TAG, Tags},
    kinds::{listener, load_balancer, target_group},
};
use testkit::{eventually, proxy::InjectedFault};

use super::inventory;
use crate::support::cloud::{TestAws, connect};
use crate::support::domain::{self, DOMAIN};
use crate::support::hands::Hands;
use crate::support::inventory::Inventory;
use crate::support::scene::{Phase, Scene};
use crate::support::{Project, SMALL, says};

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

    let balancer = load_balancer::LoadBalancer::named("small-web");
    let want = load_balancer::Settings::of(load_balancer::PUBLIC, vpc.clone(), subnets, [firewall].into());
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
    let (part, https) = (listener::ListenerPart::Alone, "listener.web-https".into());
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

    // It did not exist when the plan was made, nor when the plan was checked again under the lease. Each plan lists the
    // listeners twice: for rules that it does not describe, and for this one.
    let none = "<DescribeListenersResponse><DescribeListenersResult><Listeners/></DescribeListenersResult></DescribeListenersResponse>";
    scene.proxy.reset();
    scene.proxy.inject(["DescribeListeners"], InjectedFault::Answered(none.into()), 4);
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
