//! Alarms, as they are described.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::input::MOMENTS;
use super::{NAMESPACE, alarms, list, number, tagged, text};
use crate::state::{AlarmState, MetricAlarm, State};
use crate::{Alarm, Site, autoscaling};
use kit::answer::{Protocol, Refusal, Response, cbor, escape, json_answer, query_result};
use kit::call::Call;

/// Describes all alarms: those that callers put, and those of target tracking.
pub(super) fn describe_alarms(state: &State, site: &Site, input: &Value) -> Result<Value, Refusal> {
    let put = state.alarms.iter().map(|(name, alarm)| shown_put(site, name, alarm));
    let tracking = autoscaling::alarms(state, site);
    let mut all: Vec<Value> = put.chain(tracking.iter().map(shown)).collect();
    all.sort_by(|a, b| a["AlarmName"].as_str().cmp(&b["AlarmName"].as_str()));
    page(input, all)
}

/// Selects from the descriptions of all alarms.
pub(super) fn page(input: &Value, alarms: Vec<Value>) -> Result<Value, Refusal> {
    const MOST: usize = 100;
    let (names, kinds) = (list(input, "AlarmNames"), list(input, "AlarmTypes"));
    if !names.is_empty() && text(input, "AlarmNamePrefix").is_some() {
        let text = "AlarmNames and AlarmNamePrefix cannot be specified together";
        return Err(Refusal::new(400, "InvalidParameterCombination", text));
    }
    let states = ["OK", "ALARM", "INSUFFICIENT_DATA"];
    if let Some(state) = text(input, "StateValue").filter(|state| !states.contains(state)) {
        return Err(Refusal::new(400, "ValidationError", format!("{state} is not an alarm state")));
    }
    if let Some(kind) = kinds.iter().find(|kind| !["MetricAlarm", "CompositeAlarm"].contains(kind)) {
        return Err(Refusal::new(400, "ValidationError", format!("{kind} is not an alarm type")));
    }
    if names.len() > MOST {
        return Err(Refusal::new(400, "ValidationError", format!("At most {MOST} alarm names can be specified")));
    }
    let start = match text(input, "NextToken") {
        Some(token) => token.parse().map_err(|_| Refusal::new(400, "InvalidNextToken", "The next token is invalid"))?,
        None => 0,
    };
    let size = number(input, "MaxRecords").map_or(50, |size| size as usize);
    if !(1..=MOST).contains(&size) {
        let text = format!("The value {size} for parameter MaxRecords must be between 1 and {MOST}");
        return Err(Refusal::new(400, "InvalidParameterValue", text));
    }
    let is_asked = |alarm: &Value| {
        let name = alarm["AlarmName"].as_str().unwrap_or_default();
        let acts = |prefix: &str| list(alarm, "AlarmActions").iter().any(|action| action.starts_with(prefix));
        (names.is_empty() || names.contains(&name))
            && (kinds.is_empty() || kinds.contains(&"MetricAlarm"))
            && text(input, "AlarmNamePrefix").is_none_or(|prefix| name.starts_with(prefix))
            && text(input, "ActionPrefix").is_none_or(acts)
            && text(input, "StateValue").is_none_or(|state| alarm["StateValue"] == state)
    };
    let found: Vec<Value> = alarms.into_iter().filter(is_asked).collect();
    let page: Vec<Value> = found.iter().skip(start).take(size).cloned().collect();
    let end = start + page.len();
    let mut answer = json!({ "MetricAlarms": page, "CompositeAlarms": [] });
    if end < found.len() {
        answer["NextToken"] = json!(end.to_string());
    }
    Ok(answer)
}

/// The description of an alarm that a caller put.
fn shown_put(site: &Site, name: &str, alarm: &MetricAlarm) -> Value {
    let since = alarm.watch.since.unix_seconds();
    let mut shown = json!({
        "AlarmName": name,
        "AlarmArn": alarms::arn(site, name),
        "AlarmConfigurationUpdatedTimestamp": alarm.made.unix_seconds(),
        "OKActions": [],
        "AlarmActions": [],
        "InsufficientDataActions": [],
        "StateValue": match alarm.watch.verdict {
            AlarmState::Unknown => "INSUFFICIENT_DATA",
            AlarmState::Fine => "OK",
            AlarmState::Alarm => "ALARM",
        },
        "StateReason": alarm.reason,
        "StateUpdatedTimestamp": since,
        "StateTransitionedTimestamp": since,
    });
    for (field, value) in alarm.config.as_object().into_iter().flatten() {
        shown[field] = value.clone();
    }
    shown
}

pub(super) fn shown(alarm: &Alarm) -> Value {
    let since = alarm.since.unix_timestamp();
    let dimensions: Vec<Value> =
        alarm.dimensions.iter().map(|(name, value)| json!({ "Name": name, "Value": value })).collect();
    json!({
        "AlarmName": alarm.name,
        "AlarmArn": alarm.arn,
        "AlarmDescription": format!(
            "DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {}.", alarm.policy
        ),
        "AlarmConfigurationUpdatedTimestamp": alarm.made.unix_timestamp(),
        "ActionsEnabled": true,
        "OKActions": [],
        "AlarmActions": [alarm.policy],
        "InsufficientDataActions": [],
        "StateValue": alarm.state,
        "StateReason": reason(alarm),
        "StateUpdatedTimestamp": since,
        "StateTransitionedTimestamp": since,
        "MetricName": alarm.metric,
        "Namespace": alarm.namespace,
        "Statistic": alarm.statistic,
        "Dimensions": dimensions,
        "Period": 60,
        "EvaluationPeriods": alarm.periods,
        "Threshold": alarm.threshold,
        "ComparisonOperator": if alarm.is_high { "GreaterThanThreshold" } else { "LessThanThreshold" },
    })
}

fn reason(alarm: &Alarm) -> String {
    let side = if alarm.is_high { "greater" } else { "less" };
    let (periods, threshold) = (alarm.periods, alarm.threshold);
    match alarm.state {
        "ALARM" => format!("Threshold Crossed: {periods} datapoints were {side} than the threshold ({threshold:?})."),
        "OK" => format!(
            "Threshold Crossed: no {periods} datapoints in a row were {side} than the threshold ({threshold:?})."
        ),
        _ => "Unchecked: Initial alarm creation".to_owned(),
    }
}

pub(super) fn written(call: &Call, answer: &Value) -> Response {
    match call.protocol {
        Protocol::Query => query_result(&call.operation, NAMESPACE, &elements(answer)),
        Protocol::Cbor => cbor(200, &tagged("", answer)),
        protocol => json_answer(200, protocol, answer),
    }
}

/// Converts a document to the XML elements of the Query protocol.
pub(super) fn elements(value: &Value) -> String {
    let fields = value.as_object().into_iter().flatten();
    fields.map(|(name, value)| format!("<{name}>{}</{name}>", inside(name, value))).collect()
}

fn inside(name: &str, value: &Value) -> String {
    match value {
        Value::Array(items) => items.iter().map(|item| format!("<member>{}</member>", inside(name, item))).collect(),
        Value::Object(_) => elements(value),
        Value::String(text) => escape(text),
        moment if MOMENTS.contains(&name) => {
            let at = moment.as_i64().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
            at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
        }
        plain => plain.to_string(),
    }
}
