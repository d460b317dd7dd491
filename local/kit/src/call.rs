//! A request, and the call parsed from it: the service's operation with its table row and input.

use std::sync::Arc;

mod input;
mod operation;

use bytes::Bytes;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;

use crate::answer::Protocol;
use crate::upload::Upload;
pub use input::{Form, Input, Json, Rest, Unreadable};
pub use operation::{Asked, Effect, Need, Needs, Operation, Pagination, Row, Rows, Style};

/// A request that has been received completely.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The HTTP method.
    pub method: Method,
    /// As sent: percent-encoded, because signatures are computed over it.
    pub path: String,
    /// As sent, without the question mark.
    pub query: String,
    /// As sent.
    pub headers: HeaderMap,
    /// The body, unless it is an upload on disk.
    pub body: Bytes,
    /// The body of a large upload, on disk; `body` is then empty.
    pub upload: Option<Arc<Upload>>,
}

impl Request {
    /// Returns a header's value, if it is valid text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the decoded value of a query parameter; that of `?flag` is empty.
    pub fn parameter(&self, name: &str) -> Option<String> {
        pairs(&self.query).find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Whether a query parameter is present.
    pub fn has(&self, name: &str) -> bool {
        pairs(&self.query).any(|(key, _)| key == name)
    }

    /// Returns the fields of a Query protocol call, from the query string and the body.
    pub fn form(&self) -> Form {
        let in_query = url::form_urlencoded::parse(self.query.as_bytes());
        in_query
            .chain(url::form_urlencoded::parse(&self.body))
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect()
    }
}

/// The decoded pairs of a query string. `+` is a literal plus sign, as in every signed AWS request.
pub fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    })
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// A call of a service's operation.
#[derive(Debug, Clone)]
pub struct Call {
    /// The service's name in signatures.
    pub service: String,
    /// The operation's name in the SDKs.
    pub operation: String,
    /// The protocol of its response.
    pub protocol: Protocol,
    /// `None` if the operation is not implemented.
    pub row: Option<&'static Row>,
    /// Its parameters, parsed once.
    pub input: Input,
}

impl Call {
    /// A call without a row, such as of an operation that is not implemented.
    pub fn of(service: &str, operation: &str, protocol: Protocol, input: Input) -> Call {
        Call { service: service.to_owned(), operation: operation.to_owned(), protocol, row: None, input }
    }

    /// Whether to cancel the call when its client disconnects, because it only computes something.
    pub fn ends_with_its_caller(&self) -> bool {
        self.service == "rekognition"
    }

    /// Whether the call may change state; never true of an operation that is not implemented.
    pub fn mutating(&self) -> bool {
        self.row.is_some_and(|row| row.effect == Effect::Writes)
    }

    /// A call without input.
    pub fn bare(service: &str, operation: &str, protocol: Protocol) -> Call {
        Call::of(service, operation, protocol, Input::Form(Form::new()))
    }

    /// A call without input that changes state.
    pub fn writing(service: &str, operation: &str, protocol: Protocol) -> Call {
        static ROW: Row = Row { name: "", effect: Effect::Writes, needs: Needs::Own, page: None };
        Call { row: Some(&ROW), ..Call::bare(service, operation, protocol) }
    }
}

/// Returns the access key ID in a request's credential, without checking the signature.
pub fn claimed_key(request: &Request) -> Option<String> {
    credential(request)?.split('/').next().map(str::to_owned)
}

/// Returns the access key ID and its scope: `key/date/region/service/aws4_request`.
pub fn credential(request: &Request) -> Option<String> {
    match request.header("authorization") {
        Some(authorization) => {
            let (_, rest) = authorization.split_once("Credential=")?;
            Some(rest.split(',').next()?.trim().to_owned())
        }
        None => request.parameter("X-Amz-Credential"),
    }
}

/// Returns the region in a request's credential, without checking the signature.
pub fn claimed_region(request: &Request) -> Option<String> {
    credential(request)?.rsplit('/').nth(2).map(str::to_owned)
}
