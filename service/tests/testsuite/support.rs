//! The service on a test's own local AWS, and a client.

pub mod front;
pub mod line;
pub mod tokens;

use std::future::pending;
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::AttributeValue;
use poem::Endpoint;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use service::{Clients, Limits, Settings, Workers, app, serve};
use testkit::{LocalAws, clients};
use tokio::net::TcpListener;

pub const BUCKET: &str = "images";
pub const TABLE: &str = "posts";

/// A service under test.
pub struct TestService {
    pub base: String,
    pub http: Client,
    pub dynamo: aws_sdk_dynamodb::Client,
    pub s3: aws_sdk_s3::Client,
    pub endpoint: String,
    aws: LocalAws,
}

impl TestService {
    pub async fn start() -> Self {
        let aws = LocalAws::start().await;
        let (endpoint, dynamo, s3) = (aws.endpoint(), aws.dynamodb(), aws.s3());
        s3.create_bucket().bucket(BUCKET).send().await.unwrap();
        clients::create_table(&dynamo, TABLE, "user", "id").await;
        let base = start(&aws.config, &settings(&endpoint, &[]), Limits::default()).await;
        Self { base, http: Client::new(), dynamo, s3, endpoint, aws }
    }

    /// Starts another service on the same AWS that reaches S3, `DynamoDB` or both at these addresses, where no server
    /// need listen.
    pub async fn elsewhere(&self, s3: Option<&str>, dynamodb: Option<&str>) -> String {
        let shared = clients::config(dynamodb.unwrap_or(&self.endpoint)).await;
        start(&shared, &settings(s3.unwrap_or(&self.endpoint), &[]), Limits::default()).await
    }

    /// Starts another service, with these limits and without retries, that reaches all of AWS at this address.
    pub async fn elsewhere_with(&self, endpoint: &str, limits: Limits) -> String {
        start_at(endpoint, limits).await
    }

    /// Starts another service on the same AWS with other settings.
    pub async fn otherwise(&self, more: &[(&str, &str)], limits: Limits) -> String {
        start(&self.aws.config, &settings(&self.endpoint, more), limits).await
    }

    pub async fn end(self) {
        self.aws.stop().await;
    }

    /// The number of calls that AWS has answered.
    pub async fn calls(&self) -> usize {
        self.aws.control().journal().await.len()
    }

    pub async fn get(&self, path: &str) -> Response {
        self.http.get(format!("{}{path}", self.base)).send().await.unwrap()
    }

    pub async fn list(&self, path: &str) -> Vec<Value> {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json().await.unwrap()
    }

    pub async fn ask(&self, method: Method, path: &str, name: &[u8]) -> Response {
        let name = HeaderValue::from_bytes(name).unwrap();
        let request = self.http.request(method, format!("{}{path}", self.base));
        request.header(AUTHORIZATION, name).send().await.unwrap()
    }

    pub async fn post(&self, name: &[u8], body: impl Into<reqwest::Body>) -> Response {
        let name = HeaderValue::from_bytes(name).unwrap();
        let request = self.http.post(format!("{}/posts", self.base)).header(AUTHORIZATION, name);
        request.header(CONTENT_TYPE, "application/json").body(body).send().await.unwrap()
    }

    /// Writes a post and returns its UUID.
    pub async fn write(&self, name: &[u8], title: &str) -> String {
        let answer = self.post(name, json!({ "title": title, "body": "" }).to_string()).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        uuid(&answer.json().await.unwrap())
    }

    /// Requests an upload URL for a post; returns the URL and the object name.
    pub async fn upload(&self, name: &str, post: &str, file: &str) -> (String, String) {
        let query = url_query(&[("filename", file), ("filetype", "image/jpeg"), ("postId", post)]);
        let answer = self.ask(Method::GET, &format!("/signedUrlPut?{query}"), name.as_bytes()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let upload: Value = answer.json().await.unwrap();
        (text(&upload["uploadURL"]), text(&upload["objectName"]))
    }

    pub async fn put(&self, address: &str, content_type: &str) -> StatusCode {
        put(&self.http, address, content_type).await
    }

    pub async fn label(&self, user: &str, post: &str, object: &str, labels: &[&str]) {
        label(&self.dynamo, user, post, object, labels).await;
    }

    pub async fn objects(&self) -> Vec<String> {
        let list = self.s3.list_objects_v2().bucket(BUCKET).send().await.unwrap();
        list.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
    }

    pub async fn rows(&self) -> i32 {
        self.dynamo.scan().table_name(TABLE).send().await.unwrap().count()
    }
}

/// Uploads a picture as a browser does.
pub async fn put(http: &Client, address: &str, content_type: &str) -> StatusCode {
    let put = http.put(address).header(CONTENT_TYPE, content_type).body("picture");
    put.send().await.unwrap().status()
}

/// Labels a picture as the labeler does.
pub async fn label(dynamo: &aws_sdk_dynamodb::Client, user: &str, post: &str, object: &str, labels: &[&str]) {
    let labels = labels.iter().map(|label| AttributeValue::S((*label).to_owned())).collect();
    dynamo
        .update_item()
        .table_name(TABLE)
        .key("user", AttributeValue::S(format!("USER#{user}")))
        .key("id", AttributeValue::S(format!("POST#{post}")))
        .update_expression("SET image = :image, labels = :labels")
        .expression_attribute_values(":image", AttributeValue::S(object.to_owned()))
        .expression_attribute_values(":labels", AttributeValue::L(labels))
        .send()
        .await
        .unwrap();
}

pub fn uuid(post: &Value) -> String {
    text(&post["id"]).strip_prefix("POST#").unwrap().to_owned()
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Form-encodes the pairs, as browsers do: a blank becomes a plus.
pub fn url_query(pairs: &[(&str, &str)]) -> String {
    let mut address = reqwest::Url::parse("http://x/").unwrap();
    address.query_pairs_mut().extend_pairs(pairs);
    address.query().unwrap().to_owned()
}

/// Asserts the status and the common format of errors; returns the message.
pub async fn assert_refused(answer: Response, status: u16) -> String {
    assert_eq!(answer.status(), status);
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    let error: Value = answer.json().await.unwrap();
    let message = text(&error["message"]);
    assert_eq!(error, json!({ "status_code": status, "message": message, "data": null }));
    message
}

/// The settings of a test's service, with additional ones.
pub fn settings(s3_endpoint: &str, more: &[(&str, &str)]) -> Settings {
    let enough = [("BUCKET", BUCKET), ("DYNAMO_TABLE", TABLE), ("AWS_ENDPOINT_URL_S3", s3_endpoint)];
    let all = [&enough, more].concat();
    Settings::read(|name| all.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())).unwrap()
}

/// Starts a service, with these limits and without retries, that reaches all of AWS at this address.
pub async fn start_at(endpoint: &str, limits: Limits) -> String {
    let shared = clients::without_retries(&clients::config(endpoint).await);
    start(&shared, &settings(endpoint, &[]), limits).await
}

async fn start(shared: &SdkConfig, settings: &Settings, limits: Limits) -> String {
    let clients = Clients::new(shared, settings).await.unwrap();
    serve_app(app(clients, settings, &limits, Arc::default()).unwrap(), limits).await
}

/// Serves an app, and returns its address.
pub async fn serve_app(app: impl Endpoint + 'static, limits: Limits) -> String {
    serve_at(TcpListener::bind("127.0.0.1:0").await.unwrap(), app, limits)
}

/// Serves an app to this listener, and returns its address.
pub fn serve_at(listener: TcpListener, app: impl Endpoint + 'static, limits: Limits) -> String {
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { serve("test", listener, app, &limits, &Workers::here(), pending()).await });
    base
}

/// An address at which nothing listens. A port that was free a moment ago could be taken by another test.
pub const NOWHERE: &str = "http://127.0.0.1:1";
