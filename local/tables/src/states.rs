//! State transitions of tables, during which calls are refused as on AWS (docs/aws.md §5.1). Their duration depends on
//! the speed; a restart completes them.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use tokio::time::Instant;

use kit::answer::Refusal;
use kit::speed::Speed;

/// The durations of creating, updating and deleting a table on AWS, in seconds (docs/aws.md §13).
const CREATING_S: u64 = 8;
const UPDATING_S: u64 = 5;
const DELETING_S: u64 = 10;

/// The minimum durations here, at any speed, so that no client can rely on a transition being over.
const LEAST_COMING: Duration = Duration::from_millis(200);
const LEAST_CHANGING: Duration = Duration::from_millis(100);

/// The tables in transition.
#[derive(Debug)]
pub(super) struct States {
    speed: Speed,
    busy: Mutex<Busy>,
}

/// The transition of each table.
type Busy = BTreeMap<String, State>;

#[derive(Debug)]
struct State {
    doing: Doing,
    until: Instant,
}

#[derive(Debug)]
enum Doing {
    Creating,
    /// The indexes that are being added.
    Updating(Vec<String>),
    /// The last description of the table, which is already gone.
    Deleting(Value),
}

impl Doing {
    fn status(&self) -> &'static str {
        match self {
            Doing::Creating => "CREATING",
            Doing::Updating(_) => "UPDATING",
            Doing::Deleting(_) => "DELETING",
        }
    }
}

impl States {
    pub(super) fn at(speed: Speed) -> States {
        States { speed, busy: Mutex::default() }
    }

    /// Records that a table was created; it becomes `ACTIVE` later.
    pub(super) fn created(&self, name: &str) {
        self.begin(name, Doing::Creating, self.speed.takes(CREATING_S).max(LEAST_COMING));
    }

    /// Records that a table was updated, which adds these indexes.
    pub(super) fn updated(&self, name: &str, indexes: Vec<String>) {
        self.begin(name, Doing::Updating(indexes), self.speed.takes(UPDATING_S).max(LEAST_CHANGING));
    }

    /// Records that a table with this description was deleted; it is visible for a while longer.
    pub(super) fn deleted(&self, name: &str, description: Value) {
        self.begin(name, Doing::Deleting(description), self.speed.takes(DELETING_S).max(LEAST_COMING));
    }

    /// Adds the table's state to its description.
    pub(super) fn show(&self, name: &str, table: &mut Value) {
        let now = self.now();
        let Some(State { doing, .. }) = now.get(name) else { return };
        table["TableStatus"] = doing.status().into();
        for index in table["GlobalSecondaryIndexes"].as_array_mut().into_iter().flatten() {
            let coming = match doing {
                Doing::Creating => true,
                Doing::Updating(indexes) => indexes.iter().any(|name| index["IndexName"] == *name),
                Doing::Deleting(_) => false,
            };
            if coming {
                index["IndexStatus"] = "CREATING".into();
            }
            if coming && !matches!(doing, Doing::Creating) {
                index["Backfilling"] = true.into();
            }
        }
    }

    /// Returns the table's status, unless it is `ACTIVE` or does not exist.
    pub(super) fn of(&self, name: &str) -> Option<&'static str> {
        self.now().get(name).map(|state| state.doing.status())
    }

    /// Returns the last description of a table that is being deleted.
    pub(super) fn last_seen(&self, name: &str) -> Option<Value> {
        match &self.now().get(name)?.doing {
            Doing::Deleting(description) => Some(description.clone()),
            _ => None,
        }
    }

    /// Returns the tables that are being deleted.
    pub(super) fn going(&self) -> Vec<String> {
        let now = self.now();
        let going = now.iter().filter(|(_, state)| matches!(state.doing, Doing::Deleting(_)));
        going.map(|(name, _)| name.clone()).collect()
    }

    /// Refuses to change a table during another change.
    pub(super) fn refuse_change(&self, name: &str) -> Result<(), Refusal> {
        let doing = match self.of(name) {
            None => return Ok(()),
            Some("CREATING") => "created",
            Some("UPDATING") => "updated",
            Some(_) => "deleted",
        };
        let text = format!("Attempt to change a resource which is still in use: Table is being {doing}: {name}");
        Err(Refusal::new(400, "ResourceInUseException", text))
    }

    /// Refuses access to the items of a table that is still being created.
    pub(super) fn refuse_items(&self, name: &str) -> Result<(), Refusal> {
        match self.of(name) {
            Some("CREATING") => Err(Refusal::new(400, "ResourceNotFoundException", "Requested resource not found")),
            _ => Ok(()),
        }
    }

    fn begin(&self, name: &str, doing: Doing, time: Duration) {
        self.now().insert(name.to_owned(), State { doing, until: Instant::now() + time });
    }

    /// Returns the unfinished transitions.
    fn now(&self) -> MutexGuard<'_, Busy> {
        let mut states = self.busy.lock();
        let now = Instant::now();
        states.retain(|_, state| state.until > now);
        states
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(answer: Result<(), Refusal>) -> String {
        answer.expect_err("it is busy").message
    }

    #[tokio::test(start_paused = true)]
    async fn a_table_in_transition_refuses_changes() {
        let states = States::at(Speed::REAL);
        states.created("posts");
        assert_eq!(states.of("posts"), Some("CREATING"));
        assert!(states.refuse_items("posts").is_err());
        assert!(refused(states.refuse_change("posts")).contains("still in use: Table is being created: posts"));
        assert!(states.refuse_change("other").is_ok());
        tokio::time::advance(Duration::from_secs(CREATING_S)).await;
        assert_eq!(states.of("posts"), None);
        assert!(states.refuse_items("posts").is_ok() && states.refuse_change("posts").is_ok());

        states.updated("posts", vec!["new".to_owned()]);
        let mut shown = json!({ "GlobalSecondaryIndexes": [{ "IndexName": "old" }, { "IndexName": "new" }] });
        states.show("posts", &mut shown);
        let indexes =
            json!([{ "IndexName": "old" }, { "IndexName": "new", "IndexStatus": "CREATING", "Backfilling": true }]);
        assert_eq!((&shown["TableStatus"], &shown["GlobalSecondaryIndexes"]), (&json!("UPDATING"), &indexes));
        assert!(refused(states.refuse_change("posts")).contains("Table is being updated"));
        assert!(states.refuse_items("posts").is_ok(), "its items can be used all the time");
        tokio::time::advance(Duration::from_secs(UPDATING_S)).await;
        assert!(states.refuse_change("posts").is_ok());

        states.deleted("posts", json!({ "TableStatus": "DELETING" }));
        assert!(refused(states.refuse_change("posts")).contains("Table is being deleted"));
        assert_eq!(states.last_seen("posts"), Some(json!({ "TableStatus": "DELETING" })));
        assert_eq!(states.going(), ["posts"]);
        tokio::time::advance(Duration::from_secs(DELETING_S)).await;
        assert_eq!((states.last_seen("posts"), states.going().len()), (None, 0));
    }
}
