//! Streams of a log group.

use serde_json::{Value, json};

use kit::answer::Refusal;
use kit::constraint;

use super::input::Input;
use super::{Logs, MOST_LISTED, invalid, now};
use crate::store::Stream;

impl Logs {
    pub(super) fn create_stream(&self, input: Input) -> Result<Value, Refusal> {
        let name = input.required("logStreamName")?;
        if name.is_empty() || name.len() > 512 || name.contains([':', '*']) {
            return Err(invalid("the name of the log stream is not valid"));
        }
        self.change_group(input.required("logGroupName")?, |group| {
            if group.streams.contains_key(name) {
                let text = "The specified log stream already exists";
                return Err(Refusal::new(400, "ResourceAlreadyExistsException", text));
            }
            group.make_room(name);
            group.streams.insert(name.to_owned(), Stream { created: now(), ..Stream::default() });
            Ok(json!({}))
        })
    }

    pub(super) fn describe_streams(&self, input: Input) -> Result<Value, Refusal> {
        let prefix = input.text("logStreamNamePrefix").unwrap_or_default();
        let order = input.text("orderBy").unwrap_or("LogStreamName");
        constraint::one_of("orderBy", order, &["LogStreamName", "LastEventTime"]).map_err(|text| invalid(&text))?;
        let by_time = order == "LastEventTime";
        if by_time && !prefix.is_empty() {
            return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
        }
        let limit = input.limit(MOST_LISTED)?;
        let skipped = input.skipped()?;
        self.in_group(input, |group| {
            let mut streams: Vec<_> = group.streams.iter().filter(|(name, _)| name.starts_with(prefix)).collect();
            if by_time {
                streams.sort_by_key(|(_, stream)| stream.lines.back().map_or(0, |line| line.at));
            }
            if input.0["descending"].as_bool().unwrap_or(false) {
                streams.reverse();
            }
            let page = streams.iter().skip(skipped).take(limit);
            let page: Vec<Value> = page.map(|(name, stream)| describe_stream(name, stream)).collect();
            let end = skipped + page.len();
            let mut answer = json!({ "logStreams": page });
            if end < streams.len() {
                answer["nextToken"] = json!(end.to_string());
            }
            Ok(answer)
        })
    }
}

fn describe_stream(name: &str, stream: &Stream) -> Value {
    let mut described = json!({ "logStreamName": name, "creationTime": stream.created, "storedBytes": 0 });
    if let (Some(first), Some(last)) = (stream.lines.front(), stream.lines.back()) {
        described["firstEventTimestamp"] = first.at.into();
        described["lastEventTimestamp"] = last.at.into();
        described["lastIngestionTime"] = last.at.into();
    }
    described
}
