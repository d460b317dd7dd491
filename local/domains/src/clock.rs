//! Times, in milliseconds since 1970.

use std::time::Duration;

use time::OffsetDateTime;
use time::macros::format_description;

/// Returns the current time.
pub fn now_ms() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// Returns the time that is `span` later.
pub fn after(at_ms: i64, span: Duration) -> i64 {
    at_ms.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
}

/// Returns a time as XML documents show it.
pub fn shown(at_ms: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_ms) * 1_000_000);
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    at.ok().and_then(|at| at.format(format).ok()).unwrap_or_default()
}
