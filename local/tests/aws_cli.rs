//! The AWS CLI makes, reads back, uses and deletes the whole Postagram stack.

use std::path::Path;

use local::{Cloud, Options};

#[tokio::test(flavor = "multi_thread")]
async fn the_aws_cli_makes_reads_back_uses_and_deletes_the_whole_stack() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cli = here.join("../.venv/aws-cli/bin/aws");
    assert!(cli.is_file(), "the AWS CLI is not there: run .ci/setup");
    let (dir, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = Options { dir: dir.path().to_owned(), port: 0, region: "us-east-1".to_owned() };
    let cloud = Cloud::start(options).await.unwrap();
    let script = tokio::process::Command::new(here.join("tests/support/postagram.sh"))
        .arg(cli)
        .arg(cloud.endpoint())
        .arg(files.path())
        .kill_on_drop(true)
        .output();
    let said = script.await.unwrap();
    let text = String::from_utf8_lossy(&said.stdout) + String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{text}");
    cloud.stop().await;
}
