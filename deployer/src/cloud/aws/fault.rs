//! Errors of AWS as faults.

use aws_smithy_runtime_api::{
    client::{orchestrator::HttpResponse, result::SdkError},
    http::StatusCode,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::not_yet::retry;
use crate::{cloud::sign_in::Trouble, engine::Fault};

/// Error codes that mean "absent" (docs/aws.md §18).
const ABSENT: &[&str] = &[
    "NoSuchBucket",
    "NoSuchKey",
    "NoSuchTagSet",
    "NoSuchTagSetError",
    "NoSuchCORSConfiguration",
    "NoSuchLifecycleConfiguration",
    "NoSuchBucketPolicy",
    "NoSuchPublicAccessBlockConfiguration",
    "OwnershipControlsNotFoundError",
    "ServerSideEncryptionConfigurationNotFoundError",
    "NoSuchUpload",
    "NotFound",
    "ResourceNotFound",
    "ResourceNotFoundException",
    "TableNotFoundException",
    "NoSuchEntity",
    "InvalidGroup.NotFound",
    "InvalidSecurityGroupID.NotFound",
    "InvalidVpcID.NotFound",
    "InvalidSubnetID.NotFound",
    "InvalidInternetGatewayID.NotFound",
    "InvalidRouteTableID.NotFound",
    "InvalidAssociationID.NotFound",
    "InvalidAllocationID.NotFound",
    "Gateway.NotAttached",
    "InvalidPermission.NotFound",
    "InvalidLaunchTemplateName.NotFoundException",
    "InvalidLaunchTemplateId.NotFound",
    "LoadBalancerNotFound",
    "TargetGroupNotFound",
    "ListenerNotFound",
    "RuleNotFound",
    "NoSuchHostedZone",
    "ActiveInstanceRefreshNotFound",
    "ParameterNotFound",
    "InvalidResourceId",
];

impl Fault {
    /// Whether the error means that the resource is absent.
    pub fn is_absent(&self) -> bool {
        means_absent(&self.code, &self.message)
    }

    /// The same fault as one of an absent resource: AWS denies some calls for what does not exist.
    pub fn meaning_absent(self) -> Self {
        let code = "ResourceNotFoundException".to_owned();
        let retry = retry(&self.operation, &code, &self.message);
        Fault { code, retry, ..self }
    }
}

pub(super) fn means_absent(code: &str, message: &str) -> bool {
    ABSENT.contains(&code) || (code == "ValidationError" && message.contains("not found"))
}

/// Turns "absent" into `None`.
pub fn found<T>(answer: Result<T, impl Into<Fault>>) -> Result<Option<T>, Fault> {
    match answer.map_err(Into::into) {
        Ok(there) => Ok(Some(there)),
        Err(fault) if fault.is_absent() => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Treats "already gone" as success.
pub fn gone<T>(answer: Result<T, impl Into<Fault>>) -> Result<(), Fault> {
    found(answer).map(drop)
}

impl<E> From<SdkError<E, HttpResponse>> for Fault
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Fault {
        let operation = operation_of::<E>();
        if let Some(trouble) = Trouble::behind(&error) {
            return trouble.fault(&operation);
        }
        let status = error.raw_response().map(HttpResponse::status);
        let code = match error.code() {
            Some(code) => code.to_owned(),
            None => code_of_bodiless(status, &error),
        };
        let message = match error.message() {
            Some(message) => message.to_owned(),
            None => innermost(&error),
        };
        let retry = retry(&operation, &code, &message);
        Fault { operation, code, message, retry }
    }
}

/// Derives `CreateBucket` from `aws_sdk_s3::operation::create_bucket::CreateBucketError`.
fn operation_of<E>() -> String {
    let name = std::any::type_name::<E>();
    let name = name.rsplit("::").next().unwrap_or(name);
    name.strip_suffix("Error").unwrap_or(name).to_owned()
}

/// Answers to `HEAD` have no body and so no error code (docs/aws.md §2.1).
fn code_of_bodiless<E>(status: Option<StatusCode>, error: &SdkError<E, HttpResponse>) -> String {
    match (status.map(|status| status.as_u16()), error) {
        (Some(404), _) => "NotFound".into(),
        (Some(403), _) => "AccessDenied".into(),
        (Some(status), _) => format!("HTTP {status}"),
        (None, SdkError::TimeoutError(_)) => "Timeout".into(),
        (None, SdkError::DispatchFailure(_)) => "NoConnection".into(),
        (None, _) => "BadRequest".into(),
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::result::ConnectorError;

    use super::*;
    use crate::{
        engine::Retry,
        output::exit::{Exit, Failure},
    };

    #[test]
    fn the_operation_is_read_off_the_error_type() {
        assert_eq!(operation_of::<aws_sdk_s3::operation::create_bucket::CreateBucketError>(), "CreateBucket");
    }

    #[test]
    fn a_denial_for_what_is_absent_is_looked_up_again() {
        let denied = Fault::new("ListTagsOfResource", "AccessDeniedException", "not authorized");
        assert!(!denied.is_absent() && denied.retry == Retry::Never);
        let absent = denied.meaning_absent();
        assert!(absent.is_absent() && matches!(absent.retry, Retry::Within(_)), "{absent:?}");
    }

    #[test]
    fn credentials_that_cannot_be_renewed_are_reported_with_cause_and_remedy() {
        type Refused = SdkError<aws_sdk_s3::operation::list_buckets::ListBucketsError, HttpResponse>;
        let trouble = Trouble::credentials("the login has expired", "run `aws sso login`");
        let error = aws_credential_types::provider::error::CredentialsError::provider_error(trouble);
        let refused = Refused::dispatch_failure(ConnectorError::other(error.into(), None));
        let fault = Fault::from(refused);
        assert_eq!(fault.to_string(), "NotSignedIn: the login has expired: run `aws sso login` (ListBuckets)");
        assert_eq!(Failure::from(fault).exit, Exit::Credentials);
    }
}
