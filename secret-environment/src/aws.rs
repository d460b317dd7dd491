//! Signed calls, without the SDK's clients of the two services, which would make every function larger and slower to start.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use serde_json::Value;

use crate::Error;

/// How often a call is made, with pauses that double: while AWS is overloaded, or the connection fails.
const ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Lambda ends the initialisation after ten seconds.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// A call of a service with JSON.
pub(crate) struct Call {
    /// The name in signatures and host names.
    pub service: &'static str,
    /// The name in variables for endpoints.
    pub endpoint: &'static str,
    /// The operation.
    pub target: &'static str,
    /// The input.
    pub body: Value,
}

/// The region and the credentials, as Lambda provides them in the environment.
pub(crate) struct Aws {
    region: String,
    credentials: Credentials,
    /// Where every service is, unless it has a variable of its own.
    elsewhere: Option<String>,
    /// For HTTPS, and for HTTP: connections are used again.
    connectors: [OnceLock<SharedHttpConnector>; 2],
}

impl Aws {
    pub(crate) fn of_environment() -> Result<Aws, Error> {
        let required = |name| variable(name).ok_or(Error::Missing(name));
        let (id, secret) = (required("AWS_ACCESS_KEY_ID")?, required("AWS_SECRET_ACCESS_KEY")?);
        let credentials = Credentials::new(id, secret, variable("AWS_SESSION_TOKEN"), None, "environment");
        Ok(Aws::of(required("AWS_REGION")?, credentials, variable("AWS_ENDPOINT_URL")))
    }

    pub(crate) fn of(region: String, credentials: Credentials, elsewhere: Option<String>) -> Aws {
        Aws { region, credentials, elsewhere, connectors: Default::default() }
    }

    fn connector(&self, is_secure: bool) -> &SharedHttpConnector {
        let [https, http] = &self.connectors;
        let settings =
            HttpConnectorSettings::builder().connect_timeout(CONNECT_WITHIN).read_timeout(ANSWER_WITHIN).build();
        let connector = Connector::builder().connector_settings(settings).sleep_impl(TokioSleep::new());
        match is_secure {
            true => https.get_or_init(|| {
                SharedHttpConnector::new(connector.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build())
            }),
            false => http.get_or_init(|| SharedHttpConnector::new(connector.build_http())),
        }
    }

    /// Makes a call. The error is AWS's code and message, or why there is no answer.
    pub(crate) async fn call(&self, call: &Call) -> Result<Value, String> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            match self.attempt(call).await {
                Err(failed) if failed.may_pass && attempt < ATTEMPTS => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    attempt += 1;
                }
                answer => return answer.map_err(|failed| failed.why),
            }
        }
    }

    async fn attempt(&self, call: &Call) -> Result<Value, Failed> {
        let request = self.request(call).map_err(Failed::for_good)?;
        let connector = self.connector(request.uri().starts_with("https:"));
        let lost = |why: String| Failed { why, may_pass: true };
        let mut response = connector.call(request).await.map_err(|error| lost(chain(&error)))?;
        let body = std::mem::replace(response.body_mut(), SdkBody::taken());
        let bytes = aws_smithy_types::byte_stream::ByteStream::new(body).collect().await;
        let bytes = bytes.map_err(|error| lost(chain(&error)))?.into_bytes();
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let status = response.status().as_u16();
        if status == 200 && answer.is_object() {
            return Ok(answer);
        }
        let code = answer["__type"].as_str().unwrap_or_default();
        let code = code.rsplit('#').next().unwrap_or_default();
        let message = answer["message"].as_str().or(answer["Message"].as_str()).unwrap_or_default();
        let may_pass = status >= 500 || status == 429 || code.contains("Throttl") || code == "InternalServiceError";
        Err(Failed { why: format!("{code} {message} (HTTP {status})").trim().to_owned(), may_pass })
    }

    fn request(&self, call: &Call) -> Result<HttpRequest, String> {
        let endpoint = self.endpoint(call);
        let body = call.body.to_string();
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", call.target)];
        let identity = self.credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(call.service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let signable =
            SignableRequest::new("POST", &endpoint, headers.into_iter(), SignableBody::Bytes(body.as_bytes()));
        let signed = signable.and_then(|signable| sign(signable, &parameters)).map_err(|error| error.to_string())?;
        let (instructions, _) = signed.into_parts();
        let mut request = http::Request::builder().method("POST").uri(&endpoint);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut request = request.body(SdkBody::from(body)).map_err(|error| error.to_string())?;
        instructions.apply_to_request_http1x(&mut request);
        request.try_into().map_err(|error| format!("{error}"))
    }

    /// The address of the service: AWS's, or the one that the variables of the SDKs name.
    fn endpoint(&self, call: &Call) -> String {
        let own = variable(&format!("AWS_ENDPOINT_URL_{}", call.endpoint));
        let elsewhere = own.as_ref().or(self.elsewhere.as_ref()).map(|url| url.trim_end_matches('/').to_owned());
        let suffix = if self.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let usual = || format!("https://{}.{}.{suffix}", call.service, self.region);
        format!("{}/", elsewhere.unwrap_or_else(usual))
    }
}

/// Why an attempt failed.
struct Failed {
    why: String,
    may_pass: bool,
}

impl Failed {
    fn for_good(why: String) -> Failed {
        Failed { why, may_pass: false }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
