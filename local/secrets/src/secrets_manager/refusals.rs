//! The errors of Secrets Manager.

use kit::answer::Refusal;

pub(super) fn absent() -> Refusal {
    Refusal::new(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}

pub(super) fn no_value(what: &str, which: &str) -> Refusal {
    let text = format!("Secrets Manager can't find the specified secret value for {what}: {which}");
    Refusal::new(400, "ResourceNotFoundException", text)
}

pub(super) fn marked() -> Refusal {
    invalid_request("You can't perform this operation on the secret because it was marked for deletion.")
}

pub(super) fn token_taken(token: &str, arn: &str) -> Refusal {
    let text = format!(
        "You can't use ClientRequestToken {token} because that value is already in use for a version of secret {arn}."
    );
    Refusal::new(400, "ResourceExistsException", text)
}

pub(super) fn invalid_request(text: &str) -> Refusal {
    Refusal::new(400, "InvalidRequestException", text)
}

pub(super) fn invalid(text: &str) -> Refusal {
    Refusal::new(400, "InvalidParameterException", text)
}
