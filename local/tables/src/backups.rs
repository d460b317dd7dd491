//! Point-in-time recovery.

use serde_json::{Value, json};

use kit::answer::{Protocol, Refusal, Response, json_answer};

use super::database::{Recovery, seconds_now};
use super::refusals::invalid;

/// The default and maximum number of days that backups go back.
const RECOVERY_DAYS: u32 = 35;
/// The age of the newest backup in seconds,
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Point-in-time-recovery.html>.
const NEWEST_BACKUP_S: f64 = 300.0;

/// Returns the number of days that backups should go back; `None` to disable backups.
pub(super) fn recovery_days(wanted: &Value) -> Result<Option<u32>, Refusal> {
    let at = "pointInTimeRecoverySpecification";
    let constraint = |value: &Value, at: &str, bound: &str| {
        invalid(&format!(
            "1 validation error detected: Value '{value}' at '{at}' failed to satisfy constraint: Member must {bound}"
        ))
    };
    let null = |at: &str| {
        invalid(&format!(
            "1 validation error detected: Value null at '{at}' failed to satisfy constraint: Member must not be null"
        ))
    };
    if !wanted.is_object() {
        return Err(null(at));
    }
    let enabled = wanted["PointInTimeRecoveryEnabled"].as_bool();
    let enabled = enabled.ok_or_else(|| null(&format!("{at}.pointInTimeRecoveryEnabled")))?;
    let days = match &wanted["RecoveryPeriodInDays"] {
        Value::Null => RECOVERY_DAYS,
        days => {
            let bound = match days.as_i64() {
                Some(1..=35) => None,
                Some(36..) => Some("have value less than or equal to 35"),
                _ => Some("have value greater than or equal to 1"),
            };
            if let Some(bound) = bound {
                return Err(constraint(days, &format!("{at}.recoveryPeriodInDays"), bound));
            }
            days.as_u64().and_then(|days| u32::try_from(days).ok()).unwrap_or(RECOVERY_DAYS)
        }
    };
    Ok(enabled.then_some(days))
}

pub(super) fn backups(recovery: Option<Recovery>) -> Response {
    let recovery = match recovery {
        None => json!({ "PointInTimeRecoveryStatus": "DISABLED" }),
        Some(Recovery { days, since }) => {
            let earliest = since.max(seconds_now() - f64::from(days) * 86_400.0);
            json!({
                "PointInTimeRecoveryStatus": "ENABLED",
                "RecoveryPeriodInDays": days,
                "EarliestRestorableDateTime": earliest,
                "LatestRestorableDateTime": earliest.max(seconds_now() - NEWEST_BACKUP_S),
            })
        }
    };
    let description = json!({ "ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": recovery });
    json_answer(200, Protocol::Json10, &json!({ "ContinuousBackupsDescription": description }))
}
