//! Keys of every type, secondary indexes, time to live and streams of tables.

use aws_sdk_dynamodb::types::{AttributeValue, TableDescription};

use crate::support::{Project, cloud::TestAws, says};

const POSTS: &str = "\
name: rows
region: us-east-1
tables:
  posts:
    partition_key: user
    sort_key: { name: at, type: number }
    local_indexes:
      by-title: { sort_key: title, include: [] }
    indexes:
      by-label: { partition_key: label, sort_key: { name: at, type: number } }
    time_to_live: ends
    stream: new_image
";

async fn described(cloud: &TestAws) -> TableDescription {
    let table = cloud.aws.dynamodb.describe_table().table_name("rows-posts").send().await.expect("it is there");
    table.table.expect("it is described")
}

async fn indexes(cloud: &TestAws) -> Vec<String> {
    let names = described(cloud).await;
    let mut names: Vec<_> = names.global_secondary_indexes().iter().filter_map(|it| it.index_name.clone()).collect();
    names.sort();
    names
}

async fn is_unchanged(cloud: &TestAws, project: &Project) {
    let plan = cloud.run(project, &["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 0, "{}", plan.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_has_the_described_keys_indexes_time_to_live_and_stream() {
    let (cloud, project) = (TestAws::start().await, Project::with(POSTS));
    cloud.done(&project, &["up", "--yes"]).await;
    is_unchanged(&cloud, &project).await;

    let table = described(&cloud).await;
    assert_eq!(table.stream_specification().and_then(|it| it.stream_view_type()).unwrap().as_str(), "NEW_IMAGE");
    let expiry = cloud.aws.dynamodb.describe_time_to_live().table_name("rows-posts").send().await.expect("it is there");
    assert_eq!(expiry.time_to_live_description.unwrap().attribute_name.as_deref(), Some("ends"));

    // Rows are found by both indexes; the local one copies the keys alone.
    let text = |text: &str| AttributeValue::S(text.into());
    let put = cloud.aws.dynamodb.put_item().table_name("rows-posts").item("user", text("ann"));
    let put = put.item("at", AttributeValue::N("7".into())).item("title", text("Sea")).item("label", text("beach"));
    put.item("body", text("long")).send().await.expect("a row can be put");
    let found = async |index: &str, key: &str, value: &str| {
        let query = cloud.aws.dynamodb.query().table_name("rows-posts").index_name(index);
        let query = query.key_condition_expression("#k = :v").expression_attribute_names("#k", key);
        let found = query.expression_attribute_values(":v", text(value)).send().await.expect("it can be queried");
        let mut names: Vec<String> = found.items()[0].keys().cloned().collect();
        names.sort();
        names
    };
    assert_eq!(found("by-label", "label", "beach").await, ["at", "body", "label", "title", "user"]);
    assert_eq!(found("by-title", "user", "ann").await, ["at", "title", "user"]);
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_and_the_stream_change_one_after_another_and_a_changed_index_is_rebuilt() {
    let (cloud, project) = (TestAws::start().await, Project::with(POSTS));
    cloud.done(&project, &["up", "--yes"]).await;
    project.edit("by-label: { partition_key: label, sort_key: { name: at, type: number } }", "by-label: { partition_key: label, include: [body] }\n      by-hash: { partition_key: { name: hash, type: binary } }");
    project.edit("stream: new_image", "stream: keys_only");
    let plan = cloud.run(&project, &["plan"]).await;
    says(&plan, "indexes.by-label.sort_key: at (number) → nothing");
    says(&plan, "stream: NEW_IMAGE → KEYS_ONLY");
    cloud.done(&project, &["up", "--yes"]).await;
    is_unchanged(&cloud, &project).await;
    assert_eq!(indexes(&cloud).await, ["by-hash", "by-label"]);

    project.edit("      by-hash: { partition_key: { name: hash, type: binary } }\n", "");
    project.edit("    stream: keys_only\n", "");
    cloud.done(&project, &["up", "--yes"]).await;
    is_unchanged(&cloud, &project).await;
    assert_eq!(indexes(&cloud).await, ["by-label"]);
    assert!(described(&cloud).await.stream_specification().is_none_or(|stream| !stream.stream_enabled()));
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_change_of_the_time_to_live_within_an_hour_is_refused_with_the_remedy() {
    let (cloud, project) = (TestAws::start_at("60".parse().expect("a speed")).await, Project::with(POSTS));
    cloud.done(&project, &["up", "--yes"]).await;
    project.edit("time_to_live: ends", "time_to_live: expires");
    let up = cloud.run(&project, &["up", "--yes"]).await;
    assert_eq!(up.code, 1, "{}", up.all());
    says(&up, "DynamoDB allows one change of `time_to_live` an hour: run `up` again in an hour");
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn local_indexes_are_fixed_at_creation() {
    let (cloud, project) = (TestAws::start().await, Project::with(POSTS));
    cloud.done(&project, &["up", "--yes"]).await;
    project.edit("by-title: { sort_key: title, include: [] }", "by-title: { sort_key: title }");
    let up = cloud.run(&project, &["up", "--yes"]).await;
    assert_eq!(up.code, 1, "{}", up.all());
    says(&up, "would have to be replaced to change local_indexes.by-title.include");
    cloud.end().await;
}

/// The role of a service that reads a table may query its indexes, which have ARNs of their own.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_a_table_may_query_its_indexes() {
    let description = format!(
        "{POSTS}functions:\n  reader: {{ binary: {}, uses: {{ tables: {{ posts: read }} }} }}\n",
        testkit::small_programs::echo_function().display()
    );
    let (cloud, project) = (TestAws::start().await, Project::with(&description));
    cloud.done(&project, &["up", "--yes"]).await;
    let policies = cloud.aws.iam.get_role_policy().role_name("rows-us-east-1-reader-fn");
    let policy = policies.policy_name("deployer").send().await.expect("it has a policy");
    let policy = percent_encoding::percent_decode_str(policy.policy_document()).decode_utf8_lossy().into_owned();
    assert!(policy.contains("table/rows-posts/index/*"), "{policy}");
    cloud.end().await;
}
