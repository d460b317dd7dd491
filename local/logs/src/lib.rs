//! CloudWatch Logs: log groups, streams and events.

mod events;
mod groups;
mod input;
mod operation;
mod pattern;
mod store;
mod streams;
mod tags;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use time::OffsetDateTime;

use kit::answer::{Protocol, Refusal, Response, json_answer};
use kit::call::{Call, Operation};
use kit::chronicle::{Chronicle, Past};
use kit::parameters;

use crate::store::{ChronicleEntry, LogGroup, LogGroups, Written, add};

pub use input::Input;
pub use operation::{OPERATIONS, rows, to_make_group, to_write};

/// The log groups of a region.
///
/// Guarantees: acknowledged calls, and lines that functions wrote, survive killing the server.
#[derive(Debug)]
pub struct Logs {
    region: String,
    kept: Mutex<LogGroups>,
}

impl Logs {
    /// Reads the groups in a directory.
    pub fn open(dir: &Path, region: &str) -> anyhow::Result<Logs> {
        let (chronicle, Past { snapshot, changes }) = Chronicle::open(dir, "log-groups")?;
        let damaged = || format!("{} does not hold log groups", dir.join("log-groups.json").display());
        let mut groups = match snapshot {
            Some(mut state) => serde_json::from_value(state["groups"].take()).with_context(damaged)?,
            None => BTreeMap::new(),
        };
        for change in &changes {
            match serde_json::from_slice(change).context("a logged line of a function is not JSON")? {
                ChronicleEntry::One(line) => add(&mut groups, line),
                ChronicleEntry::Several(lines) => lines.into_iter().for_each(|line| add(&mut groups, line)),
            }
        }
        Ok(Logs { region: region.to_owned(), kept: Mutex::new(LogGroups { groups, chronicle }) })
    }

    /// Writes a line of a function.
    pub fn write(&self, group: &str, stream: &str, text: &str) {
        let (group, stream, text) = (group.into(), stream.into(), text.into());
        let line = Written { group, stream, at: now(), arrived: None, text };
        let mut kept = self.kept();
        if let Err(fault) = kept.write(vec![line.clone()]) {
            // The function cannot be notified; readers of the logs still see the line.
            tracing::error!(%fault, "a line of a function could not be kept");
            add(&mut kept.groups, line);
        }
    }

    /// Whether there is no such group.
    pub fn lacks(&self, group: &str) -> bool {
        !self.kept().groups.contains_key(group)
    }

    /// Makes a call for a program of the local AWS.
    pub fn call(&self, operation: &str, input: &Value) -> Result<Value, Refusal> {
        let operation = Operation::find(OPERATIONS, operation).ok_or_else(|| invalid("there is no such operation"))?;
        parameters::check_json(operation.parameters, input)?;
        (operation.run)(self, Input(input))
    }

    /// Answers a call; `None` if there is no such operation.
    pub fn answer(&self, call: &Call) -> Option<Response> {
        let operation = Operation::find(OPERATIONS, &call.operation)?;
        let input = parameters::document(operation.parameters, call.input.json());
        Some(match input.and_then(|input| (operation.run)(self, Input(input))) {
            Ok(answer) => json_answer(200, Protocol::Json11, &answer),
            Err(refusal) => refusal.answer(Protocol::Json11),
        })
    }

    /// There are no metric filters here.
    fn describe_metric_filters(&self, input: Input) -> Result<Value, Refusal> {
        input.limit(MOST_LISTED)?;
        match input.text("logGroupName") {
            Some(_) => self.in_group(input, |_| Ok(json!({ "metricFilters": [] }))),
            None => Ok(json!({ "metricFilters": [] })),
        }
    }

    /// There are no subscription filters here.
    fn describe_subscription_filters(&self, input: Input) -> Result<Value, Refusal> {
        input.limit(MOST_LISTED)?;
        self.in_group(input, |_| Ok(json!({ "subscriptionFilters": [] })))
    }

    fn in_group<T>(&self, input: Input, act: impl FnOnce(&LogGroup) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let name = match input.text("logGroupName") {
            Some(name) => name,
            None => tags::name_in(input.required("logGroupIdentifier")?),
        };
        act(self.kept().groups.get(name).ok_or_else(no_group)?)
    }

    fn kept(&self) -> MutexGuard<'_, LogGroups> {
        self.kept.lock()
    }
}

/// The default and maximum number of items of a list other than events.
const MOST_LISTED: usize = 50;

fn invalid(text: &str) -> Refusal {
    Refusal::new(400, "InvalidParameterException", text)
}

fn no_group() -> Refusal {
    Refusal::new(400, "ResourceNotFoundException", "The specified log group does not exist.")
}

fn no_stream() -> Refusal {
    Refusal::new(400, "ResourceNotFoundException", "The specified log stream does not exist.")
}

fn now() -> i64 {
    (OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{KEPT_STREAMS, Stream};

    #[test]
    fn old_streams_make_room_for_new_ones() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::open(dir.path(), "us-east-1").unwrap();
        for number in 0..KEPT_STREAMS + 5 {
            logs.write("group", &format!("stream {number}"), "line");
        }
        assert_eq!(logs.kept().groups["group"].streams.len(), KEPT_STREAMS);
        for number in 0..3 {
            let name = json!({ "logGroupName": "group", "logStreamName": format!("created {number}") });
            logs.create_stream(Input(&name)).unwrap();
            assert_eq!(logs.kept().groups["group"].streams.len(), KEPT_STREAMS);
        }
        // A group that already has too many streams, from an older server.
        let kept = &mut logs.kept().groups;
        let group = kept.get_mut("group").unwrap();
        (0..3).for_each(|number| drop(group.streams.insert(format!("more {number}"), Stream::default())));
        group.make_room("another");
        assert_eq!(group.streams.len(), KEPT_STREAMS - 1);
    }

    #[test]
    fn events_do_not_bring_back_a_group_that_is_being_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::open(dir.path(), "us-east-1").unwrap();
        let stream = json!({ "logGroupName": "g", "logStreamName": "s" });
        let mut put = stream.clone();
        put["logEvents"] = json!([{ "timestamp": now(), "message": "line" }]);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        drop(logs.put_events(Input(&put)));
                    }
                });
            }
            let stays_deleted = (0..30).all(|_| {
                let group = json!({ "logGroupName": "g" });
                let made = logs.create_group(Input(&group)).and_then(|_| logs.create_stream(Input(&stream)));
                let deleted = made.and_then(|_| logs.delete_group(Input(&group)));
                // Events that come too late are found here, or by the next round.
                std::thread::yield_now();
                deleted.is_ok() && logs.lacks("g")
            });
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(stays_deleted);
        });
    }
}
