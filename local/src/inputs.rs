//! Every entry point for untrusted bytes, without the server around it: for fuzzing, and for tests that replay its
//! findings.
//!
//! The server turns a panic into a 500 and carries on; here a panic ends the program, so that it is noticed.

use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::routing;
use crate::services::Services;
use crate::{Conditions, Options, server};
use functions::runtime_api::Rehearsal;
use kit::ACCESS_KEY;
use kit::answer::Response;
use kit::call::Request;

/// The separator between the requests of a text.
const BETWEEN: &[u8] = b"\n%%\n";
/// The maximum number of requests to run. More would not reach new code.
const MOST: usize = 32;

/// The token for the instance metadata, and the ID of the function's invocation. A fuzzer would not find them.
const KNOWN: &str = "known";

/// Every service of a local AWS, called as the account's owner regardless of the signature, and the other listeners:
/// the server's own pages, load balancers, instance metadata and the Lambda Runtime API.
pub struct Doors {
    services: Services,
    runtime: Rehearsal,
}

/// Where a request is routed: given by a header `door: …`, the API by default.
enum Door {
    Api,
    Balancer,
    Metadata,
    Runtime,
}

impl Doors {
    /// A local AWS with its state in `dir`.
    pub async fn open(dir: &Path) -> anyhow::Result<Doors> {
        let options = Options { dir: dir.to_owned(), port: 0, region: "us-east-1".to_owned() };
        let services = Services::open(&options, Conditions::default(), "http://127.0.0.1:9").await?;
        Ok(Doors { services, runtime: Rehearsal::of(KNOWN).await })
    }

    /// Sends requests, which are written as in HTTP and separated by a line of `%%`, and returns the status of each
    /// response.
    ///
    /// Panics if a response violates its protocol: an invalid status, or a body that does not match its content type.
    pub async fn put(&self, text: &[u8]) -> Vec<u16> {
        let mut statuses = Vec::new();
        for text in split(text).into_iter().take(MOST) {
            let Some(mut request) = request(text) else {
                continue;
            };
            match door(&mut request) {
                Door::Api => statuses.extend(self.call(&harmless(request)).await),
                Door::Balancer => statuses.extend(head(&request).map(|head| compute::rehearse_balancer(head).as_u16())),
                Door::Metadata => {
                    let Request { method, path, headers, .. } = &request;
                    let compute = self.services.compute();
                    let status = compute::rehearse_metadata(compute, KNOWN, method, path, headers).await;
                    statuses.push(status.as_u16());
                }
                Door::Runtime => {
                    let Request { method, path, body, .. } = request;
                    statuses.push(self.runtime.answer(&method, &path, body).await.status().as_u16());
                }
            }
        }
        statuses
    }

    /// Sends a request to the API or to the server's own pages.
    async fn call(&self, request: &Request) -> Vec<u16> {
        // Every real request has a host, but most texts omit it.
        if let Err(refusal) = server::check_host(&request.headers)
            && request.headers.contains_key(header::HOST)
        {
            return vec![refusal.status];
        }
        if server::is_own(request) {
            let answer = server::own_page(request, &self.services, &serde_json::Value::Null);
            check("a page of its own", &answer);
            return vec![answer.status().as_u16()];
        }
        let call = routing::identify(request);
        // Choose faults for the call but do not inject them, so that the code behind them is reached.
        drop(self.services.judge(&call, request));
        let answers = self.services.answer_unproven(&call, request).await;
        for answer in &answers {
            // An object's content type is whatever its owner set.
            if call.operation != "GetObject" && call.operation != "HeadObject" {
                check(&call.operation, answer);
            }
        }
        answers.map(|answer| answer.status().as_u16()).to_vec()
    }

    /// Stops everything that the services started.
    pub async fn close(self) {
        self.services.stop().await;
    }
}

/// Panics if the body does not match its content type.
fn check(what: &str, answer: &Response) {
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(|kind| kind.contains("json")) && !answer.body().is_empty() {
        let read = serde_json::from_slice::<serde_json::Value>(answer.body());
        assert!(read.is_ok(), "{what} answers what is not JSON: {read:?}");
    }
}

fn door(request: &mut Request) -> Door {
    match request.headers.remove("door").as_ref().map(HeaderValue::as_bytes) {
        Some(b"balancer") => Door::Balancer,
        Some(b"metadata") => Door::Metadata,
        Some(b"runtime") => Door::Runtime,
        _ => Door::Api,
    }
}

/// Converts the head of a request, as a load balancer receives it.
fn head(request: &Request) -> Option<http::request::Parts> {
    let target = match request.query.as_str() {
        "" => request.path.clone(),
        query => format!("{}?{query}", request.path),
    };
    let mut whole = http::Request::builder().method(request.method.clone()).uri(target).body(()).ok()?;
    *whole.headers_mut() = request.headers.clone();
    Some(whole.into_parts().0)
}

/// Boots an instance below `root` with this user data, up to its programs, which are read but not started.
pub async fn boot(root: &Path, user_data: &str) {
    compute::rehearse(root, user_data).await;
}

fn split(mut text: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some(at) = text.windows(BETWEEN.len()).position(|window| window == BETWEEN) {
        parts.push(&text[..at]);
        text = &text[at + BETWEEN.len()..];
    }
    parts.push(text);
    parts
}

/// Parses a request as hyper would; `None` if hyper itself would refuse it.
fn request(text: &[u8]) -> Option<Request> {
    let end = text.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((text, &[][..]), |end| (&text[..end], &text[end + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let target = http::Uri::try_from(words.next()?).ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        headers.append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    let (path, query) = (target.path().to_owned(), target.query().unwrap_or_default().to_owned());
    Some(with_scope(Request { method, path, query, headers, body: Bytes::copy_from_slice(body), upload: None }))
}

/// Expands `service: dynamodb` to a complete signature for that service, which a fuzzer would not find.
fn with_scope(mut request: Request) -> Request {
    if let Some(service) = request.headers.remove("service")
        && let Ok(service) = service.to_str()
    {
        let signature = format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        if let Ok(signature) = HeaderValue::from_str(&signature) {
            request.headers.insert(header::AUTHORIZATION, signature);
        }
    }
    request
}

/// Sets the sizes of Auto Scaling groups to zero, because their instances would run programs of the input. The rest is
/// unchanged.
fn harmless(mut request: Request) -> Request {
    let form = request.form();
    let sizes = ["MinSize", "MaxSize", "DesiredCapacity"];
    if request.path == "/" && sizes.iter().any(|size| form.contains_key(*size)) {
        let none = |name: &str| sizes.contains(&name).then(|| "0".to_owned());
        let pairs = form.into_iter().map(|(name, value)| (none(&name).unwrap_or(value), name));
        let mut written = url::form_urlencoded::Serializer::new(String::new());
        pairs.for_each(|(value, name)| {
            written.append_pair(&name, &value);
        });
        request.query = String::new();
        request.body = written.finish().into();
    }
    request
}
