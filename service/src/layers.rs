//! What is around every endpoint: log lines, cross-origin headers, one shape of errors, a limit on bodies.

use std::sync::Arc;
use std::time::Instant;

use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response, Result};

use crate::error::{self, Error};

/// The largest body of a request.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// One line for each request. Paths hold ids, queries names and answers secrets: none of them is written.
pub(crate) async fn logged<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    let (method, route, start) = (request.method().clone(), route(request.uri().path()), Instant::now());
    let response = next.call(request).await?.into_response();
    let (status, ms) = (response.status().as_u16(), start.elapsed().as_secs_f64() * 1000.0);
    match route {
        // Load balancers ask every few seconds.
        "/health" => tracing::debug!(%method, route, status, ms, "answered"),
        _ => tracing::info!(%method, route, status, ms, "answered"),
    }
    Ok(response)
}

fn route(path: &str) -> &'static str {
    const ROUTES: &[&str] = &["/", "/posts", "/signedUrlPut", "/getSignedUrlPut", "/health", "/docs", "/openapi.json"];
    match ROUTES.iter().find(|route| **route == path) {
        Some(route) => route,
        None if path.starts_with("/posts/") => "/posts/:id",
        None => "other",
    }
}

/// Lets pages of other origins read every answer, errors included, and answers their preflights without
/// asking anything behind it.
pub(crate) async fn cross_origin<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    if request.method() == Method::OPTIONS {
        let mut response = Response::from(StatusCode::NO_CONTENT);
        preflight(response.headers_mut());
        return Ok(response);
    }
    let mut response = next.call(request).await?.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Next-Cursor, Retry-After"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Signed addresses and lists that others may have changed since.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    Ok(response)
}

fn preflight(headers: &mut HeaderMap) {
    let answers = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, DELETE, OPTIONS"),
        // `*` would not cover Authorization.
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type"),
        // A day; browsers that allow less take what they allow.
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    for (name, value) in answers {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Turns every error into an answer of the one shape.
pub(crate) async fn explained<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    Ok(match next.call(request).await {
        Ok(response) => response.into_response(),
        Err(error) => error::answer(error),
    })
}

/// Refuses bodies that are too large.
///
/// It reads somewhat further than it allows: a client that is still sending does not hear a refusal.
pub(crate) async fn bounded<E: Endpoint>(next: Arc<E>, mut request: Request) -> Result<E::Output> {
    let body = request.take_body().into_bytes_limit(16 * MAX_BODY_BYTES).await;
    match body {
        Ok(body) if body.len() <= MAX_BODY_BYTES => request.set_body(body),
        Ok(_) | Err(poem::error::ReadBodyError::PayloadTooLarge) => {
            return Err(Error::TooLarge.into());
        }
        Err(error) => return Err(error.into()),
    }
    next.call(request).await
}
