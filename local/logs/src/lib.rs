//! CloudWatch Logs: log groups, streams and events.

mod pattern;
mod store;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use kit::ACCOUNT;
use kit::answer::{Protocol, Refusal, Response, json_answer};
use kit::call::Effect::{Reads, Writes};
use kit::call::{Asked, Call, Need, Needs, Operation, Page, Rows};
use kit::chronicle::{Chronicle, Past};
use kit::tags::{Flaw, STRICT};
use kit::taken;

use crate::pattern::Pattern;
use crate::store::{Entry, Group, Line, LogGroups, Stream, Written, add, unwritten};

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
/// The valid retentions in days (docs/aws.md §7.6).
const RETENTIONS: &[u64] =
    &[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

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
            match serde_json::from_slice(change).context("a logged line of a function is no JSON")? {
                Entry::One(line) => add(&mut groups, line),
                Entry::Several(lines) => lines.into_iter().for_each(|line| add(&mut groups, line)),
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
        taken::check_json(operation.takes, input).map_err(taken::refusal)?;
        (operation.run)(self, Input(input))
    }

    /// Answers a call; `None` if there is no such operation.
    pub fn answer(&self, call: &Call) -> Option<Response> {
        Operation::find(OPERATIONS, &call.operation)?;
        Some(match self.call(&call.operation, call.input.json().value()) {
            Ok(answer) => json_answer(200, Protocol::Json11, &answer),
            Err(refusal) => refusal.answer(Protocol::Json11),
        })
    }

    fn create_group(&self, input: Input) -> Result<Value, Refusal> {
        let name = input.required("logGroupName")?;
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/#".contains(&byte);
        if name.is_empty() || name.len() > 512 || !name.bytes().all(letters) || name.starts_with("aws/") {
            return Err(invalid("the name of the log group is not valid"));
        }
        let tags = input.tags();
        check_tags(&tags, &BTreeMap::new())?;
        self.kept().change(name, |groups| {
            if groups.contains_key(name) {
                let text = "The specified log group already exists";
                return Err(Refusal::new(400, "ResourceAlreadyExistsException", text));
            }
            let group = Group { created: now(), tags, ..Group::default() };
            groups.insert(name.to_owned(), group);
            Ok(json!({}))
        })
    }

    fn delete_group(&self, input: Input) -> Result<Value, Refusal> {
        let name = input.required("logGroupName")?;
        self.kept().change(name, |groups| groups.remove(name).map(|_| json!({})).ok_or_else(no_group))
    }

    fn put_retention(&self, input: Input) -> Result<Value, Refusal> {
        let days = input.0["retentionInDays"].as_u64().filter(|days| RETENTIONS.contains(days));
        let days = days.ok_or_else(|| invalid("retentionInDays is none of the allowed values"))?;
        self.set_retention(input, Some(days))
    }

    fn delete_retention(&self, input: Input) -> Result<Value, Refusal> {
        self.set_retention(input, None)
    }

    fn set_retention(&self, input: Input, days: Option<u64>) -> Result<Value, Refusal> {
        self.change_group(input.required("logGroupName")?, |group| {
            group.retention_days = days;
            Ok(json!({}))
        })
    }

    fn change_group(
        &self,
        name: &str,
        change: impl FnOnce(&mut Group) -> Result<Value, Refusal>,
    ) -> Result<Value, Refusal> {
        self.kept().change(name, |groups| change(groups.get_mut(name).ok_or_else(no_group)?))
    }

    fn describe_groups(&self, input: Input) -> Result<Value, Refusal> {
        let prefix = input.text("logGroupNamePrefix").unwrap_or_default();
        let pattern = input.text("logGroupNamePattern").unwrap_or_default();
        let after = input.text("nextToken");
        let limit = input.0["limit"].as_u64().unwrap_or(50).clamp(1, 50) as usize;
        let kept = self.kept();
        let groups = &kept.groups;
        let mut found: Vec<(&String, &Group)> = groups
            .iter()
            .filter(|(name, _)| name.starts_with(prefix) && name.contains(pattern))
            .filter(|(name, _)| after.is_none_or(|after| name.as_str() > after))
            .collect();
        let more = found.len() > limit;
        found.truncate(limit);
        let mut answer = json!({
            "logGroups": found.iter().map(|(name, group)| self.describe(name, group)).collect::<Vec<_>>(),
        });
        if let Some((last, _)) = found.last().filter(|_| more) {
            answer["nextToken"] = json!(last);
        }
        Ok(answer)
    }

    fn describe(&self, name: &str, group: &Group) -> Value {
        let arn = self.arn(name);
        let mut described = json!({
            "logGroupName": name,
            "creationTime": group.created,
            "metricFilterCount": 0,
            "arn": format!("{arn}:*"),
            "logGroupArn": arn,
            "logGroupClass": "STANDARD",
            "storedBytes": 0,
        });
        if let Some(days) = group.retention_days {
            described["retentionInDays"] = days.into();
        }
        described
    }

    fn arn(&self, name: &str) -> String {
        format!("arn:aws:logs:{}:{ACCOUNT}:log-group:{name}", self.region)
    }

    fn create_stream(&self, input: Input) -> Result<Value, Refusal> {
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

    fn put_events(&self, input: Input) -> Result<Value, Refusal> {
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

    fn describe_streams(&self, input: Input) -> Result<Value, Refusal> {
        let prefix = input.text("logStreamNamePrefix").unwrap_or_default();
        let by_time = input.text("orderBy") == Some("LastEventTime");
        if by_time && !prefix.is_empty() {
            return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
        }
        let limit = input.0["limit"].as_u64().unwrap_or(50).clamp(1, 50) as usize;
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

    /// Returns the newest page unless the oldest is requested. At either end, the next token is the given one.
    fn get_events(&self, input: Input) -> Result<Value, Refusal> {
        let name = input.required("logStreamName")?;
        let limit = input.0["limit"].as_u64().map_or(PAGE, |limit| limit as usize).clamp(1, PAGE);
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

    fn filter_events(&self, input: Input) -> Result<Value, Refusal> {
        let prefix = input.text("logStreamNamePrefix").unwrap_or_default();
        let names = input.list("logStreamNames");
        let pattern = input.text("filterPattern").unwrap_or_default();
        let is_regex = pattern.len() > 1 && pattern.starts_with('%') && pattern.ends_with('%');
        if is_regex || pattern.trim_start().starts_with(['{', '[']) {
            let text = format!("the local AWS has no patterns of fields and no regular expressions: {pattern}");
            return Err(taken::refusal(text));
        }
        if !prefix.is_empty() && !names.is_empty() {
            return Err(invalid("logStreamNamePrefix and logStreamNames exclude each other."));
        }
        let pattern = Pattern::read(pattern);
        let limit = input.0["limit"].as_u64().map_or(PAGE, |limit| limit as usize).clamp(1, PAGE);
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

    fn list_tags(&self, input: Input) -> Result<Value, Refusal> {
        self.tags_of(name_in(input.required("resourceArn")?))
    }

    /// The older operation, which takes a name instead of an ARN.
    fn list_tags_by_name(&self, input: Input) -> Result<Value, Refusal> {
        self.tags_of(input.required("logGroupName")?)
    }

    fn tags_of(&self, name: &str) -> Result<Value, Refusal> {
        self.kept().groups.get(name).map(|group| json!({ "tags": group.tags })).ok_or_else(no_group)
    }

    fn tag(&self, input: Input) -> Result<Value, Refusal> {
        self.add_tags(name_in(input.required("resourceArn")?), input)
    }

    fn tag_by_name(&self, input: Input) -> Result<Value, Refusal> {
        self.add_tags(input.required("logGroupName")?, input)
    }

    fn add_tags(&self, name: &str, input: Input) -> Result<Value, Refusal> {
        self.change_group(name, |group| {
            let added = input.tags();
            check_tags(&added, &group.tags)?;
            group.tags.extend(added);
            Ok(json!({}))
        })
    }

    fn untag(&self, input: Input) -> Result<Value, Refusal> {
        self.remove_tags(name_in(input.required("resourceArn")?), &input.list("tagKeys"))
    }

    fn untag_by_name(&self, input: Input) -> Result<Value, Refusal> {
        self.remove_tags(input.required("logGroupName")?, &input.list("tags"))
    }

    fn remove_tags(&self, name: &str, keys: &[&str]) -> Result<Value, Refusal> {
        self.change_group(name, |group| {
            group.tags.retain(|key, _| !keys.contains(&key.as_str()));
            Ok(json!({}))
        })
    }

    /// There are no metric filters here.
    fn describe_metric_filters(&self, input: Input) -> Result<Value, Refusal> {
        match input.text("logGroupName") {
            Some(_) => self.in_group(input, |_| Ok(json!({ "metricFilters": [] }))),
            None => Ok(json!({ "metricFilters": [] })),
        }
    }

    /// There are no subscription filters here.
    fn describe_subscription_filters(&self, input: Input) -> Result<Value, Refusal> {
        self.in_group(input, |_| Ok(json!({ "subscriptionFilters": [] })))
    }

    fn in_group<T>(&self, input: Input, act: impl FnOnce(&Group) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let name = match input.text("logGroupName") {
            Some(name) => name,
            None => name_in(input.required("logGroupIdentifier")?),
        };
        act(self.kept().groups.get(name).ok_or_else(no_group)?)
    }

    fn kept(&self) -> MutexGuard<'_, LogGroups> {
        self.kept.lock()
    }
}

/// Returns whether the next line still fits into a response, which has at least one.
fn fits_page() -> impl FnMut(&&Line) -> bool {
    let mut bytes = 0;
    move |line| {
        let is_first = bytes == 0;
        bytes += line.text.len() + EVENT_BYTES;
        is_first || bytes <= PAGE_BYTES
    }
}

type Run = fn(&Logs, Input) -> Result<Value, Refusal>;

const OF_GROUP: Needs = Needs::Of(|asked| vec![asked.own(stream_arn(asked.region, group_of(asked), ""))]);
const OF_STREAM: Needs =
    Needs::Of(|asked| vec![asked.own(stream_arn(asked.region, group_of(asked), asked.text("logStreamName")))]);
/// Giving a new group tags needs the permission to tag it as well (docs/aws.md §2.5).
const NEW_GROUP: Needs = Needs::Of(|asked| {
    let name = group_of(asked);
    let has_tags = asked.call.input.json().value()["tags"].as_object().is_some_and(|tags| !tags.is_empty());
    let group = format!("arn:aws:logs:{}:{ACCOUNT}:log-group:{name}", asked.region);
    let tag = has_tags.then(|| Need::new("logs:TagResource", group));
    [asked.own(stream_arn(asked.region, name, ""))].into_iter().chain(tag).collect()
});
const BY_ARN: Needs = Needs::Of(|asked| vec![asked.own(asked.text("resourceArn").trim_end_matches(":*"))]);

const PAGED: Option<Page> = Some(Page::Own("limit"));

/// Returns the name of the group that a call refers to.
fn group_of<'a>(asked: &'a Asked) -> &'a str {
    let input = Input(asked.call.input.json().value());
    let name = input.text("logGroupName").or_else(|| input.text("logGroupIdentifier").map(name_in));
    name.unwrap_or_default().trim_end_matches(":*")
}

/// In policies, the ARN of a group includes its streams: `log-group:NAME:log-stream:STREAM` (docs/aws.md §7.6).
fn stream_arn(region: &str, group: &str, stream: &str) -> String {
    format!("arn:aws:logs:{region}:{ACCOUNT}:log-group:{group}:log-stream:{stream}")
}

/// The permissions a function needs to write a line: to create its stream, once, and to write.
pub fn to_write(region: &str, group: &str, stream: &str) -> [Need; 2] {
    [
        Need::new("logs:CreateLogStream", stream_arn(region, group, "")),
        Need::new("logs:PutLogEvents", stream_arn(region, group, stream)),
    ]
}

/// The permission a function needs in addition if the group does not exist.
pub fn to_make_group(region: &str, group: &str) -> Need {
    Need::new("logs:CreateLogGroup", stream_arn(region, group, ""))
}

/// The supported operations and parameters; any other is refused by name.
pub const OPERATIONS: &[Operation<Run>] = &[
    Operation::new(
        "CreateLogGroup",
        Writes,
        NEW_GROUP,
        None,
        "deletionProtectionEnabled=false logGroupClass=STANDARD logGroupName tags.*",
        Logs::create_group,
    ),
    Operation::new("CreateLogStream", Writes, OF_GROUP, None, "logGroupName logStreamName", Logs::create_stream),
    Operation::new("DeleteLogGroup", Writes, OF_GROUP, None, "logGroupName", Logs::delete_group),
    Operation::new("DeleteRetentionPolicy", Writes, OF_GROUP, None, "logGroupName", Logs::delete_retention),
    Operation::new(
        "DescribeLogGroups",
        Reads,
        OF_GROUP,
        PAGED,
        "includeLinkedAccounts=false limit logGroupClass=STANDARD logGroupNamePattern logGroupNamePrefix nextToken",
        Logs::describe_groups,
    ),
    Operation::new(
        "DescribeLogStreams",
        Reads,
        OF_GROUP,
        PAGED,
        "descending limit logGroupIdentifier logGroupName logStreamNamePrefix nextToken orderBy",
        Logs::describe_streams,
    ),
    Operation::new(
        "FilterLogEvents",
        Reads,
        OF_GROUP,
        PAGED,
        "endTime filterPattern interleaved limit logGroupIdentifier logGroupName logStreamNamePrefix logStreamNames nextToken startFromHead=true startTime unmask=false",
        Logs::filter_events,
    ),
    Operation::new(
        "GetLogEvents",
        Reads,
        OF_STREAM,
        PAGED,
        "endTime limit logGroupIdentifier logGroupName logStreamName nextToken startFromHead startTime unmask=false",
        Logs::get_events,
    ),
    Operation::new(
        "DescribeMetricFilters",
        Reads,
        OF_GROUP,
        None,
        "limit logGroupName nextToken",
        Logs::describe_metric_filters,
    ),
    Operation::new(
        "DescribeSubscriptionFilters",
        Reads,
        OF_GROUP,
        None,
        "limit logGroupName nextToken",
        Logs::describe_subscription_filters,
    ),
    Operation::new("ListTagsForResource", Reads, BY_ARN, None, "resourceArn", Logs::list_tags),
    Operation::new("ListTagsLogGroup", Reads, OF_GROUP, None, "logGroupName", Logs::list_tags_by_name),
    Operation::new(
        "PutLogEvents",
        Writes,
        OF_STREAM,
        None,
        "logEvents.message logEvents.timestamp logGroupName logStreamName sequenceToken",
        Logs::put_events,
    ),
    Operation::new("PutRetentionPolicy", Writes, OF_GROUP, None, "logGroupName retentionInDays", Logs::put_retention),
    Operation::new("TagLogGroup", Writes, OF_GROUP, None, "logGroupName tags.*", Logs::tag_by_name),
    Operation::new("TagResource", Writes, BY_ARN, None, "resourceArn tags.*", Logs::tag),
    Operation::new("UntagLogGroup", Writes, OF_GROUP, None, "logGroupName tags", Logs::untag_by_name),
    Operation::new("UntagResource", Writes, BY_ARN, None, "resourceArn tagKeys", Logs::untag),
];

/// Returns the row of each operation.
pub fn rows() -> Rows {
    Operation::rows(OPERATIONS)
}

/// The parameters of a call.
#[derive(Clone, Copy)]
pub struct Input<'a>(&'a Value);

impl<'a> Input<'a> {
    fn text(self, name: &str) -> Option<&'a str> {
        self.0[name].as_str()
    }

    fn required(self, name: &str) -> Result<&'a str, Refusal> {
        self.text(name).ok_or_else(|| invalid(&format!("{name} is missing")))
    }

    /// Returns the number of items on the previous pages, which is the token.
    fn skipped(self) -> Result<usize, Refusal> {
        let token = self.text("nextToken").filter(|token| !token.is_empty());
        token.map_or(Ok(0), |token| token.parse().map_err(|_| invalid("The specified nextToken is invalid.")))
    }

    fn list(self, name: &str) -> Vec<&'a str> {
        self.0[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    fn tags(self) -> BTreeMap<String, String> {
        let tags = self.0["tags"].as_object().into_iter().flat_map(Map::iter);
        tags.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
    }

    /// Returns whether a time is in the range of a call, which may or may not include its end.
    fn in_time(self, at: i64, with_end: bool) -> bool {
        let bound = |name: &str| self.0[name].as_i64();
        bound("startTime").is_none_or(|start| at >= start)
            && bound("endTime").is_none_or(|end| at < end || with_end && at == end)
    }
}

/// Returns the times and messages of the events of a call, which keep to its limits (docs/aws.md §7.6).
fn events(given: &Value) -> Result<Vec<(i64, &str)>, Refusal> {
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

/// Checks whether tags can be added to those in `there`, with the error codes of `API:logs.TagResource`.
fn check_tags(added: &BTreeMap<String, String>, there: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let pairs = added.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    STRICT.check(pairs, there.keys().map(String::as_str)).map_err(|flaw| match flaw {
        Flaw::TooMany => Refusal::new(400, "TooManyTagsException", "A resource can have no more than 50 tags."),
        Flaw::Reserved(key) => invalid(&format!("Tag keys that begin with aws: are reserved: {key}")),
        flaw => invalid(&flaw.in_map().unwrap_or_default()),
    })
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

/// Returns the name in a group's ARN, which may end in `:*`.
fn name_in(arn: &str) -> &str {
    let name = arn.split_once(":log-group:").map_or(arn, |(_, name)| name);
    name.strip_suffix(":*").unwrap_or(name)
}

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
    use crate::store::KEPT_STREAMS;

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
        // Those of a group that has too many from before.
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

    #[test]
    fn a_group_is_named_by_its_arn_with_and_without_a_star() {
        for arn in
            ["arn:aws:logs:us-east-1:0:log-group:/aws/lambda/f", "arn:aws:logs:us-east-1:0:log-group:/aws/lambda/f:*"]
        {
            assert_eq!(name_in(arn), "/aws/lambda/f");
        }
    }
}
