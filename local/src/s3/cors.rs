//! Which origins may read a bucket's answers in a browser.

use http::{HeaderMap, HeaderValue, Method, header};
use serde::Deserialize;

use crate::answer::{Protocol, Refusal, Response, empty};
use crate::call::Request;

/// One rule of a bucket; the first that matches decides (aws-facts §4.3).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Rule {
    #[serde(default, rename = "AllowedOrigin")]
    origins: Vec<String>,
    #[serde(default, rename = "AllowedMethod")]
    methods: Vec<String>,
    #[serde(default, rename = "AllowedHeader")]
    headers: Vec<String>,
    #[serde(default, rename = "ExposeHeader")]
    exposed: Vec<String>,
    max_age_seconds: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Configuration {
    #[serde(default, rename = "CORSRule")]
    rules: Vec<Rule>,
}

/// The rules in a `CORSConfiguration` document.
pub(crate) fn rules(document: &[u8]) -> Vec<Rule> {
    let text = String::from_utf8_lossy(document);
    quick_xml::de::from_str::<Configuration>(&text).map(|read| read.rules).unwrap_or_default()
}

/// The answer to a browser's question whether it may send a request.
pub(crate) fn preflight(request: &Request, rules: &[Rule]) -> Response {
    let header = |name: &str| request.header(name).unwrap_or_default();
    let (origin, method) = (header("origin"), header("access-control-request-method"));
    if origin.is_empty() || method.is_empty() {
        return Refusal::new(400, "BadRequest", "Insufficient information. Origin request header needed.")
            .answer(Protocol::RestXml);
    }
    let asked: Vec<&str> =
        header("access-control-request-headers").split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let rule =
        rules.iter().find(|rule| rule.allows(origin, method) && asked.iter().all(|name| rule.allows_header(name)));
    let Some(rule) = rule else {
        let text = "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.";
        return Refusal::new(403, "AccessForbidden", text).answer(Protocol::RestXml);
    };
    let mut answer = empty(200);
    rule.write(origin, answer.headers_mut());
    if !asked.is_empty() {
        set(answer.headers_mut(), header::ACCESS_CONTROL_ALLOW_HEADERS, &asked.join(", "));
    }
    if let Some(seconds) = rule.max_age_seconds {
        answer.headers_mut().insert(header::ACCESS_CONTROL_MAX_AGE, seconds.into());
    }
    answer
}

/// Lets the page that sent `request` read the answer, errors included.
pub(crate) fn allow(request: &Request, rules: &[Rule], answer: &mut Response) {
    let Some(origin) = request.header("origin").filter(|_| request.method != Method::OPTIONS) else {
        return;
    };
    if let Some(rule) = rules.iter().find(|rule| rule.allows(origin, request.method.as_str())) {
        rule.write(origin, answer.headers_mut());
    }
}

impl Rule {
    fn allows(&self, origin: &str, method: &str) -> bool {
        self.methods.iter().any(|allowed| allowed == method) && self.origins.iter().any(|pattern| fits(pattern, origin))
    }

    fn allows_header(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.headers.iter().any(|pattern| fits(&pattern.to_ascii_lowercase(), &name))
    }

    fn write(&self, origin: &str, headers: &mut HeaderMap) {
        let anybody = self.origins.iter().any(|pattern| pattern == "*");
        set(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN, if anybody { "*" } else { origin });
        set(headers, header::ACCESS_CONTROL_ALLOW_METHODS, &self.methods.join(", "));
        if !anybody {
            set(headers, header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        if !self.exposed.is_empty() {
            set(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, &self.exposed.join(", "));
        }
        set(headers, header::VARY, "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
    }
}

/// At most one `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end),
    }
}

fn set(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "<CORSConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><CORSRule><AllowedOrigin>http://*.example.org</AllowedOrigin><AllowedMethod>PUT</AllowedMethod><AllowedMethod>GET</AllowedMethod><AllowedHeader>Content-Type</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>";

    fn request(method: Method, headers: &[(&'static str, &str)]) -> Request {
        Request {
            headers: headers.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect(),
            ..super::super::bare(method)
        }
    }

    #[test]
    fn a_preflight_is_answered_by_the_first_rule_that_fits() {
        let asked = [
            ("origin", "http://a.example.org"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "content-type"),
        ];
        let answer = preflight(&request(Method::OPTIONS, &asked), &rules(DOCUMENT.as_bytes()));
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["access-control-allow-origin"], "http://a.example.org");
        assert_eq!(answer.headers()["access-control-allow-headers"], "content-type");
        assert_eq!(answer.headers()["access-control-max-age"], "60");
    }

    #[test]
    fn a_stranger_may_not_write() {
        let asked = [("origin", "http://evil.org"), ("access-control-request-method", "PUT")];
        let answer = preflight(&request(Method::OPTIONS, &asked), &rules(DOCUMENT.as_bytes()));
        assert_eq!(answer.status(), 403);
    }

    #[test]
    fn an_answer_names_the_origin_only_when_a_rule_allows_it() {
        let rules = rules(DOCUMENT.as_bytes());
        let mut answer = empty(404);
        allow(&request(Method::GET, &[("origin", "http://evil.org")]), &rules, &mut answer);
        assert_eq!(answer.headers()["access-control-allow-origin"], "*");
        let mut answer = empty(200);
        allow(&request(Method::DELETE, &[("origin", "http://evil.org")]), &rules, &mut answer);
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
    }
}
