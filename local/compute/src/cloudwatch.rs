//! CloudWatch: the values of metrics, alarms on those of load balancers, and the alarms of target tracking.
//!
//! The service supports three protocols, of which clients choose one: Query, JSON, and CBOR for newer SDKs.

mod alarms;
mod data;
mod math;
mod metrics;

use std::borrow::Cow;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::state::{MetricAlarm, State, Verdict};
use crate::{Alarm, Compute, Site, autoscaling};
use kit::answer::{Protocol, Refusal, Response, cbor, escape, json_answer, query_result};
use kit::call::{Asked, Call, Effect, Form, Input, Need, Needs, Operation, Page, Rows};
use kit::parameters::{self, ParameterSpec, Type};

pub(crate) use alarms::evaluate;
pub(crate) use metrics::{Metrics, minute};

const NAMESPACE: &str = "http://monitoring.amazonaws.com/doc/2010-08-01/";

/// The supported operations and parameters; any other is refused by name.
const OPERATIONS: &[Operation<Run>] = &[
    row("DeleteAlarms", Run::Writes(alarms::delete), Needs::Of(on_alarms), None, "AlarmNames[]"),
    row(
        "DescribeAlarms",
        Run::Reads(describe_alarms),
        // The service's name in policies differs from its name in signatures.
        Needs::Of(|_| vec![Need::new("cloudwatch:DescribeAlarms", "*")]),
        Some(Page::Own("MaxRecords")),
        "ActionPrefix AlarmNamePrefix AlarmNames[] AlarmTypes[] MaxRecords:integer NextToken StateValue",
    ),
    row(
        "GetMetricData",
        Run::Measures(data::get),
        // It has no resource-level permissions.
        Needs::Of(|_| vec![Need::new("cloudwatch:GetMetricData", "*")]),
        Some(Page::Own("MaxDatapoints")),
        "EndTime:moment MaxDatapoints:integer MetricDataQueries[].Id MetricDataQueries[].Label \
         MetricDataQueries[].MetricStat.Metric.Dimensions[].Name \
         MetricDataQueries[].MetricStat.Metric.Dimensions[].Value \
         MetricDataQueries[].MetricStat.Metric.MetricName MetricDataQueries[].MetricStat.Metric.Namespace \
         MetricDataQueries[].MetricStat.Period:integer MetricDataQueries[].MetricStat.Stat \
         MetricDataQueries[].ReturnData:boolean NextToken ScanBy StartTime:moment",
    ),
    row("ListTagsForResource", Run::Reads(alarms::list_tags), Needs::Of(on_arn), None, "ResourceARN"),
    row(
        "PutMetricAlarm",
        Run::Writes(alarms::put),
        Needs::Of(to_put),
        None,
        "ActionsEnabled:boolean AlarmDescription AlarmName ComparisonOperator DatapointsToAlarm:integer Dimensions[].Name \
         Dimensions[].Value EvaluationPeriods:integer MetricName Metrics[].Expression Metrics[].Id Metrics[].Label \
         Metrics[].MetricStat.Metric.Dimensions[].Name Metrics[].MetricStat.Metric.Dimensions[].Value \
         Metrics[].MetricStat.Metric.MetricName Metrics[].MetricStat.Metric.Namespace \
         Metrics[].MetricStat.Period:integer Metrics[].MetricStat.Stat Metrics[].ReturnData:boolean Namespace \
         Period:integer Statistic Tags[].Key Tags[].Value Threshold:double TreatMissingData",
    ),
    row("SetAlarmState", Run::Writes(alarms::set_state), Needs::Of(on_alarm), None, "AlarmName StateReason StateValue"),
    row("TagResource", Run::Writes(alarms::tag), Needs::Of(on_arn), None, "ResourceARN Tags[].Key Tags[].Value"),
    row("UntagResource", Run::Writes(alarms::untag), Needs::Of(on_arn), None, "ResourceARN TagKeys[]"),
];

/// The function behind an operation. One that reads cannot change the state.
#[derive(Debug, Clone, Copy)]
enum Run {
    Reads(fn(&State, &Site, &Value) -> Result<Value, Refusal>),
    /// Reads values of metrics.
    Measures(fn(&Metrics, &Site, &Value) -> Result<Value, Refusal>),
    Writes(fn(&mut State, &Site, &Value) -> Result<Value, Refusal>),
}

const fn row(
    name: &'static str,
    run: Run,
    needs: Needs,
    page: Option<Page>,
    parameters: &'static str,
) -> Operation<Run> {
    let effect = match run {
        Run::Reads(_) | Run::Measures(_) => Effect::Reads,
        Run::Writes(_) => Effect::Writes,
    };
    Operation::new(name, effect, needs, page, parameters, run)
}

/// The action of a call on these ARNs.
fn on(asked: &Asked, arns: Vec<String>) -> Vec<Need> {
    let action = format!("cloudwatch:{}", asked.call.operation);
    arns.into_iter().map(|arn| Need::new(action.clone(), arn)).collect()
}

fn alarm_arn(asked: &Asked, name: &str) -> String {
    format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", asked.region, kit::ACCOUNT)
}

/// The parameters of a call, whose types have not been checked.
fn parameters<'a>(asked: &'a Asked) -> Cow<'a, Value> {
    match &asked.call.input {
        Input::Form(form) => Cow::Owned(document(form).unwrap_or_default()),
        input => Cow::Borrowed(input.json().value()),
    }
}

fn on_alarm(asked: &Asked) -> Vec<Need> {
    let name = alarm_arn(asked, text(&parameters(asked), "AlarmName").unwrap_or("*"));
    on(asked, vec![name])
}

fn on_alarms(asked: &Asked) -> Vec<Need> {
    let parameters = parameters(asked);
    let names = list(&parameters, "AlarmNames");
    let names = if names.is_empty() { vec!["*"] } else { names };
    on(asked, names.into_iter().map(|name| alarm_arn(asked, name)).collect())
}

fn on_arn(asked: &Asked) -> Vec<Need> {
    let arn = text(&parameters(asked), "ResourceARN").unwrap_or("*").to_owned();
    on(asked, vec![arn])
}

/// Tags of a new alarm need a permission of their own (`API:cloudwatch.PutMetricAlarm`).
fn to_put(asked: &Asked) -> Vec<Need> {
    let mut needs = on_alarm(asked);
    if parameters(asked)["Tags"].as_array().is_some_and(|tags| !tags.is_empty()) {
        let arn = needs[0].resource.clone();
        needs.push(Need::new("cloudwatch:TagResource", arn));
    }
    needs
}

/// Returns the row of each operation.
pub fn rows() -> Rows {
    Operation::rows(OPERATIONS)
}

/// Members that are timestamps, which each protocol encodes differently.
const MOMENTS: &[&str] =
    &["AlarmConfigurationUpdatedTimestamp", "StateTransitionedTimestamp", "StateUpdatedTimestamp", "Timestamps"];

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

/// Returns the parameters of a call as a JSON document, whatever its protocol.
fn input(parameters: ParameterSpec, input: &Input) -> Result<Cow<'_, Value>, Refusal> {
    match input {
        Input::Form(form) => {
            let mut document = document(form)?;
            typed(parameters, "", &mut document)?;
            parameters::check_json(parameters, &document)?;
            Ok(Cow::Owned(document))
        }
        input if input.json().text().is_empty() => Ok(Cow::Owned(json!({}))),
        input => parameters::document(parameters, input.json()).map(Cow::Borrowed),
    }
}

/// Reads a value of a form, in the notation of XML Schema; `None` if it does not have the type.
fn parse(kind: Type, text: &str) -> Option<Value> {
    match kind {
        Type::Text => Some(json!(text)),
        Type::Boolean => match text {
            "true" | "1" => Some(json!(true)),
            "false" | "0" => Some(json!(false)),
            _ => None,
        },
        Type::Integer => text.parse::<i32>().ok().map(|number| json!(number)),
        Type::Moment => {
            let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
            Some(json!(at.unix_timestamp_nanos() as f64 / 1e9))
        }
        Type::Double => text.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| json!(number)),
        _ => None,
    }
}

/// Gives the members of a form's document their types. Empty values other than texts count as missing.
fn typed(parameters: ParameterSpec, above: &str, document: &mut Value) -> Result<(), Refusal> {
    let Some(members) = document.as_object_mut() else { return Err(malformed("Unexpected list element")) };
    let path_of = |name: &str| if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
    members.retain(|name, value| value != "" || parameters::type_at(parameters, &path_of(name)) == Some(Type::Text));
    for (name, value) in members {
        let path = path_of(name);
        let Some(kind) = parameters::type_at(parameters, &path) else { continue };
        match (kind, &mut *value) {
            (Type::Structure, Value::Object(_)) => typed(parameters, &path, value)?,
            (Type::Structures, Value::Array(items)) => {
                let path = format!("{path}[]");
                items.iter_mut().try_for_each(|item| typed(parameters, &path, item))?;
            }
            (Type::Texts, Value::Array(items)) if items.iter().all(Value::is_string) => (),
            (_, Value::String(text)) => match parse(kind, text) {
                Some(read) => *value = read,
                None if kind == Type::Boolean => return Err(malformed("boolean must follow xsd1.1 definition")),
                None => return Err(malformed(&format!("Value ({text}) for parameter {name} is invalid."))),
            },
            _ => return Err(malformed("Unexpected complex element termination")),
        }
    }
    Ok(())
}

/// The error for a form whose values have the wrong types (docs/aws.md §2.1).
fn malformed(message: &str) -> Refusal {
    Refusal::new(400, "MalformedInput", message)
}

/// Converts a form to a document: `AlarmNames.member.1` is the first element of a list.
///
/// Errors: `MalformedInput` if an element's number is not a number, or a name has too many steps.
fn document(form: &Form) -> Result<Value, Refusal> {
    if form.keys().any(|name| name.split('.').count() > MOST_STEPS) {
        return Err(malformed("the name of a parameter is nested too deeply"));
    }
    let mut input = json!({});
    for (name, value) in form.iter().filter(|(name, _)| !matches!(name.as_str(), "Action" | "Version")) {
        let steps: Vec<&str> = name.split('.').collect();
        put(&mut input, &steps, value)?;
    }
    Ok(input)
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

/// Describes all alarms: those that callers put, and those of target tracking.
fn describe_alarms(state: &State, site: &Site, input: &Value) -> Result<Value, Refusal> {
    let put = state.alarms.iter().map(|(name, alarm)| shown_put(site, name, alarm));
    let tracking = autoscaling::alarms(state, site);
    let mut all: Vec<Value> = put.chain(tracking.iter().map(shown)).collect();
    all.sort_by(|a, b| a["AlarmName"].as_str().cmp(&b["AlarmName"].as_str()));
    page(input, all)
}

/// Selects from the descriptions of all alarms.
fn page(input: &Value, alarms: Vec<Value>) -> Result<Value, Refusal> {
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
            Verdict::Unknown => "INSUFFICIENT_DATA",
            Verdict::Fine => "OK",
            Verdict::Alarm => "ALARM",
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
