//! A world for a test: a cloud of its own, the service in front of it, and a client.
#![allow(dead_code)] // each test binary uses its part

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
};
use aws_sdk_s3::config::Credentials;
use local::{ACCESS_KEY, Cloud, Options, SECRET_KEY};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use service::{Clients, Limits, Settings, Workers, app, serve};
use tempfile::TempDir;
use tokio::net::TcpListener;

pub const BUCKET: &str = "images";
pub const TABLE: &str = "posts";

pub struct World {
    pub base: String,
    pub http: Client,
    pub dynamo: aws_sdk_dynamodb::Client,
    pub s3: aws_sdk_s3::Client,
    shared: SdkConfig,
    pub endpoint: String,
    cloud: Cloud,
    _dir: TempDir,
}

impl World {
    pub async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let options = Options { dir: dir.path().to_owned(), port: 0, region: "us-east-1".to_owned() };
        let cloud = Cloud::start(options).await.unwrap();
        let endpoint = cloud.endpoint();
        let shared = shared(&endpoint).await;
        let s3 = aws_sdk_s3::config::Builder::from(&shared).force_path_style(true).build();
        let world = Self {
            base: start(&shared, &settings(&endpoint, &[]), Limits::default()).await,
            http: Client::new(),
            dynamo: aws_sdk_dynamodb::Client::new(&shared),
            s3: aws_sdk_s3::Client::from_conf(s3),
            shared,
            endpoint,
            cloud,
            _dir: dir,
        };
        world.make_bucket_and_table().await;
        world
    }

    /// A service in the same world that reaches S3, `DynamoDB` or both elsewhere, where nobody may be.
    pub async fn elsewhere(&self, s3: Option<&str>, dynamodb: Option<&str>) -> String {
        let shared = shared(dynamodb.unwrap_or(&self.endpoint)).await;
        start(&shared, &settings(s3.unwrap_or(&self.endpoint), &[]), Limits::default()).await
    }

    /// A service that has these limits, reaches all of AWS at another address, and tries nothing twice.
    pub async fn elsewhere_with(&self, endpoint: &str, limits: Limits) -> String {
        let shared = shared(endpoint).await.into_builder().retry_config(RetryConfig::disabled()).build();
        start(&shared, &settings(endpoint, &[]), limits).await
    }

    /// A service in the same world that is set up otherwise.
    pub async fn otherwise(&self, more: &[(&str, &str)], limits: Limits) -> String {
        start(&self.shared, &settings(&self.endpoint, more), limits).await
    }

    pub async fn end(self) {
        self.cloud.stop().await;
    }

    /// How many calls the cloud has seen.
    pub async fn calls(&self) -> usize {
        let calls = self.http.get(format!("{}/_local/requests", self.endpoint)).send().await.unwrap();
        calls.json::<Vec<Value>>().await.unwrap().len()
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

    /// Asks for an upload address of a post and returns address and object name.
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

    async fn make_bucket_and_table(&self) {
        self.s3.create_bucket().bucket(BUCKET).send().await.unwrap();
        let mut table = self.dynamo.create_table().table_name(TABLE).billing_mode(BillingMode::PayPerRequest);
        for (name, kind) in [("user", KeyType::Hash), ("id", KeyType::Range)] {
            let key = KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
            let attribute = AttributeDefinition::builder().attribute_name(name);
            let attribute = attribute.attribute_type(ScalarAttributeType::S).build().unwrap();
            table = table.key_schema(key).attribute_definitions(attribute);
        }
        table.send().await.unwrap();
        let look = self.dynamo.describe_table().table_name(TABLE);
        while look.clone().send().await.unwrap().table.unwrap().table_status != Some(TableStatus::Active) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Does what a browser does with a picture.
pub async fn put(http: &Client, address: &str, content_type: &str) -> StatusCode {
    let put = http.put(address).header(CONTENT_TYPE, content_type).body("picture");
    put.send().await.unwrap().status()
}

/// Does what the labeler does.
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

/// Form-encoded, as browsers do it: a blank is a plus.
pub fn url_query(pairs: &[(&str, &str)]) -> String {
    let mut address = reqwest::Url::parse("http://x/").unwrap();
    address.query_pairs_mut().extend_pairs(pairs);
    address.query().unwrap().to_owned()
}

/// Every error has this shape; returns the message.
pub async fn told(answer: Response, status: u16) -> String {
    assert_eq!(answer.status(), status);
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    let error: Value = answer.json().await.unwrap();
    let message = text(&error["message"]);
    assert_eq!(error, json!({ "status_code": status, "message": message, "data": null }));
    message
}

async fn shared(endpoint: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
        .load()
        .await
}

/// The settings of a test's service, with more of them.
pub fn settings(s3_endpoint: &str, more: &[(&str, &str)]) -> Settings {
    let enough = [("BUCKET", BUCKET), ("DYNAMO_TABLE", TABLE), ("AWS_ENDPOINT_URL_S3", s3_endpoint)];
    let all = [&enough, more].concat();
    Settings::read(|name| all.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())).unwrap()
}

async fn start(shared: &SdkConfig, settings: &Settings, limits: Limits) -> String {
    let clients = Clients::new(shared, settings).await.unwrap();
    let app = app(clients, settings, &limits, Arc::default()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { serve("test", listener, app, &limits, &Workers::here(), pending()).await });
    base
}

/// An address where nobody listens.
pub async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}
