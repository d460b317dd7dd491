//! Where strangers' bytes come in, without the server before it: for fuzzers, and for the tests that replay what they
//! found.
//!
//! Behind the server a panic ends as a 500 and the next call is answered; here it ends the program, so that it is seen.

use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::call::{self, Request};
use crate::services::Services;
use crate::{ACCESS_KEY, Conditions, Options, compute};

/// What stands between two requests of one text.
const BETWEEN: &[u8] = b"\n%%\n";
/// More requests than this tell a fuzzer nothing new.
const MOST: usize = 32;

/// Every service of a local AWS, asked as the account's owner whatever the signature is.
pub struct Doors(Services);

impl Doors {
    /// A local AWS that keeps its state in `dir`.
    pub async fn open(dir: &Path) -> anyhow::Result<Doors> {
        winterbaume_core::set_default_account_id(crate::ACCOUNT);
        let options = Options { dir: dir.to_owned(), port: 0, region: "us-east-1".to_owned() };
        Ok(Doors(Services::open(&options, Conditions::default(), "http://127.0.0.1:9").await?))
    }

    /// Puts requests, written as HTTP is and separated by a line of `%%`, and gives the status of each answer.
    ///
    /// Panics if an answer breaks its protocol: a status no server has, or a body that is not what its type says.
    pub async fn put(&self, text: &[u8]) -> Vec<u16> {
        let mut statuses = Vec::new();
        for text in split(text).into_iter().take(MOST) {
            let Some(request) = request(text).map(harmless) else {
                continue;
            };
            let call = call::identify(&request);
            let unproven = self.0.answer_unproven(&call, &request).await;
            for answer in unproven {
                let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
                // An object's type is what its owner says it is.
                let own = call.operation != "GetObject" && call.operation != "HeadObject";
                if own && kind.is_some_and(|kind| kind.contains("json")) && !answer.body().is_empty() {
                    let read = serde_json::from_slice::<serde_json::Value>(answer.body());
                    assert!(read.is_ok(), "{} answers what is no JSON: {read:?}", call.operation);
                }
                statuses.push(answer.status().as_u16());
            }
        }
        statuses
    }

    /// Ends what the services have begun.
    pub async fn close(self) {
        self.0.stop().await;
    }
}

/// Boots an instance below `root` from user data, up to its programs, which are read but not started.
pub async fn boot(root: &Path, user_data: &str) {
    compute::rehearse(root, &NoObjects, user_data).await;
}

struct NoObjects;

#[async_trait]
impl compute::Objects for NoObjects {
    async fn get(&self, _bucket: &str, _key: &str) -> Result<Bytes, String> {
        Err("NoSuchKey: The specified key does not exist.".to_owned())
    }
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

/// A request as hyper would have handed it on, or nothing where hyper itself refuses.
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
    Some(with_scope(Request { method, path, query, headers, body: Bytes::copy_from_slice(body) }))
}

/// `service: dynamodb` stands for a whole signature of that service, which no fuzzer finds and nobody wants to read.
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

/// Everything is read as it came, but no group has instances: what those run is the caller's own program.
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
