//! CloudWatch: the values of metrics, alarms on those of load balancers, and the alarms of target tracking.
//!
//! The service supports three protocols, of which clients choose one: Query, JSON, and CBOR for newer SDKs.

mod alarms;
mod data;
mod input;
mod math;
mod metrics;
mod operation;
mod shown;

use serde_json::{Value, json};

use crate::Compute;
use kit::answer::{Refusal, Response};
use kit::call::{Call, Operation};

pub(crate) use alarms::evaluate;
pub(crate) use metrics::{Metrics, minute};

use input::{MOMENTS, input, malformed};
pub use operation::rows;
use operation::{OPERATIONS, Run};
use shown::written;

const NAMESPACE: &str = "http://monitoring.amazonaws.com/doc/2010-08-01/";

/// Handles a call; `None` if there is no such operation.
pub fn answer(call: &Call, compute: &Compute) -> Option<Response> {
    let operation = Operation::find(OPERATIONS, &call.operation)?;
    let answer = input(operation.parameters, &call.input).and_then(|input| match operation.run {
        Run::Reads(run) => compute.read(|state| run(state, &compute.site, &input)),
        Run::Measures(run) => run(&compute.metrics, &compute.site, &input),
        Run::Writes(run) => compute.try_change(|state, site| run(state, site, &input)),
    });
    Some(match answer {
        Ok(answer) => written(call, &answer),
        Err(refusal) => refusal.answer(call.protocol),
    })
}

/// Puts a value of a form at its place in a document.
fn put(input: &mut Value, steps: &[&str], value: &str) -> Result<(), Refusal> {
    match steps {
        [] => {
            *input = json!(value);
            Ok(())
        }
        ["member", number, rest @ ..] => {
            if !input.is_array() {
                *input = json!([]);
            }
            let Some(items) = input.as_array_mut() else { return Ok(()) };
            let at = number.parse::<usize>().ok().filter(|number| (1..=MOST_ITEMS).contains(number));
            let at = at.ok_or_else(|| malformed(&format!("{number} is not an element number")))? - 1;
            while items.len() <= at {
                items.push(Value::Null);
            }
            put(&mut items[at], rest, value)
        }
        [name, rest @ ..] => {
            if !input.is_object() {
                *input = json!({});
            }
            put(&mut input[*name], rest, value)
        }
    }
}

/// More steps than the name of any parameter has: `Metrics.member.1.MetricStat.Metric.Dimensions.member.1.Name` has nine.
const MOST_STEPS: usize = 12;
/// More items than any list here may have.
const MOST_ITEMS: usize = 500;

/// A text; an empty one counts as missing.
fn text<'a>(input: &'a Value, name: &str) -> Option<&'a str> {
    input[name].as_str().filter(|text| !text.is_empty())
}

fn number(input: &Value, name: &str) -> Option<f64> {
    input[name].as_f64()
}

fn flag(input: &Value, name: &str) -> Option<bool> {
    input[name].as_bool()
}

fn list<'a>(input: &'a Value, name: &str) -> Vec<&'a str> {
    input[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
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
    use kit::call::{Form, Input};
    use std::borrow::Cow;
    use time::OffsetDateTime;

    use super::input::document;
    use super::shown::{elements, page, shown};
    use super::*;
    use crate::Alarm;

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
        let answer = page(&input, alarms.iter().map(shown).collect()).map_err(|refusal| refusal.code)?;
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
            (json!({ "MaxRecords": 2, "NextToken": "2" }), &["api-high"]),
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
        let answer = page(&json!({}), vec![shown(&alarm("a", "OK"))]).unwrap();
        let text = elements(&answer);
        assert!(text.starts_with("<MetricAlarms><member><AlarmName>a</AlarmName>"), "{text}");
        assert!(text.contains("<StateUpdatedTimestamp>1970-01-01T00:00:00Z</StateUpdatedTimestamp>"), "{text}");
        assert!(text.contains("<Value>a&lt;b</Value>") && text.contains("<Threshold>50.0</Threshold>"), "{text}");
        let moment = tagged("StateUpdatedTimestamp", &json!(0));
        assert_eq!(moment, ciborium::Value::Tag(1, Box::new(ciborium::Value::Integer(0.into()))));
        let form = [("Action", "DescribeAlarms"), ("AlarmNames.member.1", "a"), ("StateValue", "OK")];
        let form = form.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(document(&Form::from(form)).unwrap(), json!({ "AlarmNames": ["a"], "StateValue": "OK" }));
        let form = [("Metrics.member.2.Id", "b"), ("Metrics.member.1.MetricStat.Metric.Dimensions.member.1.Name", "a")];
        let form = form.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let nested = json!({ "MetricStat": { "Metric": { "Dimensions": [{ "Name": "a" }] } } });
        assert_eq!(document(&Form::from(form)).unwrap(), json!({ "Metrics": [nested, { "Id": "b" }] }));
    }

    #[test]
    fn values_of_a_form_get_their_types_and_others_are_refused() {
        let form = |pairs: &[(&str, &str)]| {
            let form: Form = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let parameters = OPERATIONS.iter().map(|operation| operation.parameters).collect::<Vec<_>>().join(" ");
            input(parameters.leak(), &Input::Form(form)).map(Cow::into_owned).map_err(|refusal| refusal.code)
        };
        let read = form(&[
            ("ActionsEnabled", "0"),
            ("Period", "60"),
            ("Threshold", "1.5"),
            ("AlarmName", "7"),
            ("MaxRecords", ""),
        ]);
        assert_eq!(read.unwrap(), json!({ "ActionsEnabled": false, "Period": 60, "Threshold": 1.5, "AlarmName": "7" }));
        for (name, value) in [
            ("ActionsEnabled", "True"),
            ("ActionsEnabled", "no"),
            ("EvaluationPeriods", "three"),
            ("EvaluationPeriods", "1.5"),
            ("DatapointsToAlarm", "99999999999"),
            ("Threshold", "NaN"),
            ("Threshold", "1,5"),
            ("MaxRecords", "many"),
            ("Metrics.member.1.ReturnData", "yes"),
            ("Metrics.member.1.MetricStat.Period", "minute"),
            ("Period.member.1", "60"),
            ("StartTime", "yesterday"),
            ("EndTime", "1795946400"),
            ("AlarmNames.member.x", "a"),
            ("AlarmNames.member.0", "a"),
            ("AlarmNames", "a"),
            ("AlarmNames.member.2", "a"),
            ("Metrics.member.1", "a"),
            ("AlarmName.member.1", "a"),
        ] {
            assert_eq!(form(&[(name, value)]).unwrap_err(), "MalformedInput", "{name}={value}");
        }
    }
}
