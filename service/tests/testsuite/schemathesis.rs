//! Independent tests: schemathesis reads the OpenAPI document and sends valid and invalid requests, with all of its
//! checks enabled.

use serde_json::json;
use service::Limits;

use crate::support::tokens::{SETTINGS, bearer, claims};
use crate::support::{TestService, uuid};

/// The seed of the test cases: the same in every run, unless this variable sets another.
const SEED: &str = "7";
const OTHER_SEED: &str = "SCHEMATHESIS_SEED";
const CASES_OF_EACH_OPERATION: &str = "40";

#[tokio::test(flavor = "multi_thread")]
async fn the_service_conforms_to_its_api_document() {
    let service = TestService::start().await;
    let with_tokens = service.otherwise(&SETTINGS, Limits::default()).await;
    let token = bearer(&claims("ada"));
    let all = schemathesis(&service, &with_tokens, &token, &[]);
    // Without tokens, every name is believed, so no request can be refused because of it.
    let believing = schemathesis(&service, &service.base, "ada", &["--exclude-checks", "ignored_auth"]);
    let (all, believing) = tokio::join!(all, believing);
    assert!(all.is_none(), "{}", all.unwrap());
    assert!(believing.is_none(), "{}", believing.unwrap());
    service.end().await;
}

/// Runs it as this author, who is ada; returns its output if it reports a problem.
async fn schemathesis(service: &TestService, base: &str, author: &str, more: &[&str]) -> Option<String> {
    let program = testkit::programs::tool("bin/schemathesis");
    // Upload URLs need an existing post, and so do the pages of a post and its picture.
    let post = reqwest::Client::new().post(format!("{base}/posts")).header("Authorization", author);
    let post = post.json(&json!({ "title": "t", "body": "b" })).send().await.unwrap().json().await.unwrap();
    let post = uuid(&post);
    service.label("ada", &post, &format!("ada/{post}/cat.jpg"), &["Cat"]).await;
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "[[operations]]\ninclude-path = [\"/signedUrlPut\", \"/getSignedUrlPut\"]\nparameters = {{ postId = {post:?} }}\n\
         [[operations]]\ninclude-path = [\"/@{{user}}/{{id}}\", \"/@{{user}}/{{id}}/image\"]\n\
         parameters = {{ user = \"ada\", id = {post:?} }}\n",
    );
    std::fs::write(dir.path().join("schemathesis.toml"), config).unwrap();
    let seed = std::env::var(OTHER_SEED).unwrap_or_else(|_| SEED.to_owned());
    let mut command = tokio::process::Command::new(program);
    command
        .args(["--config-file", "schemathesis.toml", "run", &format!("{base}/openapi.json"), "--checks", "all"])
        .args([
            "--seed",
            &seed,
            "--max-examples",
            CASES_OF_EACH_OPERATION,
            "--generation-database",
            "none",
            "--no-color",
        ])
        .args(["--header", &format!("Authorization: {author}")])
        .args(more)
        .current_dir(&dir)
        .kill_on_drop(true);
    let said = command.output().await.unwrap();
    let text = String::from_utf8_lossy(&said.stdout) + String::from_utf8_lossy(&said.stderr);
    let content = said.status.success() && text.contains("No issues found");
    (!content).then(|| text.into_owned())
}
