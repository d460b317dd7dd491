//! Evidence that could not be read.

use crate::engine::Fault;

/// Records a failed read, and continues without its result.
pub fn keep<T>(unread: &mut Vec<String>, what: &str, read: Result<T, Fault>) -> Option<T> {
    read.map_err(|fault| unread.push(self::unread(what, &fault))).ok()
}

/// The message about a failed read.
pub fn unread(what: &str, fault: &Fault) -> String {
    format!("could not read {what}: {}", failure_reason(fault))
}

/// Whether a read failed because the caller lacks the permission.
pub fn is_denied(fault: &Fault) -> bool {
    fault.code.contains("AccessDenied") || fault.code.contains("Unauthorized")
}

/// Returns why a read failed. Of a denial only the operation is interesting.
pub fn failure_reason(fault: &Fault) -> String {
    match is_denied(fault) {
        true => format!("denied ({})", fault.operation),
        false => fault.to_string(),
    }
}
