//! Injected faults, as a client sees them on the wire.

use aws_config::retry::RetryConfig;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{LocalAws, clients};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn bucket(aws: &LocalAws) -> aws_sdk_s3::Client {
    aws.s3().create_bucket().bucket("fates").send().await.unwrap();
    clients::s3(&clients::without_retries(&aws.config))
}

async fn put(s3: &aws_sdk_s3::Client, key: &str) -> bool {
    let body = ByteStream::from_static(b"ten bytes!");
    s3.put_object().bucket("fates").key(key).body(body).send().await.is_ok()
}

async fn is_there(s3: &aws_sdk_s3::Client, key: &str) -> bool {
    s3.head_object().bucket("fates").key(key).send().await.is_ok()
}

#[tokio::test]
async fn a_fault_before_the_effect_leaves_nothing_and_one_after_it_everything() {
    let aws = LocalAws::start().await;
    let s3 = bucket(&aws).await;
    let control = aws.control();
    for (fault, there) in
        [("reset-before", false), ("reset-after", true), ("500", false), ("500-after", true), ("throttle", false)]
    {
        control.inject(&json!({ "match": { "operation": "PutObject", "nth_call": 2 }, "fault": fault })).await;
        assert!(put(&s3, "first").await, "{fault}");
        assert!(!put(&s3, fault).await, "{fault}");
        assert_eq!(is_there(&s3, fault).await, there, "{fault}");
        assert!(put(&s3, "third").await, "{fault}");
        assert_eq!(control.get("faults").await["rules"][0]["fired"], 1, "{fault}");
        assert_eq!(control.delete("faults").await, 200);
    }
}

#[tokio::test]
async fn a_reset_connection_is_reset_and_not_closed() {
    let aws = LocalAws::start().await;
    aws.control().inject(&json!({ "fault": "reset-before" })).await;
    let fault = reqwest::get(format!("{}/fates/k", aws.endpoint())).await.unwrap_err();
    let causes = format!("{fault:?}");
    assert!(causes.contains("ConnectionReset"), "{causes}");
}

#[tokio::test]
async fn a_truncated_body_announces_all_and_brings_half() {
    let aws = LocalAws::start().await;
    let s3 = bucket(&aws).await;
    assert!(put(&s3, "k").await);
    aws.control().inject(&json!({ "match": { "operation": "GetObject" }, "fault": "truncate" })).await;
    let answer = s3.get_object().bucket("fates").key("k").send().await.unwrap();
    assert_eq!(answer.content_length(), Some(10));
    assert!(answer.body.collect().await.is_err());
}

#[tokio::test]
async fn each_service_has_its_own_error_codes() {
    let aws = LocalAws::start().await;
    let config = clients::without_retries(&aws.config);
    let s3 = bucket(&aws).await;
    let control = aws.control();
    let tables = aws_sdk_dynamodb::Client::new(&config);
    let roles = aws_sdk_iam::Client::new(&config);
    let functions = aws_sdk_lambda::Client::new(&config);
    let logs = aws_sdk_cloudwatchlogs::Client::new(&config);
    for (fault, expected) in [
        (
            json!("throttle"),
            ["SlowDown", "ThrottlingException", "Throttling", "TooManyRequestsException", "ThrottlingException"],
        ),
        (
            json!("expired-credentials"),
            ["ExpiredToken", "ExpiredTokenException", "ExpiredToken", "ExpiredTokenException", "ExpiredTokenException"],
        ),
        (
            json!("503"),
            [
                "ServiceUnavailable",
                "ServiceUnavailable",
                "ServiceUnavailable",
                "ServiceUnavailableException",
                "ServiceUnavailableException",
            ],
        ),
        (json!({ "status": 409, "code": "Busy", "message": "later" }), ["Busy"; 5]),
    ] {
        control.inject(&json!({ "fault": fault })).await;
        let code = |code: Option<&str>| code.unwrap_or("none").to_owned();
        let seen = [
            code(s3.list_objects_v2().bucket("fates").send().await.unwrap_err().code()),
            code(tables.list_tables().send().await.unwrap_err().code()),
            code(roles.list_roles().send().await.unwrap_err().code()),
            code(functions.list_functions().send().await.unwrap_err().code()),
            code(logs.describe_log_groups().send().await.unwrap_err().code()),
        ];
        assert_eq!(seen, expected);
        control.delete("faults").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_call_takes_effect_when_released_even_if_its_caller_is_gone() {
    let aws = LocalAws::start().await;
    let s3 = bucket(&aws).await;
    let control = aws.control();
    let rule = control.inject(&json!({ "match": { "operation": "PutObject" }, "fault": "hold-before" })).await;
    let caller = tokio::spawn({
        let s3 = s3.clone();
        async move { put(&s3, "late").await }
    });
    control.has_fired(rule[0]).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    assert!(!is_there(&s3, "late").await);
    assert_eq!(control.delete(&format!("faults/{}", rule[0])).await, 200);
    while !is_there(&s3, "late").await {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn held_calls_take_no_effect_when_the_server_stops() {
    let aws = LocalAws::start().await;
    let s3 = bucket(&aws).await;
    let control = aws.control();
    let rule = control.inject(&json!({ "match": { "operation": "PutObject" }, "fault": "hold-before" })).await;
    let caller = tokio::spawn(async move { put(&s3, "never").await });
    control.has_fired(rule[0]).await;
    let aws = aws.restarted().await;
    assert!(!caller.await.unwrap());
    assert!(!is_there(&aws.s3(), "never").await);
}

#[tokio::test]
async fn an_sdk_that_retries_survives_a_fault_and_the_journal_has_it() {
    let aws = LocalAws::start().await;
    bucket(&aws).await;
    let control = aws.control();
    let rules = json!([
        { "match": { "service": "s3", "mutating": true, "caller": "account", "contains": "/fates/k", "times": 2 }, "fault": "503" },
        { "latency_ms": 1 },
    ]);
    control.inject(&rules).await;
    assert!(put(&aws.s3(), "k").await);
    let calls = control.get("requests").await;
    let puts: Vec<&Value> = calls.as_array().unwrap().iter().filter(|call| call["operation"] == "PutObject").collect();
    let seen: Vec<_> = puts.iter().map(|call| (call["status"].as_u64(), call["fault"].as_str())).collect();
    assert_eq!(seen, [(Some(503), Some("refused")), (Some(503), Some("refused")), (Some(200), None)]);
}

#[tokio::test]
async fn with_clock_skew_signatures_expire_until_the_clock_is_corrected() {
    let aws = LocalAws::start().await;
    let s3 = bucket(&aws).await;
    let control = aws.control();
    control.set_chaos(&["clock-skew"]).await;
    let refusal = s3.list_objects_v2().bucket("fates").send().await.unwrap_err();
    assert_eq!(refusal.code(), Some("RequestTimeTooSkewed"));
    let date = refusal.raw_response().unwrap().headers().get("date").unwrap().to_owned();
    let format = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let date = time::PrimitiveDateTime::parse(&date, format).unwrap().assume_utc();
    assert!(date > time::OffsetDateTime::now_utc() + time::Duration::minutes(15));
    control.set_chaos(&[]).await;
    // The first client has adopted the wrong clock offset from the error, and would need another attempt to correct it.
    assert!(aws.s3().list_objects_v2().bucket("fates").send().await.is_ok());
    let unknown = reqwest::Client::new().put(format!("{}/_local/chaos", aws.endpoint()));
    assert_eq!(unknown.json(&json!({ "kinds": ["gremlins"] })).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_page_in_a_browser_cannot_make_faults() {
    let aws = LocalAws::start().await;
    let control = aws.control();
    let rule = json!({ "fault": "500" }).to_string();
    let from_a_page = reqwest::Client::new().post(format!("{}/_local/faults", aws.endpoint()));
    let from_a_page = from_a_page.header("origin", "https://example.org");
    assert_eq!(from_a_page.body(rule).send().await.unwrap().status(), 403);
    assert_eq!(control.get("faults").await["rules"], json!([]));
    assert_eq!(control.delete("faults/7").await, 404);
}

#[tokio::test]
async fn chaos_from_the_start_hits_calls_and_an_sdk_gets_over_it() {
    let chaos = local::Chaos {
        kinds: [local::ChaosKind::Throttle, local::ChaosKind::Errors, local::ChaosKind::Reset].into(),
        seed: 3,
    };
    let aws = LocalAws::start_with(chaos).await;
    let patient = RetryConfig::standard()
        .with_max_attempts(20)
        .with_initial_backoff(std::time::Duration::from_millis(1))
        .with_max_backoff(std::time::Duration::from_millis(2));
    let s3 = clients::s3(&aws.config.clone().into_builder().retry_config(patient).build());
    s3.create_bucket().bucket("fates").send().await.unwrap();
    for n in 0..40 {
        assert!(put(&s3, &n.to_string()).await);
    }
    assert_eq!(s3.list_objects_v2().bucket("fates").send().await.unwrap().key_count(), Some(40));
    let hit = aws.control().journal().await.iter().filter(|call| call["fault"].is_string()).count();
    assert!(hit > 5, "{hit}");
    aws.stop().await;
}

/// Sends these bytes and returns the head of the answer; the rest of the request is never sent.
async fn head_of_answer(aws: &LocalAws, request: &str) -> String {
    let mut stream = TcpStream::connect(aws.cloud.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    read_head(&mut stream).await
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_request_refused_by_its_head_is_answered_before_its_body() {
    let aws = LocalAws::start().await;
    let host = aws.cloud.address();
    let huge = 400 << 20;
    let page = "Origin: http://evil.example\r\n";
    let form = "Content-Type: multipart/form-data; boundary=x\r\n";
    let target = "X-Amz-Target: DynamoDB_20120810.PutItem\r\n";
    let credential = "Credential=LOCALACCESSKEY000000/20260101/us-east-1/dynamodb/aws4_request";
    let scope = format!("Authorization: AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0\r\n");
    let length = |length: u64| format!("Content-Length: {length}\r\n");
    for (name, line, headers, status) in [
        ("unsigned", "POST / HTTP/1.1", format!("{page}{}", length(huge)), 403),
        ("an unsigned object", "PUT /bucket/key HTTP/1.1", length(huge), 403),
        ("one that asks first", "PUT /bucket/key HTTP/1.1", format!("Expect: 100-continue\r\n{}", length(huge)), 403),
        ("a form", "POST /bucket HTTP/1.1", format!("{page}{form}{}", length(huge)), 400),
        ("an unsigned call", "POST / HTTP/1.1", format!("{target}{}", length(huge)), 403),
        ("a small call of a page", "POST / HTTP/1.1", format!("{page}{scope}{}", length(9)), 403),
        ("a page of the server", "POST /_local/faults HTTP/1.1", length(huge), 413),
        ("the same from another page", "POST /_local/faults HTTP/1.1", format!("{page}{}", length(9)), 403),
        ("an object without a length", "PUT /bucket/key HTTP/1.1", "Transfer-Encoding: chunked\r\n".to_owned(), 411),
    ] {
        let head = head_of_answer(&aws, &format!("{line}\r\nHost: {host}\r\n{headers}\r\n")).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {head}");
    }
    let elsewhere = format!("POST / HTTP/1.1\r\nHost: evil.example\r\n{}\r\n", length(huge));
    assert!(head_of_answer(&aws, &elsewhere).await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn the_bodies_in_memory_have_a_common_limit() {
    let aws = LocalAws::start().await;
    // Forms have the largest bodies that are kept in memory.
    let head = format!(
        "POST /fates HTTP/1.1\r\nHost: {}\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        aws.cloud.address(),
        64 << 20
    );
    let send = async || {
        let mut stream = TcpStream::connect(aws.cloud.address()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    let mut first = Vec::new();
    for _ in 0..4 {
        let mut stream = send().await;
        assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 100 "));
        first.push(stream);
    }
    let mut fifth = send().await;
    let early = tokio::time::timeout(Duration::from_millis(300), fifth.read_u8()).await;
    assert!(early.is_err(), "a fifth body is accepted: {early:?}");
    // A client that disconnects frees its share.
    drop(first.pop());
    assert!(read_head(&mut fifth).await.starts_with("HTTP/1.1 100 "));
}
