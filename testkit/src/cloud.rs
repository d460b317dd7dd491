//! A test's own local AWS.

use aws_config::SdkConfig;
use local::{Cloud, Conditions, Options};
use tempfile::TempDir;

use crate::{Control, clients};

/// A local AWS in this process, in a directory that is removed with it.
pub struct LocalAws {
    /// The server.
    pub cloud: Cloud,
    /// Its state.
    pub dir: TempDir,
    /// Clients of the account's user, in us-east-1.
    pub config: SdkConfig,
}

impl LocalAws {
    /// Starts an empty one.
    pub async fn start() -> LocalAws {
        LocalAws::start_in(temporary_directory()).await
    }

    /// Starts one whose state is in this directory.
    pub async fn start_in(dir: TempDir) -> LocalAws {
        LocalAws::open(dir, "us-east-1", Conditions::default()).await
    }

    /// Starts an empty one under these conditions: a kind of chaos, or a speed.
    pub async fn start_with(conditions: impl Into<Conditions>) -> LocalAws {
        LocalAws::open(temporary_directory(), "us-east-1", conditions.into()).await
    }

    /// Starts an empty one for this region.
    pub async fn start_in_region(region: &str) -> LocalAws {
        LocalAws::open(temporary_directory(), region, Conditions::default()).await
    }

    async fn open(dir: TempDir, region: &str, conditions: Conditions) -> LocalAws {
        let options = Options { dir: dir.path().to_owned(), port: 0, region: region.to_owned() };
        let cloud = Cloud::start_with(options, conditions).await.expect("the local AWS starts");
        let config = clients::config(&cloud.endpoint()).await;
        LocalAws { cloud, dir, config }
    }

    /// Stops it, and starts another server on the same directory.
    pub async fn restarted(self) -> LocalAws {
        self.cloud.stop().await;
        LocalAws::start_in(self.dir).await
    }

    /// Stops it gracefully. A dropped one ends with the test's runtime.
    pub async fn stop(self) {
        self.cloud.stop().await;
    }

    /// The address for clients.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.cloud.endpoint()
    }

    /// The client for its journal, its fault rules and its chaos.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::of(&self.endpoint())
    }

    /// The user's client for S3.
    #[must_use]
    pub fn s3(&self) -> aws_sdk_s3::Client {
        clients::s3(&self.config)
    }

    /// The user's client for `DynamoDB`.
    #[must_use]
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.config)
    }
}

fn temporary_directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory can be made")
}
