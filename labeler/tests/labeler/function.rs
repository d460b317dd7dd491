//! The program itself, started and fed as Lambda does it.

use std::process::Stdio;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::Command,
};

use crate::cloud::{BUCKET, Cloud, TABLE, event};

const POST: &str = "018f2f6e-0000-7000-8000-00000000000a";

/// The program with nothing of our environment.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_labeler"));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn it_takes_an_event_from_lambda_and_says_that_it_is_done() {
    let cloud = Cloud::start().await;
    cloud.state().add_post("ada", POST);
    let key = format!("ada/{POST}/5b1f7c1e-0000-4000-8000-000000000001cat.jpg");
    cloud.upload(&key, "Cat 99");
    assert_eq!(invoked(&cloud, &event(&[(&key, "2026-11-23T12:00:00.000Z")])).await, "response");
    let row = &cloud.state().rows[&("USER#ada".into(), format!("POST#{POST}"))];
    assert_eq!(row["labels"]["L"][0]["S"], "Cat");
}

#[tokio::test]
async fn it_tells_lambda_what_must_be_tried_again() {
    let cloud = Cloud::start().await;
    cloud.state().add_post("ada", POST);
    for _ in 0..10 {
        cloud.refuse("GetItem", 400, "AccessDeniedException"); // the SDK itself would try throttled calls again
    }
    let key = format!("ada/{POST}/5b1f7c1e-0000-4000-8000-000000000001cat.jpg");
    assert_eq!(invoked(&cloud, &event(&[(&key, "2026-11-23T12:00:00.000Z")])).await, "error");
}

#[tokio::test]
async fn without_its_environment_it_says_what_is_missing() {
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

/// Gives the program one event; whether it answered with `response` or `error`.
async fn invoked(cloud: &Cloud, event: &Value) -> String {
    let lambda = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut child = program()
        .env("AWS_LAMBDA_RUNTIME_API", lambda.local_addr().unwrap().to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "labeler")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/labeler")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "id")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_ENDPOINT_URL", cloud.endpoint())
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
