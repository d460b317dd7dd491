//! How the load balancer rewrites the head of a request, and which requests it refuses.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri, Version};

use super::Side;
use crate::clock::Moment;
use crate::elb::attribute;
use crate::state::LoadBalancer;

/// Headers that concern a single connection and are not forwarded.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The maximum number of bytes of a request line or a single header, of all request headers, and of all response headers
/// (docs/aws.md §15).
const LONGEST_LINE: usize = 16 * 1024;
const MOST_ASKED: usize = 64 * 1024;
pub const MOST_ANSWERED: usize = 32 * 1024;

/// Returns the status with which the load balancer refuses a request, or `None` if it accepts it.
pub fn refused(head: &Parts) -> Option<StatusCode> {
    let hosts = head.headers.get_all(header::HOST).iter().count();
    let longest = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).max();
    match () {
        () if head.method == Method::TRACE => Some(StatusCode::METHOD_NOT_ALLOWED),
        () if length_of_target(head) > LONGEST_LINE => Some(StatusCode::URI_TOO_LONG),
        () if length_of_line(head) > LONGEST_LINE => Some(StatusCode::BAD_REQUEST),
        () if longest.is_some_and(|longest| longest > LONGEST_LINE) => Some(StatusCode::BAD_REQUEST),
        () if length(&head.headers) > MOST_ASKED => Some(StatusCode::BAD_REQUEST),
        () if hosts > 1 || hosts == 0 && head.version == Version::HTTP_11 => Some(StatusCode::BAD_REQUEST),
        () => None,
    }
}

/// Returns the host of a request without its port.
pub fn host_name(head: &Parts) -> &str {
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Returns the length of the request target in bytes.
fn length_of_target(head: &Parts) -> usize {
    let uri = &head.uri;
    let scheme = uri.scheme_str().map_or(0, |scheme| scheme.len() + "://".len());
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    scheme + authority + uri.path_and_query().map_or(0, |path| path.as_str().len())
}

/// Returns the length of the request line in bytes: method, target and version, with a space between them.
fn length_of_line(head: &Parts) -> usize {
    let version = "HTTP/1.1".len();
    head.method.as_str().len() + 1 + length_of_target(head) + 1 + version
}

/// Returns the total length of headers in bytes.
pub fn length(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// The processing mode of `X-Forwarded-For`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedFor {
    #[default]
    Append,
    Preserve,
    Remove,
}

impl ForwardedFor {
    /// Returns the mode set in a load balancer's attribute.
    pub fn of(one: &LoadBalancer) -> ForwardedFor {
        match attribute(&one.attributes, "routing.http.xff_header_processing.mode") {
            "preserve" => ForwardedFor::Preserve,
            "remove" => ForwardedFor::Remove,
            _ => ForwardedFor::Append,
        }
    }
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// Adds the load balancer's headers to a request and removes those that are not forwarded.
pub fn forward(headers: &mut HeaderMap, side: &Side, mode: ForwardedFor) {
    let Side { peer, port, scheme, .. } = side;
    strip(headers);
    let before = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let chain = match (mode, before(FORWARDED_FOR)) {
        (ForwardedFor::Append, Some(before)) => Some(format!("{before}, {}", peer.ip())),
        (ForwardedFor::Append, None) => Some(peer.ip().to_string()),
        (ForwardedFor::Preserve, before) => before.map(str::to_owned),
        (ForwardedFor::Remove, _) => None,
    };
    let root = format!("1-{:08x}-{:016x}{:08x}", Moment::now().unix_seconds(), fastrand::u64(..), fastrand::u32(..));
    let trace = match before(TRACE_ID) {
        Some(before) => format!("Self={root};{before}"),
        None => format!("Root={root}"),
    };
    let port = HeaderValue::from(*port);
    set(headers, FORWARDED_FOR, chain.and_then(|chain| HeaderValue::try_from(chain).ok()));
    set(headers, FORWARDED_PROTO, Some(HeaderValue::from_static(scheme)));
    set(headers, FORWARDED_PORT, Some(port));
    set(headers, TRACE_ID, HeaderValue::try_from(trace).ok());
}

/// Rewrites a request of HTTP/2 as one of HTTP/1.1, which targets receive.
pub fn as_http1(head: &mut Parts) {
    if head.version != Version::HTTP_2 {
        return;
    }
    head.version = Version::HTTP_11;
    let authority = head.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(authority) = authority {
        head.headers.insert(header::HOST, authority);
    }
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    head.uri = Uri::from(path);
    // HTTP/2 may split cookies (RFC 9113, section 8.2.3).
    let cookies: Vec<&[u8]> = head.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        head.headers.insert(header::COOKIE, joined);
    }
}

/// Removes headers whose names contain anything but letters, digits and hyphens.
pub fn drop_invalid(headers: &mut HeaderMap) {
    let is_valid = |name: &HeaderName| name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let invalid: Vec<HeaderName> = headers.keys().filter(|name| !is_valid(name)).cloned().collect();
    for name in invalid {
        headers.remove(name);
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => drop(headers.insert(name, value)),
        None => drop(headers.remove(name)),
    }
}

/// Returns the protocol that a client asks to upgrade to.
pub fn wanted_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asks = headers.get(header::CONNECTION)?.to_str().ok()?;
    let asks = asks.split(',').any(|word| word.trim().eq_ignore_ascii_case("upgrade"));
    headers.get(header::UPGRADE).filter(|_| asks).cloned()
}

/// Removes hop-by-hop headers, including those that `Connection` names.
pub fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(*name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use std::net::SocketAddr;

    fn forwarded(mode: ForwardedFor) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Mine"),
            ("x-mine", "1"),
            ("transfer-encoding", "chunked"),
            ("x-forwarded-for", "10.0.0.1"),
            ("authorization", "ada"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let peer = SocketAddr::from(([127, 0, 0, 1], 5000));
        forward(&mut headers, &Side::of(peer, 8080, "http"), mode);
        headers
    }

    #[test]
    fn a_request_gets_forwarding_headers_and_loses_hop_by_hop_headers() {
        let headers = forwarded(ForwardedFor::Append);
        let names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        for gone in ["connection", "x-mine", "transfer-encoding"] {
            assert!(!names.contains(&gone), "{gone} is still there");
        }
        assert_eq!(headers["x-forwarded-for"], "10.0.0.1, 127.0.0.1");
        assert_eq!(
            (&headers["x-forwarded-proto"], &headers["x-forwarded-port"]),
            (&HeaderValue::from_static("http"), &HeaderValue::from_static("8080"))
        );
        assert_eq!(headers["authorization"], "ada");
        let trace = headers["x-amzn-trace-id"].to_str().unwrap();
        let parts: Vec<&str> = trace.strip_prefix("Root=").unwrap().split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [1, 8, 24], "{trace}");
    }

    #[test]
    fn forwarding_headers_follow_their_attribute() {
        assert_eq!(forwarded(ForwardedFor::Preserve)["x-forwarded-for"], "10.0.0.1");
        assert!(!forwarded(ForwardedFor::Remove).contains_key("x-forwarded-for"));
    }

    #[test]
    fn requests_that_are_too_long_or_have_no_host_are_refused() {
        let check = |build: &dyn Fn(http::request::Builder) -> http::request::Builder, expected: Option<u16>| {
            let request = build(Request::builder().header("host", "web")).body(()).unwrap();
            assert_eq!(refused(&request.into_parts().0).map(|status| status.as_u16()), expected);
        };
        check(&|request| request, None);
        check(&|request| request.method("TRACE"), Some(405));
        check(&|request| request.uri(format!("/{}", "x".repeat(LONGEST_LINE))), Some(414));
        let line_of = |length: usize| format!("/{}", "x".repeat(length - "GET / HTTP/1.1".len()));
        check(&|request| request.uri(line_of(LONGEST_LINE)), None);
        check(&|request| request.uri(line_of(LONGEST_LINE + 1)), Some(400));
        check(&|request| request.method("DELETE").uri(line_of(LONGEST_LINE)), Some(400));
        check(&|request| request.header("a", "x".repeat(LONGEST_LINE)), Some(400));
        check(&|request| (0..5).fold(request, |request, _| request.header("a", "x".repeat(15_000))), Some(400));
        check(&|request| request.header("host", "another"), Some(400));
        let (old, _) = Request::builder().version(Version::HTTP_10).body(()).unwrap().into_parts();
        assert_eq!(refused(&old), None);
        let (nameless, _) = Request::new(()).into_parts();
        assert_eq!(refused(&nameless), Some(StatusCode::BAD_REQUEST));
    }
}
