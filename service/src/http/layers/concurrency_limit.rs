//! Limits the number of requests in progress.

use std::sync::Arc;

use poem::{Endpoint, Request, Result};
use tokio::sync::Semaphore;

use crate::http::error::Error;

/// Answers 503 beyond the limit, so that the other requests finish in time.
///
/// `/health` is exempt: otherwise the load balancer would replace the busiest instances first.
pub(crate) async fn concurrency_limit<E: Endpoint>(
    next: Arc<E>,
    request: Request,
    places: Arc<Semaphore>,
) -> Result<E::Output> {
    if request.uri().path() == "/health" {
        return next.call(request).await;
    }
    let Ok(_place) = places.try_acquire() else {
        return Err(Error::Crowded.into());
    };
    next.call(request).await
}
