//! Reads requests: first the head, and the body only if the head is acceptable. Large uploads are written to disk as
//! they arrive; all other bodies share a memory limit.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, header};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming as Arriving};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use kit::answer::{Protocol, Refusal};
use kit::call::{Call, Request};
use kit::upload::Upload;
use s3::Incoming;

/// The memory limit of all bodies being received, in kilobytes.
const ROOM_KB: u32 = 256 << 10;
/// The share of that limit, in bytes, which an upload to disk uses regardless of its size.
const UPLOAD: u64 = 2 << 20;
/// Bodies up to this size in bytes are always read, so that a client that sends before it reads receives the error.
const SMALL: u64 = 64 << 10;
/// The maximum size of a body of unknown length, in bytes.
const UNANNOUNCED: u64 = 16 << 20;
/// How long a client may pause while sending.
const SILENCE: Duration = Duration::from_secs(20);
/// How long a call waits for memory before it fails with an error that asks it to retry.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of a refused body to discard, in bytes, and for how long, so that the client reads the error.
const LEFTOVER: u64 = 16 << 20;
const LINGERING: Duration = Duration::from_secs(5);

/// The memory limit for the bodies of a server.
#[derive(Debug, Clone)]
pub(crate) struct Intake(Arc<Semaphore>);

/// A body, which holds its share of the memory limit while it is in use.
#[derive(Debug)]
pub(crate) struct Taken {
    pub bytes: Bytes,
    /// An upload on disk; `bytes` is then empty.
    pub upload: Option<Arc<Upload>>,
    _room: Option<OwnedSemaphorePermit>,
}

/// Where the body of an accepted request is stored.
enum Way {
    /// In memory, up to this many bytes.
    Memory(u64),
    Disk(Incoming),
}

impl Default for Intake {
    fn default() -> Intake {
        Intake(Arc::new(Semaphore::new(ROOM_KB as usize)))
    }
}

impl Intake {
    /// Reads the body of the request with this head. A large body is only read if `admit` accepts it.
    pub(crate) async fn read(
        &self,
        head: &Request,
        call: &Call,
        body: Arriving,
        admit: impl FnOnce(u64) -> Result<Option<Incoming>, Refusal>,
    ) -> Result<Taken, Refusal> {
        match self.check(head, call, &body, admit) {
            Ok(Way::Memory(most)) => self.take(most, body, call.protocol).await,
            Ok(Way::Disk(incoming)) => self.store(incoming, body, call.protocol).await,
            Err(refusal) => {
                // A client that waits for `100 Continue` has not started to send, and reading would make it start.
                if !head.headers.contains_key(header::EXPECT) {
                    tokio::spawn(timeout(LINGERING, discard(body)));
                }
                Err(refusal)
            }
        }
    }

    fn check(
        &self,
        head: &Request,
        call: &Call,
        body: &Arriving,
        admit: impl FnOnce(u64) -> Result<Option<Incoming>, Refusal>,
    ) -> Result<Way, Refusal> {
        let announced = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
        let length = match announced {
            Some(length) => length,
            // S3 requires a length (S3 API reference, "List of error codes").
            None if call.service == "s3" => {
                return Err(Refusal::new(
                    411,
                    "MissingContentLength",
                    "You must provide the Content-Length HTTP header.",
                ));
            }
            None => UNANNOUNCED,
        };
        if length > 0 {
            check_origin(head, call)?;
        }
        if length > SMALL
            && let Some(incoming) = admit(length)?
        {
            return Ok(Way::Disk(incoming));
        }
        let most = most(head, call);
        match announced {
            Some(length) if length > most => Err(too_large(head, call)),
            _ => Ok(Way::Memory(length.min(most))),
        }
    }

    async fn take(&self, most: u64, mut body: Arriving, protocol: Protocol) -> Result<Taken, Refusal> {
        let room = self.room(most, protocol).await?;
        // The system does not allocate the memory until it is written to.
        let mut bytes = BytesMut::with_capacity(most as usize);
        while let Some(part) = part(&mut body).await? {
            if (bytes.len() + part.len()) as u64 > most {
                return Err(Refusal::new(413, "RequestEntityTooLarge", "The body is larger than it may be"));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(Taken { bytes: bytes.freeze(), upload: None, _room: Some(room) })
    }

    async fn store(&self, mut incoming: Incoming, mut body: Arriving, protocol: Protocol) -> Result<Taken, Refusal> {
        let _room = self.room(UPLOAD, protocol).await?;
        while let Some(part) = part(&mut body).await? {
            incoming.take(&part).await;
        }
        let upload = Some(Arc::new(incoming.end().await?));
        Ok(Taken { bytes: Bytes::new(), upload, _room: None })
    }

    async fn room(&self, bytes: u64, protocol: Protocol) -> Result<OwnedSemaphorePermit, Refusal> {
        let kilobytes = bytes.div_ceil(1024).min(ROOM_KB.into()) as u32;
        let room = timeout(PATIENCE, self.0.clone().acquire_many_owned(kilobytes)).await;
        room.ok().and_then(Result::ok).ok_or_else(|| busy(protocol))
    }
}

/// Returns the next bytes of a body.
async fn part(body: &mut Arriving) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = timeout(SILENCE, body.frame()).await.map_err(|_| silent())?;
        let Some(frame) = frame else { return Ok(None) };
        // HTTP trailers have no meaning here.
        if let Ok(part) = frame.map_err(|_| cut_off())?.into_data() {
            return Ok(Some(part));
        }
    }
}

/// The maximum sizes of bodies in memory, in bytes: AWS's limits where known, and never more than this machine should
/// hold.
const MOST: &[(&str, &str, u64)] = &[
    // An upload by a web page's form. The policy with the exact limit is in the body itself.
    ("s3", "PostObject", 64 << 20),
    ("s3", "", 4 << 20),
    // 16 MB of items (DynamoDB API reference, BatchWriteItem).
    ("dynamodb", "", 17 << 20),
    // 50 MB of zip in Base64 (Lambda developer guide, "Quotas").
    ("lambda", "CreateFunction", 70 << 20),
    ("lambda", "UpdateFunctionCode", 70 << 20),
    ("lambda", "Invoke", 8 << 20),
    ("lambda", "InvokeAsync", 8 << 20),
    // 1 MB of events (CloudWatch Logs API reference, PutLogEvents); JSON may escape each byte with six.
    ("logs", "", 8 << 20),
    // 5 MB of picture in Base64 (Rekognition developer guide, "Guidelines and quotas").
    ("rekognition", "", 8 << 20),
    ("", "", 1 << 20),
];

fn most(head: &Request, call: &Call) -> u64 {
    let operation = if is_post_form(head, call) { "PostObject" } else { &call.operation };
    let row = MOST.iter().find(|(service, name, _)| {
        (service.is_empty() || *service == call.service) && (name.is_empty() || *name == operation)
    });
    row.map_or(SMALL, |(_, _, most)| *most)
}

/// Whether the request is an upload by a form, whose authorization is in its body.
pub(crate) fn is_post_form(head: &Request, call: &Call) -> bool {
    let kind = head.header("content-type").unwrap_or_default();
    call.service == "s3" && head.method == Method::POST && kind.starts_with("multipart/form-data")
}

/// Web pages may call S3, subject to its CORS rules. Any other call from a browser does not come from the user's
/// programs, even if it is signed, because the key is public.
fn check_origin(head: &Request, call: &Call) -> Result<(), Refusal> {
    match call.service != "s3" && head.headers.contains_key(header::ORIGIN) {
        true => Err(Refusal::new(403, "AccessDenied", "web pages reach only S3 here")),
        false => Ok(()),
    }
}

fn too_large(head: &Request, call: &Call) -> Refusal {
    let most = most(head, call);
    match (call.service.as_str(), call.operation.as_str()) {
        ("s3", _) if is_post_form(head, call) => {
            Refusal::new(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        }
        ("s3", _) => Refusal::new(400, "MaxMessageLengthExceeded", "Your request was too large."),
        ("lambda", operation) => Refusal::new(
            413,
            "RequestEntityTooLargeException",
            format!("Request must be smaller than {most} bytes for the {operation} operation"),
        ),
        _ => Refusal::new(413, "RequestEntityTooLarge", format!("Request must be smaller than {most} bytes")),
    }
}

fn busy(protocol: Protocol) -> Refusal {
    match protocol {
        Protocol::RestXml => Refusal::new(503, "SlowDown", "Please reduce your request rate."),
        _ => Refusal::new(503, "ServiceUnavailable", "the local AWS has no room for more bodies at present"),
    }
}

fn silent() -> Refusal {
    let text = "Your socket connection to the server was not read from or written to within the timeout period.";
    Refusal::new(400, "RequestTimeout", text)
}

fn cut_off() -> Refusal {
    Refusal::new(400, "IncompleteBody", "The request body terminated unexpectedly")
}

async fn discard(mut body: Arriving) {
    let mut left = LEFTOVER;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, |part| part.len() as u64);
        let Some(rest) = left.checked_sub(length) else { return };
        left = rest;
    }
}

/// Converts the head of a request; the body is empty.
pub(crate) fn head(parts: http::request::Parts) -> Request {
    let mut headers: HeaderMap = parts.headers;
    if let (None, Some(authority)) = (headers.get(header::HOST), parts.uri.authority()) {
        // HTTP/2 sends the host in the URI's authority, but signatures cover the header.
        if let Ok(value) = authority.as_str().parse() {
            headers.insert(header::HOST, value);
        }
    }
    Request {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers,
        body: Bytes::new(),
        upload: None,
    }
}
