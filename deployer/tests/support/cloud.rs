//! Our own AWS inside a test, with clients to look behind the deployer's back.

use deployer::cloud::aws::{Access, Aws, Local};

use super::{Project, Said};

/// A local AWS of this test's own.
pub struct Ours {
    cloud: local::Cloud,
    folder: tempfile::TempDir,
    /// The account's own clients.
    pub aws: Aws,
}

/// Starts one.
pub async fn ours() -> Ours {
    ours_in("us-east-1").await
}

/// Starts one in a region: it refuses what is signed for another.
pub async fn ours_in(region: &str) -> Ours {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let options = local::Options { dir: folder.path().to_owned(), port: 0, region: region.into() };
    let cloud = local::Cloud::start(options).await.expect("the local AWS starts");
    let aws = connect(&cloud.endpoint(), region).await;
    Ours { cloud, folder, aws }
}

async fn connect(endpoint: &str, region: &str) -> Aws {
    let local = Local {
        endpoint: endpoint.to_owned(),
        access_key: local::ACCESS_KEY.into(),
        secret_key: local::SECRET_KEY.into(),
    };
    Aws::connect(&Access {
        region: region.into(),
        profile: None,
        local: Some(local),
        answer_within: std::time::Duration::from_secs(30),
        paced: false,
    })
    .await
    .expect("nothing of our local AWS is configured")
}

impl Ours {
    pub fn endpoint(&self) -> String {
        self.cloud.endpoint()
    }

    /// The deployer, as if this were AWS.
    pub fn command(&self, project: &Project, arguments: &[&str]) -> tokio::process::Command {
        let endpoint = self.endpoint();
        let environment = [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", local::ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", local::SECRET_KEY),
        ];
        let mut command = tokio::process::Command::from(project.command(arguments, &environment));
        command.kill_on_drop(true).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command
    }

    pub async fn run(&self, project: &Project, arguments: &[&str]) -> Said {
        self.command(project, arguments).output().await.expect("the deployer can be started").into()
    }

    pub async fn done(&self, project: &Project, arguments: &[&str]) -> Said {
        let said = self.run(project, arguments).await;
        assert_eq!(said.code, 0, "deployer {arguments:?}: {}", said.all());
        said
    }

    /// Runs it at a terminal, where these lines are typed.
    pub async fn at_a_terminal(&self, project: &Project, arguments: &[&str], typed: &[&str]) -> Said {
        let plain = self.command(project, arguments);
        let plain = plain.as_std();
        let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_string_lossy());
        let line: Vec<String> = std::iter::once(plain.get_program()).chain(plain.get_args()).map(quoted).collect();
        let mut script = tokio::process::Command::new("script");
        script.args(["--quiet", "--return", "--echo", "never", "--command", &line.join(" "), "/dev/null"]);
        script.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script.current_dir(project.path()).kill_on_drop(true);
        script.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = script.spawn().expect("`script` (of util-linux) lends a terminal");
        let mut keyboard = child.stdin.take().expect("it is piped");
        for line in typed {
            use tokio::io::AsyncWriteExt;
            keyboard.write_all(format!("{line}\n").as_bytes()).await.expect("it can be typed");
        }
        // The keyboard stays plugged in until the program has ended.
        let output = child.wait_with_output().await.expect("it ends");
        drop(keyboard);
        output.into()
    }

    pub async fn tables(&self) -> Vec<String> {
        let mut names = self.aws.dynamodb.list_tables().send().await.expect("tables").table_names().to_vec();
        names.sort();
        names
    }

    pub async fn buckets(&self) -> Vec<String> {
        let buckets = self.aws.s3.list_buckets().send().await.expect("buckets");
        buckets.buckets().iter().filter_map(|bucket| bucket.name().map(str::to_owned)).collect()
    }

    pub async fn end(self) {
        self.cloud.stop().await;
        drop(self.folder);
    }
}
