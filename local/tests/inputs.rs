//! What strangers may send: the corpus of the fuzzers once more, and what is too large to be kept in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use local::inputs::{self, Doors};

/// Far beyond what the largest of these takes: only what would never end is cut off.
const PATIENCE: Duration = Duration::from_secs(120);
/// The size of a large request's body in bytes.
const LARGE: usize = 10 << 20;

fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).expect("the corpus is there").map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 5, "{target}: a corpus of {} files", files.len());
    files
}

/// Puts a text to a new local AWS, which must open again on what it has written.
async fn put(text: &[u8]) -> Vec<u16> {
    let dir = tempfile::tempdir().unwrap();
    let statuses = tokio::time::timeout(PATIENCE, async {
        let doors = Doors::open(dir.path()).await.unwrap();
        let statuses = doors.put(text).await;
        doors.close().await;
        statuses
    });
    let statuses = statuses.await.expect("it comes to an end");
    Doors::open(dir.path()).await.expect("what was written can be read").close().await;
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_of_the_corpus_is_answered_and_what_it_wrote_opens_again() {
    let mut accepted = 0;
    for file in corpus("calls") {
        let statuses = put(&fs::read(&file).unwrap()).await;
        let broken = statuses.iter().filter(|status| **status >= 500 && **status != 501).count();
        assert_eq!(broken, 0, "{}: {statuses:?}", file.display());
        accepted += statuses.iter().filter(|status| **status < 300).count();
    }
    // The corpus reaches what lies behind the first check.
    assert!(accepted > 150, "{accepted} accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn user_data_reaches_nothing_outside_its_instance() {
    for file in corpus("user_data") {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        tokio::time::timeout(PATIENCE, inputs::boot(&root, &text)).await.expect("it comes to an end");
        let beside: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(beside, ["root"], "{}", file.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_and_deep_requests_are_answered() {
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
    ];
    for (what, text) in cases {
        let statuses = put(&text).await;
        assert!(statuses.iter().all(|status| *status < 500), "{what}: {statuses:?}");
    }
}
