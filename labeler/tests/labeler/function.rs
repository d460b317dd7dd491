//! The program itself, run and given events as Lambda does.

use std::process::Stdio;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::Command,
};

use testkit::InjectedFault;

use crate::support::{BLUE, BUCKET, TABLE, TestLabeler, event, text};

const POST: &str = "018f2f6e-0000-7000-8000-00000000000a";

/// The program, with an empty environment.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_labeler"));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

const KEY: &str = "ada/018f2f6e-0000-7000-8000-00000000000a/5b1f7c1e-0000-4000-8000-000000000001cat.jpg";

/// A post of ada's with an unlabelled picture.
async fn with_picture() -> TestLabeler {
    let test = TestLabeler::start().await;
    test.add_post("ada", POST).await;
    test.upload(KEY, BLUE.jpeg()).await;
    test
}

#[tokio::test]
async fn the_function_handles_an_event_and_responds() {
    let test = with_picture().await;
    assert_eq!(invoked(&test, &event(&[(KEY, "2026-11-23T12:00:00.000Z")])).await, "response");
    let labels = test.attribute_of("ada", POST, "labels").await.unwrap();
    assert_eq!(labels.as_l().unwrap()[0], text("Blue"));
}

#[tokio::test]
async fn a_transient_error_is_reported_to_lambda() {
    let test = with_picture().await;
    // Not a throttling error, which the SDK would retry.
    test.proxy.inject(
        ["GetItem"],
        InjectedFault::refused(400, "AccessDeniedException", "as the test asked"),
        usize::MAX,
    );
    assert_eq!(invoked(&test, &event(&[(KEY, "2026-11-23T12:00:00.000Z")])).await, "error");
}

#[tokio::test]
async fn a_missing_environment_variable_is_named() {
    for (given, missing) in [(vec![], "BUCKET"), (vec![("BUCKET", "b")], "DYNAMO_TABLE")] {
        let output = program()
            .envs([("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_REGION", "us-east-1")])
            .envs(given)
            .output()
            .await
            .unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(&format!("{missing} is not set")), "{said}");
    }
}

/// Passes one event to the program, and returns whether it answered with `response` or `error`.
async fn invoked(test: &TestLabeler, event: &Value) -> String {
    let lambda = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut child = program()
        .env("AWS_LAMBDA_RUNTIME_API", lambda.local_addr().unwrap().to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "labeler")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/labeler")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", local::ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", local::SECRET_KEY)
        .env("AWS_ENDPOINT_URL", test.proxy.endpoint())
        .env("BUCKET", BUCKET)
        .env("DYNAMO_TABLE", TABLE)
        .spawn()
        .unwrap();
    // The Runtime API, as far as one event needs it: one answer to "next", then the program's own answer.
    let (_next, path) = loop {
        let (mut stream, _) = lambda.accept().await.unwrap();
        if request_path(&mut stream).await.ends_with("/invocation/next") {
            let event = event.to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\nlambda-runtime-aws-request-id: 1\r\nlambda-runtime-deadline-ms: 99999999999999\r\n\
                 lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:000000000000:function:labeler\r\n\
                 content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                event.len()
            );
            stream.write_all((head + &event).as_bytes()).await.unwrap();
            let (mut answer, _) = lambda.accept().await.unwrap();
            break (stream, request_path(&mut answer).await);
        }
    };
    child.kill().await.unwrap();
    path.rsplit('/').next().unwrap().into()
}

async fn request_path(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 65_536];
    let read = stream.read(&mut bytes).await.unwrap();
    let text = String::from_utf8_lossy(&bytes[..read]);
    text.split(' ').nth(1).unwrap_or_default().into()
}
