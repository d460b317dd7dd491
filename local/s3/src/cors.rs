//! CORS: the origins that may read a bucket's answers in a browser.

use super::store::BucketSettings;
use super::xml::{Element, malformed};
use http::{HeaderMap, HeaderValue, Method, header};
use kit::answer::{Protocol, Refusal, Response, empty};
use kit::call::Request;
use kit::glob::Glob;

/// One rule of a bucket; the first that matches decides (docs/aws.md §4.3).
#[derive(Debug, Clone)]
pub(crate) struct CorsRule {
    origins: Vec<String>,
    methods: Vec<String>,
    headers: Vec<String>,
    exposed: Vec<String>,
    max_age_seconds: Option<u32>,
}

/// The maximum number of rules of a bucket.
const MOST: usize = 100;
const METHODS: &[&str] = &["GET", "PUT", "HEAD", "POST", "DELETE"];

/// Parses the rules in a `CORSConfiguration` document.
pub(super) fn rules(document: &Element) -> Result<Vec<CorsRule>, Refusal> {
    document.expect(&["CORSRule*"], &[])?;
    if document.children.is_empty() {
        return Err(malformed());
    }
    if document.children.len() > MOST {
        return Err(invalid("The number of CORS rules should not exceed allowed limit of 100 rules."));
    }
    document.children.iter().map(CorsRule::of).collect()
}

/// The CORS rules of a bucket.
pub(super) fn of(settings: &BucketSettings) -> Vec<CorsRule> {
    let document =
        settings.documents.get("cors").and_then(|text| Element::read(text.as_bytes(), "CORSConfiguration").ok());
    document.and_then(|document| rules(&document).ok()).unwrap_or_default()
}

fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::new(400, "InvalidRequest", text)
}

/// The response to a preflight request.
pub(crate) fn preflight(request: &Request, rules: &[CorsRule]) -> Response {
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
pub(crate) fn allow(request: &Request, rules: &[CorsRule], answer: &mut Response) {
    let Some(origin) = request.header("origin").filter(|_| request.method != Method::OPTIONS) else {
        return;
    };
    if let Some(rule) = rules.iter().find(|rule| rule.allows(origin, request.method.as_str())) {
        rule.write(origin, answer.headers_mut());
    }
}

impl CorsRule {
    /// Parses a rule. The errors are worded as in observed responses of S3 ("PutBucketCors").
    fn of(rule: &Element) -> Result<CorsRule, Refusal> {
        rule.expect(
            &["ID", "AllowedHeader*", "AllowedMethod*", "AllowedOrigin*", "ExposeHeader*", "MaxAgeSeconds"],
            &[],
        )?;
        let all = |name: &str| rule.all(name).map(|child| child.text.clone()).collect::<Vec<_>>();
        let (origins, methods, headers) = (all("AllowedOrigin"), all("AllowedMethod"), all("AllowedHeader"));
        if origins.is_empty() || methods.is_empty() {
            return Err(malformed());
        }
        if let Some(method) = methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            let text = format!("Found unsupported HTTP method in CORS config. Unsupported method is {method}");
            return Err(invalid(text));
        }
        let has_many = |pattern: &&String| pattern.matches('*').count() > 1;
        if let Some(origin) = origins.iter().find(has_many) {
            return Err(invalid(format!("AllowedOrigin \"{origin}\" can not have more than one wildcard.")));
        }
        if let Some(header) = headers.iter().find(has_many) {
            return Err(invalid(format!("AllowedHeader \"{header}\" can not have more than one wildcard.")));
        }
        let exposed = all("ExposeHeader");
        if let Some(header) = exposed.iter().find(|header| header.contains('*')) {
            let text = format!(
                "ExposeHeader \"{header}\" contains wildcard. We currently do not support wildcard for ExposeHeader."
            );
            return Err(invalid(text));
        }
        let max_age_seconds = rule.number("MaxAgeSeconds")?.map(u32::try_from).transpose().map_err(|_| malformed())?;
        Ok(CorsRule { origins, methods, headers, exposed, max_age_seconds })
    }

    fn allows(&self, origin: &str, method: &str) -> bool {
        self.methods.iter().any(|allowed| allowed == method)
            && self.origins.iter().any(|pattern| Glob::stars(pattern).matches(origin))
    }

    fn allows_header(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.headers.iter().any(|pattern| Glob::stars(&pattern.to_ascii_lowercase()).matches(&name))
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

fn set(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "<CORSConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><CORSRule><AllowedOrigin>http://*.example.org</AllowedOrigin><AllowedMethod>PUT</AllowedMethod><AllowedMethod>GET</AllowedMethod><AllowedHeader>Content-Type</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>";

    fn given() -> Vec<CorsRule> {
        rules(&Element::read(DOCUMENT.as_bytes(), "CORSConfiguration").unwrap()).unwrap()
    }

    #[test]
    fn invalid_cors_rules_are_refused() {
        let code = |inside: &str| {
            let text = format!("<CORSConfiguration>{inside}</CORSConfiguration>");
            rules(&Element::read(text.as_bytes(), "CORSConfiguration").unwrap()).err().map(|refusal| refusal.code)
        };
        let rule = |origin: &str, method: &str, more: &str| {
            format!(
                "<CORSRule><AllowedOrigin>{origin}</AllowedOrigin><AllowedMethod>{method}</AllowedMethod>{more}</CORSRule>"
            )
        };
        assert_eq!(code(&rule("*", "GET", "")), None);
        for (text, expected) in [
            (String::new(), "MalformedXML"),
            ("<CORSRule/>".to_owned(), "MalformedXML"),
            (rule("*", "GET", "<Colour/>"), "MalformedXML"),
            (rule("*", "PATCH", ""), "InvalidRequest"),
            (rule("*.*", "GET", ""), "InvalidRequest"),
            (rule("*", "GET", "<AllowedHeader>x-*-*</AllowedHeader>"), "InvalidRequest"),
            (rule("*", "GET", "<ExposeHeader>x-*</ExposeHeader>"), "InvalidRequest"),
            (rule("*", "GET", "").repeat(101), "InvalidRequest"),
        ] {
            assert_eq!(code(&text).as_deref(), Some(expected), "{text}");
        }
    }

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
        let answer = preflight(&request(Method::OPTIONS, &asked), &given());
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["access-control-allow-origin"], "http://a.example.org");
        assert_eq!(answer.headers()["access-control-allow-headers"], "content-type");
        assert_eq!(answer.headers()["access-control-max-age"], "60");
    }

    #[test]
    fn an_unlisted_origin_may_not_write() {
        let asked = [("origin", "http://evil.org"), ("access-control-request-method", "PUT")];
        let answer = preflight(&request(Method::OPTIONS, &asked), &given());
        assert_eq!(answer.status(), 403);
    }

    #[test]
    fn an_answer_names_the_origin_only_when_a_rule_allows_it() {
        let rules = given();
        let mut answer = empty(404);
        allow(&request(Method::GET, &[("origin", "http://evil.org")]), &rules, &mut answer);
        assert_eq!(answer.headers()["access-control-allow-origin"], "*");
        let mut answer = empty(200);
        allow(&request(Method::DELETE, &[("origin", "http://evil.org")]), &rules, &mut answer);
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
    }
}
