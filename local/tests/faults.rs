//! Faults on demand, as a client meets them on the wire.

mod support;

use aws_config::retry::RetryConfig;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use serde_json::{Value, json};
use std::time::Duration;
use support::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The pages of a world's server that are no AWS.
struct Control {
    client: reqwest::Client,
    base: String,
}

impl Control {
    fn of(world: &World) -> Control {
        Control { client: reqwest::Client::new(), base: format!("{}/_local", world.cloud.endpoint()) }
    }

    async fn add(&self, rules: Value) -> Value {
        let answer = self.client.post(format!("{}/faults", self.base)).json(&rules).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }

    async fn get(&self, page: &str) -> Value {
        self.client.get(format!("{}/{page}", self.base)).send().await.unwrap().json().await.unwrap()
    }

    async fn delete(&self, page: &str) -> u16 {
        self.client.delete(format!("{}/{page}", self.base)).send().await.unwrap().status().as_u16()
    }
}

/// Clients that try once, so that a test sees every fault.
async fn once(world: &World) -> aws_config::SdkConfig {
    let once = RetryConfig::standard().with_max_attempts(1);
    world.config.clone().into_builder().retry_config(once).build()
}

async fn bucket(world: &World) -> aws_sdk_s3::Client {
    world.s3().create_bucket().bucket("fates").send().await.unwrap();
    support::s3(&once(world).await)
}

async fn put(s3: &aws_sdk_s3::Client, key: &str) -> bool {
    let body = ByteStream::from_static(b"ten bytes!");
    s3.put_object().bucket("fates").key(key).body(body).send().await.is_ok()
}

async fn is_there(s3: &aws_sdk_s3::Client, key: &str) -> bool {
    s3.head_object().bucket("fates").key(key).send().await.is_ok()
}

#[tokio::test]
async fn a_cut_before_the_effect_leaves_nothing_and_one_after_it_everything() {
    let world = World::new().await;
    let s3 = bucket(&world).await;
    let control = Control::of(&world);
    for (fault, there) in
        [("reset-before", false), ("reset-after", true), ("500", false), ("500-after", true), ("throttle", false)]
    {
        control.add(json!({ "match": { "operation": "PutObject", "nth_call": 2 }, "fault": fault })).await;
        assert!(put(&s3, "first").await, "{fault}");
        assert!(!put(&s3, fault).await, "{fault}");
        assert_eq!(is_there(&s3, fault).await, there, "{fault}");
        assert!(put(&s3, "third").await, "{fault}");
        assert_eq!(control.get("faults").await["rules"][0]["fired"], 1, "{fault}");
        assert_eq!(control.delete("faults").await, 200);
    }
}

#[tokio::test]
async fn a_line_is_reset_and_not_closed() {
    let world = World::new().await;
    Control::of(&world).add(json!({ "fault": "reset-before" })).await;
    let fault = reqwest::get(format!("{}/fates/k", world.cloud.endpoint())).await.unwrap_err();
    let told = format!("{fault:?}");
    assert!(told.contains("ConnectionReset"), "{told}");
}

#[tokio::test]
async fn a_truncated_body_announces_all_and_brings_half() {
    let world = World::new().await;
    let s3 = bucket(&world).await;
    assert!(put(&s3, "k").await);
    Control::of(&world).add(json!({ "match": { "operation": "GetObject" }, "fault": "truncate" })).await;
    let answer = s3.get_object().bucket("fates").key("k").send().await.unwrap();
    assert_eq!(answer.content_length(), Some(10));
    assert!(answer.body.collect().await.is_err());
}

#[tokio::test]
async fn each_service_refuses_in_its_own_words() {
    let world = World::new().await;
    let config = once(&world).await;
    let s3 = bucket(&world).await;
    let control = Control::of(&world);
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
        control.add(json!({ "fault": fault })).await;
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
async fn a_held_call_has_its_effect_when_it_is_let_go_even_if_its_caller_has_gone() {
    let world = World::new().await;
    let s3 = bucket(&world).await;
    let control = Control::of(&world);
    let rule = control.add(json!({ "match": { "operation": "PutObject" }, "fault": "hold-before" })).await;
    let caller = tokio::spawn({
        let s3 = s3.clone();
        async move { put(&s3, "late").await }
    });
    while control.get("faults").await["rules"][0]["fired"] != 1 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    assert!(!is_there(&s3, "late").await);
    assert_eq!(control.delete(&format!("faults/{}", rule["ids"][0])).await, 200);
    while !is_there(&s3, "late").await {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_server_that_ends_lets_go_of_nothing_it_holds() {
    let world = World::new().await;
    let s3 = bucket(&world).await;
    let control = Control::of(&world);
    control.add(json!({ "match": { "operation": "PutObject" }, "fault": "hold-before" })).await;
    let caller = tokio::spawn(async move { put(&s3, "never").await });
    while control.get("faults").await["rules"][0]["fired"] != 1 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let world = world.restarted().await;
    assert!(!caller.await.unwrap());
    assert!(!is_there(&world.s3(), "never").await);
}

#[tokio::test]
async fn an_sdk_that_tries_again_survives_a_fault_and_the_journal_tells_of_it() {
    let world = World::new().await;
    bucket(&world).await;
    let control = Control::of(&world);
    let rules = json!([
        { "match": { "service": "s3", "mutating": true, "caller": "account", "contains": "/fates/k", "times": 2 }, "fault": "503" },
        { "latency_ms": 1 },
    ]);
    control.add(rules).await;
    assert!(put(&world.s3(), "k").await);
    let calls = control.get("requests").await;
    let puts: Vec<&Value> = calls.as_array().unwrap().iter().filter(|call| call["operation"] == "PutObject").collect();
    let seen: Vec<_> = puts.iter().map(|call| (call["status"].as_u64(), call["fault"].as_str())).collect();
    assert_eq!(seen, [(Some(503), Some("refused")), (Some(503), Some("refused")), (Some(200), None)]);
}

#[tokio::test]
async fn another_clock_makes_signatures_old_until_it_is_right_again() {
    let world = World::new().await;
    let s3 = bucket(&world).await;
    let control = Control::of(&world);
    let chaos = |kinds: Value| control.client.put(format!("{}/chaos", control.base)).json(&json!({ "kinds": kinds }));
    assert_eq!(chaos(json!(["clock-skew"])).send().await.unwrap().status(), 200);
    let refusal = s3.list_objects_v2().bucket("fates").send().await.unwrap_err();
    assert_eq!(refusal.code(), Some("RequestTimeTooSkewed"));
    let date = refusal.raw_response().unwrap().headers().get("date").unwrap().to_owned();
    let format = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let date = time::PrimitiveDateTime::parse(&date, format).unwrap().assume_utc();
    assert!(date > time::OffsetDateTime::now_utc() + time::Duration::minutes(15));
    assert_eq!(chaos(json!([])).send().await.unwrap().status(), 200);
    // The first client has learned the wrong time from the refusal, and would need another try to unlearn it.
    assert!(world.s3().list_objects_v2().bucket("fates").send().await.is_ok());
    assert_eq!(chaos(json!(["gremlins"])).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_page_in_a_browser_cannot_make_faults() {
    let world = World::new().await;
    let control = Control::of(&world);
    let rule = json!({ "fault": "500" }).to_string();
    let from_a_page = control.client.post(format!("{}/faults", control.base)).header("origin", "https://example.org");
    assert_eq!(from_a_page.body(rule).send().await.unwrap().status(), 403);
    assert_eq!(control.get("faults").await["rules"], json!([]));
    assert_eq!(control.delete("faults/7").await, 404);
}

#[tokio::test]
async fn chaos_from_the_start_shows_and_does_not_change_what_an_sdk_gets() {
    let dir = tempfile::tempdir().unwrap();
    let options = local::Options { dir: dir.path().to_owned(), port: 0, region: "us-east-1".to_owned() };
    let chaos = local::Chaos {
        kinds: [local::ChaosKind::Throttle, local::ChaosKind::Errors, local::ChaosKind::Reset].into(),
        seed: 3,
    };
    let cloud = local::Cloud::start_with(options, chaos).await.unwrap();
    let config = support::config(&cloud, local::ACCESS_KEY, local::SECRET_KEY, None).await;
    let patient = RetryConfig::standard()
        .with_max_attempts(20)
        .with_initial_backoff(std::time::Duration::from_millis(1))
        .with_max_backoff(std::time::Duration::from_millis(2));
    let s3 = support::s3(&config.into_builder().retry_config(patient).build());
    s3.create_bucket().bucket("fates").send().await.unwrap();
    for n in 0..40 {
        assert!(put(&s3, &n.to_string()).await);
    }
    assert_eq!(s3.list_objects_v2().bucket("fates").send().await.unwrap().key_count(), Some(40));
    let calls: Value =
        reqwest::get(format!("{}/_local/requests", cloud.endpoint())).await.unwrap().json().await.unwrap();
    let hit = calls.as_array().unwrap().iter().filter(|call| call["fault"].is_string()).count();
    assert!(hit > 5, "{hit}");
    cloud.stop().await;
}

/// Sends these bytes and reads the head of what comes back; the rest of the request is never sent.
async fn head_of_answer(world: &World, request: &str) -> String {
    let mut stream = TcpStream::connect(world.cloud.address()).await.unwrap();
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
async fn a_body_is_not_waited_for_where_the_head_says_enough() {
    let world = World::new().await;
    let host = world.cloud.address();
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
        let head = head_of_answer(&world, &format!("{line}\r\nHost: {host}\r\n{headers}\r\n")).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {head}");
    }
    let elsewhere = format!("POST / HTTP/1.1\r\nHost: evil.example\r\n{}\r\n", length(huge));
    assert!(head_of_answer(&world, &elsewhere).await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn bodies_under_way_have_a_bound_together() {
    let world = World::new().await;
    // The largest bodies that are kept in memory are those of forms.
    let head = format!(
        "POST /fates HTTP/1.1\r\nHost: {}\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        world.cloud.address(),
        64 << 20
    );
    let send = async || {
        let mut stream = TcpStream::connect(world.cloud.address()).await.unwrap();
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
    assert!(early.is_err(), "there is room for a fifth: {early:?}");
    // Whoever leaves makes room.
    drop(first.pop());
    assert!(read_head(&mut fifth).await.starts_with("HTTP/1.1 100 "));
}
