//! Reads a whole table: in one call while it fits into one answer, in parallel segments beyond that.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use posts::{PostId, User, attribute};
use serde_json::{Value, json};
use tokio::task::{JoinSet, consume_budget};

use crate::storage::dynamodb::{DynamoDb, Failed};
use crate::storage::row;

/// How many segments of a large table are read at the same time. Eight calls are few beside the thousands of rows that
/// make a table large, and each answer covers 1 MiB of it.
const SEGMENTS: u32 = 8;
/// The most pages of a segment: 10 GiB. A segment that has more never ends.
const MOST_PAGES: usize = 10_000;

/// Reads of a whole table.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    client: DynamoDb,
    table: String,
    /// One answer has not been enough, and asking for one again would be in vain. A table that has become small since is
    /// taken for large until the service starts anew.
    large: Arc<AtomicBool>,
}

impl Scan {
    pub(crate) fn new(client: DynamoDb, table: String) -> Self {
        Self { client, table, large: Arc::default() }
    }

    /// Whether one answer is known not to hold every row.
    pub(crate) fn is_large(&self) -> bool {
        self.large.load(Ordering::Relaxed)
    }

    /// Returns the answer that holds every row; nothing if one answer does not.
    pub(crate) async fn whole(&self) -> Result<Option<Bytes>, Failed> {
        let answer = self.client.call("Scan", &self.request()).await?;
        if row::next(&answer)?.is_none() {
            return Ok(Some(answer));
        }
        self.large.store(true, Ordering::Relaxed);
        Ok(None)
    }

    /// Hands the keys of every post to `take`, page by page and in no order.
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
            // Nobody aborts them while they are waited for, so one that did not end well has panicked.
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

/// Makes of a request the one for the next page; whether there is one.
pub(crate) fn go_on(request: &mut Value, next: Option<Value>) -> Result<bool, Failed> {
    match next {
        None => Ok(false),
        // Asked for again, it would be answered with itself for ever.
        Some(next) if request["ExclusiveStartKey"] == next => Err(Failed::Circle),
        Some(next) => {
            request["ExclusiveStartKey"] = next;
            Ok(true)
        }
    }
}
