//! The exit codes, and the errors that end a command.

use std::process::ExitCode;

use crate::engine::{Error, Fault};

/// How a command ended. The numbers are part of the interface and listed in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for is done.
    Done = 0,
    /// Something failed; the same command continues.
    Failed = 1,
    /// There are changes (`plan --detailed-exitcode`).
    Changes = 2,
    /// Everything else is done: tables or buckets that are no longer in `stack.yaml` were kept.
    Kept = 3,
    /// The command line is wrong, or nobody could be asked (`EX_USAGE`).
    Usage = 64,
    /// Another run is changing the stack (`EX_TEMPFAIL`).
    Busy = 75,
    /// No credentials, or refused ones (`EX_NOPERM`).
    Credentials = 77,
    /// `stack.yaml` is missing or has errors (`EX_CONFIG`).
    Config = 78,
    /// Interrupted by Ctrl-C or SIGTERM.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command ended early: its chain of causes, what to do about it, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What went wrong, cause after cause.
    pub error: anyhow::Error,
    /// Where in `stack.yaml`.
    pub place: Option<String>,
    /// What to do now.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure with its exit code.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Failure { exit, error: error.into(), place: None, hint: None }
    }

    /// Wrong usage, in words.
    pub fn usage(message: impl std::fmt::Display) -> Self {
        Failure::new(Exit::Usage, anyhow::anyhow!("{message}"))
    }

    /// The same with what to do now.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// The same with where in `stack.yaml`.
    pub fn at(self, place: Option<String>) -> Self {
        Failure { place, ..self }
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
        let hint = hint(&fault);
        Failure { exit, error: fault.into(), place: None, hint }
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
        Failure { exit, error: error.into(), place: None, hint }
    }
}

/// What to do about an error of the engine.
fn hint_for(error: &Error) -> Option<String> {
    match error {
        Error::Fault { source, .. } => hint(source),
        Error::Foreign { what, is_free: true, .. } => Some(format!(
            "nothing of it was changed. If it is yours, `up --adopt {what}` takes it over; if not, give the stack \
             another `name`"
        )),
        Error::Foreign { .. } => Some(
            "nothing of it was changed. Give the stack another `name`, or remove that resource by hand if it is yours"
                .into(),
        ),
        Error::MustReplace { what, name, .. } => Some(by_hand(what.kind, name)),
        Error::TimedOut { .. } => Some("the same command continues where this one stopped".into()),
        Error::Interrupted { .. } => Some("the same command continues where this one stopped".into()),
    }
}

/// How to change what is fixed at creation.
fn by_hand(kind: &str, name: &str) -> String {
    match kind {
        "table" => format!(
            "a table's keys are fixed when it is created, and replacing {name} would lose its rows. Add a second table \
             under another name to stack.yaml, run `up`, copy the rows (`aws dynamodb scan`, `aws dynamodb \
             batch-write-item`), let everything use the new table, then take the old one out and name it with \
             `up --delete`"
        ),
        _ => format!(
            "these settings are fixed when {name} is created. Give its entry in stack.yaml another name: the new one \
             comes before the old one goes; or remove {name} by hand and run the same command again"
        ),
    }
}

/// Codes that speak of credentials or of the clock (aws-facts §3.1).
const CREDENTIALS: &[&str] = &[
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "AuthFailure",
    "SignatureDoesNotMatch",
    "RequestExpired",
    "InvalidAccessKeyId",
];

fn is_about_credentials(fault: &Fault) -> bool {
    CREDENTIALS.contains(&fault.code.as_str()) || lacks_credentials(fault)
}

fn lacks_credentials(fault: &Fault) -> bool {
    let message = fault.message.to_lowercase();
    fault.code == "NoConnection" && message.contains("credential")
}

/// Parts of AWS's messages and what to do about them (aws-facts §3.2 to §3.4).
const REMEDIES: &[(&str, &str)] = &[
    (
        "not authorized to perform: iam:",
        "accounts of AWS Academy may not write to IAM: add `roles: { existing: LabRole, instance_profile: \
         LabInstanceProfile }` to stack.yaml",
    ),
    (
        "not eligible for Free Tier",
        "the account's free plan only starts t3.micro, t3.small, t4g.micro, t4g.small, c7i-flex.large and \
         m7i-flex.large: set `instance_type` to one of them",
    ),
    (
        "cannot be assumed by Lambda",
        "the role's trust policy must allow lambda.amazonaws.com to assume it: correct it, or name another one under \
         `roles`",
    ),
    ("vCPU capacity", "ask AWS for a higher vCPU quota, or lower `instances.max`"),
    ("does not support creating load balancers", "only AWS Support can allow load balancers in this account"),
    ("protected against deletion", "set `protect: false` for the table, run `up`, then `down` again"),
];

fn hint(fault: &Fault) -> Option<String> {
    if lacks_credentials(fault) {
        return Some(
            "sign in (`aws configure`, `aws sso login`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), \
             or use --local, which needs no account"
                .into(),
        );
    }
    if is_about_credentials(fault) {
        return Some("renew the credentials and check the clock; the same command then continues".into());
    }
    REMEDIES.iter().find(|(text, _)| fault.message.contains(text)).map(|(_, remedy)| (*remedy).into())
}
