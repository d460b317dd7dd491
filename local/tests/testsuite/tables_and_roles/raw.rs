//! Raw calls of DynamoDB, without the SDK.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde_json::{Value, json};

use testkit::LocalAws;

/// The JSON of an answer, or of an error.
pub type Answer = Result<Value, Value>;

pub async fn call(aws: &LocalAws, operation: &str, input: Value) -> Answer {
    call_in(aws, "DynamoDB_20120810", operation, input).await
}

/// A call of DynamoDB Streams, which have their own API.
pub async fn call_streams(aws: &LocalAws, operation: &str, input: Value) -> Answer {
    call_in(aws, "DynamoDBStreams_20120810", operation, input).await
}

async fn call_in(aws: &LocalAws, api: &str, operation: &str, input: Value) -> Answer {
    let body = input.to_string();
    let (uri, host) = (format!("{}/", aws.endpoint()), aws.cloud.address().to_string());
    let target = format!("{api}.{operation}");
    let headers = [("host", host.as_str()), ("x-amz-target", &target), ("content-type", "application/x-amz-json-1.0")];
    let keys = Credentials::new(local::ACCESS_KEY, local::SECRET_KEY, None, None, "test").into();
    let signing = v4::SigningParams::builder().identity(&keys).region("us-east-1").name("dynamodb");
    let signing = signing.time(SystemTime::now()).settings(SigningSettings::default()).build().unwrap().into();
    let signed = SignableRequest::new("POST", &uri, headers.into_iter(), SignableBody::Bytes(body.as_bytes())).unwrap();
    let (instructions, _) = sign(signed, &signing).unwrap().into_parts();
    let mut request = reqwest::Client::builder().no_proxy().build().unwrap().post(&uri);
    for (name, value) in headers.into_iter().skip(1).chain(instructions.headers()) {
        request = request.header(name, value);
    }
    let answer = request.body(body).send().await.unwrap();
    let is_success = answer.status().is_success();
    let body = answer.json().await.unwrap();
    if is_success { Ok(body) } else { Err(body) }
}

/// Creates a table and waits until it is active. `keys` are names with their types, the partition key first.
pub async fn table(aws: &LocalAws, name: &str, keys: &[(&str, &str)], more: Value) {
    let attribute = |(name, kind): &(&str, &str)| json!({ "AttributeName": name, "AttributeType": kind });
    let mut input = json!({
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": keys.iter().map(attribute).collect::<Vec<_>>(),
        "KeySchema": schema(&keys.iter().map(|(name, _)| *name).collect::<Vec<_>>()),
    });
    for (member, value) in more.as_object().into_iter().flatten() {
        match (input[member].as_array_mut(), value.as_array()) {
            (Some(list), Some(more)) => list.extend(more.iter().cloned()),
            _ => input[member] = value.clone(),
        }
    }
    call(aws, "CreateTable", input).await.unwrap();
    while call(aws, "DescribeTable", json!({ "TableName": name })).await.unwrap()["Table"]["TableStatus"] != "ACTIVE" {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// The key schema with these names.
pub fn schema(names: &[&str]) -> Value {
    let key = |(name, kind)| json!({ "AttributeName": name, "KeyType": kind });
    names.iter().zip(["HASH", "RANGE"]).map(key).collect()
}

/// The type of an error and its message.
pub fn refusal(answer: Answer) -> (String, String) {
    let error = answer.expect_err("a refusal");
    let kind = error["__type"].as_str().unwrap_or_default();
    let text = error["message"].as_str().or_else(|| error["Message"].as_str()).unwrap_or_default();
    (kind.rsplit('#').next().unwrap_or_default().to_owned(), text.to_owned())
}
