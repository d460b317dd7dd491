//! The error codes with which AWS asks the client to retry later.

/// Codes of temporary errors: those that the SDK itself retries (docs/aws.md §2.2), and internal failures of AWS.
const BUSY: &[&str] = &[
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "InternalError",
    "InternalServerError",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
];

/// Whether an error code of AWS is temporary, so that the same call may succeed later.
#[must_use]
pub fn is_busy(code: &str) -> bool {
    BUSY.contains(&code)
}
