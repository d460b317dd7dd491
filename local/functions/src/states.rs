//! State transitions of functions: a new one cannot be invoked yet, and during an update the previous revision answers
//! (docs/aws.md §7.1, §7.3). Their duration depends on the speed; a restart completes them.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Function;
use kit::answer::Refusal;
use kit::speed::Speed;

/// The durations of creating and updating a function on AWS, in seconds (docs/aws.md §13).
const CREATING_S: u64 = 8;
const UPDATING_S: u64 = 5;

/// The minimum durations here, at any speed, so that no client can rely on a transition being over.
const LEAST_COMING: Duration = Duration::from_millis(200);
const LEAST_CHANGING: Duration = Duration::from_millis(100);

/// The functions in transition.
#[derive(Debug)]
pub struct States {
    pub(crate) speed: Speed,
    busy: Mutex<BTreeMap<String, State>>,
}

#[derive(Debug)]
enum State {
    Creating {
        until: Instant,
    },
    Updating {
        /// The revision of the updated function.
        revision: String,
        /// The previous function, which answers until the updated one is put into use.
        before: Option<Box<Function>>,
    },
}

impl States {
    pub(crate) fn at(speed: Speed) -> States {
        States { speed, busy: Mutex::default() }
    }

    /// Returns the duration of an update.
    pub(crate) fn changing(&self) -> Duration {
        self.speed.takes(UPDATING_S).max(LEAST_CHANGING)
    }

    /// Records that a function was created; it becomes `Active` later.
    pub(crate) fn created(&self, name: &str) {
        let until = Instant::now() + self.speed.takes(CREATING_S).max(LEAST_COMING);
        self.now().insert(name.to_owned(), State::Creating { until });
    }

    /// Records that a function was updated. `before` is the previous function. The transition lasts until
    /// [`States::forget`].
    pub(crate) fn updated(&self, before: Function, revision: &str) {
        let name = before.name.clone();
        let state = State::Updating { revision: revision.to_owned(), before: Some(Box::new(before)) };
        self.now().insert(name, state);
    }

    /// Makes an updated function answer invocations. Returns `false` if this update has been superseded.
    pub(crate) fn take_over(&self, name: &str, changed: &str) -> bool {
        match self.now().get_mut(name) {
            Some(State::Updating { revision, before }) if revision == changed => {
                *before = None;
                true
            }
            _ => false,
        }
    }

    /// Ends the transition of a function, or forgets a deleted function.
    pub(crate) fn forget(&self, name: &str) {
        self.now().remove(name);
    }

    /// Returns the revision that currently answers invocations, with the current settings.
    pub(crate) fn answering(&self, current: Function) -> Function {
        match self.now().get(&current.name) {
            Some(State::Updating { before: Some(before), .. }) => {
                let mut answering = (**before).clone();
                answering.keep_settings_of(&current);
                answering
            }
            _ => current,
        }
    }

    /// Refuses to invoke a function that is still being created.
    pub(crate) fn refuse_call(&self, function: &Function) -> Result<(), Refusal> {
        match self.now().get(&function.name) {
            Some(State::Creating { .. }) => Err(conflict("The function is currently in the following state: Pending")),
            _ => Ok(()),
        }
    }

    /// Refuses an update during another transition.
    pub(crate) fn refuse_change(&self, function: &Function) -> Result<(), Refusal> {
        self.refuse_call(function)?;
        match self.now().contains_key(&function.name) {
            true => Err(is_changing(function)),
            false => Ok(()),
        }
    }

    /// Adds the state to a `FunctionConfiguration`.
    pub(crate) fn show(&self, name: &str, shown: &mut Value) {
        // AWS uses the same texts for both states.
        let (reason, code) = ("The function is being created.", "Creating");
        match self.now().get(name) {
            None => (),
            Some(State::Creating { .. }) => {
                shown["State"] = json!("Pending");
                shown["StateReason"] = json!(reason);
                shown["StateReasonCode"] = json!(code);
            }
            Some(State::Updating { .. }) => {
                shown["LastUpdateStatus"] = json!("InProgress");
                shown["LastUpdateStatusReason"] = json!(reason);
                shown["LastUpdateStatusReasonCode"] = json!(code);
            }
        }
    }

    /// Returns the unfinished transitions.
    fn now(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        let mut states = self.busy.lock();
        let now = Instant::now();
        states.retain(|_, state| !matches!(state, State::Creating { until } if *until <= now));
        states
    }
}

/// The error for an update of a function that another update changes.
pub(crate) fn is_changing(function: &Function) -> Refusal {
    conflict(&format!("An update is in progress for resource: {}", function.arn))
}

/// The error for a function that is busy, which has the same code as "already exists" (docs/aws.md §7.2).
fn conflict(why: &str) -> Refusal {
    let text = format!("The operation cannot be performed at this time. {why}");
    Refusal::new(409, "ResourceConflictException", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(revision: &str) -> Function {
        Function { revision: revision.to_owned(), ..Function::new("labeler", "arn:labeler".to_owned()) }
    }

    fn refused(answer: Result<(), Refusal>) -> String {
        let refusal = answer.expect_err("it is busy");
        assert_eq!((refusal.status, refusal.code.as_str()), (409, "ResourceConflictException"));
        refusal.message
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_function_is_pending_and_cannot_be_called() {
        let states = States::at(Speed::REAL);
        states.created("labeler");
        let mut shown = json!({ "State": "Active" });
        states.show("labeler", &mut shown);
        assert_eq!((&shown["State"], &shown["StateReasonCode"]), (&json!("Pending"), &json!("Creating")));
        assert!(refused(states.refuse_call(&function("1"))).ends_with("in the following state: Pending"));
        assert!(refused(states.refuse_change(&function("1"))).ends_with("in the following state: Pending"));
        tokio::time::advance(Duration::from_secs(CREATING_S)).await;
        assert!(states.refuse_call(&function("1")).is_ok() && states.refuse_change(&function("1")).is_ok());
    }

    #[test]
    fn a_changed_function_answers_as_before_until_it_takes_over() {
        let states = States::at(Speed::REAL);
        states.updated(function("1"), "2");
        let mut shown = json!({ "LastUpdateStatus": "Successful" });
        states.show("labeler", &mut shown);
        assert_eq!(shown["LastUpdateStatus"], "InProgress");
        assert!(states.refuse_call(&function("2")).is_ok());
        assert!(refused(states.refuse_change(&function("2"))).ends_with("in progress for resource: arn:labeler"));
        let reserving = states.answering(Function { reserved: Some(0), ..function("2") });
        assert_eq!((reserving.revision.as_str(), reserving.reserved), ("1", Some(0)));
        assert!(!states.take_over("labeler", "0"), "that was another change");
        assert!(states.take_over("labeler", "2"));
        assert_eq!(states.answering(function("2")).revision, "2");
        assert!(states.refuse_change(&function("2")).is_err(), "what was before is still being cleared away");
        states.forget("labeler");
        assert!(states.refuse_change(&function("2")).is_ok());
    }
}
