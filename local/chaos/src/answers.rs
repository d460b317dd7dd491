//! Each service's errors for throttling, internal failures and expired credentials.

use kit::answer;
use kit::answer::{Protocol, Refusal};
use kit::call::Call;

/// The error for too many calls (docs/aws.md §2.2 and §14).
pub fn throttled(call: &Call) -> Refusal {
    let (status, code, message) = match (call.service.as_str(), call.protocol) {
        ("s3", _) => (503, "SlowDown", "Please reduce your request rate."),
        ("ec2", _) => (503, "RequestLimitExceeded", "Request limit exceeded."),
        ("lambda", _) => (429, "TooManyRequestsException", "Rate exceeded"),
        ("dynamodb", _) => (400, "ThrottlingException", "Rate of requests exceeds the allowed throughput."),
        (_, Protocol::Query) => (400, "Throttling", "Rate exceeded"),
        _ => (400, "ThrottlingException", "Rate exceeded"),
    };
    Refusal::new(status, code, message)
}

/// The error for an internal failure; whether the call took effect is unknown.
pub fn internal(call: &Call) -> Refusal {
    let (code, message) = match call.service.as_str() {
        "s3" => ("InternalError", "We encountered an internal error. Please try again."),
        "ec2" => ("InternalError", "An internal error has occurred"),
        "iam" => ("ServiceFailure", "The request processing has failed because of an unknown error."),
        "lambda" => ("ServiceException", "The service encountered an internal error."),
        "wafv2" => {
            ("WAFInternalErrorException", "AWS WAF couldn\u{2019}t perform the operation because of a system problem.")
        }
        "dynamodb" | "rekognition" => ("InternalServerError", "The request processing has failed."),
        _ => ("InternalFailure", "The request processing has failed because of an unknown error."),
    };
    Refusal::new(500, code, message)
}

/// The error for a service that is temporarily unavailable.
pub fn unavailable(call: &Call) -> Refusal {
    let (code, message) = match call.service.as_str() {
        "s3" => ("ServiceUnavailable", "Service is unable to handle request."),
        "ec2" => ("Unavailable", "The server is overloaded and can't handle the request."),
        "logs" | "lambda" => ("ServiceUnavailableException", "The service cannot complete the request."),
        _ => ("ServiceUnavailable", "Service is unable to handle request."),
    };
    Refusal::new(503, code, message)
}

/// The error for an expired session.
pub fn expired(call: &Call) -> Refusal {
    answer::expired_token(call.protocol)
}
