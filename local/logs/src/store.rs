//! The stored data: groups, their streams and lines, with the chronicle that persists them.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::io;

use kit::answer::Refusal;
use kit::chronicle::Chronicle;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The maximum number of lines to keep in a stream.
const KEPT_LINES: usize = 2_000;
/// The maximum number of streams to keep in a group: every process of a function has its own.
pub const KEPT_STREAMS: usize = 100;
/// The groups and their chronicle: lines are appended to its log; all other changes are rare and write a new snapshot.
#[derive(Debug)]
pub struct LogGroups {
    pub groups: BTreeMap<String, LogGroup>,
    pub chronicle: Chronicle,
}

#[derive(Serialize)]
pub struct Snapshot<'a> {
    pub groups: &'a BTreeMap<String, LogGroup>,
}

/// A line, as stored in the chronicle.
#[derive(Clone, Serialize, Deserialize)]
pub struct Written<'a> {
    pub group: Cow<'a, str>,
    pub stream: Cow<'a, str>,
    pub at: i64,
    /// When it arrived; at the same time if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrived: Option<i64>,
    pub text: Cow<'a, str>,
}

/// An entry of the chronicle: one line, or the lines of one call.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum ChronicleEntry<'a> {
    One(Written<'a>),
    Several(Vec<Written<'a>>),
}

impl LogGroups {
    /// Adds lines, as one log entry, so that either all of them are kept or none.
    ///
    /// Errors: nothing was added.
    pub fn write(&mut self, lines: Vec<Written>) -> io::Result<()> {
        if self.chronicle.is_long()
            && let Err(fault) = self.save()
        {
            // Nothing is lost: the log still has everything, and only keeps growing.
            tracing::warn!(%fault, "failed to write a snapshot of the logs");
        }
        self.chronicle.append(&serde_json::to_vec(&lines).map_err(io::Error::other)?)?;
        for line in lines {
            add(&mut self.groups, line);
        }
        Ok(())
    }

    /// Applies a change to one group; the group is restored if the change cannot be written to disk.
    pub fn change<T>(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut BTreeMap<String, LogGroup>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let before = self.groups.get(name).cloned();
        let done = change(&mut self.groups)?;
        self.save().map_err(|fault| {
            match before {
                Some(before) => drop(self.groups.insert(name.to_owned(), before)),
                None => drop(self.groups.remove(name)),
            }
            unwritten(fault)
        })?;
        Ok(done)
    }

    pub fn save(&mut self) -> io::Result<()> {
        self.chronicle.rewrite(&Snapshot { groups: &self.groups })
    }
}

/// Adds a line. Its group is created if the user has not done so, as Lambda does.
pub fn add(groups: &mut BTreeMap<String, LogGroup>, line: Written) {
    let Written { group, stream, at, arrived, text } = line;
    let group = groups.entry(group.into_owned()).or_insert_with(|| LogGroup { created: at, ..LogGroup::default() });
    group.make_room(&stream);
    group.written += 1;
    let id = group.written;
    let stream =
        group.streams.entry(stream.into_owned()).or_insert_with(|| Stream { created: at, ..Stream::default() });
    if stream.lines.len() == KEPT_LINES {
        stream.lines.pop_front();
    }
    stream.lines.push_back(Line { id, at, arrived: arrived.unwrap_or(at), text: text.into_owned() });
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LogGroup {
    pub created: i64,
    pub retention_days: Option<u64>,
    pub tags: BTreeMap<String, String>,
    /// The ARN of the key of KMS that new lines are encrypted with, if any.
    #[serde(default)]
    pub key: Option<String>,
    pub streams: BTreeMap<String, Stream>,
    /// How many lines have been written to it.
    #[serde(default)]
    pub written: u64,
}

impl LogGroup {
    /// Removes the oldest streams if adding `stream` would exceed the maximum.
    pub fn make_room(&mut self, stream: &str) {
        while self.streams.len() >= KEPT_STREAMS && !self.streams.contains_key(stream) {
            let oldest = self.streams.iter().min_by_key(|(_, stream)| stream.created);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else { return };
            self.streams.remove(&oldest);
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Stream {
    pub created: i64,
    pub lines: VecDeque<Line>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// Its number within the group.
    #[serde(default)]
    pub id: u64,
    pub at: i64,
    #[serde(default)]
    pub arrived: i64,
    pub text: String,
}

impl Line {
    /// Returns the event's id, which is unique and stays the same.
    pub fn event_id(&self) -> String {
        format!("{:020}{:036}", self.at, self.id)
    }

    pub fn shown(&self) -> Value {
        json!({ "timestamp": self.at, "ingestionTime": self.arrived.max(self.at), "message": self.text })
    }
}

/// The error for a change that the disk does not take.
pub fn unwritten(fault: io::Error) -> Refusal {
    Refusal::new(500, "ServiceUnavailableException", format!("the local AWS cannot write its logs: {fault}"))
}
