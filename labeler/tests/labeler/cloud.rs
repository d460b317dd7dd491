//! The few calls the labeler makes, answered by a small cloud inside the test, with the faults a test asks for.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard},
};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

pub const BUCKET: &str = "pictures";
pub const TABLE: &str = "posts";

/// What S3 leaves as it is in the keys of its events; a blank becomes `+`.
const IN_EVENTS: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b' ');

/// A running cloud; it ends with the test.
pub struct Cloud {
    endpoint: String,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

type Meanwhile = Box<dyn FnOnce(&mut State) + Send>;

/// What is in the cloud.
#[derive(Default)]
pub struct State {
    /// The rows by `user` and `id`, in DynamoDB's JSON.
    pub rows: BTreeMap<(String, String), Map<String, Value>>,
    /// The objects by key. In the pixels of a picture is what is on it: `Name confidence, …`.
    pub objects: BTreeMap<String, Vec<u8>>,
    /// The calls so far.
    pub calls: Vec<String>,
    faults: BTreeMap<String, VecDeque<(u16, String)>>,
    meanwhile: VecDeque<Meanwhile>,
}

impl Cloud {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let server = tokio::spawn(serve(listener, state.clone()));
        Self { endpoint, state, server }
    }

    /// A client's configuration: without retries, so that a fault is seen as it is.
    pub fn config(&self) -> SdkConfig {
        let credentials = Credentials::new("id", "secret", None, None, "test");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(&self.endpoint)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .retry_config(RetryConfig::disabled())
            .build()
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Uploads a picture on which is `Name confidence, …`; any other text is the object itself.
    pub fn upload(&self, key: &str, content: &str) {
        let bytes = match labels(content) {
            Some(_) => jpeg(&[], content),
            None => content.into(),
        };
        self.upload_bytes(key, bytes);
    }

    pub fn upload_bytes(&self, key: &str, bytes: Vec<u8>) {
        self.state().objects.insert(key.into(), bytes);
    }

    /// An event as S3 sends it of the object that is there now.
    pub fn event(&self, key: &str, time: &str) -> Value {
        let mut event = event(&[(key, time)]);
        event["Records"][0]["s3"]["object"]["eTag"] = tag(&self.state().objects[key]).into();
        event
    }

    /// The next such call is refused.
    pub fn refuse(&self, operation: &str, status: u16, code: &str) {
        let mut state = self.state();
        let faults = state.faults.entry(operation.into()).or_default();
        faults.push_back((status, code.into()));
    }

    /// What happens while Rekognition looks at the next picture; said again, at the one after it.
    pub fn meanwhile(&self, act: impl FnOnce(&mut State) + Send + 'static) {
        self.state().meanwhile.push_back(Box::new(act));
    }

    pub fn calls(&self, operation: &str) -> usize {
        let state = self.state();
        state.calls.iter().filter(|call| *call == operation).count()
    }

    /// The keys of all objects.
    pub fn keys(&self) -> Vec<String> {
        self.state().objects.keys().cloned().collect()
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// An event as S3 sends it, with a record per uploaded key and time.
pub fn event(uploads: &[(&str, &str)]) -> Value {
    let record = |(key, time): &(&str, &str)| {
        let key = utf8_percent_encode(key, IN_EVENTS).to_string().replace(' ', "+");
        json!({
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": time,
            "eventName": "ObjectCreated:Put",
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "labeler",
                "bucket": { "name": BUCKET, "arn": format!("arn:aws:s3:::{BUCKET}") },
                "object": { "key": key, "size": 3, "eTag": "e", "sequencer": "0055AED6DCD90281E5" },
            },
        })
    };
    json!({ "Records": uploads.iter().map(record).collect::<Vec<_>>() })
}

/// A JPEG with these segments, and in place of its pixels a text.
pub fn jpeg(segments: &[(u8, &[u8])], content: &str) -> Vec<u8> {
    let mut bytes = b"\xFF\xD8".to_vec();
    let frame = (0xC0, &[8, 0, 1, 0, 1, 1, 1, 0x11, 0][..]);
    for (marker, inside) in segments.iter().chain([&frame, &(0xDA, SCAN)]) {
        bytes.extend([0xFF, *marker]);
        bytes.extend((inside.len() as u16 + 2).to_be_bytes());
        bytes.extend(*inside);
    }
    [&bytes, content.as_bytes(), b"\xFF\xD9"].concat()
}

/// What stands before the pixels of a picture.
const SCAN: &[u8] = &[1, 1, 0, 0, 63, 0];

/// The text in place of a picture's pixels.
fn pixels(bytes: &[u8]) -> Option<&str> {
    let begin = bytes.windows(SCAN.len()).position(|window| window == SCAN)? + SCAN.len();
    std::str::from_utf8(bytes[begin..].strip_suffix(b"\xFF\xD9")?).ok()
}

fn labels(content: &str) -> Option<Vec<Value>> {
    content.split(", ").map(seen).collect()
}

fn tag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = state.clone();
        let answer = service_fn(move |request| answer(request, state.clone()));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

async fn answer(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let target = request.headers().get("x-amz-target");
    let operation = match target {
        Some(target) => target.to_str().unwrap().rsplit('.').next().unwrap().into(),
        None => format!("{} object", request.method()),
    };
    let path = percent_decode_str(request.uri().path()).decode_utf8().unwrap().into_owned();
    let (of_s3, headers) = (target.is_none(), request.headers().clone());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut state = state.lock().unwrap();
    state.calls.push(operation.clone());
    let fault = state.faults.get_mut(&operation).and_then(VecDeque::pop_front);
    if of_s3 {
        let expected = headers.get("if-match").map(|tag| tag.to_str().unwrap().trim_matches('"').to_owned());
        let result = match fault {
            Some(fault) => Err(fault),
            None => state.object(&operation, object_key(&path), expected.as_deref(), &body),
        };
        if operation == "PUT object" {
            assert_eq!(headers["content-type"], TYPE, "a picture keeps its type");
        }
        return Ok(of_object(result));
    }
    let result = match fault {
        Some(fault) => Err(fault),
        None => match operation.as_str() {
            "GetItem" => state.get_item(&parsed(&body)),
            "UpdateItem" => state.update_item(&parsed(&body)),
            "DetectLabels" => state.detect_labels(&parsed(&body)),
            other => panic!("no labeler needs {other}"),
        },
    };
    Ok(response(result))
}

/// The type of every object.
const TYPE: &str = "image/jpeg";

type Answer = Result<Value, (u16, String)>;

impl State {
    /// A post of a user, without a picture.
    pub fn add_post(&mut self, user: &str, id: &str) {
        let row = json!({
            "user": { "S": format!("USER#{user}") },
            "id": { "S": format!("POST#{id}") },
            "title": { "S": "Hello" },
        });
        self.rows.insert(row_key(&row), row.as_object().unwrap().clone());
    }

    fn get_item(&self, request: &Value) -> Answer {
        assert_eq!(request["TableName"], TABLE);
        assert_eq!(request["ConsistentRead"], true);
        Ok(match self.rows.get(&row_key(&request["Key"])) {
            Some(row) => json!({ "Item": row }),
            None => json!({}),
        })
    }

    fn update_item(&mut self, request: &Value) -> Answer {
        assert_eq!(request["TableName"], TABLE);
        let key = row_key(&request["Key"]);
        let mut row = self.rows.get(&key).cloned().unwrap_or_default();
        let condition = request["ConditionExpression"].as_str().unwrap();
        if !condition.split(" AND ").all(|clause| holds(clause, &row, request)) {
            return refusal(400, "ConditionalCheckFailedException");
        }
        update(&mut row, request);
        self.rows.insert(key, row);
        Ok(json!({}))
    }

    fn detect_labels(&mut self, request: &Value) -> Answer {
        let object = &request["Image"]["S3Object"];
        assert_eq!(object["Bucket"], BUCKET);
        let bytes = self.objects.get(object["Name"].as_str().unwrap()).cloned();
        if let Some(meanwhile) = self.meanwhile.pop_front() {
            meanwhile(self);
        }
        let Some(bytes) = bytes else {
            return refusal(400, "InvalidS3ObjectException");
        };
        let Some(mut seen) = pixels(&bytes).and_then(labels) else {
            return refusal(400, "InvalidImageFormatException");
        };
        seen.retain(|label| label["Confidence"].as_f64() >= request["MinConfidence"].as_f64());
        seen.truncate(request["MaxLabels"].as_u64().unwrap() as usize);
        Ok(json!({ "Labels": seen }))
    }

    /// The object after the call, or what was removed.
    fn object(
        &mut self,
        operation: &str,
        key: &str,
        expected: Option<&str>,
        body: &[u8],
    ) -> Result<Vec<u8>, (u16, String)> {
        let there = self.objects.get(key).cloned();
        match (&there, expected) {
            (Some(bytes), Some(expected)) if tag(bytes) != expected => {
                return Err((412, "PreconditionFailed".into()));
            }
            _ => (),
        }
        let missing = || (404, "NoSuchKey".to_owned());
        match operation {
            "GET object" | "HEAD object" => there.ok_or_else(missing),
            "PUT object" => {
                if expected.is_some() && there.is_none() {
                    return Err(missing());
                }
                self.objects.insert(key.into(), body.into());
                Ok(body.into())
            }
            "DELETE object" => Ok(self.objects.remove(key).unwrap_or_default()),
            other => panic!("no labeler needs {other}"),
        }
    }
}

/// One clause of a condition, of the kinds there are.
fn holds(clause: &str, row: &Map<String, Value>, request: &Value) -> bool {
    let called = |call: &str| {
        let argument = clause.strip_prefix(call)?.strip_suffix(')')?;
        Some(row.get(name(argument, request)))
    };
    if let Some(attribute) = called("attribute_exists(") {
        return attribute.is_some();
    }
    if let Some(attribute) = called("attribute_not_exists(") {
        return attribute.is_none();
    }
    let (left, right) = clause.split_once(" = ").unwrap();
    row.get(name(left, request)) == Some(&request["ExpressionAttributeValues"][right])
}

/// `SET #a = :a, #b = :b REMOVE #c`.
fn update(row: &mut Map<String, Value>, request: &Value) {
    let expression = request["UpdateExpression"].as_str().unwrap();
    let (set, remove) = expression.split_once(" REMOVE ").unwrap_or((expression, ""));
    for assignment in set.strip_prefix("SET ").unwrap().split(", ") {
        let (left, right) = assignment.split_once(" = ").unwrap();
        let value = &request["ExpressionAttributeValues"][right];
        assert!(value.is_object(), "{right} has no value");
        row.insert(name(left, request).into(), value.clone());
    }
    for removed in remove.split(", ").filter(|removed| !removed.is_empty()) {
        row.remove(name(removed, request));
    }
}

fn name<'a>(placeholder: &str, request: &'a Value) -> &'a str {
    request["ExpressionAttributeNames"][placeholder].as_str().unwrap()
}

fn row_key(item: &Value) -> (String, String) {
    let part = |name: &str| item[name]["S"].as_str().unwrap().to_owned();
    (part("user"), part("id"))
}

fn object_key(path: &str) -> &str {
    path.strip_prefix(&format!("/{BUCKET}/")).expect("S3 is addressed by path")
}

fn seen(label: &str) -> Option<Value> {
    let (name, confidence) = label.rsplit_once(' ')?;
    Some(json!({ "Name": name, "Confidence": confidence.parse::<f64>().ok()? }))
}

fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

fn refusal(status: u16, code: &str) -> Answer {
    Err((status, code.into()))
}

fn of_object(answer: Result<Vec<u8>, (u16, String)>) -> Response<Full<Bytes>> {
    let (status, tag, body) = match answer {
        Ok(bytes) => (200, tag(&bytes), bytes),
        Err((status, code)) => (status, String::new(), format!("<Error><Code>{code}</Code></Error>").into_bytes()),
    };
    let response = Response::builder().status(status).header("content-type", TYPE).header("etag", format!("\"{tag}\""));
    response.body(Full::from(body)).unwrap()
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let (status, body) = match answer {
        Ok(body) => (200, body.to_string()),
        Err((status, code)) => (status, json!({ "__type": code, "message": "as the test asked" }).to_string()),
    };
    let response = Response::builder().status(status).header("content-type", "application/x-amz-json-1.1");
    response.body(Full::from(body)).unwrap()
}
