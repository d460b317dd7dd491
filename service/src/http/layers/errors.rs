//! Converts every error into the common format.

use std::sync::Arc;

use poem::{Endpoint, IntoResponse, Request, Response, Result};

use crate::http::error;
use crate::http::route::Route;

/// Converts every error into an answer in the common format.
pub(crate) async fn error_responses<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    let methods = Route::methods_at(request.uri().path());
    Ok(match next.call(request).await {
        Ok(response) => response.into_response(),
        Err(error) => error::answer(error, methods),
    })
}
