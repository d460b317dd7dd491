//! Times in UTC, as JSON has them.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A time in seconds since 1970 in the notation of RFC 3339, such as `2026-11-29T14:25:02Z`; `None` if it cannot be
/// written.
pub fn timestamp(s: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(s).ok()?.format(&Rfc3339).ok()
}

/// The same of milliseconds, with all three digits of their fraction.
pub fn timestamp_ms(ms: i64) -> Option<String> {
    let seconds = timestamp(ms.div_euclid(1_000))?;
    Some(format!("{}.{:03}Z", seconds.strip_suffix('Z')?, ms.rem_euclid(1_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc_with_or_without_milliseconds() {
        for (ms, seconds, milliseconds) in [
            (0_i64, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
            (1_700_000_000_120, "2023-11-14T22:13:20Z", "2023-11-14T22:13:20.120Z"),
            (-1, "1969-12-31T23:59:59Z", "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(timestamp(ms.div_euclid(1_000)).as_deref(), Some(seconds));
            assert_eq!(timestamp_ms(ms).as_deref(), Some(milliseconds));
        }
        assert_eq!((timestamp(i64::MAX), timestamp_ms(i64::MIN)), (None, None), "a time that AWS cannot mean");
    }
}
