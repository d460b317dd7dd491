//! Helpers shared by several modules.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, Tag,
};
use testkit::LocalAws;
use testkit::clients::table_is_active;

pub const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

pub fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub async fn table(aws: &LocalAws) -> aws_sdk_dynamodb::Client {
    let client = aws_sdk_dynamodb::Client::new(&aws.config);
    let attribute = |name: &str| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build().unwrap()
    };
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    client
        .create_table()
        .table_name("posts")
        .attribute_definitions(attribute("user"))
        .attribute_definitions(attribute("id"))
        .key_schema(key("user", KeyType::Hash))
        .key_schema(key("id", KeyType::Range))
        .billing_mode(BillingMode::PayPerRequest)
        .deletion_protection_enabled(true)
        .tags(Tag::builder().key("deployer:stack").value("postagram").build().unwrap())
        .send()
        .await
        .unwrap();
    client
}

pub async fn active_table(aws: &LocalAws) -> aws_sdk_dynamodb::Client {
    let client = table(aws).await;
    table_is_active(&client, "posts").await;
    client
}
