//! What is around every endpoint: log lines and counts, headers, one shape of errors, and limits.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use futures::stream::{self, Stream};
use futures::{StreamExt, poll};
use poem::error::{InternalServerError, ReadBodyError};
use poem::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use poem::{Body, Endpoint, IntoResponse, Request, Response, Result};
use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::error::{self, Error, Why, caused};
use crate::json::InParts;
use crate::metrics::Metrics;
use crate::route::Route;
use crate::waiting_room::WaitingRoom;

/// How much a request may be, and how long it may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many requests may be under way at once.
    pub requests: usize,
    /// How many connections may be open at once.
    pub connections: usize,
    /// How many of them may be open without a request. One more closes the one that has said nothing for the longest.
    pub silent: usize,
    /// How many requests may be waiting for their bodies. One more ends the one that has waited the longest.
    pub senders: usize,
    /// How many connections may be waiting until more of an answer is read. One more closes the one that has waited the
    /// longest.
    pub readers: usize,
    /// How long the next request of a connection may take to begin and to send its headers.
    pub head: Duration,
    /// How long a request may take to send its body.
    pub body: Duration,
    /// How long a request that is all there may take to its answer.
    pub whole: Duration,
    /// How long a client may take to read the next 64 KiB of an answer.
    pub reading: Duration,
    /// How long what has begun may take when the service is told to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: 256,
            // Below the 1,024 files that a process may usually open.
            connections: 800,
            // Together with those that are waited for, they leave a quarter of the connections to requests that are being
            // answered. A load balancer keeps fewer silent ones than this.
            silent: 400,
            senders: 100,
            readers: 100,
            // Longer than a load balancer keeps a silent connection (60 s), so that it never sends into a closing one.
            head: Duration::from_secs(75),
            body: Duration::from_secs(10),
            // Longer than the 10 s that a call to AWS may take with all its repetitions.
            whole: Duration::from_secs(15),
            reading: Duration::from_secs(30),
            // Longer than a whole request, shorter than the deregistration delay of 30 s after which the machine goes.
            drain: Duration::from_secs(20),
        }
    }
}

/// The largest body of a request.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// The largest body of an answer that is packed between two other requests.
const MAX_PACKED_AT_ONCE_BYTES: usize = 256 * 1024;
/// The longest address of a request; what pages send stays below 2 KiB.
const MAX_ADDRESS_BYTES: usize = 8 * 1024;
/// The largest headers of a request, names and values.
const MAX_HEAD_BYTES: usize = 16 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// Counts requests, names each, and writes one line for it. Paths hold ids, queries names, and bodies what people
/// write: none of them is written.
pub(crate) async fn watched<E: Endpoint>(next: Arc<E>, request: Request, metrics: Arc<Metrics>) -> Result<Response> {
    let route = Route::of(request.method(), request.uri().path());
    let under_way = UnderWay::begin(metrics, route, request_id(request.headers()));
    let mut response = next.call(request).await?.into_response();
    let id = under_way.answered(response.status(), response.extensions_mut().remove());
    response.headers_mut().insert(REQUEST_ID, id);
    Ok(response)
}

/// A request that is being answered. One that is dropped without an answer was left by its client, or by a service that
/// was told to stop and could wait no longer.
struct UnderWay {
    metrics: Arc<Metrics>,
    route: Route,
    id: HeaderValue,
    since: Instant,
    answered: bool,
}

impl UnderWay {
    fn begin(metrics: Arc<Metrics>, route: Route, id: HeaderValue) -> Self {
        metrics.begun();
        Self { metrics, route, id, since: Instant::now(), answered: false }
    }

    /// Counts the answer and writes its line; what the request is called.
    fn answered(mut self, status: StatusCode, why: Option<Why>) -> HeaderValue {
        self.answered = true;
        let took = self.since.elapsed();
        self.metrics.answered(&self.route, status, took);
        let Route { method, path } = self.route;
        let (request, status, ms) = (self.name(), status.as_u16(), took.as_secs_f64() * 1000.0);
        match why {
            // It passes, or somebody else has to mend it.
            Some(Why(cause)) if status == 503 => {
                tracing::warn!(request, method, path, status, ms, cause, "answered");
            }
            Some(Why(cause)) => tracing::error!(request, method, path, status, ms, cause, "answered"),
            // Load balancers ask every few seconds, and browsers before every call.
            None if self.route.is_chatter() => tracing::debug!(request, method, path, status, ms, "answered"),
            None => tracing::info!(request, method, path, status, ms, "answered"),
        }
        self.id.clone()
    }

    fn name(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        self.metrics.unanswered(&self.route);
        let (Route { method, path }, ms) = (self.route, self.since.elapsed().as_secs_f64() * 1000.0);
        tracing::info!(request = self.name(), method, path, ms, "unanswered");
    }
}

/// What the load balancer calls the request, so that its log and ours can be read together, or a name of our own.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    // `Self=…;Root=1-67891233-abcdef012345678912345678`: the root is what the way through all machines has in common.
    let given = headers.get(TRACE_ID).and_then(|value| value.to_str().ok());
    let root = given.and_then(|value| value.split(';').find_map(|part| part.trim().strip_prefix("Root=")));
    let root = root.filter(|id| (1..=64).contains(&id.len()) && id.bytes().all(is_of_an_id));
    let id = root.map_or_else(|| HeaderValue::from_str(&format!("{:032x}", fastrand::u128(..))), HeaderValue::from_str);
    id.expect("letters, digits and hyphens may stand in a header")
}

fn is_of_an_id(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

/// What browsers may do with our answers: pages of other origins may read every one, errors included; no other page
/// may frame them, nothing in them runs unless they say so, and nothing guesses what they are.
///
/// Preflights are answered here, without asking anything behind.
pub(crate) async fn guarded<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    if request.method() == Method::OPTIONS {
        let mut response = Response::from(StatusCode::NO_CONTENT);
        add(response.headers_mut(), OF_PREFLIGHTS);
        return Ok(response);
    }
    let mut response = next.call(request).await?.into_response();
    let headers = response.headers_mut();
    add(headers, OF_ANSWERS);
    // Signed addresses and lists that others may have changed since.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(nothing);
    Ok(response)
}

const OF_PREFLIGHTS: &[(HeaderName, &str)] = &[
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, DELETE, OPTIONS"),
    // `*` would not cover Authorization.
    (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type"),
    // A day; browsers that allow less take what they allow.
    (header::ACCESS_CONTROL_MAX_AGE, "86400"),
];

const OF_ANSWERS: &[(HeaderName, &str)] = &[
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Next-Cursor, Retry-After, X-Request-Id"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
];

fn add(headers: &mut HeaderMap, more: &[(HeaderName, &'static str)]) {
    for (name, value) in more {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Turns every error into an answer of the one shape.
pub(crate) async fn explained<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    let methods = Route::methods_at(request.uri().path());
    Ok(match next.call(request).await {
        Ok(response) => response.into_response(),
        Err(error) => error::answer(error, methods),
    })
}

/// Sends what is found small, to those who can make it large again. Not the smallest that could be: a little costs the
/// machine next to nothing, and saves most of what there is to save.
pub(crate) async fn packed<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    let unpacks = request.method() == Method::GET && takes_gzip(request.headers());
    let mut response = next.call(request).await?.into_response();
    let found = response.status() == StatusCode::OK;
    // Also where it need not be sent again: whoever keeps it for others must know (RFC 9110, section 15.4.5).
    if found || response.status() == StatusCode::NOT_MODIFIED {
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    if !found || !unpacks {
        return Ok(response);
    }
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    if response.extensions().get::<InParts>().is_some() {
        let parts = response.take_body().into_bytes_stream();
        response.set_body(Body::from_bytes_stream(pack_in_parts(parts)));
        return Ok(response);
    }
    let body = response.take_body().into_bytes().await?;
    // A list of thousands of posts takes milliseconds, in which nobody else would be answered.
    let body =
        if body.len() > MAX_PACKED_AT_ONCE_BYTES { spawn_blocking(move || pack(&body)).await } else { Ok(pack(&body)) };
    response.set_body(body.map_err(InternalServerError)?);
    response.headers_mut().remove(header::CONTENT_LENGTH);
    Ok(response)
}

thread_local! {
    /// What packs on this thread: made once, as it is larger than most of what is packed.
    static PACKER: RefCell<Compress> = RefCell::new(Compress::new_gzip(Compression::fast(), WINDOW_BITS));
    /// The same for parts of a body, without a frame around each.
    static PACKER_OF_PARTS: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
}

/// How far back what is packed may be like what came before: 32 KiB, the most that gzip knows.
const WINDOW_BITS: u8 = 15;

/// Packs a body as a whole: what it takes meanwhile is kept for one at a time, and not for all who are slow to read.
fn pack(body: &[u8]) -> Vec<u8> {
    PACKER.with_borrow_mut(|packer| {
        packer.reset();
        let mut packed = Vec::new();
        loop {
            let (rest, room) = (&body[packer.total_in() as usize..], body.len() / 4 + 64);
            packed.reserve(room);
            let state = packer.compress_vec(rest, &mut packed, FlushCompress::Finish);
            if state.expect("it is reset and told to finish") == Status::StreamEnd {
                return packed;
            }
        }
    })
}

/// Packs a body part by part. No part is like one before it, so that a client that is slow to read keeps nothing but a
/// checksum: what packs would be a quarter of a megabyte for each of them.
fn pack_in_parts<E: Into<io::Error> + Send>(
    parts: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    // Of the frame, only that it is deflated says anything (RFC 1952, section 2.3).
    const HEADER: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    /// An empty last block (RFC 1951, section 3.2.6).
    const LAST: &[u8] = &[3, 0];
    let begun = stream::once(async { Ok(Bytes::from_static(HEADER)) });
    let packed = stream::try_unfold(Some((Box::pin(parts), Crc::new())), |state| async {
        let Some((mut parts, mut crc)) = state else { return Ok(None) };
        Ok(Some(match parts.next().await.transpose().map_err(Into::into)? {
            Some(part) => {
                crc.update(&part);
                (pack_part(&part), Some((parts, crc)))
            }
            None => ([LAST, &crc.sum().to_le_bytes(), &crc.amount().to_le_bytes()].concat().into(), None),
        }))
    });
    begun.chain(packed)
}

/// Packs a part so that another can follow it.
fn pack_part(part: &[u8]) -> Bytes {
    PACKER_OF_PARTS.with_borrow_mut(|packer| {
        packer.reset();
        let mut packed = Vec::new();
        loop {
            packed.reserve(part.len() / 4 + 64);
            let rest = &part[packer.total_in() as usize..];
            packer.compress_vec(rest, &mut packed, FlushCompress::Full).expect("it is reset");
            // All that it still had went out if it left room.
            if packer.total_in() as usize == part.len() && packed.len() < packed.capacity() {
                return packed.into();
            }
        }
    })
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let all = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse);
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight: f32| weight > 0.0)
    })
}

/// Refuses what is more than the service can do at once: some are told soon to come back, rather than all of them to
/// wait until nobody has an answer in time. Whether the service lives is answered always, or the busiest would be
/// replaced first.
pub(crate) async fn uncrowded<E: Endpoint>(
    next: Arc<E>,
    request: Request,
    places: Arc<Semaphore>,
) -> Result<E::Output> {
    if request.uri().path() == "/health" {
        return next.call(request).await;
    }
    let Ok(_place) = places.try_acquire() else {
        return Err(Error::Crowded.into());
    };
    next.call(request).await
}

/// Gives up what takes too long, wherever it is. Every endpoint leaves what it was about in a state from which the same
/// request made again goes on.
pub(crate) async fn in_time<E: Endpoint>(next: Arc<E>, request: Request, limit: Duration) -> Result<E::Output> {
    timeout(limit, next.call(request)).await.unwrap_or_else(|late| Err(Error::Late(caused(late)).into()))
}

/// Passes on requests that are all there, and refuses what is too large, or does not come.
pub(crate) async fn bounded<E: Endpoint>(
    next: Arc<E>,
    mut request: Request,
    limit: Duration,
    senders: WaitingRoom,
) -> Result<E::Output> {
    if request.uri().path_and_query().is_some_and(|address| address.as_str().len() > MAX_ADDRESS_BYTES) {
        return Err(Error::LongAddress.into());
    }
    let head: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if head > MAX_HEAD_BYTES {
        return Err(Error::LargeHead.into());
    }
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        return Err(Error::PackedBody.into());
    }
    let mut body = pin!(whole(request.take_body()));
    let body = match poll!(body.as_mut()) {
        Poll::Ready(body) => body,
        Poll::Pending => {
            let give_way = Arc::new(Notify::new());
            let _seat = senders.enter(&give_way);
            tokio::select! {
                body = &mut body => body,
                () = give_way.notified() => Err(Error::SlowRequest.into()),
                () = sleep(limit) => Err(Error::SlowRequest.into()),
            }
        }
    };
    request.set_body(body?);
    next.call(request).await
}

/// Returns a body that is not too large. Somewhat more is read than is allowed, and not kept: a client that is still
/// sending does not hear a refusal.
async fn whole(body: Body) -> Result<Vec<u8>> {
    let (mut parts, mut whole, mut size) = (body.into_bytes_stream(), Vec::new(), 0);
    while let Some(part) = parts.next().await {
        let part = part.map_err(ReadBodyError::Io)?;
        size += part.len();
        match size {
            0..=MAX_BODY_BYTES => whole.extend_from_slice(&part),
            _ if size > 16 * MAX_BODY_BYTES => break,
            _ => whole = Vec::new(),
        }
    }
    if size > MAX_BODY_BYTES { Err(Error::TooLarge.into()) } else { Ok(whole) }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn id(trace: &'static str) -> String {
        let headers = HeaderMap::from_iter([(TRACE_ID, HeaderValue::from_static(trace))]);
        request_id(&headers).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_request_is_called_as_the_load_balancer_calls_it() {
        let root = "1-67891233-abcdef012345678912345678";
        assert_eq!(id("Root=1-67891233-abcdef012345678912345678"), root);
        assert_eq!(
            id("Self=1-67891234-12456789abcdef012345678;Root=1-67891233-abcdef012345678912345678;Sampled=0"),
            root
        );
    }

    #[test]
    fn what_is_packed_is_what_it_was() {
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(100_000).collect();
        for body in [&b""[..], b"a", &b"a post and a post ".repeat(10_000), &noise, b"the last"] {
            let (packed, mut unpacked) = (pack(body), Vec::new());
            GzDecoder::new(&*packed).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == body, "{} bytes became {}", body.len(), unpacked.len());
        }
    }

    #[tokio::test]
    async fn what_is_packed_in_parts_is_what_it_was() {
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(100_000).collect();
        let parts =
            [&b"["[..], &b"a post and a post ".repeat(10_000), &noise, b",", b"the last]"].map(Bytes::copy_from_slice);
        for parts in [&parts[..], &parts[..1], &[]] {
            let all = stream::iter(parts.to_vec()).map(Ok::<_, io::Error>);
            let packed: Vec<Bytes> = pack_in_parts(all).map(Result::unwrap).collect().await;
            let mut unpacked = Vec::new();
            GzDecoder::new(&*packed.concat()).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == parts.concat(), "{} bytes became {}", parts.concat().len(), unpacked.len());
        }
        let broken = stream::iter([Ok(parts[0].clone()), Err(io::Error::other("cut"))]);
        let packed: Vec<_> = pack_in_parts(broken).collect().await;
        assert!(packed.last().unwrap().is_err(), "what is broken off has no end");
    }

    #[test]
    fn packed_is_what_is_sent_to_who_says_so() {
        let takes =
            |value| takes_gzip(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]));
        for value in ["gzip", "br, GZIP", "gzip;q=0.5, *;q=0", "deflate,gzip ; q=1"] {
            assert!(takes(value), "{value}");
        }
        for value in ["", "br", "*", "gzip;q=0", "gzip;q=0.0, br", "gzip;q=much", "xgzip"] {
            assert!(!takes(value), "{value}");
        }
    }

    #[test]
    fn what_is_no_trace_gets_a_name_of_its_own() {
        for other in ["", "Root=", "Root=a b", "Root=\"}{", "Self=1-2-3", "garbage"] {
            let given = id(other);
            assert!(given.len() == 32 && given.bytes().all(|byte| byte.is_ascii_hexdigit()), "{other}: {given}");
        }
        assert_ne!(id(""), id(""));
    }
}
