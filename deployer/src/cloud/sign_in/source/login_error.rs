//! Errors of `aws login`, and their remedies.

/// The meaning of an error about a login.
pub(super) enum LoginError {
    Renew(&'static str),
    NotYours,
}

/// Texts in the SDK's errors about logins; the first match counts.
pub(super) const LOGIN_ERRORS: &[(&str, LoginError)] = &[
    ("ForbiddenException", LoginError::NotYours),
    ("NotFound", LoginError::Renew(NOT_LOGGED_IN)),
    ("No such file", LoginError::Renew(NOT_LOGGED_IN)),
    ("JsonError", LoginError::Renew(DAMAGED)),
    ("MissingField", LoginError::Renew(DAMAGED)),
    ("InvalidField", LoginError::Renew(DAMAGED)),
    ("Expired", LoginError::Renew(ENDED)),
    ("expired", LoginError::Renew(ENDED)),
    ("Unauthorized", LoginError::Renew(ENDED)),
    ("RefreshFailed", LoginError::Renew(ENDED)),
];
const NOT_LOGGED_IN: &str = "not logged in";
const DAMAGED: &str = "the stored login on this machine is damaged";
const ENDED: &str = "the login has expired";
