//! Functions: created, changed, invoked, notified of uploads, and stopped.

mod concurrency;
mod configuration;
mod events;
mod notifications;
mod processes;

use std::io::{Cursor, Write};

use aws_sdk_lambda::Client;
use aws_sdk_lambda::operation::create_function::builders::CreateFunctionFluentBuilder;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{FunctionCode, Runtime};
use serde_json::Value;
use testkit::LocalAws;
use testkit::clients::function_is_active;
use testkit::small_programs::echo_function;

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

fn zip(comment: &str) -> Blob {
    let program = std::fs::read(echo_function()).unwrap();
    zip_of(&[("bootstrap", &program), ("comment", comment.as_bytes())])
}

fn zip_of(files: &[(&str, &[u8])]) -> Blob {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    for (name, bytes) in files {
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    Blob::new(writer.finish().unwrap().into_inner())
}

async fn create(aws: &LocalAws) -> (Client, CreateFunctionFluentBuilder) {
    let iam = aws_sdk_iam::Client::new(&aws.config);
    let role = iam.create_role().role_name("labeler").assume_role_policy_document(TRUST).send().await.unwrap();
    let logs = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";
    iam.attach_role_policy().role_name("labeler").policy_arn(logs).send().await.unwrap();
    let client = Client::new(&aws.config);
    let create = client
        .create_function()
        .function_name("labeler")
        .runtime(Runtime::Providedal2023)
        .handler("bootstrap")
        .role(role.role().unwrap().arn())
        .code(FunctionCode::builder().zip_file(zip("one")).build());
    (client, create)
}

async fn made(aws: &LocalAws) -> Client {
    let (client, create) = create(aws).await;
    create.send().await.unwrap();
    function_is_active(&client, "labeler").await;
    client
}

async fn call(client: &Client, event: &str) -> Value {
    let answer =
        client.invoke().function_name("labeler").payload(Blob::new(format!("\"{event}\""))).send().await.unwrap();
    serde_json::from_slice(answer.payload().unwrap().as_ref()).unwrap()
}

async fn log(aws: &LocalAws, pattern: &str) -> Vec<String> {
    let logs = aws_sdk_cloudwatchlogs::Client::new(&aws.config);
    let found = logs.filter_log_events().log_group_name("/aws/lambda/labeler").filter_pattern(pattern);
    match found.send().await {
        Ok(found) => found.events().iter().map(|event| event.message().unwrap_or_default().to_owned()).collect(),
        Err(_) => Vec::new(),
    }
}
