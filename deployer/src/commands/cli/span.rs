//! A span of time as an argument.

use std::time::Duration;

/// The units of a span of time, in seconds.
const UNITS: &[(char, u64)] = &[('s', 1), ('m', 60), ('h', 60 * 60), ('d', 24 * 60 * 60)];

/// Parses a span of time such as `10m` or `1h30m`.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let (mut seconds, mut number) = (0_u64, String::new());
    let invalid = || "a number with a unit is needed, such as 30s, 10m, 2h or 7d".to_owned();
    for c in text.chars() {
        match UNITS.iter().find(|(unit, _)| *unit == c) {
            Some((_, unit)) => {
                let part = number.parse::<u64>().ok().and_then(|count| count.checked_mul(*unit)).ok_or_else(invalid)?;
                seconds = seconds.checked_add(part).ok_or_else(invalid)?;
                number.clear();
            }
            None => number.push(c),
        }
    }
    if number.is_empty() && seconds > 0 { Ok(Duration::from_secs(seconds)) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_time_is_a_sum_of_numbers_with_units() {
        let seconds = |text: &str| span(text).map(|span| span.as_secs()).ok();
        assert_eq!([seconds("30s"), seconds("10m"), seconds("1h30m")], [Some(30), Some(600), Some(5400)]);
        assert_eq!(seconds("7d"), Some(604_800));
        for wrong in ["", "10", "m", "0m", "10 m", "-5m", "1w", "10m5", "99999999999999999999s", "999999999999999999d"]
        {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
