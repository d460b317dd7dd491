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

/// Waits until a table is `ACTIVE`: nothing else can be done with it before.
#[allow(dead_code)] // each test binary uses its part
pub async fn table_is_active(dynamodb: &aws_sdk_dynamodb::Client, table: &str) {
    let look = dynamodb.describe_table().table_name(table);
    loop {
        let found = look.clone().send().await.expect("the table is there").table.expect("it is described");
        if found.table_status == Some(aws_sdk_dynamodb::types::TableStatus::Active) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Waits until a function is `Active` and no change of it is under way.
#[allow(dead_code)] // each test binary uses its part
pub async fn function_is_active(lambda: &aws_sdk_lambda::Client, function: &str) {
    use aws_sdk_lambda::types::{LastUpdateStatus, State};
    let look = lambda.get_function_configuration().function_name(function);
    loop {
        let found = look.clone().send().await.expect("the function is there");
        if found.state == Some(State::Active) && found.last_update_status == Some(LastUpdateStatus::Successful) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// A client that names buckets in the path.
pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let builder = aws_sdk_s3::config::Builder::from(config).force_path_style(true);
    aws_sdk_s3::Client::from_conf(builder.build())
}
