//! Changes of a table's time to live: DynamoDB refuses one that changes nothing, and processes each for up to an hour,
//! during which it refuses the next (docs/aws.md §5.2).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde_json::Value;

use kit::answer::Refusal;
use kit::speed::Speed;
use kit::store;

/// How long a change is processed, in seconds.
const PROCESSED_S: u64 = 3_600;

/// The changes that are being processed. They are kept in a file: a restart does not end them.
#[derive(Debug)]
pub(super) struct Expiry {
    /// How long a change is processed here.
    takes: Duration,
    /// Held while a change is checked and made.
    pub(super) changing: tokio::sync::Mutex<()>,
    /// When each table was changed, as the time since 1970.
    changed: Mutex<BTreeMap<String, Duration>>,
    file: PathBuf,
}

impl Expiry {
    /// Reads the changes that an earlier server has kept in this file.
    pub(super) fn open(file: &Path, speed: Speed) -> anyhow::Result<Expiry> {
        let changed = store::read_json(file)?.unwrap_or_default();
        let (takes, changing, changed) = (speed.takes(PROCESSED_S), tokio::sync::Mutex::default(), Mutex::new(changed));
        Ok(Expiry { takes, changing, changed, file: file.to_owned() })
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

    /// Records that a table's setting is being changed.
    ///
    /// Errors: the record cannot be written.
    pub(super) fn change(&self, table: &str) -> Result<(), Refusal> {
        let mut changed = self.changed.lock();
        changed.retain(|_, at| self.is_recent(*at));
        changed.insert(table.to_owned(), now());
        self.keep(&changed)
    }

    /// Forgets a table of this name: the next one is another table.
    ///
    /// Errors: the record cannot be written.
    pub(super) fn forget(&self, table: &str) -> Result<(), Refusal> {
        let mut changed = self.changed.lock();
        match changed.remove(table) {
            Some(_) => self.keep(&changed),
            None => Ok(()),
        }
    }

    fn keep(&self, changed: &BTreeMap<String, Duration>) -> Result<(), Refusal> {
        store::write_json(&self.file, changed).map_err(|fault| {
            let text = format!("the local AWS cannot write {}: {fault}", self.file.display());
            Refusal::new(500, "InternalServerError", text)
        })
    }

    /// Shows a change that is still being processed.
    pub(super) fn show(&self, table: &str, setting: &mut Value) {
        if self.is_processed(table) {
            let status = if setting["TimeToLiveStatus"] == "ENABLED" { "ENABLING" } else { "DISABLING" };
            setting["TimeToLiveStatus"] = status.into();
        }
    }

    fn is_processed(&self, table: &str) -> bool {
        self.changed.lock().get(table).is_some_and(|at| self.is_recent(*at))
    }

    fn is_recent(&self, at: Duration) -> bool {
        now().saturating_sub(at) < self.takes
    }
}

/// The time since 1970: unlike a monotonic clock, it advances while the server is stopped.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_change_an_hour_is_accepted_and_none_that_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("time-to-live.json");
        let expiry = Expiry::open(&file, Speed::REAL).unwrap();
        let off = json!({ "TimeToLiveStatus": "DISABLED" });
        let on = json!({ "TimeToLiveStatus": "ENABLED", "AttributeName": "ends" });
        let wanted = |enabled: bool, name: &str| json!({ "Enabled": enabled, "AttributeName": name });
        let answer = |expiry: &Expiry, now: &Value, wanted: Value| {
            expiry.check("posts", now, &wanted).map_or_else(|refusal| refusal.message, |()| String::new())
        };
        let check = |now: &Value, wanted: Value| answer(&expiry, now, wanted);
        assert_eq!(check(&off, wanted(false, "ends")), "TimeToLive is already disabled");
        assert_eq!(check(&off, wanted(true, "ends")), "");
        assert_eq!(check(&on, wanted(true, "ends")), "TimeToLive is already enabled");
        assert!(check(&on, wanted(true, "other")).ends_with("current AttributeName is ends"));

        expiry.change("posts").unwrap();
        let mut shown = on.clone();
        expiry.show("posts", &mut shown);
        assert_eq!(shown["TimeToLiveStatus"], "ENABLING");
        assert!(check(&on, wanted(false, "ends")).contains("modified multiple times"));

        // A restart does not end it; an hour does.
        let again = Expiry::open(&file, Speed::REAL).unwrap();
        assert!(answer(&again, &on, wanted(false, "ends")).contains("modified multiple times"));
        let hour_ago = now() - Duration::from_secs(PROCESSED_S);
        store::write_json(&file, &BTreeMap::from([("posts".to_owned(), hour_ago)])).unwrap();
        let later = Expiry::open(&file, Speed::REAL).unwrap();
        assert_eq!(answer(&later, &on, wanted(false, "ends")), "");

        // Another table of the same name is not concerned.
        expiry.forget("posts").unwrap();
        let next = Expiry::open(&file, Speed::REAL).unwrap();
        assert_eq!(answer(&next, &off, wanted(true, "ends")), "");
    }
}
