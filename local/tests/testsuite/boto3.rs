//! An independent client, boto3, creates, reads back, uses and deletes the whole Postagram stack.

use std::path::Path;

use testkit::LocalAws;
use testkit::programs::tool;

#[tokio::test(flavor = "multi_thread")]
async fn boto3_makes_reads_back_uses_and_deletes_the_whole_stack() {
    run("postagram.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_keeps_values_in_secrets_manager_and_parameter_store() {
    run("values.py").await;
}

/// Runs a script against a local AWS of its own.
async fn run(script: &str) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = tool("bin/python");
    let aws = LocalAws::start().await;
    let script = tokio::process::Command::new(python)
        .arg(here.join("tests/testsuite/support").join(script))
        .arg(aws.endpoint())
        .kill_on_drop(true)
        .output();
    let output = script.await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    aws.stop().await;
}
