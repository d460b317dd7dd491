//! The size of the data in buckets and tables.

use serde::Serialize;

use crate::{
    cloud::{
        aws::{Aws, found},
        why::keep,
    },
    engine::{Size, look},
    kinds::bucket::Bucket,
};

/// The state of a table that does not exist.
pub const ABSENT: &str = "ABSENT";

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
    pub counted: Option<u64>,
    /// Whether there are more.
    #[serde(rename = "more_objects")]
    pub more: bool,
}

impl Objects {
    fn of(size: Size) -> Objects {
        match size {
            Size::Items { count, more, .. } => Objects { counted: Some(count), more },
            _ => Objects::default(),
        }
    }
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
    let bucket = Bucket { name: name.into(), account: account.into() };
    let size = keep(&mut unread, "its objects", look(|| bucket.size(aws)).await);
    BucketStatus {
        name: entry.into(),
        bucket: name.into(),
        exists: size.as_ref().map(Option::is_some),
        objects: size.flatten().map(Objects::of).unwrap_or_default(),
        unread,
    }
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
