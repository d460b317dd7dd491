//! The metrics of load balancers: one value a minute, as CloudWatch stores them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::clock::Moment;
use kit::speed::Speed;

/// The namespace of the metrics.
pub const NAMESPACE: &str = "AWS/ApplicationELB";

/// Requests for which a target was chosen.
pub const REQUESTS: &str = "RequestCount";

/// The metrics that are counted. All are sums, and have no value in a minute in which they are zero (docs/aws.md §10.9).
pub const NAMES: &[&str] = &[
    REQUESTS,
    "HTTPCode_Target_2XX_Count",
    "HTTPCode_Target_3XX_Count",
    "HTTPCode_Target_4XX_Count",
    "HTTPCode_Target_5XX_Count",
    "HTTPCode_ELB_4XX_Count",
    "HTTPCode_ELB_5XX_Count",
];

/// The minutes that are kept: a day, the longest that an alarm evaluates.
const KEPT: u64 = 24 * 60;

/// A series: the metric and its dimensions, which are the load balancer and perhaps a target group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// The name of the metric.
    pub name: &'static str,
    /// `app/NAME/ID`.
    pub balancer: String,
    /// `targetgroup/NAME/ID`.
    pub target_group: Option<String>,
}

/// The minutes of a series, each with its sum, the oldest first.
type Minutes = VecDeque<(u64, f64)>;

/// The values of all series.
#[derive(Default, Clone)]
pub struct Metrics(Arc<Mutex<BTreeMap<Series, Minutes>>>);

impl Metrics {
    /// Counts one request for which a target of this group was chosen.
    pub fn count_request(&self, balancer: &str, target_group: &str, speed: Speed) {
        self.add(REQUESTS, balancer, Some(target_group), speed);
    }

    /// Counts the response of a target.
    pub fn count_answer(&self, balancer: &str, target_group: &str, status: u16, speed: Speed) {
        self.count_status("Target", balancer, Some(target_group), status, speed);
    }

    /// Counts a response that the load balancer generated itself.
    pub fn count_own(&self, balancer: &str, status: u16, speed: Speed) {
        self.count_status("ELB", balancer, None, status, speed);
    }

    fn count_status(&self, origin: &str, balancer: &str, target_group: Option<&str>, status: u16, speed: Speed) {
        let name = format!("HTTPCode_{origin}_{}XX_Count", status / 100);
        if let Some(name) = NAMES.iter().copied().find(|known| *known == name) {
            self.add(name, balancer, target_group, speed);
        }
    }

    fn add(&self, name: &'static str, balancer: &str, target_group: Option<&str>, speed: Speed) {
        let minute = minute(Moment::now(), speed);
        let (balancer, target_group) = (last_part(balancer), target_group.map(last_part));
        let mut all = self.all();
        let mut count = |target_group| {
            let values = all.entry(Series { name, balancer: balancer.clone(), target_group }).or_default();
            match values.back_mut() {
                Some((last, value)) if *last == minute => *value += 1.0,
                _ => values.push_back((minute, 1.0)),
            }
            while values.front().is_some_and(|(first, _)| first + KEPT < minute) {
                values.pop_front();
            }
        };
        count(None);
        if target_group.is_some() {
            count(target_group);
        }
    }

    /// The value of a series in a minute.
    pub fn value(&self, series: &Series, minute: u64) -> Option<f64> {
        let all = self.all();
        let values = all.get(series)?;
        values.iter().rev().find(|(at, _)| *at == minute).map(|(_, value)| *value)
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Series, VecDeque<(u64, f64)>>> {
        self.0.lock()
    }
}

/// The number of a minute of AWS time, which passes faster at a higher speed.
pub fn minute(at: Moment, speed: Speed) -> u64 {
    let length = u64::try_from(speed.lasts(60).as_millis()).unwrap_or(u64::MAX).max(1);
    at.unix_millis() / length
}

/// The part of an ARN that is the value of a dimension: `app/NAME/ID` or `targetgroup/NAME/ID`.
fn last_part(arn: &str) -> String {
    let part = arn.rsplit(':').next().unwrap_or(arn);
    part.strip_prefix("loadbalancer/").unwrap_or(part).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BALANCER: &str = "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/web/1";
    const GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/web/2";

    #[test]
    fn answers_are_counted_by_minute_origin_and_dimension() {
        // A minute that does not end during the test.
        let speed: Speed = "0.1".parse().unwrap();
        let metrics = Metrics::default();
        let now = minute(Moment::now(), speed);
        metrics.count_request(BALANCER, GROUP, speed);
        metrics.count_answer(BALANCER, GROUP, 503, speed);
        metrics.count_own(BALANCER, 502, speed);
        metrics.count_own(BALANCER, 504, speed);
        let value = |name, target_group: Option<&str>, minute| {
            let (balancer, target_group) = ("app/web/1".to_owned(), target_group.map(str::to_owned));
            metrics.value(&Series { name, balancer, target_group }, minute)
        };
        // The minute may have changed once.
        let sum = |name, target_group| -> f64 {
            [now, now + 1].into_iter().filter_map(|at| value(name, target_group, at)).sum()
        };
        let both: [f64; 2] = [sum(REQUESTS, None), sum(REQUESTS, Some("targetgroup/web/2"))];
        assert_eq!(both, [1.0, 1.0]);
        let errors: [f64; 3] = [
            sum("HTTPCode_Target_5XX_Count", None),
            sum("HTTPCode_ELB_5XX_Count", None),
            sum("HTTPCode_ELB_5XX_Count", Some("targetgroup/web/2")),
        ];
        assert_eq!(errors, [1.0, 2.0, 0.0]);
        assert_eq!(value("HTTPCode_Target_4XX_Count", None, now), None);
    }
}
