//! How much buckets and tables hold.

use aws_sdk_s3::types::EncodingType;
use serde::Serialize;

use crate::{
    cloud::{
        aws::{Aws, found},
        why::keep,
    },
    engine::{Fault, look},
};

/// The state of a table that does not exist.
pub const ABSENT: &str = "ABSENT";

/// Objects are counted up to this number: one call.
const COUNTED: i32 = 1_000;

/// The state of a bucket.
#[derive(Debug, Clone, Serialize)]
pub struct BucketStatus {
    /// Its name in `stack.yaml`.
    pub name: String,
    /// Its name in the account.
    pub bucket: String,
    /// Whether it exists; `None` if unknown.
    pub exists: Option<bool>,
    /// Its objects.
    #[serde(flatten)]
    pub objects: Objects,
    /// Messages about failed reads.
    pub unread: Vec<String>,
}

/// A bounded count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Objects {
    /// The number of objects counted; `None` if unknown.
    #[serde(rename = "objects")]
    pub counted: Option<i32>,
    /// Whether there are more.
    #[serde(rename = "more_objects")]
    pub more: bool,
}

/// The state of a table.
#[derive(Debug, Clone, Serialize)]
pub struct TableStatus {
    /// Its name in `stack.yaml`.
    pub name: String,
    /// Its name in the account.
    pub table: String,
    /// DynamoDB's state, such as `ACTIVE`, or `ABSENT`; `None` if unknown.
    pub state: Option<String>,
    /// The number of its rows, which AWS updates about every six hours (docs/aws.md §5.2).
    pub rows: Option<i64>,
    /// Messages about failed reads.
    pub unread: Vec<String>,
}

impl TableStatus {
    /// Whether it can be used, as it can while it is being updated; `None` if unknown.
    pub fn is_healthy(&self) -> Option<bool> {
        self.state.as_deref().map(|state| ["ACTIVE", "UPDATING"].contains(&state))
    }
}

/// Counts the objects of a bucket.
pub(super) async fn bucket(aws: &Aws, entry: &str, name: &str, account: &str) -> BucketStatus {
    let mut unread = Vec::new();
    let counted = keep(&mut unread, "its objects", look(|| count(aws, name, account)).await);
    BucketStatus {
        name: entry.into(),
        bucket: name.into(),
        exists: counted.as_ref().map(Option::is_some),
        objects: counted.flatten().unwrap_or_default(),
        unread,
    }
}

/// Returns `None` if there is no such bucket.
async fn count(aws: &Aws, name: &str, account: &str) -> Result<Option<Objects>, Fault> {
    // Keys may contain characters that XML cannot represent: without URL encoding such a listing cannot be parsed.
    let call = aws.s3.list_objects_v2().bucket(name).max_keys(COUNTED).encoding_type(EncodingType::Url);
    let Some(page) = found(call.expected_bucket_owner(account).send().await)? else { return Ok(None) };
    let counted = Some(page.contents().len().try_into().unwrap_or(COUNTED));
    Ok(Some(Objects { counted, more: page.is_truncated() == Some(true) }))
}

/// Reads the state of a table.
pub(super) async fn table(aws: &Aws, entry: &str, name: &str) -> TableStatus {
    let mut unread = Vec::new();
    let call = async || found(aws.dynamodb.describe_table().table_name(name).send().await);
    let described = keep(&mut unread, "the table", look(call).await);
    let absent = described.as_ref().is_some_and(Option::is_none).then(|| ABSENT.to_owned());
    let table = described.flatten().and_then(|answer| answer.table);
    let state = table.as_ref().and_then(|it| it.table_status()).map(|state| state.as_str().to_owned());
    let rows = table.and_then(|it| it.item_count);
    TableStatus { name: entry.into(), table: name.into(), state: absent.or(state), rows, unread }
}
