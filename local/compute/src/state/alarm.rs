//! Alarms on metrics.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AlarmState, Watch};
use crate::clock::Moment;

/// An alarm that `PutMetricAlarm` made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MetricAlarm {
    /// Its configuration, under the parameter names of the request.
    pub config: Value,
    /// When the configuration was last put.
    pub made: Moment,
    pub watch: Watch,
    /// The reason for its state.
    pub reason: String,
}

impl MetricAlarm {
    /// Returns whether it is in the state `ALARM`.
    pub fn rings(&self) -> bool {
        self.watch.verdict == AlarmState::Alarm
    }
}
