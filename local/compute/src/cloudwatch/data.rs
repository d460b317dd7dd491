//! The values of metrics over time: `GetMetricData` (docs/aws.md §10.10).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::alarms::{Answered, invalid, required};
use super::math::is_id;
use super::metrics::{self, Metrics};
use super::{flag, number, text};
use crate::Site;
use kit::answer::Refusal;
use kit::metrics::{Point, Series, minute, minute_ms, now_ms};
use kit::parameters;

/// The most queries in a call.
const MOST_QUERIES: usize = 500;
/// The most values in an answer, which is also the default.
const MOST_VALUES: usize = 100_800;
/// How many minutes after its end the values of a minute can be read.
const LATE_MINUTES: u64 = 1;

/// What is measured here: a namespace, its metrics, and the names of their dimensions.
const MEASURED: &[(&str, &[&str], &[&str])] = &[
    (metrics::NAMESPACE, metrics::NAMES, &metrics::DIMENSIONS),
    (
        "AWS/Lambda",
        &["AsyncEventAge", "AsyncEventsDropped", "DestinationDeliveryFailures", "Errors", "Invocations", "Throttles"],
        &["FunctionName"],
    ),
];

/// Computes the value of a statistic.
type Statistic = fn(&Point) -> f64;

/// The statistics, each with its value.
const STATISTICS: &[(&str, Statistic)] = &[
    ("Average", |point| point.sum / point.count),
    ("Maximum", |point| point.most),
    ("Minimum", |point| point.least),
    ("SampleCount", |point| point.count),
    ("Sum", |point| point.sum),
];

/// A query, checked.
struct Query {
    id: String,
    label: String,
    series: Series,
    period_s: u64,
    statistic: fn(&Point) -> f64,
}

/// Returns the values of the queries, by page.
pub fn get(metrics: &Metrics, site: &Site, input: &Value) -> Answered {
    let queries = queries(input)?;
    let moment = |name: &str| {
        let at = number(input, name).filter(|at| (0.0..1e12).contains(at)).map(|at| at as u64);
        at.ok_or_else(|| invalid(format!("The parameter {name} is required")))
    };
    // CloudWatch rounds the time down to a whole minute.
    let (start_s, end_s) = (moment("StartTime")? / 60 * 60, moment("EndTime")?);
    if start_s >= end_s {
        return Err(invalid("The parameter StartTime must be less than the parameter EndTime."));
    }
    let is_descending = match text(input, "ScanBy").unwrap_or("TimestampDescending") {
        "TimestampDescending" => true,
        "TimestampAscending" => false,
        other => return Err(invalid(format!("{other} is no order of values"))),
    };
    let size = match &input["MaxDatapoints"] {
        Value::Null => MOST_VALUES,
        size => size.as_u64().and_then(|size| usize::try_from(size).ok()).unwrap_or_default(),
    };
    if !(1..=MOST_VALUES).contains(&size) {
        return Err(invalid(format!("MaxDatapoints must be from 1 to {MOST_VALUES}")));
    }
    let from: usize = match text(input, "NextToken") {
        Some(token) => token.parse().map_err(|_| Refusal::new(400, "InvalidNextToken", "The next token is invalid"))?,
        None => 0,
    };
    let known_until = minute(now_ms(), site.speed).saturating_sub(LATE_MINUTES);
    let length_ms = minute_ms(site.speed);
    let mut all: Vec<(usize, u64, f64)> = Vec::new();
    for (at, query) in queries.iter().enumerate() {
        let minutes = metrics.0.minutes(&query.series).into_iter().filter(|(minute, _)| *minute < known_until);
        let timed = minutes.map(|(minute, point)| (minute.saturating_mul(length_ms) / 1000, point));
        let mut values: Vec<(u64, f64)> =
            periods(timed, start_s, end_s, query.period_s).map(|(at, point)| (at, (query.statistic)(&point))).collect();
        if is_descending {
            values.reverse();
        }
        all.extend(values.into_iter().map(|(second, value)| (at, second, value)));
    }
    let page: Vec<&(usize, u64, f64)> = all.iter().skip(from).take(size).collect();
    let end = from.saturating_add(page.len());
    let results = queries.iter().enumerate().map(|(at, query)| {
        let values: Vec<&&(usize, u64, f64)> = page.iter().filter(|(of, ..)| *of == at).collect();
        let is_whole = all.iter().skip(end).all(|(of, ..)| *of != at);
        json!({
            "Id": query.id,
            "Label": query.label,
            "StatusCode": if is_whole { "Complete" } else { "PartialData" },
            "Timestamps": values.iter().map(|(_, second, _)| *second).collect::<Vec<_>>(),
            "Values": values.iter().map(|(_, _, value)| *value).collect::<Vec<_>>(),
        })
    });
    let mut answer = json!({ "MetricDataResults": results.collect::<Vec<_>>(), "Messages": [] });
    if end < all.len() {
        answer["NextToken"] = json!(end.to_string());
    }
    Ok(answer)
}

/// The points of each period from the start on, with its beginning, oldest first. Times are in seconds.
fn periods(
    points: impl Iterator<Item = (u64, Point)>,
    start_s: u64,
    end_s: u64,
    period_s: u64,
) -> impl Iterator<Item = (u64, Point)> {
    let mut all: BTreeMap<u64, Point> = BTreeMap::new();
    for (at, point) in points.filter(|(at, _)| (start_s..end_s).contains(at)) {
        let begin = start_s + (at - start_s) / period_s * period_s;
        let whole = all.get(&begin).map_or(point, |there| there.with(point));
        all.insert(begin, whole);
    }
    all.into_iter()
}

/// The checked queries whose data is to be returned.
fn queries(input: &Value) -> Result<Vec<Query>, Refusal> {
    let given = input["MetricDataQueries"].as_array().filter(|queries| !queries.is_empty());
    let given = given.ok_or_else(|| invalid("The parameter MetricDataQueries is required"))?;
    if given.len() > MOST_QUERIES {
        return Err(invalid(format!("At most {MOST_QUERIES} queries can be specified")));
    }
    let mut ids = BTreeSet::new();
    let mut all = Vec::new();
    for query in given {
        let id = required(query, "Id")?;
        if !is_id(id) || id.len() > 255 || !ids.insert(id) {
            return Err(invalid(format!("The id {id} is used twice or does not begin with a lower-case letter")));
        }
        let stat = &query["MetricStat"];
        let series = series(&stat["Metric"])?;
        let wanted = required(stat, "Stat")?;
        let statistic = STATISTICS.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
        let statistic = statistic
            .ok_or_else(|| parameters::refusal(format!("the local AWS has no statistic {wanted} of metrics")))?;
        let period_s = match number(stat, "Period") {
            Some(period) if period > 0.0 && period % 60.0 == 0.0 => period as u64,
            Some(period) if [1.0, 5.0, 10.0, 20.0, 30.0].contains(&period) => {
                return Err(parameters::refusal(format!(
                    "the local AWS has no period of {period} seconds, only of minutes"
                )));
            }
            _ => return Err(invalid("The period must be 1, 5, 10, 20, 30 or a multiple of 60")),
        };
        let label = text(query, "Label").unwrap_or(series.name).to_owned();
        if flag(query, "ReturnData").unwrap_or(true) {
            all.push(Query { id: id.to_owned(), label, series, period_s, statistic });
        }
    }
    Ok(all)
}

/// The series that a metric names. One that is not measured here would look like one without values.
fn series(metric: &Value) -> Result<Series, Refusal> {
    let (namespace, name) = (required(metric, "Namespace")?, required(metric, "MetricName")?);
    let unknown = |what: String| parameters::refusal(format!("the local AWS does not measure {what}"));
    let found = MEASURED.iter().find(|(known, ..)| *known == namespace);
    let found = found.and_then(|(namespace, names, dimensions)| {
        Some((*namespace, names.iter().copied().find(|known| *known == name)?, *dimensions))
    });
    let (namespace, name, known) = found.ok_or_else(|| unknown(format!("{name} of {namespace}")))?;
    let mut dimensions = BTreeMap::new();
    for dimension in metric["Dimensions"].as_array().into_iter().flatten() {
        let (dimension, value) = (required(dimension, "Name")?, required(dimension, "Value")?);
        let dimension = known.iter().copied().find(|known| *known == dimension);
        let dimension = dimension.ok_or_else(|| unknown(format!("{name} by other dimensions than {known:?}")))?;
        if dimensions.insert(dimension, value.to_owned()).is_some() {
            return Err(invalid("A dimension is given twice"));
        }
    }
    match dimensions.contains_key(known[0]) {
        true => Ok(Series { namespace, name, dimensions }),
        false => Err(unknown(format!("{name} without {}", known[0]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str) -> Value {
        json!({ "Namespace": "AWS/Lambda", "MetricName": name, "Dimensions": [{ "Name": "FunctionName", "Value": "f" }] })
    }

    fn query(id: &str, name: &str) -> Value {
        json!({ "Id": id, "MetricStat": { "Metric": metric(name), "Period": 60, "Stat": "Sum" } })
    }

    #[test]
    fn points_are_merged_by_period_from_the_start_on() {
        let points = [(60, 1.0), (120, 2.0), (180, 3.0), (240, 4.0), (300, 5.0)].map(|(at, it)| (at, Point::of(it)));
        let merged = |start, end, period| -> Vec<(u64, f64)> {
            periods(points.into_iter(), start, end, period).map(|(at, point)| (at, point.sum)).collect()
        };
        assert_eq!(merged(120, 300, 60), [(120, 2.0), (180, 3.0), (240, 4.0)]);
        assert_eq!(merged(120, 301, 120), [(120, 5.0), (240, 9.0)]);
    }

    #[test]
    fn a_query_that_aws_would_refuse_is_refused() {
        assert_eq!(queries(&json!({ "MetricDataQueries": [query("a", "Throttles")] })).unwrap().len(), 1);
        let with = |change: fn(&mut Value)| {
            let mut query = query("a", "Throttles");
            change(&mut query);
            json!({ "MetricDataQueries": [query] })
        };
        let twice = json!({ "MetricDataQueries": [query("a", "Throttles"), query("a", "Errors")] });
        for (input, code, text) in [
            (json!({}), "ValidationError", "MetricDataQueries"),
            (twice, "ValidationError", "twice"),
            (with(|it| it["Id"] = json!("A")), "ValidationError", "lower-case"),
            (with(|it| it["MetricStat"]["Period"] = json!(90)), "ValidationError", "period"),
            (with(|it| it["MetricStat"]["Period"] = json!(10)), "NotImplementedException", "period"),
            (with(|it| it["MetricStat"]["Stat"] = json!("p99")), "NotImplementedException", "p99"),
            (with(|it| it["MetricStat"]["Metric"] = metric("Duration")), "NotImplementedException", "Duration"),
            (with(|it| it["MetricStat"]["Metric"]["Dimensions"] = json!([])), "NotImplementedException", "without"),
        ] {
            let refusal = queries(&input).err().expect(text);
            assert!(refusal.code == code && refusal.message.contains(text), "{text}: {refusal:?}");
        }
    }
}
