//! Reads a whole table: with one call while it fits into one answer, in parallel segments beyond that.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use posts::{PostId, User, attribute};
use serde_json::{Value, json};
use tokio::task::{JoinSet, consume_budget};

use crate::storage::dynamodb::{DynamoDb, Failed};
use crate::storage::row;

/// How many segments of a large table are read in parallel. Eight calls are few compared with the thousands of rows
/// that make a table large, and each answer covers 1 MiB of it.
const SEGMENTS: u32 = 8;
/// The most pages of a segment: 10 GiB. A longer one never ends.
const MOST_PAGES: usize = 10_000;

/// Reads whole tables.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    client: DynamoDb,
    table: String,
    /// The table did not fit into one answer, so single reads are not tried again. A table that has shrunk counts as
    /// large until the service restarts.
    large: Arc<AtomicBool>,
}

impl Scan {
    pub(crate) fn new(client: DynamoDb, table: String) -> Self {
        Self { client, table, large: Arc::default() }
    }

    /// Whether the table is known not to fit into one answer.
    pub(crate) fn is_large(&self) -> bool {
        self.large.load(Ordering::Relaxed)
    }

    /// Returns the answer with every row; `None` if one answer cannot hold them.
    pub(crate) async fn whole(&self) -> Result<Option<Bytes>, Failed> {
        let answer = self.client.call("Scan", &self.request()).await?;
        if row::next(&answer)?.is_none() {
            return Ok(Some(answer));
        }
        self.large.store(true, Ordering::Relaxed);
        Ok(None)
    }

    /// Passes the keys of every post to `take`, page by page and unordered.
    pub(crate) async fn keys<T>(&self, take: T) -> Result<(), Failed>
    where
        T: Fn(Vec<(PostId, User)>) + Clone + Send + 'static,
    {
        let mut segments = JoinSet::new();
        for number in 0..SEGMENTS {
            let mut request = self.request();
            (request["Segment"], request["TotalSegments"]) = (number.into(), SEGMENTS.into());
            request["ProjectionExpression"] = "#user, #id".into();
            request["ExpressionAttributeNames"] = json!({ "#user": attribute::USER, "#id": attribute::ID });
            segments.spawn(segment(self.client.clone(), request, take.clone()));
        }
        while let Some(segment) = segments.join_next().await {
            // The tasks are not aborted, so an error here means a panic.
            segment.unwrap_or_else(|panic| resume_unwind(panic.into_panic()))?;
        }
        Ok(())
    }

    fn request(&self) -> Value {
        json!({ "TableName": self.table, "ConsistentRead": true })
    }
}

async fn segment(client: DynamoDb, mut request: Value, take: impl Fn(Vec<(PostId, User)>)) -> Result<(), Failed> {
    for _ in 0..MOST_PAGES {
        let page = client.call("Scan", &request).await?;
        take(row::keys(&page)?);
        match go_on(&mut request, row::next(&page)?)? {
            true => consume_budget().await,
            false => return Ok(()),
        }
    }
    Err(Failed::Endless)
}

/// Turns a request into the one for the next page. Returns whether there is a next page.
pub(crate) fn go_on(request: &mut Value, next: Option<Value>) -> Result<bool, Failed> {
    match next {
        None => Ok(false),
        // A repeated token would return the same page forever.
        Some(next) if request["ExclusiveStartKey"] == next => Err(Failed::Circle),
        Some(next) => {
            request["ExclusiveStartKey"] = next;
            Ok(true)
        }
    }
}
