//! The queue of asynchronous events. They are on disk until handled: an accepted event is delivered at least once.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use kit::store;

/// An accepted event, with its file.
#[derive(Debug)]
pub struct Event {
    /// The function's name.
    pub function: String,
    /// The event, as JSON.
    pub payload: Bytes,
    accepted: OffsetDateTime,
    due: OffsetDateTime,
    file: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct StoredEvent {
    function: String,
    payload: String,
    accepted_ms: i64,
    /// When to deliver it; immediately by default.
    #[serde(default)]
    due_ms: i64,
}

impl Event {
    /// An event for delivery after `delay`, which is not yet on disk.
    pub(super) fn new(dir: &Path, function: &str, payload: Bytes, delay: Duration) -> Event {
        let accepted = OffsetDateTime::now_utc();
        // Names sort by age, oldest first.
        let file = place(dir).join(format!("{:015}-{}.json", millis(accepted), Uuid::new_v4().simple()));
        Event { function: function.to_owned(), payload, accepted, due: accepted + delay, file }
    }

    /// Writes the event to disk.
    pub(super) fn keep(&self) -> io::Result<()> {
        let stored = StoredEvent {
            function: self.function.clone(),
            payload: String::from_utf8_lossy(&self.payload).into_owned(),
            accepted_ms: millis(self.accepted),
            due_ms: millis(self.due),
        };
        store::write_json(&self.file, &stored)
    }

    /// Returns the events that an earlier server accepted but did not finish, oldest first.
    pub(super) fn left(dir: &Path) -> anyhow::Result<Vec<Event>> {
        let place = place(dir);
        store::remove_unfinished(&place)?;
        let mut files = match std::fs::read_dir(&place) {
            Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            listing => listing?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?,
        };
        files.sort();
        let mut left = Vec::new();
        for file in files {
            if let Some(StoredEvent { function, payload, accepted_ms, due_ms }) = store::read_json(&file)? {
                let moment = |ms: i64| OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
                let (accepted, due) = (moment(accepted_ms)?, moment(due_ms)?);
                left.push(Event { function, payload: payload.into(), accepted, due, file });
            }
        }
        Ok(left)
    }

    /// Returns the time until the event is due.
    pub(super) fn wait(&self) -> Duration {
        (self.due - OffsetDateTime::now_utc()).try_into().unwrap_or_default()
    }

    /// Returns the time since the event was accepted.
    pub(super) fn age(&self) -> Duration {
        (OffsetDateTime::now_utc() - self.accepted).try_into().unwrap_or_default()
    }

    /// Removes an event that has succeeded or failed for good.
    pub fn forget(self) {
        // An event that could not be written has no file.
        if self.file.exists()
            && let Err(fault) = std::fs::remove_file(&self.file)
        {
            tracing::warn!(%fault, "a handled event could not be removed; it will be delivered once more");
        }
    }
}

fn millis(at: OffsetDateTime) -> i64 {
    (at.unix_timestamp_nanos() / 1_000_000) as i64
}

fn place(dir: &Path) -> PathBuf {
    dir.join("events")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_kept_until_it_is_handled() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Event::left(dir.path()).unwrap().is_empty());
        Event::new(dir.path(), "labeler", Bytes::from("{\"n\":1}"), Duration::from_secs(60)).keep().unwrap();
        let mut left = Event::left(dir.path()).unwrap();
        assert_eq!((left[0].function.as_str(), &left[0].payload[..]), ("labeler", &b"{\"n\":1}"[..]));
        assert!(left[0].wait() > Duration::from_secs(50));
        left.remove(0).forget();
        assert!(Event::left(dir.path()).unwrap().is_empty());
    }
}
