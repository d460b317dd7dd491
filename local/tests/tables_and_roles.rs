//! DynamoDB, IAM, STS, CloudWatch Logs and Rekognition, as the deployer and the service use them.

#[path = "tables/answers.rs"]
mod answers;
#[path = "tables/raw.rs"]
mod raw;

use aws_sdk_cloudwatchlogs::operation::get_log_events::GetLogEventsOutput;
use aws_sdk_cloudwatchlogs::types::{InputLogEvent, OrderBy};
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, PointInTimeRecoverySpecification, Put,
    PutRequest, ReturnValue, ScalarAttributeType, Select, TableDescription, Tag, TransactWriteItem, Update,
    WriteRequest,
};
use testkit::clients::table_is_active;
use testkit::{LocalAws, clients};

fn code<T: std::fmt::Debug, E: ProvideErrorMetadata, R>(
    answer: Result<T, aws_sdk_dynamodb::error::SdkError<E, R>>,
) -> String {
    answer.expect_err("a refusal").code().unwrap_or("none").to_owned()
}

/// The code of an error; empty on success.
fn code_of<T, E: ProvideErrorMetadata, R>(answer: Result<T, aws_sdk_dynamodb::error::SdkError<E, R>>) -> String {
    answer.err().map_or_else(String::new, |refused| refused.code().unwrap_or("none").to_owned())
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

#[tokio::test]
async fn a_batch_writes_an_item_once_and_a_transaction_a_hundred_at_most() {
    let aws = LocalAws::start().await;
    let client = table(&aws).await;
    table_is_active(&client, "posts").await;
    let name = |text: &str| AttributeValue::S(text.to_owned());
    let put = |id: &str, text: &str| {
        let put = PutRequest::builder().item("user", name("ada")).item("id", name(id)).item("text", name(text));
        WriteRequest::builder().put_request(put.build().unwrap()).build()
    };
    let write = |requests: Vec<WriteRequest>| client.batch_write_item().request_items("posts", requests).send();
    let refused = write(vec![put("1", "a"), put("2", "a"), put("1", "b")]).await.unwrap_err();
    assert_eq!(refused.message(), Some("Provided list of item keys contains duplicates"));
    write(vec![put("1", "a"), put("2", "a")]).await.unwrap();

    let items = |number: usize| {
        let put = |id: usize| {
            let put = Put::builder().table_name("posts").item("user", name("bob")).item("id", name(&id.to_string()));
            TransactWriteItem::builder().put(put.build().unwrap()).build()
        };
        client.transact_write_items().set_transact_items(Some((0..number).map(put).collect())).send()
    };
    assert_eq!(items(101).await.unwrap_err().code(), Some("ValidationException"));
    items(100).await.unwrap();
    aws.stop().await;
}

#[tokio::test]
async fn a_partiql_statement_is_paged_by_its_limit() {
    let aws = LocalAws::start().await;
    let client = table(&aws).await;
    table_is_active(&client, "posts").await;
    for number in 0..3 {
        let put = client.put_item().table_name("posts").item("user", AttributeValue::S("ada".to_owned()));
        put.item("id", AttributeValue::S(number.to_string())).send().await.unwrap();
    }
    let select = || client.execute_statement().statement("SELECT * FROM posts");
    let (mut sizes, mut ids, mut token) = (Vec::new(), Vec::new(), None);
    loop {
        let page = select().limit(2).set_next_token(token).send().await.unwrap();
        sizes.push(page.items().len());
        ids.extend(page.items().iter().map(|item| item["id"].as_s().unwrap().clone()));
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    ids.sort();
    assert_eq!((sizes, ids), (vec![2, 1], vec!["0".to_owned(), "1".to_owned(), "2".to_owned()]));
    assert_eq!(select().send().await.unwrap().items().len(), 3);
    assert!(select().limit(0).send().await.is_err());
    assert!(select().next_token("no token").send().await.is_err());
    aws.stop().await;
}

async fn table(aws: &LocalAws) -> aws_sdk_dynamodb::Client {
    let client = aws_sdk_dynamodb::Client::new(&aws.config);
    let attribute = |name: &str| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build().unwrap()
    };
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    client
        .create_table()
        .table_name("posts")
        .attribute_definitions(attribute("user"))
        .attribute_definitions(attribute("id"))
        .key_schema(key("user", KeyType::Hash))
        .key_schema(key("id", KeyType::Range))
        .billing_mode(BillingMode::PayPerRequest)
        .deletion_protection_enabled(true)
        .tags(Tag::builder().key("deployer:stack").value("postagram").build().unwrap())
        .send()
        .await
        .unwrap();
    client
}

async fn active_table(aws: &LocalAws) -> aws_sdk_dynamodb::Client {
    let client = table(aws).await;
    table_is_active(&client, "posts").await;
    client
}

#[tokio::test]
async fn a_table_shows_its_settings() {
    let aws = LocalAws::start().await;
    let client = active_table(&aws).await;
    let again = client.create_table().table_name("posts").billing_mode(BillingMode::PayPerRequest);
    let key = KeySchemaElement::builder().attribute_name("a").key_type(KeyType::Hash).build().unwrap();
    let a = AttributeDefinition::builder().attribute_name("a").attribute_type(ScalarAttributeType::S).build().unwrap();
    assert_eq!(code(again.key_schema(key).attribute_definitions(a).send().await), "ResourceInUseException");
    let found = client.describe_table().table_name("posts").send().await.unwrap();
    let found = found.table().unwrap();
    assert_eq!(found.table_status().unwrap().as_str(), "ACTIVE");
    assert_eq!(found.deletion_protection_enabled(), Some(true));
    assert_eq!(found.billing_mode_summary().unwrap().billing_mode().unwrap().as_str(), "PAY_PER_REQUEST");
    let arn = found.table_arn().unwrap();
    assert_eq!(arn, "arn:aws:dynamodb:us-east-1:000000000000:table/posts");
    let tags = client.list_tags_of_resource().resource_arn(arn).send().await.unwrap();
    assert_eq!(tags.tags()[0].value(), "postagram");
    client.untag_resource().resource_arn(arn).tag_keys("deployer:stack").send().await.unwrap();
    assert!(client.list_tags_of_resource().resource_arn(arn).send().await.unwrap().tags().is_empty());
    assert_eq!(client.list_tables().send().await.unwrap().table_names(), ["posts"]);

    let backups = client.describe_continuous_backups().table_name("posts").send().await.unwrap();
    let state = |backups: Option<&aws_sdk_dynamodb::types::ContinuousBackupsDescription>| {
        let recovery = backups.unwrap().point_in_time_recovery_description().unwrap();
        recovery.point_in_time_recovery_status().unwrap().as_str().to_owned()
    };
    assert_eq!(state(backups.continuous_backups_description()), "DISABLED");
    let enabled = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).build().unwrap();
    let backups = client.update_continuous_backups().table_name("posts").point_in_time_recovery_specification(enabled);
    for _ in 0..2 {
        let refused = backups.clone().send().await.unwrap_err().into_service_error();
        assert!(
            refused.is_continuous_backups_unavailable_exception(),
            "a new table is not ready at first: {refused:?}"
        );
    }
    assert_eq!(state(backups.send().await.unwrap().continuous_backups_description()), "ENABLED");
    let ttl = client.describe_time_to_live().table_name("posts").send().await.unwrap();
    assert_eq!(ttl.time_to_live_description().unwrap().time_to_live_status().unwrap().as_str(), "DISABLED");
    aws.stop().await;
}

#[tokio::test]
async fn tags_are_listed_ten_at_a_time() {
    let aws = LocalAws::start().await;
    let client = active_table(&aws).await;
    let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/posts";
    let tag = |number: usize| Tag::builder().key(format!("k{number:02}")).value("v").build().unwrap();
    client.tag_resource().resource_arn(arn).set_tags(Some((0..22).map(tag).collect())).send().await.unwrap();
    let (mut keys, mut sizes, mut token) = (Vec::new(), Vec::new(), None);
    loop {
        let page = client.list_tags_of_resource().resource_arn(arn).set_next_token(token).send().await.unwrap();
        sizes.push(page.tags().len());
        keys.extend(page.tags().iter().map(|tag| tag.key().to_owned()));
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    let expected = (0..22).map(|number| format!("k{number:02}"));
    assert_eq!(sizes, [10, 10, 3]);
    assert_eq!(keys, ["deployer:stack".to_owned()].into_iter().chain(expected).collect::<Vec<_>>());
    let refused = client.list_tags_of_resource().resource_arn(arn).next_token("no token!").send().await;
    assert_eq!(code(refused), "ValidationException");
    aws.stop().await;
}

#[tokio::test]
async fn invalid_tags_are_refused_with_the_errors_of_each_service() {
    let aws = LocalAws::start().await;
    let tables = active_table(&aws).await;
    let iam = aws_sdk_iam::Client::new(&aws.config);
    let logs = aws_sdk_cloudwatchlogs::Client::new(&aws.config);
    iam.create_role().role_name("web").assume_role_policy_document(TRUST).send().await.unwrap();
    logs.create_log_group().log_group_name("group").send().await.unwrap();
    let group = logs.describe_log_groups().send().await.unwrap().log_groups()[0].log_group_arn().unwrap().to_owned();
    let table = "arn:aws:dynamodb:us-east-1:000000000000:table/posts";
    let keys: Vec<String> = (0..51).map(|number| format!("k{number}")).collect();
    let (long, longer) = ("k".repeat(129), "v".repeat(257));
    let role = async |keys: &[&str], value: &str| {
        let tag = |key: &&str| aws_sdk_iam::types::Tag::builder().key(*key).value(value).build().unwrap();
        code_of(iam.tag_role().role_name("web").set_tags(Some(keys.iter().map(tag).collect())).send().await)
    };
    let log = async |keys: &[&str], value: &str| {
        let tags = keys.iter().map(|key| ((*key).to_owned(), value.to_owned())).collect();
        code_of(logs.tag_resource().resource_arn(&group).set_tags(Some(tags)).send().await)
    };
    let row = async |keys: &[&str], value: &str| {
        let tag = |key: &&str| Tag::builder().key(*key).value(value).build().unwrap();
        let tags = Some(keys.iter().map(tag).collect());
        code_of(tables.tag_resource().resource_arn(table).set_tags(tags).send().await)
    };
    let (invalid, input, value) = ("ValidationException", "InvalidInput", "ValidationError");
    let parameter = "InvalidParameterException";
    for (keys, text, in_iam, in_logs, in_dynamodb) in [
        (vec![long.as_str()], "v", value, parameter, invalid),
        (vec!["k"], longer.as_str(), value, parameter, invalid),
        (vec!["k"], "a(b)", value, parameter, ""),
        (vec!["aws:k"], "v", input, parameter, invalid),
        (vec!["k", "K"], "v", input, "", ""),
        (keys.iter().map(String::as_str).collect(), "v", "LimitExceeded", "TooManyTagsException", invalid),
    ] {
        assert_eq!(role(&keys, text).await, in_iam, "{keys:?}");
        assert_eq!(log(&keys, text).await, in_logs, "{keys:?}");
        assert_eq!(row(&keys, text).await, in_dynamodb, "{keys:?}");
    }
    // Existing tags count towards the limit.
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert_eq!(role(&keys[..50], "v").await, "");
    assert_eq!(role(&["K1"], "v").await, "", "IAM's tag keys are case-insensitive");
    assert_eq!(role(&keys[50..], "v").await, "LimitExceeded");
    assert_eq!([log(&keys[..48], "v").await, log(&keys[50..], "v").await], ["", "TooManyTagsException"]);
    assert_eq!([row(&keys[..47], "v").await, row(&keys[50..], "v").await], ["", invalid]);
    aws.stop().await;
}

#[tokio::test]
async fn a_table_with_deletion_protection_is_deleted_only_without_it() {
    let aws = LocalAws::start().await;
    let client = active_table(&aws).await;
    let refused = client.delete_table().table_name("posts").send().await.unwrap_err();
    assert!(refused.message().unwrap().contains("currently protected against deletion"), "{refused:?}");
    release_and_delete(&client).await;
    assert_eq!(code(client.delete_table().table_name("posts").send().await), "ResourceNotFoundException");
    let client = active_table(&aws).await;
    let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/posts";
    assert_eq!(client.list_tags_of_resource().resource_arn(arn).send().await.unwrap().tags().len(), 1);
    release_and_delete(&client).await;
    let gone = client.get_item().table_name("posts").key("user", text("a")).key("id", text("b")).send().await;
    assert_eq!(code(gone), "ResourceNotFoundException");
    aws.stop().await;
}

async fn release_and_delete(client: &aws_sdk_dynamodb::Client) {
    client.update_table().table_name("posts").deletion_protection_enabled(false).send().await.unwrap();
    table_is_active(client, "posts").await;
    client.delete_table().table_name("posts").send().await.unwrap();
    while let Ok(found) = client.describe_table().table_name("posts").send().await {
        assert_eq!(found.table().unwrap().table_status().unwrap().as_str(), "DELETING");
    }
    assert!(client.list_tables().send().await.unwrap().table_names().is_empty());
}

#[tokio::test]
async fn a_table_reports_its_update_or_deletion_and_stays_deleted_after_a_restart() {
    let aws = LocalAws::start().await;
    let client = table(&aws).await;
    table_is_active(&client, "posts").await;
    let release = client.update_table().table_name("posts").deletion_protection_enabled(false);
    let status = |table: Option<TableDescription>| table.unwrap().table_status.unwrap().as_str().to_owned();
    assert_eq!(status(release.send().await.unwrap().table_description), "UPDATING");
    table_is_active(&client, "posts").await;
    let delete = client.delete_table().table_name("posts");
    assert_eq!(status(delete.send().await.unwrap().table_description), "DELETING");
    let aws = aws.restarted().await;
    let client = aws_sdk_dynamodb::Client::new(&aws.config);
    assert_eq!(code(client.describe_table().table_name("posts").send().await), "ResourceNotFoundException");
    aws.stop().await;
}

#[tokio::test]
async fn names_keys_items_and_batches_have_the_limits_of_aws() {
    let aws = LocalAws::start().await;
    let client = active_table(&aws).await;
    let create = |name: &str, keys: &[&str], attributes: &[&str]| {
        let mut create = client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
        for key in keys {
            let key = KeySchemaElement::builder().attribute_name(*key).key_type(KeyType::Hash).build().unwrap();
            create = create.key_schema(key);
        }
        for name in attributes {
            let attribute = AttributeDefinition::builder().attribute_name(*name).attribute_type(ScalarAttributeType::S);
            create = create.attribute_definitions(attribute.build().unwrap());
        }
        create.send()
    };
    assert_eq!(code(create("ab", &["id"], &["id"]).await), "ValidationException");
    assert_eq!(code(create("no blanks", &["id"], &["id"]).await), "ValidationException");
    assert_eq!(code(create("unused", &["id"], &["id", "other"]).await), "ValidationException");
    assert_eq!(code(create("undefined", &["id"], &[]).await), "ValidationException");

    let put = |user: &str, title: &str| {
        let put = client.put_item().table_name("posts").item("user", text(user)).item("id", text("1"));
        put.item("title", text(title)).send()
    };
    assert_eq!(code(put("", "t").await), "ValidationException");
    assert_eq!(code(put(&"u".repeat(2049), "t").await), "ValidationException");
    assert_eq!(code(put("ada", &"t".repeat(410_000)).await), "ValidationException");
    put("ada", &"t".repeat(400_000)).await.unwrap();
    let writes = (0..26).map(|number: u8| {
        let put = PutRequest::builder().item("user", text("ada")).item("id", text(&number.to_string()));
        WriteRequest::builder().put_request(put.build().unwrap()).build()
    });
    let batch = client.batch_write_item().request_items("posts", writes.collect());
    assert_eq!(code(batch.send().await), "ValidationException");
    let tag = Tag::builder().key("aws:mine").value("x").build().unwrap();
    let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/posts";
    assert_eq!(code(client.tag_resource().resource_arn(arn).tags(tag).send().await), "ValidationException");
    for name in ["one", "two"] {
        create(name, &["id"], &["id"]).await.unwrap();
    }
    let first = client.list_tables().limit(2).send().await.unwrap();
    assert_eq!((first.table_names().len(), first.last_evaluated_table_name()), (2, Some("posts")));
    let rest = client.list_tables().exclusive_start_table_name("posts").send().await.unwrap();
    assert_eq!((rest.table_names(), rest.last_evaluated_table_name()), (&["two".to_owned()][..], None));
    aws.stop().await;
}

#[tokio::test]
async fn a_transaction_is_atomic_and_idempotent() {
    let aws = LocalAws::start().await;
    let client = active_table(&aws).await;
    let put = |id: &str| {
        let put = Put::builder().table_name("posts").item("user", text("ada")).item("id", text(id));
        TransactWriteItem::builder().put(put.condition_expression("attribute_not_exists(id)").build().unwrap()).build()
    };
    // A number cannot be added to a string, which DynamoDB only detects when it applies the update.
    let impossible = Update::builder()
        .table_name("posts")
        .key("user", text("ada"))
        .key("id", text("1"))
        .update_expression("ADD title :one")
        .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
    let impossible = TransactWriteItem::builder().update(impossible.build().unwrap()).build();
    let first = client.put_item().table_name("posts").item("user", text("ada")).item("id", text("1"));
    first.item("title", text("t")).send().await.unwrap();
    let ids = |client: aws_sdk_dynamodb::Client| async move {
        let found = client.scan().table_name("posts").send().await.unwrap();
        found.items().iter().map(|item| item["id"].as_s().unwrap().clone()).collect::<Vec<_>>()
    };

    let refused = client.transact_write_items().transact_items(put("2")).transact_items(put("1")).send().await;
    let refused = refused.unwrap_err();
    assert!(refused.message().unwrap().contains("[None, ConditionalCheckFailed]"), "{refused:?}");
    assert_eq!(refused.code(), Some("TransactionCanceledException"));
    assert_eq!(ids(client.clone()).await, ["1"]);
    client.transact_write_items().transact_items(put("2")).transact_items(impossible).send().await.unwrap_err();
    assert_eq!(ids(client.clone()).await, ["1"]);

    let twice =
        client.transact_write_items().transact_items(put("2")).transact_items(put("3")).client_request_token("x");
    twice.clone().send().await.unwrap();
    twice.send().await.expect("a repeated transaction succeeds");
    let other = client.transact_write_items().transact_items(put("4")).client_request_token("x").send().await;
    assert_eq!(code(other), "IdempotentParameterMismatchException");
    let aws = aws.restarted().await;
    assert_eq!(ids(aws_sdk_dynamodb::Client::new(&aws.config)).await, ["1", "2", "3"]);
    aws.stop().await;
}

#[tokio::test]
async fn a_page_is_a_megabyte_and_segments_share_the_table() {
    let aws = LocalAws::start().await;
    let client = active_table(&aws).await;
    for number in 0..20 {
        let put = client.put_item().table_name("posts").item("user", text(&format!("USER#{number}")));
        put.item("id", text("1")).item("title", text(&"t".repeat(100_000))).send().await.unwrap();
    }
    let first = client.scan().table_name("posts").send().await.unwrap();
    assert!((8..=10).contains(&first.count()) && first.last_evaluated_key().is_some(), "{}", first.count());
    // Items excluded by a filter count as scanned.
    let none = client.scan().table_name("posts").filter_expression("attribute_exists(image)").send().await.unwrap();
    assert_eq!((none.count(), none.scanned_count()), (0, first.count()));
    assert!(none.last_evaluated_key().is_some());
    let pages = client.scan().table_name("posts").into_paginator().items().send();
    assert_eq!(pages.try_collect().await.unwrap().len(), 20);

    let mut seen = Vec::new();
    for segment in 0..3 {
        let part = client.scan().table_name("posts").segment(segment).total_segments(3).projection_expression("title");
        let part = part.into_paginator().items().send().try_collect().await.unwrap();
        assert!((1..20).contains(&part.len()), "segment {segment} has {}", part.len());
        assert!(part.iter().all(|item| item.keys().eq(["title"])));
        seen.extend(part);
    }
    assert_eq!(seen.len(), 20);
    let wrong = client.scan().table_name("posts").segment(3).total_segments(3).send().await;
    assert_eq!(code(wrong), "ValidationException");
    aws.stop().await;
}

#[tokio::test]
async fn items_are_written_conditionally_and_read_by_key() {
    let aws = LocalAws::start().await;
    let client = active_table(&aws).await;
    for (user, id) in [("USER#ada", "POST#1"), ("USER#ada", "POST#2"), ("USER#Zoé", "POST#3")] {
        let put = client.put_item().table_name("posts").item("user", text(user)).item("id", text(id));
        put.item("title", text("t")).condition_expression("attribute_not_exists(id)").send().await.unwrap();
    }
    let again = client.put_item().table_name("posts").item("user", text("USER#ada")).item("id", text("POST#1"));
    let again = again.condition_expression("attribute_not_exists(id)").send().await;
    assert_eq!(code(again), "ConditionalCheckFailedException");

    let update = |id: &str| {
        let update = client.update_item().table_name("posts").key("user", text("USER#ada")).key("id", text(id));
        update
            .update_expression("SET #labels = :labels, image = :image")
            .condition_expression("attribute_exists(id)")
            .expression_attribute_names("#labels", "labels")
            .expression_attribute_values(":labels", AttributeValue::L(vec![text("Blue")]))
            .expression_attribute_values(":image", text("a/b.jpg"))
            .return_values(ReturnValue::AllNew)
    };
    let updated = update("POST#1").send().await.unwrap();
    assert_eq!(updated.attributes().unwrap()["image"], text("a/b.jpg"));
    assert_eq!(code(update("POST#9").send().await), "ConditionalCheckFailedException");

    let aws = aws.restarted().await;
    let client = aws_sdk_dynamodb::Client::new(&aws.config);
    let mine = client
        .query()
        .table_name("posts")
        .key_condition_expression("#u = :u AND begins_with(id, :p)")
        .expression_attribute_names("#u", "user")
        .expression_attribute_values(":u", text("USER#ada"))
        .expression_attribute_values(":p", text("POST#"))
        .limit(1);
    let first = mine.clone().send().await.unwrap();
    assert_eq!(first.items()[0]["id"], text("POST#1"));
    let backwards = mine.clone().scan_index_forward(false).send().await.unwrap();
    assert_eq!(backwards.items()[0]["id"], text("POST#2"));
    let rest = mine.set_exclusive_start_key(first.last_evaluated_key().cloned()).send().await.unwrap();
    assert_eq!(rest.items()[0]["id"], text("POST#2"));

    let counted = client.scan().table_name("posts").select(Select::Count).send().await.unwrap();
    assert_eq!((counted.count(), counted.items().len()), (3, 0));
    let mut seen = Vec::new();
    for segment in 0..4 {
        let part = client.scan().table_name("posts").segment(segment).total_segments(4).send().await.unwrap();
        seen.extend(part.items().iter().map(|item| item["id"].as_s().unwrap().clone()));
    }
    seen.sort();
    assert_eq!(seen, ["POST#1", "POST#2", "POST#3"]);

    let delete = client.delete_item().table_name("posts").key("user", text("USER#Zoé")).key("id", text("POST#3"));
    let delete = delete.condition_expression("attribute_exists(id)").return_values(ReturnValue::AllOld);
    assert_eq!(delete.clone().send().await.unwrap().attributes().unwrap()["title"], text("t"));
    assert_eq!(code(delete.send().await), "ConditionalCheckFailedException");
    aws.stop().await;
}

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

#[tokio::test]
async fn a_role_has_its_path_its_tags_and_its_policies() {
    let aws = LocalAws::start().await;
    let iam = aws_sdk_iam::Client::new(&aws.config);
    let tag = aws_sdk_iam::types::Tag::builder().key("deployer:stack").value("postagram é").build().unwrap();
    let create = iam
        .create_role()
        .role_name("web")
        .path("/deployer/")
        .assume_role_policy_document(TRUST)
        .tags(tag)
        .description("of the web é");
    create.clone().send().await.unwrap();
    assert_eq!(code(create.clone().send().await), "EntityAlreadyExists");
    assert_eq!(code(create.role_name("WEB").send().await), "EntityAlreadyExists");
    let policy =
        r#"{"Version":"2012-10-17","Id":"é","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}"#;
    iam.put_role_policy().role_name("web").policy_name("uses").policy_document(policy).send().await.unwrap();
    let aws = aws.restarted().await;
    let iam = aws_sdk_iam::Client::new(&aws.config);
    let role = iam.get_role().role_name("web").send().await.unwrap();
    let role = role.role().unwrap();
    assert_eq!(role.arn(), "arn:aws:iam::000000000000:role/deployer/web");
    assert_eq!((role.tags()[0].value(), role.description()), ("postagram é", Some("of the web é")));
    assert!(role.assume_role_policy_document().unwrap().starts_with("%7B"));
    let trust =
        percent_encoding::percent_decode_str(role.assume_role_policy_document().unwrap()).decode_utf8().unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&trust).unwrap()["Version"], "2012-10-17");
    let found = iam.get_role_policy().role_name("web").policy_name("uses").send().await.unwrap();
    let found = percent_encoding::percent_decode_str(found.policy_document()).decode_utf8().unwrap();
    assert_eq!(found, policy);
    let listed = iam.list_roles().path_prefix("/deployer/").send().await.unwrap();
    assert_eq!(listed.roles().len(), 1);
    assert!(iam.list_roles().path_prefix("/other/").send().await.unwrap().roles().is_empty());
    assert_eq!(iam.list_role_policies().role_name("web").send().await.unwrap().policy_names(), ["uses"]);
    assert!(iam.list_attached_role_policies().role_name("web").send().await.unwrap().attached_policies().is_empty());
    assert_eq!(iam.list_role_tags().role_name("web").send().await.unwrap().tags()[0].value(), "postagram é");

    let refused = iam.delete_role().role_name("web").send().await.unwrap_err();
    assert_eq!(refused.code(), Some("DeleteConflict"));
    assert_eq!(refused.message(), Some("Cannot delete entity, must delete policies first."));
    let basic = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";
    iam.attach_role_policy().role_name("Web").policy_arn(basic).send().await.unwrap();
    iam.attach_role_policy().role_name("web").policy_arn(basic).send().await.unwrap();
    let attached = iam.list_attached_role_policies().role_name("web").send().await.unwrap();
    assert_eq!(attached.attached_policies()[0].policy_name(), Some("AWSLambdaBasicExecutionRole"));
    iam.delete_role_policy().role_name("web").policy_name("uses").send().await.unwrap();
    let refused = iam.delete_role().role_name("web").send().await.unwrap_err();
    assert_eq!(refused.message(), Some("Cannot delete entity, must detach all policies first."));
    iam.detach_role_policy().role_name("web").policy_arn(basic).send().await.unwrap();
    let unknown = iam.attach_role_policy().role_name("web").policy_arn("arn:aws:iam::aws:policy/Nothing").send().await;
    assert_eq!(code(unknown), "NoSuchEntity");
    assert_eq!(code(iam.delete_role_policy().role_name("web").policy_name("uses").send().await), "NoSuchEntity");
    assert_eq!(code(iam.get_role_policy().role_name("web").policy_name("uses").send().await), "NoSuchEntity");
    iam.delete_role().role_name("web").send().await.unwrap();
    assert_eq!(code(iam.get_role().role_name("web").send().await), "NoSuchEntity");
    aws.stop().await;
}

#[tokio::test]
async fn invalid_iam_input_is_refused_with_the_errors_of_iam() {
    let aws = LocalAws::start().await;
    let iam = aws_sdk_iam::Client::new(&aws.config);
    let create = |name: &str, trust: &str| iam.create_role().role_name(name).assume_role_policy_document(trust).send();
    let long = "a".repeat(65);
    for (name, trust, expected) in [
        (long.as_str(), TRUST, "ValidationError"),
        ("a b", TRUST, "ValidationError"),
        ("web", "{}", "MalformedPolicyDocument"),
    ] {
        assert_eq!(code(create(name, trust).await), expected, "{name}");
    }
    let by_unknown_role =
        TRUST.replace(r#""Service":"ec2.amazonaws.com""#, r#""AWS":"arn:aws:iam::000000000000:role/nobody""#);
    let refused = create("web", &by_unknown_role).await.unwrap_err();
    assert!(refused.message().unwrap().starts_with("Invalid principal in policy"), "{refused:?}");
    create("web", TRUST).await.unwrap();
    create("nobody", TRUST).await.unwrap();
    create("third", &by_unknown_role).await.unwrap();
    let put = iam.put_role_policy().role_name("web").policy_name("uses").policy_document(r#"{"Version":"2012-10-17"}"#);
    let refused = put.send().await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Some("MalformedPolicyDocument"), Some("Syntax errors in policy."))
    );
    let refused = iam.get_role().role_name("second").send().await.unwrap_err();
    assert_eq!(refused.message(), Some("The role with name second cannot be found."));
    let refused = iam.get_instance_profile().instance_profile_name("second").send().await.unwrap_err();
    assert_eq!(refused.message(), Some("Instance Profile second cannot be found."));
    iam.create_service_linked_role().aws_service_name("autoscaling.amazonaws.com").send().await.unwrap();
    let linked = iam.list_roles().path_prefix("/aws-service-role/").send().await.unwrap();
    let linked = linked.roles()[0].role_name().to_owned();
    assert_eq!(code(iam.delete_role().role_name(linked).send().await), "UnmodifiableEntity");

    let policy = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}"#;
    for number in 1..=11 {
        let create = iam.create_policy().policy_name(format!("policy-{number}")).policy_document(policy);
        let made = create.send().await.unwrap().policy.unwrap();
        let attach = iam.attach_role_policy().role_name("web").policy_arn(made.arn().unwrap()).send().await;
        match number {
            11 => assert_eq!(code(attach), "LimitExceeded"),
            _ => drop(attach.unwrap()),
        }
    }
    let local = iam.list_policies().scope(aws_sdk_iam::types::PolicyScopeType::Local).only_attached(true);
    assert_eq!(local.send().await.unwrap().policies().len(), 10);
    aws.stop().await;
}

#[tokio::test]
async fn an_instance_profile_holds_one_role() {
    let aws = LocalAws::start().await;
    let iam = aws_sdk_iam::Client::new(&aws.config);
    for name in ["web", "other"] {
        iam.create_role().role_name(name).assume_role_policy_document(TRUST).send().await.unwrap();
    }
    let tag = aws_sdk_iam::types::Tag::builder().key("k").value("v").build().unwrap();
    let create = iam.create_instance_profile().instance_profile_name("web").path("/deployer/").tags(tag);
    create.clone().send().await.unwrap();
    assert_eq!(code(create.send().await), "EntityAlreadyExists");
    let add = |role: &str| iam.add_role_to_instance_profile().instance_profile_name("web").role_name(role).send();
    assert_eq!(code(add("nobody").await), "NoSuchEntity");
    add("web").await.unwrap();
    assert_eq!(code(add("other").await), "LimitExceeded");
    let found = iam.get_instance_profile().instance_profile_name("web").send().await.unwrap();
    let found = found.instance_profile().unwrap();
    assert_eq!(found.arn(), "arn:aws:iam::000000000000:instance-profile/deployer/web");
    assert_eq!((found.tags()[0].value(), found.roles()[0].role_name()), ("v", "web"));
    let listed = iam.list_instance_profiles_for_role().role_name("web").send().await.unwrap();
    assert_eq!(listed.instance_profiles()[0].instance_profile_name(), "web");
    assert_eq!(code(iam.delete_role().role_name("web").send().await), "DeleteConflict");
    assert_eq!(code(iam.delete_instance_profile().instance_profile_name("web").send().await), "DeleteConflict");
    iam.remove_role_from_instance_profile().instance_profile_name("web").role_name("web").send().await.unwrap();
    let again = iam.remove_role_from_instance_profile().instance_profile_name("web").role_name("web").send().await;
    assert_eq!(code(again), "NoSuchEntity");
    iam.delete_instance_profile().instance_profile_name("web").send().await.unwrap();
    assert_eq!(code(iam.get_instance_profile().instance_profile_name("web").send().await), "NoSuchEntity");
    aws.stop().await;
}

#[tokio::test]
async fn the_caller_is_identified_and_roles_can_be_assumed() {
    let aws = LocalAws::start().await;
    let sts = aws_sdk_sts::Client::new(&aws.config);
    let caller = sts.get_caller_identity().send().await.unwrap();
    assert_eq!(caller.account(), Some(local::ACCOUNT));
    let arn = "arn:aws:iam::000000000000:role/web";
    let take = sts.assume_role().role_arn(arn).role_session_name("me");
    assert_eq!(code(take.clone().send().await), "AccessDenied");
    let iam = aws_sdk_iam::Client::new(&aws.config);
    iam.create_role().role_name("web").assume_role_policy_document(TRUST).send().await.unwrap();
    assert_eq!(code(take.clone().send().await), "AccessDenied");
    let trust = TRUST.replace(r#""Service":"ec2.amazonaws.com""#, r#""AWS":"arn:aws:iam::000000000000:root""#);
    iam.update_assume_role_policy().role_name("web").policy_document(trust).send().await.unwrap();
    let taken = take.send().await.unwrap();
    let keys = taken.credentials().unwrap();
    let token = Some(keys.session_token().to_owned());
    let config = clients::config_of(&aws.endpoint(), keys.access_key_id(), keys.secret_access_key(), token).await;
    let caller = aws_sdk_sts::Client::new(&config).get_caller_identity().send().await.unwrap();
    assert_eq!(caller.arn(), Some("arn:aws:sts::000000000000:assumed-role/web/me"));
    assert_eq!(code(aws_sdk_sts::Client::new(&config).get_session_token().send().await), "AccessDenied");
    let session = sts.get_session_token().send().await.unwrap();
    let keys = session.credentials().unwrap();
    let token = Some(keys.session_token().to_owned());
    let config = clients::config_of(&aws.endpoint(), keys.access_key_id(), keys.secret_access_key(), token).await;
    assert!(
        aws_sdk_iam::Client::new(&config).list_roles().send().await.is_ok(),
        "a session of the owner has all permissions"
    );
    let wrong = clients::config_of(&aws.endpoint(), local::ACCESS_KEY, "guess", None).await;
    assert_eq!(code(aws_sdk_sts::Client::new(&wrong).get_caller_identity().send().await), "SignatureDoesNotMatch");
    aws.stop().await;
}

#[tokio::test]
async fn a_log_group_has_tags_and_a_retention() {
    let aws = LocalAws::start().await;
    let logs = aws_sdk_cloudwatchlogs::Client::new(&aws.config);
    let create = logs.create_log_group().log_group_name("/aws/lambda/labeler").tags("k", "v");
    create.clone().send().await.unwrap();
    assert_eq!(code(create.send().await), "ResourceAlreadyExistsException");
    let retain =
        |days| logs.put_retention_policy().log_group_name("/aws/lambda/labeler").retention_in_days(days).send();
    assert_eq!(code(retain(8).await), "InvalidParameterException");
    retain(7).await.unwrap();
    let aws = aws.restarted().await;
    let logs = aws_sdk_cloudwatchlogs::Client::new(&aws.config);
    let found = logs.describe_log_groups().log_group_name_prefix("/aws/lambda/").send().await.unwrap();
    let group = &found.log_groups()[0];
    assert_eq!((group.log_group_name(), group.retention_in_days()), (Some("/aws/lambda/labeler"), Some(7)));
    let arn = group.log_group_arn().unwrap();
    logs.tag_resource().resource_arn(arn).tags("b", "c").send().await.unwrap();
    logs.untag_resource().resource_arn(arn).tag_keys("k").send().await.unwrap();
    let tags = logs.list_tags_for_resource().resource_arn(arn).send().await.unwrap();
    assert_eq!(tags.tags().unwrap().keys().collect::<Vec<_>>(), ["b"]);
    logs.delete_log_group().log_group_name("/aws/lambda/labeler").send().await.unwrap();
    assert_eq!(
        code(logs.delete_log_group().log_group_name("/aws/lambda/labeler").send().await),
        "ResourceNotFoundException"
    );
    aws.stop().await;
}

#[tokio::test]
async fn logs_come_in_pages() {
    let aws = LocalAws::start().await;
    let logs = aws_sdk_cloudwatchlogs::Client::new(&aws.config);
    logs.create_log_group().log_group_name("group").send().await.unwrap();
    for stream in ["one", "two", "three"] {
        logs.create_log_stream().log_group_name("group").log_stream_name(stream).send().await.unwrap();
    }
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let line = |at: i64| InputLogEvent::builder().timestamp(now + at).message(format!("line {at}")).build().unwrap();
    let put = logs.put_log_events().log_group_name("group").log_stream_name("one");
    put.set_log_events(Some((0..5).map(line).collect())).send().await.unwrap();

    let streams = logs.describe_log_streams().log_group_name("group").limit(2);
    let first = streams.clone().send().await.unwrap();
    let rest = streams.set_next_token(first.next_token().map(str::to_owned)).send().await.unwrap();
    assert_eq!((first.log_streams().len(), rest.log_streams().len(), rest.next_token()), (2, 1, None));
    let latest = logs.describe_log_streams().log_group_name("group").order_by(OrderBy::LastEventTime).descending(true);
    assert_eq!(latest.send().await.unwrap().log_streams()[0].log_stream_name(), Some("one"));

    let events = logs.get_log_events().log_group_name("group").log_stream_name("one").limit(2);
    let texts = |found: &GetLogEventsOutput| -> Vec<String> {
        found.events().iter().map(|event| event.message().unwrap().to_owned()).collect()
    };
    let newest = events.clone().send().await.unwrap();
    assert_eq!(texts(&newest), ["line 3", "line 4"]);
    let before = events.clone().next_token(newest.next_backward_token().unwrap()).send().await.unwrap();
    assert_eq!(texts(&before), ["line 1", "line 2"]);
    let oldest = events.clone().start_from_head(true).send().await.unwrap();
    assert_eq!(texts(&oldest), ["line 0", "line 1"]);
    let end = events.clone().next_token(newest.next_forward_token().unwrap()).send().await.unwrap();
    assert_eq!((texts(&end).len(), end.next_forward_token()), (0, newest.next_forward_token()));
    assert_eq!(code(events.next_token("x").send().await), "InvalidParameterException");
    let found = logs.filter_log_events().log_group_name("group").filter_pattern("line").limit(4).send().await.unwrap();
    assert_eq!((found.events().len(), found.next_token().is_some()), (4, true));
    aws.stop().await;
}

#[tokio::test]
async fn labels_come_from_the_picture_itself() {
    use aws_sdk_rekognition::types::{Image, S3Object};
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    s3.create_bucket().bucket("images").send().await.unwrap();
    let mut jpeg = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_pixel(300, 200, image::Rgb([20, 60, 220]));
    picture.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    s3.put_object().bucket("images").key("blue").body(jpeg.into_inner().into()).send().await.unwrap();
    s3.put_object().bucket("images").key("text").body(b"no picture".to_vec().into()).send().await.unwrap();
    let client = aws_sdk_rekognition::Client::new(&aws.config);
    let detect = |key: &str| {
        let object = S3Object::builder().bucket("images").name(key).build();
        client.detect_labels().image(Image::builder().s3_object(object).build())
    };
    let found = detect("blue").max_labels(2).min_confidence(75.0).send().await.unwrap();
    let names: Vec<_> = found.labels().iter().filter_map(|label| label.name()).collect();
    assert_eq!(names.len(), 2);
    assert!(names.contains(&"Blue"), "{names:?}");
    assert_eq!(code(detect("text").send().await), "InvalidImageFormatException");
    assert_eq!(code(detect("absent").send().await), "InvalidS3ObjectException");
    assert_eq!(code(detect("blue").min_confidence(101.0).send().await), "InvalidParameterException");
    aws.stop().await;
}
