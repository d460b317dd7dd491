//! Failed calls, and whether a retry of the event can cure them.

use std::error::Error;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use lambda_runtime::Diagnostic;
use posts::is_busy;

/// A call that failed.
#[derive(Debug, thiserror::Error)]
#[error("failed {what}")]
pub struct Refused {
    what: &'static str,
    curable: bool,
    source: Box<dyn Error + Send + Sync>,
}

impl Refused {
    pub(crate) fn new<E>(what: &'static str, error: SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        Self { what, curable: is_curable(&error), source: error.into() }
    }

    /// The connection broke while the picture was downloaded.
    pub(crate) fn cut_off(error: impl Error + Send + Sync + 'static) -> Self {
        Self { what: "to read the picture", curable: true, source: error.into() }
    }

    /// The picture exists, but Rekognition could not read it.
    pub(crate) fn unreadable(error: impl Error + Send + Sync + 'static) -> Self {
        Self { what: "to let Rekognition read the picture", curable: true, source: error.into() }
    }

    /// Another writer changed the row each time between our read and write.
    pub(crate) fn contended() -> Self {
        Self { what: "to write the labels", curable: true, source: "the post kept changing".into() }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_curable(&self) -> bool {
        self.curable
    }

    /// The error with its causes, for a log line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text
    }
}

/// Whether the call may succeed later. That is so for one without an answer, with a temporary error, or denied: a
/// role's permissions take seconds to propagate (docs/aws.md §2.3).
fn is_curable<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    match error {
        SdkError::ConstructionFailure(_) => false,
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let code = answer.err().code().unwrap_or_default();
            // 409: a concurrent write of the same object.
            status >= 500 || matches!(status, 403 | 409 | 429) || is_busy(code) || code == "AccessDeniedException"
        }
        _ => true,
    }
}

/// Some pictures of an event could not be handled now.
#[derive(Debug, thiserror::Error)]
#[error("{} of the event's pictures must wait: {}", .0.len(), chains(.0))]
pub struct Unfinished(Vec<Refused>);

impl Unfinished {
    pub(crate) fn unless_none(faults: Vec<Refused>) -> Result<(), Self> {
        match faults.is_empty() {
            true => Ok(()),
            false => Err(Self(faults)),
        }
    }
}

/// The error returned to Lambda, which logs it and retries the event.
impl From<Unfinished> for Diagnostic {
    fn from(unfinished: Unfinished) -> Self {
        Self { error_type: "Unfinished".into(), error_message: unfinished.to_string() }
    }
}

fn chains(faults: &[Refused]) -> String {
    faults.iter().map(Refused::chain).collect::<Vec<_>>().join("; ")
}
