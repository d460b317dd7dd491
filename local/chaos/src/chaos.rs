//! Chaos: named kinds of trouble on AWS, decided by a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::rule::Known;
use kit::call::Call;

/// The enabled kinds, and the seed that decides when they strike.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chaos {
    /// The enabled kinds.
    #[serde(default)]
    pub kinds: BTreeSet<ChaosKind>,
    /// The same seed and the same calls give the same faults.
    #[serde(default)]
    pub seed: u64,
}

/// A kind of trouble on AWS. [`ChaosKind::ALL`] has the details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChaosKind {
    /// Calls are throttled at random.
    Throttle,
    /// Services fail with 500 and 503.
    Errors,
    /// Connections are cut.
    Reset,
    /// Calls take longer.
    Slow,
    /// Sessions expire in the middle of the work.
    ExpiredCredentials,
    /// AWS's clock is ahead of this machine's.
    ClockSkew,
    /// Lists have pages of one item.
    ShortPages,
    /// Calls above AWS's published rates are throttled.
    Rates,
    /// Upload events arrive late, twice and out of order.
    S3NotifyLag,
    /// Other services see changes of roles late.
    IamLag,
    /// Credentials of roles expire soon.
    ShortSessions,
    /// A zone has no capacity for instances.
    Capacity,
    /// Instances fail to boot.
    BootFail,
    /// Services crash as soon as they start.
    CrashLoop,
    /// Network interfaces outlive their load balancer for longer.
    EniLinger,
    /// Only the free plan's instance types can be launched.
    FreePlan,
    /// The vCPU quota is 1.
    VcpuLimit,
    /// The disks of instances are full.
    DiskFull,
    /// Domains are delegated to name servers that do not have their zones.
    LameDelegation,
}

impl ChaosKind {
    /// Every kind, its name, and its description: its effect here, and the behaviour of AWS that it imitates.
    pub const ALL: &[(ChaosKind, &str, &str)] = &[
        (
            ChaosKind::Throttle,
            "throttle",
            "a tenth of all calls is refused with the service's throttling error, as in an account that is shared with others (docs/aws.md §2.2, §14)",
        ),
        (
            ChaosKind::Errors,
            "errors",
            "a tenth of all calls fails with 500 or 503; every other call that fails with 500 has taken effect, since AWS guarantees nothing about a failed call (docs/aws.md §2.2)",
        ),
        (
            ChaosKind::Reset,
            "reset",
            "a tenth of all connections is reset: half of them before the call takes effect, half after, so that only the response is lost (docs/aws.md §2.2)",
        ),
        (ChaosKind::Slow, "slow", "a fifth of all calls takes 0.2 to 2 seconds longer, as on a slow network"),
        (
            ChaosKind::ExpiredCredentials,
            "expired-credentials",
            "a fiftieth of all calls is refused because the session has expired, as at the end of a lab session (docs/aws.md §3.1, §3.4)",
        ),
        (
            ChaosKind::ClockSkew,
            "clock-skew",
            "AWS's clock is twenty minutes ahead of this machine's: signatures are refused as expired (docs/aws.md §3.1)",
        ),
        (
            ChaosKind::ShortPages,
            "short-pages",
            "every list is returned in pages of one item, since AWS may return fewer items than requested at any time (docs/aws.md §19)",
        ),
        (
            ChaosKind::Rates,
            "rates",
            "calls above AWS's published rates are refused, as in an account that is not shared (docs/aws.md §14)",
        ),
        (
            ChaosKind::S3NotifyLag,
            "s3-notify-lag",
            "events of uploads and deletions reach functions up to three seconds late, every third one twice, and in any order, since S3 guarantees at-least-once delivery only (docs/aws.md §4.6)",
        ),
        (
            ChaosKind::IamLag,
            "iam-lag",
            "new and changed roles, policies and instance profiles reach Lambda, EC2 and Auto Scaling only after 0.3 to 1.5 seconds; on AWS, it takes several seconds (docs/aws.md §2.3, §6.3)",
        ),
        (
            ChaosKind::ShortSessions,
            "short-sessions",
            "the credentials of instances and functions expire after 20 seconds instead of hours: programs must renew them, as they must every few hours on AWS (docs/aws.md §4.4)",
        ),
        (
            ChaosKind::Capacity,
            "capacity",
            "one zone has no capacity for new instances: a scaling activity reports it, and the group launches in another of its zones, if any (docs/aws.md §3.3)",
        ),
        (
            ChaosKind::BootFail,
            "boot-fail",
            "the user data of half of all new instances fails, as when a download is unreachable, and they never become healthy; the group replaces them after its grace period (docs/aws.md §10.3)",
        ),
        (
            ChaosKind::CrashLoop,
            "crash-loop",
            "the service crashes at every start on half of all new instances: systemd restarts it as its unit configures, and it never becomes healthy (docs/aws.md §9.4, §10.3)",
        ),
        (
            ChaosKind::EniLinger,
            "eni-linger",
            "a load balancer's network interfaces outlive it by half an hour of AWS time instead of a minute, and its security group cannot be deleted until then (docs/aws.md §9.6)",
        ),
        (
            ChaosKind::FreePlan,
            "free-plan",
            "the account may launch only the instance types of the free plan; scaling activities fail for any other (docs/aws.md §3.3)",
        ),
        (
            ChaosKind::VcpuLimit,
            "vcpu-limit",
            "the account's quota is one vCPU instead of 32, as in some new accounts; scaling activities beyond it fail (docs/aws.md §3.3)",
        ),
        (
            ChaosKind::DiskFull,
            "disk-full",
            "the disks of instances are full: downloads cannot be written, as after logs or data have filled a disk (docs/aws.md §8.5)",
        ),
        (
            ChaosKind::LameDelegation,
            "lame-delegation",
            "the parent zones of all domains delegate them to another provider's name servers: DNS does not return the records of their hosted zones, and certificates stay pending validation (docs/aws.md §21.2)",
        ),
    ];

    /// Returns the kind's name.
    pub fn name(self) -> &'static str {
        ChaosKind::ALL.iter().find(|(kind, _, _)| *kind == self).map_or("", |(_, name, _)| name)
    }
}

/// The maximum delay of an upload event. It may be a minute on AWS; a laptop's user does not wait that long.
const LATEST: Duration = Duration::from_secs(3);

impl Chaos {
    /// Returns a number from 0 to 1, drawn for `thing`; `None` if this kind is disabled.
    pub fn lot(&self, kind: ChaosKind, thing: &str) -> Option<f64> {
        self.kinds.contains(&kind).then(|| drawn(&format!("{} {} {thing}", self.seed, kind.name())))
    }
}

/// The error for an unknown kind of chaos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownChaos(String);

impl fmt::Display for UnknownChaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = ChaosKind::ALL.iter().map(|(_, name, _)| *name).collect();
        write!(f, "there is no chaos {:?}; there are {}", self.0, names.join(", "))
    }
}

impl std::error::Error for UnknownChaos {}

impl FromStr for ChaosKind {
    type Err = UnknownChaos;

    fn from_str(text: &str) -> Result<ChaosKind, UnknownChaos> {
        let found = ChaosKind::ALL.iter().find(|(_, name, _)| *name == text);
        found.map(|(kind, _, _)| *kind).ok_or_else(|| UnknownChaos(text.to_owned()))
    }
}

/// A fault that chaos has chosen for a call.
#[derive(Debug)]
pub(super) enum Mishap {
    Known(Known),
    Slow(Duration),
}

/// How long the nth change of an IAM resource takes to be visible to other services.
pub(super) fn lag(seed: u64, name: &str, count: u64) -> Duration {
    SHORTEST_LAG + LAG_RANGE.mul_f64(share(seed, ChaosKind::IamLag, "iam", name, count))
}

const SHORTEST_LAG: Duration = Duration::from_millis(300);
const LAG_RANGE: Duration = Duration::from_millis(1200);

/// Counts the calls of each operation, so that the effect on the nth does not depend on other calls.
#[derive(Debug, Default)]
pub(super) struct Dice {
    counts: BTreeMap<(String, String), u64>,
}

impl Dice {
    /// Decides the effect on the next call of an operation.
    pub(super) fn throw(&mut self, chaos: &Chaos, call: &Call) -> Option<Mishap> {
        if chaos.kinds.is_empty() {
            return None;
        }
        let Call { service, operation, .. } = call;
        let count = self.counts.entry((service.clone(), operation.clone())).or_default();
        *count += 1;
        chaos.kinds.iter().find_map(|kind| mishap(*kind, share(chaos.seed, *kind, service, operation, *count)))
    }

    /// Returns the delays of an object's next event, one for each delivery.
    pub(super) fn deliveries(&mut self, chaos: &Chaos, bucket: &str, key: &str) -> Vec<Duration> {
        if !chaos.kinds.contains(&ChaosKind::S3NotifyLag) {
            return vec![Duration::ZERO];
        }
        let count = self.counts.entry((bucket.to_owned(), key.to_owned())).or_default();
        *count += 1;
        let share = |what: &str| drawn(&format!("{} {what} {bucket} {key} {count}", chaos.seed));
        let mut deliveries = vec![LATEST.mul_f64(share("first"))];
        if share("twice") < 1.0 / 3.0 {
            deliveries.push(LATEST.mul_f64(share("again")));
        }
        deliveries
    }
}

/// Returns the fault of a kind for a number from 0 to 1.
fn mishap(kind: ChaosKind, share: f64) -> Option<Mishap> {
    let known = match kind {
        ChaosKind::Throttle if share < 0.10 => Known::Throttle,
        ChaosKind::Errors if share < 0.03 => Known::Internal,
        ChaosKind::Errors if share < 0.06 => Known::InternalAfter,
        ChaosKind::Errors if share < 0.10 => Known::Unavailable,
        ChaosKind::Reset if share < 0.05 => Known::ResetBefore,
        ChaosKind::Reset if share < 0.10 => Known::ResetAfter,
        ChaosKind::ExpiredCredentials if share < 0.02 => Known::ExpiredCredentials,
        ChaosKind::Slow if share < 0.20 => {
            return Some(Mishap::Slow(Duration::from_millis(200) + Duration::from_secs(9).mul_f64(share)));
        }
        _ => return None,
    };
    Some(Mishap::Known(known))
}

/// Returns a number from 0 to 1 that depends only on the arguments.
fn share(seed: u64, kind: ChaosKind, service: &str, operation: &str, count: u64) -> f64 {
    drawn(&format!("{seed} {} {service} {operation} {count}", kind.name()))
}

fn drawn(text: &str) -> f64 {
    let digest = Sha256::digest(text.as_bytes());
    let number = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    number as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_chaos_is_parsed_and_serialized_by_its_name() {
        for (kind, name, words) in ChaosKind::ALL {
            assert_eq!(name.parse(), Ok(*kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), *name);
            assert!(words.len() > 20, "{name}");
        }
        assert!("gremlins".parse::<ChaosKind>().unwrap_err().to_string().contains("there are throttle, errors"));
    }
}
