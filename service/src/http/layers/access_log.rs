//! The outermost layer: a log line, a count and a request id for each request.

use std::sync::Arc;
use std::time::Instant;

use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use poem::{Endpoint, IntoResponse, Request, Response, Result};

use crate::http::error::Why;
use crate::http::route::Route;
use crate::metrics::Metrics;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// Counts requests, gives each an id, and logs one line for each, without paths, queries or bodies: those contain ids,
/// names and users' texts.
pub(crate) async fn access_log<E: Endpoint>(next: Arc<E>, request: Request, metrics: Arc<Metrics>) -> Result<Response> {
    let route = Route::of(request.method(), request.uri().path());
    let under_way = UnderWay::begin(metrics, route, request_id(request.headers()));
    let mut response = next.call(request).await?.into_response();
    let id = under_way.answered(response.status(), response.extensions_mut().remove());
    response.headers_mut().insert(REQUEST_ID, id);
    Ok(response)
}

/// A request in progress. If it is dropped without an answer, the client has disconnected or the service had to stop.
struct UnderWay {
    metrics: Arc<Metrics>,
    route: Route,
    id: HeaderValue,
    since: Instant,
    answered: bool,
}

impl UnderWay {
    fn begin(metrics: Arc<Metrics>, route: Route, id: HeaderValue) -> Self {
        metrics.begun();
        Self { metrics, route, id, since: Instant::now(), answered: false }
    }

    /// Counts the answer and logs its line; returns the request id.
    fn answered(mut self, status: StatusCode, why: Option<Why>) -> HeaderValue {
        self.answered = true;
        let took = self.since.elapsed();
        self.metrics.answered(&self.route, status, took);
        let Route { method, path } = self.route;
        let (request, status, ms) = (self.name(), status.as_u16(), took.as_secs_f64() * 1000.0);
        match why {
            // Temporary, or not caused by the service.
            Some(Why(cause)) if status == 503 => {
                tracing::warn!(request, method, path, status, ms, cause, "answered");
            }
            Some(Why(cause)) => tracing::error!(request, method, path, status, ms, cause, "answered"),
            // Load balancers send a health check every few seconds, and browsers a preflight before every call.
            None if self.route.is_chatter() => tracing::debug!(request, method, path, status, ms, "answered"),
            None => tracing::info!(request, method, path, status, ms, "answered"),
        }
        self.id.clone()
    }

    fn name(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        self.metrics.unanswered(&self.route);
        let (Route { method, path }, ms) = (self.route, self.since.elapsed().as_secs_f64() * 1000.0);
        tracing::info!(request = self.name(), method, path, ms, "unanswered");
    }
}

/// Returns the load balancer's id of the request, so that both logs can be correlated, or a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    // In `Self=…;Root=1-67891233-abcdef012345678912345678`, the root is the same at every hop.
    let given = headers.get(TRACE_ID).and_then(|value| value.to_str().ok());
    let root = given.and_then(|value| value.split(';').find_map(|part| part.trim().strip_prefix("Root=")));
    let root = root.filter(|id| (1..=64).contains(&id.len()) && id.bytes().all(is_of_an_id));
    let id = root.map_or_else(|| HeaderValue::from_str(&format!("{:032x}", fastrand::u128(..))), HeaderValue::from_str);
    id.expect("letters, digits and hyphens may stand in a header")
}

fn is_of_an_id(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(trace: &'static str) -> String {
        let headers = HeaderMap::from_iter([(TRACE_ID, HeaderValue::from_static(trace))]);
        request_id(&headers).to_str().unwrap().to_owned()
    }

    #[test]
    fn the_request_id_is_that_of_the_load_balancer() {
        let root = "1-67891233-abcdef012345678912345678";
        assert_eq!(id("Root=1-67891233-abcdef012345678912345678"), root);
        assert_eq!(
            id("Self=1-67891234-12456789abcdef012345678;Root=1-67891233-abcdef012345678912345678;Sampled=0"),
            root
        );
    }

    #[test]
    fn an_invalid_trace_header_gets_a_new_request_id() {
        for other in ["", "Root=", "Root=a b", "Root=\"}{", "Self=1-2-3", "garbage"] {
            let given = id(other);
            assert!(given.len() == 32 && given.bytes().all(|byte| byte.is_ascii_hexdigit()), "{other}: {given}");
        }
        assert_ne!(id(""), id(""));
    }
}
