//! The error codes by which AWS says "not now".

/// Codes of answers that may be otherwise in a moment: those after which the SDK itself asks again (docs/aws.md §2.2), and
/// failures of AWS's own.
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

/// Whether the code of an answer of AWS means "not now".
#[must_use]
pub fn is_busy(code: &str) -> bool {
    BUSY.contains(&code)
}
