//! Calls of `DynamoDB`: its JSON over HTTP, signed, and made again where AWS says that it helps.
//!
//! Made here because the SDK's client makes a map of owned values of every row and, for each call, goes through all
//! that any call may need: that was most of what the service did. Addresses, credentials, connections and what is said
//! of time limits and repetitions are the SDK's.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_types::byte_stream::error::Error as BodyError;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use bytes::Bytes;
use serde::Deserialize;
use posts::is_busy;
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{sleep, timeout};

use crate::signing::Signer;

/// The protocol, AWS JSON 1.0.
const CONTENT_TYPE: &str = "application/x-amz-json-1.0";
/// What stands before the name of every operation.
const TARGET: &str = "DynamoDB_20120810.";
/// How many repetitions may fail in a row, shared by all calls: whoever has an outage is not asked three times as much.
/// Each costs five of these, and gives them back if it succeeds; so does, one at a time, what succeeds at once.
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

/// How long a call may take, and how often it is made.
#[derive(Debug)]
struct Manner {
    whole: Duration,
    attempt: Duration,
    attempts: u32,
    /// The longest time before the first repetition; it doubles with each.
    pause: Duration,
    longest_pause: Duration,
}

/// Why a call has no answer that says what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error("DynamoDB answers {status}, {code}: {message}")]
    Refused { status: u16, code: String, message: String },
    #[error("DynamoDB says what cannot be understood")]
    Unclear(#[from] serde_json::Error),
    #[error("DynamoDB does not answer in time")]
    Late,
    #[error("DynamoDB cannot be reached")]
    Unreached(#[from] ConnectorError),
    #[error("DynamoDB's answer does not come to its end")]
    CutOff(#[from] BodyError),
    #[error("there are no credentials")]
    NoCredentials(#[from] CredentialsError),
}

impl Failed {
    /// Whether it may be otherwise in a moment (aws-facts §2.2).
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Refused { status, code, .. } => *status >= 500 || is_busy(code),
            Self::Late | Self::Unreached(_) | Self::CutOff(_) | Self::NoCredentials(_) | Self::Unclear(_) => true,
        }
    }

    /// Whether a condition that was asked for did not hold.
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

    /// The answer to an operation.
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
            if made == attempts || answer.as_ref().is_err_and(|failed| !failed.may_pass()) {
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
        let body = ByteStream::new(response.into_body()).collect().await?.into_bytes();
        if status.is_success() { Ok(body) } else { Err(refused(status.as_u16(), &body)) }
    }
}

/// What an answer that is an error says; one that is not JSON is some machine's on the way.
fn refused(status: u16, body: &[u8]) -> Failed {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Told {
        #[serde(rename = "__type")]
        kind: String,
        #[serde(alias = "Message")]
        message: String,
    }
    let Told { kind, message } = serde_json::from_slice(body).unwrap_or_default();
    // `com.amazonaws.dynamodb.v20120810#ResourceNotFoundException`.
    let code = kind.rsplit_once('#').map_or(kind.as_str(), |(_, code)| code).to_owned();
    Failed::Refused { status, code, message }
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

    /// Some part of the longest time, so that not all come back at once.
    fn pause_before(&self, repetition: u32) -> Duration {
        let longest = self.pause.saturating_mul(2_u32.saturating_pow(repetition - 1)).min(self.longest_pause);
        longest.mul_f64(fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;
    use aws_smithy_runtime_api::client::http::HttpConnectorFuture;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use serde_json::json;

    use super::*;
    use crate::signing::Place;

    /// Status and body; nothing if the connection is reset.
    type Answer = Option<(u16, &'static str)>;

    /// Answers with each of these in turn, and with the last for ever; and how many calls there were.
    #[derive(Debug, Clone)]
    struct Answers(Arc<Mutex<(Vec<Answer>, usize)>>);

    impl HttpConnector for Answers {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            let (answers, calls) = &mut *self.0.lock().unwrap();
            let answer = answers[(*calls).min(answers.len() - 1)];
            *calls += 1;
            HttpConnectorFuture::ready(match answer {
                Some((status, body)) => Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body))),
                None => Err(ConnectorError::io("reset".into())),
            })
        }
    }

    impl Answers {
        fn of(answers: &[Answer]) -> Self {
            Self(Arc::new(Mutex::new((answers.to_vec(), 0))))
        }

        fn client(&self) -> DynamoDb {
            let (origin, path) = ("http://127.0.0.1:1".to_owned(), String::new());
            let place = Place { origin, path, region: "us-east-1".to_owned(), service: "dynamodb".to_owned() };
            let credentials = Credentials::new("AKID", "secret", None, None, "test");
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
    const WRONG: Answer = Some((400, r#"{"__type":"com.amazon.coral.validate#ValidationException","message":"no"}"#));

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_asked_again_and_nothing_else() {
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
    async fn a_refusal_is_told_with_its_code() {
        let refused = Answers::of(&[WRONG]).client().call("GetItem", &json!({})).await.unwrap_err();
        assert_eq!(refused.to_string(), "DynamoDB answers 400, ValidationException: no");
        assert!(!refused.is_unmet_condition());
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_an_outage_is_not_asked_three_times_as_much_for_long() {
        let cloud = Answers::of(&[BROKEN]);
        let client = cloud.client();
        for _ in 0..QUOTA {
            client.call("GetItem", &json!({})).await.unwrap_err();
        }
        // Every call once, and as many repetitions as there is quota for.
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
    async fn nobody_waits_for_ever() {
        #[derive(Debug)]
        struct Silence;
        impl HttpConnector for Silence {
            fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
                HttpConnectorFuture::new(std::future::pending())
            }
        }
        let place = Place { origin: "http://a".into(), path: String::new(), region: "r".into(), service: "s".into() };
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
