//! The alarms that callers put: their configuration, checked as CloudWatch checks it, and their evaluation
//! (docs/aws.md §10.9).

mod configuration;
mod evaluation;

use serde_json::{Value, json};

use super::{list, text};
use crate::Site;
use crate::clock::Moment;
use crate::state::{AlarmState, MetricAlarm, State, Tags, Watch};
use kit::answer::Refusal;
use kit::tags::{Flaw, USUAL};

use configuration::{check_name, configuration};
pub use evaluation::evaluate;
use evaluation::ring;

/// The most alarms in a call that deletes them.
const MOST_DELETED: usize = 100;

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

/// The longest value of a dimension.
const LONGEST_VALUE: usize = 1_024;
/// The longest reason of a state.
const LONGEST_REASON: usize = 1_023;

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
        "OK" => AlarmState::Fine,
        "ALARM" => AlarmState::Alarm,
        "INSUFFICIENT_DATA" => AlarmState::Unknown,
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

#[cfg(test)]
mod tests {
    use kit::speed::Speed;

    use super::evaluation::judge;
    use super::*;
    use crate::cloudwatch::metrics::{self, Metrics, NAMESPACE};

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
        use AlarmState::{Alarm, Fine};
        assert_eq!(verdicts, [Fine, Fine, Alarm, Alarm, Alarm, Fine]);
        for (missing, expected) in [("missing", AlarmState::Unknown), ("breaching", Alarm), ("notBreaching", Fine)] {
            let input = with(|it| it["TreatMissingData"] = json!(missing));
            alarm.config = configuration(&input).unwrap();
            judge(&mut alarm, &metrics, begun + 100);
            assert_eq!(alarm.watch.verdict, expected, "{missing}");
        }
    }
}
