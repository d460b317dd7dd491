//! A client for the few operations of `DynamoDB` that the service uses: JSON over HTTP, signed, retried where AWS
//! recommends it.
//!
//! The SDK's client turns every row into a map of owned values and runs all its interceptors for each call, which was
//! most of the service's work. Endpoints, credentials, connections, time limits and retries still come from the SDK.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::operation::RequestId;
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_types::byte_stream::error::Error as BodyError;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use bytes::Bytes;
use posts::is_busy;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{sleep, timeout};

use crate::storage::sigv4::Signer;

/// The protocol, AWS JSON 1.0.
const CONTENT_TYPE: &str = "application/x-amz-json-1.0";
/// The prefix of every operation's name.
const TARGET: &str = "DynamoDB_20120810.";
/// The retry budget, shared by all calls, so that an outage does not triple the load. A retry costs five tokens, which
/// its success returns; each success at the first attempt returns one.
const QUOTA: usize = 500;
const COST: u32 = 5;

/// The client; clones share its connections.
#[derive(Debug, Clone)]
pub(crate) struct DynamoDb(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: SharedHttpConnector,
    signer: Signer,
    manner: Manner,
    quota: Semaphore,
}

/// The time limit and the number of attempts.
#[derive(Debug)]
struct Manner {
    whole: Duration,
    attempt: Duration,
    attempts: u32,
    /// The longest delay before the first retry; it doubles with each retry.
    pause: Duration,
    longest_pause: Duration,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// Without AWS's message, which may contain users' texts.
    #[error("DynamoDB answers {operation} with {status}, {code}, to request {request}")]
    Refused { operation: String, status: u16, code: String, request: String },
    /// Without the parser's message, for the same reason: only the position.
    #[error("DynamoDB's answer cannot be parsed, at byte {} of line {}", .0.column(), .0.line())]
    Unclear(serde_json::Error),
    /// From a captive portal, a proxy or another machine on the path.
    #[error("the answer with status {0} is not a JSON object, so it is not DynamoDB's")]
    Foreign(u16),
    /// Reading further would never end.
    #[error("DynamoDB's pages repeat")]
    Circle,
    #[error("DynamoDB's pages do not end")]
    Endless,
    #[error("DynamoDB does not answer in time")]
    Late,
    #[error("DynamoDB cannot be reached")]
    Unreached(#[from] ConnectorError),
    #[error("DynamoDB's answer is incomplete")]
    CutOff(#[from] BodyError),
    #[error("there are no credentials")]
    NoCredentials(#[from] CredentialsError),
}

impl From<serde_json::Error> for Failed {
    fn from(error: serde_json::Error) -> Self {
        Self::Unclear(error)
    }
}

impl Failed {
    /// Whether the call may succeed in a moment (docs/aws.md §2.2).
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Refused { status, code, .. } => *status >= 500 || is_busy(code),
            Self::Late
            | Self::Unreached(_)
            | Self::CutOff(_)
            | Self::NoCredentials(_)
            | Self::Unclear(_)
            | Self::Foreign(_)
            | Self::Circle
            | Self::Endless => true,
        }
    }

    /// Whether an immediate retry may succeed. Not without credentials: their source has retries of its own.
    fn may_pass_at_once(&self) -> bool {
        self.may_pass() && !matches!(self, Self::NoCredentials(_))
    }

    /// Whether the condition of a write was not met.
    pub(crate) fn is_unmet_condition(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "ConditionalCheckFailedException")
    }
}

impl DynamoDb {
    pub(crate) fn new(
        http: SharedHttpConnector,
        signer: Signer,
        timeouts: Option<&TimeoutConfig>,
        retries: Option<&RetryConfig>,
    ) -> Self {
        let manner = Manner::of(timeouts, retries);
        Self(Arc::new(Inner { http, signer, manner, quota: Semaphore::new(QUOTA) }))
    }

    /// Performs an operation whose result is not needed.
    pub(crate) async fn perform(&self, operation: &str, request: &Value) -> Result<(), Failed> {
        let answer = self.call(operation, request).await?;
        serde_json::from_slice::<HashMap<Cow<'_, str>, IgnoredAny>>(&answer)?;
        Ok(())
    }

    /// Returns the answer to an operation; it begins like a JSON object.
    pub(crate) async fn call(&self, operation: &str, request: &Value) -> Result<Bytes, Failed> {
        let (target, body) = (format!("{TARGET}{operation}"), Bytes::from(request.to_string()));
        timeout(self.0.manner.whole, self.0.call(&target, &body)).await.unwrap_or(Err(Failed::Late))
    }
}

impl Inner {
    async fn call(&self, target: &str, body: &Bytes) -> Result<Bytes, Failed> {
        let Manner { attempt, attempts, .. } = self.manner;
        let mut lent: Option<SemaphorePermit<'_>> = None;
        let mut made = 0;
        loop {
            made += 1;
            let answer = timeout(attempt, self.once(target, body)).await.unwrap_or(Err(Failed::Late));
            if answer.is_ok() {
                match lent {
                    Some(lent) => drop(lent),
                    None if self.quota.available_permits() < QUOTA => self.quota.add_permits(1),
                    None => (),
                }
                return answer;
            }
            lent.into_iter().for_each(SemaphorePermit::forget);
            if made == attempts || answer.as_ref().is_err_and(|failed| !failed.may_pass_at_once()) {
                return answer;
            }
            let Ok(permit) = self.quota.try_acquire_many(COST) else { return answer };
            lent = Some(permit);
            sleep(self.manner.pause_before(made)).await;
        }
    }

    async fn once(&self, target: &str, body: &Bytes) -> Result<Bytes, Failed> {
        let now = SystemTime::now();
        let keys = self.signer.keys(now).await?;
        let signed = self.signer.headers(&keys, now, CONTENT_TYPE, target, body);
        let mut request = HttpRequest::new(SdkBody::from(body.clone()));
        let place = request.set_method("POST").and_then(|()| request.set_uri(self.signer.root()));
        place.map_err(|error| ConnectorError::user(error.into()))?;
        for (name, value) in
            [("content-type", CONTENT_TYPE.to_owned()), ("x-amz-target", target.to_owned())].into_iter().chain(signed)
        {
            let added = request.headers_mut().try_insert(name, value);
            added.map_err(|error| ConnectorError::user(error.into()))?;
        }
        let response = self.http.call(request).await?;
        let status = response.status();
        let id = if status.is_success() { None } else { response.headers().request_id().map(str::to_owned) };
        let body = ByteStream::new(response.into_body()).collect().await?.into_bytes();
        match status.is_success() {
            true if body.trim_ascii_start().starts_with(b"{") => Ok(body),
            true => Err(Failed::Foreign(status.as_u16())),
            false => Err(refused(target, status.as_u16(), id, &body)),
        }
    }
}

/// Parses an error. Errors that are not JSON are from another machine on the path.
fn refused(target: &str, status: u16, id: Option<String>, body: &[u8]) -> Failed {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct ErrorType {
        #[serde(rename = "__type")]
        kind: String,
    }
    let ErrorType { kind } = serde_json::from_slice(body).unwrap_or_default();
    // `com.amazonaws.dynamodb.v20120810#ResourceNotFoundException`.
    let code = kind.rsplit_once('#').map_or(kind.as_str(), |(_, code)| code);
    let code = if code.is_empty() { "no code" } else { code }.to_owned();
    let operation = target.strip_prefix(TARGET).unwrap_or(target).to_owned();
    Failed::Refused { operation, status, code, request: id.unwrap_or_else(|| "without a name".to_owned()) }
}

impl Manner {
    fn of(timeouts: Option<&TimeoutConfig>, retries: Option<&RetryConfig>) -> Self {
        let of_timeouts = |read: fn(&TimeoutConfig) -> Option<Duration>| timeouts.and_then(read);
        let (standard, retries) = (RetryConfig::standard(), retries);
        let retries = retries.unwrap_or(&standard);
        Self {
            whole: of_timeouts(TimeoutConfig::operation_timeout).unwrap_or(Duration::MAX),
            attempt: of_timeouts(TimeoutConfig::operation_attempt_timeout).unwrap_or(Duration::MAX),
            attempts: retries.max_attempts(),
            pause: retries.initial_backoff(),
            longest_pause: retries.max_backoff(),
        }
    }

    /// Random jitter up to the longest delay, so that retries are spread out.
    fn pause_before(&self, repetition: u32) -> Duration {
        let longest = self.pause.saturating_mul(2_u32.saturating_pow(repetition - 1)).min(self.longest_pause);
        longest.mul_f64(fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_credential_types::Credentials;
    use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
    use aws_smithy_runtime_api::client::http::HttpConnectorFuture;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use serde_json::json;

    use super::*;
    use crate::storage::sigv4::Destination;

    /// Status and body; `None` resets the connection.
    type Answer = Option<(u16, &'static str)>;

    /// Answers with each of these in turn and then repeats the last; counts the calls.
    #[derive(Debug, Clone)]
    struct Answers(Arc<Mutex<(Vec<Answer>, usize)>>);

    impl HttpConnector for Answers {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            let (answers, calls) = &mut *self.0.lock().unwrap();
            let answer = answers[(*calls).min(answers.len() - 1)];
            *calls += 1;
            HttpConnectorFuture::ready(match answer {
                Some((status, body)) => {
                    let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
                    response.headers_mut().insert("x-amzn-requestid", "R1");
                    Ok(response)
                }
                None => Err(ConnectorError::io("reset".into())),
            })
        }
    }

    impl Answers {
        fn of(answers: &[Answer]) -> Self {
            Self(Arc::new(Mutex::new((answers.to_vec(), 0))))
        }

        fn client(&self) -> DynamoDb {
            self.client_of(Credentials::new("AKID", "secret", None, None, "test"))
        }

        fn client_of(&self, credentials: impl ProvideCredentials + 'static) -> DynamoDb {
            let (origin, path) = ("http://127.0.0.1:1".to_owned(), String::new());
            let place = Destination { origin, path, region: "us-east-1".to_owned(), service: "dynamodb".to_owned() };
            let signer = Signer::new(place, SharedCredentialsProvider::new(credentials));
            DynamoDb::new(SharedHttpConnector::new(self.clone()), signer, None, Some(&RetryConfig::standard()))
        }

        fn calls(&self) -> usize {
            self.0.lock().unwrap().1
        }
    }

    const OK: Answer = Some((200, "{}"));
    const BROKEN: Answer = Some((500, "<html>"));
    const THROTTLED: Answer =
        Some((400, r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}"#));
    const WRONG: Answer =
        Some((400, r#"{"__type":"com.amazon.coral.validate#ValidationException","message":"USER#ada is no map"}"#));

    #[tokio::test(start_paused = true)]
    async fn only_transient_errors_are_retried() {
        for (answers, calls, ends_well) in [
            (&[OK][..], 1, true),
            (&[THROTTLED, BROKEN, OK], 3, true),
            (&[None, OK], 2, true),
            (&[BROKEN], 3, false),
            (&[WRONG], 1, false),
        ] {
            let cloud = Answers::of(answers);
            let answer = cloud.client().call("GetItem", &json!({})).await;
            assert_eq!((cloud.calls(), answer.is_ok()), (calls, ends_well), "{answers:?}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_logged_with_its_code_and_without_its_message() {
        for (answer, expected) in [
            (WRONG, "DynamoDB answers GetItem with 400, ValidationException, to request R1"),
            (BROKEN, "DynamoDB answers GetItem with 500, no code, to request R1"),
        ] {
            let refused = Answers::of(&[answer]).client().call("GetItem", &json!({})).await.unwrap_err();
            assert_eq!(refused.to_string(), expected);
            assert!(!refused.is_unmet_condition());
        }
        let unclear = Failed::from(serde_json::from_str::<u32>("\"ada\"").unwrap_err());
        assert_eq!(unclear.to_string(), "DynamoDB's answer cannot be parsed, at byte 5 of line 1");
        assert!(unclear.source().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_malformed_answer_is_an_error() {
        for (answer, calls) in [
            ("", 3),
            ("<html>Log in to the network</html>", 3),
            ("[]", 3),
            ("null", 3),
            ("\u{1f}\u{8b}gzip", 3),
            ("{", 1),
            ("{}<html>", 1),
            ("{\"a\":}", 1),
        ] {
            let cloud = Answers::of(&[Some((200, answer))]);
            let failed = cloud.client().perform("PutItem", &json!({})).await.unwrap_err();
            assert!(failed.may_pass(), "{answer}: {failed:?}");
            assert_eq!(cloud.calls(), calls, "{answer}");
        }
        for answer in ["{}", " {\"ConsumedCapacity\":{\"TableName\":\"posts\"}}\n"] {
            Answers::of(&[Some((200, answer))]).client().perform("PutItem", &json!({})).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn missing_credentials_are_not_looked_up_again() {
        #[derive(Debug, Clone, Default)]
        struct NoCredentials(Arc<AtomicUsize>);
        impl ProvideCredentials for NoCredentials {
            fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
            where
                Self: 'a,
            {
                self.0.fetch_add(1, Ordering::Relaxed);
                future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("there are none")))
            }
        }
        let (provider, cloud) = (NoCredentials::default(), Answers::of(&[OK]));
        let failed = cloud.client_of(provider.clone()).call("GetItem", &json!({})).await.unwrap_err();
        assert!(matches!(failed, Failed::NoCredentials(_)) && failed.may_pass(), "{failed:?}");
        assert_eq!((provider.0.load(Ordering::Relaxed), cloud.calls()), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn retries_are_limited_during_an_outage() {
        let cloud = Answers::of(&[BROKEN]);
        let client = cloud.client();
        for _ in 0..QUOTA {
            client.call("GetItem", &json!({})).await.unwrap_err();
        }
        // Each call once, and as many retries as the budget allows.
        assert_eq!(cloud.calls(), QUOTA + QUOTA / COST as usize);
        cloud.0.lock().unwrap().0 = vec![OK];
        for _ in 0..COST {
            client.call("GetItem", &json!({})).await.unwrap();
        }
        cloud.0.lock().unwrap().0 = vec![BROKEN];
        let before = cloud.calls();
        client.call("GetItem", &json!({})).await.unwrap_err();
        assert_eq!(cloud.calls() - before, 2, "what succeeds makes room for repetitions again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_never_ends_times_out() {
        #[derive(Debug)]
        struct Silence;
        impl HttpConnector for Silence {
            fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
                HttpConnectorFuture::new(std::future::pending())
            }
        }
        let place =
            Destination { origin: "http://a".into(), path: String::new(), region: "r".into(), service: "s".into() };
        let credentials = SharedCredentialsProvider::new(Credentials::new("AKID", "secret", None, None, "test"));
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(Duration::from_secs(4))
            .operation_timeout(Duration::from_secs(10))
            .build();
        let http = SharedHttpConnector::new(Silence);
        let client = DynamoDb::new(http, Signer::new(place, credentials), Some(&timeouts), None);
        let begun = tokio::time::Instant::now();
        let failed = client.call("GetItem", &json!({})).await.unwrap_err();
        assert!(matches!(failed, Failed::Late), "{failed:?}");
        assert!(begun.elapsed() <= Duration::from_secs(10));
    }
}
