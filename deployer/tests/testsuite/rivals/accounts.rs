//! Stacks in other accounts, in other regions and of other names.

use super::inventory;
use crate::support::cloud::TestAws;
use crate::support::inventory::Inventory;
use crate::support::moto::Moto;
use crate::support::{Project, SMALL, says};

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
