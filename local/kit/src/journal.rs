//! The most recent API calls, for tests and debugging.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::Serialize;

use crate::call::Call;

/// The maximum number of calls to keep.
const REMEMBERED: usize = 10_000;

/// A call that was answered.
#[derive(Debug, Clone, Serialize)]
pub struct JournalEntry {
    /// Numbers the calls from 1 for the life of the server.
    pub n: u64,
    /// The service's name.
    pub service: String,
    /// The operation's name.
    pub operation: String,
    /// Whether the operation may change state.
    pub mutating: bool,
    /// The HTTP status; 0 if the connection was cut before a response.
    pub status: u16,
    /// The fault that was injected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<&'static str>,
    /// Why the caller was denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied: Option<String>,
}

/// A bounded list of calls, oldest first.
#[derive(Debug, Default)]
pub struct Journal {
    entries: Mutex<VecDeque<JournalEntry>>,
}

impl Journal {
    /// Records a call, dropping the oldest if the journal is full.
    pub fn note(&self, call: &Call, status: u16, fault: Option<&'static str>, denied: Option<String>) {
        let mut entries = self.entries.lock();
        let n = entries.back().map_or(1, |last| last.n + 1);
        if entries.len() == REMEMBERED {
            entries.pop_front();
        }
        entries.push_back(JournalEntry {
            n,
            service: call.service.clone(),
            operation: call.operation.clone(),
            mutating: call.mutating(),
            status,
            fault,
            denied,
        });
    }

    /// The recorded calls, oldest first.
    pub fn entries(&self) -> Vec<JournalEntry> {
        self.entries.lock().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Protocol;

    #[test]
    fn the_oldest_calls_are_forgotten_and_numbers_go_on() {
        let journal = Journal::default();
        let call = Call::writing("s3", "PutObject", Protocol::RestXml);
        for _ in 0..REMEMBERED + 5 {
            journal.note(&call, 200, None, None);
        }
        let entries = journal.entries();
        assert_eq!(entries.len(), REMEMBERED);
        assert_eq!((entries[0].n, entries[REMEMBERED - 1].n), (6, REMEMBERED as u64 + 5));
        assert!(entries[0].mutating);
    }
}
