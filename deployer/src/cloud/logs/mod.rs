//! The lines that functions and services have logged, and the reports of booting instances, merged by time.
//!
//! A log group is read page by page, so that a long log needs no more memory than a short one. Lines that follow are
//! found by reading the last minutes again: lines are sent in batches, so they appear late and out of order. A line that is
//! both in a report and in a log group is returned once.

mod feed;
mod reader;
mod reports;
mod union;

pub use reader::Reader;

use super::why::Reports;

/// A service or function whose lines are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPlace {
    /// Which of the two it is.
    pub kind: LogKind,
    /// Its name in `stack.yaml`.
    pub name: String,
    /// Its log group.
    pub log_group: String,
    /// The location of its instances' reports.
    pub reports: Option<Reports>,
}

/// The kind of a log source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogKind {
    /// Each log stream is an instance.
    Service,
    /// Each log stream is a process of a function.
    Function,
}

impl LogKind {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            LogKind::Service => "service",
            LogKind::Function => "function",
        }
    }
}

/// Where a line was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// In a log group, under this event id.
    Log(String),
    /// In a report of this name.
    Report(String),
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written, in milliseconds since 1970.
    pub at_ms: i64,
    /// The position of its service or function in the list that is read.
    pub place: usize,
    /// The instance, or the log stream of a function.
    pub stream: String,
    /// Where it was found.
    pub found: Found,
    /// The line itself, of whatever the program has printed.
    pub text: String,
}

impl LogLine {
    /// The order in which lines are returned. The time of a reported line has no fraction of a second: it comes after
    /// the logged lines of the same second, one of which may be the same line.
    fn rank(&self) -> i64 {
        match self.found {
            Found::Log(_) => self.at_ms,
            Found::Report(_) => self.at_ms.saturating_add(999),
        }
    }
}
