//! Errors: each with its status, in one common format.

use std::error::Error as StdError;
use std::sync::Arc;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use poem::error::ResponseError;
use poem::http::{HeaderName, HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::error::{ParseParamError, ParseRequestPayloadError};
use poem_openapi::payload::{Json, Payload};
use poem_openapi::registry::{MetaResponses, Registry};
use poem_openapi::{ApiResponse, Object};
use posts::is_busy;

use crate::storage::dynamodb::Failed;

/// A failed request; its `Display` is safe to show to anyone.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Error {
    #[error("missing credentials: put your name into the Authorization header")]
    NoAuthor,
    #[error("missing credentials: put `Bearer` and a token into the Authorization header")]
    NoToken,
    #[error("the token is not accepted: {0}")]
    BadToken(&'static str),
    #[error("{0}: {1}")]
    Field(&'static str, String),
    #[error("you have no post with this id")]
    NoPost,
    #[error("there is no such post")]
    NoSuchPost,
    #[error("this post has no picture")]
    NoPicture,
    #[error("the request is larger than 64 KiB")]
    TooLarge,
    #[error("the body must not have a Content-Encoding")]
    PackedBody,
    #[error("the address is longer than 8 KiB")]
    LongAddress,
    #[error("the headers are larger than 16 KiB")]
    LargeHead,
    #[error("the request was not complete in time")]
    SlowRequest,
    #[error("the allowed methods are: {0}")]
    NotAllowed(&'static str),
    #[error("{1}")]
    Request(StatusCode, String),
    #[error("too many requests at once, please try again")]
    Crowded,
    #[error("this took too long, please try again")]
    Late(#[source] Cause),
    #[error("{0} cannot be used now")]
    NotReady(&'static str),
    #[error("tokens cannot be checked now, please try again")]
    NoKeys(#[source] Cause),
    #[error("the storage cannot be reached now, please try again")]
    Unavailable(#[source] Cause),
    #[error("the storage refused the service's request")]
    Refused(#[source] Cause),
}

/// The cause of an error, shared by all callers that waited for the same call.
pub(crate) type Cause = Arc<dyn StdError + Send + Sync>;

pub(crate) fn caused(by: impl Into<Box<dyn StdError + Send + Sync>>) -> Cause {
    by.into().into()
}

/// The body of every error.
#[derive(Debug, Object)]
#[oai(rename = "Error")]
struct ErrorBody {
    /// The HTTP status.
    status_code: u16,
    /// A message for people.
    message: String,
    /// Always null.
    data: Option<String>,
}

/// When a client may retry, in seconds: longer than AWS's bursts of throttling.
const RETRY_AFTER_S: &str = "2";

impl Error {
    /// The error of a field or parameter.
    pub(crate) fn field(name: &'static str, why: impl ToString) -> Self {
        Self::Field(name, why.to_string())
    }

    /// The cause, for the log.
    pub(crate) fn why(&self) -> String {
        chain(self)
    }

    /// The error for a failed call to S3.
    pub(crate) fn of_call<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let busy = match error {
            // A success that the SDK reports as an error could not be parsed: it did not come from AWS.
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status();
                status.is_server_error() || status.is_success() || error.code().is_some_and(is_busy)
            }
            SdkError::ConstructionFailure(_) => false,
            _ => true,
        };
        let cause = caused(cause(operation, error));
        if busy { Self::Unavailable(cause) } else { Self::Refused(cause) }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoAuthor | Self::NoToken | Self::BadToken(_) => StatusCode::UNAUTHORIZED,
            Self::Field(..) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NoPost | Self::NoSuchPost | Self::NoPicture => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::PackedBody => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::LongAddress => StatusCode::URI_TOO_LONG,
            Self::LargeHead => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::SlowRequest => StatusCode::REQUEST_TIMEOUT,
            Self::NotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Request(status, _) => *status,
            Self::Crowded | Self::Late(_) | Self::NotReady(_) | Self::NoKeys(_) | Self::Unavailable(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Refused(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The cause, if the error is not the caller's fault.
    fn reason(&self) -> Option<String> {
        match self.source() {
            Some(cause) => Some(chain(cause)),
            None => (self.status() == StatusCode::SERVICE_UNAVAILABLE).then(|| self.to_string()),
        }
    }

    fn response(&self) -> Response {
        let (status, message) = (self.status(), self.to_string());
        let body = ErrorBody { status_code: status.as_u16(), message, data: None };
        let mut response = Json(body).with_status(status).into_response();
        if let Some((name, value)) = self.header() {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }

    /// The header with the remedy for clients.
    fn header(&self) -> Option<(HeaderName, &'static str)> {
        match self {
            Self::NoAuthor => Some((header::WWW_AUTHENTICATE, "Name realm=\"postagram\"")),
            Self::NoToken => Some((header::WWW_AUTHENTICATE, "Bearer realm=\"postagram\"")),
            Self::BadToken(_) => {
                Some((header::WWW_AUTHENTICATE, "Bearer realm=\"postagram\", error=\"invalid_token\""))
            }
            Self::NotAllowed(methods) => Some((header::ALLOW, *methods)),
            _ if self.status() == StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, RETRY_AFTER_S)),
            _ => None,
        }
    }
}

/// The cause of an error, for the log only.
#[derive(Debug, Clone)]
pub(crate) struct Why(pub String);

/// Converts any error into a response; `methods` are the methods allowed at its path.
pub(crate) fn answer(error: poem::Error, methods: &'static str) -> Response {
    let error = understand(error, methods);
    noted(error.response(), &error)
}

/// A response to a browser in place of an error: with the error's header, and its cause for the log.
pub(crate) fn explained(mut response: Response, error: &Error) -> Response {
    if let Some((name, value)) = error.header() {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    noted(response, error)
}

fn noted(mut response: Response, error: &Error) -> Response {
    if let Some(why) = error.reason() {
        response.extensions_mut().insert(Why(why));
    }
    response
}

/// Converts poem's own errors, which have other statuses and do not name the field.
fn understand(error: poem::Error, methods: &'static str) -> Error {
    if error.is::<Error>() {
        return error.downcast().expect("it has just been asked for its type");
    }
    if let Some(ParseParamError { name, .. }) = error.downcast_ref() {
        return Error::field(name, "it is missing or cannot be read");
    }
    if let Some(ParseRequestPayloadError { reason }) = error.downcast_ref() {
        return Error::field("body", reason);
    }
    let message = match error.status() {
        StatusCode::NOT_FOUND => "there is nothing here".to_owned(),
        StatusCode::METHOD_NOT_ALLOWED => return Error::NotAllowed(methods),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "the body must be application/json".to_owned(),
        _ => error.to_string(),
    };
    Error::Request(error.status(), message)
}

/// The cause of a failed call without AWS's message, which names keys, and so users and their files.
fn cause<E>(operation: &str, error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let (status, code) = (answer.raw().status().as_u16(), error.code().unwrap_or("no code"));
            let request = error.request_id().unwrap_or("without a name");
            format!("S3 answers {operation} with {status}, {code}, to request {request}")
        }
        SdkError::ResponseError(answer) => {
            format!("S3 answers {operation} with {}, which cannot be understood", answer.raw().status().as_u16())
        }
        SdkError::ConstructionFailure(_) => format!("the request {operation} to S3 cannot be built"),
        _ => format!("{operation}: {}", chain(error)),
    }
}

fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl ResponseError for Error {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn as_response(&self) -> Response {
        self.response()
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        if failed.may_pass() { Self::Unavailable(caused(failed)) } else { Self::Refused(caused(failed)) }
    }
}

impl From<CredentialsError> for Error {
    fn from(error: CredentialsError) -> Self {
        Self::Unavailable(caused(error))
    }
}

/// Every error of the API has this format; `document` lists the errors of each operation.
impl ApiResponse for Error {
    fn meta() -> MetaResponses {
        MetaResponses { responses: Vec::new() }
    }

    fn register(registry: &mut Registry) {
        <Json<ErrorBody> as Payload>::register(registry);
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::error::ErrorMetadata;
    use aws_smithy_types::body::SdkBody;

    use super::*;

    const KEY: &str = "ada/018f2f6e-0000-7000-8000-00000000000a/cat.jpg";

    fn answered(status: u16, code: &str) -> Error {
        let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
        response.headers_mut().insert("x-amz-request-id", "4442587FB7D0A2F9");
        let error = ErrorMetadata::builder().code(code).message(KEY).build();
        Error::of_call("DeleteObject", &SdkError::service_error(error, response))
    }

    #[test]
    fn throttling_and_outages_are_retryable() {
        for (status, code) in [
            (400, "ProvisionedThroughputExceededException"),
            (400, "ThrottlingException"),
            (503, "SlowDown"),
            (500, "anything"),
            (200, "no answer of S3"),
        ] {
            assert_eq!(answered(status, code).status(), StatusCode::SERVICE_UNAVAILABLE, "{status} {code}");
        }
    }

    #[test]
    fn refusals_are_internal_errors() {
        assert_eq!(answered(400, "ValidationException").status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answered(403, "AccessDenied").status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn the_log_has_the_request_id_of_a_refusal_and_no_user_name() {
        let error = answered(403, "AccessDenied");
        assert_eq!(
            error.reason().as_deref(),
            Some("S3 answers DeleteObject with 403, AccessDenied, to request 4442587FB7D0A2F9")
        );
        assert!(!error.why().contains("ada"), "{}", error.why());
        let response = HttpResponse::new(200.try_into().unwrap(), SdkBody::from(KEY));
        let unclear: SdkError<ErrorMetadata, _> = SdkError::response_error(KEY, response);
        let error = Error::of_call("DeleteObject", &unclear);
        assert!(!error.why().contains("ada") && error.why().contains("200"), "{}", error.why());
    }

    #[test]
    fn every_retryable_error_has_retry_after_and_a_cause() {
        for (error, why) in [
            (Error::Crowded, "too many requests at once, please try again"),
            (Error::Late(caused("the post kept changing")), "the post kept changing"),
            (Error::NotReady("S3"), "S3 cannot be used now"),
            (Error::Unavailable(caused("no answer")), "no answer"),
        ] {
            let response = answer(error.into(), "GET");
            assert_eq!(response.headers()[header::RETRY_AFTER], RETRY_AFTER_S);
            assert_eq!(response.extensions().get::<Why>().unwrap().0, why);
        }
        assert!(answer(Error::NoPost.into(), "GET").extensions().get::<Why>().is_none());
    }
}
