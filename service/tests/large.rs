//! A table that no single answer holds, told by a DynamoDB inside the test that gives one row at a time.

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::config::Credentials;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use service::{Clients, Limits, Metrics, Settings, Workers, app, serve};
use tokio::net::TcpListener;
use tokio::sync::Barrier;

const SEGMENTS: u64 = 8;

#[derive(Clone)]
struct Table {
    /// The scans so far.
    calls: Arc<Mutex<Vec<Value>>>,
    /// Where the first call for each segment waits for those for all others.
    all_there: Arc<Barrier>,
}

impl Table {
    /// Two rows in each segment, and one row in each answer.
    async fn scan(&self, asked: Value) -> Value {
        self.calls.lock().unwrap().push(asked.clone());
        let segment = asked["Segment"].as_u64();
        let again = asked["ExclusiveStartKey"]["id"]["S"].is_string();
        if segment.is_some() && !again {
            self.all_there.wait().await;
        }
        let number = 2 * segment.unwrap_or(0) + u64::from(again);
        let (user, id) = (json!({ "S": "USER#ada" }), json!({ "S": format!("POST#{}", id(number)) }));
        let row = json!({ "user": user, "id": id, "title": { "S": "t" }, "body": { "S": "b" } });
        match again {
            false => json!({ "Items": [row], "LastEvaluatedKey": { "user": user, "id": id } }),
            true => json!({ "Items": [row] }),
        }
    }

    /// How many scans were about a segment, and how many about the whole table, since the last time.
    fn counts(&self) -> (usize, usize) {
        let calls = std::mem::take(&mut *self.calls.lock().unwrap());
        let of_segments = calls.iter().filter(|call| call["TotalSegments"] == SEGMENTS).count();
        (of_segments, calls.len() - of_segments)
    }
}

#[tokio::test]
async fn a_large_table_is_read_in_segments_at_the_same_time_each_to_its_last_page() {
    let table = Table { calls: Arc::default(), all_there: Arc::new(Barrier::new(SEGMENTS as usize)) };
    let posts = format!("{}/posts", service(&dynamodb(table.clone()).await).await);
    // Whoever reads one segment after the other waits for ever for the others to be asked for.
    let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
    let ids: Vec<String> = (0..2 * SEGMENTS).map(|number| format!("POST#{}", id(number))).collect();
    // That one answer is not enough is learned once.
    for counts in [(16, 1), (16, 0)] {
        let shown: Vec<Value> = http.get(&posts).send().await.unwrap().json().await.unwrap();
        assert_eq!(shown.iter().map(|post| post["id"].as_str().unwrap()).collect::<Vec<_>>(), ids);
        assert_eq!(table.counts(), counts);
    }
    let part: Vec<Value> =
        http.get(format!("{posts}?limit=3&cursor={}", id(4))).send().await.unwrap().json().await.unwrap();
    assert_eq!(part.iter().map(|post| post["id"].as_str().unwrap()).collect::<Vec<_>>(), &ids[5..8]);
}

fn id(number: u64) -> String {
    format!("018f2f6e-0000-7000-8000-{number:012x}")
}

async fn dynamodb(table: Table) -> String {
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
    assert_eq!(request.headers()["x-amz-target"], "DynamoDB_20120810.Scan");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let page = table.scan(serde_json::from_slice(&body).unwrap()).await;
    Ok(Response::new(Full::from(page.to_string())))
}

async fn service(dynamodb: &str) -> String {
    let shared = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(dynamodb)
        .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
        .load()
        .await;
    let settings =
        Settings::read(|name| matches!(name, "BUCKET" | "DYNAMO_TABLE").then(|| "posts".to_owned())).unwrap();
    let (limits, counts) = (Limits::default(), Arc::new(Metrics::default()));
    let app = app(Clients::new(&shared, &settings).await.unwrap(), &settings, &limits, counts).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { serve("service", listener, app, &limits, &Workers::here(), pending()).await });
    base
}
