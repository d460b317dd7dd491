//! SDK clients of a local AWS at any endpoint.

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::until;

/// A configuration with the credentials of the account's user at `endpoint`, in us-east-1.
pub async fn config(endpoint: &str) -> SdkConfig {
    config_of(endpoint, local::ACCESS_KEY, local::SECRET_KEY, None).await
}

/// A configuration with these credentials at `endpoint`, in us-east-1.
pub async fn config_of(endpoint: &str, key: &str, secret: &str, token: Option<String>) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new(key, secret, token, None, "test"))
        .load()
        .await
}

/// The same configuration without retries: a test sees every fault.
#[must_use]
pub fn without_retries(config: &SdkConfig) -> SdkConfig {
    config.clone().into_builder().retry_config(RetryConfig::disabled()).build()
}

/// An S3 client with path-style addressing.
#[must_use]
pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let builder = aws_sdk_s3::config::Builder::from(config).force_path_style(true);
    aws_sdk_s3::Client::from_conf(builder.build())
}

/// The code of a refusal, for a call of any service.
pub fn code<T: std::fmt::Debug, E: ProvideErrorMetadata, R>(answer: Result<T, SdkError<E, R>>) -> String {
    match answer {
        Ok(answer) => panic!("expected a refusal, got {answer:?}"),
        Err(refusal) => refusal.code().unwrap_or("none").to_owned(),
    }
}

/// Creates a table with these keys, billed on demand, and waits until it is `ACTIVE`.
pub async fn create_table(dynamodb: &aws_sdk_dynamodb::Client, table: &str, partition_key: &str, sort_key: &str) {
    use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
    let mut create = dynamodb.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    for (name, kind) in [(partition_key, KeyType::Hash), (sort_key, KeyType::Range)] {
        let key = KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
        let attribute = AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
        create = create
            .key_schema(key.expect("it has a name and a type"))
            .attribute_definitions(attribute.build().expect("it has a name and a type"));
    }
    create.send().await.expect("the table can be created");
    table_is_active(dynamodb, table).await;
}

/// Waits until a table is `ACTIVE`: before that, it cannot be used.
pub async fn table_is_active(dynamodb: &aws_sdk_dynamodb::Client, table: &str) {
    use aws_sdk_dynamodb::types::TableStatus;
    let describe = dynamodb.describe_table().table_name(table);
    until("the table to be active", async || {
        let found = describe.clone().send().await.expect("the table exists").table.expect("it is described");
        found.table_status == Some(TableStatus::Active)
    })
    .await;
}

/// Waits until a function is `Active` and no update of it is in progress.
pub async fn function_is_active(lambda: &aws_sdk_lambda::Client, function: &str) {
    use aws_sdk_lambda::types::{LastUpdateStatus, State};
    let describe = lambda.get_function_configuration().function_name(function);
    until("the function to be active", async || {
        let found = describe.clone().send().await.expect("the function exists");
        found.state == Some(State::Active) && found.last_update_status == Some(LastUpdateStatus::Successful)
    })
    .await;
}
