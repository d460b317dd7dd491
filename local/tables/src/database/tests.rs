//! Tables on disk: pages, interrupted calls and damage.

use serde_json::{Value, json};

use super::*;

fn table(name: &str) -> String {
    json!({
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
    })
    .to_string()
}

fn put(database: &mut Database, item: &Value) {
    database.change("PutItem", &json!({ "TableName": "posts", "Item": item }).to_string()).unwrap();
}

fn read_all(database: &mut Database, mut input: Value) -> Vec<usize> {
    let mut pages = Vec::new();
    loop {
        let page: Value = serde_json::from_str(&database.look("Scan", &input.to_string()).unwrap()).unwrap();
        pages.push(page["Items"].as_array().unwrap().len());
        match page.get("LastEvaluatedKey") {
            Some(key) => input["ExclusiveStartKey"] = key.clone(),
            None => return pages,
        }
    }
}

#[test]
fn a_page_is_cut_at_a_megabyte_and_reads_little_more_than_it_shows() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = Database::open(dir.path()).unwrap();
    database.change("CreateTable", &table("posts")).unwrap();
    for number in 0..400 {
        let item = json!({ "id": { "S": format!("{number:03}") }, "text": { "S": "x".repeat(8000) } });
        put(&mut database, &item);
    }
    let whole = read_all(&mut database, json!({ "TableName": "posts" }));
    assert_eq!((whole.iter().sum::<usize>(), whole.len()), (400, 4), "{whole:?}");
    let rows = database.page_rows[&("posts".to_owned(), None)];
    assert!((whole[0]..2 * whole[0]).contains(&rows), "{rows} rows are read for {} that fit", whole[0]);
    for segments in [1, 3] {
        let scan = |segment| json!({ "TableName": "posts", "Segment": segment, "TotalSegments": segments });
        let found: usize = (0..segments).map(|one| read_all(&mut database, scan(one)).iter().sum::<usize>()).sum();
        assert_eq!(found, 400, "{segments} segments");
    }
    assert_eq!(read_all(&mut database, json!({ "TableName": "posts", "Limit": 100 })), [100, 100, 100, 100, 0]);
}

#[test]
fn rows_of_a_segment_are_found_by_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = Database::open(dir.path()).unwrap();
    database.change("CreateTable", &table("posts")).unwrap();
    let sql = "EXPLAIN QUERY PLAN SELECT pk, sk, item_json FROM posts WHERE (hash_prefix, pk, sk) > ('a', 'b', 'c') AND substr(hash_prefix, 1, 3) >= '000' ORDER BY hash_prefix ASC, pk ASC, sk ASC LIMIT 9";
    let plan: String = database.side.query_row(sql, [], |row| row.get(3)).unwrap();
    assert!(plan.contains("USING INDEX posts::segments"), "{plan}");
}

#[test]
fn a_table_whose_creation_was_interrupted_does_not_exist() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = Database::open(dir.path()).unwrap();
    for name in ["posts", "postscript"] {
        database.change("CreateTable", &table(name)).unwrap();
    }
    put(&mut database, &json!({ "id": { "S": "1" } }));
    database.recover("posts", Some(7)).unwrap();
    database.begin("posts").unwrap();
    drop(database);
    let mut database = Database::open(dir.path()).unwrap();
    assert_eq!(database.names().unwrap(), ["postscript"]);
    database.change("CreateTable", &table("posts")).unwrap();
    assert_eq!(read_all(&mut database, json!({ "TableName": "posts" })), [0]);
    assert_eq!(database.recovery("posts").unwrap(), None);
    // A call that is refused leaves no trace.
    database.change("CreateTable", &table("no blanks")).unwrap_err();
    let unfinished = "SELECT count(*) FROM \"::unfinished\"";
    assert_eq!(database.side.query_row(unfinished, [], |row| row.get::<_, u32>(0)).unwrap(), 0);
}

/// Copies the files as a kill leaves them, with all rows in the database file.
fn killed(database: &mut Database, from: &Path) -> tempfile::TempDir {
    database.side.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    database.note();
    let to = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), to.path().join(file.file_name())).unwrap();
    }
    to
}

#[test]
fn a_bit_that_is_flipped_in_a_row_after_a_kill_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = Database::open(dir.path()).unwrap();
    let mut input: Value = serde_json::from_str(&table("posts")).unwrap();
    let title = json!({ "AttributeName": "title", "AttributeType": "S" });
    input["AttributeDefinitions"].as_array_mut().unwrap().push(title);
    let index = json!({
        "IndexName": "titles",
        "KeySchema": [{ "AttributeName": "title", "KeyType": "HASH" }],
        "Projection": { "ProjectionType": "ALL" },
    });
    input["GlobalSecondaryIndexes"] = json!([index]);
    database.change("CreateTable", &input.to_string()).unwrap();
    for (id, title) in [("1", "first"), ("2", "second"), ("1", "another"), ("3", "third")] {
        put(&mut database, &json!({ "id": { "S": id }, "title": { "S": title } }));
    }
    let update = json!({
        "TableName": "posts", "Key": { "id": { "S": "2" } },
        "UpdateExpression": "SET title = :t", "ExpressionAttributeValues": { ":t": { "S": "needle" } },
    });
    database.change("UpdateItem", &update.to_string()).unwrap();
    let delete = json!({ "TableName": "posts", "Key": { "id": { "S": "3" } } });
    database.change("DeleteItem", &delete.to_string()).unwrap();
    // Each copy has its own directory: a server that finds damage leaves the files open.
    let mut open = |change: &dyn Fn(&mut Vec<u8>)| {
        let copy = killed(&mut database, dir.path());
        let files = Files::in_dir(copy.path());
        let mut bytes = std::fs::read(&files.database).unwrap();
        change(&mut bytes);
        std::fs::write(&files.database, &bytes).unwrap();
        Database::open(copy.path()).map(|mut it| read_all(&mut it, json!({ "TableName": "posts" })))
    };
    assert_eq!(open(&|_| ()).unwrap(), [2]);
    let needles = |bytes: &[u8]| -> Vec<usize> {
        bytes.windows(6).enumerate().filter(|(_, text)| text == b"needle").map(|(at, _)| at).collect()
    };
    // In the row, and in the index's entry.
    for place in 0..3 {
        let fault = open(&|bytes| {
            let at = needles(bytes)[place];
            bytes[at] ^= 1;
        });
        let fault = format!("{:#}", fault.unwrap_err());
        assert!(fault.contains("is damaged") && fault.contains("not as it was written"), "{place}: {fault}");
    }
}

#[test]
fn an_item_is_deleted_when_its_time_to_live_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = Database::open(dir.path()).unwrap();
    database.change("CreateTable", &table("posts")).unwrap();
    let on = json!({ "Enabled": true, "AttributeName": "ends" });
    let on = json!({ "TableName": "posts", "TimeToLiveSpecification": on }).to_string();
    database.change("UpdateTimeToLive", &on).unwrap();
    let now = seconds_now() as u64;
    for (id, ends) in [("gone", now - 60), ("here", now + 600)] {
        put(&mut database, &json!({ "id": { "S": id }, "ends": { "N": ends.to_string() } }));
    }
    database.sweep();
    let left = database.look("Scan", &json!({ "TableName": "posts" }).to_string()).unwrap();
    assert!(left.contains("here") && !left.contains("gone"), "{left}");
}

#[test]
fn names_that_are_equal_for_sqlite_are_distinct_tables() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = Database::open(dir.path()).unwrap();
    database.change("CreateTable", &table("posts")).unwrap();
    let other = |name| database.in_the_way_of(name).unwrap();
    assert_eq!(other("posts"), None, "it is there, which is another refusal");
    assert_eq!(other("Posts").as_deref(), Some("posts"));
    assert_eq!(other("_tables").as_deref(), Some("_tables"));
    assert_eq!(other("SQLite_x").as_deref(), Some("sqlite_*"));
    assert_eq!(other("new"), None);
}
