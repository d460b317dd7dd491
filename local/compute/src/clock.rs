//! Timestamps in the API's format.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A point in time, in milliseconds since 1970.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment(u64);

impl Moment {
    /// Returns the current time.
    pub fn now() -> Moment {
        Moment::from(OffsetDateTime::now_utc())
    }

    /// Converts from `time`'s type.
    pub fn from(at: OffsetDateTime) -> Moment {
        Moment(u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or_default())
    }

    /// Converts to `chrono`'s type.
    pub fn calendar(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(i64::try_from(self.0).unwrap_or(i64::MAX)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Converts from `chrono`'s type.
    pub fn of(at: DateTime<Utc>) -> Moment {
        Moment(u64::try_from(at.timestamp_millis()).unwrap_or_default())
    }

    /// Returns how long ago this was.
    pub fn age(self) -> Duration {
        self.age_at(Moment::now())
    }

    /// Returns the time from this moment until `now`, or zero if `now` is earlier.
    pub fn age_at(self, now: Moment) -> Duration {
        Duration::from_millis(now.0.saturating_sub(self.0))
    }

    /// Returns the time until `later`, or zero if that is earlier.
    pub fn until(self, later: Moment) -> Duration {
        self.age_at(later)
    }

    /// Returns the moment that is `span` later.
    pub fn after(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Converts to `time`'s type.
    pub fn offset(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// Returns the milliseconds since 1970.
    pub fn unix_millis(self) -> u64 {
        self.0
    }

    /// Returns the whole seconds since 1970.
    pub fn unix_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Formats the moment for the API, without fractions of a second.
    pub fn seconds(self) -> String {
        let text = self.to_string();
        format!("{}Z", &text[..text.len() - 5])
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.offset();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.millisecond()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_has_the_format_of_the_api() {
        let moment = Moment(1_700_000_000_123);
        assert_eq!(moment.to_string(), "2023-11-14T22:13:20.123Z");
        assert_eq!(moment.seconds(), "2023-11-14T22:13:20Z");
    }
}
