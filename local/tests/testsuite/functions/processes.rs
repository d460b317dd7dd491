//! The processes of functions.

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Environment, InvocationType, LogType};
use base64::Engine;
use serde_json::Value;
use testkit::clients::{code, function_is_active};
use testkit::process::is_running;
use testkit::{LocalAws, clients};

use super::{call, create, log, made, zip_of};

#[tokio::test]
async fn a_process_stays_warm_and_has_only_its_own_variables() {
    let aws = LocalAws::start().await;
    let client = made(&aws).await;
    let pid = call(&client, "pid").await;
    assert_eq!(call(&client, "pid").await, pid);
    let variables = call(&client, "variables").await;
    let strange: Vec<&str> = variables
        .as_str()
        .unwrap()
        .split(' ')
        .filter(|name| !name.starts_with("AWS_") && !["LAMBDA_TASK_ROOT", "PATH", "TZ", "_HANDLER"].contains(name))
        .collect();
    assert_eq!(strange, Vec::<&str>::new());
    assert_eq!(call(&client, "env AWS_ENDPOINT_URL").await, aws.endpoint());
    let key = call(&client, "env AWS_ACCESS_KEY_ID").await;
    let secret = call(&client, "env AWS_SECRET_ACCESS_KEY").await;
    let token = call(&client, "env AWS_SESSION_TOKEN").await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let own = clients::config_of(&aws.endpoint(), &text(&key), &text(&secret), Some(text(&token))).await;
    let caller = aws_sdk_sts::Client::new(&own).get_caller_identity().send().await.unwrap();
    assert_eq!(caller.arn(), Some("arn:aws:sts::000000000000:assumed-role/labeler/labeler"));
    aws.stop().await;
    assert!(!is_running(&pid.to_string()));
}

#[tokio::test]
async fn concurrent_calls_have_processes_of_their_own() {
    let aws = LocalAws::start().await;
    let client = made(&aws).await;
    let meeting = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let event = format!("meet {}", meeting.local_addr().unwrap());
    let both = async { tokio::join!(call(&client, &event), call(&client, &event)) };
    let host = async {
        let (mut one, mut two) = (meeting.accept().await.unwrap().0, meeting.accept().await.unwrap().0);
        for guest in [&mut one, &mut two] {
            tokio::io::AsyncWriteExt::write_all(guest, b"!").await.unwrap();
        }
    };
    let ((one, two), ()) = tokio::join!(both, host);
    assert_ne!(one, two);
    aws.stop().await;
}

#[tokio::test]
async fn failures_exits_and_timeouts_are_reported_and_the_next_call_succeeds() {
    let aws = LocalAws::start().await;
    let (client, create) = create(&aws).await;
    create.timeout(1).send().await.unwrap();
    function_is_active(&client, "labeler").await;
    let invoke = |event: &str| {
        client.invoke().function_name("labeler").log_type(LogType::Tail).payload(Blob::new(format!("\"{event}\"")))
    };
    let failed = invoke("fail").send().await.unwrap();
    assert_eq!(failed.function_error(), Some("Unhandled"));
    assert!(String::from_utf8_lossy(failed.payload().unwrap().as_ref()).contains("as asked"));
    let pid = call(&client, "pid").await;

    let exited = invoke("exit").send().await.unwrap();
    assert!(String::from_utf8_lossy(exited.payload().unwrap().as_ref()).contains("Runtime.ExitError"));
    let slow = invoke("sleep").send().await.unwrap();
    assert!(String::from_utf8_lossy(slow.payload().unwrap().as_ref()).contains("Task timed out after 1.00 seconds"));
    let tail = base64::prelude::BASE64_STANDARD.decode(slow.log_result().unwrap()).unwrap();
    let tail = String::from_utf8_lossy(&tail);
    assert!(tail.contains("REPORT RequestId") && tail.trim_end().ends_with("Status: timeout"), "{tail}");
    assert_ne!(call(&client, "pid").await, pid);

    let environment = Environment::builder().variables("BREAK", "1").build();
    client.update_function_configuration().function_name("labeler").environment(environment).send().await.unwrap();
    function_is_active(&client, "labeler").await;
    let broken = invoke("pid").send().await.unwrap();
    assert!(String::from_utf8_lossy(broken.payload().unwrap().as_ref()).contains("exit status 7"));
    assert_eq!(log(&aws, "breaking").await.len(), 1);
    aws.stop().await;
}

#[tokio::test]
async fn a_bootstrap_that_cannot_start_gets_lambdas_error() {
    let aws = LocalAws::start().await;
    let client = made(&aws).await;
    // The head of an ELF file for an architecture that Lambda does not have.
    let mut other = vec![0; 64];
    other[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    other[18] = 243;
    let format = "fork/exec /var/task/bootstrap: exec format error";
    let missing = "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]";
    for (files, expected) in [
        (&[("bootstrap", &b"echo hello"[..])][..], format),
        (&[("bootstrap", &other)], format),
        (&[("program", b"#!/bin/sh")], missing),
    ] {
        client.update_function_code().function_name("labeler").zip_file(zip_of(files)).send().await.unwrap();
        function_is_active(&client, "labeler").await;
        let failed = client.invoke().function_name("labeler").send().await.unwrap();
        assert_eq!(failed.function_error(), Some("Unhandled"));
        let error: Value = serde_json::from_slice(failed.payload().unwrap().as_ref()).unwrap();
        assert_eq!(error["errorType"], "Runtime.InvalidEntrypoint");
        let message = error["errorMessage"].as_str().unwrap();
        assert!(message.starts_with("RequestId: ") && message.ends_with(&format!("Error: {expected}")), "{message}");
    }
    aws.stop().await;
}

#[tokio::test]
async fn the_memory_limit_of_a_function_includes_its_children() {
    let aws = LocalAws::start().await;
    let (client, create) = create(&aws).await;
    create.memory_size(128).timeout(60).send().await.unwrap();
    function_is_active(&client, "labeler").await;
    let invoke = async |event: &str| {
        let call = client.invoke().function_name("labeler").log_type(LogType::Tail);
        let answer = call.payload(Blob::new(format!("\"{event}\""))).send().await.unwrap();
        let tail = base64::prelude::BASE64_STANDARD.decode(answer.log_result().unwrap()).unwrap();
        let payload: Value = serde_json::from_slice(answer.payload().unwrap().as_ref()).unwrap();
        (payload, String::from_utf8(tail).unwrap())
    };
    let used = |tail: &str| -> u64 {
        let (_, rest) = tail.rsplit_once("Max Memory Used: ").unwrap();
        rest.split(' ').next().unwrap().parse().unwrap()
    };
    let (held, tail) = invoke("hold 64").await;
    assert_eq!(held, 64 << 20);
    assert!((64..=128).contains(&used(&tail)), "{tail}");

    for event in ["hold 600", "hold-elsewhere 600"] {
        let (error, tail) = invoke(event).await;
        assert_eq!(error["errorType"], "Runtime.ExitError", "{event}: {error}");
        let message = error["errorMessage"].as_str().unwrap();
        let (id, text) = message.strip_prefix("RequestId: ").unwrap().split_once(' ').unwrap();
        assert_eq!(text, "Error: Runtime exited with error: signal: killed", "{event}");
        assert!(tail.contains(&format!("{message}\n")) && tail.contains(&format!("END RequestId: {id}\n")), "{tail}");
        assert_eq!(used(&tail), 128, "{tail}");
        assert!(tail.trim_end().ends_with("Status: error\tError Type: Runtime.ExitError"), "{tail}");
    }
    assert_eq!(invoke("hold 1").await.0, 1 << 20);
    aws.stop().await;
}

#[tokio::test]
async fn a_call_is_reported_with_its_duration_and_memory() {
    let aws = LocalAws::start().await;
    let client = made(&aws).await;
    let report = client.invoke().function_name("labeler").log_type(LogType::Tail).send().await.unwrap();
    let tail = base64::prelude::BASE64_STANDARD.decode(report.log_result().unwrap()).unwrap();
    let tail = String::from_utf8(tail).unwrap();
    for part in ["START RequestId", "Billed Duration", "Memory Size: 128 MB", "Max Memory Used: ", "Init Duration: "] {
        assert!(tail.contains(part), "{part} is missing in {tail}");
    }
    let dry = client.invoke().function_name("labeler").invocation_type(InvocationType::DryRun).send().await.unwrap();
    assert_eq!(dry.status_code(), 204);
    let other = client.invoke().function_name("labeler").qualifier("7").send().await;
    assert_eq!(code(other), "ResourceNotFoundException");
    aws.stop().await;
}
