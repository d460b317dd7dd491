//! Events: their retries, their age and their measurements.

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use testkit::clients::code;
use testkit::{LocalAws, until};

use super::{log, made, zip};

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
    // It is counted before its process has started.
    until("its start", async || log(&aws, "START").await.len() == 1).await;
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
