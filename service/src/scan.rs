//! A table read as a whole: in one call while one answer holds it, in several at the same time from then on.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use tokio::task::JoinSet;

use crate::error::Error;

/// In how many parts a large table is read at the same time. Eight calls are little beside the thousands of rows that
/// make a table large, and with each of them 1 MiB comes, so that tables of 8 MiB take as long as one call.
const SEGMENTS: i32 = 8;

type Item = HashMap<String, AttributeValue>;

/// Reads of a whole table.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    client: Client,
    table: String,
    /// One answer has not been enough: it would only be asked for in vain again. A table that has become small since
    /// costs seven calls too many until the service starts anew.
    large: Arc<AtomicBool>,
}

impl Scan {
    pub(crate) fn new(client: Client, table: String) -> Self {
        Self { client, table, large: Arc::default() }
    }

    /// What `read` makes of every row, in no order.
    pub(crate) async fn rows<T: Send + 'static>(&self, read: fn(Item) -> Option<T>) -> Result<Vec<T>, Error> {
        if !self.large.load(Ordering::Relaxed) {
            let page = self.client.scan().table_name(&self.table).consistent_read(true).send().await?;
            if page.last_evaluated_key.is_none_or(|key| key.is_empty()) {
                return Ok(page.items.unwrap_or_default().into_iter().filter_map(read).collect());
            }
            self.large.store(true, Ordering::Relaxed);
        }
        self.in_segments(read).await
    }

    async fn in_segments<T: Send + 'static>(&self, read: fn(Item) -> Option<T>) -> Result<Vec<T>, Error> {
        let mut segments = JoinSet::new();
        for number in 0..SEGMENTS {
            let scan = self.client.scan().table_name(&self.table).consistent_read(true);
            segments.spawn(async move {
                let mut items = scan.segment(number).total_segments(SEGMENTS).into_paginator().items().send();
                let mut rows = Vec::new();
                while let Some(item) = items.next().await {
                    rows.extend(read(item?));
                }
                Ok::<_, Error>(rows)
            });
        }
        let mut rows = Vec::new();
        while let Some(segment) = segments.join_next().await {
            // Nobody aborts them while they are waited for, so one that did not end well has panicked.
            rows.extend(segment.unwrap_or_else(|panic| resume_unwind(panic.into_panic()))?);
        }
        Ok(rows)
    }
}
