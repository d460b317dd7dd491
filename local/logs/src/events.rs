//! Events: writing, reading and searching.

use serde_json::{Map, Value, json};

use kit::answer::Refusal;
use kit::parameters;

use super::input::Input;
use super::{Logs, invalid, no_group, no_stream, now};
use crate::pattern::FilterPattern;
use crate::store::{Line, Written, unwritten};

/// The maximum number of events in one response, and in one call.
const PAGE: usize = 10_000;

/// The maximum size in bytes of the events in one response, and in one call. In a call, each event counts for a little
/// more than its message (docs/aws.md §7.6).
const PAGE_BYTES: usize = 1 << 20;

const EVENT_BYTES: usize = 26;

/// The bounds on the times of events in milliseconds: in the past, in the future, and of all events in a call.
const OLDEST_MS: i64 = 14 * DAY_MS;

const NEWEST_MS: i64 = 2 * 60 * 60 * 1000;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Returns whether the next line still fits into a response, which has at least one.
fn fits_page() -> impl FnMut(&&Line) -> bool {
    let mut bytes = 0;
    move |line| {
        let is_first = bytes == 0;
        bytes += line.text.len() + EVENT_BYTES;
        is_first || bytes <= PAGE_BYTES
    }
}

/// Returns the times and messages of the events of a call, which keep to its limits (docs/aws.md §7.6).
pub(super) fn events(given: &Value) -> Result<Vec<(i64, &str)>, Refusal> {
    let given = given.as_array().map(Vec::as_slice).unwrap_or_default();
    if given.is_empty() || given.len() > PAGE {
        return Err(invalid(&format!(
            "logEvents: there must be from 1 to {PAGE} events, and there are {}",
            given.len()
        )));
    }
    let mut events = Vec::new();
    for (number, event) in (1..).zip(given) {
        let at = event["timestamp"].as_i64().filter(|at| *at >= 0);
        let text = event["message"].as_str().filter(|text| !text.is_empty());
        let missing = || invalid(&format!("logEvents.{number}: a timestamp and a message are needed"));
        events.push(at.zip(text).ok_or_else(missing)?);
    }
    let bytes: usize = events.iter().map(|(_, text)| text.len() + EVENT_BYTES).sum();
    if bytes > PAGE_BYTES {
        return Err(invalid(&format!("Upload too large: {bytes} bytes exceeds limit of {PAGE_BYTES}")));
    }
    if !events.is_sorted_by_key(|(at, _)| *at) {
        return Err(invalid("Log events in a single PutLogEvents request must be in chronological order."));
    }
    Ok(events)
}

impl Logs {
    pub(super) fn put_events(&self, input: Input) -> Result<Value, Refusal> {
        let group = input.required("logGroupName")?;
        let stream = input.required("logStreamName")?;
        let events = events(&input.0["logEvents"])?;
        // Until the events are written: a group that is deleted meanwhile would come back.
        let mut kept = self.kept();
        let found = kept.groups.get(group).ok_or_else(no_group)?;
        let retention = found.streams.get(stream).map(|_| found.retention_days).ok_or_else(no_stream)?;
        let now = now();
        let kept_ms = retention.and_then(|days| i64::try_from(days).ok()).map_or(i64::MAX, |days| days * DAY_MS);
        let before = |age_ms: i64| events.partition_point(|(at, _)| *at < now.saturating_sub(age_ms));
        let (old, expired) = (before(OLDEST_MS), before(kept_ms));
        let new = events.partition_point(|(at, _)| *at <= now + NEWEST_MS);
        let accepted = events.get(old.max(expired)..new).unwrap_or_default();
        if let (Some((first, _)), Some((last, _))) = (accepted.first(), accepted.last())
            && last - first > DAY_MS
        {
            let text = "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.";
            return Err(invalid(text));
        }
        let lines = accepted.iter().map(|(at, text)| Written {
            group: group.into(),
            stream: stream.into(),
            at: *at,
            arrived: Some(now),
            text: (*text).into(),
        });
        let lines: Vec<Written> = lines.collect();
        if !lines.is_empty() {
            kept.write(lines).map_err(unwritten)?;
        }
        let mut rejected = Map::new();
        if old > 0 {
            rejected.insert("tooOldLogEventEndIndex".to_owned(), old.into());
        }
        if expired > 0 {
            rejected.insert("expiredLogEventEndIndex".to_owned(), expired.into());
        }
        if new < events.len() {
            rejected.insert("tooNewLogEventStartIndex".to_owned(), new.into());
        }
        Ok(match rejected.is_empty() {
            true => json!({}),
            false => json!({ "rejectedLogEventsInfo": rejected }),
        })
    }

    /// Returns the newest page unless the oldest is requested. At either end, the next token is the given one.
    pub(super) fn get_events(&self, input: Input) -> Result<Value, Refusal> {
        let name = input.required("logStreamName")?;
        let limit = input.limit(PAGE)?;
        let at = |token: &str| token.parse::<usize>().map_err(|_| invalid("The specified nextToken is invalid."));
        self.in_group(input, |group| {
            let stream = group.streams.get(name).ok_or_else(no_stream)?;
            let mut lines: Vec<&Line> = stream.lines.iter().filter(|line| input.in_time(line.at, false)).collect();
            lines.sort_by_key(|line| line.at);
            let token = input.text("nextToken").map(|token| token.split_once('/').unwrap_or(("", token)));
            let forward = |start: usize| {
                let start = start.min(lines.len());
                (start, start + lines[start..].iter().copied().take(limit).take_while(fits_page()).count())
            };
            let backward = |end: usize| {
                let end = end.min(lines.len());
                (end - lines[..end].iter().copied().rev().take(limit).take_while(fits_page()).count(), end)
            };
            let (start, end) = match token {
                Some(("f", token)) => forward(at(token)?),
                Some(("b", token)) => backward(at(token)?),
                Some((_, _)) => return Err(invalid("The specified nextToken is invalid.")),
                None if input.0["startFromHead"] == true => forward(0),
                None => backward(lines.len()),
            };
            Ok(json!({
                "events": lines[start..end].iter().map(|line| line.shown()).collect::<Vec<_>>(),
                "nextForwardToken": format!("f/{end}"),
                "nextBackwardToken": format!("b/{start}"),
            }))
        })
    }

    pub(super) fn filter_events(&self, input: Input) -> Result<Value, Refusal> {
        let prefix = input.text("logStreamNamePrefix").unwrap_or_default();
        let names = input.list("logStreamNames");
        let pattern = input.text("filterPattern").unwrap_or_default();
        let is_regex = pattern.len() > 1 && pattern.starts_with('%') && pattern.ends_with('%');
        if is_regex || pattern.trim_start().starts_with(['{', '[']) {
            let text = format!("the local AWS has no patterns of fields and no regular expressions: {pattern}");
            return Err(parameters::refusal(text));
        }
        if !prefix.is_empty() && !names.is_empty() {
            return Err(invalid("logStreamNamePrefix and logStreamNames exclude each other."));
        }
        let pattern = FilterPattern::read(pattern);
        let limit = input.limit(PAGE)?;
        let skipped = input.skipped()?;
        self.in_group(input, |group| {
            let mut found: Vec<(&String, &Line)> = group
                .streams
                .iter()
                .filter(|(name, _)| name.starts_with(prefix) && (names.is_empty() || names.contains(&name.as_str())))
                .flat_map(|(name, stream)| stream.lines.iter().map(move |line| (name, line)))
                .filter(|(_, line)| input.in_time(line.at, true) && pattern.fits(&line.text))
                .collect();
            found.sort_by_key(|(_, line)| (line.at, line.arrived, line.id));
            let total = found.len();
            let mut fits = fits_page();
            let page = found.into_iter().skip(skipped).take(limit).take_while(|(_, line)| fits(line));
            let events: Vec<Value> = page
                .map(|(stream, line)| {
                    let mut event = line.shown();
                    event["logStreamName"] = stream.as_str().into();
                    event["eventId"] = line.event_id().into();
                    event
                })
                .collect();
            let end = skipped + events.len();
            let mut answer = json!({ "events": events, "searchedLogStreams": [] });
            if end < total {
                answer["nextToken"] = json!(end.to_string());
            }
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_of_a_call_are_kept_together_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let put = |logs: &Logs, texts: &[&str]| {
            let events: Vec<Value> = texts.iter().map(|text| json!({ "timestamp": now(), "message": text })).collect();
            let input = json!({ "logGroupName": "group", "logStreamName": "stream", "logEvents": events });
            logs.put_events(Input(&input))
        };
        let lines = |logs: &Logs| -> Vec<String> {
            logs.kept().groups["group"].streams["stream"].lines.iter().map(|line| line.text.clone()).collect()
        };
        let logs = Logs::open(dir.path(), "us-east-1").unwrap();
        logs.create_group(Input(&json!({ "logGroupName": "group" }))).unwrap();
        logs.create_stream(Input(&json!({ "logGroupName": "group", "logStreamName": "stream" }))).unwrap();
        put(&logs, &["a", "b"]).unwrap();
        drop(logs);
        let is_log = |path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "log");
        let file = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).find(is_log).unwrap();
        let first = std::fs::metadata(&file).unwrap().len();
        put(&Logs::open(dir.path(), "us-east-1").unwrap(), &["c", "d", "e"]).unwrap();
        let whole = std::fs::read(&file).unwrap();
        assert!(first > 0 && whole.len() as u64 > first);
        // A server may be killed after any byte it writes, and before the mark records the write.
        std::fs::remove_file(dir.path().join("log-groups.mark")).unwrap();
        for length in first as usize..=whole.len() {
            std::fs::write(&file, &whole[..length]).unwrap();
            let kept = lines(&Logs::open(dir.path(), "us-east-1").unwrap());
            let expected = if length == whole.len() { vec!["a", "b", "c", "d", "e"] } else { vec!["a", "b"] };
            assert_eq!(kept, expected, "{length} bytes");
        }
        // A failed call leaves nothing behind: its retry writes the events once.
        let logs = Logs::open(dir.path(), "us-east-1").unwrap();
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert_eq!(put(&logs, &["f", "g"]).unwrap_err().status, 500);
        assert_eq!(lines(&logs).len(), 5);
        std::fs::remove_dir(&file).unwrap();
        std::fs::write(&file, &whole).unwrap();
        put(&logs, &["f", "g"]).unwrap();
        drop(logs);
        assert_eq!(lines(&Logs::open(dir.path(), "us-east-1").unwrap()), ["a", "b", "c", "d", "e", "f", "g"]);
    }

    #[test]
    fn a_call_with_events_keeps_to_the_limits_of_aws() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::open(dir.path(), "us-east-1").unwrap();
        logs.create_group(Input(&json!({ "logGroupName": "g" }))).unwrap();
        logs.create_stream(Input(&json!({ "logGroupName": "g", "logStreamName": "s" }))).unwrap();
        let put = |events: &[(i64, &str)]| {
            let events: Vec<Value> = events.iter().map(|(at, it)| json!({ "timestamp": at, "message": it })).collect();
            let input = json!({ "logGroupName": "g", "logStreamName": "s", "logEvents": events });
            logs.put_events(Input(&input)).map_err(|refusal| refusal.message)
        };
        let now = now();
        let refused = |events: &[(i64, &str)], text: &str| {
            let error = put(events).unwrap_err();
            assert!(error.contains(text), "{error}");
        };
        refused(&[], "there must be from 1");
        refused(&vec![(now, "a"); PAGE + 1], "there must be from 1");
        refused(&[(now, "a"), (now, "")], "logEvents.2");
        refused(&[(now, "a"), (now - 1, "b")], "chronological");
        refused(&[(now - DAY_MS - 1, "a"), (now, "b")], "24 hours");
        let longest = "x".repeat(PAGE_BYTES - EVENT_BYTES);
        refused(&[(now, &(longest.clone() + "x"))], "Upload too large: 1048577 bytes");
        assert_eq!(put(&[(now, &longest)]).unwrap(), json!({}));
        let rejected = put(&[(now - OLDEST_MS - 1000, "old"), (now, "kept"), (now + NEWEST_MS + 60_000, "new")]);
        let indices = json!({ "tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2 });
        assert_eq!(rejected.unwrap(), json!({ "rejectedLogEventsInfo": indices }));
        logs.put_retention(Input(&json!({ "logGroupName": "g", "retentionInDays": 1 }))).unwrap();
        let expired = put(&[(now - DAY_MS - 1000, "old"), (now, "kept")]);
        assert_eq!(expired.unwrap(), json!({ "rejectedLogEventsInfo": { "expiredLogEventEndIndex": 1 } }));
        // A page has at most a megabyte, and ids stay the same.
        let page = |input: Value| logs.filter_events(Input(&input)).unwrap();
        let first = page(json!({ "logGroupName": "g" }));
        assert_eq!((first["events"].as_array().map(Vec::len), &first["nextToken"]), (Some(1), &json!("1")));
        let second = page(json!({ "logGroupName": "g", "nextToken": "1" }));
        let kept = page(json!({ "logGroupName": "g", "filterPattern": "kept" }));
        assert_eq!((second["events"].as_array().map(Vec::len), &second["events"]), (Some(2), &kept["events"]));
    }

    #[test]
    fn a_page_of_a_stream_has_at_most_a_megabyte() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::open(dir.path(), "us-east-1").unwrap();
        for number in 0..5 {
            logs.write("g", "s", &format!("{number}{}", "x".repeat(PAGE_BYTES / 2 - EVENT_BYTES - 1)));
        }
        let page = |more: Value| {
            let mut input = json!({ "logGroupName": "g", "logStreamName": "s" });
            input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let answer = logs.get_events(Input(&input)).unwrap();
            let events = answer["events"].as_array().unwrap();
            let text: String = events.iter().map(|event| &event["message"].as_str().unwrap()[..1]).collect();
            let token = |name: &str| answer[name].as_str().unwrap().to_owned();
            (text, token("nextBackwardToken"), token("nextForwardToken"))
        };
        for (input, events, back, forth) in [
            (json!({}), "34", "b/3", "f/5"),
            (json!({ "nextToken": "b/3" }), "12", "b/1", "f/3"),
            (json!({ "nextToken": "b/1" }), "0", "b/0", "f/1"),
            (json!({ "nextToken": "b/0" }), "", "b/0", "f/0"),
            (json!({ "startFromHead": true }), "01", "b/0", "f/2"),
            (json!({ "nextToken": "f/2", "startFromHead": true }), "23", "b/2", "f/4"),
            (json!({ "nextToken": "f/4", "limit": 1 }), "4", "b/4", "f/5"),
            (json!({ "nextToken": "f/9" }), "", "b/5", "f/5"),
        ] {
            assert_eq!(page(input.clone()), (events.to_owned(), back.to_owned(), forth.to_owned()), "{input}");
        }
        logs.write("g", "s", &"y".repeat(PAGE_BYTES + 1));
        assert_eq!(page(json!({})).0, "y", "a page has at least one event");
    }
}
