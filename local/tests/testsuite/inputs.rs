//! Untrusted input: the corpus of the fuzzers, and inputs too large to be stored in it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use local::inputs::{self, Doors};
use testkit::inputs::{corpus, limited};
use testkit::programs::example;

/// Far more than the largest input takes: only an endless loop is cut off.
const PATIENCE: Duration = Duration::from_secs(120);
/// The size of a large request's body in bytes.
const LARGE: usize = 10 << 20;

/// Passes a text to a new local AWS, which must afterwards open again on the state that it has written.
async fn put(text: &[u8]) -> Vec<u16> {
    let dir = tempfile::tempdir().unwrap();
    let statuses = tokio::time::timeout(PATIENCE, async {
        let doors = Doors::open(dir.path()).await.unwrap();
        let statuses = doors.put(text).await;
        doors.close().await;
        statuses
    });
    let statuses = statuses.await.expect("it ends within the time limit");
    Doors::open(dir.path()).await.expect("the written state can be read").close().await;
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_of_the_corpus_is_answered_and_leaves_a_readable_state() {
    let mut accepted = 0;
    for file in corpus("calls") {
        let statuses = put(&fs::read(&file).unwrap()).await;
        let broken = statuses.iter().filter(|status| !is_orderly(status)).count();
        assert_eq!(broken, 0, "{}: {statuses:?}", file.display());
        accepted += statuses.iter().filter(|status| **status < 300).count();
    }
    // The corpus also contains requests that pass validation.
    assert!(accepted > 150, "{accepted} accepted");
}

/// Endpoints other than the API are reached, too: the server's own pages, its check of the host, load balancers,
/// metadata and the runtime API of functions.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_endpoint_answers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/calls");
    let doors = [("own_pages", 200), ("hosts", 403), ("balancer_heads", 301), ("metadata", 200), ("runtime", 202)];
    for (name, status) in doors {
        let statuses = put(&fs::read(folder.join(name)).unwrap()).await;
        assert!(statuses.contains(&status), "{name}: {statuses:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn user_data_reaches_nothing_outside_its_instance() {
    for file in corpus("user_data") {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        tokio::time::timeout(PATIENCE, inputs::boot(&root, &text)).await.expect("it ends within the time limit");
        let beside: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(beside, ["root"], "{}", file.display());
    }
}

/// Whether the status is an expected one: 501 names something that is not implemented, which is not a failure of the
/// server.
fn is_orderly(status: &u16) -> bool {
    *status < 500 || *status == 501
}

#[test]
fn large_and_deep_requests_are_answered_within_limits_of_memory_and_time() {
    let json = |body: &str| {
        format!("POST / HTTP/1.1\nservice: dynamodb\nx-amz-target: DynamoDB_20120810.PutItem\n\n{body}").into_bytes()
    };
    let form = |body: &str| {
        format!("POST / HTTP/1.1\nservice: ec2\ncontent-type: application/x-www-form-urlencoded\n\nAction=DescribeTags&{body}")
            .into_bytes()
    };
    let xml = |body: &str| {
        format!("PUT /photos HTTP/1.1\nservice: s3\n\n\n%%\nPUT /photos?cors HTTP/1.1\nservice: s3\n\n{body}")
            .into_bytes()
    };
    let deletion = |body: &str| {
        format!("PUT /photos HTTP/1.1\nservice: s3\n\n\n%%\nPOST /photos?delete HTTP/1.1\nservice: s3\n\n{body}")
            .into_bytes()
    };
    let own = |method: &str, page: &str, body: &str| {
        let called = "POST / HTTP/1.1\nservice: dynamodb\nx-amz-target: DynamoDB_20120810.ListTables\n\n{}";
        format!("{method} /_local/{page} HTTP/1.1\n\n{body}\n%%\n{called}").into_bytes()
    };
    let door = |door: &str, line: &str, head: &str, body: &str| {
        format!("{line} HTTP/1.1\ndoor: {door}\n{head}\n\n{body}").into_bytes()
    };
    let rule = format!(
        "{{\"match\":{{\"operation\":\"{}\",\"contains\":\"{}\"}},\"fault\":\"500\"}}",
        "*a".repeat(LARGE / 4),
        "a".repeat(LARGE / 2)
    );
    let cases = [
        ("deep JSON", json(&"[".repeat(LARGE))),
        ("a long text", json(&format!("{{\"TableName\":\"{}\"}}", "x".repeat(LARGE)))),
        ("a deep parameter", form(&format!("{}=1", "a.".repeat(LARGE / 2)))),
        ("many parameters", form(&"a=1&".repeat(LARGE / 4))),
        ("deep XML", xml(&"<a>".repeat(LARGE / 3))),
        ("many rules", xml(&format!("<CORSConfiguration>{}</CORSConfiguration>", "<CORSRule/>".repeat(LARGE / 11)))),
        (
            "an XML bomb",
            xml(
                "<!DOCTYPE a [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><CORSConfiguration><CORSRule><AllowedOrigin>&b;&b;</AllowedOrigin></CORSRule></CORSConfiguration>",
            ),
        ),
        (
            "many deletions",
            deletion(&format!("<Delete>{}</Delete>", "<Object><Key>a</Key></Object>".repeat(LARGE / 29))),
        ),
        ("a long host", format!("GET / HTTP/1.1\nhost: {}.localhost\nservice: s3\n\n", "a.".repeat(LARGE / 2)).into()),
        ("a deep rule of faults", own("POST", "faults", &"[".repeat(LARGE))),
        ("a rule about everything", own("POST", "faults", &rule)),
        (
            "many kinds of chaos",
            own("PUT", "chaos", &format!("{{\"kinds\":[{}\"slow\"]}}", "\"slow\",".repeat(LARGE / 7))),
        ),
        ("a long head", door("balancer", "GET /", &format!("host: a\nx: {}", "y".repeat(LARGE)), "")),
        (
            "a head of many words",
            door("balancer", "GET /", &format!("host: a\nconnection: {}", "x-y,".repeat(LARGE / 4)), ""),
        ),
        (
            "a long token",
            door("metadata", "GET /latest/meta-data/", &format!("x-aws-ec2-metadata-token: {}", "k".repeat(LARGE)), ""),
        ),
        (
            "a large answer of a function",
            door("runtime", "POST /2018-06-01/runtime/invocation/known/response", "x: y", &"1".repeat(LARGE)),
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("requests");
    for (what, text) in cases {
        fs::write(&file, text).unwrap();
        let output = limited(Command::new(example("put")).arg(&file)).output().expect("a shell can be started");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what}: {} {}", output.status, errors.chars().take(2000).collect::<String>());
        let printed = String::from_utf8_lossy(&output.stdout);
        let statuses: Vec<u16> = printed.lines().map(|status| status.parse().expect("a status")).collect();
        assert!(!statuses.is_empty() && statuses.iter().all(is_orderly), "{what}: {statuses:?}");
    }
}
