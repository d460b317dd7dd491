//! The alarms that callers put: their configuration, checked as CloudWatch checks it, and their evaluation
//! (docs/aws.md §10.9).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::math::{Expression, is_id};
use super::metrics::{self, Metrics, NAMES, NAMESPACE};
use super::{flag, list, number, text};
use crate::Site;
use crate::clock::Moment;
use crate::state::{MetricAlarm, Refresh, State, Tags, Verdict, Watch};
use kit::answer::Refusal;
use kit::metrics::Series;
use kit::parameters;
use kit::speed::Speed;
use kit::tags::{Flaw, USUAL};

/// The period of every alarm here, in seconds.
const PERIOD_S: u64 = 60;
/// Alarms evaluate at most a day.
const LONGEST_S: u64 = 86_400;
/// The most metrics of an alarm on an expression.
const MOST_METRICS: usize = 10;
/// The most alarms in a call that deletes them.
const MOST_DELETED: usize = 100;
const COMPARISONS: &[&str] =
    &["GreaterThanOrEqualToThreshold", "GreaterThanThreshold", "LessThanThreshold", "LessThanOrEqualToThreshold"];
const MISSING: &[&str] = &["breaching", "notBreaching", "ignore", "missing"];
/// The delay in minutes after which the values of a minute can be read.
const LATE_MINUTES: u64 = 1;
/// The most minutes that are evaluated at once, after the evaluation has been held up.
const MOST_AT_ONCE: u64 = 1_440;

pub type Answered = Result<Value, Refusal>;

pub fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "ValidationError", message)
}

/// Returns a parameter that has to be given.
pub fn required<'a>(input: &'a Value, name: &str) -> Result<&'a str, Refusal> {
    text(input, name).ok_or_else(|| invalid(format!("The parameter {name} is required")))
}

pub fn arn(site: &Site, name: &str) -> String {
    format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", site.region, site.account)
}

/// Creates an alarm, or replaces its configuration. Then its state and its tags stay (`API:cloudwatch.PutMetricAlarm`).
pub fn put(state: &mut State, site: &Site, input: &Value) -> Answered {
    let name = required(input, "AlarmName")?;
    check_name(name)?;
    let tags = tags(input, &Tags::new())?;
    let config = configuration(input)?;
    let before = state.alarms.get(name);
    let watch = before.map_or_else(Watch::begin, |before| before.watch);
    let reason = before.map_or_else(|| "Unchecked: Initial alarm creation".to_owned(), |before| before.reason.clone());
    if before.is_none() {
        state.tag(&arn(site, name), tags);
    }
    state.alarms.insert(name.to_owned(), MetricAlarm { config, made: Moment::now(), watch, reason });
    Ok(json!({}))
}

fn check_name(name: &str) -> Result<(), Refusal> {
    if name.chars().count() > 255 || name.chars().any(|letter| letter.is_ascii_control()) {
        return Err(invalid("The alarm name must have 1 to 255 characters and no control characters"));
    }
    Ok(())
}

/// The checked configuration, with the defaults filled in.
fn configuration(input: &Value) -> Answered {
    let mut config = Map::new();
    if let Some(description) = text(input, "AlarmDescription") {
        if description.chars().count() > 1024 {
            return Err(invalid("The alarm description must have at most 1024 characters"));
        }
        config.insert("AlarmDescription".to_owned(), json!(description));
    }
    config.insert("ActionsEnabled".to_owned(), json!(flag(input, "ActionsEnabled").unwrap_or(true)));
    let whole = |name: &str| number(input, name).filter(|number| number.fract() == 0.0).map(|number| number as i64);
    let periods = whole("EvaluationPeriods").filter(|periods| *periods >= 1);
    let periods = periods.ok_or_else(|| invalid("The parameter EvaluationPeriods must be a number from 1"))? as u64;
    if periods.saturating_mul(PERIOD_S) > LONGEST_S {
        let text = "Metrics cannot be checked across more than a day (EvaluationPeriods * Period must be <= 86400)";
        return Err(invalid(text));
    }
    let points = match &input["DatapointsToAlarm"] {
        Value::Null => periods,
        _ => whole("DatapointsToAlarm").and_then(|points| u64::try_from(points).ok()).unwrap_or_default(),
    };
    if !(1..=periods).contains(&points) {
        return Err(invalid("The parameter DatapointsToAlarm must be from 1 to EvaluationPeriods"));
    }
    let threshold = number(input, "Threshold").filter(|threshold| threshold.is_finite());
    let threshold = threshold.ok_or_else(|| invalid("The parameter Threshold is required"))?;
    let comparison = required(input, "ComparisonOperator")?;
    if !COMPARISONS.contains(&comparison) {
        return Err(invalid(format!("{comparison} is not a ComparisonOperator of an alarm with a threshold")));
    }
    let missing = text(input, "TreatMissingData").unwrap_or("missing");
    if !MISSING.contains(&missing) {
        return Err(invalid(format!("TreatMissingData must be one of {MISSING:?}, not {missing}")));
    }
    for (field, value) in [
        ("EvaluationPeriods", json!(periods)),
        ("DatapointsToAlarm", json!(points)),
        ("Threshold", json!(threshold)),
        ("ComparisonOperator", json!(comparison)),
        ("TreatMissingData", json!(missing)),
    ] {
        config.insert(field.to_owned(), value);
    }
    match (text(input, "MetricName"), &input["Metrics"]) {
        (Some(_), Value::Null) => {
            series(input)?;
            check_statistic(required(input, "Statistic")?)?;
            check_period(number(input, "Period"))?;
            for field in ["MetricName", "Namespace", "Statistic", "Dimensions"] {
                config.insert(field.to_owned(), input[field].clone());
            }
            config.insert("Period".to_owned(), json!(PERIOD_S));
        }
        (None, Value::Array(queries)) => {
            for field in ["Namespace", "Dimensions", "Period", "Statistic"] {
                if !input[field].is_null() {
                    return Err(invalid(format!("The parameter {field} cannot be used together with Metrics")));
                }
            }
            config.insert("Metrics".to_owned(), metrics_of(queries)?);
        }
        _ => return Err(invalid("Exactly one of MetricName and Metrics must be specified")),
    }
    Ok(Value::Object(config))
}

/// The longest expression.
const LONGEST_EXPRESSION: usize = 2_048;
/// The longest value of a dimension.
const LONGEST_VALUE: usize = 1_024;
/// The longest reason of a state.
const LONGEST_REASON: usize = 1_023;

/// The checked queries of an alarm on an expression.
fn metrics_of(queries: &[Value]) -> Answered {
    let mut ids = BTreeSet::new();
    let mut checked = Vec::new();
    for query in queries {
        let id = required(query, "Id")?;
        if !is_id(id) || id.len() > 255 || !ids.insert(id) {
            return Err(invalid(format!("The id {id} is used twice or does not begin with a lower-case letter")));
        }
        let mut one = json!({ "Id": id, "ReturnData": flag(query, "ReturnData").unwrap_or(true) });
        if let Some(label) = text(query, "Label") {
            one["Label"] = json!(label);
        }
        match (text(query, "Expression"), &query["MetricStat"]) {
            (Some(expression), Value::Null) => {
                // This also bounds the recursion of the parser and of the evaluation.
                if expression.chars().count() > LONGEST_EXPRESSION {
                    let text = format!("The expression of {id} must have at most {LONGEST_EXPRESSION} characters");
                    return Err(invalid(text));
                }
                Expression::parse(expression).map_err(not_implemented)?;
                one["Expression"] = json!(expression);
            }
            (None, stat @ Value::Object(_)) => {
                series(&stat["Metric"])?;
                check_statistic(required(stat, "Stat")?)?;
                check_period(number(stat, "Period"))?;
                let metric = &stat["Metric"];
                one["MetricStat"] = json!({ "Metric": metric, "Period": PERIOD_S, "Stat": stat["Stat"] });
            }
            _ => return Err(invalid(format!("{id} needs either an Expression or a MetricStat"))),
        }
        checked.push(one);
    }
    if checked.iter().filter(|one| !one["MetricStat"].is_null()).count() > MOST_METRICS {
        return Err(invalid(format!("An alarm can have at most {MOST_METRICS} metrics")));
    }
    if checked.iter().filter(|one| one["ReturnData"] == true).count() != 1 {
        return Err(invalid("Exactly one element of the metrics list should return data."));
    }
    for expression in checked.iter().filter_map(|one| one["Expression"].as_str()) {
        let parsed = Expression::parse(expression).map_err(not_implemented)?;
        if let Some(unknown) = parsed.ids().into_iter().find(|id| !ids.contains(id)) {
            return Err(invalid(format!("The expression {expression} names the unknown id {unknown}")));
        }
        // AWS allows expressions of expressions; those could also refer to each other in a circle.
        let names_expression = |id: &&str| checked.iter().any(|one| one["Id"] == **id && one["MetricStat"].is_null());
        if let Some(id) = parsed.ids().iter().find(|id| names_expression(id)) {
            return Err(not_implemented(format!("an expression of another expression, {id}")));
        }
    }
    Ok(json!(checked))
}

fn not_implemented(what: String) -> Refusal {
    parameters::refusal(format!("the local AWS does not implement this metric math: {what}"))
}

fn check_statistic(statistic: &str) -> Result<(), Refusal> {
    match statistic {
        "Sum" => Ok(()),
        "Average" | "Minimum" | "Maximum" | "SampleCount" => {
            Err(parameters::refusal(format!("the local AWS has no statistic {statistic}, only Sum")))
        }
        other => Err(invalid(format!("{other} is not a statistic"))),
    }
}

fn check_period(period: Option<f64>) -> Result<(), Refusal> {
    match period {
        Some(60.0) => Ok(()),
        Some(period) if period > 0.0 && (period % 60.0 == 0.0 || [10.0, 20.0, 30.0].contains(&period)) => {
            Err(parameters::refusal(format!("the local AWS has no period of {period} seconds, only 60")))
        }
        _ => Err(invalid("The period must be 10, 20, 30 or a multiple of 60")),
    }
}

/// The series that a metric names.
fn series(metric: &Value) -> Result<Series, Refusal> {
    let (namespace, name) = (required(metric, "Namespace")?, required(metric, "MetricName")?);
    let known = NAMES.iter().copied().find(|known| *known == name).filter(|_| namespace == NAMESPACE);
    let Some(name) = known else {
        return Err(parameters::refusal(format!("the local AWS does not measure {name} of {namespace}")));
    };
    let (mut balancer, mut target_group) = (None, None);
    for dimension in metric["Dimensions"].as_array().into_iter().flatten() {
        let value = required(dimension, "Value")?.to_owned();
        if value.len() > LONGEST_VALUE {
            return Err(invalid(format!("The value of a dimension must have at most {LONGEST_VALUE} characters")));
        }
        let before = match required(dimension, "Name")? {
            "LoadBalancer" => balancer.replace(value),
            "TargetGroup" => target_group.replace(value),
            other => {
                return Err(parameters::refusal(format!("the local AWS has no dimension {other} of load balancers")));
            }
        };
        if before.is_some() {
            return Err(invalid("A dimension is given twice"));
        }
    }
    let balancer =
        balancer.ok_or_else(|| parameters::refusal("the local AWS measures each load balancer alone".to_owned()))?;
    Ok(metrics::series(name, balancer, target_group))
}

pub fn delete(state: &mut State, site: &Site, input: &Value) -> Answered {
    let names: Vec<String> = list(input, "AlarmNames").into_iter().map(str::to_owned).collect();
    if names.is_empty() || names.len() > MOST_DELETED {
        return Err(invalid(format!("Between 1 and {MOST_DELETED} alarm names must be specified")));
    }
    let mut missing = Vec::new();
    for name in names {
        match state.alarms.remove(&name) {
            Some(_) => drop(state.tags.remove(&arn(site, &name))),
            None => missing.push(name),
        }
    }
    match missing.first() {
        Some(name) => Err(Refusal::new(404, "ResourceNotFound", format!("Alarm {name} does not exist"))),
        None => Ok(json!({})),
    }
}

pub fn set_state(state: &mut State, _site: &Site, input: &Value) -> Answered {
    let (name, reason) = (required(input, "AlarmName")?, required(input, "StateReason")?);
    let verdict = match required(input, "StateValue")? {
        "OK" => Verdict::Fine,
        "ALARM" => Verdict::Alarm,
        "INSUFFICIENT_DATA" => Verdict::Unknown,
        other => return Err(invalid(format!("{other} is not an alarm state"))),
    };
    if reason.chars().count() > LONGEST_REASON {
        return Err(invalid(format!("StateReason must have at most {LONGEST_REASON} characters")));
    }
    let Some(alarm) = state.alarms.get_mut(name) else {
        return Err(Refusal::new(404, "ResourceNotFound", format!("Alarm {name} does not exist")));
    };
    alarm.watch.note(verdict);
    alarm.reason = reason.to_owned();
    ring(state, name, |_| true);
    Ok(json!({}))
}

pub fn list_tags(state: &State, site: &Site, input: &Value) -> Answered {
    let arn = existing(state, site, input)?;
    let tags = state.tags_of(arn).iter().map(|(key, value)| json!({ "Key": key, "Value": value }));
    Ok(json!({ "Tags": tags.collect::<Vec<_>>() }))
}

pub fn tag(state: &mut State, site: &Site, input: &Value) -> Answered {
    let is_whole = |tag: &Value| tag["Key"].is_string() && tag["Value"].is_string();
    if !input["Tags"].as_array().is_some_and(|tags| tags.iter().all(is_whole)) {
        return Err(invalid("The parameter Tags is required, with the key and the value of each"));
    }
    let arn = existing(state, site, input)?.to_owned();
    let tags = tags(input, state.tags_of(&arn))?;
    state.tag(&arn, tags);
    Ok(json!({}))
}

pub fn untag(state: &mut State, site: &Site, input: &Value) -> Answered {
    if !input["TagKeys"].is_array() {
        return Err(invalid("The parameter TagKeys is required"));
    }
    let arn = existing(state, site, input)?.to_owned();
    let keys = list(input, "TagKeys");
    if let Some(tags) = state.tags.get_mut(&arn) {
        tags.retain(|key, _| !keys.contains(&key.as_str()));
    }
    Ok(json!({}))
}

/// The ARN in a call for tags, which only our own alarms have here.
fn existing<'a>(state: &State, site: &Site, input: &'a Value) -> Result<&'a str, Refusal> {
    let arn = required(input, "ResourceARN")?;
    match state.alarms.keys().any(|name| self::arn(site, name) == arn) {
        true => Ok(arn),
        false => Err(Refusal::new(404, "ResourceNotFoundException", format!("{arn} does not exist"))),
    }
}

fn tags(input: &Value, there: &Tags) -> Result<Tags, Refusal> {
    let given = input["Tags"].as_array().into_iter().flatten();
    let pairs: Vec<(&str, &str)> =
        given.map(|tag| (tag["Key"].as_str().unwrap_or_default(), tag["Value"].as_str().unwrap_or_default())).collect();
    let checked = USUAL.check(pairs.iter().copied(), there.keys().map(String::as_str));
    checked.map_err(|flaw| {
        let text = match &flaw {
            Flaw::TooMany => "A resource can have no more than 50 tags".to_owned(),
            Flaw::Twice(key) => format!("The tag key {key} is given twice"),
            Flaw::Reserved(key) => format!("Tag keys that begin with aws: are reserved: {key}"),
            flaw => flaw.clone().in_list("tags").unwrap_or_default(),
        };
        Refusal::new(400, "InvalidParameterValue", text)
    })?;
    Ok(pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

/// Notes in every refresh that watches this alarm, and for which this counts, that it is in the state `ALARM`.
fn ring(state: &mut State, name: &str, counts: impl Fn(&Refresh) -> bool) {
    if !state.alarms.get(name).is_some_and(MetricAlarm::rings) {
        return;
    }
    for refresh in state.groups.values_mut().filter_map(|group| group.refreshes.last_mut()) {
        let is_watched = refresh.alarms.iter().any(|watched| watched == name) && counts(refresh);
        if refresh.is_open() && refresh.rung.is_none() && is_watched {
            refresh.rung = Some(name.to_owned());
        }
    }
}

/// Evaluates all alarms for every minute that has passed since `last`, and returns the current minute.
pub fn evaluate(state: &mut State, speed: Speed, metrics: &Metrics, last: Option<u64>, now: Moment) -> u64 {
    let now = metrics::minute(now, speed);
    let begin = last.map_or(now, |last| last + 1).max(now.saturating_sub(MOST_AT_ONCE));
    for minute in begin..=now {
        let names: Vec<String> = state.alarms.keys().cloned().collect();
        for name in names {
            // After a long time without an evaluation, neither is concerned by minutes before its beginning.
            let has_begun = |at: Moment| metrics::minute(at, speed) <= minute;
            if let Some(alarm) = state.alarms.get_mut(&name).filter(|alarm| has_begun(alarm.made)) {
                judge(alarm, metrics, minute);
            }
            ring(state, &name, |refresh| has_begun(refresh.started));
        }
    }
    now
}

/// Gives an alarm the state that follows from the minutes before this one.
fn judge(alarm: &mut MetricAlarm, metrics: &Metrics, minute: u64) {
    let config = &alarm.config;
    let count = |field: &str| config[field].as_u64().unwrap_or(1);
    let (periods, points) = (count("EvaluationPeriods"), count("DatapointsToAlarm"));
    // CloudWatch also looks at earlier minutes, so that each of the periods may have a value (docs/aws.md §10.9).
    let end = minute.saturating_sub(LATE_MINUTES);
    let values: Vec<f64> = (end.saturating_sub(periods)..end).filter_map(|at| value(config, metrics, at)).collect();
    let threshold = config["Threshold"].as_f64().unwrap_or_default();
    let breaches = |value: &f64| match config["ComparisonOperator"].as_str() {
        Some("GreaterThanThreshold") => *value > threshold,
        Some("GreaterThanOrEqualToThreshold") => *value >= threshold,
        Some("LessThanThreshold") => *value < threshold,
        _ => *value <= threshold,
    };
    let missing = periods - values.len() as u64;
    let over: Vec<f64> = values.iter().copied().filter(|value| breaches(value)).collect();
    let breaching = match config["TreatMissingData"].as_str() {
        Some("breaching") => over.len() as u64 + missing,
        _ => over.len() as u64,
    };
    let verdict = match config["TreatMissingData"].as_str() {
        _ if breaching >= points => Verdict::Alarm,
        Some("ignore") if values.is_empty() => return,
        Some("missing") if values.is_empty() => Verdict::Unknown,
        _ => Verdict::Fine,
    };
    if verdict == alarm.watch.verdict {
        return;
    }
    alarm.reason = match verdict {
        Verdict::Alarm => format!(
            "Threshold Crossed: {breaching} out of the last {periods} datapoints {over:?} crossed the threshold ({threshold:?}) (minimum {points} datapoint{} for OK -> ALARM transition).",
            if points == 1 { "" } else { "s" }
        ),
        Verdict::Fine => {
            format!("Threshold Crossed: the last {periods} datapoints did not cross the threshold ({threshold:?}).")
        }
        Verdict::Unknown => format!("Insufficient Data: {missing} datapoints were unknown."),
    };
    alarm.watch.note(verdict);
}

/// The value that an alarm compares, in a minute.
fn value(config: &Value, metrics: &Metrics, minute: u64) -> Option<f64> {
    let measured = |metric: &Value| metrics.value(&series(metric).ok()?, minute);
    let Some(queries) = config["Metrics"].as_array() else { return measured(config) };
    let of = |id: &str| {
        let query = queries.iter().find(|query| query["Id"] == id)?;
        measured(&query["MetricStat"]["Metric"])
    };
    let returned = queries.iter().find(|query| query["ReturnData"] == true)?;
    match returned["Expression"].as_str() {
        Some(expression) => Expression::parse(expression).ok()?.value(&of),
        None => of(returned["Id"].as_str()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BALANCER: &str = "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/web/1";
    const GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/web/2";

    fn metric(name: &str) -> Value {
        json!({ "Namespace": NAMESPACE, "MetricName": name, "Dimensions": [{ "Name": "LoadBalancer", "Value": "app/web/1" }] })
    }

    fn stat(id: &str, name: &str) -> Value {
        json!({ "Id": id, "ReturnData": false, "MetricStat": { "Metric": metric(name), "Period": 60, "Stat": "Sum" } })
    }

    fn input() -> Value {
        json!({
            "AlarmName": "errors",
            "EvaluationPeriods": 3, "DatapointsToAlarm": 1, "Threshold": 1.0,
            "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching",
            "Metrics": [
                { "Id": "percent", "Expression": "100 * errors / requests", "ReturnData": true },
                stat("errors", "HTTPCode_Target_5XX_Count"),
                stat("requests", "RequestCount"),
            ],
        })
    }

    fn with(change: impl FnOnce(&mut Value)) -> Value {
        let mut input = input();
        change(&mut input);
        input
    }

    #[test]
    fn an_alarm_that_aws_would_refuse_is_refused() {
        assert!(configuration(&input()).is_ok());
        for (input, code, text) in [
            (with(|it| it["EvaluationPeriods"] = json!(0)), "ValidationError", "EvaluationPeriods"),
            (with(|it| it["EvaluationPeriods"] = json!(1_441)), "ValidationError", "more than a day"),
            (with(|it| it["DatapointsToAlarm"] = json!(4)), "ValidationError", "DatapointsToAlarm"),
            (with(|it| it["Threshold"] = json!(null)), "ValidationError", "Threshold"),
            (with(|it| it["ComparisonOperator"] = json!("Above")), "ValidationError", "ComparisonOperator"),
            (with(|it| it["TreatMissingData"] = json!("good")), "ValidationError", "TreatMissingData"),
            (with(|it| it["MetricName"] = json!("RequestCount")), "ValidationError", "Exactly one"),
            (with(|it| it["Metrics"] = json!(null)), "ValidationError", "Exactly one"),
            (with(|it| it["Period"] = json!(60)), "ValidationError", "Period cannot be used"),
            (with(|it| it["Metrics"][1]["ReturnData"] = json!(true)), "ValidationError", "Exactly one element"),
            (with(|it| it["Metrics"][1]["Id"] = json!("Errors")), "ValidationError", "lower-case"),
            (with(|it| it["Metrics"][1]["Id"] = json!("requests")), "ValidationError", "twice"),
            (with(|it| it["Metrics"][1]["Id"] = json!("other")), "ValidationError", "unknown id errors"),
            (with(|it| it["Metrics"][0]["Expression"] = json!("FILL(errors, 0)")), "NotImplementedException", "FILL"),
            (with(|it| it["Metrics"][1]["MetricStat"]["Stat"] = json!("p99.9x")), "ValidationError", "not a statistic"),
            (with(|it| it["Metrics"][1]["MetricStat"]["Period"] = json!(7)), "ValidationError", "period"),
            (
                with(|it| it["Metrics"][1]["MetricStat"]["Metric"]["MetricName"] = json!("ConsumedLCUs")),
                "NotImplementedException",
                "ConsumedLCUs",
            ),
        ] {
            let refusal = configuration(&input).expect_err(text);
            assert!(refusal.code == code && refusal.message.contains(text), "{text}: {refusal:?}");
        }
        assert!(check_name("a\u{7}").is_err() && check_name(&"a".repeat(256)).is_err());
    }

    #[test]
    fn an_alarm_follows_the_values_a_minute_after_their_end() {
        // A minute that does not end during the test.
        let speed: Speed = "0.1".parse().unwrap();
        let metrics = Metrics::default();
        let begun = metrics::minute(Moment::now(), speed);
        for _ in 0..50 {
            metrics.count_request(BALANCER, GROUP, speed);
        }
        metrics.count_answer(BALANCER, GROUP, 500, speed);
        let mut alarm = MetricAlarm {
            config: configuration(&input()).unwrap(),
            made: Moment::now(),
            watch: Watch::begin(),
            reason: String::new(),
        };
        let mut verdicts = Vec::new();
        for minute in begun..begun + 6 {
            judge(&mut alarm, &metrics, minute);
            verdicts.push(alarm.watch.verdict);
        }
        use Verdict::{Alarm, Fine};
        assert_eq!(verdicts, [Fine, Fine, Alarm, Alarm, Alarm, Fine]);
        for (missing, expected) in [("missing", Verdict::Unknown), ("breaching", Alarm), ("notBreaching", Fine)] {
            let input = with(|it| it["TreatMissingData"] = json!(missing));
            alarm.config = configuration(&input).unwrap();
            judge(&mut alarm, &metrics, begun + 100);
            assert_eq!(alarm.watch.verdict, expected, "{missing}");
        }
    }
}
