//! Identifies the call: its service, its operation, and whether it changes anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;

use crate::answer::Protocol;
use crate::upload::Upload;

/// One request, which has arrived whole.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub method: Method,
    /// As sent: still percent-encoded, because signatures are computed over it.
    pub path: String,
    /// As sent, without the question mark.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The body of a large upload, which is on disk; then the other one is empty.
    pub upload: Option<Arc<Upload>>,
}

impl Request {
    /// A header's text, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The decoded value of a query parameter; `?flag` has the empty one.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        pairs(&self.query).find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Whether a query parameter is there at all.
    pub(crate) fn has(&self, name: &str) -> bool {
        pairs(&self.query).any(|(key, _)| key == name)
    }

    /// The body of a Query protocol call.
    pub(crate) fn form(&self) -> BTreeMap<String, String> {
        let in_query = url::form_urlencoded::parse(self.query.as_bytes());
        in_query
            .chain(url::form_urlencoded::parse(&self.body))
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect()
    }
}

/// The decoded pairs of a query string, where `+` is a plus sign as in every signed AWS request.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    })
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// A call of a service's operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub service: String,
    pub operation: String,
    pub protocol: Protocol,
}

impl Call {
    /// Whether the call is pointless once its caller has left: it only computes.
    pub(crate) fn ends_with_its_caller(&self) -> bool {
        self.service == "rekognition"
    }

    /// Whether the call may change something: everything that does not say it only reads.
    pub(crate) fn mutating(&self) -> bool {
        const READING: &[&str] = &[
            "AssumeRole",
            "BatchGet",
            "Describe",
            "Detect",
            "Filter",
            "Get",
            "Head",
            "List",
            "Preflight",
            "Query",
            "Scan",
            "Select",
            "Simulate",
            "TransactGet",
        ];
        let invoked = self.service == "lambda" && self.operation.starts_with("Invoke");
        !invoked && !READING.iter().any(|verb| self.operation.starts_with(verb))
    }
}

/// The access key a request says it is signed with, whether or not it is.
pub(crate) fn claimed_key(request: &Request) -> Option<String> {
    credential(request)?.split('/').next().map(str::to_owned)
}

/// The key and its scope: `key/date/region/service/aws4_request`.
pub(crate) fn credential(request: &Request) -> Option<String> {
    match request.header("authorization") {
        Some(authorization) => {
            let (_, rest) = authorization.split_once("Credential=")?;
            Some(rest.split(',').next()?.trim().to_owned())
        }
        None => request.parameter("X-Amz-Credential"),
    }
}

/// The region that a request is signed for, whether or not it is.
pub(crate) fn claimed_region(request: &Request) -> Option<String> {
    credential(request)?.rsplit('/').nth(2).map(str::to_owned)
}
