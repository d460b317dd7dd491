//! Status that is shown again and again.

use std::{path::Path, process::Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::ls::elsewhere;
use super::small;
use crate::support::cloud::TestAws;
use crate::support::terminal::{CTRL_C, Terminal};

#[tokio::test(flavor = "multi_thread")]
async fn status_is_shown_again_until_it_is_interrupted() {
    let (cloud, project) = (TestAws::start().await, small("s", "us-east-1"));
    cloud.done(&project, &["up", "--yes"]).await;

    // On a terminal, in place of the one before.
    let mut terminal = Terminal::of(&cloud.command(&project, &["status", "--watch", "1"]));
    for _ in 0..2 {
        terminal.see("\u{1b}[Hs in account 000000000000").await;
        terminal.see("table posts").await;
        terminal.see("\u{1b}[J").await;
    }
    terminal.press(CTRL_C).await;
    assert_eq!(terminal.end().await.code, 130);

    // Elsewhere, one block or one document after the other.
    let mut command = cloud.command(&project, &["status", "--watch", "1", "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the deployer can be started");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    cloud.aws.dynamodb.delete_table().table_name("s-posts").send().await.expect("it can be deleted");
    let mut seen = 0;
    loop {
        let line = lines.next_line().await.expect("it can be read").expect("a line");
        let status: Value = serde_json::from_str(&line).expect("each line is a document");
        seen += 1;
        if seen > 1 && status["tables"][0]["state"] == "ABSENT" {
            assert_eq!(status["healthy"], false);
            break;
        }
    }
    let id = i32::try_from(child.id().expect("it runs")).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(id, Signal::INT).expect("it can be signalled");
    assert_eq!(child.wait().await.expect("it ends").code(), Some(130));

    // A reader that has seen enough ends it.
    let text = cloud.command(&project, &["status", "--watch", "1"]);
    let mut text = text.into_std();
    let mut text = text.stdout(Stdio::piped()).spawn().expect("the deployer can be started");
    drop(text.stdout.take());
    assert!(text.wait().expect("it ends").success());
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// Follows the instructions of `ls` for a stack, word for word.
pub(super) async fn follow(cloud: &TestAws, folder: &Path, stack: &Value) {
    let remove = &stack["remove"];
    let commands = remove["commands"].as_array().expect("commands");
    if let Some(text) = remove["stack_yaml"].as_str() {
        let name = stack["name"].as_str().expect("a name");
        std::fs::write(folder.join(format!("{name}.yaml")), text).expect("the folder can be written to");
    }
    for command in commands {
        let mut words = command.as_str().expect("a command").split(' ');
        assert_eq!(words.next(), Some("deployer"));
        let said = elsewhere(cloud, folder, &words.chain(["--yes"]).collect::<Vec<_>>()).await;
        // 3: tables and buckets that are no longer described are kept by `up`.
        assert!([0, 3].contains(&said.code), "{command}: {}", said.all());
    }
}
