//! Tables: settings, states and deletion.

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, PointInTimeRecoverySpecification, ScalarAttributeType,
    TableDescription,
};
use testkit::LocalAws;
use testkit::clients::{code, table_is_active};

use super::support::{active_table, table, text};

#[tokio::test]
async fn a_table_shows_its_settings() {
    let aws = LocalAws::start().await;
    let client = active_table(&aws).await;
    let again = client.create_table().table_name("posts").billing_mode(BillingMode::PayPerRequest);
    let key = KeySchemaElement::builder().attribute_name("a").key_type(KeyType::Hash).build().unwrap();
    let a = AttributeDefinition::builder().attribute_name("a").attribute_type(ScalarAttributeType::S).build().unwrap();
    assert_eq!(code(again.key_schema(key).attribute_definitions(a).send().await), "ResourceInUseException");
    let found = client.describe_table().table_name("posts").send().await.unwrap();
    let found = found.table().unwrap();
    assert_eq!(found.table_status().unwrap().as_str(), "ACTIVE");
    assert_eq!(found.deletion_protection_enabled(), Some(true));
    assert_eq!(found.billing_mode_summary().unwrap().billing_mode().unwrap().as_str(), "PAY_PER_REQUEST");
    let arn = found.table_arn().unwrap();
    assert_eq!(arn, "arn:aws:dynamodb:us-east-1:000000000000:table/posts");
    let tags = client.list_tags_of_resource().resource_arn(arn).send().await.unwrap();
    assert_eq!(tags.tags()[0].value(), "postagram");
    client.untag_resource().resource_arn(arn).tag_keys("deployer:stack").send().await.unwrap();
    assert!(client.list_tags_of_resource().resource_arn(arn).send().await.unwrap().tags().is_empty());
    assert_eq!(client.list_tables().send().await.unwrap().table_names(), ["posts"]);

    let backups = client.describe_continuous_backups().table_name("posts").send().await.unwrap();
    let state = |backups: Option<&aws_sdk_dynamodb::types::ContinuousBackupsDescription>| {
        let recovery = backups.unwrap().point_in_time_recovery_description().unwrap();
        recovery.point_in_time_recovery_status().unwrap().as_str().to_owned()
    };
    assert_eq!(state(backups.continuous_backups_description()), "DISABLED");
    let enabled = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).build().unwrap();
    let backups = client.update_continuous_backups().table_name("posts").point_in_time_recovery_specification(enabled);
    for _ in 0..2 {
        let refused = backups.clone().send().await.unwrap_err().into_service_error();
        assert!(
            refused.is_continuous_backups_unavailable_exception(),
            "a new table is not ready at first: {refused:?}"
        );
    }
    assert_eq!(state(backups.send().await.unwrap().continuous_backups_description()), "ENABLED");
    let ttl = client.describe_time_to_live().table_name("posts").send().await.unwrap();
    assert_eq!(ttl.time_to_live_description().unwrap().time_to_live_status().unwrap().as_str(), "DISABLED");
    aws.stop().await;
}

#[tokio::test]
async fn a_table_with_deletion_protection_is_deleted_only_without_it() {
    let aws = LocalAws::start().await;
    let client = active_table(&aws).await;
    let refused = client.delete_table().table_name("posts").send().await.unwrap_err();
    assert!(refused.message().unwrap().contains("currently protected against deletion"), "{refused:?}");
    release_and_delete(&client).await;
    assert_eq!(code(client.delete_table().table_name("posts").send().await), "ResourceNotFoundException");
    let client = active_table(&aws).await;
    let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/posts";
    assert_eq!(client.list_tags_of_resource().resource_arn(arn).send().await.unwrap().tags().len(), 1);
    release_and_delete(&client).await;
    let gone = client.get_item().table_name("posts").key("user", text("a")).key("id", text("b")).send().await;
    assert_eq!(code(gone), "ResourceNotFoundException");
    aws.stop().await;
}

async fn release_and_delete(client: &aws_sdk_dynamodb::Client) {
    client.update_table().table_name("posts").deletion_protection_enabled(false).send().await.unwrap();
    table_is_active(client, "posts").await;
    client.delete_table().table_name("posts").send().await.unwrap();
    while let Ok(found) = client.describe_table().table_name("posts").send().await {
        assert_eq!(found.table().unwrap().table_status().unwrap().as_str(), "DELETING");
    }
    assert!(client.list_tables().send().await.unwrap().table_names().is_empty());
}

#[tokio::test]
async fn a_table_reports_its_update_or_deletion_and_stays_deleted_after_a_restart() {
    let aws = LocalAws::start().await;
    let client = table(&aws).await;
    table_is_active(&client, "posts").await;
    let release = client.update_table().table_name("posts").deletion_protection_enabled(false);
    let status = |table: Option<TableDescription>| table.unwrap().table_status.unwrap().as_str().to_owned();
    assert_eq!(status(release.send().await.unwrap().table_description), "UPDATING");
    table_is_active(&client, "posts").await;
    let delete = client.delete_table().table_name("posts");
    assert_eq!(status(delete.send().await.unwrap().table_description), "DELETING");
    let aws = aws.restarted().await;
    let client = aws_sdk_dynamodb::Client::new(&aws.config);
    assert_eq!(code(client.describe_table().table_name("posts").send().await), "ResourceNotFoundException");
    aws.stop().await;
}
