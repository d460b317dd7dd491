//! The AWS CLI creates, reads back, uses and deletes the whole Postagram stack.

use testkit::LocalAws;
use testkit::programs::tool;

use crate::support::script;

#[tokio::test(flavor = "multi_thread")]
async fn the_aws_cli_makes_reads_back_uses_and_deletes_the_whole_stack() {
    let cli = tool("aws-cli/bin/aws");
    let files = tempfile::tempdir().unwrap();
    let aws = LocalAws::start().await;
    let endpoint = aws.endpoint();
    script::run("bash", "postagram.sh", &[cli.as_ref(), endpoint.as_ref(), files.path().as_ref()]).await;
    aws.stop().await;
}
