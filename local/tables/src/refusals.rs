//! The errors that are not those of dynoxide.

use dynoxide::DynoxideError;

use kit::answer::Refusal;

pub(super) fn invalid(text: &str) -> Refusal {
    Refusal::new(400, "ValidationException", text)
}

/// Returns the error for a failure to write the files; `None` if the call itself is at fault.
pub(super) fn unwritten(fault: &DynoxideError) -> Option<Refusal> {
    failed(fault, "write")
}

pub(super) fn unread(fault: &DynoxideError) -> Option<Refusal> {
    failed(fault, "read")
}

fn failed(fault: &DynoxideError, verb: &str) -> Option<Refusal> {
    if fault.status_code() != 500 {
        return None;
    }
    tracing::error!(%fault, "failed to {verb} the tables");
    Some(Refusal::new(500, "InternalServerError", format!("the local AWS cannot {verb} its tables: {fault}")))
}

pub(super) fn stopped() -> Refusal {
    Refusal::new(500, "InternalServerError", "the local AWS has given up this call of its tables")
}
