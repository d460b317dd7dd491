//! Tables larger than one answer, and answers that AWS would not give, from a fake DynamoDB: a page of a real one holds
//! a megabyte, that is, thousands of posts.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use flate2::read::GzDecoder;
use futures::future::join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use service::Limits;
use tokio::net::TcpListener;
use tokio::sync::Barrier;

use crate::support::start_at;

const SEGMENTS: u64 = 8;

/// Rows by id, and the calls received.
#[derive(Clone)]
struct Table {
    rows: Arc<Mutex<BTreeMap<String, Value>>>,
    calls: Arc<Mutex<Vec<(String, Value)>>>,
    /// The maximum number of rows in an answer.
    most: usize,
    /// The first call for each segment waits here for those of all others.
    all_there: Option<Arc<Barrier>>,
    odd: Arc<Mutex<Option<Odd>>>,
}

/// An operation, the answer to give instead of the correct one, and the number of correct answers before.
type Odd = (&'static str, String, usize);

impl Table {
    fn of(posts: u64, most: usize) -> Self {
        let rows: BTreeMap<_, _> = (0..posts).map(|number| (id(number), row(number))).collect();
        let (rows, calls) = (Arc::new(Mutex::new(rows)), Arc::default());
        Self { rows, calls, most, all_there: None, odd: Arc::default() }
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        self.rows.lock().unwrap()
    }

    async fn answer(&self, operation: &str, asked: Value) -> Value {
        self.calls.lock().unwrap().push((operation.to_owned(), asked.clone()));
        match operation {
            "Scan" => self.scan(&asked).await,
            "Query" => self.query(&asked),
            "BatchGetItem" => self.get(&asked["RequestItems"]["posts"]),
            "GetItem" => match self.rows().get(&name(&asked["Key"]["id"])) {
                Some(row) => json!({ "Item": row }),
                None => json!({}),
            },
            "PutItem" => {
                self.rows().insert(name(&asked["Item"]["id"]), asked["Item"].clone());
                json!({})
            }
            "DeleteItem" => {
                self.rows().remove(&name(&asked["Key"]["id"]));
                json!({})
            }
            other => panic!("{other} is not expected"),
        }
    }

    async fn scan(&self, asked: &Value) -> Value {
        let segment = asked["Segment"].as_u64();
        if let (Some(all_there), Some(_), Value::Null) = (&self.all_there, segment, &asked["ExclusiveStartKey"]) {
            all_there.wait().await;
        }
        let is_of_it = |row: &&Value| segment.is_none_or(|segment| number(row) % SEGMENTS == segment);
        let rows: Vec<Value> = self.rows().values().filter(is_of_it).cloned().collect();
        let mut page = page(rows, asked, self.most);
        if asked["ProjectionExpression"].is_string() {
            for row in page["Items"].as_array_mut().unwrap() {
                *row = json!({ "user": row["user"], "id": row["id"] });
            }
        }
        page
    }

    fn query(&self, asked: &Value) -> Value {
        let (user, after) =
            (&asked["ExpressionAttributeValues"][":user"], &asked["ExpressionAttributeValues"][":after"]);
        let newest = asked["ScanIndexForward"] == false;
        let is_behind = |id: &str| match after["S"].as_str() {
            Some(after) if newest => id < after,
            Some(after) => id > after,
            None => true,
        };
        let rows = self.rows();
        let rows = rows.values().filter(|row| row["user"] == *user && is_behind(&name(&row["id"]))).cloned();
        let mut rows: Vec<Value> = rows.collect();
        if newest {
            rows.reverse();
        }
        page(rows, asked, asked["Limit"].as_u64().map_or(self.most, |limit| self.most.min(limit as usize)))
    }

    fn get(&self, asked: &Value) -> Value {
        let keys = asked["Keys"].as_array().unwrap();
        assert!(asked["ConsistentRead"] == true && keys.len() <= 100);
        let (now, later) = keys.split_at(keys.len().min(self.most));
        let rows: Vec<Value> = now.iter().filter_map(|key| self.rows().get(&name(&key["id"])).cloned()).collect();
        let left =
            if later.is_empty() { json!({}) } else { json!({ "posts": { "ConsistentRead": true, "Keys": later } }) };
        json!({ "Responses": { "posts": rows }, "UnprocessedKeys": left })
    }

    fn answer_instead(&self, operation: &'static str, answer: &str, after: usize) {
        *self.odd.lock().unwrap() = Some((operation, answer.to_owned(), after));
    }

    fn odd(&self, operation: &str) -> Option<String> {
        match &mut *self.odd.lock().unwrap() {
            Some((odd, answer, 0)) if *odd == operation => Some(answer.clone()),
            Some((odd, _, after)) if *odd == operation => {
                *after -= 1;
                None
            }
            _ => None,
        }
    }

    /// The number of calls of each operation since the last time.
    fn counts(&self) -> BTreeMap<String, usize> {
        let calls = std::mem::take(&mut *self.calls.lock().unwrap());
        calls.into_iter().fold(BTreeMap::new(), |mut counts, (operation, asked)| {
            let of_segment = if asked["TotalSegments"] == SEGMENTS { " of a segment" } else { "" };
            *counts.entry(operation + of_segment).or_default() += 1;
            counts
        })
    }
}

impl Table {
    /// Like `counts`, without the scans for keys, which a slow machine may repeat.
    fn row_reads(&self) -> BTreeMap<String, usize> {
        self.counts().into_iter().filter(|(operation, _)| operation != "Scan of a segment").collect()
    }
}

/// Returns the rows after a page's start key, with the start key of the next page.
fn page(rows: Vec<Value>, asked: &Value, most: usize) -> Value {
    let start = match asked["ExclusiveStartKey"]["id"] {
        Value::Null => 0,
        ref start => 1 + rows.iter().position(|row| row["id"] == *start).unwrap(),
    };
    let (page, rest) = rows[start..].split_at(most.min(rows.len() - start));
    match page.last() {
        Some(last) if !rest.is_empty() => {
            json!({ "Items": page, "LastEvaluatedKey": { "user": last["user"], "id": last["id"] } })
        }
        _ => json!({ "Items": page }),
    }
}

fn id(number: u64) -> String {
    format!("POST#{}", uuid(number))
}

fn uuid(number: u64) -> String {
    format!("018f2f6e-0000-7000-8000-{number:012x}")
}

fn name(id: &Value) -> String {
    id["S"].as_str().unwrap().to_owned()
}

fn number(row: &Value) -> u64 {
    u64::from_str_radix(name(&row["id"]).rsplit('-').next().unwrap(), 16).unwrap()
}

fn row(number: u64) -> Value {
    let user = if number.is_multiple_of(3) { "bob" } else { "ada" };
    json!({
        "user": { "S": format!("USER#{user}") }, "id": { "S": id(number) }, "title": { "S": number.to_string() },
        "body": { "S": "b" },
    })
}

/// A service that uses this table.
struct ServiceOn {
    table: Table,
    posts: String,
    http: reqwest::Client,
}

impl ServiceOn {
    async fn table(table: Table) -> Self {
        let posts = format!("{}/posts", start_at(&aws(table.clone()).await, Limits::default()).await);
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        Self { table, posts, http }
    }

    async fn get(&self, query: &str) -> reqwest::Response {
        self.http.get(format!("{}{query}", self.posts)).send().await.unwrap()
    }

    async fn ids(&self, query: &str) -> Vec<String> {
        let answer = self.get(query).await;
        assert_eq!(answer.status(), 200, "{query}");
        ids(&answer.json().await.unwrap())
    }
}

fn ids(posts: &Value) -> Vec<String> {
    posts.as_array().unwrap().iter().map(|post| post["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_keys_of_a_large_table_are_read_once_in_concurrent_segments() {
    // A reader that requested one segment after the other would wait forever for the others.
    let all_there = Some(Arc::new(Barrier::new(SEGMENTS as usize)));
    let service = ServiceOn::table(Table { all_there, ..Table::of(2 * SEGMENTS, 1) }).await;
    let all: Vec<String> = (0..2 * SEGMENTS).map(id).collect();
    assert_eq!(service.ids("").await, all);
    let counts = service.table.counts();
    assert_eq!(
        [counts["Scan"], counts["Scan of a segment"], counts["BatchGetItem"]],
        [1, 16, 16],
        "every answer has one row"
    );
    // The service learns once that the table is large, and caches the keys for a while.
    assert_eq!(service.ids("").await, all);
    assert_eq!(service.table.row_reads(), [("BatchGetItem".to_owned(), 16)].into());
    assert_eq!(service.ids(&format!("?limit=3&cursor={}", uuid(4))).await, &all[5..8]);
    assert_eq!(service.table.row_reads(), [("BatchGetItem".to_owned(), 3)].into());
}

#[tokio::test]
async fn a_page_of_a_large_table_reads_only_its_own_rows() {
    let service = ServiceOn::table(Table::of(1000, 300)).await;
    let first: Vec<String> = (0..40).map(|number| id(999 - number)).collect();
    assert_eq!(service.ids("?limit=40&order=newest").await, first);
    service.table.counts();
    assert_eq!(service.ids("?limit=40&order=newest").await, first);
    assert_eq!(service.table.row_reads(), [("BatchGetItem".to_owned(), 1)].into());
    let pages = (0..200).map(|number| {
        let service = &service;
        async move {
            let answer = service.get(&format!("?limit=1&cursor={}", uuid(4 * number))).await;
            assert_eq!(answer.headers()["next-cursor"], uuid(4 * number + 1));
            assert_eq!(ids(&answer.json().await.unwrap()), [id(4 * number + 1)]);
        }
    });
    join_all(pages).await;
    assert_eq!(service.table.row_reads(), [("BatchGetItem".to_owned(), 200)].into());
}

#[tokio::test]
async fn pages_of_a_small_table_share_a_read_and_are_never_stale() {
    let service = ServiceOn::table(Table::of(100, 1000)).await;
    let pages = (0..99).map(|number| {
        let service = &service;
        async move { assert_eq!(service.ids(&format!("?limit=1&cursor={}", uuid(number))).await, [id(number + 1)]) }
    });
    join_all(pages).await;
    let counts = service.table.counts();
    assert!(counts["Scan"] < 99 && counts.len() == 1, "{counts:?}");
    service.table.rows().insert(id(100), row(100));
    service.table.rows().remove(&id(99));
    assert_eq!(service.ids("?limit=2&order=newest").await, [id(100), id(98)]);
    assert_eq!(service.ids(&format!("?cursor={}", uuid(97))).await, [id(98), id(100)]);
}

#[tokio::test]
async fn a_large_list_is_correct_in_pages_and_as_a_whole() {
    let service = ServiceOn::table(Table::of(1000, 300)).await;
    let all: Vec<String> = (0..1000).map(id).collect();
    let newest: Vec<String> = all.iter().rev().cloned().collect();
    let of = |user: &str| -> Vec<String> {
        let is_of_user = |number: &u64| row(*number)["user"]["S"] == format!("USER#{user}");
        (0..1000).filter(is_of_user).map(id).collect()
    };
    for (query, expected) in [
        ("", all.clone()),
        ("?order=newest", newest.clone()),
        (&format!("?cursor={}", uuid(10)), all[11..].to_vec()),
        (&format!("?order=newest&cursor={}", uuid(10)), newest[990..].to_vec()),
        ("?user=ada", of("ada")),
        ("?user=ada&order=newest", of("ada").into_iter().rev().collect()),
        ("?user=bob&limit=310", of("bob")[..310].to_vec()),
    ] {
        assert!(service.ids(query).await == expected, "{query}");
        let answer =
            service.http.get(format!("{}{query}", service.posts)).header("Accept-Encoding", "gzip").send().await;
        let (answer, mut unpacked) = (answer.unwrap(), String::new());
        assert_eq!(answer.headers()["content-encoding"], "gzip");
        GzDecoder::new(&*answer.bytes().await.unwrap()).read_to_string(&mut unpacked).unwrap();
        assert!(ids(&serde_json::from_str(&unpacked).unwrap()) == expected, "{query}, compressed");
    }
    // Posts deleted by others are skipped immediately, also if a page would begin or end with one.
    service.table.rows().retain(|_, row| number(row) >= 500);
    assert!(service.ids("").await == all[500..]);
    assert_eq!(service.ids(&format!("?limit=1&cursor={}", uuid(3))).await, [id(500)]);
    assert_eq!(service.ids("?user=bob&limit=1").await, [id(501)]);
}

#[tokio::test]
async fn an_instance_shows_its_own_writes_and_deletions_at_once() {
    let service = ServiceOn::table(Table::of(500, 100)).await;
    assert_eq!(service.ids("").await.len(), 500);
    let post =
        service.http.post(&service.posts).header("Authorization", "eve").header("Content-Type", "application/json");
    let written: Value = post.body(r#"{"title":"t","body":"b"}"#).send().await.unwrap().json().await.unwrap();
    let newest = "?order=newest&limit=2";
    assert_eq!(service.ids(newest).await, [written["id"].as_str().unwrap().to_owned(), id(499)]);
    assert_eq!(service.ids("").await.len(), 501);
    let delete = service.http.delete(format!("{}/{}", service.posts, uuid(499))).header("Authorization", "ada");
    assert_eq!(delete.send().await.unwrap().status(), 204);
    assert_eq!(service.ids(newest).await, [written["id"].as_str().unwrap().to_owned(), id(498)]);
    assert_eq!(service.ids("").await.len(), 500);
}

#[tokio::test]
async fn a_list_that_cannot_be_completed_is_cut_off() {
    let service = ServiceOn::table(Table::of(1000, 300)).await;
    assert_eq!(service.ids("").await.len(), 1000);
    // The first page has been read by then.
    service.table.answer_instead("BatchGetItem", "<html>", 3);
    let answer = service.get("").await;
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err(), "a shorter list would look complete");
    let refused = service.get("").await;
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (503, "2"));
}

#[tokio::test]
async fn a_malformed_answer_is_neither_a_success_nor_an_empty_list() {
    let (small, large) = (ServiceOn::table(Table::of(3, 100)).await, ServiceOn::table(Table::of(30, 10)).await);
    assert_eq!(large.ids("?limit=1").await, [id(0)]);
    let circle = json!({ "Items": [], "LastEvaluatedKey": { "user": { "S": "USER#ada" }, "id": { "S": "x" } } });
    let circle = circle.to_string();
    let endless = [
        "",
        "<html>Log in</html>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken></ListBucketResult>",
    ];
    let odd =
        ["", "<html>Log in</html>", "{", "[]", "null", "{\"Item\":[]}", "{\"Responses\":[]}", "\u{1f}\u{8b}\u{8}"];
    for (service, operation, method, path, odd) in [
        (&small, "Scan", "GET", "", &odd[..]),
        (&small, "Scan", "GET", "?limit=1", &odd),
        (
            &small,
            "Scan",
            "GET",
            "",
            &["{}", "{\"Items\":{}}", "{\"Items\":[1]}", "{\"Items\":[],\"LastEvaluatedKey\":1}"],
        ),
        (&large, "BatchGetItem", "GET", "", &odd),
        (
            &large,
            "BatchGetItem",
            "GET",
            "?limit=1",
            &["{}", "{\"Responses\":{\"posts\":[]}}", "{\"UnprocessedKeys\":{}}"],
        ),
        (&small, "Query", "GET", "?user=ada", &odd),
        (&small, "Query", "GET", "?user=ada", &["{}", &circle]),
        (&small, "Query", "GET", "?user=ada&limit=1", &["{}", &circle]),
        (&small, "PutItem", "POST", "", &odd[..5]),
        (&small, "GetItem", "DELETE", "/018f2f6e-0000-7000-8000-000000000001", &odd[..6]),
        (&small, "S3", "DELETE", "/018f2f6e-0000-7000-8000-000000000001", &endless),
        (&small, "DeleteItem", "DELETE", "/018f2f6e-0000-7000-8000-000000000001", &odd[..5]),
    ] {
        for body in odd {
            service.table.answer_instead(operation, body, 0);
            let request = service.http.request(method.parse().unwrap(), format!("{}{path}", service.posts));
            let request = request.header("Authorization", "ada").header("Content-Type", "application/json");
            let answer = request.body(r#"{"title":"t","body":"b"}"#).send().await.unwrap();
            assert_eq!(answer.status(), 503, "{operation} for {method} {path}: {body}");
            assert_eq!(answer.headers()["retry-after"], "2");
        }
        *service.table.odd.lock().unwrap() = None;
    }
    assert_eq!(small.ids("").await, (0..3).map(id).collect::<Vec<_>>());
}

/// Serves a DynamoDB with this table, and an S3 without objects; returns the address.
async fn aws(table: Table) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let table = table.clone();
            let answer = service_fn(move |request| answer(request, table.clone()));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    endpoint
}

async fn answer(request: Request<Incoming>, table: Table) -> Result<Response<Full<Bytes>>, Infallible> {
    let target = request.headers().get("x-amz-target").map(|target| target.to_str().unwrap().to_owned());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let answered = match target.as_deref().and_then(|target| target.split_once('.')) {
        None => table.odd("S3").unwrap_or_else(|| "<ListBucketResult></ListBucketResult>".to_owned()),
        Some((_, operation)) => match table.odd(operation) {
            Some(answered) => answered,
            None => table.answer(operation, serde_json::from_slice(&body).unwrap()).await.to_string(),
        },
    };
    Ok(Response::new(Full::from(answered)))
}
