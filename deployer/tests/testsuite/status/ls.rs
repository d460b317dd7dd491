//! `ls`: the stacks of the account.

use std::path::Path;

use aws_sdk_ssm::types::{ParameterType, Tag};
use deployer::engine::STACK_TAG;
use serde_json::{Value, json};
use testkit::Control;

use super::permissions::{Watcher, denials, documented};
use super::state::request_certificate;
use super::watch::follow;
use super::{json_of, small, stack, status};
use crate::support::cloud::TestAws;
use crate::support::{Project, RunOutput};

/// A list of stacks without the number of objects: instances go on adding their reports.
fn settled(mut list: Value) -> Value {
    for stack in list["stacks"].as_array_mut().expect("stacks") {
        assert!(stack["size"]["objects"].is_u64() && stack["size"]["object_bytes"].is_u64(), "{stack}");
        stack["size"]["objects"].take();
        stack["size"]["object_bytes"].take();
    }
    list
}

#[tokio::test(flavor = "multi_thread")]
async fn ls_needs_exactly_the_permissions_that_are_documented() {
    let (cloud, project) = (TestAws::start().await, stack());
    cloud.done(&project, &["up", "--yes"]).await;
    request_certificate(&cloud, "other").await;
    let tag = Tag::builder().key(STACK_TAG).value("other").build().expect("key and value are given");
    let put = cloud.aws.ssm.put_parameter().name("/other/password").value("v").r#type(ParameterType::SecureString);
    put.tags(tag).send().await.expect("a parameter can be put");
    let (watcher, all) = (Watcher::of(&cloud).await, documented("What `ls` reads"));
    watcher.allow(&all).await;
    let begun = Control::of(&cloud.endpoint()).journal().await.len();
    for arguments in [&["ls", "--json"][..], &["ls", "--json", "--all-regions"]] {
        let said = watcher.run(&project, arguments).await;
        assert_eq!(said.code, 0, "{}", said.all());
        let (theirs, ours) = (json_of(&said), json_of(&cloud.done(&project, arguments).await));
        assert_eq!(settled(theirs), settled(ours));
    }
    assert_eq!(denials(&cloud, begun).await, [""; 0]);
    for permission in &all {
        watcher.allow(all.iter().filter(|it| *it != permission)).await;
        let said = watcher.run(&project, &["ls", "--all-regions"]).await;
        assert_eq!(said.code, 1, "without {permission}: {}", said.all());
        match permission.as_str() {
            "ec2:DescribeRegions" => {
                assert!(said.stderr.contains("failed to list the regions of the account"), "{}", said.all());
            }
            _ => {
                let is_named = |line: &str| line.starts_with("could not read us-east-1: denied (");
                assert!(said.stdout.lines().any(is_named), "without {permission}: {}", said.all());
                assert!(said.stdout.contains("s in us-east-1: "), "the rest is listed: {}", said.all());
            }
        }
    }
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// Runs the deployer in another folder, as on another machine.
pub(super) async fn elsewhere(cloud: &TestAws, folder: &Path, arguments: &[&str]) -> RunOutput {
    let mut command = cloud.command(&small("other", "us-east-1"), arguments);
    command.current_dir(folder).env("AWS_REGION", "us-east-1");
    command.output().await.expect("the deployer can be started").into()
}

/// The stacks that `ls` finds, each with its number of resources.
fn found(list: &Value) -> Vec<(&str, &str, u64)> {
    let total = |it: &Value| it["resources"].as_object().expect("kinds").values().filter_map(Value::as_u64).sum();
    let stacks = list["stacks"].as_array().expect("a list").iter();
    stacks.map(|it| (it["name"].as_str().unwrap(), it["region"].as_str().unwrap(), total(it))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn stacks_without_their_descriptions_are_found_and_removed() {
    let cloud = TestAws::start().await;
    let (first, second) = (stack(), small("t", "us-east-1"));
    let folder = tempfile::tempdir().expect("a folder can be made");
    let ls = async || json_of(&elsewhere(&cloud, folder.path(), &["ls", "--json"]).await);
    assert_eq!(ls().await, json!({ "account": "000000000000", "stacks": [], "unread": [] }));
    cloud.done(&first, &["up", "--yes", "--no-wait"]).await;
    cloud.done(&second, &["up", "--yes"]).await;
    // A bucket whose name has our form, and which is not ours.
    let strange = "strange-images-000000000000-us-east-1";
    cloud.aws.s3.create_bucket().bucket(strange).send().await.expect("a bucket can be made");

    let list = ls().await;
    // All kinds with tags of their own.
    assert_eq!(found(&list), [("s", "us-east-1", 18), ("t", "us-east-1", 2)]);
    let kinds: Vec<&String> = list["stacks"][0]["resources"].as_object().expect("kinds").keys().collect();
    assert_eq!(kinds.len(), 12, "{kinds:?}");
    assert_eq!((&list["stacks"][0]["owner"], &list["stacks"][1]["owner"]), (&json!("ada"), &Value::Null));
    assert!(list["stacks"].as_array().expect("a list").iter().all(|it| it["created"].is_string()), "{list}");
    let text = cloud.done(&first, &["ls"]).await.stdout;
    for line in ["2 stacks in account 000000000000\n", "s in us-east-1: 18 resources, ", ", owner ada\n"] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    assert!(text.contains("to remove it: deployer down\n"), "its own description is here: {text}");
    assert!(text.contains("and run: deployer down --file t.yaml\n"), "{text}");

    follow(&cloud, folder.path(), &list["stacks"][0]).await;
    let list = ls().await;
    assert_eq!(found(&list), [("t", "us-east-1", 2)]);

    // Without its artifact bucket, `down` would take the stack for removed.
    let anchor = "t-artifacts-000000000000-us-east-1";
    let objects = cloud.aws.s3.list_objects_v2().bucket(anchor).send().await.expect("a list");
    for object in objects.contents() {
        let delete = cloud.aws.s3.delete_object().bucket(anchor).key(object.key().expect("a key"));
        delete.send().await.expect("it can be deleted");
    }
    cloud.aws.s3.delete_bucket().bucket(anchor).send().await.expect("it can be deleted");
    let list = ls().await;
    assert_eq!(found(&list), [("t", "us-east-1", 1)]);
    assert_eq!(list["stacks"][0]["remove"]["commands"].as_array().map(Vec::len), Some(2));
    follow(&cloud, folder.path(), &list["stacks"][0]).await;
    assert_eq!(found(&ls().await), []);
    assert_eq!(cloud.buckets().await, [strange], "what is not ours is left alone");
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ls_shows_size_and_cost_without_a_description() {
    let (cloud, project) = (TestAws::start().await, stack());
    project.edit("    port: 8080\n", "    port: 8080\n    disk_gb: 30\n");
    let data =
        Project::with("name: t\nregion: us-east-1\nbuckets:\n  images: {}\ntables: { rows: { partition_key: id } }\n");
    for project in [&project, &data] {
        cloud.done(project, &["up", "--yes"]).await;
    }
    for key in ["a", "b\u{1}"] {
        let put = cloud.aws.s3.put_object().bucket("t-images-000000000000-us-east-1").key(key);
        put.body(b"12345".to_vec().into()).send().await.expect("an object can be put");
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let ls = async || json_of(&elsewhere(&cloud, folder.path(), &["ls", "--json"]).await)["stacks"].take();
    let stacks = ls().await;
    let held = json!({
        "instances": 0, "objects": 2, "more_objects": false, "object_bytes": 10, "rows": 0, "row_bytes": 0,
    });
    assert_eq!((&stacks[1]["name"], &stacks[1]["size"]), (&json!("t"), &held));
    assert_eq!(stacks[1]["cost"]["monthly"], 0.0);
    // The same amount as with the description, disk and zones included.
    assert_eq!(stacks[0]["size"]["instances"], 1);
    let described = status(&cloud, &project).await["cost"].clone();
    assert_eq!(stacks[0]["cost"], described);
    let text = elsewhere(&cloud, folder.path(), &["ls"]).await.stdout;
    let cost = format!("  cost about ${:.2} a month (prices of ", described["monthly"].as_f64().expect("an amount"));
    for line in [&cost, "  1 instance, ", "  cost only by use\n", "  2 objects of 10 B\n"] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");

    // A paused stack has neither instances nor a load balancer.
    cloud.done(&project, &["pause", "--yes"]).await;
    let paused = ls().await[0].take();
    assert_eq!(paused["size"]["instances"], 0);
    assert_eq!(paused["cost"], status(&cloud, &project).await["cost"]);
    assert!(paused["cost"]["monthly"].as_f64() < Some(1.0), "{paused}");
    for project in [&project, &data] {
        cloud.done(project, &["down", "--yes"]).await;
    }
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_region_is_searched_and_a_denied_one_is_named() {
    let (cloud, watcher_folder) = (TestAws::start().await, tempfile::tempdir().expect("a folder can be made"));
    let (here, there) = (small("s", "us-east-1"), small("s", "eu-west-1"));
    for project in [&here, &there] {
        cloud.done(project, &["up", "--yes"]).await;
    }
    let list = elsewhere(&cloud, watcher_folder.path(), &["ls", "--json"]).await;
    assert_eq!(found(&json_of(&list)), [("s", "us-east-1", 2)]);
    let list = elsewhere(&cloud, watcher_folder.path(), &["ls", "--json", "--all-regions"]).await;
    assert_eq!(list.code, 0, "{}", list.all());
    let list = json_of(&list);
    assert_eq!(found(&list), [("s", "eu-west-1", 2), ("s", "us-east-1", 2)]);

    let watcher = Watcher::of(&cloud).await;
    let regions = json!({ "StringEquals": { "aws:RequestedRegion": ["us-east-1", "eu-west-1"] } });
    watcher.put(json!([{ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": regions }])).await;
    let said = watcher.run(&here, &["ls", "--all-regions"]).await;
    assert_eq!(said.code, 1, "{}", said.all());
    let denied: Vec<&str> = said.stdout.lines().filter(|line| line.starts_with("could not read ")).collect();
    assert!(denied.iter().any(|line| line.starts_with("could not read eu-west-3: denied (")), "{}", said.all());
    assert!(!denied.iter().any(|line| line.contains("us-east-1") || line.contains("eu-west-1")), "{}", said.all());
    for line in ["s in eu-west-1: 2 resources", "s in us-east-1: 2 resources"] {
        assert!(said.stdout.contains(line), "{}", said.all());
    }
    assert!(said.stdout.contains("deployer down --region eu-west-1\n"), "{}", said.all());

    let usage = elsewhere(&cloud, watcher_folder.path(), &["ls", "--all-regions", "--region", "eu-west-1"]).await;
    assert_eq!(usage.code, 64, "{}", usage.all());
    let mut unset = cloud.command(&small("other", "us-east-1"), &["ls"]);
    let unset: RunOutput = unset.current_dir(watcher_folder.path()).output().await.expect("it can be started").into();
    assert_eq!(unset.code, 64, "{}", unset.all());
    assert!(unset.stderr.contains("hint: name one with --region"), "{}", unset.all());
    for project in [&here, &there] {
        cloud.done(project, &["down", "--yes"]).await;
    }
    cloud.end().await;
}

#[test]
fn both_commands_work_on_this_machine() {
    let project = small("s", "us-east-1");
    let nothing = project.run(&["status", "--local"]);
    assert_eq!(nothing.code, 1, "{}", nothing.all());
    assert!(nothing.stderr.contains("run `deployer up --local` first"), "{}", nothing.all());
    assert_eq!(project.done(&["ls", "--local"]).stdout, "no stacks: there is no local AWS here\n");
    project.done(&["up", "--local", "--yes"]);
    let status = project.done(&["status", "--local"]);
    assert!(status.stdout.contains("in sync"), "{}", status.all());
    let ls = project.done(&["ls", "--local"]);
    assert!(ls.stdout.contains("s in us-east-1: 2 resources"), "{}", ls.all());
    assert!(ls.stdout.contains("to remove it: deployer down --local\n"), "{}", ls.all());
    project.done(&["down", "--local", "--yes"]);
    assert!(project.done(&["ls", "--local"]).stdout.starts_with("no stacks in account"));
    let nothing = project.run(&["status", "--local"]);
    assert!(nothing.stdout.contains("nothing is deployed: `deployer up --local` deploys it"), "{}", nothing.all());
}
