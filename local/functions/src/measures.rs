//! The metrics of functions (docs/aws.md §10.10).

use std::collections::BTreeMap;

use kit::metrics::{Metrics, Series};
use kit::speed::Speed;

/// A metric of a function. A minute in which it is zero has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// Invocations that began, whatever their result.
    Invocations,
    /// Those that failed.
    Errors,
    /// Invocations, and attempts at events, for which no concurrency was left.
    Throttles,
    /// The milliseconds that an event waited before an attempt.
    AsyncEventAge,
    /// Events that were given up.
    AsyncEventsDropped,
    /// Records of such events that could not be written.
    DestinationDeliveryFailures,
}

impl Measure {
    fn name(self) -> &'static str {
        match self {
            Measure::Invocations => "Invocations",
            Measure::Errors => "Errors",
            Measure::Throttles => "Throttles",
            Measure::AsyncEventAge => "AsyncEventAge",
            Measure::AsyncEventsDropped => "AsyncEventsDropped",
            Measure::DestinationDeliveryFailures => "DestinationDeliveryFailures",
        }
    }

    /// Adds a value for a function.
    pub(super) fn add(self, metrics: &Metrics, function: &str, value: f64, speed: Speed) {
        let dimensions = BTreeMap::from([("FunctionName", function.to_owned())]);
        metrics.add(Series { namespace: "AWS/Lambda", name: self.name(), dimensions }, value, speed);
    }
}
