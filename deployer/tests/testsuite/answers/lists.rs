//! Lists are read to their last page.

use std::collections::BTreeSet;

use testkit::proxy::{InjectedFault, parts};

use crate::support::cloud::{connect, upload};
use crate::support::hands::Hands;
use crate::support::inventory::Inventory;
use crate::support::scene::{PICTURE, Phase, Scene};

/// §19: every list of more than one item has a second page.
#[tokio::test(flavor = "multi_thread")]
pub async fn every_list_is_read_to_its_last_page() {
    const LISTS: &[&str] = &[
        "DescribeAutoScalingGroups",
        "DescribeLaunchTemplates",
        "DescribeLoadBalancers",
        "DescribeLogGroups",
        "DescribeSecurityGroups",
        "DescribeTargetGroups",
        "ListBuckets",
        "ListFunctions",
        "ListInstanceProfiles",
        "ListRoles",
        "ListTables",
    ];
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    // A second stack with the same resources, and with function and service twice, so that every list has at least two
    // items.
    scene.project.edit("name: postagram", "name: neighbour");
    // With two services, `verify` has to name one.
    scene.project.edit("\nverify:\n", "\nverify:\n  service: web\n");
    let described = scene.project.description();
    for (section, name, next) in [("functions:\n", "  labeler:", "services:"), ("services:\n", "  web:", "outputs:")] {
        let (_, first) = described.split_once(section).unwrap();
        let (first, _) = first.split_once(next).unwrap();
        scene.project.edit(section, &format!("{section}{}", first.replace(name, "  second:")));
    }
    scene.done(Phase::Up).await;
    for key in ["a", "b", "c + d%/é"] {
        upload(&scene.endpoint(), scene.keys, key).await;
    }
    let calls_of = |operation: &str| {
        let of = |call: &&String| parts(call).0 == operation;
        scene.proxy.calls().iter().filter(of).count()
    };
    scene.assert_nothing_to_do("whole lists").await;
    let whole: Vec<usize> = LISTS.iter().map(|operation| calls_of(operation)).collect();
    scene.put_chaos("short-pages").await;
    scene.assert_nothing_to_do("pages of one").await;
    for (operation, whole) in LISTS.iter().zip(whole) {
        assert!(calls_of(operation) > whole, "{operation} was called {} times before and after", whole);
    }
    scene.done(Phase::Down).await;
    scene.restore();
    scene.assert_nothing_to_do("the neighbour's end").await;
    scene.done(Phase::Change).await;
    scene.done(Phase::Down).await;
    scene.put_chaos("").await;
    assert_eq!(scene.inventory().await, Inventory::new());
    scene.end().await;
}

/// Returns how often `down` requests each list. With short pages, every list has at least two pages.
async fn list_calls_of_down(scene: &Scene, chaos: &str, lists: &[&str]) -> Vec<usize> {
    scene.done(Phase::Up).await;
    let aws = connect(&scene.endpoint(), scene.keys).await;
    let hands = Hands::of(&aws);
    hands.fill_bucket(&["a", "b"]).await;
    hands.add_to_lists().await;
    scene.proxy.reset();
    scene.put_chaos(chaos).await;
    scene.done(Phase::Down).await;
    scene.put_chaos("").await;
    hands.take_from_lists().await;
    assert_eq!(scene.inventory().await, Inventory::new());
    let calls = scene.proxy.calls();
    lists.iter().map(|list| calls.iter().filter(|call| parts(call).0 == *list).count()).collect()
}

#[tokio::test(flavor = "multi_thread")]
pub async fn every_list_read_by_down_is_read_to_its_last_page() {
    const LISTS: &[&str] = &[
        "DescribeListeners",
        "DescribeSubnets",
        "ListAttachedRolePolicies",
        "ListInstanceProfilesForRole",
        "ListMultipartUploads",
        "ListObjectVersions",
        "ListRolePolicies",
    ];
    let scene = Scene::local().await;
    let whole = list_calls_of_down(&scene, "", LISTS).await;
    let short = list_calls_of_down(&scene, "short-pages", LISTS).await;
    for (list, (whole, short)) in LISTS.iter().zip(whole.into_iter().zip(short)) {
        assert!(short > whole, "{list} was called {whole} times before and {short} times with short pages");
    }
    scene.end().await;
}

/// Lists of one item cannot be split: their first page is empty and has a token for the next one.
#[tokio::test(flavor = "multi_thread")]
pub async fn an_empty_first_page_is_not_the_last() {
    let scene = Scene::local().await;
    let images = "<DescribeImagesResponse><imagesSet/><nextToken>0</nextToken></DescribeImagesResponse>";
    scene.proxy.inject(["DescribeImages#1"], InjectedFault::Answered(images.into()), 1);
    scene.done(Phase::Up).await;
    assert!(scene.proxy.hit().contains("DescribeImages#1"), "{:?}", scene.proxy.calls());
    scene.proxy.reset();
    // Tags on a second page count: without them, the table would belong to someone else. The token makes the local AWS
    // continue after `!`, which sorts before any letter.
    let tags = r#"{"Tags":[],"NextToken":"IQ"}"#;
    scene.proxy.inject(["ListTagsOfResource#1"], InjectedFault::Answered(tags.into()), 1);
    let plan = scene.run(&["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 0, "{}", plan.all());
    assert!(scene.proxy.hit().contains("ListTagsOfResource#1"), "{:?}", scene.proxy.calls());
    scene.clear().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn an_empty_marker_ends_a_list() {
    const IN_JSON: &[(&str, &str, &str)] = &[
        ("ListTables", "TableNames", "LastEvaluatedTableName"),
        ("ListTagsOfResource", "Tags", "NextToken"),
        ("ListFunctions", "Functions", "NextMarker"),
        ("ListVersionsByFunction", "Versions", "NextMarker"),
        ("DescribeLogGroups", "logGroups", "nextToken"),
    ];
    const IN_XML: &[(&str, &str, &str)] = &[
        ("DescribeLoadBalancers", "</DescribeLoadBalancersResult>", "NextMarker"),
        ("DescribeTargetGroups", "</DescribeTargetGroupsResult>", "NextMarker"),
        ("DescribeListeners", "</DescribeListenersResult>", "NextMarker"),
        ("DescribeRules", "</DescribeRulesResult>", "NextMarker"),
        ("DescribeAutoScalingGroups", "</DescribeAutoScalingGroupsResult>", "NextToken"),
        ("DescribeSubnets", "</DescribeSubnetsResponse>", "nextToken"),
        ("DescribeImages", "</DescribeImagesResponse>", "nextToken"),
        ("DescribeSecurityGroups", "</DescribeSecurityGroupsResponse>", "nextToken"),
        ("DescribeLaunchTemplates", "</DescribeLaunchTemplatesResponse>", "nextToken"),
        ("ListRoles", "</ListRolesResult>", "Marker"),
        ("ListInstanceProfiles", "</ListInstanceProfilesResult>", "Marker"),
        ("ListRolePolicies", "</ListRolePoliciesResult>", "Marker"),
        ("ListAttachedRolePolicies", "</ListAttachedRolePoliciesResult>", "Marker"),
        ("ListInstanceProfilesForRole", "</ListInstanceProfilesForRoleResult>", "Marker"),
        ("ListBuckets", "</ListAllMyBucketsResult>", "ContinuationToken"),
        ("ListObjectVersions", "</ListVersionsResult>", "NextKeyMarker"),
        ("ListMultipartUploads", "</ListMultipartUploadsResult>", "NextKeyMarker"),
    ];
    let scene = Scene::local().await;
    for (operation, list, marker) in IN_JSON {
        let (from, to) = (format!("\"{list}\":"), format!("\"{marker}\":\"\",\"{list}\":"));
        scene.proxy.inject([*operation], InjectedFault::reworded(&[(&from, &to)]), usize::MAX);
    }
    for (operation, end, marker) in IN_XML {
        let marked = format!("<{marker}></{marker}>{end}");
        scene.proxy.inject([*operation], InjectedFault::reworded(&[(end, &marked)]), usize::MAX);
    }
    scene.done(Phase::Up).await;
    upload(&scene.endpoint(), scene.keys, PICTURE).await;
    scene.done(Phase::Down).await;
    let lists: BTreeSet<String> = IN_JSON.iter().chain(IN_XML).map(|(operation, ..)| (*operation).into()).collect();
    assert_eq!(scene.proxy.hit(), lists, "some lists were never requested");
    assert_eq!(scene.inventory().await, Inventory::new());
    scene.end().await;
}
