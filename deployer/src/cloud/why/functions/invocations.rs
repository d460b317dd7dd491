//! Invocations of a function, as its log has them.

use super::signs::{SIGNS, Sign};

/// A line of a log, with its time in milliseconds since 1970.
pub(super) type Event = (i64, String);

/// One invocation, or what is left of one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Invocation {
    /// Its request id; empty for lines outside an invocation.
    id: String,
    /// The time of its last line.
    at_ms: i64,
    pub(super) lines: Vec<String>,
    /// Whether Lambda has reported its end.
    is_over: bool,
}

impl Invocation {
    fn add(&mut self, (at_ms, text): &Event) {
        self.at_ms = self.at_ms.max(*at_ms);
        self.is_over |= text.starts_with("REPORT RequestId: ");
        self.lines.push(text.clone());
    }

    /// The line of the log with the reason for the failure.
    pub(super) fn sign(&self) -> Option<(&'static Sign, &str)> {
        SIGNS.iter().find_map(|sign| Some((sign, self.lines.iter().rev().find(|line| sign.is_in(line))?.as_str())))
    }
}

/// The invocations in the lines of a stream. A stream has one after the other; how a process ended is logged after the end
/// of its invocation, with the request id (docs/aws.md §7.6).
pub(super) fn invocations(events: &[Event]) -> Vec<Invocation> {
    let mut all: Vec<Invocation> = Vec::new();
    let mut outside = Invocation::default();
    for event in events {
        let (_, text) = event;
        if let Some(start) = text.strip_prefix("START RequestId: ") {
            // The lines of a process that starts belong to the invocation that it starts for.
            let mut invocation = std::mem::take(&mut outside);
            invocation.id = start.split_whitespace().next().unwrap_or_default().to_owned();
            invocation.add(event);
            all.push(invocation);
            continue;
        }
        let named = all.iter().rposition(|it| !it.id.is_empty() && text.contains(&it.id));
        let open = all.len().checked_sub(1).filter(|last| !all[*last].is_over);
        match named.or(open) {
            Some(at) => all[at].add(event),
            None => outside.add(event),
        }
    }
    all.extend(Some(outside).filter(|it| !it.lines.is_empty()));
    all
}

/// The lines since this time of the invocations after the last one that succeeded, invocation after invocation.
pub(super) fn failed_lines(streams: &[Vec<Event>], since_ms: i64) -> Vec<String> {
    let recent = |events: &Vec<Event>| -> Vec<Event> {
        events.iter().filter(|(at_ms, _)| *at_ms >= since_ms).cloned().collect()
    };
    let mut all: Vec<Invocation> = streams.iter().flat_map(|events| invocations(&recent(events))).collect();
    all.sort_by_key(|it| it.at_ms);
    let succeeded = all.iter().rposition(|it| it.is_over && it.sign().is_none());
    all.into_iter().skip(succeeded.map_or(0, |at| at + 1)).flat_map(|it| it.lines).collect()
}
