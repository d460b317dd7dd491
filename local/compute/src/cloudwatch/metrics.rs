//! The metrics of load balancers, and the store of those of all services.

use std::collections::BTreeMap;

use crate::clock::Moment;
use kit::metrics::{self as kept, Series};
use kit::speed::Speed;

/// The namespace of the metrics of load balancers.
pub const NAMESPACE: &str = "AWS/ApplicationELB";

/// Requests for which a target was chosen.
pub const REQUESTS: &str = "RequestCount";

/// Connections to targets that could not be established.
const CONNECTION_ERRORS: &str = "TargetConnectionErrorCount";

/// The metrics that are counted. All are sums, and have no value in a minute in which they are zero (docs/aws.md §10.9).
pub const NAMES: &[&str] = &[
    REQUESTS,
    "HTTPCode_Target_2XX_Count",
    "HTTPCode_Target_3XX_Count",
    "HTTPCode_Target_4XX_Count",
    "HTTPCode_Target_5XX_Count",
    "HTTPCode_ELB_4XX_Count",
    "HTTPCode_ELB_5XX_Count",
    CONNECTION_ERRORS,
];

/// The dimensions of the metrics: each has the first, and perhaps the second.
pub const DIMENSIONS: [&str; 2] = ["LoadBalancer", "TargetGroup"];

/// The values of the metrics of all services, among them those of the load balancers.
#[derive(Default, Clone)]
pub struct Metrics(pub kept::Metrics);

/// The series of a load balancer, `app/NAME/ID`, and perhaps of a target group of it, `targetgroup/NAME/ID`.
pub fn series(name: &'static str, balancer: String, target_group: Option<String>) -> Series {
    let [of_balancer, of_group] = DIMENSIONS;
    let mut dimensions = BTreeMap::from([(of_balancer, balancer)]);
    dimensions.extend(target_group.map(|group| (of_group, group)));
    Series { namespace: NAMESPACE, name, dimensions }
}

impl Metrics {
    /// Counts one request for which a target of this group was chosen.
    pub fn count_request(&self, balancer: &str, target_group: &str, speed: Speed) {
        self.count(REQUESTS, balancer, Some(target_group), speed);
    }

    /// Counts a connection to a target of this group that could not be established.
    pub fn count_connection_error(&self, balancer: &str, target_group: &str, speed: Speed) {
        self.count(CONNECTION_ERRORS, balancer, Some(target_group), speed);
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
            self.count(name, balancer, target_group, speed);
        }
    }

    fn count(&self, name: &'static str, balancer: &str, target_group: Option<&str>, speed: Speed) {
        let balancer = last_part(balancer);
        if let Some(group) = target_group {
            self.0.add(series(name, balancer.clone(), Some(last_part(group))), 1.0, speed);
        }
        self.0.add(series(name, balancer, None), 1.0, speed);
    }

    /// The sum of a series in a minute.
    pub fn value(&self, series: &Series, minute: u64) -> Option<f64> {
        self.0.at(series, minute).map(|point| point.sum)
    }
}

/// The number of a minute of AWS time, which passes faster at a higher speed.
pub fn minute(at: Moment, speed: Speed) -> u64 {
    kept::minute(at.unix_millis(), speed)
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
        metrics.count_connection_error(BALANCER, GROUP, speed);
        let value = |name, target_group: Option<&str>, minute| {
            let (balancer, target_group) = ("app/web/1".to_owned(), target_group.map(str::to_owned));
            metrics.value(&series(name, balancer, target_group), minute)
        };
        // The minute may have changed once.
        let sum = |name, target_group| -> f64 {
            [now, now + 1].into_iter().filter_map(|at| value(name, target_group, at)).sum()
        };
        let both: [f64; 2] = [sum(REQUESTS, None), sum(REQUESTS, Some("targetgroup/web/2"))];
        assert_eq!(both, [1.0, 1.0]);
        let both: [f64; 2] = [sum(CONNECTION_ERRORS, None), sum(CONNECTION_ERRORS, Some("targetgroup/web/2"))];
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
