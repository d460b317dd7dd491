//! Errors of the engine: a refused call, and the resource that it was made for.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Address, Change};

/// A refused call.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{code}: {message} ({operation})")]
pub struct Fault {
    /// The operation, such as `CreateBucket`.
    pub operation: String,
    /// The service's error code, such as `AccessDenied`.
    pub code: String,
    /// The service's message.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retry: Retry,
}

/// Whether a refused call may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// No: the answer will stay the same.
    Never,
    /// Yes: it means "not yet" for at most this long.
    Within(Duration),
    /// Yes, but this run does not wait: the next run continues from here.
    NextRun,
}

impl Fault {
    /// A fault of our own, without a call.
    pub fn new(operation: &str, code: &str, message: impl Into<String>) -> Self {
        Fault { operation: operation.into(), code: code.into(), message: message.into(), retry: Retry::Never }
    }

    /// The same fault, without these values in its message, plain or in base64. Short values are not masked: they
    /// reveal nothing and occur everywhere.
    pub fn hiding(mut self, values: &[String]) -> Self {
        let mut values: Vec<&str> = values.iter().map(|value| value.trim()).filter(|value| value.len() > 5).collect();
        // One value may contain another.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        let holds_one = |text: &str| values.iter().any(|value| text.contains(value));
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
        let runs = self.message.split(|c| !is_base64(c)).filter(|run| run.len() > 7);
        let packed =
            runs.filter(|run| STANDARD.decode(run).is_ok_and(|text| holds_one(&String::from_utf8_lossy(&text))));
        let packed: Vec<String> = packed.map(str::to_owned).collect();
        for value in values.into_iter().chain(packed.iter().map(String::as_str)) {
            self.message = self.message.replace(value, "(hidden)");
        }
        self
    }

    /// The same fault, to be retried for at most `budget`.
    pub fn within(self, budget: Duration) -> Self {
        Fault { retry: Retry::Within(budget), ..self }
    }

    /// The same fault, left for the next run.
    pub fn postponed(self) -> Self {
        Fault { retry: Retry::NextRun, ..self }
    }
}

/// A resource's failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call for it was refused permanently.
    #[error("failed to {verb} {what} ({name})")]
    Fault {
        /// `read`, `create`, `update`, `tag`, `delete`.
        verb: &'static str,
        /// Which resource.
        what: Address,
        /// Its name in the cloud.
        name: String,
        /// The refused call.
        source: Fault,
    },
    /// It exists and belongs to another owner.
    #[error("{what} ({name}) exists but belongs to {owner}")]
    Foreign {
        /// Which resource.
        what: Address,
        /// Its name in the cloud.
        name: String,
        /// Its owner.
        owner: String,
        /// Whether it carries no ownership tags and so can be adopted.
        is_free: bool,
    },
    /// The change would need a replacement, and data is never destroyed by an update.
    #[error("{what} ({name}) would have to be replaced to change {}", paths(.changes))]
    MustReplace {
        /// Which resource.
        what: Address,
        /// Its name in the cloud.
        name: String,
        /// The settings that are fixed at creation.
        changes: Vec<Change>,
    },
    /// It did not settle in time.
    #[error("{what} ({name}) is still {state} after {} s", .after.as_secs())]
    TimedOut {
        /// Which resource.
        what: Address,
        /// Its name in the cloud.
        name: String,
        /// Its state.
        state: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// It would have to wait, and the user asked not to.
    #[error("{what} is left for the next run: {reason}")]
    Postponed {
        /// The resource.
        what: Address,
        /// The reason for the wait.
        reason: String,
    },
    /// Stopped between two calls at the user's request.
    #[error("{what}: interrupted")]
    Interrupted {
        /// Which resource.
        what: Address,
    },
}

impl Error {
    /// Which resource it is about.
    pub fn what(&self) -> &Address {
        match self {
            Error::Fault { what, .. }
            | Error::Foreign { what, .. }
            | Error::MustReplace { what, .. }
            | Error::TimedOut { what, .. }
            | Error::Postponed { what, .. }
            | Error::Interrupted { what } => what,
        }
    }
}

impl Error {
    /// The error code that AWS returned.
    pub fn code(&self) -> Option<&str> {
        match self {
            Error::Fault { source, .. } => Some(&source.code),
            _ => None,
        }
    }

    /// The fields of `stack.yaml` that may have caused it, most specific first.
    pub fn sources(&self) -> Vec<&str> {
        let fields = match self {
            Error::MustReplace { changes, .. } => changes.as_slice(),
            _ => &[],
        };
        let fields = fields.iter().filter_map(|change| change.source.as_deref());
        fields.chain([&*self.what().section]).collect()
    }
}

fn paths(changes: &[Change]) -> String {
    changes.iter().map(|change| change.path.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_quoted_by_aws_are_not_shown() {
        let packed = STANDARD.encode("#cloud-config\nTOKEN=\"hunter2\"\n");
        let message = format!("Value '{{TOKEN=hunter2, A=1}}' at 'environment.variables' or '{packed}' is wrong at 1");
        let values = ["hunter2".to_owned(), "1".to_owned(), String::new()];
        let hidden = Fault::new("CreateFunction", "ValidationException", message).hiding(&values).message;
        assert_eq!(hidden, "Value '{TOKEN=(hidden), A=1}' at 'environment.variables' or '(hidden)' is wrong at 1");
    }
}
