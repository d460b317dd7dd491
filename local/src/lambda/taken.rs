//! The parameters that each operation of Lambda acts on.

use super::Lambda;
use crate::answer::Refusal;
use crate::call::Request;
use crate::taken::{self, Takes};

/// What is said of a function's configuration; the rest would only be shown.
macro_rules! configuration {
    () => {
        "Description Environment.Variables.* EphemeralStorage.Size Handler LoggingConfig.LogFormat=Text \
         LoggingConfig.LogGroup MemorySize Role Runtime SnapStart.ApplyOn=None Timeout TracingConfig.Mode=PassThrough "
    };
}

/// The members of each body that has some.
const BODIES: &[(&str, Takes)] = &[
    ("AddPermission", "Action Principal RevisionId SourceAccount SourceArn StatementId"),
    (
        "CreateFunction",
        concat!(
            configuration!(),
            "Architectures Code.S3Bucket Code.S3Key Code.ZipFile FunctionName PackageType=Zip Publish Tags.*"
        ),
    ),
    ("PutFunctionConcurrency", "ReservedConcurrentExecutions"),
    ("PutFunctionEventInvokeConfig", "MaximumEventAgeInSeconds MaximumRetryAttempts"),
    ("PublishVersion", "CodeSha256 Description RevisionId"),
    ("TagResource", "Tags.*"),
    ("UpdateFunctionCode", "Architectures DryRun Publish RevisionId S3Bucket S3Key ZipFile"),
    ("UpdateFunctionConfiguration", concat!(configuration!(), "RevisionId")),
    ("UpdateFunctionEventInvokeConfig", "MaximumEventAgeInSeconds MaximumRetryAttempts"),
];

/// Headers that ask for what is not here.
const HEADERS: &[&str] = &["x-amz-durable-execution-name", "x-amz-tenant-id"];

impl Lambda {
    /// Refuses what is not carried out here.
    pub(super) fn check_taken(&self, operation: &str, request: &Request) -> Result<(), Refusal> {
        if let Some((_, takes)) = BODIES.iter().find(|(known, _)| *known == operation) {
            taken::check_json(takes, &super::body(request)?).map_err(taken::refusal)?;
        }
        match HEADERS.iter().find(|header| request.header(header).is_some()) {
            Some(header) => Err(taken::refusal(format!("the local AWS does not carry out the header {header}"))),
            None => Ok(()),
        }
    }
}
