//! A stand-in for DynamoDB that answers every call with the same bytes: its cost does not depend on the table.

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The posts in the table, their users, and the interval between posts with a picture.
const POSTS: u128 = 100;
const USERS: u128 = 20;
const PICTURES: u128 = 2;

/// A stand-in in a process of its own, which is stopped when this is dropped.
pub struct StandIn {
    pub endpoint: String,
    process: Child,
}

impl StandIn {
    pub fn start() -> Result<Self> {
        Self::named("stand-in")
    }

    /// With a table of 100,000 posts and 100 MB.
    pub fn large() -> Result<Self> {
        Self::named("large-stand-in")
    }

    fn named(word: &str) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?).arg(word).stdout(Stdio::piped()).spawn()?;
        let said = process.stdout.take().context("its output is piped")?;
        let mut endpoint = String::new();
        BufReader::new(said).read_line(&mut endpoint)?;
        Ok(Self { endpoint: endpoint.trim().to_owned(), process })
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Answers for a large table until it is stopped.
#[tokio::main(flavor = "current_thread")]
pub async fn serve_large() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = service_fn(move |request: Request<Incoming>| async move {
            let target = request.headers().get("x-amz-target").cloned();
            let body = request.into_body().collect().await?.to_bytes();
            let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
            let answer = match target.as_ref().map(|target| target.as_bytes()) {
                Some(b"DynamoDB_20120810.Scan") => scan_large(&asked),
                Some(b"DynamoDB_20120810.BatchGetItem") => get_large(&asked),
                _ => json!({}),
            };
            Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from(answer.to_string()))))
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

/// The posts in the large table, and in each of its answers.
pub const LARGE: u128 = 100_000;
const OF_ONE_ANSWER: usize = 1000;

fn scan_large(asked: &Value) -> Value {
    let (segment, segments) = (asked["Segment"].as_u64().unwrap_or(0), asked["TotalSegments"].as_u64().unwrap_or(1));
    let after = number(&asked["ExclusiveStartKey"]["id"]);
    let (segment, segments) = (u128::from(segment), u128::from(segments));
    let of_it = (segment..LARGE).step_by(segments as usize).filter(|number| after.is_none_or(|after| *number > after));
    let numbers: Vec<u128> = of_it.take(OF_ONE_ANSWER).collect();
    let is_of_keys = asked["ProjectionExpression"].is_string();
    let rows: Vec<Value> = numbers.iter().map(|number| large_row(*number, is_of_keys)).collect();
    match numbers.last() {
        Some(last) if last + segments < LARGE => json!({ "Items": rows, "LastEvaluatedKey": large_row(*last, true) }),
        _ => json!({ "Items": rows }),
    }
}

fn get_large(asked: &Value) -> Value {
    let tables = asked["RequestItems"].as_object().into_iter().flatten();
    let rows = tables.map(|(table, asked)| {
        let numbers = asked["Keys"].as_array().into_iter().flatten().filter_map(|key| number(&key["id"]));
        (table.clone(), numbers.map(|number| large_row(number, false)).collect::<Vec<_>>().into())
    });
    json!({ "Responses": rows.collect::<serde_json::Map<String, Value>>(), "UnprocessedKeys": {} })
}

/// A post of 1 KB, or its key.
fn large_row(number: u128, is_key: bool) -> Value {
    let mut row = json!({
        "user": { "S": format!("USER#user {}", number % 1000) }, "id": { "S": format!("POST#{}", uuid(number)) },
    });
    if !is_key {
        row["title"] = json!({ "S": format!("Post number {number}") });
        row["body"] = json!({ "S": "A day at the sea, with wind, cake and a lighthouse. ".repeat(18) });
    }
    row
}

fn number(id: &Value) -> Option<u128> {
    let digits = id["S"].as_str()?.strip_prefix("POST#")?.replace('-', "");
    Some(u128::from_str_radix(&digits, 16).ok()? & 0xffff_ffff)
}

/// Answers until it is stopped.
#[tokio::main(flavor = "current_thread")]
pub async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let answers = Answers::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answers = answers.clone();
        let answer = service_fn(move |request| {
            let answer = answers.to(&request);
            async move { Ok::<_, Infallible>(answer) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

#[derive(Clone)]
struct Answers {
    scan: Bytes,
    query: Bytes,
    get: Bytes,
    put: Bytes,
    batch_write: Bytes,
}

impl Answers {
    fn new() -> Self {
        let rows: Vec<Value> = (0..POSTS).map(row).collect();
        let of_one_user: Vec<&Value> = rows.iter().step_by(USERS as usize).collect();
        let bytes = |value: Value| Bytes::from(value.to_string());
        Self {
            query: bytes(
                json!({ "Items": of_one_user, "Count": of_one_user.len(), "ScannedCount": of_one_user.len() }),
            ),
            scan: bytes(json!({ "Items": rows, "Count": rows.len(), "ScannedCount": rows.len() })),
            get: bytes(json!({ "Item": { "id": rows[0]["id"] } })),
            put: bytes(json!({})),
            batch_write: bytes(json!({ "UnprocessedItems": {} })),
        }
    }

    fn to(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let target = request.headers().get("x-amz-target").map_or(&b""[..], |target| target.as_bytes());
        let body = match target {
            b"DynamoDB_20120810.Scan" => &self.scan,
            b"DynamoDB_20120810.Query" => &self.query,
            b"DynamoDB_20120810.GetItem" => &self.get,
            b"DynamoDB_20120810.BatchWriteItem" => &self.batch_write,
            _ => &self.put,
        };
        let mut response = Response::new(Full::new(body.clone()));
        let json = hyper::header::HeaderValue::from_static("application/x-amz-json-1.0");
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
        response
    }
}

/// A post of ordinary length.
fn row(number: u128) -> Value {
    let (user, id) = (format!("user {}", number % USERS), uuid(number));
    let mut row = json!({
        "user": { "S": format!("USER#{user}") },
        "id": { "S": format!("POST#{id}") },
        "title": { "S": format!("Post number {number}") },
        "body": { "S": "A day at the sea, with wind, cake and a lighthouse. ".repeat(3) },
    });
    if number.is_multiple_of(PICTURES) {
        row["image"] = json!({ "S": format!("{user}/{id}/{}photo {number}.jpg", uuid(number)) });
        let labels = ["Sea", "Outdoors", "Nature", "Lighthouse", "Cake"].map(|label| json!({ "S": label }));
        row["labels"] = json!({ "L": labels });
        row["uploaded"] = json!({ "N": (1_790_000_000_000 + number).to_string() });
    }
    row
}

/// A UUID of version 7 that grows with the number.
pub fn uuid(number: u128) -> String {
    let digits = format!("{:032x}", 0x0190_0000_0000_7000_8000_0000_0000_0000_u128 + number);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}
