//! A stand-in for DynamoDB that answers every call with the same bytes: what it costs does not depend on the table.

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Posts in the table, their users, and every how many-th has a picture.
const POSTS: u128 = 100;
const USERS: u128 = 20;
const PICTURES: u128 = 2;

/// A stand-in in a process of its own. Dropping it ends it.
pub struct StandIn {
    pub endpoint: String,
    process: Child,
}

impl StandIn {
    pub fn start() -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?).arg("stand-in").stdout(Stdio::piped()).spawn()?;
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

/// Answers until it is ended.
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
        }
    }

    fn to(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let target = request.headers().get("x-amz-target").map_or(&b""[..], |target| target.as_bytes());
        let body = match target {
            b"DynamoDB_20120810.Scan" => &self.scan,
            b"DynamoDB_20120810.Query" => &self.query,
            b"DynamoDB_20120810.GetItem" => &self.get,
            _ => &self.put,
        };
        let mut response = Response::new(Full::new(body.clone()));
        let json = hyper::header::HeaderValue::from_static("application/x-amz-json-1.0");
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
        response
    }
}

/// A post of an ordinary length.
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
fn uuid(number: u128) -> String {
    let digits = format!("{:032x}", 0x0190_0000_0000_7000_8000_0000_0000_0000_u128 + number);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}
