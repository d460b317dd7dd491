//! What CloudWatch has measured of a function: throttled invocations, and events that were dropped (docs/aws.md §10.10).

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::{
    primitives::DateTime,
    types::{Dimension, Metric, MetricDataQuery, MetricDataResult, MetricStat},
};

use crate::{
    cloud::aws::{Aws, items},
    engine::Fault,
};

/// How far back the metrics are read, in minutes. Values are a minute or two late.
pub(super) const WITHIN_MIN: i64 = 15;
/// The length of a minute in seconds.
const MINUTE_S: i64 = 60;

/// A function's metrics of the last `WITHIN_MIN` minutes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Measured {
    /// The invocations, and the attempts at events, that were throttled; none if the function has been invoked in a later
    /// minute without a throttle.
    pub throttled: u64,
    /// The events that were dropped since the function was last changed.
    pub dropped: u64,
    /// Records of dropped events that could not be written to the destination, since then.
    pub undelivered: u64,
    /// The longest that an event waited before an attempt, in milliseconds.
    pub oldest_event_ms: Option<f64>,
}

/// The metrics: the id of the query, the name and the statistic.
const METRICS: &[(&str, &str, &str)] = &[
    (INVOKED, "Invocations", "Sum"),
    (THROTTLED, "Throttles", "Sum"),
    (DROPPED, "AsyncEventsDropped", "Sum"),
    (UNDELIVERED, "DestinationDeliveryFailures", "Sum"),
    (OLDEST, "AsyncEventAge", "Maximum"),
];
const INVOKED: &str = "invoked";
const THROTTLED: &str = "throttled";
const DROPPED: &str = "dropped";
const UNDELIVERED: &str = "undelivered";
const OLDEST: &str = "oldest";

/// The values of each query by minute, in seconds since 1970. A minute without a value was zero.
type Values = BTreeMap<String, BTreeMap<i64, f64>>;

/// Reads the metrics of a function.
pub(super) async fn read(aws: &Aws, function: &str, now_s: i64) -> Result<Values, Fault> {
    let query = |(id, name, statistic): &(&str, &str, &str)| {
        let dimension = Dimension::builder().name("FunctionName").value(function).build();
        let metric = Metric::builder().namespace("AWS/Lambda").metric_name(*name).dimensions(dimension).build();
        let stat = MetricStat::builder().metric(metric).period(MINUTE_S as i32).stat(*statistic).build();
        MetricDataQuery::builder().id(*id).metric_stat(stat).build()
    };
    let call = aws
        .cloudwatch
        .get_metric_data()
        .set_metric_data_queries(Some(METRICS.iter().map(query).collect()))
        .start_time(DateTime::from_secs(now_s - WITHIN_MIN * MINUTE_S))
        .end_time(DateTime::from_secs(now_s));
    Ok(values(&items(call.into_paginator().send()).await?))
}

/// The values of all pages: each has some of the values of some queries.
fn values(results: &[MetricDataResult]) -> Values {
    let mut values = Values::new();
    for result in results {
        let minutes = values.entry(result.id().unwrap_or_default().to_owned()).or_default();
        minutes.extend(result.timestamps().iter().map(DateTime::secs).zip(result.values().iter().copied()));
    }
    values
}

impl Measured {
    /// Sums up the values, for a function that was last changed at `changed_s`.
    pub(super) fn of(values: &Values, changed_s: i64) -> Measured {
        let minutes = |id: &str| values.get(id).into_iter().flatten().filter(|(_, value)| **value > 0.0);
        let last = |id: &str| minutes(id).map(|(at_s, _)| *at_s).max();
        let sum = |id: &str, since_s: i64| {
            minutes(id).filter(|(at_s, _)| **at_s + MINUTE_S > since_s).map(|(_, value)| *value).sum::<f64>() as u64
        };
        // Concurrency is not part of a change: what was throttled before it may be throttled after it.
        let is_over = last(INVOKED) > last(THROTTLED);
        Measured {
            throttled: if is_over { 0 } else { sum(THROTTLED, i64::MIN) },
            dropped: sum(DROPPED, changed_s),
            undelivered: sum(UNDELIVERED, changed_s),
            oldest_event_ms: minutes(OLDEST).map(|(_, value)| *value).max_by(f64::total_cmp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[(&str, i64, f64)], changed_s: i64) -> Measured {
        let mut all = Values::new();
        for (id, at_s, value) in values {
            all.entry((*id).to_owned()).or_default().insert(*at_s, *value);
        }
        Measured::of(&all, changed_s)
    }

    #[test]
    fn throttling_is_over_once_a_later_minute_has_invocations_alone() {
        let throttled = |values: &[(&str, i64, f64)]| of(values, 0).throttled;
        assert_eq!(throttled(&[(THROTTLED, 60, 2.0), (THROTTLED, 120, 3.0), (INVOKED, 60, 9.0)]), 5);
        assert_eq!(throttled(&[(THROTTLED, 60, 2.0), (INVOKED, 60, 9.0)]), 2, "in the same minute");
        assert_eq!(throttled(&[(THROTTLED, 60, 2.0), (INVOKED, 120, 9.0)]), 0);
        assert_eq!(throttled(&[(THROTTLED, 60, 2.0), (INVOKED, 120, 0.0)]), 2, "a value that is zero is none");
        assert_eq!(of(&[], 0), Measured::default());
    }

    #[test]
    fn events_dropped_before_the_last_change_do_not_count() {
        let values = [(DROPPED, 60, 1.0), (DROPPED, 120, 2.0), (UNDELIVERED, 60, 4.0), (OLDEST, 60, 9.5)];
        assert_eq!((of(&values, 0).dropped, of(&values, 119).dropped, of(&values, 120).dropped), (3, 3, 2));
        assert_eq!((of(&values, 119).undelivered, of(&values, 120).undelivered), (4, 0));
        assert_eq!(of(&values, 0).oldest_event_ms, Some(9.5));
    }

    #[test]
    fn the_values_of_a_query_may_be_on_several_pages() {
        let page = |id: &str, at_s: i64, value: f64| {
            MetricDataResult::builder().id(id).timestamps(DateTime::from_secs(at_s)).values(value).build()
        };
        let pages = [page(THROTTLED, 60, 1.0), page(DROPPED, 60, 2.0), page(THROTTLED, 120, 3.0)];
        let measured = Measured::of(&values(&pages), 0);
        assert_eq!((measured.throttled, measured.dropped), (4, 2));
    }
}
