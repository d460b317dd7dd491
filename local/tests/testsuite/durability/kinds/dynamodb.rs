//! Kinds of state in DynamoDB.

use aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
};

use testkit::clients;

use super::{BoxError, Clients, Kind, found, until};

pub async fn table(dynamodb: &aws_sdk_dynamodb::Client) {
    new_table(dynamodb, "kept").send().await.unwrap();
    clients::table_is_active(dynamodb, "kept").await;
}

pub fn new_table(dynamodb: &aws_sdk_dynamodb::Client, name: &str) -> CreateTableFluentBuilder {
    let key = KeySchemaElement::builder().attribute_name("name").key_type(KeyType::Hash).build().unwrap();
    let attribute = AttributeDefinition::builder().attribute_name("name").attribute_type(ScalarAttributeType::S);
    let create = dynamodb.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
    create.key_schema(key).attribute_definitions(attribute.build().unwrap())
}

impl Clients {
    pub(super) async fn write_in_dynamodb(&self, kind: Kind, name: &str, value: Option<&str>) -> Result<(), BoxError> {
        let dynamodb = &self.dynamodb;
        let key = || AttributeValue::S(format!("{kind:?}/{name}"));
        match (kind, value) {
            (Kind::Table, None) => {
                dynamodb.delete_table().table_name(name).send().await?;
                until(async || Ok(self.read(kind, name).await?.is_none())).await?;
            }
            (Kind::Table, Some(value)) => {
                let tag = aws_sdk_dynamodb::types::Tag::builder().key("v").value(value).build()?;
                new_table(dynamodb, name).tags(tag).send().await?;
                until(async || {
                    let table = dynamodb.describe_table().table_name(name).send().await?.table;
                    Ok(table.is_some_and(|table| table.table_status == Some(TableStatus::Active)))
                })
                .await?;
            }
            (Kind::Counter, _) => {
                let update =
                    dynamodb.update_item().table_name("kept").key("name", key()).update_expression("ADD v :one");
                update.expression_attribute_values(":one", AttributeValue::N("1".to_owned())).send().await?;
            }
            (_, None) => drop(dynamodb.delete_item().table_name("kept").key("name", key()).send().await?),
            (_, Some(value)) => {
                let value = AttributeValue::S(value.to_owned());
                dynamodb.put_item().table_name("kept").item("name", key()).item("v", value).send().await?;
            }
        }
        Ok(())
    }

    pub(super) async fn read_in_dynamodb(&self, kind: Kind, name: &str) -> Result<Option<String>, BoxError> {
        let dynamodb = &self.dynamodb;
        if kind == Kind::Table {
            let described = dynamodb.describe_table().table_name(name).send().await;
            let Some(table) = found(described, "ResourceNotFoundException")?.and_then(|found| found.table) else {
                return Ok(None);
            };
            if table.table_status == Some(TableStatus::Deleting) {
                return Ok(Some("on its way".to_owned()));
            }
            let tags = dynamodb.list_tags_of_resource().set_resource_arn(table.table_arn).send().await?;
            return Ok(tags.tags().first().map(|tag| tag.value.clone()));
        }
        let key = AttributeValue::S(format!("{kind:?}/{name}"));
        let got = dynamodb.get_item().table_name("kept").key("name", key).send().await?;
        Ok(got.item().map(|item| match &item["v"] {
            AttributeValue::S(text) | AttributeValue::N(text) => text.clone(),
            other => panic!("{other:?}"),
        }))
    }
}
