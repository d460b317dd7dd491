//! Items of tables: writes, reads, and their limits.

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, Put, PutRequest, ReturnValue,
    ScalarAttributeType, Select, Tag, TransactWriteItem, Update, WriteRequest,
};
use testkit::LocalAws;
use testkit::clients::{code, table_is_active};

use super::support::{active_table, table, text};

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
