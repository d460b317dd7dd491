//! Measures API calls per second through the SDK, beside moto, and before that what an idle server uses.

use std::time::Duration;

use anyhow::{Result, bail};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
};
use aws_sdk_s3::primitives::ByteStream;

use crate::rates::{self, Rates, rate};
use crate::server::{Server, s3};
use crate::waiting::until;

/// How long the server is idle while its CPU time is measured.
const IDLE: Duration = Duration::from_secs(5);
/// How long creating a table may take.
const TABLE: Duration = Duration::from_secs(60);
/// The number of different keys.
const ITEMS: u64 = 1000;
/// The size of the object in bytes.
const PICTURE: usize = 10 * 1024;

pub async fn compare() -> Result<()> {
    let ours = measure_local().await?;
    let theirs = measure_moto().await?;
    rates::print(&[("local AWS", ours), ("moto", theirs)]);
    Ok(())
}

async fn measure_local() -> Result<Rates> {
    let server = Server::local()?;
    println!("local AWS: says where it is after {:.0} ms", server.took.as_secs_f64() * 1000.0);
    let before = server.processor_seconds();
    tokio::time::sleep(IDLE).await;
    if let (Some(before), Some(after), Some(memory)) = (before, server.processor_seconds(), server.memory_mb()) {
        println!("  idle: {memory} MB, {:.2} % of a processor", (after - before) / IDLE.as_secs_f64() * 100.0);
    }
    measure(&server).await
}

async fn measure_moto() -> Result<Rates> {
    let server = Server::moto()?;
    println!("moto: says where it is after {:.0} ms", server.took.as_secs_f64() * 1000.0);
    measure(&server).await
}

async fn measure(server: &Server) -> Result<Rates> {
    let config = server.config().await;
    let (dynamodb, s3) = (aws_sdk_dynamodb::Client::new(&config), s3(&config));
    make_table(&dynamodb).await?;
    make_picture(&s3).await?;
    // Items must be put before they can be read.
    let put = put_items(&dynamodb).await?;
    let get = get_items(&dynamodb).await?;
    Ok(vec![("GetItem", get), ("PutItem", put), ("GetObject 10 KB", get_objects(&s3).await?)])
}

/// Creates a table and waits until it is active.
async fn make_table(dynamodb: &aws_sdk_dynamodb::Client) -> Result<()> {
    let schema = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build()?;
    let id = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S).build()?;
    let create = dynamodb.create_table().table_name("posts").billing_mode(BillingMode::PayPerRequest);
    create.key_schema(schema).attribute_definitions(id).send().await?;
    let look = dynamodb.describe_table().table_name("posts");
    until("making a table", TABLE, async || {
        let status = look.clone().send().await?.table.and_then(|table| table.table_status);
        Ok(if status == Some(TableStatus::Active) { Ok(()) } else { Err(format!("its status is {status:?}")) })
    })
    .await
}

async fn make_picture(s3: &aws_sdk_s3::Client) -> Result<()> {
    s3.create_bucket().bucket("images").send().await?;
    let picture = ByteStream::from(vec![7; PICTURE]);
    s3.put_object().bucket("images").key("picture").body(picture).send().await?;
    Ok(())
}

async fn put_items(dynamodb: &aws_sdk_dynamodb::Client) -> Result<f64> {
    rate(|number| {
        let put = dynamodb.put_item().table_name("posts").item("id", key(number));
        let put = put.item("text", AttributeValue::S("A day at the sea.".repeat(10)));
        async move { Ok(put.send().await.map(drop)?) }
    })
    .await
}

async fn get_items(dynamodb: &aws_sdk_dynamodb::Client) -> Result<f64> {
    rate(|number| {
        let get = dynamodb.get_item().table_name("posts").key("id", key(number));
        async move { Ok(get.send().await.map(drop)?) }
    })
    .await
}

fn key(number: u64) -> AttributeValue {
    AttributeValue::S((number % ITEMS).to_string())
}

async fn get_objects(s3: &aws_sdk_s3::Client) -> Result<f64> {
    rate(|_| {
        let get = s3.get_object().bucket("images").key("picture");
        async move {
            let bytes = get.send().await?.body.collect().await?.into_bytes();
            if bytes.len() == PICTURE { Ok(()) } else { bail!("{} bytes came", bytes.len()) }
        }
    })
    .await
}
