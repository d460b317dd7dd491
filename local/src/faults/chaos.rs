//! Chaos: bad days of AWS by name, decided by a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::rule::Known;
use crate::call::Call;

/// Which bad sides are on, and the seed that decides when they show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chaos {
    /// What may happen.
    #[serde(default)]
    pub kinds: BTreeSet<Kind>,
    /// The same seed and the same calls give the same mishaps.
    #[serde(default)]
    pub seed: u64,
}

/// One bad side of AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Calls are too many.
    Throttle,
    /// Services fail.
    Errors,
    /// Connections are cut.
    Reset,
    /// Calls take their time.
    Slow,
    /// Sessions end in the middle of the work.
    ExpiredCredentials,
    /// This machine's clock is wrong.
    ClockSkew,
    /// Lists come in many pages.
    ShortPages,
    /// Calls are too many, if they are.
    Rates,
    /// Uploads are told late, twice, and in any order.
    S3NotifyLag,
}

impl Kind {
    /// Every kind with what it does here and which behaviour of AWS it imitates.
    pub const ALL: &[(Kind, &str, &str)] = &[
        (
            Kind::Throttle,
            "throttle",
            "a tenth of all calls is refused with the service's own throttling code, as an account does that others use too (aws-facts §2.2, §14)",
        ),
        (
            Kind::Errors,
            "errors",
            "a tenth of all calls answers 500 or 503; of the 500s every other one has had its effect, as AWS promises nothing about a call that failed (aws-facts §2.2)",
        ),
        (
            Kind::Reset,
            "reset",
            "a tenth of all connections is cut: half of them before the call has its effect, half after it, when only the answer is lost (aws-facts §2.2)",
        ),
        (Kind::Slow, "slow", "a fifth of all calls takes 0.2 to 2 seconds longer, as on a bad line"),
        (
            Kind::ExpiredCredentials,
            "expired-credentials",
            "a fiftieth of all calls is refused because the session is over, as in a lab whose time ends (aws-facts §3.1, §3.4)",
        ),
        (
            Kind::ClockSkew,
            "clock-skew",
            "AWS's clock is twenty minutes ahead of this machine's: signatures are refused as too old (aws-facts §3.1)",
        ),
        (
            Kind::ShortPages,
            "short-pages",
            "every list comes in pages of one item, as AWS may at any time give less than was asked for (aws-facts §19)",
        ),
        (
            Kind::Rates,
            "rates",
            "calls above the rates that AWS publishes are refused, as in an account of its own (aws-facts §14)",
        ),
        (
            Kind::S3NotifyLag,
            "s3-notify-lag",
            "functions hear of uploads up to three seconds late, of every third one twice, and in any order, as S3 promises to tell them at least once and not when (aws-facts §4.6)",
        ),
    ];

    /// Its name in lists.
    pub fn name(self) -> &'static str {
        Kind::ALL.iter().find(|(kind, _, _)| *kind == self).map_or("", |(_, name, _)| name)
    }
}

/// How late functions hear of an upload at most. AWS may take a minute; a laptop's user does not wait that long.
const LATEST: Duration = Duration::from_secs(3);

/// A kind of chaos that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKind(String);

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Kind::ALL.iter().map(|(_, name, _)| *name).collect();
        write!(f, "there is no chaos {:?}; there are {}", self.0, names.join(", "))
    }
}

impl std::error::Error for UnknownKind {}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Kind, UnknownKind> {
        let found = Kind::ALL.iter().find(|(_, name, _)| *name == text);
        found.map(|(kind, _, _)| *kind).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// A mishap that chaos has chosen for a call.
#[derive(Debug)]
pub(super) enum Mishap {
    Known(Known),
    Slow(Duration),
}

/// Counts the calls of each operation, so that the nth has its own fate whatever else is called in between.
#[derive(Debug, Default)]
pub(super) struct Dice {
    counts: BTreeMap<(String, String), u64>,
}

impl Dice {
    /// The fate of the next call of an operation.
    pub(super) fn throw(&mut self, chaos: &Chaos, call: &Call) -> Option<Mishap> {
        if chaos.kinds.is_empty() {
            return None;
        }
        let count = self.counts.entry((call.service.clone(), call.operation.clone())).or_default();
        *count += 1;
        let share =
            |kind: Kind| share(chaos.seed, &format!("{} {} {} {count}", kind.name(), call.service, call.operation));
        chaos.kinds.iter().find_map(|kind| mishap(*kind, share(*kind)))
    }

    /// After how long the next event of an object is delivered, once for each time it is.
    pub(super) fn deliveries(&mut self, chaos: &Chaos, bucket: &str, key: &str) -> Vec<Duration> {
        if !chaos.kinds.contains(&Kind::S3NotifyLag) {
            return vec![Duration::ZERO];
        }
        let count = self.counts.entry((bucket.to_owned(), key.to_owned())).or_default();
        *count += 1;
        let share = |what: &str| share(chaos.seed, &format!("{what} {bucket} {key} {count}"));
        let mut deliveries = vec![LATEST.mul_f64(share("first"))];
        if share("twice") < 1.0 / 3.0 {
            deliveries.push(LATEST.mul_f64(share("again")));
        }
        deliveries
    }
}

/// What a kind makes of a number from 0 to 1.
fn mishap(kind: Kind, share: f64) -> Option<Mishap> {
    let known = match kind {
        Kind::Throttle if share < 0.10 => Known::Throttle,
        Kind::Errors if share < 0.03 => Known::Internal,
        Kind::Errors if share < 0.06 => Known::InternalAfter,
        Kind::Errors if share < 0.10 => Known::Unavailable,
        Kind::Reset if share < 0.05 => Known::ResetBefore,
        Kind::Reset if share < 0.10 => Known::ResetAfter,
        Kind::ExpiredCredentials if share < 0.02 => Known::ExpiredCredentials,
        Kind::Slow if share < 0.20 => {
            return Some(Mishap::Slow(Duration::from_millis(200) + Duration::from_secs(9).mul_f64(share)));
        }
        _ => return None,
    };
    Some(Mishap::Known(known))
}

/// A number from 0 to 1 that depends on these things only.
fn share(seed: u64, what: &str) -> f64 {
    let digest = Sha256::digest(format!("{seed} {what}").as_bytes());
    let number = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    number as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name_and_travels_under_it() {
        for (kind, name, told) in Kind::ALL {
            assert_eq!(name.parse(), Ok(*kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), *name);
            assert!(told.len() > 20, "{name}");
        }
        assert!("gremlins".parse::<Kind>().unwrap_err().to_string().contains("there are throttle, errors"));
    }
}
