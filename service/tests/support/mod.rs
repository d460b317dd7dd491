//! A world for a test: a cloud of its own, the service in front of it, and a client.

use std::future::pending;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
};
use aws_sdk_s3::config::Credentials;
use local::{ACCESS_KEY, Cloud, Options, SECRET_KEY};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use service::{Clients, Settings, app, serve};
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
    endpoint: String,
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
            base: start(&shared, &endpoint).await,
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

    /// The same world, seen through a service that cannot reach S3.
    pub async fn without_s3(&self) -> String {
        start(&self.shared, &nowhere().await).await
    }

    /// A service that cannot reach anything.
    pub async fn without_anything(&self) -> String {
        let nowhere = nowhere().await;
        start(&shared(&nowhere).await, &nowhere).await
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
        let put = self.http.put(address).header(CONTENT_TYPE, content_type).body("picture");
        put.send().await.unwrap().status()
    }

    /// Does what the labeler does.
    pub async fn label(&self, user: &str, post: &str, object: &str, labels: &[&str]) {
        let labels = labels.iter().map(|label| AttributeValue::S((*label).to_owned())).collect();
        self.dynamo
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

async fn start(shared: &SdkConfig, s3_endpoint: &str) -> String {
    let settings = Settings {
        bucket: BUCKET.to_owned(),
        table: TABLE.to_owned(),
        host: String::new(),
        port: 0,
        s3_endpoint: Some(s3_endpoint.to_owned()),
    };
    let clients = Clients::new(shared, &settings).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, app(clients), pending()));
    base
}

/// An address where nobody listens.
async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}
