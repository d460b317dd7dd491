//! What can go wrong, each with its status, and the one shape in which it is told.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use poem::error::ResponseError;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::error::{ParseParamError, ParseRequestPayloadError};
use poem_openapi::payload::{Json, Payload};
use poem_openapi::registry::{MetaResponses, Registry};
use poem_openapi::{ApiResponse, Object};

use posts::is_busy;
use crate::dynamodb::Failed;

/// A request that is not answered with what it asked for; what is displayed may be told to anyone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("say who you are: the Authorization header holds your name")]
    NoAuthor,
    #[error("say who you are: the Authorization header holds `Bearer` and a token")]
    NoToken,
    #[error("the token is not accepted: {0}")]
    BadToken(&'static str),
    #[error("{0}: {1}")]
    Field(&'static str, String),
    #[error("you have no post with this id")]
    NoPost,
    #[error("the request is larger than 64 KiB")]
    TooLarge,
    #[error("the body must come as it is, without Content-Encoding")]
    PackedBody,
    #[error("the address is longer than 8 KiB")]
    LongAddress,
    #[error("the headers are larger than 16 KiB")]
    LargeHead,
    #[error("the request did not come to its end in time")]
    SlowRequest,
    #[error("this can be done here: {0}")]
    NotAllowed(&'static str),
    #[error("{1}")]
    Request(StatusCode, String),
    #[error("too much is asked at once, please try again")]
    Crowded,
    #[error("this took too long, please try again")]
    Late,
    #[error("{0} cannot be used now")]
    NotReady(&'static str),
    #[error("tokens cannot be checked now, please try again")]
    NoKeys(#[source] Cause),
    #[error("the storage cannot be reached now, please try again")]
    Unavailable(#[source] Cause),
    #[error("the storage refused what the service asked for")]
    Refused(#[source] Cause),
}

pub(crate) type Cause = Box<dyn StdError + Send + Sync>;

/// The body of every answer that is an error.
#[derive(Debug, Object)]
#[oai(rename = "Error")]
struct Told {
    /// The status of the answer.
    status_code: u16,
    /// What is wrong, for people.
    message: String,
    /// Always null.
    data: Option<String>,
}

/// After how many seconds a client may try again: longer than the bursts in which AWS throttles.
const RETRY_AFTER_S: &str = "2";

impl Error {
    /// The error of a field or parameter.
    pub(crate) fn field(name: &'static str, why: impl ToString) -> Self {
        Self::Field(name, why.to_string())
    }

    /// What is behind it, for the log.
    pub(crate) fn why(&self) -> String {
        chain(self)
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoAuthor | Self::NoToken | Self::BadToken(_) => StatusCode::UNAUTHORIZED,
            Self::Field(..) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NoPost => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::PackedBody => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::LongAddress => StatusCode::URI_TOO_LONG,
            Self::LargeHead => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::SlowRequest => StatusCode::REQUEST_TIMEOUT,
            Self::NotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Request(status, _) => *status,
            Self::Crowded | Self::Late | Self::NotReady(_) | Self::NoKeys(_) | Self::Unavailable(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Refused(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn response(&self) -> Response {
        let (status, message) = (self.status(), self.to_string());
        let told = Told { status_code: status.as_u16(), message, data: None };
        let mut response = Json(told).with_status(status).into_response();
        let more = match self {
            Self::NoAuthor => Some((header::WWW_AUTHENTICATE, "Name realm=\"postagram\"")),
            Self::NoToken => Some((header::WWW_AUTHENTICATE, "Bearer realm=\"postagram\"")),
            Self::BadToken(_) => {
                Some((header::WWW_AUTHENTICATE, "Bearer realm=\"postagram\", error=\"invalid_token\""))
            }
            Self::NotAllowed(methods) => Some((header::ALLOW, *methods)),
            _ if status == StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, RETRY_AFTER_S)),
            _ => None,
        };
        if let Some((name, value)) = more {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// Why an answer is an error, for the log and nobody else.
#[derive(Debug, Clone)]
pub(crate) struct Why(pub String);

/// The answer to whatever went wrong where only these methods can be used.
pub(crate) fn answer(error: poem::Error, methods: &'static str) -> Response {
    let error = understand(error, methods);
    let mut response = error.response();
    if let Some(cause) = error.source() {
        response.extensions_mut().insert(Why(chain(cause)));
    }
    response
}

/// poem's own errors come with other statuses, and without the field's name in front.
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

fn chain(error: &dyn StdError) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    told
}

impl ResponseError for Error {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn as_response(&self) -> Response {
        self.response()
    }
}

impl<E> From<SdkError<E, HttpResponse>> for Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let busy = match &error {
            SdkError::ServiceError(answer) => {
                answer.raw().status().is_server_error() || error.code().is_some_and(is_busy)
            }
            SdkError::ConstructionFailure(_) => false,
            _ => true,
        };
        if busy { Self::Unavailable(error.into()) } else { Self::Refused(error.into()) }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        if failed.may_pass() { Self::Unavailable(failed.into()) } else { Self::Refused(failed.into()) }
    }
}

impl From<CredentialsError> for Error {
    fn from(error: CredentialsError) -> Self {
        Self::Unavailable(error.into())
    }
}

/// Every answer of the API that is an error has this shape; which ones an operation has is in `document`.
impl ApiResponse for Error {
    fn meta() -> MetaResponses {
        MetaResponses { responses: Vec::new() }
    }

    fn register(registry: &mut Registry) {
        <Json<Told> as Payload>::register(registry);
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::error::ErrorMetadata;
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn status(of_aws: u16, code: &str) -> StatusCode {
        let status = of_aws.try_into().unwrap();
        let error = ErrorMetadata::builder().code(code).message("secret").build();
        let error = Error::from(SdkError::service_error(error, HttpResponse::new(status, SdkBody::empty())));
        assert!(!error.to_string().contains("secret"));
        error.status()
    }

    #[test]
    fn throttling_and_outages_may_be_tried_again() {
        assert_eq!(status(400, "ProvisionedThroughputExceededException"), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(400, "ThrottlingException"), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(503, "SlowDown"), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(500, "anything"), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn refusals_are_ours_to_mend() {
        assert_eq!(status(400, "ValidationException"), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(status(403, "AccessDenied"), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
