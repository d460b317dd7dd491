//! Errors of the engine: a refused call, and the resource it was made for.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Address, Change};

/// A call was refused.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{code}: {message} ({operation})")]
pub struct Fault {
    /// The operation, such as `CreateBucket`.
    pub operation: String,
    /// The service's own code, such as `AccessDenied`.
    pub code: String,
    /// The service's own words.
    pub message: String,
    /// May the same call succeed later?
    pub retry: Retry,
}

/// Whether a refused call may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The answer will stay the same.
    Never,
    /// "Not yet", for at most this long.
    Within(Duration),
    /// "Not yet", and this run does not wait: the next one goes on from here.
    NextRun,
}

impl Fault {
    /// A fault of our own making, with no call behind it.
    pub fn new(operation: &str, code: &str, message: impl Into<String>) -> Self {
        Fault { operation: operation.into(), code: code.into(), message: message.into(), retry: Retry::Never }
    }

    /// The same fault, in whose message none of these values is quoted, neither plain nor in base64. Short ones tell
    /// nothing and are found everywhere.
    pub fn hiding(mut self, values: &[String]) -> Self {
        let mut values: Vec<&str> = values.iter().map(|value| value.trim()).filter(|value| value.len() > 5).collect();
        // A value may be part of another one.
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

    /// The same fault, to be tried again for at most `budget`.
    pub fn within(self, budget: Duration) -> Self {
        Fault { retry: Retry::Within(budget), ..self }
    }

    /// The same fault, left for the next run.
    pub fn postponed(self) -> Self {
        Fault { retry: Retry::NextRun, ..self }
    }
}

/// What went wrong with a resource.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call for it was refused for good.
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
        /// Whose it is.
        owner: String,
        /// Whether it carries no ownership tags, so that it can be adopted.
        is_free: bool,
    },
    /// The change cannot be made in place, and we do not destroy data.
    #[error("{what} ({name}) would have to be replaced to change {}", paths(.changes))]
    MustReplace {
        /// Which resource.
        what: Address,
        /// Its name in the cloud.
        name: String,
        /// The settings that are fixed at creation.
        changes: Vec<Change>,
    },
    /// It did not get there in time.
    #[error("{what} ({name}) is still {state} after {} s", .after.as_secs())]
    TimedOut {
        /// Which resource.
        what: Address,
        /// Its name in the cloud.
        name: String,
        /// What it was doing.
        state: String,
        /// How long we waited.
        after: Duration,
    },
    /// It has to wait for something, and the user asked not to.
    #[error("{what} is left for the next run: {reason}")]
    Postponed {
        /// Which resource.
        what: Address,
        /// What it would have waited for.
        reason: String,
    },
    /// Stopped on request between two calls.
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
    /// The code of the refusal behind it.
    pub fn code(&self) -> Option<&str> {
        match self {
            Error::Fault { source, .. } => Some(&source.code),
            _ => None,
        }
    }

    /// Where to look in `stack.yaml` for what caused it, the closest place first: a field, then the entry.
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
    fn aws_may_quote_a_secret_and_we_do_not() {
        let packed = STANDARD.encode("#cloud-config\nTOKEN=\"hunter2\"\n");
        let message = format!("Value '{{TOKEN=hunter2, A=1}}' at 'environment.variables' or '{packed}' is wrong at 1");
        let values = ["hunter2".to_owned(), "1".to_owned(), String::new()];
        let told = Fault::new("CreateFunction", "ValidationException", message).hiding(&values).message;
        assert_eq!(told, "Value '{TOKEN=(hidden), A=1}' at 'environment.variables' or '(hidden)' is wrong at 1");
    }
}
