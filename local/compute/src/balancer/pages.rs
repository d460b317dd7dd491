//! Responses that the load balancer generates itself.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};

use super::{Answer, Broken, Side};
use crate::state::Action;

/// Returns the load balancer's error page for a request that it cannot forward.
pub fn refusal(status: StatusCode) -> Answer {
    let title = match status {
        StatusCode::SERVICE_UNAVAILABLE => "503 Service Temporarily Unavailable".to_owned(),
        StatusCode::GATEWAY_TIMEOUT => "504 Gateway Time-out".to_owned(),
        StatusCode::REQUEST_TIMEOUT => "408 Request Time-out".to_owned(),
        other => format!("{} {}", other.as_u16(), other.canonical_reason().unwrap_or_default()),
    };
    let page = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    );
    own(status, Some("text/html"), page)
}

/// Returns the response of a fixed-response action.
pub fn fixed(status: &str, content_type: Option<&str>, body: Option<&str>) -> Answer {
    let status = status.parse().unwrap_or(StatusCode::OK);
    own(status, content_type.or(body.map(|_| "text/plain; charset=utf-8")), body.unwrap_or_default().to_owned())
}

/// Returns the response of a redirect action.
///
/// A port of another listener of the same load balancer is replaced by that listener's local port.
pub fn redirected(
    action: &Action,
    head: &http::request::Parts,
    side: &Side,
    local_ports: &BTreeMap<u16, u16>,
) -> Answer {
    let Action::Redirect { protocol, host, port: to, path, query, status } = action else {
        return refusal(StatusCode::SERVICE_UNAVAILABLE);
    };
    let asked = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = asked.rsplit_once(':').map_or(asked, |(name, _)| name);
    let fill = |text: &str| {
        text.replace("#{protocol}", side.scheme)
            .replace("#{host}", name)
            .replace("#{port}", &side.port.to_string())
            .replace("#{path}", head.uri.path().trim_start_matches('/'))
            .replace("#{query}", head.uri.query().unwrap_or_default())
    };
    let query = Some(fill(query)).filter(|query| !query.is_empty()).map(|query| format!("?{query}"));
    let local = to.parse().ok().filter(|_| host == "#{host}").and_then(|port: u16| local_ports.get(&port));
    let to = local.map_or_else(|| fill(to), u16::to_string);
    let location =
        format!("{}://{}:{}{}{}", fill(protocol).to_lowercase(), fill(host), to, fill(path), query.unwrap_or_default());
    let status = if status == "HTTP_302" { StatusCode::FOUND } else { StatusCode::MOVED_PERMANENTLY };
    let mut answer = own(status, None, String::new());
    if let Ok(location) = HeaderValue::from_str(&location) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    answer
}

fn own(status: StatusCode, content_type: Option<&str>, body: String) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(header::SERVER, HeaderValue::from_static("awselb/2.0"));
    if let Some(value) = content_type.and_then(|value| HeaderValue::from_str(value).ok()) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

/// Returns a body without any bytes.
pub fn empty_body() -> BoxBody<Bytes, Broken> {
    Empty::new().map_err(|never| match never {}).boxed()
}
