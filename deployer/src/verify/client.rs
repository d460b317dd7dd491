//! Sends one request, and limits the time and size of its answer.

use std::{path::Path, pin::Pin, time::Duration};

use aws_smithy_runtime_api::client::{http::HttpConnector as _, orchestrator::HttpRequest};
use aws_smithy_types::body::SdkBody;
use http_body::Body as _;
use url::Url;

use super::values::Values;
use crate::{
    cloud::aws::{Trust, connector},
    config::verify::{Body, Request},
    machine::files::read_regular_file,
};

/// The largest answer that is read.
const MOST_BYTES: usize = 4 << 20;
/// The largest file that is sent.
const MOST_SENT: u64 = 64 << 20;
/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Sends requests.
pub struct Client {
    trust: Trust,
}

/// A request with all its values.
pub struct Sent {
    method: String,
    url: Url,
    /// The names are in lower case.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// Beginnings of the names of headers that hold no credentials.
const PUBLIC: &[&str] = &["accept", "content-", "user-agent"];

impl Sent {
    /// The values of headers that may hold credentials.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let is_public = |name: &str| PUBLIC.iter().any(|begin| name.starts_with(begin));
        self.headers.iter().filter(move |(name, _)| !is_public(name)).map(|(_, value)| value.as_str())
    }
}

/// An answer, with at most [`MOST_BYTES`] of its body.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Fills in the values of a request.
///
/// Errors: a value makes it invalid, or its file cannot be read. The message may contain values.
pub fn prepare(request: &Request, values: &Values, folder: &Path) -> Result<Sent, String> {
    let url = Url::parse(&values.url(&request.target)).map_err(|error| format!("its URL is invalid: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("its URL has the scheme {}, and should have http or https", url.scheme()));
    }
    let fill = |text: &_| values.fill(text);
    let mut headers: Vec<(String, String)> =
        request.headers.iter().map(|(name, text)| (name.clone(), fill(text))).collect();
    let body = match &request.body {
        Body::Nothing => Vec::new(),
        Body::Text(text) => fill(text).into_bytes(),
        Body::Json(json) => json.filled(&fill).to_string().into_bytes(),
        Body::Bytes(bytes) => bytes.clone(),
        Body::File(file) => read_regular_file(&folder.join(file), MOST_SENT)
            .map_err(|error| format!("{} cannot be sent: {}", file.display(), words(&error)))?,
    };
    let usual = match &request.body {
        Body::Json(_) => Some(("content-type", "application/json")),
        _ => None,
    };
    for (name, value) in usual.into_iter().chain([("user-agent", concat!("deployer/", env!("CARGO_PKG_VERSION")))]) {
        if !headers.iter().any(|(known, _)| known == name) {
            headers.push((name.into(), value.into()));
        }
    }
    Ok(Sent { method: request.method.clone(), url, headers, body })
}

impl Client {
    /// A client that verifies servers by these certificates.
    pub fn new(trust: Trust) -> Client {
        Client { trust }
    }

    /// Sends a request once, without following redirects.
    ///
    /// Errors: there is no answer in time, or it is too large.
    pub async fn send(&self, sent: Sent, within: Duration) -> Result<Answer, String> {
        let answered = tokio::time::timeout(within, self.answer(sent)).await;
        answered.unwrap_or_else(|_| Err(format!("no answer within {} s", within.as_secs())))
    }

    async fn answer(&self, Sent { method, url, headers, body }: Sent) -> Result<Answer, String> {
        let connector = connector(url.as_str(), &self.trust, CONNECT_WITHIN).map_err(|trouble| words(&trouble))?;
        let mut request = HttpRequest::new(SdkBody::from(body));
        let invalid = |what: &str| format!("its {what} is invalid");
        request.set_method(&method).map_err(|_| invalid("method"))?;
        request.set_uri(url.as_str()).map_err(|_| invalid("URL"))?;
        for (name, value) in headers {
            let what = format!("header {name}");
            request.headers_mut().try_append(name, value).map_err(|_| invalid(&what))?;
        }
        let mut response = connector.call(request).await.map_err(|error| words(&error))?;
        let headers = response.headers().iter().map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        let status = response.status().as_u16();
        let body = read(response.body_mut()).await?;
        Ok(Answer { status, headers, body })
    }
}

async fn read(body: &mut SdkBody) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
        let frame = frame.map_err(|error| format!("the answer breaks off: {error}"))?;
        bytes.extend_from_slice(frame.data_ref().map(bytes::Bytes::as_ref).unwrap_or_default());
        if bytes.len() > MOST_BYTES {
            return Err(format!("the answer has more than {} MiB", MOST_BYTES >> 20));
        }
    }
    Ok(bytes)
}

/// The root cause of an error, which is the most informative: errors of the client repeat it.
fn words(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).last().map(ToString::to_string).unwrap_or_default()
}
