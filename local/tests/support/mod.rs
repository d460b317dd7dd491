//! A local AWS of a test's own, and clients that use it.

pub mod client;

use aws_config::SdkConfig;
use local::{ACCESS_KEY, Cloud, Options, SECRET_KEY};
use tempfile::TempDir;

/// A running cloud in a directory that goes with it.
pub struct World {
    pub cloud: Cloud,
    pub dir: TempDir,
    pub config: SdkConfig,
}

impl World {
    pub async fn new() -> World {
        World::in_dir(tempfile::tempdir().expect("temporary directory")).await
    }

    pub async fn in_dir(dir: TempDir) -> World {
        let options = Options { dir: dir.path().to_owned(), port: 0, region: "us-east-1".to_owned() };
        let cloud = Cloud::start(options).await.expect("the cloud starts");
        let config = config(&cloud, ACCESS_KEY, SECRET_KEY, None).await;
        World { cloud, dir, config }
    }

    /// The same directory under a new server.
    pub async fn restarted(self) -> World {
        self.cloud.stop().await;
        World::in_dir(self.dir).await
    }

    pub fn s3(&self) -> aws_sdk_s3::Client {
        s3(&self.config)
    }
}

pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    client::s3(config)
}

pub async fn config(cloud: &Cloud, key: &str, secret: &str, token: Option<String>) -> SdkConfig {
    client::config_at(&cloud.endpoint(), key, secret, token).await
}
