//! The load balancer: a proxy for HTTP/1.1, and for HTTP/2 over TLS, that behaves like an Application Load Balancer.

pub mod access_log;
mod body;
mod clients;
mod headers;
mod pages;
mod patience;
mod requests;
mod route;
mod streams;
mod tls;
mod tunnel;

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri, Version};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Compute;
use super::state::Action;
use access_log::{AccessLogEntry, Secured};
use body::{Relay, TargetBody};
use headers::ForwardedFor;
use pages::{empty_body, fixed, redirected, refusal};
use requests::Open;
pub use requests::{Requests, Tally};
use route::{At, ForwardGroup, Next, Route};
use tls::{Tls, TlsSettings};

use clients::{FAREWELL, Side, converse};
use patience::{Tried, Waiting, is_timeout, within_patience};

/// Why a body ended prematurely.
type Broken = Box<dyn Error + Send + Sync>;
type Answer = Response<BoxBody<Bytes, Broken>>;

/// The timeout for connecting to a target.
const CONNECT: Duration = Duration::from_secs(10);

/// The status under which a load balancer counts a client that disconnected before its answer.
const CLIENT_GONE: u16 = 460;

/// The state that a listener's connections share.
struct Front {
    compute: Arc<Compute>,
    listener: String,
    client: Client<HttpConnector, Relay>,
    turn: AtomicUsize,
    tls: Tls,
    /// As of the last observed generation of the state.
    route: Mutex<Option<Arc<Route>>>,
}

/// Serves a listener until it stops.
pub async fn serve(compute: Arc<Compute>, listener: String, socket: std::net::TcpListener, stop: CancellationToken) {
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(listener, "failed to listen: {error}"),
    };
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(20)).build(connector);
    let front = Arc::new(Front {
        compute,
        listener,
        client,
        turn: AtomicUsize::new(0),
        tls: Tls::default(),
        route: Mutex::new(None),
    });
    let connections = TaskTracker::new();
    while let Some(accepted) = stop.run_until_cancelled(socket.accept()).await {
        match accepted {
            Ok((stream, peer)) => drop(connections.spawn(converse(front.clone(), stream, peer, stop.clone()))),
            // Most likely there are too many open files: wait until others are closed.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    connections.close();
    drop(timeout(FAREWELL, connections.wait()).await);
}

/// Where a request is routed.
enum Choice {
    Target {
        group: Arc<str>,
        place: usize,
        at: Authority,
        open: Open,
    },
    /// A target of this group was chosen, but accepts no connections.
    Unreachable {
        group: Arc<str>,
        status: StatusCode,
    },
    Refused(StatusCode),
}

impl Front {
    /// Returns the TLS configuration of an HTTPS listener; `None` if it is a plain HTTP listener.
    fn security(&self) -> Option<Result<Arc<rustls::ServerConfig>, String>> {
        let route = self.route();
        let (policy, arns) = route.security.as_ref()?;
        let certificates = arns.iter().filter_map(|arn| self.compute.site.certificates.certificate(arn)).collect();
        Some(self.tls.config(TlsSettings { policy: policy.name, certificates }, policy))
    }

    /// Returns what the client of a connection and the listener have agreed on.
    fn agreed(&self, connection: &rustls::ServerConnection) -> Secured {
        let name = connection.server_name().map(str::to_owned);
        let route = self.route();
        let arns = route.security.iter().flat_map(|(_, arns)| arns);
        let known = arns.filter_map(|arn| Some((arn, self.compute.site.certificates.certificate(arn)?)));
        Secured {
            cipher: connection.negotiated_cipher_suite().map(|suite| tls::name(&suite)).unwrap_or_default(),
            protocol: if connection.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_2) {
                "TLSv1.2"
            } else {
                "TLSv1.3"
            },
            certificate: tls::served(known, name.as_deref()),
            name,
        }
    }

    async fn answer(&self, request: Request<Incoming>, side: Side) -> Answer {
        let route = self.route();
        let (head, body) = request.into_parts();
        let mut entry = route.has_access_log.then(|| AccessLogEntry::of(&self.compute, &route.balancer, &head, &side));
        let request = Request::from_parts(head, body);
        let mut waiting = Waiting { compute: &self.compute, balancer: &route.balancer, is_over: false };
        let answer = self.pass_on(&route, request, side, &mut entry).await;
        waiting.is_over = true;
        drop(waiting);
        let answer = answer.unwrap_or_else(|status| {
            self.compute.count_own(&route.balancer, status.as_u16());
            refusal(status)
        });
        match entry {
            Some(entry) => entry.answered(answer),
            None => answer,
        }
    }

    /// Returns the answer of a target or of the listener, or the status with which the load balancer refuses the
    /// request.
    async fn pass_on(
        &self,
        route: &Arc<Route>,
        mut request: Request<Incoming>,
        side: Side,
        entry: &mut Option<AccessLogEntry>,
    ) -> Result<Answer, StatusCode> {
        let upgrade = headers::wanted_upgrade(request.headers());
        let client = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        let (mut head, body) = request.into_parts();
        headers::as_http1(&mut head);
        if let Some(status) = headers::refused(&head) {
            return Err(status);
        }
        let host = headers::host_name(&head).to_owned();
        let (priority, next) = route.next(&host, head.uri.path());
        match next {
            Next::Nowhere => return Err(StatusCode::SERVICE_UNAVAILABLE),
            Next::Own(action) => {
                let name = if matches!(action, Action::Fixed { .. }) { "fixed-response" } else { "redirect" };
                entry.iter_mut().for_each(|entry| entry.acts(name, priority, &head.headers));
                return Ok(own(action, &head, &side, &route.local_ports));
            }
            Next::Groups(_) => (),
        }
        if route.drops_invalid {
            headers::drop_invalid(&mut head.headers);
        }
        headers::forward(&mut head.headers, &side, route.forwarded_for);
        if let Some(protocol) = upgrade {
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            head.headers.insert(header::UPGRADE, protocol);
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let path = head.uri.path_and_query().cloned();
        let relay = Relay::new(body);
        if let Some(entry) = entry {
            entry.acts("forward", priority, &head.headers);
            entry.reads(&relay);
        }
        let mut tried = Tried::default();
        let (metrics, speed) = (&self.compute.metrics, self.compute.site.speed);
        let mut is_counted = false;
        loop {
            let (group, place, at, open) = match self.choose(&mut tried, turn, &host, head.uri.path()) {
                Choice::Target { group, place, at, open } => (group, place, at, open),
                Choice::Unreachable { group, status } => {
                    if !is_counted {
                        metrics.count_request(&route.balancer, &group, speed);
                    }
                    metrics.count_connection_error(&route.balancer, &group, speed);
                    return Err(status);
                }
                Choice::Refused(status) => return Err(status),
            };
            entry.iter_mut().for_each(|entry| entry.sent_to(&at, &group));
            if !std::mem::replace(&mut is_counted, true) {
                metrics.count_request(&route.balancer, &group, speed);
            }
            let mut request = Request::new(relay.clone());
            *request.method_mut() = head.method.clone();
            *request.uri_mut() = uri_at(at, path.clone()).ok_or(StatusCode::BAD_REQUEST)?;
            *request.headers_mut() = head.headers.clone();
            open.count();
            let Some(outcome) = within_patience(self.client.request(request), &relay, route.patience).await else {
                let client_owes = relay.awaits_client();
                return Err(if client_owes { StatusCode::REQUEST_TIMEOUT } else { StatusCode::GATEWAY_TIMEOUT });
            };
            if let (Some(entry), Ok(response)) = (entry.as_mut(), &outcome) {
                entry.target_answered(response.status());
            }
            if let Err(error) = &outcome
                && error.is_connect()
            {
                metrics.count_connection_error(&route.balancer, &group, speed);
            }
            match outcome {
                Ok(response) if headers::length(response.headers()) > headers::MOST_ANSWERED => {
                    return Err(StatusCode::BAD_GATEWAY);
                }
                Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    return Ok(self.joined(client, response, open, route.patience));
                }
                Ok(response) => {
                    metrics.count_answer(&route.balancer, &group, response.status().as_u16(), speed);
                    return Ok(passed_on(response, open, route.patience));
                }
                Err(error) if is_timeout(&error) => return Err(StatusCode::GATEWAY_TIMEOUT),
                // The target has read nothing of the request, so it may go to another one.
                Err(error) if error.is_connect() => tried.places.push(place),
                Err(_) => return Err(StatusCode::BAD_GATEWAY),
            }
        }
    }

    /// Connects both sides after they have agreed to upgrade the protocol.
    fn joined(
        &self,
        client: Option<OnUpgrade>,
        mut response: Response<Incoming>,
        open: Open,
        patience: Duration,
    ) -> Answer {
        let target = hyper::upgrade::on(&mut response);
        let (mut head, _) = response.into_parts();
        let protocol = head.headers.get(header::UPGRADE).cloned();
        headers::strip(&mut head.headers);
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.extend(protocol.map(|protocol| (header::UPGRADE, protocol)));
        let stop = self.compute.stop.clone();
        self.compute.tasks.spawn(async move {
            let _open = open;
            let Some(client) = client else { return };
            let both = futures::future::try_join(client, target);
            if let Some(Ok((client, target))) = stop.run_until_cancelled(both).await {
                tunnel::carry(client, target, patience, stop).await;
            }
        });
        Response::from_parts(head, empty_body())
    }

    /// Picks the next target in turn. The request counts as open from here on, so that draining waits for it.
    fn choose(&self, tried: &mut Tried, turn: usize, host: &str, path: &str) -> Choice {
        loop {
            let route = self.route();
            tried.of(route.generation);
            let (_, Next::Groups(groups)) = route.next(host, path) else {
                return Choice::Refused(StatusCode::SERVICE_UNAVAILABLE);
            };
            let group = route::by_weight(groups, turn).filter(|group| !ForwardGroup::is_empty(group));
            let Some(group) = group else {
                return Choice::Refused(StatusCode::SERVICE_UNAVAILABLE);
            };
            let place = group.choose(turn, &tried.places);
            let Some((place, goal)) = place.and_then(|place| Some((place, group.target(place)?))) else {
                return Choice::Refused(StatusCode::BAD_GATEWAY);
            };
            let unreachable = |status| Choice::Unreachable { group: group.arn.clone(), status };
            let at = match &goal.at {
                At::Process(at) => at.clone(),
                At::Blocked => return unreachable(StatusCode::GATEWAY_TIMEOUT),
                At::Closed => return unreachable(StatusCode::BAD_GATEWAY),
            };
            let open = goal.count.begin();
            // If the state has not changed since, any later deregistration sees this request.
            if self.compute.generation() == route.generation {
                return Choice::Target { group: group.arn.clone(), place, at, open };
            }
        }
    }

    /// Returns the route for the current state.
    fn route(&self) -> Arc<Route> {
        let mut kept = self.route.lock();
        match kept.as_ref() {
            Some(route) if route.generation == self.compute.generation() => route.clone(),
            _ => {
                let look = |state: &_, generation| Route::of(&self.compute, state, generation, &self.listener);
                kept.insert(Arc::new(self.compute.read_with_generation(look))).clone()
            }
        }
    }
}

fn uri_at(at: Authority, path: Option<PathAndQuery>) -> Option<Uri> {
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let mut parts = http::uri::Parts::default();
    (parts.scheme, parts.authority, parts.path_and_query) = (Some(Scheme::HTTP), Some(at), Some(path));
    Uri::from_parts(parts).ok()
}

/// Checks and rewrites the head of a request without sending it, and returns a status.
pub(super) fn rehearse(mut head: http::request::Parts) -> StatusCode {
    const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 50_000);
    let side = Side::of(PEER, 80, "http");
    headers::as_http1(&mut head);
    if let Some(status) = headers::refused(&head) {
        return status;
    }
    let redirect = Action::Redirect {
        protocol: "#{protocol}".to_owned(),
        host: "#{host}".to_owned(),
        port: "#{port}".to_owned(),
        path: "/#{path}".to_owned(),
        query: "#{query}".to_owned(),
        status: "HTTP_301".to_owned(),
    };
    let answer = own(&redirect, &head, &side, &BTreeMap::new()).status();
    let upgrade = headers::wanted_upgrade(&head.headers);
    tracing::trace!(?upgrade);
    for mode in [ForwardedFor::Preserve, ForwardedFor::Append, ForwardedFor::Remove] {
        headers::forward(&mut head.headers, &side, mode);
    }
    let target = uri_at(Authority::from_static("127.0.0.1:1"), head.uri.path_and_query().cloned());
    if target.is_some() { answer } else { StatusCode::BAD_REQUEST }
}

/// Returns the answer of a listener that does not forward.
fn own(action: &Action, head: &http::request::Parts, side: &Side, local_ports: &BTreeMap<u16, u16>) -> Answer {
    match action {
        Action::Fixed { status, content_type, body } => fixed(status, content_type.as_deref(), body.as_deref()),
        redirect => redirected(redirect, head, side, local_ports),
    }
}

/// Passes on a target's response. The request stays open until the body has been sent.
fn passed_on(response: Response<Incoming>, open: Open, patience: Duration) -> Answer {
    let (mut head, body) = response.into_parts();
    headers::strip(&mut head.headers);
    head.version = Version::HTTP_11;
    Response::from_parts(head, TargetBody::new(body, patience, open).boxed())
}
