//! Answers and errors of tables are the same as AWS's.

use serde_json::{Value, json};
use testkit::LocalAws;

use super::raw::{Answer, call, call_streams, refusal, schema, table};

async fn put(aws: &LocalAws, name: &str, item: Value) {
    call(aws, "PutItem", json!({ "TableName": name, "Item": item })).await.unwrap();
}

/// The values of one attribute of the items of an answer.
fn values<'a>(found: &'a Value, name: &str) -> Vec<&'a str> {
    let items = found["Items"].as_array().into_iter().flatten();
    items.map(|item| item[name].as_object().unwrap().values().next().unwrap().as_str().unwrap()).collect()
}

#[tokio::test]
async fn numbers_sort_as_numbers_and_equal_numbers_are_one_key() {
    let aws = LocalAws::start().await;
    table(&aws, "numbers", &[("of", "S"), ("number", "N")], Value::Null).await;
    for number in ["5", "100", "-3", "1e2", "10", "9", "0.5", "-30", "100.0"] {
        put(&aws, "numbers", json!({ "of": { "S": "a" }, "number": { "N": number } })).await;
    }
    let query = |condition: &str, forward: bool| {
        let values = json!({ ":a": { "S": "a" }, ":n": { "N": "9" } });
        let input = json!({
            "TableName": "numbers", "KeyConditionExpression": format!("#of = :a AND #n {condition}"),
            "ExpressionAttributeNames": { "#of": "of", "#n": "number" }, "ExpressionAttributeValues": values,
            "ScanIndexForward": forward,
        });
        call(&aws, "Query", input)
    };
    let found = query(">= :n", true).await.unwrap();
    assert_eq!(values(&found, "number"), ["9", "10", "100"]);
    let found = query("< :n", false).await.unwrap();
    assert_eq!(values(&found, "number"), ["5", "0.5", "-3", "-30"]);
    let found = call(
        &aws,
        "GetItem",
        json!({ "TableName": "numbers", "Key": { "of": { "S": "a" }, "number": { "N": "1E+2" } } }),
    )
    .await;
    assert_eq!(found.unwrap()["Item"]["number"]["N"], "100");
    aws.stop().await;
}

#[tokio::test]
async fn an_index_has_its_projected_attributes_and_is_paged() {
    let aws = LocalAws::start().await;
    let index = json!({
        "IndexName": "by-day", "KeySchema": schema(&["day", "rank"]),
        "Projection": { "ProjectionType": "INCLUDE", "NonKeyAttributes": ["title"] },
    });
    let local = json!({
        "IndexName": "by-rank", "KeySchema": schema(&["user", "rank"]), "Projection": { "ProjectionType": "KEYS_ONLY" },
    });
    let more = json!({
        "AttributeDefinitions": [{ "AttributeName": "day", "AttributeType": "S" }, { "AttributeName": "rank", "AttributeType": "N" }],
        "GlobalSecondaryIndexes": [index], "LocalSecondaryIndexes": [local],
    });
    table(&aws, "posts", &[("user", "S"), ("id", "S")], more).await;
    for number in 0..7 {
        let mut item = json!({
            "user": { "S": "ada" }, "id": { "S": number.to_string() }, "title": { "S": "t" }, "body": { "S": "b" },
        });
        if number != 3 {
            item["day"] = json!({ "S": "today" });
            item["rank"] = json!({ "N": (number % 2).to_string() });
        }
        put(&aws, "posts", item).await;
    }
    for (index, key, kept) in
        [("by-day", "day", vec!["day", "id", "rank", "title", "user"]), ("by-rank", "user", vec!["id", "rank", "user"])]
    {
        let value = if key == "day" { "today" } else { "ada" };
        let mut input = json!({
            "TableName": "posts", "IndexName": index, "Limit": 2, "KeyConditionExpression": "#k = :v",
            "ExpressionAttributeNames": { "#k": key }, "ExpressionAttributeValues": { ":v": { "S": value } },
        });
        let mut seen = Vec::new();
        loop {
            let page = call(&aws, "Query", input.clone()).await.unwrap();
            for item in page["Items"].as_array().unwrap() {
                let mut names: Vec<&str> = item.as_object().unwrap().keys().map(String::as_str).collect();
                names.sort_unstable();
                assert_eq!(names, kept, "{index}");
            }
            seen.extend(values(&page, "id").into_iter().map(str::to_owned));
            assert!(seen.len() <= 6, "the pages of {index} do not end: {seen:?}");
            match page.get("LastEvaluatedKey") {
                Some(key) => input["ExclusiveStartKey"] = key.clone(),
                None => break,
            }
        }
        assert_eq!(seen.len(), 6, "{index} omits items without its keys");
        assert_eq!(seen.concat().chars().map(|id| id as u32 % 2).collect::<Vec<_>>(), [0, 0, 0, 0, 1, 1], "{index}");
    }
    let all = json!({ "TableName": "posts", "IndexName": "by-day", "Select": "ALL_ATTRIBUTES" });
    assert_eq!(refusal(call(&aws, "Scan", all).await).0, "ValidationException");
    aws.stop().await;
}

#[tokio::test]
async fn an_index_added_later_is_backfilled() {
    let aws = LocalAws::start().await;
    table(&aws, "posts", &[("id", "S")], Value::Null).await;
    put(&aws, "posts", json!({ "id": { "S": "1" }, "day": { "S": "today" } })).await;
    put(&aws, "posts", json!({ "id": { "S": "2" } })).await;
    let create =
        json!({ "IndexName": "by-day", "KeySchema": schema(&["day"]), "Projection": { "ProjectionType": "ALL" } });
    let update = json!({
        "TableName": "posts", "AttributeDefinitions": [{ "AttributeName": "day", "AttributeType": "S" }],
        "GlobalSecondaryIndexUpdates": [{ "Create": create }],
    });
    let said = call(&aws, "UpdateTable", update).await.unwrap();
    assert_eq!(said["TableDescription"]["GlobalSecondaryIndexes"][0]["IndexStatus"], "CREATING");
    let described = loop {
        let found = call(&aws, "DescribeTable", json!({ "TableName": "posts" })).await.unwrap();
        if found["Table"]["TableStatus"] == "ACTIVE" {
            break found;
        }
    };
    let index = &described["Table"]["GlobalSecondaryIndexes"][0];
    assert_eq!(index["IndexStatus"], "ACTIVE");
    assert_eq!(index["IndexArn"], "arn:aws:dynamodb:us-east-1:000000000000:table/posts/index/by-day");
    let found = call(&aws, "Scan", json!({ "TableName": "posts", "IndexName": "by-day" })).await.unwrap();
    assert_eq!(values(&found, "id"), ["1"]);
    aws.stop().await;
}

#[tokio::test]
async fn values_of_every_type_can_be_compared_and_searched() {
    let aws = LocalAws::start().await;
    table(&aws, "kinds", &[("id", "S")], Value::Null).await;
    put(
        &aws,
        "kinds",
        json!({
            "id": { "S": "1" }, "words": { "SS": ["a", "b"] }, "numbers": { "NS": ["1", "2.0"] }, "bytes": { "B": "AQID" },
            "list": { "L": [{ "S": "x" }, { "N": "1" }] }, "map": { "M": { "k": { "BOOL": true } } }, "text": { "S": "abc" },
        }),
    )
    .await;
    let holds = async |condition: &str, value: Value| {
        let input = json!({
            "TableName": "kinds", "FilterExpression": condition, "ExpressionAttributeValues": { ":x": value },
            "ExpressionAttributeNames": if condition.contains("#a") { json!({ "#a": "list" }) } else { Value::Null },
        });
        call(&aws, "Scan", input).await.unwrap()["Count"] == 1
    };
    for (condition, value) in [
        ("contains(words, :x)", json!({ "S": "a" })),
        ("contains(numbers, :x)", json!({ "N": "2" })),
        ("contains(#a, :x)", json!({ "N": "1.0" })),
        ("contains(text, :x)", json!({ "S": "bc" })),
        ("words = :x", json!({ "SS": ["b", "a"] })),
        ("numbers = :x", json!({ "NS": ["2", "1"] })),
        ("#a = :x", json!({ "L": [{ "S": "x" }, { "N": "1.0" }] })),
        ("map = :x", json!({ "M": { "k": { "BOOL": true } } })),
        ("bytes = :x", json!({ "B": "AQID" })),
        ("bytes < :x", json!({ "B": "AQIE" })),
        ("begins_with(bytes, :x)", json!({ "B": "AQI=" })),
        ("gone <> :x", json!({ "S": "a" })),
        ("text <> :x", json!({ "N": "1" })),
        ("size(words) = :x", json!({ "N": "2" })),
    ] {
        let condition = condition.replace("map", "#m").replace("bytes", "#b").replace("text", "#t");
        let names = json!({ "#m": "map", "#b": "bytes", "#t": "text", "#a": "list" });
        let used: serde_json::Map<String, Value> = names
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| condition.contains(*name))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        let mut input = json!({ "TableName": "kinds", "FilterExpression": condition, "ExpressionAttributeValues": { ":x": value } });
        if !used.is_empty() {
            input["ExpressionAttributeNames"] = used.into();
        }
        let found = call(&aws, "Scan", input).await.unwrap();
        assert_eq!(found["Count"], 1, "{condition}");
    }
    assert!(!holds("contains(words, :x)", json!({ "S": "c" })).await);
    assert!(!holds("gone = :x", json!({ "S": "a" })).await);
    aws.stop().await;
}

#[tokio::test]
async fn invalid_expressions_are_refused_as_by_dynamodb() {
    let aws = LocalAws::start().await;
    table(&aws, "posts", &[("user", "S"), ("id", "S")], Value::Null).await;
    let key = json!({ "user": { "S": "ada" }, "id": { "S": "1" } });
    put(&aws, "posts", key.clone()).await;
    let values = json!({ ":u": { "S": "ada" } });
    let reserved =
        json!({ "TableName": "posts", "KeyConditionExpression": "user = :u", "ExpressionAttributeValues": values });
    let (kind, text) = refusal(call(&aws, "Query", reserved).await);
    assert_eq!(kind, "ValidationException");
    assert_eq!(text, "Invalid KeyConditionExpression: Attribute name is a reserved keyword; reserved keyword: user");
    let update = |expression: &str| {
        let input = json!({
            "TableName": "posts", "Key": key, "UpdateExpression": expression, "ExpressionAttributeValues": values,
        });
        call(&aws, "UpdateItem", input)
    };
    let (_, text) = refusal(update("SET id = :u").await);
    assert_eq!(
        text,
        "One or more parameter values were invalid: Cannot update attribute id. This attribute is part of the key"
    );
    for wrong in ["SET title = :v", "SET title = :u, title = :u", "SET", "GO title :u", "SET a.b = :u"] {
        assert_eq!(refusal(update(wrong).await).0, "ValidationException", "{wrong}");
    }
    update("SET title = :u").await.unwrap();
    aws.stop().await;
}

#[tokio::test]
async fn legacy_conditions_are_enforced() {
    let aws = LocalAws::start().await;
    table(&aws, "posts", &[("id", "S")], Value::Null).await;
    put(&aws, "posts", json!({ "id": { "S": "1" }, "title": { "S": "t" } })).await;
    let delete = |title: &str| {
        let expected = json!({ "title": { "Value": { "S": title } } });
        call(&aws, "DeleteItem", json!({ "TableName": "posts", "Key": { "id": { "S": "1" } }, "Expected": expected }))
    };
    assert_eq!(refusal(delete("other").await).0, "ConditionalCheckFailedException");
    let get = || call(&aws, "GetItem", json!({ "TableName": "posts", "Key": { "id": { "S": "1" } } }));
    assert!(get().await.unwrap()["Item"].is_object());
    delete("t").await.unwrap();
    assert!(get().await.unwrap()["Item"].is_null());
    aws.stop().await;
}

#[tokio::test]
async fn consumed_capacity_is_returned_on_request() {
    let aws = LocalAws::start().await;
    table(&aws, "posts", &[("id", "S")], Value::Null).await;
    let asked = |operation: &'static str, mut input: Value| {
        input["TableName"] = "posts".into();
        input["ReturnConsumedCapacity"] = "TOTAL".into();
        let aws = &aws;
        async move { call(aws, operation, input).await.unwrap()["ConsumedCapacity"].clone() }
    };
    let item = json!({ "id": { "S": "1" }, "text": { "S": "x".repeat(5000) } });
    assert_eq!(asked("PutItem", json!({ "Item": item })).await, json!({ "TableName": "posts", "CapacityUnits": 5.0 }));
    let key = json!({ "id": { "S": "1" } });
    assert_eq!(asked("GetItem", json!({ "Key": key })).await["CapacityUnits"], 1.0);
    assert_eq!(asked("GetItem", json!({ "Key": key, "ConsistentRead": true })).await["CapacityUnits"], 2.0);
    assert_eq!(asked("Scan", json!({})).await["CapacityUnits"], 1.0);
    let plain = call(&aws, "GetItem", json!({ "TableName": "posts", "Key": key })).await.unwrap();
    assert!(plain["ConsumedCapacity"].is_null());
    aws.stop().await;
}

#[tokio::test]
async fn partiql_inserts_new_items_and_updates_existing_ones() {
    let aws = LocalAws::start().await;
    table(&aws, "posts", &[("id", "S")], Value::Null).await;
    let run = |statement: &str| call(&aws, "ExecuteStatement", json!({ "Statement": statement }));
    run("INSERT INTO posts VALUE {'id': '1', 'title': 'first'}").await.unwrap();
    assert_eq!(
        refusal(run("INSERT INTO posts VALUE {'id': '1', 'title': 'second'}").await).0,
        "DuplicateItemException"
    );
    let found = run("SELECT title FROM posts WHERE id = '1'").await.unwrap();
    assert_eq!(found["Items"], json!([{ "title": { "S": "first" } }]));
    run("UPDATE posts SET title = 'third' WHERE id = '1'").await.unwrap();
    let statements = json!([
        { "Statement": "INSERT INTO posts VALUE {'id': '2'}" },
        { "Statement": "INSERT INTO posts VALUE {'id': '1'}" },
    ]);
    let refused = call(&aws, "ExecuteTransaction", json!({ "TransactStatements": statements })).await;
    assert_eq!(refusal(refused).0, "TransactionCanceledException");
    let batch = json!({ "Statements": [{ "Statement": "SELECT * FROM posts WHERE id = '1'" }] });
    let found = call(&aws, "BatchExecuteStatement", batch).await.unwrap();
    assert_eq!(found["Responses"][0]["Item"]["title"]["S"], "third");
    aws.stop().await;
}

#[tokio::test]
async fn a_table_is_described_as_on_aws_and_may_be_named_by_its_arn() {
    let aws = LocalAws::start().await;
    table(&aws, "posts", &[("id", "S")], Value::Null).await;
    let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/posts";
    put(&aws, arn, json!({ "id": { "S": "1" } })).await;
    let found = call(&aws, "DescribeTable", json!({ "TableName": arn })).await.unwrap();
    let id = found["Table"]["TableId"].as_str().unwrap();
    assert_eq!(uuid::Uuid::try_parse(id).map(|parsed| parsed.hyphenated().to_string()).as_deref(), Ok(id));
    assert_eq!(found["Table"]["TableArn"], arn);
    let keys = json!({ arn: { "Keys": [{ "id": { "S": "1" } }] } });
    let found = call(&aws, "BatchGetItem", json!({ "RequestItems": keys })).await.unwrap();
    assert_eq!(found["Responses"]["posts"][0]["id"]["S"], "1");
    let refused = refusal(call(&aws, "CreateTable", json!({ "TableName": "orders", "ResourcePolicy": "{}" })).await);
    assert_eq!(refused.1, "the local AWS has no dynamodb:CreateTable with ResourcePolicy");
    let other = json!({
        "TableName": "Posts", "BillingMode": "PAY_PER_REQUEST", "KeySchema": schema(&["id"]),
        "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
    });
    let refused = refusal(call(&aws, "CreateTable", other).await);
    assert_eq!(refused.1, "the local AWS cannot have both a table Posts and a table posts: choose another name");
    aws.stop().await;
}

#[tokio::test]
async fn a_stream_has_a_record_of_every_write() {
    let aws = LocalAws::start().await;
    let stream = json!({ "StreamSpecification": { "StreamEnabled": true, "StreamViewType": "NEW_IMAGE" } });
    table(&aws, "posts", &[("id", "S")], stream).await;
    put(&aws, "posts", json!({ "id": { "S": "1" } })).await;
    let streams = call_streams(&aws, "ListStreams", json!({ "TableName": "posts" })).await.unwrap();
    let arn = &streams["Streams"][0]["StreamArn"];
    assert!(arn.as_str().unwrap().starts_with("arn:aws:dynamodb:us-east-1:000000000000:table/posts/stream/"), "{arn}");
    let described = call_streams(&aws, "DescribeStream", json!({ "StreamArn": arn })).await.unwrap();
    let shard = &described["StreamDescription"]["Shards"][0]["ShardId"];
    let from = json!({ "StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = call_streams(&aws, "GetShardIterator", from).await.unwrap();
    let records =
        call_streams(&aws, "GetRecords", json!({ "ShardIterator": iterator["ShardIterator"] })).await.unwrap();
    let record = &records["Records"][0];
    assert_eq!((&record["eventName"], &record["awsRegion"]), (&json!("INSERT"), &json!("us-east-1")));
    assert_eq!(record["dynamodb"]["NewImage"], json!({ "id": { "S": "1" } }));
    aws.stop().await;
}

#[tokio::test]
async fn the_recovery_period_is_kept_also_after_a_restart() {
    let aws = LocalAws::start().await;
    table(&aws, "posts", &[("id", "S")], Value::Null).await;
    let wanted = |days: Value| {
        json!({
            "TableName": "posts",
            "PointInTimeRecoverySpecification": { "PointInTimeRecoveryEnabled": true, "RecoveryPeriodInDays": days },
        })
    };
    let (_, text) = refusal(call(&aws, "UpdateContinuousBackups", wanted(json!(36))).await);
    assert!(text.contains("'36' at 'pointInTimeRecoverySpecification.recoveryPeriodInDays'"), "{text}");
    while let Err(refused) = call(&aws, "UpdateContinuousBackups", wanted(json!(7))).await {
        assert_eq!(refusal(Answer::Err(refused)).0, "ContinuousBackupsUnavailableException");
    }
    let aws = aws.restarted().await;
    let found = call(&aws, "DescribeContinuousBackups", json!({ "TableName": "posts" })).await.unwrap();
    let recovery = &found["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"];
    assert_eq!(
        (&recovery["PointInTimeRecoveryStatus"], &recovery["RecoveryPeriodInDays"]),
        (&json!("ENABLED"), &json!(7))
    );
    let refused = refusal(call(&aws, "DescribeContinuousBackups", json!({ "TableName": "nothing" })).await);
    assert_eq!(refused, ("TableNotFoundException".to_owned(), "Table not found: nothing".to_owned()));
    aws.stop().await;
}
