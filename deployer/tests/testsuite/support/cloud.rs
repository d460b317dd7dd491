//! A test's own local AWS, with clients that bypass the deployer.

use std::time::Duration;

use deployer::cloud::aws::{Aws, ConnectOptions, Local};
use testkit::{LocalAws, until};

use super::{Project, RunOutput, terminal::Terminal};

/// The credentials of the account's user.
pub const KEYS: (&str, &str) = (local::ACCESS_KEY, local::SECRET_KEY);

/// A local AWS, and a client of each of its services.
pub struct TestAws {
    local: LocalAws,
    pub aws: Aws,
}

/// Clients of the AWS at `endpoint` with these credentials, in us-east-1.
pub async fn connect(endpoint: &str, keys: (&str, &str)) -> Aws {
    connect_in("us-east-1", endpoint, keys).await
}

async fn connect_in(region: &str, endpoint: &str, keys: (&str, &str)) -> Aws {
    let local = Local { endpoint: endpoint.into(), access_key: keys.0.into(), secret_key: keys.1.into() };
    let answer_within = Duration::from_secs(30);
    Aws::connect(&ConnectOptions {
        region: region.into(),
        profile: None,
        local: Some(local),
        answer_within,
        paced: false,
    })
    .await
    .expect("nothing of our local AWS is configured")
}

/// Puts an object into the images bucket.
pub async fn upload(endpoint: &str, keys: (&str, &str), key: &str) {
    let aws = connect(endpoint, keys).await;
    let buckets = aws.s3.list_buckets().send().await.expect("buckets");
    let images = buckets.buckets().iter().filter_map(|it| it.name()).find(|it| it.contains("-images-"));
    let put = aws.s3.put_object().bucket(images.expect("there is a bucket for images")).key(key);
    put.body(b"a picture".to_vec().into()).send().await.expect("an object can be put");
}

/// Waits until a bucket's notification is in force, which takes S3 some minutes (docs/aws.md §4.6): from then on the
/// labeler removes a picture without a post.
pub async fn notification_is_in_force(aws: &Aws, bucket: &str) {
    let key = "no-one/018f0000-0000-7000-8000-000000000001/018f0000-0000-7000-8000-000000000002nothing.jpg";
    let picture = || aws.s3.put_object().bucket(bucket).key(key).body(b"no picture".to_vec().into());
    until("the notification to be in force", async || {
        picture().send().await.expect("an object can be put");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let listed = aws.s3.list_objects_v2().bucket(bucket).prefix(key).send().await.expect("a list");
        listed.contents().is_empty()
    })
    .await;
}

impl TestAws {
    pub async fn start() -> TestAws {
        TestAws::of(LocalAws::start().await, "us-east-1").await
    }

    /// Starts one that is this much faster than AWS.
    pub async fn start_at(speed: local::Speed) -> TestAws {
        TestAws::of(LocalAws::start_with(local::Conditions { speed, ..Default::default() }).await, "us-east-1").await
    }

    /// Starts one with an account of this kind.
    pub async fn of_kind(kind: local::AccountKind) -> TestAws {
        TestAws::of(LocalAws::start_with(kind).await, "us-east-1").await
    }

    /// Starts one for a region: it refuses requests signed for another.
    pub async fn start_in_region(region: &str) -> TestAws {
        TestAws::of(LocalAws::start_in_region(region).await, region).await
    }

    async fn of(local: LocalAws, region: &str) -> TestAws {
        let aws = connect_in(region, &local.endpoint(), KEYS).await;
        TestAws { local, aws }
    }

    pub fn endpoint(&self) -> String {
        self.local.endpoint()
    }

    /// The client for its journal, its fault rules and its chaos.
    pub fn control(&self) -> testkit::Control {
        self.local.control()
    }

    /// The deployer's command, configured with this AWS as if it were the real one.
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

    pub async fn run(&self, project: &Project, arguments: &[&str]) -> RunOutput {
        self.command(project, arguments).output().await.expect("the deployer can be started").into()
    }

    pub async fn done(&self, project: &Project, arguments: &[&str]) -> RunOutput {
        let said = self.run(project, arguments).await;
        assert_eq!(said.code, 0, "deployer {arguments:?}: {}", said.all());
        said
    }

    /// Runs the deployer on a terminal, and types these lines.
    pub async fn at_a_terminal(&self, project: &Project, arguments: &[&str], typed: &[&str]) -> RunOutput {
        let mut terminal = Terminal::of(&self.command(project, arguments));
        for line in typed {
            terminal.press(&format!("{line}\n")).await;
        }
        terminal.end().await
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
        self.local.stop().await;
    }
}
