//! AWS's rate limits: a token bucket for each published rate (docs/aws.md §14).

use std::collections::HashMap;
use std::time::Instant;

use kit::call::Call;

/// A published rate limit.
struct Rate {
    service: &'static str,
    applies: fn(&Call) -> bool,
    /// Whether each operation has its own bucket.
    each: bool,
    /// Tokens per second.
    refill: f64,
    /// The size of the bucket, which starts full.
    burst: f64,
}

/// The first rate that applies to a call is used.
const RATES: &[Rate] = &[
    Rate { service: "ec2", applies: |call| !call.mutating(), each: true, refill: 20.0, burst: 100.0 },
    Rate {
        service: "lambda",
        applies: |call| call.operation == "GetFunction",
        each: true,
        refill: 100.0,
        burst: 100.0,
    },
    Rate {
        service: "lambda",
        applies: |call| !call.operation.starts_with("Invoke"),
        each: false,
        refill: 15.0,
        burst: 15.0,
    },
    Rate { service: "dynamodb", applies: |call| call.operation == "TagResource", each: true, refill: 5.0, burst: 5.0 },
    Rate {
        service: "logs",
        applies: |call| ["CreateLogGroup", "DescribeLogGroups"].contains(&call.operation.as_str()),
        each: true,
        refill: 10.0,
        burst: 10.0,
    },
    // The lowest of all regions.
    Rate { service: "logs", applies: |call| call.operation == "FilterLogEvents", each: true, refill: 5.0, burst: 5.0 },
    Rate { service: "route53", applies: |_| true, each: false, refill: 5.0, burst: 5.0 },
    Rate { service: "acm", applies: |call| call.operation == "ListCertificates", each: true, refill: 8.0, burst: 8.0 },
    Rate {
        service: "acm",
        applies: |call| ["DeleteCertificate", "DescribeCertificate"].contains(&call.operation.as_str()),
        each: true,
        refill: 10.0,
        burst: 10.0,
    },
    Rate { service: "acm", applies: |_| true, each: true, refill: 5.0, burst: 5.0 },
    Rate { service: "s3", applies: Call::mutating, each: false, refill: 3500.0, burst: 3500.0 },
    Rate { service: "s3", applies: |call| !call.mutating(), each: false, refill: 5500.0, burst: 5500.0 },
];

/// The token buckets.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    /// The tokens left, and when they were counted, by the rate's index in the list and the operation.
    left: HashMap<(usize, String), (f64, Instant)>,
    /// The number of throttled calls.
    pub(super) refused: u64,
}

impl Buckets {
    /// Takes a token for a call. Returns whether there was one.
    pub(super) fn take(&mut self, call: &Call, now: Instant) -> bool {
        let row = RATES.iter().position(|rate| rate.service == call.service && (rate.applies)(call));
        let Some((row, rate)) = row.map(|row| (row, &RATES[row])) else { return true };
        let operation = if rate.each { call.operation.clone() } else { String::new() };
        let (left, counted) = self.left.entry((row, operation)).or_insert((rate.burst, now));
        let since = now.saturating_duration_since(*counted).as_secs_f64();
        *left = (*left + since * rate.refill).min(rate.burst);
        *counted = now;
        let is_there = *left >= 1.0;
        if is_there {
            *left -= 1.0;
        } else {
            self.refused += 1;
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use kit::answer::Protocol;

    #[test]
    fn a_bucket_empties_and_fills_again_and_each_has_its_own() {
        let mut buckets = Buckets::default();
        let call = |service: &str, operation: &str| Call::bare(service, operation, Protocol::RestJson);
        let begin = Instant::now();
        let mut taken = |operation: &str, count: usize, at_ms: u64| {
            let at = begin + Duration::from_millis(at_ms);
            (0..count).filter(|_| buckets.take(&call("lambda", operation), at)).count()
        };
        assert_eq!(taken("CreateFunction", 20, 0), 15);
        assert_eq!(taken("GetPolicy", 1, 0), 0, "they share a bucket");
        assert_eq!(taken("GetFunction", 101, 0), 100);
        assert_eq!(taken("CreateFunction", 20, 200), 3);
        assert_eq!(taken("CreateFunction", 20, 60_000), 15, "no more than the bucket holds");
        assert_eq!(taken("Invoke", 1000, 60_000), 1000, "calls of functions do not count as control-plane calls");
        assert_eq!(buckets.refused, 5 + 1 + 1 + 17 + 5);
    }
}
