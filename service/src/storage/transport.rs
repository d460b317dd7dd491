//! The HTTP client: trust, connection pools, and limits on answers.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::timeout::TimeoutConfig;
use http_body_util::Limited;
use parking_lot::Mutex;
use rustls::RootCertStore;
use thread_local::ThreadLocal;

/// The SDK's default.
const TLS: Provider = Provider::Rustls(CryptoMode::AwsLc);
/// The largest answer accepted from AWS: the limit of `BatchGetItem`.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// The largest answer from sources of credentials and of published keys.
const MAX_SMALL_BYTES: usize = 256 * 1024;

/// Whether this machine has CA certificates.
static HAS_CERTIFICATES: LazyLock<bool> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs().certs;
    RootCertStore::empty().add_parsable_certificates(found).0 > 0
});

/// Whether this machine has CA certificates. Reading them takes milliseconds.
pub(crate) fn has_certificates() -> bool {
    *HAS_CERTIFICATES
}

/// The client for AWS.
pub(crate) fn of_aws(timeouts: Option<&TimeoutConfig>) -> SharedHttpConnector {
    let mut settings = HttpConnectorSettings::builder();
    settings.set_connect_timeout(timeouts.and_then(TimeoutConfig::connect_timeout));
    let connectors = OfEachThread { settings: settings.build(), connectors: ThreadLocal::new() };
    SharedHttpConnector::new(Bounded { inner: SharedHttpConnector::new(connectors), most: MAX_ANSWER_BYTES })
}

/// The client for the issuer of keys.
pub(crate) fn of_published_keys() -> SharedHttpConnector {
    small(&HttpConnectorSettings::default())
}

/// The client for sources of credentials: instance metadata, SSO, STS.
#[derive(Debug, Default)]
pub(crate) struct OfCredentials(Mutex<HashMap<Timeouts, SharedHttpConnector>>);

/// The timeouts for connecting and for the answer.
type Timeouts = (Option<Duration>, Option<Duration>);

impl HttpClient for OfCredentials {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let mut connectors = self.0.lock();
        let key = (settings.connect_timeout(), settings.read_timeout());
        connectors.entry(key).or_insert_with(|| small(settings)).clone()
    }
}

fn small(settings: &HttpConnectorSettings) -> SharedHttpConnector {
    SharedHttpConnector::new(Bounded { inner: SharedHttpConnector::new(connector(settings)), most: MAX_SMALL_BYTES })
}

fn connector(settings: &HttpConnectorSettings) -> Connector {
    let builder = Connector::builder().tls_provider(TLS).connector_settings(settings.clone());
    match has_certificates() {
        true => builder.build(),
        // Trusts no certificate, so only plain HTTP works: the SDK's default would panic in some builds.
        false => {
            let none = TlsContext::builder().with_trust_store(TrustStore::empty()).build();
            builder.tls_context(none.expect("an empty store is valid")).build()
        }
    }
}

/// Connection pools per thread, so that no other thread has to wake the caller.
#[derive(Debug)]
struct OfEachThread {
    settings: HttpConnectorSettings,
    connectors: ThreadLocal<SharedHttpConnector>,
}

impl HttpConnector for OfEachThread {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.connectors.get_or(|| SharedHttpConnector::new(connector(&self.settings))).call(request)
    }
}

/// Limits the size of answers, and rejects successes that are not AWS's: a machine on the path, such as a captive
/// portal, may answer in its place.
#[derive(Debug)]
struct Bounded {
    inner: SharedHttpConnector,
    most: usize,
}

impl HttpConnector for Bounded {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (deletes, most) = (request.method() == "DELETE", self.most);
        let called = self.inner.call(request);
        HttpConnectorFuture::new(async move {
            let answer = called.await?;
            // S3 answers 204 No Content (API reference, DeleteObject), and only S3 is called with this method.
            let is_foreign =
                answer.status().is_success() && (is_for_people(&answer) || deletes && answer.status().as_u16() != 204);
            match is_foreign {
                true => Err(other("the answer is not AWS's")),
                false => bounded(answer, most),
            }
        })
    }
}

fn is_for_people(answer: &HttpResponse) -> bool {
    answer.headers().get("content-type").is_some_and(|kind| kind.trim_start().starts_with("text/html"))
}

fn bounded(answer: HttpResponse, most: usize) -> Result<HttpResponse, ConnectorError> {
    match answer.body().content_length() {
        Some(length) if length > most as u64 => Err(other("the answer is too large")),
        Some(_) => Ok(answer),
        None => Ok(answer.map(|body| SdkBody::from_body_1_x(Limited::new(body, most)))),
    }
}

fn other(why: &'static str) -> ConnectorError {
    ConnectorError::other(why.into(), None)
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::byte_stream::ByteStream;
    use bytes::Bytes;
    use futures::StreamExt;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    /// Answers with this status, content type and body size; the length is not announced.
    #[derive(Debug, Clone)]
    struct Says(u16, &'static str, usize);

    impl HttpConnector for Says {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            let Self(status, kind, parts) = *self;
            let parts = futures::stream::repeat(Bytes::from_static(&[b' '; 1024])).take(parts);
            let body = StreamBody::new(parts.map(|part| Ok::<_, std::io::Error>(Frame::data(part))));
            let mut answer = HttpResponse::new(status.try_into().unwrap(), SdkBody::from_body_1_x(body));
            answer.headers_mut().insert("content-type", kind);
            HttpConnectorFuture::ready(Ok(answer))
        }
    }

    async fn read(says: Says, method: &str) -> Result<usize, String> {
        let bounded = Bounded { inner: SharedHttpConnector::new(says), most: 8 * 1024 };
        let mut request = HttpRequest::empty();
        request.set_method(method).unwrap();
        let answer = bounded.call(request).await.map_err(|error| error.to_string())?;
        let body = ByteStream::new(answer.into_body()).collect().await.map_err(|error| error.to_string())?;
        Ok(body.into_bytes().len())
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut_off() {
        for (parts, ends_well) in [(0, true), (8, true), (9, false), (usize::MAX, false)] {
            assert_eq!(read(Says(200, "application/json", parts), "POST").await.is_ok(), ends_well, "{parts}");
        }
    }

    #[tokio::test]
    async fn a_success_that_is_not_from_aws_is_an_error() {
        for (status, kind, method, is_ours) in [
            (200, "text/html; charset=utf-8", "POST", false),
            (200, "text/html", "GET", false),
            (200, "application/xml", "DELETE", false),
            (204, "application/xml", "DELETE", true),
            (503, "text/html", "POST", true),
            (200, "application/xml", "GET", true),
        ] {
            assert_eq!(read(Says(status, kind, 1), method).await.is_ok(), is_ours, "{status} {kind} {method}");
        }
    }
}
