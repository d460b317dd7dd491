//! Answers and errors in the wire format of each service's protocol.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use http::{StatusCode, header};
use parking_lot::Mutex;
use serde_json::json;

/// What every part of the server answers with.
pub type Response = http::Response<Bytes>;

/// A body that is read from the disk while it is sent. It goes with its answer as an extension, and the answer's own body
/// is empty.
#[derive(Clone)]
pub struct Streamed {
    /// How many bytes there are.
    pub length: u64,
    bytes: Arc<Mutex<Option<Pieces>>>,
}

/// The pieces of a body, one after another.
pub type Pieces = BoxStream<'static, io::Result<Bytes>>;

impl Streamed {
    /// A body of this length, in pieces.
    pub fn new(length: u64, bytes: Pieces) -> Streamed {
        Streamed { length, bytes: Arc::new(Mutex::new(Some(bytes))) }
    }

    /// Makes it the body of an answer.
    pub fn put_in(self, answer: &mut Response) {
        answer.extensions_mut().insert(self);
    }

    /// The pieces, which can be had once.
    pub fn pieces(self) -> Pieces {
        self.bytes.lock().take().unwrap_or_else(|| stream::empty().boxed())
    }
}

/// How many bytes the body of an answer has.
pub fn length(answer: &Response) -> u64 {
    answer.extensions().get().map_or(answer.body().len() as u64, |streamed: &Streamed| streamed.length)
}

/// What a client gets to see of an answer.
#[derive(Debug)]
pub enum Reply {
    /// All of it.
    Whole(Response),
    /// Its head and half of its body, and then a broken line.
    Half(Response),
    /// Nothing: the line is cut.
    Nothing,
}

impl Reply {
    /// The status that was decided on, or 0 where none is sent.
    pub fn status(&self) -> u16 {
        match self {
            Reply::Whole(answer) | Reply::Half(answer) => answer.status().as_u16(),
            Reply::Nothing => 0,
        }
    }

    /// What its caller was not allowed, if that is why it is as it is.
    pub fn denied(&self) -> Option<String> {
        match self {
            Reply::Whole(answer) | Reply::Half(answer) => {
                answer.extensions().get::<Denied>().map(|Denied(text)| text.clone())
            }
            Reply::Nothing => None,
        }
    }
}

/// How a service writes its errors.
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
    /// What newer SDKs speak with CloudWatch: Smithy's RPC v2.
    Cbor,
}

/// A refusal: the code and the sentence AWS would give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The machine-readable code.
    pub code: String,
    /// The text for people.
    pub message: String,
}

impl Refusal {
    /// A refusal with this status, code and text.
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Refusal {
        Refusal { status, code: code.to_owned(), message: message.into() }
    }

    /// The refusal as `protocol` writes it.
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

/// Nobody has built this operation here: the answer names it.
pub fn not_implemented(protocol: Protocol, service: &str, operation: &str) -> Response {
    let code = match protocol {
        Protocol::RestXml => "NotImplemented",
        _ => "NotImplementedException",
    };
    let message = format!("the local AWS has no {service}:{operation}");
    Refusal::new(501, code, message).answer(protocol)
}

/// An XML document with its declaration.
pub fn xml(status: u16, body: String) -> Response {
    build(status, "application/xml", format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}"))
}

/// A JSON document with the content type of `protocol`.
pub fn json_answer(status: u16, protocol: Protocol, body: &serde_json::Value) -> Response {
    json_text(status, protocol, body.to_string())
}

/// The same of a document that is text already.
pub fn json_text(status: u16, protocol: Protocol, body: String) -> Response {
    let kind = match protocol {
        Protocol::Json10 => "application/x-amz-json-1.0",
        Protocol::Json11 => "application/x-amz-json-1.1",
        _ => "application/json",
    };
    build(status, kind, body)
}

/// A CBOR document, as Smithy's RPC v2 has it.
pub fn cbor(status: u16, body: &ciborium::Value) -> Response {
    let mut answer = empty(status);
    let mut bytes = Vec::new();
    // Memory takes everything that is written to it.
    let _ = ciborium::into_writer(body, &mut bytes);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/cbor"));
    headers.insert("smithy-protocol", header::HeaderValue::from_static("rpc-v2-cbor"));
    *answer.body_mut() = Bytes::from(bytes);
    answer
}

/// The answer to an awsQuery call: `<XResponse><XResult>…</XResult>…`.
pub fn query_result(operation: &str, namespace: &str, result: &str) -> Response {
    xml(
        200,
        format!(
            "<{operation}Response xmlns=\"{namespace}\"><{operation}Result>{result}</{operation}Result><ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata></{operation}Response>",
            request_id()
        ),
    )
}

/// An answer without a body.
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

/// A fresh id as AWS prints it with every answer.
pub fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Text that is safe between XML tags.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\r' => safe.push_str("&#13;"),
            letter => safe.push(letter),
        }
    }
    safe
}

/// What an answer carries to the journal: why it was refused.
#[derive(Debug, Clone)]
pub struct Denied(pub String);

/// The refusal of expired temporary credentials.
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
