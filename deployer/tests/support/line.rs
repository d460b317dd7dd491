//! The line between a deployer and its cloud: it counts calls, and can be cut at any of them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::{CONNECTION, TRANSFER_ENCODING},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

/// Where the line breaks, in relation to what a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The call never arrives; the next one does.
    Before,
    /// The call takes effect and its answer is lost; the next one arrives.
    After,
    /// The call takes effect, its answer is lost, and nothing arrives any more.
    ForGood,
}

/// A proxy in front of a cloud. Dropping it closes it.
pub struct Line {
    address: SocketAddr,
    wire: Arc<Wire>,
    server: JoinHandle<()>,
}

struct Wire {
    upstream: String,
    client: reqwest::Client,
    state: Mutex<State>,
    in_flight: AtomicUsize,
    quiet: Notify,
    broken: Notify,
}

#[derive(Default)]
struct State {
    mutating: Vec<String>,
    cut: Option<(usize, Cut)>,
    is_dead: bool,
}

impl Line {
    /// A line to the cloud that answers at `upstream`, such as `http://127.0.0.1:4566`.
    pub async fn to(upstream: &str) -> Line {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let wire = Arc::new(Wire {
            upstream: upstream.to_owned(),
            client: reqwest::Client::builder().no_proxy().build().expect("a client can be made"),
            state: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            quiet: Notify::new(),
            broken: Notify::new(),
        });
        let server = tokio::spawn(serve(listener, wire.clone()));
        Line { address, wire, server }
    }

    /// Where a deployer finds it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Counts from now on, and breaks at the `nth` mutating call, the first being 1.
    pub fn cut_at(&self, nth: usize, cut: Cut) {
        *self.wire.state() = State { cut: Some((nth, cut)), ..State::default() };
    }

    /// Counts from now on, and does not break.
    pub fn mend(&self) {
        *self.wire.state() = State::default();
    }

    /// Waits until it has broken for good.
    pub async fn broken(&self) {
        let broken = self.wire.broken.notified();
        if !self.wire.state().is_dead {
            broken.await;
        }
    }

    /// Waits until every call that has been let through has been answered.
    pub async fn quiet(&self) {
        loop {
            let quiet = self.wire.quiet.notified();
            if self.wire.in_flight.load(Ordering::SeqCst) == 0 {
                return;
            }
            quiet.await;
        }
    }

    /// The mutating calls that have arrived since counting began.
    pub fn mutating(&self) -> Vec<String> {
        self.wire.state().mutating.clone()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Wire {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What is to happen to this call.
    fn judge(&self, operation: &str) -> Option<Cut> {
        let mut state = self.state();
        if state.is_dead {
            return Some(Cut::Before);
        }
        if is_read(operation) {
            return None;
        }
        state.mutating.push(operation.to_owned());
        let (_, cut) = state.cut.filter(|(nth, _)| *nth == state.mutating.len())?;
        state.is_dead = cut == Cut::ForGood;
        Some(cut)
    }

    async fn forward(&self, request: Request<Bytes>) -> Response<Full<Bytes>> {
        let (mut parts, body) = request.into_parts();
        parts.headers.remove(TRANSFER_ENCODING);
        parts.headers.remove(CONNECTION);
        let url = format!("{}{}", self.upstream, parts.uri.path_and_query().map_or("/", |path| path.as_str()));
        let call = self.client.request(parts.method, url).headers(parts.headers).body(body);
        let answer = call.send().await.expect("the cloud answers");
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            if name != TRANSFER_ENCODING && name != CONNECTION {
                response = response.header(name, value);
            }
        }
        response.body(Full::new(answer.bytes().await.expect("a whole answer"))).expect("it was an answer before")
    }
}

async fn serve(listener: TcpListener, wire: Arc<Wire>) {
    while let Ok((stream, _)) = listener.accept().await {
        let wire = wire.clone();
        let service = service_fn(move |request| {
            let wire = wire.clone();
            // In a task of its own: what has been let through takes effect, whoever hangs up.
            async move { tokio::spawn(carry(wire, request)).await.unwrap_or(Err(Hangup)) }
        });
        tokio::spawn(async move {
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Ends the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the line is cut")]
struct Hangup;

async fn carry(wire: Arc<Wire>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Hangup> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Err(Hangup) };
    let request = Request::from_parts(parts, body.to_bytes());
    wire.in_flight.fetch_add(1, Ordering::SeqCst);
    let cut = wire.judge(&operation(&request));
    let answer = match cut {
        Some(Cut::Before) => Err(Hangup),
        Some(Cut::After | Cut::ForGood) => {
            wire.forward(request).await;
            Err(Hangup)
        }
        None => Ok(wire.forward(request).await),
    };
    if cut == Some(Cut::ForGood) {
        wire.broken.notify_waiters();
    }
    wire.in_flight.fetch_sub(1, Ordering::SeqCst);
    wire.quiet.notify_waiters();
    // Answers that were under way when the line broke are lost as well.
    if wire.state().is_dead { Err(Hangup) } else { answer }
}

/// The operation, as far as its protocol tells: `CreateTable`, `PUT /bucket?cors`.
fn operation(request: &Request<Bytes>) -> String {
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
    if let Some((_, operation)) = target.and_then(|target| target.rsplit_once('.')) {
        return operation.to_owned();
    }
    let form = request.headers().get("content-type").is_some_and(|kind| kind == "application/x-www-form-urlencoded");
    let body = std::str::from_utf8(request.body()).unwrap_or_default();
    if let Some(action) = body.split('&').find_map(|pair| pair.strip_prefix("Action=")).filter(|_| form) {
        return action.to_owned();
    }
    format!("{} {}", request.method(), request.uri())
}

fn is_read(operation: &str) -> bool {
    ["GET ", "HEAD ", "Describe", "Get", "List", "Scan"].iter().any(|read| operation.starts_with(read))
}
