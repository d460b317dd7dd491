//! CORS and the security headers of every answer.

use std::sync::Arc;

use poem::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response, Result};

/// Sets what browsers may do with our answers: pages of other origins may read all of them, including errors; no page
/// may frame them, scripts run only where an answer allows it, and content types are not sniffed.
///
/// Answers preflights without calling the endpoints.
pub(crate) async fn security_headers<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    if request.method() == Method::OPTIONS {
        let mut response = Response::from(StatusCode::NO_CONTENT);
        add(response.headers_mut(), OF_PREFLIGHTS);
        return Ok(response);
    }
    let is_https = came_through_https(request.headers());
    let mut response = next.call(request).await?.into_response();
    let headers = response.headers_mut();
    add(headers, OF_ANSWERS);
    if is_https {
        add(headers, OF_HTTPS);
    }
    // Answers contain signed URLs, and lists that others may have changed since.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(nothing);
    Ok(response)
}

const OF_PREFLIGHTS: &[(HeaderName, &str)] = &[
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PATCH, DELETE, OPTIONS"),
    // `*` would not cover Authorization.
    (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type, if-none-match"),
    // A day; browsers with a lower limit use theirs.
    (header::ACCESS_CONTROL_MAX_AGE, "86400"),
];

const OF_ANSWERS: &[(HeaderName, &str)] = &[
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, "ETag, Next-Cursor, Retry-After, X-Request-Id"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// For a year, browsers use HTTPS only. Not for other names below this one, which others may serve over HTTP.
const OF_HTTPS: &[(HeaderName, &str)] = &[(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000")];

/// Whether the client connected through TLS. The load balancer sets this header, and replaces one that the client sent.
fn came_through_https(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"https"))
}

fn add(headers: &mut HeaderMap, more: &[(HeaderName, &'static str)]) {
    for (name, value) in more {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
