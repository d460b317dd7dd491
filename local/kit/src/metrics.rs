//! Measurements of the services, as CloudWatch stores them: the values of each minute, by metric and dimensions.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::speed::Speed;

/// The minutes that are kept: a day, the longest that an alarm evaluates.
const KEPT: u64 = 24 * 60;

/// A series: a metric and its dimensions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// Such as `AWS/Lambda`.
    pub namespace: &'static str,
    /// The name of the metric.
    pub name: &'static str,
    /// The values of its dimensions, by name.
    pub dimensions: BTreeMap<&'static str, String>,
}

/// The values of a series in one minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// How many there were.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// The smallest one.
    pub least: f64,
    /// The largest one.
    pub most: f64,
}

impl Point {
    /// One value.
    pub fn of(value: f64) -> Point {
        Point { count: 1.0, sum: value, least: value, most: value }
    }

    /// The values of both.
    pub fn with(self, other: Point) -> Point {
        Point {
            count: self.count + other.count,
            sum: self.sum + other.sum,
            least: self.least.min(other.least),
            most: self.most.max(other.most),
        }
    }
}

/// The minutes of a series with values, the oldest first.
type Minutes = VecDeque<(u64, Point)>;

/// The values of all series. They are in memory only.
#[derive(Debug, Default, Clone)]
pub struct Metrics(Arc<Mutex<BTreeMap<Series, Minutes>>>);

impl Metrics {
    /// Adds a value of the current minute.
    pub fn add(&self, series: Series, value: f64, speed: Speed) {
        self.add_at(series, value, minute(now_ms(), speed));
    }

    fn add_at(&self, series: Series, value: f64, minute: u64) {
        let mut all = self.all();
        let values = all.entry(series).or_default();
        match values.back_mut() {
            // The clock may have been set back.
            Some((last, point)) if *last >= minute => *point = point.with(Point::of(value)),
            _ => values.push_back((minute, Point::of(value))),
        }
        while values.front().is_some_and(|(first, _)| first + KEPT < minute) {
            values.pop_front();
        }
    }

    /// Returns the values of a series in a minute, if it has any.
    pub fn at(&self, series: &Series, minute: u64) -> Option<Point> {
        let all = self.all();
        let values = all.get(series)?;
        values.iter().rev().find(|(at, _)| *at == minute).map(|(_, point)| *point)
    }

    /// Returns the minutes of a series with values, the oldest first.
    pub fn minutes(&self, series: &Series) -> Vec<(u64, Point)> {
        self.all().get(series).into_iter().flatten().copied().collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Series, Minutes>> {
        self.0.lock()
    }
}

/// Returns the number of the minute of AWS time at a time in milliseconds since 1970. It passes faster at a higher speed.
pub fn minute(at_ms: u64, speed: Speed) -> u64 {
    at_ms / minute_ms(speed)
}

/// Returns the length of a minute of AWS time in milliseconds.
pub fn minute_ms(speed: Speed) -> u64 {
    u64::try_from(speed.lasts(60).as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Returns the current time in milliseconds since 1970.
pub fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_by_minute_for_a_day() {
        let of = |name: &str| Series {
            namespace: "AWS/Lambda",
            name: "Throttles",
            dimensions: BTreeMap::from([("FunctionName", name.to_owned())]),
        };
        let metrics = Metrics::default();
        for (value, minute) in [(1.0, 10), (3.0, 10), (5.0, 12)] {
            metrics.add_at(of("f"), value, minute);
        }
        assert_eq!(metrics.at(&of("f"), 10), Some(Point { count: 2.0, sum: 4.0, least: 1.0, most: 3.0 }));
        assert_eq!((metrics.at(&of("f"), 11), metrics.at(&of("g"), 10)), (None, None));
        assert_eq!(metrics.minutes(&of("f")).iter().map(|(minute, _)| *minute).collect::<Vec<_>>(), [10, 12]);
        metrics.add_at(of("f"), 7.0, 12 + KEPT);
        assert_eq!(metrics.minutes(&of("f")), [(12, Point::of(5.0)), (12 + KEPT, Point::of(7.0))]);
    }

    #[test]
    fn a_minute_of_aws_is_shorter_at_a_higher_speed() {
        assert_eq!(minute_ms("20".parse().unwrap()), 3_000);
        assert_eq!((minute(59_999, Speed::REAL), minute(60_000, Speed::REAL)), (0, 1));
    }
}
