//! Responses and errors in the wire format of each service's protocol.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use http::{StatusCode, header};
use parking_lot::Mutex;
use serde_json::json;

/// The HTTP response type of every service.
pub type Response = http::Response<Bytes>;

/// A body that is streamed from disk. It travels as an extension of its response, whose own body is empty.
#[derive(Clone)]
pub struct Streamed {
    /// The length in bytes.
    pub length: u64,
    bytes: Arc<Mutex<Option<Pieces>>>,
}

/// A body as a stream of chunks.
pub type Pieces = BoxStream<'static, io::Result<Bytes>>;

impl Streamed {
    /// A body of `length` bytes.
    pub fn new(length: u64, bytes: Pieces) -> Streamed {
        Streamed { length, bytes: Arc::new(Mutex::new(Some(bytes))) }
    }

    /// Attaches the body to a response.
    pub fn put_in(self, answer: &mut Response) {
        answer.extensions_mut().insert(self);
    }

    /// Takes the stream. Clones share it: only the first caller gets the bytes, later ones an empty stream.
    pub fn pieces(self) -> Pieces {
        self.bytes.lock().take().unwrap_or_else(|| stream::empty().boxed())
    }
}

/// Returns the length of a response's body in bytes.
pub fn length(answer: &Response) -> u64 {
    answer.extensions().get().map_or(answer.body().len() as u64, |streamed: &Streamed| streamed.length)
}

/// The part of a response that the client receives.
#[derive(Debug)]
pub enum Reply {
    /// The whole response.
    Whole(Response),
    /// The head and half of the body; then the connection is reset.
    Half(Response),
    /// Nothing; the connection is reset.
    Nothing,
}

impl Reply {
    /// Returns the status of the response, or 0 if none is sent.
    pub fn status(&self) -> u16 {
        match self {
            Reply::Whole(answer) | Reply::Half(answer) => answer.status().as_u16(),
            Reply::Nothing => 0,
        }
    }

    /// Returns the reason why the caller was denied, if that is why the call failed.
    pub fn denied(&self) -> Option<String> {
        match self {
            Reply::Whole(answer) | Reply::Half(answer) => {
                answer.extensions().get::<Denied>().map(|Denied(text)| text.clone())
            }
            Reply::Nothing => None,
        }
    }
}

/// The wire protocol of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// S3.
    RestXml,
    /// IAM, STS, Auto Scaling, Elastic Load Balancing.
    Query,
    /// EC2.
    Ec2,
    /// DynamoDB.
    Json10,
    /// CloudWatch Logs, Rekognition and most others.
    Json11,
    /// Lambda.
    RestJson,
    /// Smithy's RPC v2 CBOR, which newer SDKs use for CloudWatch.
    Cbor,
}

/// An error response: the code and message that AWS would return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The machine-readable code.
    pub code: String,
    /// The human-readable message.
    pub message: String,
}

impl Refusal {
    /// An error with this status, code and message.
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Refusal {
        Refusal { status, code: code.to_owned(), message: message.into() }
    }

    /// Returns the error in the wire format of `protocol`.
    pub fn answer(&self, protocol: Protocol) -> Response {
        let Refusal { status, code, message } = self;
        match protocol {
            Protocol::RestXml => xml(
                *status,
                format!(
                    "<Error><Code>{code}</Code><Message>{}</Message><RequestId>{}</RequestId></Error>",
                    escape(message),
                    request_id()
                ),
            ),
            Protocol::Query => xml(
                *status,
                format!(
                    "<ErrorResponse><Error><Type>{}</Type><Code>{code}</Code><Message>{}</Message></Error><RequestId>{}</RequestId></ErrorResponse>",
                    if *status < 500 { "Sender" } else { "Receiver" },
                    escape(message),
                    request_id()
                ),
            ),
            Protocol::Ec2 => xml(
                *status,
                format!(
                    "<Response><Errors><Error><Code>{code}</Code><Message>{}</Message></Error></Errors><RequestID>{}</RequestID></Response>",
                    escape(message),
                    request_id()
                ),
            ),
            Protocol::Json10 | Protocol::Json11 => {
                json_answer(*status, protocol, &json!({ "__type": code, "message": message }))
            }
            Protocol::Cbor => {
                let text = |text: &str| ciborium::Value::Text(text.to_owned());
                let fields = vec![(text("__type"), text(code)), (text("message"), text(message))];
                cbor(*status, &ciborium::Value::Map(fields))
            }
            Protocol::RestJson => {
                let mut answer =
                    json_answer(*status, protocol, &json!({ "Type": "User", "Message": message, "message": message }));
                if let Ok(value) = code.parse() {
                    answer.headers_mut().insert("x-amzn-errortype", value);
                }
                answer
            }
        }
    }
}

/// Returns the 501 response of an operation that is not implemented, which it names.
pub fn not_implemented(protocol: Protocol, service: &str, operation: &str) -> Response {
    let code = match protocol {
        Protocol::RestXml => "NotImplemented",
        _ => "NotImplementedException",
    };
    let message = format!("the local AWS has no {service}:{operation}");
    Refusal::new(501, code, message).answer(protocol)
}

/// An XML response, with the XML declaration.
pub fn xml(status: u16, body: String) -> Response {
    build(status, "application/xml", format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}"))
}

/// A JSON response with the content type of `protocol`.
pub fn json_answer(status: u16, protocol: Protocol, body: &serde_json::Value) -> Response {
    json_text(status, protocol, body.to_string())
}

/// Like [`json_answer`], for a document that is already serialized.
pub fn json_text(status: u16, protocol: Protocol, body: String) -> Response {
    let kind = match protocol {
        Protocol::Json10 => "application/x-amz-json-1.0",
        Protocol::Json11 => "application/x-amz-json-1.1",
        _ => "application/json",
    };
    build(status, kind, body)
}

/// A CBOR response, as in Smithy's RPC v2.
pub fn cbor(status: u16, body: &ciborium::Value) -> Response {
    let mut answer = empty(status);
    let mut bytes = Vec::new();
    // Writing to a `Vec` cannot fail.
    let _ = ciborium::into_writer(body, &mut bytes);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/cbor"));
    headers.insert("smithy-protocol", header::HeaderValue::from_static("rpc-v2-cbor"));
    *answer.body_mut() = Bytes::from(bytes);
    answer
}

/// The response to a Query protocol call: `<XResponse><XResult>…</XResult>…`.
pub fn query_result(operation: &str, namespace: &str, result: &str) -> Response {
    xml(
        200,
        format!(
            "<{operation}Response xmlns=\"{namespace}\"><{operation}Result>{result}</{operation}Result><ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata></{operation}Response>",
            request_id()
        ),
    )
}

/// A response without a body.
pub fn empty(status: u16) -> Response {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
}

fn build(status: u16, kind: &'static str, body: String) -> Response {
    let mut answer = empty(status);
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    *answer.body_mut() = Bytes::from(body);
    answer
}

/// Returns a new request ID in AWS's format.
pub fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The reference to a character that cannot stand for itself between XML tags.
pub fn reference(letter: char) -> Option<&'static str> {
    Some(match letter {
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        '"' => "&quot;",
        '\r' => "&#13;",
        _ => return None,
    })
}

/// Escapes text for use between XML tags.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match reference(letter) {
            Some(reference) => safe.push_str(reference),
            None => safe.push(letter),
        }
    }
    safe
}

/// The reason for a denial, attached to the response for the journal.
#[derive(Debug, Clone)]
pub struct Denied(pub String);

/// The error for expired temporary credentials.
pub fn expired_token(protocol: Protocol) -> Refusal {
    match protocol {
        Protocol::RestXml => Refusal::new(400, "ExpiredToken", "The provided token has expired."),
        Protocol::Query | Protocol::Ec2 => {
            Refusal::new(403, "ExpiredToken", "The security token included in the request is expired")
        }
        _ => Refusal::new(400, "ExpiredTokenException", "The security token included in the request is expired"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_escaped_and_names_its_code() {
        let answer = Refusal::new(404, "NoSuchKey", "no <key>").answer(Protocol::RestXml);
        let body = String::from_utf8(answer.body().to_vec()).unwrap();
        assert_eq!(answer.status(), 404);
        assert!(body.contains("<Code>NoSuchKey</Code><Message>no &lt;key&gt;</Message>"), "{body}");
    }

    #[test]
    fn missing_operations_are_named_in_the_format_of_their_service() {
        let answer = not_implemented(Protocol::Json11, "ssm", "GetParameter");
        assert_eq!(answer.status(), 501);
        assert_eq!(answer.headers()["content-type"], "application/x-amz-json-1.1");
        assert!(String::from_utf8_lossy(answer.body()).contains("ssm:GetParameter"));
    }
}
