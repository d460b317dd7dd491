//! The evaluation of alarms.

use serde_json::Value;

use super::configuration::series;
use crate::clock::Moment;
use crate::cloudwatch::math::Expression;
use crate::cloudwatch::metrics::{self, Metrics};
use crate::state::{AlarmState, MetricAlarm, Refresh, State};
use kit::speed::Speed;

/// The delay in minutes after which the values of a minute can be read.
const LATE_MINUTES: u64 = 1;
/// The most minutes that are evaluated at once, after the evaluation has been held up.
const MOST_AT_ONCE: u64 = 1_440;

/// Notes in every refresh that watches this alarm, and for which this counts, that it is in the state `ALARM`.
pub(super) fn ring(state: &mut State, name: &str, counts: impl Fn(&Refresh) -> bool) {
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
pub(super) fn judge(alarm: &mut MetricAlarm, metrics: &Metrics, minute: u64) {
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
        _ if breaching >= points => AlarmState::Alarm,
        Some("ignore") if values.is_empty() => return,
        Some("missing") if values.is_empty() => AlarmState::Unknown,
        _ => AlarmState::Fine,
    };
    if verdict == alarm.watch.verdict {
        return;
    }
    alarm.reason = match verdict {
        AlarmState::Alarm => format!(
            "Threshold Crossed: {breaching} out of the last {periods} datapoints {over:?} crossed the threshold ({threshold:?}) (minimum {points} datapoint{} for OK -> ALARM transition).",
            if points == 1 { "" } else { "s" }
        ),
        AlarmState::Fine => {
            format!("Threshold Crossed: the last {periods} datapoints did not cross the threshold ({threshold:?}).")
        }
        AlarmState::Unknown => format!("Insufficient Data: {missing} datapoints were unknown."),
    };
    alarm.watch.note(verdict);
}

/// The value that an alarm compares, in a minute.
pub(super) fn value(config: &Value, metrics: &Metrics, minute: u64) -> Option<f64> {
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
