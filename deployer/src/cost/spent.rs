//! The cost of a resource over its lifetime so far.

use super::prices::HOURS;

/// Something that has a price, and how long it has existed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Existed {
    /// US dollars a month.
    pub monthly: f64,
    /// Its age in seconds.
    pub age_s: i64,
}

/// Returns the total cost so far, in US dollars. AWS bills each begun hour of a load balancer in full; this ignores it.
pub fn spent(all: &[Existed]) -> f64 {
    let seconds = HOURS * 3_600.0;
    all.iter().map(|it| it.monthly * it.age_s.max(0) as f64 / seconds).sum()
}

/// A span of time in its two largest units: `3 h 12 min`.
pub fn lifetime(seconds: i64) -> String {
    let s = seconds.max(0);
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_grows_with_the_age() {
        let day = Existed { monthly: 73.0, age_s: 86_400 };
        assert!((spent(&[day]) - 2.4).abs() < 1e-9, "a tenth of a dollar an hour");
        assert!((spent(&[day, day]) - 4.8).abs() < 1e-9);
        assert_eq!((spent(&[]), spent(&[Existed { age_s: -5, ..day }])), (0.0, 0.0));
    }

    #[test]
    fn a_lifetime_has_two_units() {
        let shown = [-1, 59, 61, 3_600 * 3 + 60 * 12, 86_400 * 2 + 3_700].map(lifetime);
        assert_eq!(shown, ["0 s", "59 s", "1 min 1 s", "3 h 12 min", "2 d 1 h"]);
    }
}
