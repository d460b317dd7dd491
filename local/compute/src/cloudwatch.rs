//! CloudWatch: the alarms of target tracking.
//!
//! The service supports three protocols, of which clients choose one: Query, JSON, and CBOR for newer SDKs.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::{Alarm, Compute};
use kit::answer::{Protocol, Refusal, Response, cbor, escape, json_answer, query_result};
use kit::call::{Call, Effect, Form, Input, Need, Needs, Operation, Page, Rows};
use kit::taken;

const NAMESPACE: &str = "http://monitoring.amazonaws.com/doc/2010-08-01/";

/// The supported operations and parameters; any other is refused by name.
const OPERATIONS: &[Operation<Run>] = &[Operation::new(
    "DescribeAlarms",
    Effect::Reads,
    // The service's name in policies differs from its name in signatures.
    Needs::Of(|_| vec![Need::new("cloudwatch:DescribeAlarms", "*")]),
    Some(Page::Own("MaxRecords")),
    "ActionPrefix AlarmNamePrefix AlarmNames AlarmTypes MaxRecords NextToken StateValue",
    describe_alarms,
)];

type Run = fn(&Value, Vec<Alarm>) -> Result<Value, Refusal>;

/// Returns the row of each operation.
pub fn rows() -> Rows {
    Operation::rows(OPERATIONS)
}

/// Members that are timestamps, which each protocol encodes differently.
const MOMENTS: &[&str] = &["AlarmConfigurationUpdatedTimestamp", "StateTransitionedTimestamp", "StateUpdatedTimestamp"];

/// Handles a call; `None` if there is no such operation.
pub fn answer(call: &Call, compute: &Compute) -> Option<Response> {
    let operation = Operation::find(OPERATIONS, &call.operation)?;
    let answer = input(&call.input).and_then(|input| {
        taken::check_json(operation.takes, &input).map_err(taken::refusal)?;
        (operation.run)(&input, compute.alarms())
    });
    Some(match answer {
        Ok(answer) => written(call, &answer),
        Err(refusal) => refusal.answer(call.protocol),
    })
}

/// Returns the parameters of a call as a JSON document, whatever its protocol.
fn input(input: &Input) -> Result<Cow<'_, Value>, Refusal> {
    match input {
        Input::Form(form) => Ok(Cow::Owned(document(form))),
        input if input.json().text().is_empty() => Ok(Cow::Owned(json!({}))),
        input => {
            let unreadable = |_| Refusal::new(400, "SerializationException", "the request cannot be read");
            input.json().read().map(Cow::Borrowed).map_err(unreadable)
        }
    }
}

/// Converts a form to a document: `AlarmNames.member.1` is the first element of a list.
fn document(form: &Form) -> Value {
    let mut input = Map::new();
    for (name, value) in form.iter().filter(|(name, _)| !matches!(name.as_str(), "Action" | "Version")) {
        match name.split_once(".member.") {
            Some((list, _)) => {
                let list = input.entry(list).or_insert_with(|| json!([]));
                list.as_array_mut().into_iter().for_each(|list| list.push(json!(value)));
            }
            None => drop(input.insert(name.clone(), json!(value))),
        }
    }
    Value::Object(input)
}

fn describe_alarms(input: &Value, alarms: Vec<Alarm>) -> Result<Value, Refusal> {
    const MOST: usize = 100;
    let text = |name: &str| input[name].as_str().filter(|text| !text.is_empty());
    let number = |name: &str| match &input[name] {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64().and_then(|number| usize::try_from(number).ok()),
    };
    let list =
        |name: &str| -> Vec<&str> { input[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect() };
    let (names, kinds) = (list("AlarmNames"), list("AlarmTypes"));
    if !names.is_empty() && text("AlarmNamePrefix").is_some() {
        let text = "AlarmNames and AlarmNamePrefix cannot be specified together";
        return Err(Refusal::new(400, "InvalidParameterCombination", text));
    }
    let start = match text("NextToken") {
        Some(token) => token.parse().map_err(|_| Refusal::new(400, "InvalidNextToken", "The next token is invalid"))?,
        None => 0,
    };
    let size = number("MaxRecords").unwrap_or(50);
    if !(1..=MOST).contains(&size) {
        let text = format!("The value {size} for parameter MaxRecords must be between 1 and {MOST}");
        return Err(Refusal::new(400, "InvalidParameterValue", text));
    }
    let is_asked = |alarm: &Alarm| {
        (names.is_empty() || names.contains(&alarm.name.as_str()))
            && (kinds.is_empty() || kinds.contains(&"MetricAlarm"))
            && text("AlarmNamePrefix").is_none_or(|prefix| alarm.name.starts_with(prefix))
            && text("ActionPrefix").is_none_or(|prefix| alarm.policy.starts_with(prefix))
            && text("StateValue").is_none_or(|state| alarm.state == state)
    };
    let found: Vec<Alarm> = alarms.into_iter().filter(is_asked).collect();
    let page: Vec<Value> = found.iter().skip(start).take(size).map(shown).collect();
    let end = start + page.len();
    let mut answer = json!({ "MetricAlarms": page, "CompositeAlarms": [] });
    if end < found.len() {
        answer["NextToken"] = json!(end.to_string());
    }
    Ok(answer)
}

fn shown(alarm: &Alarm) -> Value {
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

fn written(call: &Call, answer: &Value) -> Response {
    match call.protocol {
        Protocol::Query => query_result(&call.operation, NAMESPACE, &elements(answer)),
        Protocol::Cbor => cbor(200, &tagged("", answer)),
        protocol => json_answer(200, protocol, answer),
    }
}

/// Converts a document to the XML elements of the Query protocol.
fn elements(value: &Value) -> String {
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

/// Converts a document to CBOR, in which timestamps have tag 1.
fn tagged(name: &str, value: &Value) -> ciborium::Value {
    use ciborium::Value as Cbor;
    match value {
        Value::Null => Cbor::Null,
        Value::Bool(flag) => Cbor::Bool(*flag),
        Value::String(text) => Cbor::Text(text.clone()),
        Value::Array(items) => Cbor::Array(items.iter().map(|item| tagged(name, item)).collect()),
        Value::Object(fields) => {
            Cbor::Map(fields.iter().map(|(name, value)| (Cbor::Text(name.clone()), tagged(name, value))).collect())
        }
        Value::Number(number) => {
            let plain = number.as_i64().map_or_else(
                || Cbor::Float(number.as_f64().unwrap_or_default()),
                |number| Cbor::Integer(number.into()),
            );
            if MOMENTS.contains(&name) { Cbor::Tag(1, Box::new(plain)) } else { plain }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm(name: &str, state: &'static str) -> Alarm {
        Alarm {
            name: name.to_owned(),
            arn: format!("arn:aws:cloudwatch:us-east-1:000000000000:alarm:{name}"),
            policy: "arn:aws:autoscaling:us-east-1:000000000000:scalingPolicy:1".to_owned(),
            is_high: true,
            periods: 3,
            threshold: 50.0,
            namespace: "AWS/EC2",
            metric: "CPUUtilization".to_owned(),
            statistic: "Average",
            dimensions: vec![("AutoScalingGroupName", "a<b".to_owned())],
            state,
            since: OffsetDateTime::UNIX_EPOCH,
            made: OffsetDateTime::UNIX_EPOCH,
        }
    }

    fn names(input: Value) -> Result<Vec<String>, String> {
        let alarms =
            ["web-high", "web-low", "api-high"].map(|name| alarm(name, if name == "web-low" { "ALARM" } else { "OK" }));
        let answer = describe_alarms(&input, alarms.to_vec()).map_err(|refusal| refusal.code)?;
        let found = answer["MetricAlarms"].as_array().unwrap().iter();
        let token = answer["NextToken"].as_str().map(|token| format!("next {token}"));
        Ok(found.map(|one| one["AlarmName"].as_str().unwrap().to_owned()).chain(token).collect())
    }

    #[test]
    fn alarms_are_found_by_name_prefix_state_and_page() {
        for (input, expected) in [
            (json!({}), &["web-high", "web-low", "api-high"][..]),
            (json!({ "AlarmNames": ["web-low", "none"] }), &["web-low"]),
            (json!({ "AlarmNamePrefix": "web" }), &["web-high", "web-low"]),
            (json!({ "StateValue": "ALARM" }), &["web-low"]),
            (json!({ "ActionPrefix": "arn:aws:sns" }), &[]),
            (json!({ "AlarmTypes": ["CompositeAlarm"] }), &[]),
            (json!({ "MaxRecords": 2 }), &["web-high", "web-low", "next 2"]),
            (json!({ "MaxRecords": "2", "NextToken": "2" }), &["api-high"]),
        ] {
            assert_eq!(names(input.clone()).unwrap(), expected, "{input}");
        }
        assert_eq!(names(json!({ "MaxRecords": 0 })).unwrap_err(), "InvalidParameterValue");
        assert_eq!(names(json!({ "NextToken": "x" })).unwrap_err(), "InvalidNextToken");
        let both = json!({ "AlarmNames": ["a"], "AlarmNamePrefix": "a" });
        assert_eq!(names(both).unwrap_err(), "InvalidParameterCombination");
    }

    #[test]
    fn each_protocol_writes_moments_and_lists_in_its_own_way() {
        let answer = describe_alarms(&json!({}), vec![alarm("a", "OK")]).unwrap();
        let text = elements(&answer);
        assert!(text.starts_with("<MetricAlarms><member><AlarmName>a</AlarmName>"), "{text}");
        assert!(text.contains("<StateUpdatedTimestamp>1970-01-01T00:00:00Z</StateUpdatedTimestamp>"), "{text}");
        assert!(text.contains("<Value>a&lt;b</Value>") && text.contains("<Threshold>50.0</Threshold>"), "{text}");
        let moment = tagged("StateUpdatedTimestamp", &json!(0));
        assert_eq!(moment, ciborium::Value::Tag(1, Box::new(ciborium::Value::Integer(0.into()))));
        let form = [("Action", "DescribeAlarms"), ("AlarmNames.member.1", "a"), ("StateValue", "OK")];
        let form = form.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(document(&Form::from(form)), json!({ "AlarmNames": ["a"], "StateValue": "OK" }));
    }
}
