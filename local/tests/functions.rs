//! Functions: created, changed, invoked, notified of uploads, and stopped.

use std::io::{Cursor, Write};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat};
use aws_sdk_lambda::Client;
use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::operation::create_function::builders::CreateFunctionFluentBuilder;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Architecture, Environment, FunctionCode, InvocationType, LogType, Runtime};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, Delete, Event, FilterRule, FilterRuleName, LambdaFunctionConfiguration,
    NotificationConfiguration, NotificationConfigurationFilter, ObjectIdentifier, S3KeyFilter, VersioningConfiguration,
};
use base64::Engine;
use serde_json::Value;
use testkit::clients::{code, function_is_active};
use testkit::process::is_running;
use testkit::small_programs::echo_function;
use testkit::{LocalAws, clients, eventually, until};

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

#[tokio::test]
async fn a_configuration_is_shown_and_survives_a_restart() {
    let aws = LocalAws::start().await;
    let (client, create) = create(&aws).await;
    let environment = Environment::builder().variables("BUCKET", "images é").build();
    let created = create
        .environment(environment)
        .architectures(Architecture::Arm64)
        .timeout(30)
        .memory_size(256)
        .tags("deployer:stack", "postagram");
    let created = created.send().await.unwrap();
    assert_eq!(created.architectures(), [Architecture::Arm64]);
    client.put_function_event_invoke_config().function_name("labeler").maximum_retry_attempts(1).send().await.unwrap();
    let aws = aws.restarted().await;
    let client = Client::new(&aws.config);
    let found = client.get_function().function_name("labeler").send().await.unwrap();
    let configuration = found.configuration().unwrap();
    let sha = base64::prelude::BASE64_STANDARD.encode(<sha2::Sha256 as sha2::Digest>::digest(zip("one").as_ref()));
    assert_eq!(configuration.code_sha256(), Some(sha.as_str()));
    assert_eq!((configuration.timeout(), configuration.memory_size()), (Some(30), Some(256)));
    assert_eq!(configuration.environment().unwrap().variables().unwrap()["BUCKET"], "images é");
    assert_eq!(found.tags().unwrap()["deployer:stack"], "postagram");
    let on_event = client.get_function_event_invoke_config().function_name("labeler").send().await.unwrap();
    assert_eq!(on_event.maximum_retry_attempts(), Some(1));
    assert_eq!(client.list_functions().send().await.unwrap().functions().len(), 1);
    let listed = client.list_tags().resource(configuration.function_arn().unwrap()).send().await.unwrap();
    assert_eq!(listed.tags().unwrap().len(), 1);
    aws.stop().await;
}

#[tokio::test]
async fn errors_are_those_of_aws() {
    let aws = LocalAws::start().await;
    let (client, create) = create(&aws).await;
    let stranger = create.clone().role("arn:aws:iam::000000000000:role/nobody").send().await.unwrap_err();
    assert_eq!(stranger.code(), Some("InvalidParameterValueException"));
    assert!(stranger.message().unwrap().contains("cannot be assumed by Lambda"));
    let broken = FunctionCode::builder().zip_file(Blob::new("no zip")).build();
    assert_eq!(code(create.clone().code(broken).send().await), "InvalidParameterValueException");
    create.clone().send().await.unwrap();
    assert_eq!(code(create.send().await), "ResourceConflictException");
    assert_eq!(code(client.get_function().function_name("missing").send().await), "ResourceNotFoundException");
    assert_eq!(code(client.get_policy().function_name("labeler").send().await), "ResourceNotFoundException");
    client.delete_function().function_name("labeler").send().await.unwrap();
    assert_eq!(code(client.delete_function().function_name("labeler").send().await), "ResourceNotFoundException");
    assert_eq!(code(client.list_layers().send().await), "NotImplementedException");
    aws.stop().await;
}

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
async fn an_update_replaces_the_processes() {
    let aws = LocalAws::start().await;
    let client = made(&aws).await;
    let pid = call(&client, "pid").await;
    let environment = Environment::builder().variables("COLOUR", "blue").build();
    client.update_function_configuration().function_name("labeler").environment(environment).send().await.unwrap();
    function_is_active(&client, "labeler").await;
    assert_eq!(call(&client, "env COLOUR").await, "blue");
    until("the old process to end", async || !is_running(&pid.to_string())).await;

    let pid = call(&client, "pid").await;
    let updated = client.update_function_code().function_name("labeler").zip_file(zip("two")).send().await.unwrap();
    assert_eq!(updated.environment().unwrap().variables().unwrap()["COLOUR"], "blue");
    function_is_active(&client, "labeler").await;
    assert_ne!(call(&client, "pid").await, pid);
    let pid = call(&client, "pid").await;
    client.delete_function().function_name("labeler").send().await.unwrap();
    until("the old process to end", async || !is_running(&pid.to_string())).await;
    let code = aws.dir.path().join("functions/code/labeler");
    assert!(!code.exists());
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

#[tokio::test]
async fn values_that_are_too_large_or_reserved_are_refused() {
    let aws = LocalAws::start().await;
    let (client, create) = create(&aws).await;
    let with = |name: &str, value: &str| {
        let environment = Environment::builder().variables(name, value).build();
        create.clone().environment(environment).send()
    };
    assert_eq!(code(with("AWS_REGION", "x").await), "InvalidParameterValueException");
    assert_eq!(code(with("BIG", &"x".repeat(4097)).await), "InvalidParameterValueException");
    assert_eq!(code(with("NOT-A-NAME", "x").await), "ValidationException");
    let large = FunctionCode::builder().zip_file(Blob::new(vec![0; (50 << 20) + 1])).build();
    let large = create.clone().code(large).send().await.unwrap_err();
    assert_eq!(large.raw_response().unwrap().status().as_u16(), 413);
    assert_eq!(code(create.clone().function_name("a b").send().await), "ValidationException");
    let long = "k".repeat(129);
    for (key, expected) in [("aws:k", "InvalidParameterValueException"), (long.as_str(), "ValidationException")] {
        assert_eq!(code(create.clone().tags(key, "v").send().await), expected, "{key}");
    }
    let made = create.tags("k", "v").send().await.unwrap();
    function_is_active(&client, "labeler").await;
    let tag = |count: usize| {
        let tags = (0..count).map(|number| (format!("k{number}"), "v".to_owned())).collect();
        client.tag_resource().resource(made.function_arn().unwrap()).set_tags(Some(tags)).send()
    };
    let refused = tag(50).await.unwrap_err();
    assert_eq!(refused.message(), Some("Number of tags exceeds resource tag limit."), "the function has a tag already");
    tag(49).await.unwrap();
    let huge = client.invoke().function_name("labeler").payload(Blob::new(format!("\"{}\"", "x".repeat(6 << 20))));
    assert_eq!(code(huge.send().await), "RequestTooLargeException");
    aws.stop().await;
}

#[tokio::test]
async fn calls_beyond_the_reserved_concurrency_are_throttled() {
    let aws = LocalAws::start().await;
    let client = made(&aws).await;
    client.put_function_concurrency().function_name("labeler").reserved_concurrent_executions(0).send().await.unwrap();
    let once = aws_sdk_lambda::config::Builder::from(&aws.config).retry_config(RetryConfig::disabled()).build();
    let refused = Client::from_conf(once).invoke().function_name("labeler").send().await;
    assert_eq!(code(refused), "TooManyRequestsException");
    client.delete_function_concurrency().function_name("labeler").send().await.unwrap();
    call(&client, "pid").await;
    aws.stop().await;
}

/// The values of a metric of the function, summed up over the last ten minutes, by pages of one value.
async fn measured(aws: &LocalAws, metric: &str, statistic: &str) -> f64 {
    let cloudwatch = aws_sdk_cloudwatch::Client::new(&aws.config);
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let call = cloudwatch.get_metric_data().metric_data_queries(query("m", metric, statistic));
    let call = call.start_time(DateTime::from_secs(now - 600)).end_time(DateTime::from_secs(now + 60));
    let pages = call.max_datapoints(1).into_paginator().send().try_collect().await.unwrap();
    let results = pages.iter().flat_map(|page| page.metric_data_results());
    results.flat_map(|result| result.values()).sum()
}

fn query(id: &str, metric: &str, statistic: &str) -> MetricDataQuery {
    let dimension = Dimension::builder().name("FunctionName").value("labeler").build();
    let metric = Metric::builder().namespace("AWS/Lambda").metric_name(metric).dimensions(dimension).build();
    let stat = MetricStat::builder().metric(metric).period(60).stat(statistic).build();
    MetricDataQuery::builder().id(id).metric_stat(stat).build()
}

#[tokio::test]
async fn throttled_events_are_measured_and_tried_again_until_there_is_concurrency() {
    let aws = LocalAws::start().await;
    let client = made(&aws).await;
    client.put_function_concurrency().function_name("labeler").reserved_concurrent_executions(0).send().await.unwrap();
    let send = client.invoke().function_name("labeler").invocation_type(InvocationType::Event);
    send.payload(Blob::new("\"pid\"")).send().await.unwrap();
    until("two throttles", async || measured(&aws, "Throttles", "Sum").await >= 2.0).await;
    assert!(log(&aws, "START").await.is_empty());
    assert_eq!(measured(&aws, "Invocations", "Sum").await, 0.0);
    client.delete_function_concurrency().function_name("labeler").send().await.unwrap();
    until("the invocation", async || measured(&aws, "Invocations", "Sum").await == 1.0).await;
    assert_eq!(log(&aws, "START").await.len(), 1);
    assert!(measured(&aws, "AsyncEventAge", "Maximum").await > 0.0);
    assert_eq!(measured(&aws, "AsyncEventsDropped", "Sum").await, 0.0);
    aws.stop().await;
}

#[tokio::test]
async fn an_event_that_is_given_up_is_measured_as_dropped() {
    let aws = LocalAws::start().await;
    let client = made(&aws).await;
    let send = client.invoke().function_name("labeler").invocation_type(InvocationType::Event);
    send.payload(Blob::new("\"fail\"")).send().await.unwrap();
    until("the dropped event", async || measured(&aws, "AsyncEventsDropped", "Sum").await == 1.0).await;
    assert_eq!((measured(&aws, "Errors", "Sum").await, measured(&aws, "Invocations", "Sum").await), (3.0, 3.0));
    aws.stop().await;
}

#[tokio::test]
async fn queries_of_metrics_are_refused_as_by_aws() {
    let aws = LocalAws::start().await;
    let cloudwatch = aws_sdk_cloudwatch::Client::new(&aws.config);
    let ask = |queries: Vec<MetricDataQuery>, start: i64, end: i64| {
        let call = cloudwatch.get_metric_data().set_metric_data_queries(Some(queries));
        call.start_time(DateTime::from_secs(start)).end_time(DateTime::from_secs(end)).send()
    };
    let empty = ask(vec![query("m", "Throttles", "Sum")], 60, 120).await.unwrap();
    let result = &empty.metric_data_results()[0];
    assert_eq!((result.id(), result.label(), result.values().len()), (Some("m"), Some("Throttles"), 0));
    assert_eq!(code(ask(vec![query("m", "Throttles", "Sum")], 120, 120).await), "ValidationError");
    assert_eq!(code(ask(vec![query("M", "Throttles", "Sum")], 60, 120).await), "ValidationError");
    assert_eq!(code(ask(vec![], 60, 120).await), "ValidationError");
    assert_eq!(code(ask(vec![query("m", "Duration", "Sum")], 60, 120).await), "NotImplementedException");
    aws.stop().await;
}

#[tokio::test]
async fn permissions_added_concurrently_are_lost_and_those_added_in_turn_are_not() {
    let aws = LocalAws::start().await;
    let client = made(&aws).await;
    let add = |id: String| {
        let add = client.add_permission().function_name("labeler").statement_id(id).action("lambda:InvokeFunction");
        add.principal("s3.amazonaws.com").send()
    };
    let kept = || async {
        let policy = client.get_policy().function_name("labeler").send().await.unwrap();
        let policy: Value = serde_json::from_str(policy.policy().unwrap()).unwrap();
        policy["Statement"].as_array().unwrap().len()
    };
    for number in 0..3 {
        add(format!("one-{number}")).await.unwrap();
    }
    assert_eq!(kept().await, 3);
    let all = futures::future::join_all((0..20).map(|number| add(format!("all-{number}")))).await;
    assert!(all.iter().all(Result::is_ok), "no call fails");
    assert!(kept().await < 23, "{}", kept().await);
    aws.stop().await;
}

#[tokio::test]
async fn an_event_is_retried_on_the_updated_function() {
    let aws = LocalAws::start().await;
    let client = made(&aws).await;
    let send = client.invoke().function_name("labeler").invocation_type(InvocationType::Event);
    send.payload(Blob::new("\"fail\"")).send().await.unwrap();
    until("the first report", async || !log(&aws, "REPORT").await.is_empty()).await;
    client.update_function_code().function_name("labeler").zip_file(zip("two")).send().await.unwrap();
    until("three reports", async || log(&aws, "REPORT").await.len() >= 3).await;
    assert!(log(&aws, "InvalidEntrypoint").await.is_empty(), "the previous code is deleted and not needed");
    aws.stop().await;
}

#[tokio::test]
async fn the_account_runs_ten_invocations_at_once_and_keeps_a_hundred_unreserved() {
    let aws = LocalAws::start().await;
    let client = made(&aws).await;
    let code = FunctionCode::builder().zip_file(zip("second")).build();
    let second = client.create_function().function_name("second").runtime(Runtime::Providedal2023).handler("bootstrap");
    second.role("arn:aws:iam::000000000000:role/labeler").code(code).send().await.unwrap();
    function_is_active(&client, "second").await;

    let reserve =
        |name, number| client.put_function_concurrency().function_name(name).reserved_concurrent_executions(number);
    let refused = reserve("labeler", 901).send().await.unwrap_err();
    assert_eq!(refused.code(), Some("InvalidParameterValueException"));
    assert!(refused.message().unwrap().contains("below its minimum value of [100]"), "{refused:?}");
    reserve("labeler", 900).send().await.unwrap();
    assert_eq!(reserve("second", 1).send().await.unwrap_err().code(), Some("InvalidParameterValueException"));
    client.delete_function_concurrency().function_name("labeler").send().await.unwrap();

    for _ in 0..10 {
        let send = client.invoke().function_name("labeler").invocation_type(InvocationType::Event);
        send.payload(Blob::new("\"sleep\"")).send().await.unwrap();
    }
    let once = client.config().to_builder().retry_config(RetryConfig::disabled()).build();
    let once = Client::from_conf(once);
    until("a refusal", async || {
        let called = once.invoke().function_name("second").payload(Blob::new("\"pid\"")).send().await;
        called.is_err_and(|refused| refused.code() == Some("TooManyRequestsException"))
    })
    .await;
    aws.stop().await;
}

#[tokio::test]
async fn a_failing_event_is_tried_three_times() {
    let aws = LocalAws::start().await;
    let client = made(&aws).await;
    let send = client.invoke().function_name("labeler").invocation_type(InvocationType::Event);
    assert_eq!(send.payload(Blob::new("\"fail\"")).send().await.unwrap().status_code(), 202);
    until("three reports", async || log(&aws, "REPORT").await.len() >= 3).await;
    assert_eq!(log(&aws, "START").await.len(), 3);
    aws.stop().await;
}

#[tokio::test]
async fn an_event_past_its_maximum_age_is_dropped() {
    let aws = LocalAws::start().await;
    let client = made(&aws).await;
    let configure = client.put_function_event_invoke_config().function_name("labeler");
    configure.maximum_event_age_in_seconds(60).send().await.unwrap();
    aws.cloud.stop().await;

    // Events that an earlier server has accepted.
    let events = aws.dir.path().join("functions/events");
    std::fs::create_dir_all(&events).unwrap();
    for (name, seconds) in [("old", 61), ("new", 0)] {
        let accepted = (time::OffsetDateTime::now_utc().unix_timestamp() - seconds) * 1000;
        let event =
            serde_json::json!({ "function": "labeler", "payload": format!("\"{name}\""), "accepted_ms": accepted });
        std::fs::write(events.join(format!("{accepted:015}-{name}.json")), event.to_string()).unwrap();
    }
    let aws = LocalAws::start_in(aws.dir).await;
    until("the events to be gone", async || std::fs::read_dir(&events).unwrap().count() == 0).await;
    assert_eq!(log(&aws, "START").await.len(), 1);
    aws.stop().await;
}

fn notification(function: &str, event: &str) -> NotificationConfiguration {
    let rule = FilterRule::builder().name(FilterRuleName::Suffix).value(".jpg").build();
    let filter =
        NotificationConfigurationFilter::builder().key(S3KeyFilter::builder().filter_rules(rule).build()).build();
    let function = LambdaFunctionConfiguration::builder()
        .id("images")
        .lambda_function_arn(function)
        .events(Event::from(event))
        .filter(filter)
        .build()
        .unwrap();
    NotificationConfiguration::builder().lambda_function_configurations(function).build()
}

#[tokio::test]
async fn an_upload_invokes_the_function_that_the_bucket_may_invoke() {
    let aws = LocalAws::start().await;
    let client = made(&aws).await;
    let s3 = aws.s3();
    s3.create_bucket().bucket("images").send().await.unwrap();
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:labeler";
    let wanted = notification(arn, "s3:ObjectCreated:*");
    let put = || s3.put_bucket_notification_configuration().bucket("images").notification_configuration(wanted.clone());

    let refused = put().send().await.unwrap_err();
    assert_eq!(refused.code(), Some("InvalidArgument"));
    assert!(refused.message().unwrap().contains("Unable to validate the following destination configurations"));

    let allow = client.add_permission().function_name("labeler").statement_id("images").action("lambda:InvokeFunction");
    let allow = allow.principal("s3.amazonaws.com").source_arn("arn:aws:s3:::images").source_account(local::ACCOUNT);
    allow.clone().send().await.unwrap();
    assert_eq!(code(allow.send().await), "ResourceConflictException");
    let policy = client.get_policy().function_name("labeler").send().await.unwrap();
    assert!(policy.policy().unwrap().contains("AWS:SourceAccount"));
    put().send().await.unwrap();
    let read = s3.get_bucket_notification_configuration().bucket("images").send().await.unwrap();
    assert_eq!(read.lambda_function_configurations()[0].id(), Some("images"));
    notifications_are_in_force().await;

    for key in ["Zoé/a b+c.jpg", "notes.txt"] {
        s3.put_object().bucket("images").key(key).body(ByteStream::from_static(b"12345")).send().await.unwrap();
    }
    s3.copy_object().bucket("images").key("copy.jpg").copy_source("images/notes.txt").send().await.unwrap();
    let lines = eventually("two events", async || {
        let lines = log(&aws, "Records").await;
        (lines.len() >= 2).then_some(lines)
    })
    .await;
    let events: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line.strip_prefix("event ").unwrap()).unwrap()).collect();
    let mut seen: Vec<(String, &str)> = events
        .iter()
        .map(|event| &event["Records"][0])
        .map(|record| {
            (record["s3"]["object"]["key"].as_str().unwrap().to_owned(), record["eventName"].as_str().unwrap())
        })
        .collect();
    seen.sort();
    let expected = [("Zo%C3%A9/a+b%2Bc.jpg", "ObjectCreated:Put"), ("copy.jpg", "ObjectCreated:Copy")];
    assert_eq!(seen, expected.map(|(key, event)| (key.to_owned(), event)));
    assert_eq!(events[0]["Records"][0]["s3"]["object"]["size"], 5);

    client.remove_permission().function_name("labeler").statement_id("images").send().await.unwrap();
    assert_eq!(code(client.get_policy().function_name("labeler").send().await), "ResourceNotFoundException");
    aws.stop().await;
}

#[tokio::test]
async fn a_deletion_invokes_the_function_that_is_notified_of_it() {
    let aws = LocalAws::start().await;
    let s3 = notified(&aws, "s3:ObjectRemoved:*").await;

    let upload = |key: &str| s3.put_object().bucket("images").key(key).body(ByteStream::from_static(b"x")).send();
    let delete = |key: &str| s3.delete_object().bucket("images").key(key);
    for key in ["a b.jpg", "b.jpg", "notes.txt"] {
        upload(key).await.unwrap();
    }
    for key in ["missing.jpg", "notes.txt", "a b.jpg"] {
        delete(key).send().await.unwrap();
    }
    let all = Delete::builder().objects(ObjectIdentifier::builder().key("b.jpg").build().unwrap()).build().unwrap();
    s3.delete_objects().bucket("images").delete(all).send().await.unwrap();
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    s3.put_bucket_versioning().bucket("images").versioning_configuration(enabled).send().await.unwrap();
    let version = upload("c.jpg").await.unwrap().version_id.unwrap();
    let marker = delete("c.jpg").send().await.unwrap().version_id.unwrap();
    delete("c.jpg").version_id(&marker).send().await.unwrap();
    delete("c.jpg").version_id(&version).send().await.unwrap();

    let removals = eventually("four events", async || {
        let events = log(&aws, "Records").await;
        let events = events.iter().map(|line| serde_json::from_str(line.strip_prefix("event ").unwrap()).unwrap());
        let mut removals: Vec<_> = events.map(removal).collect();
        removals.sort();
        (removals.len() >= 4).then_some(removals)
    })
    .await;
    let expected = [
        ("ObjectRemoved:Delete", "a+b.jpg", ""),
        ("ObjectRemoved:Delete", "b.jpg", ""),
        ("ObjectRemoved:Delete", "c.jpg", version.as_str()),
        ("ObjectRemoved:DeleteMarkerCreated", "c.jpg", marker.as_str()),
    ];
    assert_eq!(removals, expected.map(|(event, key, version)| (event.to_owned(), key.to_owned(), version.to_owned())));
    aws.stop().await;
}

#[tokio::test]
async fn a_change_succeeds_and_is_announced_even_if_its_event_cannot_be_written() {
    let aws = LocalAws::start().await;
    let s3 = notified(&aws, "s3:ObjectRemoved:*").await;
    for key in ["a.jpg", "b.jpg", "c.jpg"] {
        s3.put_object().bucket("images").key(key).body(ByteStream::from_static(b"x")).send().await.unwrap();
    }

    // No file can be created in something that is not a directory.
    std::fs::write(aws.dir.path().join("functions/events"), "").unwrap();
    s3.delete_object().bucket("images").key("a.jpg").send().await.unwrap();
    let objects = ["b.jpg", "c.jpg"].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    let both = Delete::builder().set_objects(Some(objects.to_vec())).build().unwrap();
    let deleted = s3.delete_objects().bucket("images").delete(both).send().await.unwrap();
    assert_eq!((deleted.deleted().len(), deleted.errors().len()), (2, 0));
    let keys = eventually("three events", async || {
        let events = log(&aws, "Records").await;
        let events = events.iter().map(|line| serde_json::from_str(line.strip_prefix("event ").unwrap()).unwrap());
        let mut keys: Vec<_> = events.map(removal).map(|(_, key, _)| key).collect();
        keys.sort();
        (keys.len() >= 3).then_some(keys)
    })
    .await;
    assert_eq!(keys, ["a.jpg", "b.jpg", "c.jpg"]);
    aws.stop().await;
}

/// Creates the function, and a bucket that notifies it of `event`.
async fn notified(aws: &LocalAws, event: &str) -> aws_sdk_s3::Client {
    let client = made(aws).await;
    let s3 = aws.s3();
    s3.create_bucket().bucket("images").send().await.unwrap();
    let allow = client.add_permission().function_name("labeler").statement_id("images").action("lambda:InvokeFunction");
    allow.principal("s3.amazonaws.com").source_arn("arn:aws:s3:::images").send().await.unwrap();
    let wanted = notification("arn:aws:lambda:us-east-1:000000000000:function:labeler", event);
    let put = s3.put_bucket_notification_configuration().bucket("images");
    put.notification_configuration(wanted).send().await.unwrap();
    notifications_are_in_force().await;
    s3
}

/// At the default speed a changed notification takes 0.6 seconds to be in force, and no call reports when it is.
async fn notifications_are_in_force() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// The event name, key and version id of a deletion.
fn removal(event: Value) -> (String, String, String) {
    let record = &event["Records"][0];
    let object = &record["s3"]["object"];
    assert!(object["size"].is_null() && object["sequencer"].is_string(), "{object}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&record["eventName"]), text(&object["key"]), text(&object["versionId"]))
}

#[tokio::test]
async fn with_notify_lag_uploads_are_delivered_late_and_twice_and_none_is_lost() {
    let chaos = local::Chaos { kinds: [local::ChaosKind::S3NotifyLag].into(), seed: 1 };
    let aws = LocalAws::start_with(chaos).await;
    let s3 = notified(&aws, "s3:ObjectCreated:*").await;
    const UPLOADS: usize = 12;
    for number in 0..UPLOADS {
        s3.put_object().bucket("images").key(format!("{number:02}.jpg")).send().await.unwrap();
    }
    // Delayed events also survive a restart of the server.
    let aws = aws.restarted().await;
    let keys_in = |lines: Vec<String>| -> Vec<String> {
        let key = |line: String| -> String {
            let event: Value = serde_json::from_str(line.strip_prefix("event ").unwrap()).unwrap();
            event["Records"][0]["s3"]["object"]["key"].as_str().unwrap().to_owned()
        };
        lines.into_iter().map(key).collect()
    };
    let keys = eventually("all uploads, some of them twice", async || {
        let keys = keys_in(log(&aws, "Records").await);
        let all = (0..UPLOADS).all(|number| keys.contains(&format!("{number:02}.jpg")));
        (all && keys.len() > UPLOADS).then_some(keys)
    })
    .await;
    assert!(!keys.is_sorted(), "{keys:?}");
    aws.stop().await;
}
