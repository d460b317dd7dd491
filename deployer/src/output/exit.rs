//! Exit codes, and the errors that end a command.

use std::process::ExitCode;

use crate::{
    cloud::remedies::{is_about_credentials, remedy},
    engine::{Address, Error, Fault, Resource as _},
    kinds::{alias::Alias, rule::ListenerRule},
};

/// How a command ended. The numbers are part of the interface and listed in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Success.
    Done = 0,
    /// Something failed; running the same command again continues.
    Failed = 1,
    /// There are changes (`plan --detailed-exitcode`).
    Changes = 2,
    /// Everything else is done, but tables or buckets that are no longer in `stack.yaml` were kept.
    Kept = 3,
    /// The stack is as wanted, but it does not answer as `verify:` expects.
    Unverified = 4,
    /// Wrong usage, or confirmation needed without a terminal (`EX_USAGE`).
    Usage = 64,
    /// Another run is changing the stack (`EX_TEMPFAIL`).
    Busy = 75,
    /// No credentials, rejected credentials, or AWS unreachable for checking them (`EX_NOPERM`).
    Credentials = 77,
    /// `stack.yaml`, or a setting of the AWS configuration, is missing or has errors (`EX_CONFIG`).
    Config = 78,
    /// Interrupted by Ctrl-C or SIGTERM.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command ended early: the chain of causes, the remedy, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The error, with its causes.
    pub error: anyhow::Error,
    /// The place in `stack.yaml`.
    pub place: Option<String>,
    /// The remedy.
    pub hint: Option<String>,
    /// The summary of the state of the stack.
    pub summary: Vec<String>,
}

impl Failure {
    /// A failure with its exit code.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Failure { exit, error: error.into(), place: None, hint: None, summary: Vec::new() }
    }

    /// A usage error.
    pub fn usage(message: impl std::fmt::Display) -> Self {
        Failure::new(Exit::Usage, anyhow::anyhow!("{message}"))
    }

    /// Adds the remedy.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// Adds the place in `stack.yaml`.
    pub fn at(self, place: Option<String>) -> Self {
        Failure { place, ..self }
    }

    /// A call that was refused for the stack as a whole; `verb` is such as `look for its network`.
    pub fn to(verb: &str, fault: Fault) -> Self {
        let failure = Failure::from(fault);
        let error = failure.error.context(format!("failed to {verb}"));
        Failure { error, ..failure }
    }

    /// Marks a failure that changed nothing and that the same command would repeat.
    pub fn without_change(self) -> Self {
        Failure { summary: vec!["nothing was changed".into()], ..self }
    }

    /// Adds a summary of the state of the stack, unless it has one. Left out of usage and configuration errors, because
    /// those have to be corrected before any command can continue.
    pub fn with_summary(self, summary: impl FnOnce() -> Vec<String>) -> Self {
        match self.exit {
            Exit::Usage | Exit::Config => self,
            _ if !self.summary.is_empty() => self,
            _ => Failure { summary: summary(), ..self },
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::new(Exit::Failed, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::new(Exit::Failed, error)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let exit = if is_about_credentials(&fault) { Exit::Credentials } else { Exit::Failed };
        let hint = remedy(&fault, None);
        Failure { hint, ..Failure::new(exit, fault) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let hint = hint_for(&error);
        let exit = match &error {
            Error::Interrupted { .. } => Exit::Interrupted,
            Error::Fault { source, .. } if is_about_credentials(source) => Exit::Credentials,
            _ => Exit::Failed,
        };
        Failure { hint, ..Failure::new(exit, error) }
    }
}

/// The remedy for an error of the engine.
fn hint_for(error: &Error) -> Option<String> {
    match error {
        Error::Fault { what, name, source, .. } => remedy(source, Some(&format!("{what} ({name})"))),
        Error::Foreign { what, is_free, .. } if what.kind == ListenerRule::KIND => Some(in_the_place_of(what, *is_free)),
        Error::Foreign { what, is_free: true, .. } => Some(format!(
            "nothing of it was changed. If it is yours, `up --adopt {what}` takes it over (`adopt`: everything that \
             stack.yaml describes); if not, give the stack another `name`"
        )),
        Error::Foreign { what, .. } if what.kind == Alias::KIND => Some(
            "the record was not changed. Remove it by hand if it is yours and no longer needed, or choose another \
             `domain`"
                .into(),
        ),
        Error::Foreign { .. } => Some(
            "nothing of it was changed. Give the stack another `name`, or remove that resource by hand if it is yours"
                .into(),
        ),
        Error::MustReplace { changes, .. } if changes.iter().any(|change| change.path == "vpc") => Some(
            "AWS cannot move it to another network. Choose the network that it is in, or remove the stack with `down` and \
             bring it up again with `up`"
                .into(),
        ),
        Error::MustReplace { what, name, .. } => Some(by_hand(what.kind, name)),
        Error::TimedOut { .. } => Some("the same command continues where this one stopped".into()),
        Error::Postponed { .. } | Error::Interrupted { .. } => {
            Some("the same command continues where this one stopped".into())
        }
    }
}

/// The remedy for a rule of a listener that has the priority of one of ours.
fn in_the_place_of(what: &Address, is_free: bool) -> String {
    let keep = format!(
        "nothing of it was changed. It has the priority that {what} needs: give it another one (`aws elbv2 \
         set-rule-priorities`)"
    );
    match is_free {
        true => format!("{keep}, or let `up --adopt {what}` turn it into {what}"),
        false => keep,
    }
}

/// How to change settings that are fixed at creation.
fn by_hand(kind: &str, name: &str) -> String {
    match kind {
        "table" => format!(
            "a table's keys are fixed when it is created, and replacing {name} would lose its rows. Add a second table \
             under another name to stack.yaml, run `up`, copy the rows (`aws dynamodb scan`, `aws dynamodb \
             batch-write-item`), switch everything to the new table, then remove the old entry and name it with \
             `up --delete`"
        ),
        "vpc" => {
            "the addresses of a network are fixed when it is made, and the services run in it. Write the block that it \
             has, or remove the stack with `down` and bring it up again with `up`"
                .into()
        }
        "role" | "instance_profile" => format!(
            "AWS cannot change the path of {name}, and a stack lists its roles and instance profiles by their path. \
             Give its entry in stack.yaml another name, or remove {name} by hand and run the same command again; \
             `roles` uses existing ones as they are"
        ),
        _ => format!(
            "these settings are fixed when {name} is created. Give its entry in stack.yaml another name: the new one \
             comes before the old one goes; or remove {name} by hand and run the same command again"
        ),
    }
}
