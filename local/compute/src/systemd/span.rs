//! Spans of time, as systemd writes them.

use std::time::Duration;

/// Parses a time span: `2`, `500ms`, `1min 30s`, `infinity`.
pub(super) fn span(value: &str) -> Result<Duration, String> {
    if value == "infinity" {
        return Ok(Duration::MAX);
    }
    let no_span = || format!("'{value}' is not a time span");
    let mut total = Duration::ZERO;
    for part in value.split_whitespace() {
        let at = part.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(part.len());
        let (number, unit) = part.split_at(at);
        let number: f64 = number.parse().map_err(|_| no_span())?;
        let seconds = match unit {
            "" | "s" | "sec" | "second" | "seconds" => 1.0,
            "ms" | "msec" => 0.001,
            "m" | "min" | "minute" | "minutes" => 60.0,
            "h" | "hr" | "hour" | "hours" => 3600.0,
            _ => return Err(no_span()),
        };
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| no_span())?;
        total = total.saturating_add(part);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_add_up() {
        assert_eq!(span("1min 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(span("infinity"), Ok(Duration::MAX));
        assert_eq!(span("18446744073709549568 18446744073709549568"), Ok(Duration::MAX));
        assert!(span("99999999999999999999").is_err());
    }
}
