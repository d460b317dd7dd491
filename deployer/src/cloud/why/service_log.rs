//! The end of a service's log, and the calls that AWS denied it.

use aws_sdk_cloudwatchlogs::types::OrderBy;

use serde_json::Value;

use crate::{
    cloud::aws::{Aws, found},
    engine::Fault,
};

/// A denied call is a problem for this long after its last line, in seconds: then it is not repeated, or has been allowed
/// since.
pub(super) const DENIED_WITHIN_S: i64 = 15 * 60;

/// The number of streams read, newest first, and of lines of each.
const STREAMS: i32 = 3;
const LINES: i32 = 60;

/// Reads the lines that these instances have logged since `since_s`, oldest first.
pub(super) async fn lines(aws: &Aws, log_group: &str, instances: &[&str], since_s: i64) -> Result<Vec<String>, Fault> {
    if instances.is_empty() {
        return Ok(Vec::new());
    }
    let streams = streams(aws, log_group).await?.into_iter().filter(|stream| instances.contains(&stream.as_str()));
    let events = streams.map(|stream| async move { events(aws, log_group, &stream).await });
    let mut events: Vec<(i64, String)> = futures::future::try_join_all(events).await?.into_iter().flatten().collect();
    events.retain(|(at_ms, _)| *at_ms >= since_s * 1000);
    events.sort_by_key(|(at_ms, _)| *at_ms);
    Ok(events.into_iter().map(|(_, text)| text).collect())
}

/// The names of the newest streams of a log group, newest first.
pub(super) async fn streams(aws: &Aws, log_group: &str) -> Result<Vec<String>, Fault> {
    let call = aws.logs.describe_log_streams().log_group_name(log_group);
    let answer = found(call.order_by(OrderBy::LastEventTime).descending(true).limit(STREAMS).send().await)?;
    let streams = answer.and_then(|it| it.log_streams).unwrap_or_default();
    Ok(streams.into_iter().filter_map(|stream| stream.log_stream_name).collect())
}

/// The last lines of a stream with their times in milliseconds since 1970, oldest first.
pub(super) async fn events(aws: &Aws, log_group: &str, stream: &str) -> Result<Vec<(i64, String)>, Fault> {
    let call = aws.logs.get_log_events().log_group_name(log_group).log_stream_name(stream).limit(LINES);
    let events = found(call.send().await)?.and_then(|it| it.events).unwrap_or_default();
    let line = |event: &aws_sdk_cloudwatchlogs::types::OutputLogEvent| {
        (event.timestamp().unwrap_or_default(), event.message().unwrap_or_default().trim_end().to_owned())
    };
    Ok(events.iter().map(line).collect())
}

/// The operations that programs name without the service.
const OPERATIONS: &[&str] = &[
    "BatchGetItem",
    "BatchWriteItem",
    "DeleteItem",
    "DeleteObject",
    "DescribeTable",
    "GetItem",
    "GetObject",
    "HeadObject",
    "ListObjectsV2",
    "PutItem",
    "PutObject",
    "Query",
    "Scan",
    "TransactGetItems",
    "TransactWriteItems",
    "UpdateItem",
];

/// The text about a call that AWS denied, if a line has one. Lines of JSON may have it in any field.
pub(super) fn denial(line: &str) -> Option<String> {
    match serde_json::from_str(line) {
        Ok(Value::Object(fields)) => fields.values().find_map(|value| match value {
            Value::String(text) => denial(text),
            value => denial(&value.to_string()),
        }),
        _ => is_denial(line).then(|| line.to_owned()),
    }
}

/// Whether a text is about a call that AWS denied, and names the call: a program may write "AccessDenied" about its own users.
fn is_denial(line: &str) -> bool {
    let mut words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == ':' || c == '-'));
    let is_action = |word: &str| {
        let Some((service, action)) = word.split_once(':') else { return false };
        let is_service = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !service.is_empty() && service.chars().all(is_service) && action.starts_with(|c: char| c.is_ascii_uppercase())
    };
    let is_denied = line.contains("AccessDenied") || line.contains("is not authorized to perform");
    is_denied && words.any(|word| OPERATIONS.contains(&word) || is_action(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_call_is_one_that_names_the_call() {
        for denied in [
            "DynamoDB answers Query with 400, AccessDeniedException, to request R1",
            "AccessDeniedException: User: arn:aws:sts::1:assumed-role/r/i-1 is not authorized to perform: dynamodb:Query on resource: t",
            "S3 answers PutObject with 403, AccessDenied, to request R2",
        ] {
            assert_eq!(denial(denied).as_deref(), Some(denied));
            let json = serde_json::json!({ "message": "answered", "status": 500, "more": { "cause": denied } });
            assert_eq!(denial(&json.to_string()).as_deref(), Some(denied));
        }
        for other in [
            "AccessDenied: ada may not see the page of bob",
            "DynamoDB answers Query with 400, ThrottlingException, to request R1",
            "the policy of dynamodb:Query was read",
        ] {
            assert_eq!(denial(other), None);
        }
    }
}
