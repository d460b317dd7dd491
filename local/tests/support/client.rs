//! How tests reach a local AWS, wherever it runs.

use aws_config::{BehaviorVersion, Region, SdkConfig};

/// For the clients of the server at `endpoint`.
pub async fn config_at(endpoint: &str, key: &str, secret: &str, token: Option<String>) -> SdkConfig {
    let credentials = aws_sdk_s3::config::Credentials::new(key, secret, token, None, "test");
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(credentials)
        .load()
        .await
}

/// A client that names buckets in the path.
pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let builder = aws_sdk_s3::config::Builder::from(config).force_path_style(true);
    aws_sdk_s3::Client::from_conf(builder.build())
}
