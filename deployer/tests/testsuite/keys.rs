//! Keys of KMS, tracing and namespaces, one line each: AWS gets them, roles get the rights that they need, and without the line
//! the default is back.

use aws_sdk_dynamodb::types::SseType;
use aws_sdk_lambda::types::TracingMode;
use aws_sdk_s3::types::ServerSideEncryption;
use serde_json::{Value, json};

use crate::support::{Project, cloud::TestAws, says};

const KEY: &str = "arn:aws:kms:us-east-1:000000000000:key/12345678-1234-1234-1234-123456789012";
const BUCKET: &str = "postagram-images-000000000000-us-east-1";

/// Texts of the shipped description, and the lines to add after them.
fn lines() -> [(&'static str, String); 4] {
    [
        ("    on_upload: { function: labeler }\n", "    key: alias/app\n".to_owned()),
        ("sort_key: id", format!(", key: {KEY:?}")),
        ("    timeout_s: 30\n", format!("    tracing: true\n    key: {KEY}\n    log_key: {KEY}\n")),
        ("    health_check: /health\n", format!("    key: alias/app\n    log_key: {KEY}\n")),
    ]
}

async fn is_unchanged(cloud: &TestAws, project: &Project) {
    let plan = cloud.run(project, &["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 0, "{}", plan.all());
}

/// The keys and the tracing of the stack, as AWS describes them.
#[derive(Debug, PartialEq)]
struct KeysAndTracing {
    bucket: (ServerSideEncryption, Option<String>, bool),
    table: Option<String>,
    function: (Option<String>, bool),
    logs: Vec<Option<String>>,
    disk: Option<String>,
}

impl KeysAndTracing {
    async fn of(cloud: &TestAws) -> KeysAndTracing {
        let aws = &cloud.aws;
        let bucket = aws.s3.get_bucket_encryption().bucket(BUCKET).send().await.expect("an encryption");
        let bucket = bucket.server_side_encryption_configuration.expect("a configuration").rules.remove(0);
        let default = bucket.apply_server_side_encryption_by_default.as_ref().expect("a default");
        let table = aws.dynamodb.describe_table().table_name("postagram-posts").send().await.expect("a table");
        let encryption = table.table.expect("it is described").sse_description;
        let encryption = encryption.filter(|encryption| encryption.sse_type == Some(SseType::Kms));
        let function = aws.lambda.get_function_configuration().function_name("postagram-labeler").send().await;
        let function = function.expect("a function");
        let mode = function.tracing_config.and_then(|tracing| tracing.mode);
        let groups = aws.logs.describe_log_groups().send().await.expect("log groups").log_groups.unwrap_or_default();
        let template = aws.ec2.describe_launch_template_versions().launch_template_name("postagram-web");
        let template = template.versions("$Latest").send().await.expect("a version");
        let data = template.launch_template_versions()[0].launch_template_data().expect("data");
        let disk = data.block_device_mappings()[0].ebs().and_then(|disk| disk.kms_key_id());
        KeysAndTracing {
            bucket: (
                default.sse_algorithm.clone(),
                default.kms_master_key_id.clone(),
                bucket.bucket_key_enabled.unwrap_or(false),
            ),
            table: encryption.and_then(|encryption| encryption.kms_master_key_arn),
            function: (function.kms_key_arn, mode == Some(TracingMode::Active)),
            logs: groups.into_iter().map(|group| group.kms_key_id).collect(),
            disk: disk.map(str::to_owned),
        }
    }
}

/// The statements of a role's policy with these ids.
async fn statements(cloud: &TestAws, role: &str, beginning: &str) -> Vec<Value> {
    let call = cloud.aws.iam.get_role_policy().role_name(role).policy_name("deployer");
    let policy = call.send().await.expect("a policy").policy_document;
    let policy = percent_encoding::percent_decode_str(&policy).decode_utf8().expect("text").into_owned();
    let policy: Value = serde_json::from_str(&policy).expect("a policy is JSON");
    let all = policy["Statement"].as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|it| it["Sid"].as_str().is_some_and(|sid| sid.starts_with(beginning))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_tracing_are_given_to_aws_and_taken_back() {
    let (cloud, project) = (TestAws::start().await, Project::light());
    let plain = project.description();
    for (after, line) in lines() {
        project.edit(after, &format!("{after}{line}"));
    }
    cloud.done(&project, &["up", "--yes"]).await;
    is_unchanged(&cloud, &project).await;
    let key = || Some(KEY.to_owned());
    let actual = KeysAndTracing::of(&cloud).await;
    let expected = KeysAndTracing {
        bucket: (ServerSideEncryption::AwsKms, Some("alias/app".into()), true),
        table: key(),
        function: (key(), true),
        logs: vec![key(), key()],
        disk: Some("alias/app".into()),
    };
    assert_eq!(actual, expected);

    // Roles use the keys by way of S3 and DynamoDB, and never by themselves.
    let [labeler, web] = ["postagram-us-east-1-labeler-fn", "postagram-us-east-1-web-svc"];
    assert_eq!(statements(&cloud, labeler, "WriteTraces").await.len(), 1);
    for role in [labeler, web] {
        let used = statements(&cloud, role, "UseKey").await;
        let via = |service: &str| {
            let service = json!(format!("{service}.us-east-1.amazonaws.com"));
            used.iter().find(|it| it["Condition"]["StringEquals"]["kms:ViaService"] == service).expect("it is used")
        };
        assert_eq!(via("dynamodb")["Resource"], KEY, "{role}");
        let of_bucket = &via("s3")["Condition"]["ForAnyValue:StringEquals"]["kms:ResourceAliases"];
        assert_eq!(of_bucket, "alias/app", "{role}");
    }

    // Objects are encrypted with the key, and say so.
    let put = cloud.aws.s3.put_object().bucket(BUCKET).key("a").body(b"a".to_vec().into());
    let put = put.send().await.expect("an object can be put");
    assert_eq!(
        (put.server_side_encryption(), put.bucket_key_enabled()),
        (Some(&ServerSideEncryption::AwsKms), Some(true))
    );

    project.describe(&plain);
    cloud.done(&project, &["up", "--yes"]).await;
    is_unchanged(&cloud, &project).await;
    let expected = KeysAndTracing {
        bucket: (ServerSideEncryption::Aes256, None, false),
        table: None,
        function: (None, false),
        logs: vec![None, None],
        disk: None,
    };
    assert_eq!(KeysAndTracing::of(&cloud).await, expected);
    assert_eq!(statements(&cloud, web, "UseKey").await, Vec::<Value>::new());
    // What was encrypted with the key before stays so.
    let old = cloud.aws.s3.head_object().bucket(BUCKET).key("a").send().await.expect("it is there");
    assert_eq!(old.server_side_encryption(), Some(&ServerSideEncryption::AwsKms));
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_does_not_exist_fails_with_the_words_of_aws() {
    let absent = KEY.replace("12345678-1234-1234-1234-123456789012", "00000000-0000-0000-0000-000000000000");
    let description =
        format!("name: small\nregion: us-east-1\ntables:\n  posts: {{ partition_key: id, key: {absent:?} }}\n");
    let (cloud, project) = (TestAws::start().await, Project::with(&description));
    let up = cloud.run(&project, &["up", "--yes"]).await;
    assert_eq!(up.code, 1, "{}", up.all());
    says(&up, &format!("Key {absent} does not exist"));
    project.edit(&absent, KEY);
    cloud.done(&project, &["up", "--yes"]).await;
    is_unchanged(&cloud, &project).await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_in_the_regional_namespace_has_a_name_of_its_own() {
    let description = "name: small\nregion: us-east-1\nbuckets:\n  a: { namespace: account-regional }\n";
    let (cloud, project) = (TestAws::start().await, Project::with(description));
    cloud.done(&project, &["up", "--yes"]).await;
    is_unchanged(&cloud, &project).await;
    let artifacts = "small-artifacts-000000000000-us-east-1";
    let [global, regional] = ["small-a-000000000000-us-east-1", "small-a-000000000000-us-east-1-an"];
    assert_eq!(cloud.buckets().await, [regional, artifacts]);
    let listed = cloud.done(&project, &["ls"]).await;
    assert!(listed.stdout.contains("small"), "{}", listed.all());

    // Another namespace is another bucket: the first one is kept until it is named.
    project.edit("namespace: account-regional", "protect: false");
    let up = cloud.run(&project, &["up", "--yes"]).await;
    assert_eq!(up.code, 3, "{}", up.all());
    says(&up, &format!("kept bucket.{regional}"));
    assert_eq!(cloud.buckets().await, [global, regional, artifacts]);
    cloud.done(&project, &["up", "--yes", "--delete", &format!("bucket.{regional}")]).await;
    assert_eq!(cloud.buckets().await, [global, artifacts]);
    cloud.done(&project, &["down", "--yes"]).await;
    assert_eq!(cloud.buckets().await, Vec::<String>::new());
    cloud.end().await;
}
