//! No data is deleted as a side effect: tables and buckets are deleted only if they are named.

use crate::support::{Project, cloud::TestAws, says};

const TWO_TABLES: &str = "\
name: data
region: us-east-1
buckets:
  files: {}
tables:
  posts: { partition_key: user }
  likes: { partition_key: post }
";

async fn up_with(description: &str) -> (TestAws, Project) {
    let (cloud, project) = (TestAws::start().await, Project::with(description));
    cloud.done(&project, &["up", "--yes"]).await;
    (cloud, project)
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_buckets_are_kept_until_they_are_named() {
    let (cloud, project) = up_with(TWO_TABLES).await;
    let row = aws_sdk_dynamodb::types::AttributeValue::S("1".into());
    cloud.aws.dynamodb.put_item().table_name("data-likes").item("post", row).send().await.expect("a row can be put");
    project.edit("  likes: { partition_key: post }\n", "");
    project.edit("buckets:\n  files: {}\n", "");

    // The plan shows both, and `--yes` alone deletes neither, while all other work is done.
    let plan = cloud.run(&project, &["plan"]).await;
    says(&plan, "- table.data-likes");
    says(&plan, "with 1 row");
    project.edit("tables:\n", "tables:\n  more: { partition_key: k }\n");
    let up = cloud.run(&project, &["up", "--yes"]).await;
    assert_eq!(up.code, 3, "{}", up.all());
    says(&up, "table.more  created");
    says(&up, "kept table.data-likes with 1 row, which is no longer in stack.yaml");
    says(&up, "--delete table.data-likes");
    assert_eq!(cloud.tables().await, ["data-likes", "data-more", "data-posts"]);
    assert_eq!(cloud.run(&project, &["up", "--yes"]).await.code, 3, "kept data is reported every time");

    // Only what is named is deleted, by its name in the plan or the name that it had in stack.yaml.
    let refused = cloud.run(&project, &["up", "--yes", "--delete", "tables.posts"]).await;
    assert_eq!(refused.code, 64, "{}", refused.all());
    says(&refused, "still in stack.yaml");
    let up = cloud.run(&project, &["up", "--yes", "--delete", "tables.likes"]).await;
    assert_eq!(up.code, 3, "the bucket is still kept: {}", up.all());
    assert_eq!(cloud.tables().await, ["data-more", "data-posts"]);
    let up = cloud.done(&project, &["up", "--yes", "--delete", "tables.likes", "--delete", "bucket.files"]).await;
    says(&up, "--delete tables.likes: there is no such table");
    assert_eq!(cloud.buckets().await, ["data-artifacts-000000000000-us-east-1"]);
    assert_eq!(cloud.run(&project, &["plan", "--detailed-exitcode"]).await.code, 0);
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_table_key_is_refused_before_anything_changes_and_the_remedy_is_shown() {
    let (cloud, project) = up_with(TWO_TABLES).await;
    project.edit("{ partition_key: user }", "{ partition_key: user, sort_key: id }");
    project.edit("  files: {}", "  files: {}\n  other: {}");
    let plan = cloud.run(&project, &["plan"]).await;
    says(&plan, "± table.posts");
    let up = cloud.run(&project, &["up", "--yes"]).await;
    assert_eq!(up.code, 1, "{}", up.all());
    says(&up, "would have to be replaced to change sort_key");
    says(&up, "under another name");
    says(&up, "stack.yaml:");
    assert!(!cloud.buckets().await.iter().any(|bucket| bucket.contains("other")), "nothing else was done either");
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn protected_tables_and_buckets_are_never_deleted() {
    let protected = "\
name: data
region: us-east-1
buckets:
  files: { protect: true }
tables:
  posts: { partition_key: user, protect: true, point_in_time_recovery: true }
";
    let (cloud, project) = up_with(protected).await;
    let table = cloud.aws.dynamodb.describe_table().table_name("data-posts").send().await.expect("it is there");
    assert_eq!(table.table().and_then(|table| table.deletion_protection_enabled()), Some(true));
    let backups = cloud.aws.dynamodb.describe_continuous_backups().table_name("data-posts").send().await;
    let backups = format!("{:?}", backups.expect("an answer"));
    assert!(backups.contains("point_in_time_recovery_status: Some(Enabled)"), "{backups}");
    assert_eq!(cloud.run(&project, &["plan", "--detailed-exitcode"]).await.code, 0);

    // `down` does nothing at all, not even if everything is named; nor does `up`.
    let down = cloud.run(&project, &["down", "--yes"]).await;
    assert_eq!(down.code, 1, "{}", down.all());
    says(&down, "bucket.files and table.posts: protected against deletion, so nothing was changed");
    let one = cloud.run(&project, &["down", "--yes", "--keep", "bucket.files"]).await;
    assert_eq!(one.code, 1, "{}", one.all());
    let both = project.description();
    project.describe("name: data\nregion: us-east-1\n");
    let up = cloud.run(&project, &["up", "--yes", "--delete", "table.posts", "--delete", "bucket.files"]).await;
    assert_eq!(up.code, 3, "{}", up.all());
    says(&up, "protect: false");
    assert_eq!(cloud.tables().await, ["data-posts"]);
    assert_eq!(cloud.buckets().await.len(), 2);

    // Without the protection, it is deleted like everything else.
    project.describe(&both.replace("protect: true", "protect: false"));
    let up = cloud.done(&project, &["up", "--yes"]).await;
    says(&up, "protected: true → false");
    cloud.done(&project, &["down", "--yes"]).await;
    assert_eq!((cloud.tables().await.len(), cloud.buckets().await.len()), (0, 0));
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn down_keeps_what_keep_names() {
    let (cloud, project) = up_with(TWO_TABLES).await;
    project.edit("  likes: { partition_key: post }\n", "");
    let nothing = cloud.run(&project, &["down", "--yes", "--keep", "table.nothing"]).await;
    assert_eq!(nothing.code, 64, "{}", nothing.all());
    cloud.done(&project, &["down", "--yes", "--keep", "bucket.files", "--keep", "table.likes"]).await;
    assert_eq!(cloud.tables().await, ["data-likes"], "it was kept although it is no longer in stack.yaml");
    assert_eq!(cloud.buckets().await.len(), 2, "the kept bucket, and the anchor by which the stack is found");
    let up = cloud.run(&project, &["up", "--yes"]).await;
    says(&up, "kept table.data-likes");
    cloud.done(&project, &["down", "--yes"]).await;
    assert_eq!((cloud.tables().await.len(), cloud.buckets().await.len()), (0, 0));
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lifecycle_deletes_objects_that_are_there_only_if_it_is_confirmed() {
    let (cloud, project) = up_with("name: data\nregion: us-east-1\nbuckets:\n  files: { protect: false }\n").await;
    let bucket = "data-files-000000000000-us-east-1";
    let days = async || {
        let call = cloud.aws.s3.get_bucket_lifecycle_configuration().bucket(bucket);
        let rules = call.send().await.expect("there are rules").rules.unwrap_or_default();
        rules.iter().find(|rule| rule.id() == Some("deployer-objects")).and_then(|rule| rule.expiration()?.days())
    };
    let up = async |lifecycle: &str, arguments: &[&str]| {
        project.describe(&format!(
            "name: data\nregion: us-east-1\nbuckets:\n  files: {{ protect: false, lifecycle: {lifecycle} }}\n"
        ));
        cloud.run(&project, &[&["up", "--yes"], arguments].concat()).await
    };
    // An empty bucket has nothing to lose.
    assert_eq!(up("{ expire_days: 30 }", &[]).await.code, 0);
    assert_eq!(days().await, Some(30));
    assert_eq!(up("{}", &[]).await.code, 0);
    let put = cloud.aws.s3.put_object().bucket(bucket).key("a").body(b"a".to_vec().into());
    put.send().await.expect("an object can be put");

    let left = up("{ expire_days: 30 }", &[]).await;
    assert_eq!((left.code, days().await), (3, None), "{}", left.all());
    says(&left, "left bucket.files as it is: S3 would delete objects after 30 days; it holds 1 object");
    says(&left, "deployer up --expire bucket.files");
    let named = up("{ expire_days: 30 }", &["--expire", "bucket.files"]).await;
    assert_eq!((named.code, days().await), (0, Some(30)), "{}", named.all());
    assert_eq!(up("{ expire_days: 7 }", &[]).await.code, 3);
    assert_eq!(days().await, Some(30), "sooner");
    assert_eq!(up("{ expire_days: 60 }", &[]).await.code, 0);
    assert_eq!(days().await, Some(60), "later");

    // On a terminal, its name confirms it.
    project.edit("expire_days: 60", "expire_days: 1");
    let said = cloud.at_a_terminal(&project, &["up"], &["y", "yes"]).await;
    assert_eq!((said.code, days().await), (3, Some(60)), "{}", said.all());
    let said = cloud.at_a_terminal(&project, &["up"], &["y", bucket]).await;
    assert!(said.stderr.contains(&format!("Type {bucket} to allow this")), "{}", said.all());
    assert_eq!((said.code, days().await), (0, Some(1)), "{}", said.all());
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// Without older versions, and without a rule that makes an object one, nothing that is there can end.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_for_older_versions_is_confirmed_only_if_some_are_there_or_objects_end() {
    let describe = |lifecycle: &str| {
        format!("name: data\nregion: us-east-1\nbuckets:\n  files: {{ versioning: true, lifecycle: {lifecycle} }}\n")
    };
    let (cloud, project) = up_with(&describe("{}")).await;
    let put = async || {
        let call = cloud.aws.s3.put_object().bucket("data-files-000000000000-us-east-1").key("a");
        call.body(b"a".to_vec().into()).send().await.expect("an object can be put");
    };
    let up = async |lifecycle: &str, arguments: &[&str]| {
        project.describe(&describe(lifecycle));
        cloud.run(&project, &[&["up", "--yes"], arguments].concat()).await
    };
    put().await;
    let first = up("{ noncurrent_days: 30 }", &[]).await;
    assert_eq!(first.code, 0, "{}", first.all());
    assert_eq!(up("{ expire_days: 9 }", &["--expire", "bucket.files"]).await.code, 0);
    let left = up("{ expire_days: 9, noncurrent_days: 30 }", &[]).await;
    assert_eq!(left.code, 3, "{}", left.all());
    says(&left, "S3 would delete older versions of objects after 30 days; it holds 1 object");
    assert_eq!(up("{}", &[]).await.code, 0);
    put().await;
    let left = up("{ noncurrent_days: 7 }", &[]).await;
    assert_eq!(left.code, 3, "{}", left.all());
    says(&left, "S3 would delete older versions of objects after 7 days; it holds 1 object and 1 older version");
    cloud.end().await;
}

/// A bucket is taken over with its objects.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_not_taken_over_with_a_lifecycle_before_that_is_confirmed() {
    let tables = "name: data\nregion: us-east-1\ntables:\n  posts: { partition_key: user }\n";
    let (cloud, project) = up_with(tables).await;
    let bucket = "data-files-000000000000-us-east-1";
    let s3 = &cloud.aws.s3;
    s3.create_bucket().bucket(bucket).send().await.expect("a bucket");
    let put = s3.put_object().bucket(bucket).key("a").body(b"a".to_vec().into());
    put.send().await.expect("an object can be put");
    project.describe(&format!("{tables}buckets:\n  files: {{ lifecycle: {{ expire_days: 1 }} }}\n"));
    let rules = async || s3.get_bucket_lifecycle_configuration().bucket(bucket).send().await;
    let left = cloud.run(&project, &["up", "--yes", "--adopt", "bucket.files"]).await;
    assert_eq!((left.code, rules().await.is_err()), (3, true), "{}", left.all());
    says(&left, "left bucket.files as it is: S3 would delete objects after 1 day; it holds 1 object");
    cloud.done(&project, &["up", "--yes", "--adopt", "bucket.files", "--expire", "bucket.files"]).await;
    let rules = rules().await.expect("there are rules").rules.unwrap_or_default();
    assert!(rules.iter().any(|rule| rule.id() == Some("deployer-objects")), "{rules:?}");
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_to_live_deletes_rows_that_are_there_only_if_it_is_confirmed() {
    let describe =
        |fields: &str| format!("name: data\nregion: us-east-1\ntables:\n  posts: {{ partition_key: user{fields} }}\n");
    let (cloud, project) = up_with(&describe("")).await;
    let attribute = async || {
        let call = cloud.aws.dynamodb.describe_time_to_live().table_name("data-posts");
        call.send().await.expect("it is there").time_to_live_description.and_then(|it| it.attribute_name)
    };
    let row = aws_sdk_dynamodb::types::AttributeValue::S("ann".into());
    let put = cloud.aws.dynamodb.put_item().table_name("data-posts").item("user", row);
    put.send().await.expect("a row can be put");

    project.describe(&describe(", time_to_live: ends"));
    let plan = cloud.run(&project, &["plan"]).await;
    says(&plan, "has passed; for what it holds already, `up` needs --expire table.posts");
    let left = cloud.run(&project, &["up", "--yes"]).await;
    assert_eq!((left.code, attribute().await), (3, None), "{}", left.all());
    says(
        &left,
        "left table.posts as it is: DynamoDB would delete rows whose time in `ends` has passed; it holds 1 row",
    );
    says(&left, "deployer up --expire table.posts");
    let named = cloud.run(&project, &["up", "--yes", "--expire", "table.posts"]).await;
    assert_eq!((named.code, attribute().await.as_deref()), (0, Some("ends")), "{}", named.all());
    cloud.end().await;
}

/// Each deletion is confirmed on a terminal, which `script` provides.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_each_deletion_of_data_is_confirmed_by_name() {
    let (cloud, project) = up_with(TWO_TABLES).await;
    project.edit("  likes: { partition_key: post }\n", "");
    project.edit("buckets:\n  files: {}\n", "");
    let bucket = "data-files-000000000000-us-east-1";
    let said = cloud.at_a_terminal(&project, &["up"], &["y", "yes", bucket]).await;
    let (table_question, bucket_question) = ("Type data-likes to delete it", format!("Type {bucket} to delete it"));
    assert!(said.stderr.contains(table_question) && said.stderr.contains(&bucket_question), "{}", said.all());
    assert_eq!(said.code, 3, "`yes` does not confirm a deletion: {}", said.all());
    assert_eq!(cloud.tables().await, ["data-likes", "data-posts"]);
    assert_eq!(cloud.buckets().await, ["data-artifacts-000000000000-us-east-1"]);
    cloud.end().await;
}
