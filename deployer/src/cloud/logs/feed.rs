//! One log group, read page by page in the order of time.

use std::collections::VecDeque;

use aws_sdk_cloudwatchlogs::operation::filter_log_events::{FilterLogEventsError, FilterLogEventsOutput};
use aws_sdk_cloudwatchlogs::types::FilteredLogEvent;

use super::{Found, LogLine, LogPlace};
use crate::{
    cloud::aws::{Aws, Pages},
    engine::Fault,
};

/// The lines that are still to be returned.
pub struct Feed {
    place: usize,
    ready: VecDeque<LogLine>,
    pages: Option<Pages<FilterLogEventsOutput, FilterLogEventsError>>,
}

impl Feed {
    /// The lines of a log group from a time on.
    ///
    /// Text is not searched by AWS: its filter patterns match terms, and not any part of a line (docs/aws.md §7.6).
    pub fn of_log(aws: &Aws, place: usize, at: &LogPlace, since_ms: i64) -> Feed {
        let call = aws.logs.filter_log_events().log_group_name(&at.log_group).start_time(since_ms.max(0));
        let pages = Pages::of(call.into_paginator().send());
        Feed { place, ready: VecDeque::new(), pages: Some(pages) }
    }

    /// These lines.
    pub fn of_lines(place: usize, mut lines: Vec<LogLine>) -> Feed {
        lines.sort_by_key(LogLine::rank);
        Feed { place, ready: lines.into(), pages: None }
    }

    /// Reads on until there is a line, or none is left. A page may be empty although others follow.
    pub async fn fill(&mut self) -> Result<(), Fault> {
        while let (true, Some(pages)) = (self.ready.is_empty(), &mut self.pages) {
            match pages.next().await {
                Ok(Some(events)) => self.ready.extend(events.into_iter().map(|event| line(self.place, event))),
                Ok(None) => self.pages = None,
                // The group does not exist before the first `up`, or any more.
                Err(fault) if fault.is_absent() => self.pages = None,
                Err(fault) => {
                    self.pages = None;
                    return Err(fault);
                }
            }
        }
        Ok(())
    }

    /// The position of its service or function in the list that is read.
    pub fn place(&self) -> usize {
        self.place
    }

    /// Whether it has no line to return before it reads on.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.pages.is_some()
    }

    /// The next line's rank.
    pub fn rank(&self) -> Option<i64> {
        self.ready.front().map(LogLine::rank)
    }

    /// Returns the next line.
    pub fn take(&mut self) -> Option<LogLine> {
        self.ready.pop_front()
    }
}

fn line(place: usize, event: FilteredLogEvent) -> LogLine {
    LogLine {
        at_ms: event.timestamp().unwrap_or_default(),
        place,
        stream: event.log_stream_name().unwrap_or_default().to_owned(),
        found: Found::Log(event.event_id().unwrap_or_default().to_owned()),
        text: event.message().unwrap_or_default().trim_end().to_owned(),
    }
}
