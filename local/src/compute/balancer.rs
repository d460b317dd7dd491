//! The load balancer itself: an HTTP/1.1 proxy that answers as an Application Load Balancer does.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Scheme;
use http::{Request, Response, StatusCode, Uri, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clock::Moment;
use super::elb::{Place, idle_timeout_s, routable, seen_by};
use super::state::{Action, new_hex};
use super::{Compute, elb};

/// Why a body ended before its end.
type Broken = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<BoxBody<Bytes, Broken>>;

/// What concerns one connection only and is not passed on.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A load balancer that goes lets its answers go out, but not for long.
const FAREWELL: Duration = Duration::from_secs(2);

/// How many requests each target has had, and has now.
#[derive(Default, Clone)]
pub struct Requests(Arc<Mutex<BTreeMap<(String, String), Count>>>);

#[derive(Default)]
struct Count {
    open: usize,
    total: u64,
}

impl Requests {
    /// Whether a target of a group has requests to finish.
    pub fn has_open(&self, group: &str, target: &str) -> bool {
        self.counts().get(&(group.to_owned(), target.to_owned())).is_some_and(|count| count.open > 0)
    }

    /// How many requests a group's targets have had since the last question.
    pub fn take_total(&self, group: &str) -> u64 {
        let mut counts = self.counts();
        let ours = counts.iter_mut().filter(|((name, _), _)| name == group);
        ours.map(|(_, count)| std::mem::take(&mut count.total)).sum()
    }

    fn begin(&self, group: &str, target: &str) -> Open {
        let key = (group.to_owned(), target.to_owned());
        let mut counts = self.counts();
        let count = counts.entry(key.clone()).or_default();
        count.open += 1;
        count.total += 1;
        Open { requests: self.clone(), key }
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<(String, String), Count>> {
        self.0.lock().expect("nothing panics while it counts")
    }
}

/// A request that a target works on, until this is dropped.
struct Open {
    requests: Requests,
    key: (String, String),
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(count) = self.requests.counts().get_mut(&self.key) {
            count.open -= 1;
        }
    }
}

/// What a listener's connections share.
struct Front {
    compute: Arc<Compute>,
    listener: String,
    client: Client<HttpConnector, Relay>,
    turn: AtomicUsize,
}

/// Serves a listener until it stops.
pub async fn serve(compute: Arc<Compute>, listener: String, socket: std::net::TcpListener, stop: CancellationToken) {
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(listener, "failed to listen: {error}"),
    };
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(Duration::from_secs(5)));
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(20)).build(connector);
    let front = Arc::new(Front { compute, listener, client, turn: AtomicUsize::new(0) });
    let connections = TaskTracker::new();
    while let Some(accepted) = stop.run_until_cancelled(socket.accept()).await {
        match accepted {
            Ok((stream, peer)) => drop(connections.spawn(converse(front.clone(), stream, peer, stop.clone()))),
            // Too many open files, most likely: others have to be closed first.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    connections.close();
    drop(timeout(FAREWELL, connections.wait()).await);
}

/// One client's connection.
async fn converse(front: Arc<Front>, stream: TcpStream, peer: SocketAddr, stop: CancellationToken) {
    let port = stream.local_addr().map(|address| address.port()).unwrap_or_default();
    drop(stream.set_nodelay(true));
    let answer = service_fn(move |request| {
        let front = front.clone();
        async move { Ok::<_, Infallible>(front.answer(request, peer, port).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(60));
    let connection = builder.serve_connection(TokioIo::new(stream), answer).with_upgrades();
    tokio::pin!(connection);
    tokio::select! {
        // How a client leaves is its own affair.
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    drop(timeout(FAREWELL, connection).await);
}

/// Who gets a request.
enum Choice {
    Target {
        address: SocketAddr,
        key: String,
        open: Open,
        patience: Duration,
    },
    /// The answer needs no target.
    Reply(Box<Answer>),
}

impl Front {
    async fn answer(&self, mut request: Request<Incoming>, peer: SocketAddr, port: u16) -> Answer {
        let upgrade = wanted_upgrade(request.headers());
        let client = hyper::upgrade::on(&mut request);
        let (mut head, body) = request.into_parts();
        forwarded(&mut head.headers, peer, port);
        if let Some(protocol) = upgrade {
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            head.headers.insert(header::UPGRADE, protocol);
        }
        let relay = Relay::new(body);
        let mut tried: Vec<String> = Vec::new();
        loop {
            let (address, key, open, patience) = match self.choose(&head, port, &tried) {
                Choice::Reply(answer) => return *answer,
                Choice::Target { address, key, open, patience } => (address, key, open, patience),
            };
            let Some(uri) = uri_at(address, &head.uri) else {
                return refusal(StatusCode::BAD_REQUEST);
            };
            let mut request = Request::new(relay.clone());
            (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) =
                (head.method.clone(), uri, head.headers.clone());
            let response = self.client.request(request);
            tokio::pin!(response);
            let outcome = loop {
                tokio::select! {
                    outcome = response.as_mut() => break Some(outcome),
                    () = sleep_until(relay.last_active() + patience) => {
                        if relay.last_active() + patience <= Instant::now() {
                            break None;
                        }
                    }
                }
            };
            match outcome {
                None => return refusal(StatusCode::GATEWAY_TIMEOUT),
                Some(Ok(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    return self.joined(client, response, open, patience);
                }
                Some(Ok(response)) => return passed_on(response, open, patience),
                // Nothing of the request has been read by anybody: another target may have it.
                Some(Err(error)) if error.is_connect() => tried.push(key),
                Some(Err(_)) => return refusal(StatusCode::BAD_GATEWAY),
            }
        }
    }

    /// Both sides have agreed to speak something else, WebSocket most likely: from here on bytes are only carried.
    fn joined(&self, client: OnUpgrade, mut response: Response<Incoming>, open: Open, patience: Duration) -> Answer {
        let target = hyper::upgrade::on(&mut response);
        let (mut head, _) = response.into_parts();
        let protocol = head.headers.get(header::UPGRADE).cloned();
        strip(&mut head.headers);
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.extend(protocol.map(|protocol| (header::UPGRADE, protocol)));
        let stop = self.compute.stop.clone();
        self.compute.tasks.spawn(async move {
            let _open = open;
            if let Some(Ok((client, target))) =
                stop.run_until_cancelled(futures::future::try_join(client, target)).await
            {
                carry(client, target, patience, stop).await;
            }
        });
        Response::from_parts(head, empty_body())
    }

    /// Picks the next target in turn. A request counts as open from here on, so that draining sees it.
    fn choose(&self, head: &http::request::Parts, port: u16, tried: &[String]) -> Choice {
        let compute = &self.compute;
        let reply = |status| Choice::Reply(Box::new(refusal(status)));
        compute.read(|state| {
            let Some(listener) = state.listeners.get(&self.listener) else {
                return reply(StatusCode::SERVICE_UNAVAILABLE);
            };
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let group = match listener.actions.last() {
                Some(Action::Forward(groups)) => by_weight(groups, turn).and_then(|arn| state.target_groups.get(arn)),
                Some(Action::Fixed { status, content_type, body }) => {
                    return Choice::Reply(Box::new(fixed(status, content_type.as_deref(), body.as_deref())));
                }
                Some(redirect @ Action::Redirect { .. }) => {
                    return Choice::Reply(Box::new(redirected(redirect, head, port)));
                }
                None => None,
            };
            let Some(group) = group else {
                return reply(StatusCode::SERVICE_UNAVAILABLE);
            };
            let targets = routable(state, &compute.site, group);
            if targets.is_empty() {
                return reply(StatusCode::SERVICE_UNAVAILABLE);
            }
            let key_of = |target: &super::state::Target| elb::target_key(&target.id, target.port);
            let left: Vec<_> = targets.into_iter().filter(|target| !tried.contains(&key_of(target))).collect();
            let Some(target) = left.get(turn % left.len().max(1)) else {
                return reply(StatusCode::BAD_GATEWAY);
            };
            match seen_by(state, group, target) {
                Some(Place::At(address)) => {
                    let balancer = state.load_balancers.get(&listener.load_balancer);
                    let patience = Duration::from_secs(balancer.map_or(60, idle_timeout_s));
                    let key = key_of(target);
                    let open = compute.requests.begin(&group.arn, &key);
                    Choice::Target { address, key, open, patience }
                }
                Some(Place::Blocked) => reply(StatusCode::GATEWAY_TIMEOUT),
                Some(Place::Closed) | None => reply(StatusCode::BAD_GATEWAY),
            }
        })
    }
}

fn by_weight(groups: &[(String, u32)], turn: usize) -> Option<&String> {
    let total: usize = groups.iter().map(|(_, weight)| *weight as usize).sum();
    let mut place = turn.checked_rem(total)?;
    for (arn, weight) in groups {
        match place.checked_sub(*weight as usize) {
            Some(rest) => place = rest,
            None => return Some(arn),
        }
    }
    None
}

fn uri_at(address: SocketAddr, uri: &Uri) -> Option<Uri> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Uri::builder().scheme(Scheme::HTTP).authority(address.to_string()).path_and_query(path).build().ok()
}

/// The protocol a client asks to go over to.
fn wanted_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asks = headers.get(header::CONNECTION)?.to_str().ok()?;
    let asks = asks.split(',').any(|word| word.trim().eq_ignore_ascii_case("upgrade"));
    headers.get(header::UPGRADE).filter(|_| asks).cloned()
}

/// Carries bytes both ways until one side closes, or nothing has come for as long as the load balancer is patient.
async fn carry(client: Upgraded, target: Upgraded, patience: Duration, stop: CancellationToken) {
    let (mut from_client, mut to_client) = tokio::io::split(TokioIo::new(client));
    let (mut from_target, mut to_target) = tokio::io::split(TokioIo::new(target));
    let seen = Mutex::new(Instant::now());
    let idle = async {
        loop {
            let end = *seen.lock().expect("nothing panics while it looks at the time") + patience;
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    };
    tokio::select! {
        _ = copy(&mut from_client, &mut to_target, &seen) => (),
        _ = copy(&mut from_target, &mut to_client, &seen) => (),
        () = idle => (),
        () = stop.cancelled() => (),
    }
    drop(timeout(FAREWELL, futures::future::join(to_client.shutdown(), to_target.shutdown())).await);
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    seen: &Mutex<Instant>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        *seen.lock().expect("nothing panics while it looks at the time") = Instant::now();
        match read {
            0 => return Ok(()),
            read => to.write_all(&buffer[..read]).await?,
        }
    }
}

/// What the load balancer adds to a request and takes from it.
fn forwarded(headers: &mut HeaderMap, peer: SocketAddr, port: u16) {
    strip(headers);
    let before = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
    let chain = before.map_or_else(|| peer.ip().to_string(), |before| format!("{before}, {}", peer.ip()));
    let root = format!("1-{:08x}-{}{}", Moment::now().unix_seconds(), new_hex(), &new_hex()[..8]);
    let trace = match headers.get("x-amzn-trace-id").and_then(|value| value.to_str().ok()) {
        Some(before) => format!("Self={root};{before}"),
        None => format!("Root={root}"),
    };
    let values = [
        ("x-forwarded-for", chain),
        ("x-forwarded-proto", "http".to_owned()),
        ("x-forwarded-port", port.to_string()),
        ("x-amzn-trace-id", trace),
    ];
    for (name, value) in values {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// Takes away what concerns one connection only, and what `Connection` names as such.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(*name);
    }
}

/// A target's answer on its way to the client; the request stays open until its body has gone.
fn passed_on(response: Response<Incoming>, open: Open, patience: Duration) -> Answer {
    let (mut head, body) = response.into_parts();
    strip(&mut head.headers);
    head.version = Version::HTTP_11;
    Response::from_parts(head, Held { body, idle: Box::pin(sleep(patience)), patience, _open: open }.boxed())
}

/// The load balancer's own answer to what it cannot pass on.
fn refusal(status: StatusCode) -> Answer {
    let title = match status {
        StatusCode::SERVICE_UNAVAILABLE => "503 Service Temporarily Unavailable".to_owned(),
        StatusCode::GATEWAY_TIMEOUT => "504 Gateway Time-out".to_owned(),
        other => format!("{} {}", other.as_u16(), other.canonical_reason().unwrap_or_default()),
    };
    let page = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    );
    own(status, Some("text/html"), page)
}

fn fixed(status: &str, content_type: Option<&str>, body: Option<&str>) -> Answer {
    let status = status.parse().unwrap_or(StatusCode::OK);
    own(status, content_type.or(body.map(|_| "text/plain; charset=utf-8")), body.unwrap_or_default().to_owned())
}

fn redirected(action: &Action, head: &http::request::Parts, port: u16) -> Answer {
    let Action::Redirect { protocol, host, port: to, path, query, status } = action else {
        return refusal(StatusCode::SERVICE_UNAVAILABLE);
    };
    let asked = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = asked.rsplit_once(':').map_or(asked, |(name, _)| name);
    let fill = |text: &str| {
        text.replace("#{protocol}", "http")
            .replace("#{host}", name)
            .replace("#{port}", &port.to_string())
            .replace("#{path}", head.uri.path().trim_start_matches('/'))
            .replace("#{query}", head.uri.query().unwrap_or_default())
    };
    let query = Some(fill(query)).filter(|query| !query.is_empty()).map(|query| format!("?{query}"));
    let location = format!(
        "{}://{}:{}{}{}",
        fill(protocol).to_lowercase(),
        fill(host),
        fill(to),
        fill(path),
        query.unwrap_or_default()
    );
    let status = if status == "HTTP_302" { StatusCode::FOUND } else { StatusCode::MOVED_PERMANENTLY };
    let mut answer = own(status, None, String::new());
    if let Ok(location) = HeaderValue::from_str(&location) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    answer
}

fn own(status: StatusCode, content_type: Option<&str>, body: String) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(header::SERVER, HeaderValue::from_static("awselb/2.0"));
    if let Some(value) = content_type.and_then(|value| HeaderValue::from_str(value).ok()) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

fn empty_body() -> BoxBody<Bytes, Broken> {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// A request's body that can be offered to another target as long as nothing of it has been read.
#[derive(Clone)]
struct Relay(Arc<Mutex<Source>>);

struct Source {
    body: Incoming,
    last_active: Instant,
}

impl Relay {
    fn new(body: Incoming) -> Relay {
        Relay(Arc::new(Mutex::new(Source { body, last_active: Instant::now() })))
    }

    /// When the client last sent something.
    fn last_active(&self) -> Instant {
        self.source().last_active
    }

    fn source(&self) -> MutexGuard<'_, Source> {
        self.0.lock().expect("reading a body does not panic")
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut source = self.source();
        let frame = Pin::new(&mut source.body).poll_frame(cx);
        if frame.is_ready() {
            source.last_active = Instant::now();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.source().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source().body.size_hint()
    }
}

/// An answer's body, with the request it belongs to. A target that stops in the middle of it is not waited for longer
/// than the load balancer is patient.
struct Held {
    body: Incoming,
    idle: Pin<Box<Sleep>>,
    patience: Duration,
    _open: Open,
}

impl Body for Held {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                let end = Instant::now() + self.patience;
                self.idle.as_mut().reset(end);
                Poll::Ready(frame.map(|frame| frame.map_err(Broken::from)))
            }
            Poll::Pending => self.idle.as_mut().poll(cx).map(|()| Some(Err("the target has stopped to answer".into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_passed_on_with_where_it_came_from_and_without_what_was_for_us() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Mine"),
            ("x-mine", "1"),
            ("transfer-encoding", "chunked"),
            ("x-forwarded-for", "10.0.0.1"),
            ("authorization", "ada"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        forwarded(&mut headers, SocketAddr::from(([127, 0, 0, 1], 5000)), 8080);
        let names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        for gone in ["connection", "x-mine", "transfer-encoding"] {
            assert!(!names.contains(&gone), "{gone} is still there");
        }
        assert_eq!(headers["x-forwarded-for"], "10.0.0.1, 127.0.0.1");
        assert_eq!(
            (&headers["x-forwarded-proto"], &headers["x-forwarded-port"]),
            (&HeaderValue::from_static("http"), &HeaderValue::from_static("8080"))
        );
        assert!(headers["x-amzn-trace-id"].to_str().unwrap().starts_with("Root=1-"));
        assert_eq!(headers["authorization"], "ada");
    }

    #[test]
    fn groups_take_turns_by_their_weights() {
        let groups = [("a".to_owned(), 2), ("b".to_owned(), 1), ("c".to_owned(), 0)];
        let order: Vec<&str> = (0..6).filter_map(|turn| by_weight(&groups, turn)).map(String::as_str).collect();
        assert_eq!(order, ["a", "a", "b", "a", "a", "b"]);
        assert_eq!(by_weight(&[], 0), None);
    }
}
