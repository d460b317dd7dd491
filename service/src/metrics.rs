//! Metrics for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use poem::http::{StatusCode, header};
use poem::{Endpoint, EndpointExt, Response, Route, get};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::http::route;

/// The counts since the start.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<ResponseLabels, Counter>,
    durations: Family<RequestLabels, Histogram, fn() -> Histogram>,
    unanswered: Family<RequestLabels, Counter>,
    under_way: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    path: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResponseLabels {
    method: &'static str,
    path: &'static str,
    status: u16,
}

/// The upper bounds of the duration buckets, in seconds: from requests without storage to the time limit.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0];

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("postagram");
        let requests = Family::default();
        let durations: Family<_, _, fn() -> Histogram> = Family::new_with_constructor(|| Histogram::new(BUCKETS));
        let (unanswered, under_way) = (Family::default(), Gauge::default());
        registry.register("requests", "Requests that were answered", requests.clone());
        let help = "Time to answer a request";
        registry.register_with_unit("request_duration", help, Unit::Seconds, durations.clone());
        registry.register("requests_unanswered", "Requests abandoned by their clients", unanswered.clone());
        registry.register("requests_under_way", "Requests in progress", under_way.clone());
        registry.register("build", "The running version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self { registry, requests, durations, unanswered, under_way }
    }
}

impl Metrics {
    /// Counts a request in progress, until it is answered or abandoned.
    pub(crate) fn begun(&self) {
        self.under_way.inc();
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, route: &route::Route, status: StatusCode, took: Duration) {
        self.under_way.dec();
        let route::Route { method, path } = *route;
        self.requests.get_or_create(&ResponseLabels { method, path, status: status.as_u16() }).inc();
        self.durations.get_or_create(&RequestLabels { method, path }).observe(took.as_secs_f64());
    }

    /// Counts a request whose client left before the answer.
    pub(crate) fn unanswered(&self, route: &route::Route) {
        self.under_way.dec();
        let route::Route { method, path } = *route;
        self.unanswered.get_or_create(&RequestLabels { method, path }).inc();
    }

    fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a string takes everything");
        text
    }
}

/// Serves `/metrics`, for a listener that is not public.
pub fn metrics(metrics: Arc<Metrics>) -> impl Endpoint<Output = Response> + 'static {
    let text = poem::endpoint::make_sync(move |_| {
        Response::builder()
            .header(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")
            .body(metrics.text())
    });
    Route::new().at("/metrics", get(text)).map_to_response()
}
