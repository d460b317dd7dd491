//! A table read as a whole: in one call while one answer holds it, in several at the same time from then on.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::dynamodb::{DynamoDb, Failed};
use crate::row;

/// In how many parts a large table is read at the same time. Eight calls are little beside the thousands of rows that
/// make a table large, and with each of them 1 MiB comes, so that tables of 8 MiB take as long as one call.
const SEGMENTS: u32 = 8;

/// Reads of a whole table.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    client: DynamoDb,
    table: String,
    /// One answer has not been enough: it would only be asked for in vain again. A table that has become small since
    /// costs seven calls too many until the service starts anew.
    large: Arc<AtomicBool>,
}

impl Scan {
    pub(crate) fn new(client: DynamoDb, table: String) -> Self {
        Self { client, table, large: Arc::default() }
    }

    /// The answers that hold every row, in no order.
    pub(crate) async fn answers(&self) -> Result<Vec<Bytes>, Failed> {
        if !self.large.load(Ordering::Relaxed) {
            let answer = self.client.call("Scan", &self.request()).await?;
            if row::next(&answer)?.is_none() {
                return Ok(vec![answer]);
            }
            self.large.store(true, Ordering::Relaxed);
        }
        self.in_segments().await
    }

    async fn in_segments(&self) -> Result<Vec<Bytes>, Failed> {
        let mut segments = JoinSet::new();
        for number in 0..SEGMENTS {
            let (client, mut request) = (self.client.clone(), self.request());
            (request["Segment"], request["TotalSegments"]) = (number.into(), SEGMENTS.into());
            segments.spawn(async move { answers(&client, "Scan", request, None).await });
        }
        let mut all = Vec::new();
        while let Some(segment) = segments.join_next().await {
            // Nobody aborts them while they are waited for, so one that did not end well has panicked.
            all.extend(segment.unwrap_or_else(|panic| resume_unwind(panic.into_panic()))?);
        }
        Ok(all)
    }

    fn request(&self) -> Value {
        json!({ "TableName": self.table, "ConsistentRead": true })
    }
}

/// One answer after the other, to the end or until they hold enough posts.
pub(crate) async fn answers(
    client: &DynamoDb,
    operation: &str,
    mut request: Value,
    enough: Option<usize>,
) -> Result<Vec<Bytes>, Failed> {
    let (mut answers, mut posts) = (Vec::new(), 0);
    loop {
        let answer = client.call(operation, &request).await?;
        let next = row::next(&answer)?;
        if let (Some(_), Some(_)) = (&next, enough) {
            posts += row::posts(&answer)?.count();
        }
        answers.push(answer);
        match next {
            Some(next) if enough.is_none_or(|enough| posts < enough) => request["ExclusiveStartKey"] = next,
            _ => return Ok(answers),
        }
    }
}
