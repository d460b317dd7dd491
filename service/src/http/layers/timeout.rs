//! Limits the time for an answer.

use std::sync::Arc;
use std::time::Duration;

use poem::{Endpoint, Request, Result};

use crate::http::error::{Error, caused};

/// Answers 503 when `limit` has passed. Every endpoint can be interrupted: repeating the request continues the work.
pub(crate) async fn timeout<E: Endpoint>(next: Arc<E>, request: Request, limit: Duration) -> Result<E::Output> {
    tokio::time::timeout(limit, next.call(request)).await.unwrap_or_else(|late| Err(Error::Late(caused(late)).into()))
}
