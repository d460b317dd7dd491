//! Client-side rate limits: calls beyond AWS's published rates wait here instead of being throttled there.
//!
//! A throttled call costs a backoff and part of the SDK's retry budget, and takes capacity from other users of the
//! account (docs/aws.md §14).

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
            SharedHttpConnector,
        },
        interceptors::{Intercept, context::BeforeTransmitInterceptorContextMut, dyn_dispatch_hint},
        orchestrator::{HttpRequest, Metadata},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;
use parking_lot::Mutex;

/// A client-side rate limit: four fifths of AWS's published rate, since calls do not arrive as evenly as they are sent.
struct Rate {
    service: &'static str,
    /// The operation; `None` for all that have no rate of their own.
    operation: Option<&'static str>,
    /// Calls per second.
    calls: f64,
}

/// The limits that a large stack reaches with eight resources at once, or that `logs` reaches (docs/aws.md §14).
const RATES: &[Rate] = &[
    Rate { service: "Lambda", operation: Some("GetFunction"), calls: 80.0 },
    Rate { service: "Lambda", operation: None, calls: 12.0 },
    Rate { service: "CloudWatch Logs", operation: Some("CreateLogGroup"), calls: 8.0 },
    Rate { service: "CloudWatch Logs", operation: Some("DescribeLogGroups"), calls: 8.0 },
    // The lowest of all regions.
    Rate { service: "CloudWatch Logs", operation: Some("FilterLogEvents"), calls: 4.0 },
    Rate { service: "DynamoDB", operation: Some("TagResource"), calls: 4.0 },
];

/// The state of the limits. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Rates(Arc<Mutex<HashMap<usize, Taken>>>);

/// The usage of one limit.
#[derive(Debug)]
struct Taken {
    /// The next free slot.
    free: Instant,
    /// The number of calls.
    calls: u32,
}

impl Rate {
    fn every(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.calls)
    }
}

impl Rates {
    /// The shortest time in which all calls so far could be made at these rates.
    pub fn least(&self) -> Duration {
        let taken = self.0.lock();
        let times = taken.iter().map(|(row, taken)| RATES[*row].every() * taken.calls.saturating_sub(1));
        times.max().unwrap_or_default()
    }

    /// Reserves the next free slot for a call, and returns the time until then.
    fn reserve(&self, called: &Called, now: Instant) -> Duration {
        let of = |operation: Option<&str>| {
            RATES.iter().position(|rate| rate.service == called.service && rate.operation == operation)
        };
        let Some(row) = of(Some(&called.operation)).or_else(|| of(None)) else { return Duration::ZERO };
        let mut all = self.0.lock();
        let taken = all.entry(row).or_insert(Taken { free: now, calls: 0 });
        let moment = taken.free.max(now);
        *taken = Taken { free: moment + RATES[row].every(), calls: taken.calls + 1 };
        moment - now
    }
}

/// The operation of a request, which is not visible at the HTTP level.
#[derive(Debug, Clone)]
struct Called {
    service: String,
    operation: String,
}

/// Attaches the operation to each request.
#[derive(Debug, Clone, Copy)]
pub struct Label;

#[dyn_dispatch_hint]
impl Intercept for Label {
    fn name(&self) -> &'static str {
        "label"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(metadata) = config.load::<Metadata>() {
            let called = Called { service: metadata.service().into(), operation: metadata.name().into() };
            context.request_mut().add_extension(called);
        }
        Ok(())
    }
}

/// An HTTP client that delays calls to keep the rates.
pub fn paced(inner: SharedHttpClient, rates: Rates) -> SharedHttpClient {
    SharedHttpClient::new(Paced { inner, rates })
}

#[derive(Debug)]
struct Paced<T> {
    inner: T,
    rates: Rates,
}

impl HttpClient for Paced<SharedHttpClient> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Paced { inner, rates: self.rates.clone() })
    }
}

impl HttpConnector for Paced<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let rest = request.extension::<Called>().map(|called| self.rates.reserve(called, Instant::now()));
        match rest.filter(|rest| !rest.is_zero()) {
            None => self.inner.call(request),
            Some(rest) => {
                let inner = self.inner.clone();
                HttpConnectorFuture::new(async move {
                    tokio::time::sleep(rest).await;
                    inner.call(request).await
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_one_rate_are_spread_and_others_do_not_wait() {
        let rates = Rates::default();
        let now = Instant::now();
        let wait = |service: &str, operation: &str, at: Instant| {
            rates.reserve(&Called { service: service.into(), operation: operation.into() }, at).as_millis()
        };
        let create = |at| wait("Lambda", "CreateFunction", at);
        assert_eq!([create(now), wait("Lambda", "AddPermission", now), create(now)], [0, 83, 166]);
        assert_eq!(wait("Lambda", "GetFunction", now), 0);
        assert_eq!(wait("S3", "PutObject", now), 0);
        assert_eq!([wait("Lambda", "GetFunction", now), wait("CloudWatch Logs", "DescribeLogGroups", now)], [12, 0]);
        assert_eq!(create(now + Duration::from_secs(1)), 0, "what was not used is not saved up");
        assert_eq!(rates.least().as_millis(), 249, "four calls of twelve a second, and all others meanwhile");
    }
}
