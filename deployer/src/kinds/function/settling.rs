//! Functions and roles that AWS has not finished.

use std::time::{Duration, SystemTime};

use aws_sdk_lambda::types::{FunctionConfiguration, LastUpdateStatus, State};

use crate::{
    cloud::aws::Aws,
    engine::{Fault, Retry},
};

/// A role that exists for this long is visible everywhere: if Lambda still cannot assume it, the error is permanent
/// (docs/aws.md §2.3).
const KNOWN_AFTER: Duration = Duration::from_secs(600);

/// "Cannot be assumed" means "not yet" only for a new role.
pub(super) async fn believed(aws: &Aws, role: &str, fault: Fault) -> Fault {
    if !fault.message.contains("cannot be assumed") {
        return fault;
    }
    let name = role.rsplit('/').next().unwrap_or(role);
    // Without permission to read the role's age, wait: it only costs time.
    let made = aws.iam.get_role().role_name(name).send().await.ok().and_then(|answer| answer.role);
    let made = made.and_then(|role| SystemTime::try_from(*role.create_date()).ok());
    match made.and_then(|made| made.elapsed().ok()) {
        Some(age) if age > KNOWN_AFTER => Fault { retry: Retry::Never, ..fault },
        _ => fault,
    }
}

/// The update in progress, if there is one.
pub(super) fn settling(function: &FunctionConfiguration) -> Option<String> {
    match (function.state(), function.last_update_status()) {
        (Some(state @ (State::Pending | State::Deleting | State::Deactivating)), _) => {
            Some(state.as_str().to_lowercase())
        }
        (Some(State::Failed), _) => None,
        (_, Some(LastUpdateStatus::InProgress)) => Some("updating".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_settles_while_aws_works_on_it() {
        let at = |state, update| FunctionConfiguration::builder().state(state).last_update_status(update).build();
        let settling = |state, update| settling(&at(state, update));
        assert_eq!(settling(State::Pending, LastUpdateStatus::Successful).as_deref(), Some("pending"));
        assert_eq!(settling(State::Active, LastUpdateStatus::InProgress).as_deref(), Some("updating"));
        assert_eq!(settling(State::Inactive, LastUpdateStatus::Successful), None);
        assert_eq!(settling(State::Failed, LastUpdateStatus::InProgress), None);
    }
}
