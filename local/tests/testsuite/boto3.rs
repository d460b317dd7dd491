//! An independent client, boto3, creates, reads back, uses and deletes the whole Postagram stack.

use testkit::LocalAws;
use testkit::programs::tool;

use crate::support::script;

#[tokio::test(flavor = "multi_thread")]
async fn boto3_makes_reads_back_uses_and_deletes_the_whole_stack() {
    run("postagram.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_keeps_values_in_secrets_manager_and_parameter_store() {
    run("values.py").await;
}

/// Runs a script against a local AWS of its own.
async fn run(name: &str) {
    let aws = LocalAws::start().await;
    script::run(tool("bin/python"), name, &[aws.endpoint().as_ref()]).await;
    aws.stop().await;
}
