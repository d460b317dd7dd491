//! The program as a machine runs it: its exit codes, its log, and how it stops.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use service::Settings;

/// The program with only these variables, in a directory without a `.env`.
fn program(dir: &tempfile::TempDir, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_service"));
    command.env_clear().envs(variables.iter().copied()).current_dir(dir).stdout(Stdio::piped());
    command
}

const ENOUGH: &[(&str, &str)] = &[
    ("BUCKET", "images"),
    ("DYNAMO_TABLE", "posts"),
    ("HOST", "127.0.0.1"),
    ("PORT", "0"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_ACCESS_KEY_ID", "a"),
    ("AWS_SECRET_ACCESS_KEY", "b"),
];

#[test]
fn a_missing_bucket_or_table_is_named_and_it_exits_with_78() {
    let dir = tempfile::tempdir().unwrap();
    for (variables, missing) in [(&[("DYNAMO_TABLE", "posts")], "BUCKET"), (&[("BUCKET", "b")], "DYNAMO_TABLE")] {
        let output = program(&dir, variables).output().unwrap();
        assert_eq!(output.status.code(), Some(78));
        let log = String::from_utf8(output.stdout).unwrap();
        assert!(log.contains(&format!("{missing} is not set")), "{log}");
    }
}

#[test]
fn a_dot_env_is_read_and_the_environment_wins() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".env"), "BUCKET=images\nDYNAMO_TABLE=\"posts\"\nPORT=nonsense\n").unwrap();
    let output = program(&dir, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8(output.stdout).unwrap().contains("which is not a port number"));
    let mut running = start(program(&dir, &ENOUGH[2..]));
    assert!(TcpStream::connect(&running.address).is_ok());
    assert_eq!(running.stop(Signal::TERM), Some(0));
}

#[test]
fn bad_settings_are_named_and_it_exits_with_78() {
    let dir = tempfile::tempdir().unwrap();
    for (name, value) in [
        ("PORT", "http"),
        ("METRICS_PORT", "-1"),
        ("MAX_REQUESTS", "many"),
        ("AUTH", "password"),
        ("JWT_AUDIENCE", "postagram"),
        ("BUCKET", "s3://images"),
        ("BUCKET", "Images"),
        ("BUCKET", "im"),
        ("BUCKET", "images/cats"),
        ("BUCKET", "10.0.0.1"),
        ("BUCKET", "im..ages"),
        ("DYNAMO_TABLE", "my posts"),
        ("DYNAMO_TABLE", "p"),
        ("DYNAMO_TABLE", "arn:aws:dynamodb:us-east-1:1:posts"),
        ("HOST", "http://127.0.0.1"),
        ("HOST", "127.0.0.1:8080"),
        ("HOST", "192.0.2.1"),
        ("METRICS_HOST", "any where"),
        ("RUST_LOG", "service=loud"),
    ] {
        let variables = [ENOUGH, &[(name, value)]].concat();
        let output = program(&dir, &variables).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{name}");
        let log = String::from_utf8(output.stdout).unwrap();
        assert!(log.contains(&format!("\"message\":\"{name} is ")), "{log}");
    }
    let secret = [ENOUGH, &[("AUTH", "jwt"), ("JWT_AUDIENCE", "postagram"), ("JWT_SECRET", "too short")]].concat();
    let output = program(&dir, &secret).output().unwrap();
    let log = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(log.contains("JWT_SECRET is shorter than 32 bytes") && !log.contains("too short"), "{log}");
}

#[test]
fn a_dot_env_may_begin_with_a_byte_order_mark() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".env"), "\u{feff}BUCKET=images\r\nDYNAMO_TABLE=posts\r\n").unwrap();
    let mut running = start(program(&dir, &ENOUGH[2..]));
    assert_eq!(running.stop(Signal::TERM), Some(0));
}

#[test]
fn the_metrics_have_a_port_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let output = program(&dir, &[ENOUGH, &[("PORT", "8080"), ("METRICS_PORT", "8080")]].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8(output.stdout).unwrap().contains("PORT and METRICS_PORT are both 8080"));
}

/// Settings of the AWS SDK, some of whose values would make it panic.
const OF_AWS: &[&str] = &[
    "AWS_RETRY_MODE",
    "AWS_MAX_ATTEMPTS",
    "AWS_NEW_RETRIES_2026",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_SDK_UA_APP_ID",
    "AWS_REQUEST_CHECKSUM_CALCULATION",
    "AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES",
    "AWS_ACCOUNT_ID_ENDPOINT_MODE",
    "AWS_SIGV4A_SIGNING_REGION_SET",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

#[test]
fn any_value_of_an_aws_setting_gives_a_running_service_or_a_one_line_error() {
    let try_all = |name: &str| {
        let dir = tempfile::tempdir().unwrap();
        for value in ["", " ", "nonsense", "legacy", "0", "-1", "true", "http://", "/nowhere", "\u{e9}"] {
            let base = [("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_MAX_ATTEMPTS", "1")];
            let mut command = program(&dir, &[ENOUGH, &base, &[(name, value)]].concat());
            let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
            let mut log = BufReader::new(child.stdout.take().unwrap());
            let mut first: Value = Value::Null;
            for line in log.by_ref().lines() {
                first = serde_json::from_str(&line.unwrap()).unwrap();
                if first["level"] != "WARN" {
                    break;
                }
            }
            if first["message"] == "listening" {
                // No server listens at the AWS endpoint.
                let address = first["address"].as_str().unwrap();
                if !name.starts_with("AWS_ENDPOINT_URL") {
                    let answer = ask(address, "GET /posts", "", "");
                    assert!(answer.starts_with("HTTP/1.1 503 "), "{name}={value:?}: {answer}");
                }
                kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
                assert_eq!(child.wait().unwrap().code(), Some(0), "{name}={value:?}");
            } else {
                assert_eq!(child.wait().unwrap().code(), Some(78), "{name}={value:?}: {first}");
                assert_eq!((first["level"].as_str(), log.lines().count()), (Some("ERROR"), 0), "{name}={value:?}");
                let message = first["message"].as_str().unwrap();
                assert!(message.contains("AWS_") && !message.contains('\n'), "{name}={value:?}: {message}");
            }
            let mut panics = String::new();
            child.stderr.take().unwrap().read_to_string(&mut panics).unwrap();
            assert_eq!(panics, "", "{name}={value:?}");
        }
    };
    thread::scope(|scope| {
        for names in OF_AWS.chunks(OF_AWS.len().div_ceil(4)) {
            scope.spawn(move || names.iter().for_each(|name| try_all(name)));
        }
    });
}

#[test]
fn any_value_in_a_profile_gives_a_running_service_or_a_one_line_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    let named = [("AWS_CONFIG_FILE", file.to_str().unwrap())];
    for (text, expected) in [
        ("[default]\nretry_mode = legacy\nmax_attempts = 5\n", None),
        ("[default]\nretry_mode = never\n", Some("retry_mode of profile default is \"never\"")),
        ("[default]\nmax_attempts = 0\n", Some("max_attempts of profile default is \"0\"")),
        ("[default]\nendpoint_url = here\n", Some("endpoint_url of profile default is \"here\"")),
        ("[default]\nuse_fips_endpoint = 1\n", Some("use_fips_endpoint of profile default is \"1\"")),
        ("[default\nregion = x\n", Some("the AWS configuration cannot be read")),
    ] {
        std::fs::write(&file, text).unwrap();
        let command = program(&dir, &[ENOUGH, &named].concat());
        match expected {
            None => assert_eq!(start(command).stop(Signal::TERM), Some(0)),
            Some(expected) => refused(command, expected),
        }
    }
    let without_keys: Vec<_> = ENOUGH.iter().filter(|(name, _)| !name.contains("KEY")).copied().collect();
    let missing = [&without_keys[..], &named, &[("AWS_PROFILE", "work")]].concat();
    std::fs::write(&file, "[default]\n").unwrap();
    refused(program(&dir, &missing), "AWS_PROFILE is \"work\", and the AWS configuration has no such profile");
}

#[test]
fn missing_ca_certificates_are_reported_where_they_are_needed() {
    let dir = tempfile::tempdir().unwrap();
    let (nothing, empty) = (dir.path().join("nothing"), dir.path().join("empty"));
    std::fs::write(&empty, "").unwrap();
    for file in [nothing, empty] {
        let file = [("SSL_CERT_FILE", file.to_str().unwrap())];
        refused(program(&dir, &[ENOUGH, &file].concat()), "this machine has no CA certificates to verify https://");
        let plain = [("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_MAX_ATTEMPTS", "1")];
        let keys = [("AUTH", "jwt"), ("JWT_AUDIENCE", "a"), ("JWT_JWKS_URL", "https://login.example/keys")];
        refused(program(&dir, &[ENOUGH, &plain, &keys, &file].concat()), "to verify https://login.example/keys");
        let mut running = start(program(&dir, &[ENOUGH, &plain, &file].concat()));
        assert!(ask(&running.address, "GET /posts", "", "").starts_with("HTTP/1.1 503 "));
        assert_eq!(running.stop(Signal::TERM), Some(0));
    }
}

/// Asserts that the program exits with the code of bad settings, and that its only error contains `expected`.
fn refused(mut command: Command, expected: &str) {
    let output = command.output().unwrap();
    let log = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(78), "{log}");
    let errors: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let errors: Vec<&Value> = errors.iter().filter(|line| line["level"] == "ERROR").collect();
    assert!(errors.len() == 1 && errors[0]["message"].as_str().unwrap().contains(expected), "{log}");
}

#[test]
fn every_variable_is_in_the_readme() {
    let read = RefCell::new(BTreeSet::new());
    let shared = [("AUTH", "jwt"), ("JWT_SECRET", "0123456789abcdef0123456789abcdef"), ("JWT_AUDIENCE", "a")];
    let published = [("AUTH", "jwt"), ("JWT_JWKS_URL", "https://issuer.example/keys"), ("JWT_AUDIENCE", "a")];
    for more in [&[][..], &shared, &published, &[("BUCKET", "")]] {
        let given = [&[("BUCKET", "images"), ("DYNAMO_TABLE", "posts")], more].concat();
        let _ = Settings::read(|name| {
            read.borrow_mut().insert(name);
            given.iter().rev().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned())
        });
    }
    let (read, readme) = (read.into_inner(), include_str!("../../README.md"));
    assert!(read.len() > 15, "{read:?}");
    for name in read {
        assert!(readme.contains(&format!("`{name}`")), "{name} has no row in service/README.md");
    }
}

#[test]
fn a_signal_stops_it_without_waiting_for_idle_connections() {
    let dir = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let mut running = start(program(&dir, ENOUGH));
        let mut idle = TcpStream::connect(&running.address).unwrap();
        idle.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = [0; 15];
        idle.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        let _silent = TcpStream::connect(&running.address).unwrap();
        assert_eq!(running.stop(signal), Some(0));
        assert!(TcpStream::connect(&running.address).is_err());
    }
}

#[test]
fn requests_in_flight_are_finished_after_a_stop_signal() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = start(program(&dir, ENOUGH));
    let begin = |_| {
        let mut slow = TcpStream::connect(&running.address).unwrap();
        slow.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            .unwrap();
        // When the service asks for the body, the request is in progress.
        let mut go_on = [0; 25];
        slow.read_exact(&mut go_on).unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        slow
    };
    // At least one for each of the service's threads.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let all: Vec<TcpStream> = (0..=threads).map(begin).collect();
    running.send(Signal::TERM);
    while TcpStream::connect(&running.address).is_ok() {}
    for mut slow in all {
        slow.write_all(b"{}").unwrap();
        let mut answer = String::new();
        slow.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[test]
fn its_log_has_a_line_for_each_request_and_no_user_data() {
    let dir = tempfile::tempdir().unwrap();
    // The port is closed, so that connections are refused immediately.
    let nowhere = [("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_MAX_ATTEMPTS", "1")];
    let mut running = start(program(&dir, &[ENOUGH, &nowhere].concat()));
    let root = "1-67891233-abcdef012345678912345678";
    let trace = format!("X-Amzn-Trace-Id: Self=1-67891234-12456789abcdef012345678;Root={root}\r\n");
    let answer = ask(&running.address, "GET /posts?user=Discreet", &trace, "");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains(&format!("x-request-id: {root}\r\n")), "{answer}");
    let author = "Authorization: Discreet\r\nContent-Type: application/json\r\n";
    let body = r#"{"title":"Discreet","body":"Discreet"}"#;
    let answer = ask(&running.address, "POST /posts", author, body);
    let (_, id) = answer.split_once("x-request-id: ").unwrap();
    let id = id[..32].to_owned();
    ask(&running.address, "DELETE /posts/Discreet", author, "");
    ask(&running.address, "GET /Discreet", "", "");
    // These requests are frequent, and only logged at a more verbose level.
    ask(&running.address, "GET /health", "", "");
    ask(&running.address, "OPTIONS /posts", "", "");
    assert_eq!(running.stop(Signal::TERM), Some(0));

    let log = running.rest_of_the_log();
    assert!(!log.iter().any(|line| line.to_string().contains("Discreet")), "{log:?}");
    let lines: Vec<&Value> = log.iter().filter(|line| line["message"] == "answered").collect();
    let of = |name| lines.iter().map(|line| line[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("method"), ["GET", "POST", "DELETE", "GET"]);
    assert_eq!(of("path"), ["/posts", "/posts", "/posts/:id", "other"]);
    assert_eq!(of("status"), [503, 503, 404, 404]);
    assert_eq!(of("request")[..2], [root, &id]);
    assert!(lines.iter().all(|line| line["ms"].is_f64()));
    assert!(lines[0]["cause"].is_string() && lines[0]["level"] == "WARN" && lines[3]["level"] == "INFO");
}

#[test]
fn its_log_has_the_request_id_of_a_refusal_by_aws_and_not_its_message() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = refusing();
    let mut running = start(program(&dir, &[ENOUGH, &[("AWS_ENDPOINT_URL", &endpoint)]].concat()));
    let post = "DELETE /posts/018f2f6e-0000-7000-8000-00000000000a";
    assert!(ask(&running.address, post, "Authorization: Discreet\r\n", "").starts_with("HTTP/1.1 500 "));
    assert!(ask(&running.address, "GET /posts?user=Discreet", "", "").starts_with("HTTP/1.1 500 "));
    assert_eq!(running.stop(Signal::TERM), Some(0));
    let log = running.rest_of_the_log();
    assert!(!log.iter().any(|line| line.to_string().contains("Discreet")), "{log:?}");
    let lines: Vec<&Value> = log.iter().filter(|line| line["message"] == "answered").collect();
    let causes: Vec<&Value> = lines.iter().map(|line| &line["cause"]).collect();
    assert_eq!(
        causes,
        [
            "S3 answers ListObjectsV2 with 403, AccessDenied, to request R1",
            "DynamoDB answers Query with 400, AccessDeniedException, to request R1",
        ]
    );
    assert!(lines.iter().all(|line| line["level"] == "ERROR"));
}

/// Serves an AWS that has every row and refuses everything else, with names in its error messages; returns the address.
fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(|| refuse(stream.unwrap()));
        }
    });
    address
}

fn refuse(mut stream: TcpStream) {
    let mut request = BufReader::new(&stream);
    let lines: Vec<String> = request.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
    let head = lines.join("\n");
    let length = lines.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    request.read_exact(&mut vec![0; length.unwrap_or(0)]).unwrap();
    let (status, body) = if head.contains("GetItem") {
        ("200 OK", r#"{"Item":{"id":{"S":"x"}}}"#)
    } else if head.contains("DynamoDB") {
        ("400 Bad Request", r#"{"__type":"x#AccessDeniedException","message":"not for key USER#Discreet"}"#)
    } else {
        ("403 Forbidden", "<Error><Code>AccessDenied</Code><Message>not for Discreet/x/cat.jpg</Message></Error>")
    };
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    let id = "x-amz-request-id: R1\r\nx-amzn-requestid: R1\r\n";
    stream.write_all(format!("{head}{id}\r\n{body}").as_bytes()).unwrap();
}

#[test]
fn a_client_that_disconnects_early_is_logged_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    // The server accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let more = [("AWS_ENDPOINT_URL", &*endpoint), ("METRICS_PORT", "0")];
    let mut running = start(program(&dir, &[ENOUGH, &more].concat()));
    let metrics = running.next_line()["address"].as_str().unwrap().to_owned();
    let wait_for = |line: &str| while !ask(&metrics, "GET /metrics", "", "").lines().any(|found| found == line) {};
    let mut leaving = TcpStream::connect(&running.address).unwrap();
    leaving.write_all(b"GET /posts?user=Discreet HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    wait_for("postagram_requests_under_way 1");
    drop(leaving);
    wait_for(r#"postagram_requests_unanswered_total{method="GET",path="/posts"} 1"#);
    wait_for("postagram_requests_under_way 0");
    assert_eq!(running.stop(Signal::TERM), Some(0));
    let log = running.rest_of_the_log();
    let line = log.iter().find(|line| line["message"] == "unanswered").unwrap();
    assert_eq!((&line["method"], &line["path"], &line["level"]), (&"GET".into(), &"/posts".into(), &"INFO".into()));
    assert!(line["ms"].is_f64() && line["request"].as_str().unwrap().len() == 32, "{line}");
}

#[test]
fn metrics_are_served_on_their_own_listener_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = start(program(&dir, &[ENOUGH, &[("METRICS_PORT", "0")]].concat()));
    let metrics = running.next_line();
    assert_eq!((&metrics["message"], &metrics["what"]), (&"listening".into(), &"metrics".into()));
    let metrics = metrics["address"].as_str().unwrap();
    assert!(metrics.starts_with("127.0.0.1:"), "{metrics}");
    assert!(ask(&running.address, "GET /metrics", "", "").starts_with("HTTP/1.1 404 "));
    assert!(ask(&running.address, "GET /health", "", "").starts_with("HTTP/1.1 200 "));
    let text = ask(metrics, "GET /metrics", "", "");
    for line in [
        r#"postagram_requests_total{method="GET",path="other",status="404"} 1"#,
        r#"postagram_requests_total{method="GET",path="/health",status="200"} 1"#,
        r#"postagram_request_duration_seconds_count{method="GET",path="/health"} 1"#,
        "postagram_requests_under_way 0",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
    assert!(ask(metrics, "GET /posts", "", "").starts_with("HTTP/1.1 404 "));
    assert_eq!(running.stop(Signal::TERM), Some(0));
}

/// Sends a request and returns the whole answer.
fn ask(address: &str, what: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!("{what} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n");
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The running program.
struct Running {
    child: Child,
    address: String,
    log: BufReader<ChildStdout>,
}

/// Starts the program; the address that it listens at is in its first log line.
fn start(mut command: Command) -> Running {
    let mut child = command.spawn().unwrap();
    let log = BufReader::new(child.stdout.take().unwrap());
    let mut running = Running { child, address: String::new(), log };
    let line = running.next_line();
    assert_eq!((&line["message"], &line["what"]), (&"listening".into(), &"service".into()));
    running.address = line["address"].as_str().unwrap().to_owned();
    running
}

/// No process is left, however a test ends.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn next_line(&mut self) -> Value {
        let mut line = String::new();
        self.log.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Reads the log until the program ends.
    fn rest_of_the_log(&mut self) -> Vec<Value> {
        let lines = self.log.by_ref().lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap());
        lines.collect()
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn stop(&mut self, signal: Signal) -> Option<i32> {
        self.send(signal);
        self.child.wait().unwrap().code()
    }
}
