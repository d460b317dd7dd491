//! The destination of failed events: a record of each in a bucket (docs/aws.md §7.5).

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;

use super::{Event, Function, Outcome, Site};
use identity::permissions::Need;

/// The folder of the records.
pub(super) const FOLDER: &str = "aws/lambda/async/";

/// Why an event failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Retried,
    TooOld,
    NoConcurrency,
}

impl Condition {
    fn name(self) -> &'static str {
        match self {
            Condition::Retried => "RetriesExhausted",
            Condition::TooOld => "EventAgeExceeded",
            Condition::NoConcurrency => "ZeroReservedConcurrency",
        }
    }
}

/// The final result of a failed event.
#[derive(Debug, Clone, Copy)]
pub(super) struct End<'a> {
    pub event: &'a Event,
    /// How often the function was invoked with it.
    pub attempts: u64,
    pub condition: Condition,
    /// The result of the last attempt.
    pub outcome: Option<&'a Outcome>,
}

impl Function {
    /// The ARN of the bucket for the records of failed events.
    pub fn on_failure(&self) -> Option<&str> {
        self.on_event.as_ref()?.on_failure.as_deref()
    }
}

impl Site {
    /// Records the end of an event in the function's destination, if it has one and its role may write there. Returns
    /// `false` if the record could not be written.
    pub(super) async fn record(&self, function: &Function, end: End<'_>) -> bool {
        let Some(arn) = function.on_failure() else { return true };
        let (bucket, now, id) = (arn.rsplit(':').next().unwrap_or_default(), OffsetDateTime::now_utc(), Uuid::new_v4());
        let key = key(&function.name, now, id);
        let objects = self.objects.get().and_then(std::sync::Weak::upgrade);
        let mut needs = vec![Need::new("s3:PutObject", format!("{arn}/{key}"))];
        needs.extend(objects.iter().flat_map(|objects| objects.needs_to_write(bucket)));
        let caller = self.caller(function);
        let written = match (needs.iter().try_for_each(|need| caller.may(need)), objects) {
            (Err(denial), _) => Err(denial.text()),
            (Ok(()), None) => Err("the server is stopping".to_owned()),
            (Ok(()), Some(objects)) => {
                let record = record(function, end, now, id).to_string();
                objects.put(bucket, &key, record.into()).await.map_err(|refusal| refusal.message)
            }
        };
        if let Err(fault) = &written {
            tracing::warn!(
                function = function.name,
                bucket,
                fault,
                "the record of a failed event could not be written"
            );
        }
        written.is_ok()
    }
}

fn key(function: &str, now: OffsetDateTime, id: Uuid) -> String {
    let day = now.format(format_description!("[year]/[month]/[day]")).expect("every date has these parts");
    let second = format_description!("[year]-[month]-[day]T[hour].[minute].[second]");
    let second = now.format(second).expect("every date has these parts");
    format!("{FOLDER}{function}/{day}/{second}-{id}")
}

fn record(function: &Function, end: End<'_>, now: OffsetDateTime, id: Uuid) -> Value {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let json_of = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or(Value::Null);
    let mut record = json!({
        "version": "1.0",
        "timestamp": now.format(format).expect("every date has these parts"),
        "requestContext": {
            "requestId": id,
            "functionArn": format!("{}:$LATEST", function.arn),
            "condition": end.condition.name(),
            "approximateInvokeCount": end.attempts,
        },
        "requestPayload": json_of(&end.event.payload),
    });
    if let Some(outcome) = end.outcome {
        record["responseContext"] =
            json!({ "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" });
        record["responsePayload"] = json_of(&outcome.payload);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_record_is_named_by_function_and_time() {
        let (now, id) = (datetime!(2026-11-30 02:03:04 UTC), Uuid::nil());
        let expected = "aws/lambda/async/f/2026/11/30/2026-11-30T02.03.04-00000000-0000-0000-0000-000000000000";
        assert_eq!(key("f", now, id), expected);
    }
}
