//! `adopt` takes over a stack that another tool has made: it adds ownership tags to untagged resources, changes nothing
//! else, and does not touch resources of other owners. After a crash, the same command continues.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, Tag as TableTag,
};
use aws_sdk_s3::types::{Tag as BucketTag, Tagging};
use deployer::engine::{RESOURCE_TAG, STACK_TAG};
use serde_json::Value;
use testkit::{proxy::parts, small_programs::echo_function, until};

use crate::support::{
    Project, SMALL,
    cloud::TestAws,
    hands::owners::TAGGED,
    says,
    scene::{Phase, Scene, Undisturbed},
    terminal::Terminal,
};

/// The operations that tag existing resources.
const TAGGING: &[&str] = &[
    "AddTags",
    "CreateOrUpdateTags",
    "CreateTags",
    "PutBucketTagging",
    "TagInstanceProfile",
    "TagResource",
    "TagRole",
];

/// The end of the question.
const QUESTION: &str = "change nothing else? [y/N]";

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_without_owners_is_taken_over_by_its_tags_alone() {
    let scene = Scene::local().await;
    scene.prepare(Phase::Adopt).await;
    let before = scene.inventory().await;

    let unasked = scene.run(&["adopt"]).await;
    assert_eq!(unasked.code, 64, "{}", unasked.all());
    says(&unasked, "confirmation needed, but there is no terminal");
    says(&unasked, &format!("can be taken over; below each, what the next `up` changes ({})\n", TAGGED.len()));
    TAGGED.iter().for_each(|address| says(&unasked, &format!("\n  {address} ")));
    says(&unasked, "owned with the resource that they are part of");
    assert!(!unasked.stderr.contains("not found"), "{}", unasked.all());

    let mut terminal = Terminal::of(&scene.command(&["adopt"]));
    terminal.see(QUESTION).await;
    terminal.press("n\n").await;
    let declined = terminal.end().await;
    assert_eq!(declined.code, 0, "{}", declined.all());
    says(&declined, "nothing was changed");
    assert_eq!(scene.proxy.mutating(), Vec::<String>::new());

    scene.proxy.reset();
    let adopted = scene.done(Phase::Adopt).await;
    says(&adopted, &format!("took over {} resources", TAGGED.len()));
    let calls = scene.proxy.mutating();
    assert!(calls.len() >= TAGGED.len(), "{calls:?}");
    assert!(calls.iter().all(|call| TAGGING.contains(&parts(call).0)), "{calls:?}");
    assert_eq!(scene.inventory().await, before);
    scene.assert_nothing_to_do("taken over").await;

    scene.proxy.reset();
    says(&scene.done(Phase::Adopt).await, "nothing to take over");
    assert_eq!(scene.proxy.mutating(), Vec::<String>::new());
    scene.clear().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_killed_after_any_of_its_calls_is_completed_by_the_next() {
    let scene = Scene::local().await;
    scene.prepare(Phase::Adopt).await;
    let Undisturbed { goal, mutating, .. } = scene.watch(Phase::Adopt).await;
    let operations: BTreeSet<&str> = mutating.iter().map(|call| parts(call).0).collect();
    assert_eq!(operations, TAGGING.iter().copied().collect());
    for call in &mutating {
        scene.begin(Phase::Adopt).await;
        let is_met = scene.kill_at(Phase::Adopt, call).await;
        // A tag that is not visible yet is added again: how often, differs from run to run.
        assert!(is_met || parts(call).1 > 1, "{call} did not occur");
        scene.done(Phase::Adopt).await;
        scene.assert_settled(Phase::Adopt, &goal, &format!("killed at {call}")).await;
    }
    scene.clear().await;
    scene.end().await;
}

const OF_OTHERS: &str = "  likes: { partition_key: user }\n  notes: { partition_key: user }\n";
const FILES: &str = "small-files-000000000000-us-east-1";

/// Makes a table as another tool does, with one tag.
async fn make_table(cloud: &TestAws, name: &str, partition_key: &str, tag: (&str, &str)) {
    let dynamodb = &cloud.aws.dynamodb;
    let key = KeySchemaElement::builder().attribute_name(partition_key).key_type(KeyType::Hash).build();
    let attribute = AttributeDefinition::builder().attribute_name(partition_key);
    let attribute = attribute.attribute_type(ScalarAttributeType::S).build();
    let tag = TableTag::builder().key(tag.0).value(tag.1).build().expect("a whole tag");
    let call = dynamodb.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest).tags(tag);
    let call = call.key_schema(key.expect("a whole key")).attribute_definitions(attribute.expect("whole"));
    call.send().await.expect("a table can be made");
    until("the table", async || {
        let described = dynamodb.describe_table().table_name(name).send().await.ok();
        let status = described.and_then(|answer| answer.table?.table_status);
        status.is_some_and(|status| status.as_str() == "ACTIVE")
    })
    .await;
}

async fn tags_of_table(cloud: &TestAws, name: &str) -> BTreeMap<String, String> {
    let arn = format!("arn:aws:dynamodb:us-east-1:000000000000:table/{name}");
    let listed = cloud.aws.dynamodb.list_tags_of_resource().resource_arn(arn).send().await.expect("tags");
    listed.tags().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect()
}

async fn tags_of_files(cloud: &TestAws) -> BTreeMap<String, String> {
    let listed = cloud.aws.s3.get_bucket_tagging().bucket(FILES).send().await.expect("tags");
    listed.tag_set().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect()
}

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The operations that may have changed something, after this number of calls.
async fn changes_since(cloud: &TestAws, calls: usize) -> BTreeSet<String> {
    let journal = cloud.control().journal().await;
    let changes = journal.iter().skip(calls).filter(|call| call["mutating"] == true);
    changes.filter_map(|call| call["operation"].as_str().map(str::to_owned)).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_are_listed_and_resources_of_others_are_left_alone() {
    let (cloud, project) = (TestAws::start().await, Project::with(&format!("{SMALL}{OF_OTHERS}")));
    cloud.aws.s3.create_bucket().bucket(FILES).send().await.expect("a bucket can be made");
    make_table(&cloud, "small-posts", "user", ("team", "a")).await;
    make_table(&cloud, "small-likes", "user", (STACK_TAG, "large")).await;
    make_table(&cloud, "small-notes", "author", ("team", "a")).await;
    let calls = cloud.control().journal().await.len();

    let listed = cloud.run(&project, &["adopt", "--json"]).await;
    assert_eq!(listed.code, 64, "{}", listed.all());
    let document: Value = serde_json::from_str(&listed.stdout).expect("one JSON document");
    let all = document["resources"].as_array().expect("a list");
    let pair = |line: &Value| Some((line["address"].as_str()?.to_owned(), line["finding"].as_str()?.to_owned()));
    let found: BTreeMap<String, String> = all.iter().filter_map(pair).collect();
    assert_eq!(document["free"], 2);
    assert_eq!(
        found,
        tags(&[
            ("bucket.artifacts", "absent"),
            ("bucket.files", "free"),
            ("table.likes", "foreign"),
            ("table.notes", "fixed"),
            ("table.posts", "free"),
            ("notification.files", "part"),
        ])
    );
    assert_eq!(changes_since(&cloud, calls).await, names(&[]));

    let adopted = cloud.run(&project, &["adopt", "--yes"]).await;
    assert_eq!(adopted.code, 1, "{}", adopted.all());
    for text in [
        "can be taken over; below each, what the next `up` changes (2)\n",
        "plain_http_denied: false → true",
        "not taken over: `up` cannot change these fields of them (1)\n",
        "partition_key: author → user (stack.yaml:8)",
        "never taken over: they have another owner (1)\n",
        "belongs to stack \"large\"",
        "not found; the next `up` creates them (1)\n",
        "small-artifacts-000000000000-us-east-1",
        "names follow from `name` and the entries of stack.yaml",
        "took over 2 resources",
        "not taken over: 2 resources; `up` refuses the stack because of them",
    ] {
        says(&adopted, text);
    }
    assert_eq!(changes_since(&cloud, calls).await, names(&["PutBucketTagging", "TagResource"]));
    assert_eq!(tags_of_files(&cloud).await, tags(&[(STACK_TAG, "small"), (RESOURCE_TAG, "bucket.files")]));
    until("the tags of the table", async || {
        let wanted = [("team", "a"), (STACK_TAG, "small"), (RESOURCE_TAG, "table.posts")];
        tags_of_table(&cloud, "small-posts").await == tags(&wanted)
    })
    .await;
    assert_eq!(tags_of_table(&cloud, "small-likes").await, tags(&[(STACK_TAG, "large")]));
    assert_eq!(tags_of_table(&cloud, "small-notes").await, tags(&[("team", "a")]));

    project.describe(SMALL);
    cloud.done(&project, &["up", "--yes"]).await;
    assert_eq!(cloud.run(&project, &["plan", "--detailed-exitcode"]).await.code, 0);
    cloud.done(&project, &["down", "--yes"]).await;
    assert_eq!(cloud.tables().await, ["small-likes", "small-notes"]);
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_that_another_stack_tags_after_the_list_are_left_alone() {
    let (cloud, project) = (TestAws::start().await, Project::with(SMALL));
    cloud.aws.s3.create_bucket().bucket(FILES).send().await.expect("a bucket can be made");
    make_table(&cloud, "small-posts", "user", ("team", "a")).await;
    let mut terminal = Terminal::of(&cloud.command(&project, &["adopt"]));
    terminal.see(QUESTION).await;
    let theirs = BucketTag::builder().key(STACK_TAG).value("large").build().expect("a whole tag");
    let tagging = Tagging::builder().tag_set(theirs).build().expect("tags are given");
    cloud.aws.s3.put_bucket_tagging().bucket(FILES).tagging(tagging).send().await.expect("tags can be put");
    let calls = cloud.control().journal().await.len();
    terminal.press("y\n").await;
    let said = terminal.end().await;
    assert_eq!(said.code, 1, "{}", said.all());
    says(&said, "exists but belongs to stack \"large\"");
    assert_eq!(tags_of_files(&cloud).await, tags(&[(STACK_TAG, "large")]));
    assert_eq!(changes_since(&cloud, calls).await, names(&["TagResource"]), "the table alone is taken over");
    cloud.end().await;
}

/// AWS cannot change the path, by which a stack lists its roles.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_taken_over_at_the_path_of_the_stack_only() {
    const ROLE: &str = "small-us-east-1-f-fn";
    const EMPTY: &str = "name: small\nregion: us-east-1\n";
    let description = format!("{EMPTY}functions:\n  f: {{ binary: {} }}\n", echo_function().display());
    let (cloud, project) = (TestAws::start().await, Project::with(&description));
    let iam = &cloud.aws.iam;
    let make = async |path: &str| {
        let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
        let call = iam.create_role().role_name(ROLE).path(path).assume_role_policy_document(trust);
        call.send().await.expect("a role can be made");
    };
    let count = async || {
        let listed = cloud.done(&project, &["ls", "--json"]).await;
        let document: Value = serde_json::from_str(&listed.stdout).expect("one JSON document");
        document["stacks"][0]["resources"]["role"].as_u64()
    };

    make("/").await;
    let calls = cloud.control().journal().await.len();
    let adopted = cloud.run(&project, &["adopt", "--yes"]).await;
    assert_eq!(adopted.code, 1, "{}", adopted.all());
    says(&adopted, "not taken over: `up` cannot change these fields of them (1)\n");
    says(&adopted, "path: / → /deployer/small/");
    let up = cloud.run(&project, &["up", "--yes", "--adopt", "role.f-fn"]).await;
    assert_eq!(up.code, 1, "{}", up.all());
    says(&up, "AWS cannot change the path of small-us-east-1-f-fn");
    assert_eq!(changes_since(&cloud, calls).await, names(&[]));

    iam.delete_role().role_name(ROLE).send().await.expect("it can be deleted");
    make("/deployer/small/").await;
    says(&cloud.done(&project, &["adopt", "--yes"]).await, "took over 1 resource;");
    assert_eq!(count().await, Some(1));
    cloud.done(&project, &["up", "--yes"]).await;
    // Without its entry, it is found by its path alone.
    project.describe(EMPTY);
    cloud.done(&project, &["up", "--yes"]).await;
    assert!(iam.get_role().role_name(ROLE).send().await.is_err(), "it is removed");
    assert_eq!(count().await, None);
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// AWS denies the tags of a table that is being deleted (docs/aws.md §5.2).
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_deleted_by_hand_meanwhile_fails_no_command() {
    let (cloud, project) = (TestAws::start().await, Project::with(SMALL));
    for command in [&["adopt"][..], &["plan"], &["ls"], &["up", "--yes"], &["down", "--yes"]] {
        make_table(&cloud, "small-left", "user", ("team", "a")).await;
        cloud.aws.dynamodb.delete_table().table_name("small-left").send().await.expect("it can be deleted");
        cloud.done(&project, command).await;
        until("the end of the table", async || cloud.tables().await.iter().all(|name| name != "small-left")).await;
    }
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_account_has_nothing_to_take_over() {
    let (cloud, project) = (TestAws::start().await, Project::with(SMALL));
    let said = cloud.done(&project, &["adopt"]).await;
    says(&said, "nothing to take over");
    assert_eq!(cloud.run(&project, &["import"]).await.code, 64);
    cloud.end().await;
}

/// One without our tags may be anyone's.
#[tokio::test(flavor = "multi_thread")]
async fn an_elastic_ip_address_is_only_listed_as_ours_or_as_absent() {
    let (cloud, project) = (TestAws::start().await, Project::direct());
    cloud.aws.ec2.allocate_address().send().await.expect("an address can be allocated");
    let said = cloud.done(&project, &["adopt"]).await;
    says(&said, "nothing to take over");
    says(&said, "\n  elastic_address.web");
    says(&said, "an elastic IP address has no name to look for");
    cloud.done(&project, &["up", "--yes"]).await;
    let said = cloud.done(&project, &["adopt"]).await;
    says(&said, "\n  elastic_address.web");
    assert!(!said.stderr.contains("not found"), "{}", said.all());
    cloud.done(&project, &["down", "--yes"]).await;
    let left = cloud.aws.ec2.describe_addresses().send().await.expect("addresses");
    assert_eq!(left.addresses().len(), 1, "the one without tags is kept");
    cloud.end().await;
}
