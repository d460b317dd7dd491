//! The load balancer as its clients see it: what it forwards, what it rejects, and which requests survive when
//! instances are removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;
use testkit::process::kill;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::stack::{Stack, TestCompute};

/// Keeps unhealthy instances from being replaced while a test checks something else.
const PATIENT: (&str, &str) = ("HealthCheckGracePeriod", "7200");

const CLIENTS: usize = 8;

async fn set_balancer(test: &TestCompute, stack: &Stack, key: &str, value: &str) {
    let form = [
        ("LoadBalancerArn", stack.load_balancer.as_str()),
        ("Attributes.member.1.Key", key),
        ("Attributes.member.1.Value", value),
    ];
    test.ok("elasticloadbalancing", "ModifyLoadBalancerAttributes", &form).await;
}

fn own_answers(test: &TestCompute, status: &str) -> u64 {
    test.compute.status()["load_balancers"][0]["own_answers"][status].as_u64().unwrap_or_default()
}

fn open_requests(test: &TestCompute) -> Vec<u64> {
    let targets = test.compute.status()["targets"].clone();
    targets.as_array().unwrap().iter().filter_map(|target: &Value| target["open_requests"].as_u64()).collect()
}

/// Sends `words` on a new connection, and reads until the other side closes it or the answer contains `until`.
async fn ask(address: &str, words: &[u8], until: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(words).await.unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&answer).contains(until) {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => answer.extend(&buffer[..read]),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn bodies_stream_both_ways_piece_by_piece() {
    let test = TestCompute::start().await;
    let stack = test.up("/", &[PATIENT]).await;
    let mut stream = TcpStream::connect(&stack.address).await.unwrap();
    let head = "POST /stream HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    for turn in 0..50_usize {
        let word = format!("<{turn:>1000}>");
        stream.write_all(format!("{:x}\r\n{word}\r\n", word.len()).as_bytes()).await.unwrap();
        // The next piece is sent only when this one has been echoed: nothing is buffered.
        while !String::from_utf8_lossy(&answer).contains(&word) {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "the answer ends early: {}", String::from_utf8_lossy(&answer));
            answer.extend(&buffer[..read]);
        }
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    while !answer.ends_with(b"0\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn requests_that_an_alb_rejects_get_its_own_answers() {
    let test = TestCompute::start().await;
    let stack = test.up("/", &[PATIENT]).await;
    let long = "x".repeat(17_000);
    for (words, expected) in [
        ("TRACE / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n".to_owned(), 405),
        (format!("GET /{long} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"), 414),
        (format!("GET / HTTP/1.1\r\nHost: web\r\nX-Long: {long}\r\nConnection: close\r\n\r\n"), 400),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n".to_owned(), 400),
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("GET /garbage HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n".to_owned(), 502),
        ("GET /long-header HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n".to_owned(), 502),
    ] {
        let answer = ask(&stack.address, words.as_bytes(), "</html>").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{} for {words:.60}", answer);
        if words != "nonsense\r\n\r\n" {
            assert!(answer.to_lowercase().contains("server: awselb/2.0"), "{answer}");
            assert!(own_answers(&test, &expected.to_string()) > 0, "{expected}");
        }
    }
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn the_idle_timeout_is_answered_by_the_side_that_was_silent() {
    let test = TestCompute::start().await;
    let stack = test.up("/", &[PATIENT]).await;
    set_balancer(&test, &stack, "idle_timeout.timeout_seconds", "1").await;
    let half = "POST /echo HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\nabc";
    assert!(ask(&stack.address, half.as_bytes(), "</html>").await.starts_with("HTTP/1.1 408 "), "the client's timeout");
    let wait = "GET /wait HTTP/1.1\r\nHost: web\r\n\r\n";
    assert!(ask(&stack.address, wait.as_bytes(), "</html>").await.starts_with("HTTP/1.1 504 "), "the target's timeout");
    // A connection on which no request is sent is closed without an answer.
    assert_eq!(ask(&stack.address, b"", "</html>").await, "");
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn a_client_that_disconnects_is_counted_and_its_request_is_cancelled() {
    let test = TestCompute::start().await;
    let stack = test.up("/", &[PATIENT]).await;
    let mut stream = TcpStream::connect(&stack.address).await.unwrap();
    stream.write_all(b"GET /wait HTTP/1.1\r\nHost: web\r\n\r\n").await.unwrap();
    test.until("the target has it", async || open_requests(&test) == [1]).await;
    drop(stream);
    test.until("the target has nothing any more", async || open_requests(&test) == [0]).await;
    assert_eq!(own_answers(&test, "460"), 1);
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test]
async fn attributes_set_the_routing_algorithm_and_the_client_headers() {
    let test = TestCompute::start().await;
    let stack = test.create("/", &[PATIENT, ("MinSize", "2")]).await;
    test.until("two targets are healthy", async || test.healthy(&stack).await == 2).await;
    let algorithm = [
        ("TargetGroupArn", stack.target_group.as_str()),
        ("Attributes.member.1.Key", "load_balancing.algorithm.type"),
        ("Attributes.member.1.Value", "least_outstanding_requests"),
    ];
    test.ok("elasticloadbalancing", "ModifyTargetGroupAttributes", &algorithm).await;
    let mut busy = TcpStream::connect(&stack.address).await.unwrap();
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: web\r\n\r\n").await.unwrap();
    test.until("one target is busy", async || open_requests(&test).iter().sum::<u64>() == 1).await;
    let idle = test.get(&stack.address, "/pid").await.body;
    for _ in 0..6 {
        assert_eq!(test.get(&stack.address, "/pid").await.body, idle, "the busy target gets no request");
    }
    drop(busy);

    let came = "X-Forwarded-For: 10.0.0.1\r\n";
    for (mode, expected) in [("append", Some("10.0.0.1, 127.0.0.1")), ("preserve", Some("10.0.0.1")), ("remove", None)]
    {
        set_balancer(&test, &stack, "routing.http.xff_header_processing.mode", mode).await;
        let headers = test.raw(&stack.address, "GET", "/headers", came, "").await.unwrap().body;
        let found = headers.lines().find_map(|line| line.strip_prefix("x-forwarded-for="));
        assert_eq!(found, expected, "{mode}");
    }
    for (value, expected) in [("false", true), ("true", false)] {
        set_balancer(&test, &stack, "routing.http.drop_invalid_header_fields.enabled", value).await;
        let headers = test.raw(&stack.address, "GET", "/headers", "X_Odd: 1\r\n", "").await.unwrap().body;
        assert_eq!(headers.contains("x_odd=1\n"), expected, "{value}: {headers}");
    }
    let traced = test.raw(&stack.address, "GET", "/headers", "X-Amzn-Trace-Id: Root=1-2-3\r\n", "").await.unwrap().body;
    assert!(traced.contains("x-amzn-trace-id=Self=1-") && traced.contains(";Root=1-2-3\n"), "{traced}");
    test.down(&stack).await;
    test.stop().await;
}

/// Clients that send requests without a pause, and their failures.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    fn on(stack: &Stack) -> Load {
        let (stop, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let client = |_| {
            let (stop, asked, url) = (stop.clone(), asked.clone(), format!("http://{}/burn=2", stack.address));
            tokio::spawn(async move {
                let client = reqwest::Client::new();
                let mut failures = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    match client.get(&url).send().await {
                        Ok(answer) if answer.status() == 200 => (),
                        Ok(answer) => failures.push(answer.status().to_string()),
                        Err(error) => failures.push(error.to_string()),
                    }
                    asked.fetch_add(1, Ordering::SeqCst);
                }
                failures
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Load { stop, asked, clients }
    }

    /// Waits until this many more requests have been answered.
    async fn wait_for_requests(&self, test: &TestCompute, count: usize) {
        let goal = self.asked.load(Ordering::SeqCst) + count;
        test.until("more requests", async || self.asked.load(Ordering::SeqCst) >= goal).await;
    }

    /// Stops the clients and returns their failures.
    async fn failures(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        futures::future::join_all(self.clients).await.into_iter().flat_map(|client| client.unwrap()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_drained_loses_no_request() {
    let test = TestCompute::start().await;
    let stack = test.create("/", &[PATIENT, ("MinSize", "2")]).await;
    test.until("two targets are healthy", async || test.healthy(&stack).await == 2).await;
    let load = Load::on(&stack);
    load.wait_for_requests(&test, 100).await;
    let leaving = test.instance_ids().await.remove(0);
    let form = [("InstanceId", leaving.as_str()), ("ShouldDecrementDesiredCapacity", "false")];
    test.ok("autoscaling", "TerminateInstanceInAutoScalingGroup", &form).await;
    test.until("the instance to be replaced by a healthy one", async || {
        let state = test.ok("ec2", "DescribeInstances", &[("InstanceId.1", &leaving)]).await.field("name");
        state == "terminated" && test.healthy(&stack).await == 2
    })
    .await;
    load.wait_for_requests(&test, 100).await;
    assert_eq!(load.failures().await, Vec::<String>::new());
    test.down(&stack).await;
    test.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_killed_loses_only_what_it_was_working_on() {
    let test = TestCompute::start().await;
    let stack = test.create("/", &[PATIENT, ("MinSize", "2")]).await;
    test.until("two targets are healthy", async || test.healthy(&stack).await == 2).await;
    let pid = test.get(&stack.address, "/pid").await.body;
    let load = Load::on(&stack);
    load.wait_for_requests(&test, 100).await;
    kill(&pid);
    load.wait_for_requests(&test, 200).await;
    let failures = load.failures().await;
    // Each client has one request in flight, and perhaps one on a connection whose end it has not noticed yet.
    assert!(failures.len() <= 2 * CLIENTS, "{failures:?}");
    assert!(failures.iter().all(|failure| failure.starts_with("502")), "{failures:?}");

    let load = Load::on(&stack);
    load.wait_for_requests(&test, 200).await;
    assert_eq!(load.failures().await, Vec::<String>::new(), "later requests reach the remaining targets");
    test.down(&stack).await;
    test.stop().await;
}
