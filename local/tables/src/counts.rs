//! The counts in descriptions of tables, which DynamoDB updates about every six hours (docs/aws.md §5.2). A restart
//! updates them.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use kit::speed::Speed;

/// The interval on AWS, in seconds.
const EVERY_S: u64 = 6 * 60 * 60;

/// The counts that descriptions show.
#[derive(Debug)]
pub(super) struct Counts {
    every: Duration,
    shown: Mutex<BTreeMap<String, Shown>>,
}

#[derive(Debug)]
struct Shown {
    /// The counts of the table and its indexes; one that is not here is 0.
    counts: BTreeMap<String, Value>,
    until: Instant,
}

impl Counts {
    pub(super) fn at(speed: Speed) -> Counts {
        Counts { every: speed.takes(EVERY_S), shown: Mutex::default() }
    }

    /// Records that a table was created: it shows no rows until its first update.
    pub(super) fn created(&self, name: &str) {
        let shown = Shown { counts: BTreeMap::new(), until: Instant::now() + self.every };
        self.shown.lock().insert(name.to_owned(), shown);
    }

    /// Replaces the counts in a table's description with those of the last update, or updates them if it is time.
    pub(super) fn show(&self, name: &str, table: &mut Value) {
        let mut all = self.shown.lock();
        let now = Instant::now();
        if let Some(shown) = all.get(name).filter(|shown| shown.until > now) {
            each(table, |key, count| *count = shown.counts.get(&key).cloned().unwrap_or_else(|| 0.into()));
            return;
        }
        let mut counts = BTreeMap::new();
        each(table, |key, count| drop(counts.insert(key, count.clone())));
        all.insert(name.to_owned(), Shown { counts, until: now + self.every });
    }
}

/// Passes each count of a description to `act`, with a key.
fn each(table: &mut Value, mut act: impl FnMut(String, &mut Value)) {
    for field in ["ItemCount", "TableSizeBytes"] {
        if let Some(count) = table.get_mut(field) {
            act(field.to_owned(), count);
        }
    }
    for list in ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"] {
        for index in table.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let name = index["IndexName"].as_str().unwrap_or_default().to_owned();
            for field in ["ItemCount", "IndexSizeBytes"] {
                if let Some(count) = index.get_mut(field) {
                    act(format!("{name} {field}"), count);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn described(rows: u64) -> Value {
        let index = json!({ "IndexName": "by-day", "ItemCount": rows, "IndexSizeBytes": rows * 10 });
        json!({ "ItemCount": rows, "TableSizeBytes": rows * 20, "GlobalSecondaryIndexes": [index] })
    }

    #[tokio::test(start_paused = true)]
    async fn counts_are_updated_every_six_hours() {
        let counts = Counts::at(Speed::REAL);
        let shown = |rows: u64| {
            let mut table = described(rows);
            counts.show("posts", &mut table);
            table
        };
        counts.created("posts");
        assert_eq!(shown(3), described(0));
        tokio::time::advance(Duration::from_secs(EVERY_S - 1)).await;
        assert_eq!(shown(4), described(0));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(shown(5), described(5));
        assert_eq!(shown(6), described(5));
        counts.created("posts");
        assert_eq!(shown(6), described(0), "a table that was deleted and created again is a new one");
    }
}
