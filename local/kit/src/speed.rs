//! How much faster than AWS state transitions are.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Speedup factors for everything that takes time on AWS (docs/aws.md §13).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// For AWS's own work, such as provisioning a load balancer.
    work: f64,
    /// For configured times, such as a grace period. It is smaller because real processes must keep up.
    settings: f64,
}

impl Speed {
    /// The speed of AWS.
    pub const REAL: Speed = Speed { work: 1.0, settings: 1.0 };
    /// Brings up a stack in seconds. No real work, such as provisioning a load balancer, takes longer here.
    pub const FAST: Speed = Speed { work: 500.0, settings: 20.0 };

    /// The local duration of work that takes `seconds` on AWS.
    pub fn takes(self, seconds: u64) -> Duration {
        scaled(seconds, self.work)
    }

    /// The local duration of a configured time of `seconds`, which real processes must keep up with.
    pub fn lasts(self, seconds: u64) -> Duration {
        scaled(seconds, self.settings)
    }
}

/// The longest duration: one that can be added to any point in time.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

fn scaled(seconds: u64, factor: f64) -> Duration {
    Duration::try_from_secs_f64(seconds as f64 / factor).unwrap_or(LONGEST).min(LONGEST)
}

impl Default for Speed {
    fn default() -> Speed {
        Speed::FAST
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Speed::REAL => f.write_str("real"),
            Speed::FAST => f.write_str("fast"),
            Speed { work, .. } => write!(f, "{work}"),
        }
    }
}

/// The error for an invalid speed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoSpeed(String);

impl fmt::Display for NoSpeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a speed: real, fast, or how many times faster than AWS, from 0.1 to 10000", self.0)
    }
}

impl std::error::Error for NoSpeed {}

impl FromStr for Speed {
    type Err = NoSpeed;

    fn from_str(text: &str) -> Result<Speed, NoSpeed> {
        match text {
            "real" => Ok(Speed::REAL),
            "fast" => Ok(Speed::FAST),
            number => {
                let factor = number.parse().ok().filter(|factor| (0.1..=10_000.0).contains(factor));
                let factor: f64 = factor.ok_or_else(|| NoSpeed(text.to_owned()))?;
                Ok(Speed { work: factor, settings: factor })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_divides_the_times_of_aws_and_configured_ones() {
        let check = |speed: &str, takes_ms: u64, lasts_ms: u64| {
            let speed: Speed = speed.parse().unwrap();
            assert_eq!(speed.takes(150), Duration::from_millis(takes_ms), "{speed}");
            assert_eq!(speed.lasts(300), Duration::from_millis(lasts_ms), "{speed}");
        };
        check("real", 150_000, 300_000);
        check("fast", 300, 15_000);
        check("60", 2_500, 5_000);
        check("0.5", 300_000, 600_000);
    }

    #[test]
    fn a_time_without_end_is_cut_off() {
        for speed in ["real", "fast", "0.1", "10000"] {
            let speed: Speed = speed.parse().unwrap();
            for seconds in [1 << 60, u64::MAX] {
                assert_eq!((speed.takes(seconds), speed.lasts(seconds)), (LONGEST, LONGEST), "{speed}");
            }
        }
    }

    #[test]
    fn a_speed_is_shown_as_it_is_written_and_invalid_ones_are_refused() {
        for speed in ["real", "fast", "60", "0.5"] {
            assert_eq!(speed.parse::<Speed>().unwrap().to_string(), speed);
        }
        for nonsense in ["", "slow", "0", "-1", "NaN", "inf", "1e9", "20x"] {
            let message = nonsense.parse::<Speed>().unwrap_err().to_string();
            assert!(message.contains("real, fast, or how many times"), "{message}");
        }
    }
}
