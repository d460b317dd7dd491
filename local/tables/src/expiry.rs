//! Changes of a table's time to live: DynamoDB refuses one that changes nothing, and processes each for up to an hour,
//! during which it refuses the next (docs/aws.md §5.2).

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use kit::answer::Refusal;
use kit::speed::Speed;

/// How long a change is processed, in seconds.
const PROCESSED_S: u64 = 3_600;

/// The changes that are being processed; a restart completes them.
#[derive(Debug)]
pub(super) struct Expiry {
    speed: Speed,
    /// Held while a change is checked and made.
    pub(super) changing: tokio::sync::Mutex<()>,
    processed: Mutex<BTreeMap<String, Instant>>,
}

impl Expiry {
    pub(super) fn at(speed: Speed) -> Expiry {
        Expiry { speed, changing: tokio::sync::Mutex::default(), processed: Mutex::default() }
    }

    /// Refuses a change of a table's setting that DynamoDB refuses.
    pub(super) fn check(&self, table: &str, now: &Value, wanted: &Value) -> Result<(), Refusal> {
        let (is_on, attribute) = (now["TimeToLiveStatus"] == "ENABLED", &now["AttributeName"]);
        let turns_on = wanted["Enabled"] == true;
        let refused = |text: String| Err(Refusal::new(400, "ValidationException", text));
        if self.is_processed(table) {
            return refused("Time to live has been modified multiple times within a fixed interval".to_owned());
        }
        match (is_on, turns_on) {
            (true, true) if *attribute == wanted["AttributeName"] => {
                refused("TimeToLive is already enabled".to_owned())
            }
            (true, true) => {
                let attribute = attribute.as_str().unwrap_or_default();
                refused(format!(
                    "TimeToLive is active on a different AttributeName: current AttributeName is {attribute}"
                ))
            }
            (false, false) => refused("TimeToLive is already disabled".to_owned()),
            _ => Ok(()),
        }
    }

    /// Records that a table's setting was changed.
    pub(super) fn changed(&self, table: &str) {
        self.processed.lock().insert(table.to_owned(), Instant::now() + self.speed.takes(PROCESSED_S));
    }

    /// Forgets a table of this name: the next one is another table.
    pub(super) fn forget(&self, table: &str) {
        self.processed.lock().remove(table);
    }

    /// Shows a change that is still being processed.
    pub(super) fn show(&self, table: &str, setting: &mut Value) {
        if self.is_processed(table) {
            let status = if setting["TimeToLiveStatus"] == "ENABLED" { "ENABLING" } else { "DISABLING" };
            setting["TimeToLiveStatus"] = status.into();
        }
    }

    fn is_processed(&self, table: &str) -> bool {
        let mut processed = self.processed.lock();
        let now = Instant::now();
        processed.retain(|_, until| *until > now);
        processed.contains_key(table)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_change_an_hour_is_accepted_and_none_that_changes_nothing() {
        let expiry = Expiry::at(Speed::REAL);
        let off = json!({ "TimeToLiveStatus": "DISABLED" });
        let on = json!({ "TimeToLiveStatus": "ENABLED", "AttributeName": "ends" });
        let wanted = |enabled: bool, name: &str| json!({ "Enabled": enabled, "AttributeName": name });
        let check = |now: &Value, wanted: Value| {
            expiry.check("posts", now, &wanted).map_or_else(|refusal| refusal.message, |()| String::new())
        };
        assert_eq!(check(&off, wanted(false, "ends")), "TimeToLive is already disabled");
        assert_eq!(check(&off, wanted(true, "ends")), "");
        assert_eq!(check(&on, wanted(true, "ends")), "TimeToLive is already enabled");
        assert!(check(&on, wanted(true, "other")).ends_with("current AttributeName is ends"));

        expiry.changed("posts");
        let mut shown = on.clone();
        expiry.show("posts", &mut shown);
        assert_eq!(shown["TimeToLiveStatus"], "ENABLING");
        assert!(check(&on, wanted(false, "ends")).contains("modified multiple times"));
        tokio::time::advance(Duration::from_secs(PROCESSED_S)).await;
        assert_eq!(check(&on, wanted(false, "ends")), "");
    }
}
