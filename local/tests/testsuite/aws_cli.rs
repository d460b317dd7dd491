//! The AWS CLI creates, reads back, uses and deletes the whole Postagram stack.

use std::path::Path;

use testkit::LocalAws;
use testkit::programs::tool;

#[tokio::test(flavor = "multi_thread")]
async fn the_aws_cli_makes_reads_back_uses_and_deletes_the_whole_stack() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cli = tool("aws-cli/bin/aws");
    let files = tempfile::tempdir().unwrap();
    let aws = LocalAws::start().await;
    let script = tokio::process::Command::new(here.join("tests/testsuite/support/postagram.sh"))
        .arg(cli)
        .arg(aws.endpoint())
        .arg(files.path())
        .kill_on_drop(true)
        .output();
    let output = script.await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    aws.stop().await;
}
