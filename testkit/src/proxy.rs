//! A proxy between a program and its AWS: it names every call, and can inject a fault into any of them.
//!
//! The local AWS injects faults as well ([`crate::control`]). The proxy works in front of any AWS, moto included,
//! numbers each call of a run, and can return answers that no AWS returns.

mod protocol;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::{future::BoxFuture, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use parking_lot::{Mutex, MutexGuard};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

use protocol::Protocol;
pub use protocol::is_read;

/// A fault that can be injected into a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InjectedFault {
    /// The connection is reset before the call takes effect.
    ResetBefore,
    /// The connection is reset after the call has taken effect: its answer is lost.
    ResetAfter,
    /// Like [`InjectedFault::ResetAfter`], and every later call is reset before it takes effect.
    CutAfter,
    /// The call takes no effect and is never answered.
    Hang,
    /// The call takes effect, and half of the answer arrives.
    Truncated,
    /// The call is throttled, with the service's own error.
    Throttled,
    /// The call takes no effect and is answered with this status, code and message.
    Refused(u16, &'static str, String),
    /// The call takes effect, but is answered with this error.
    RefusedAfter(u16, &'static str, String),
    /// The call takes no effect and is answered with this body.
    Answered(String),
    /// The call takes effect; in its answer, each of the first texts is replaced by the second.
    Reworded(Vec<(String, String)>),
}

impl InjectedFault {
    /// An error in the service's protocol.
    pub fn refused(status: u16, code: &'static str, message: impl Into<String>) -> InjectedFault {
        InjectedFault::Refused(status, code, message.into())
    }

    /// An internal error of the service; the call has had no effect.
    #[must_use]
    pub fn internal() -> InjectedFault {
        InjectedFault::refused(500, "InternalFailure", "as the test asked")
    }

    /// An internal error of the service, although the call has taken effect.
    #[must_use]
    pub fn internal_after() -> InjectedFault {
        InjectedFault::RefusedAfter(500, "InternalFailure", "as the test asked".into())
    }

    /// An answer with these texts replaced.
    #[must_use]
    pub fn reworded(texts: &[(&str, &str)]) -> InjectedFault {
        InjectedFault::Reworded(texts.iter().map(|(from, to)| ((*from).into(), (*to).into())).collect())
    }
}

/// Names of calls: an operation (`CreateTable`), or one call of it (`CreateTable#2`, the second of a run).
pub type Calls = BTreeSet<String>;

/// Called by the proxy with the operation before it forwards a call or injects a fault.
type Hook = Box<dyn Fn(String) -> BoxFuture<'static, Option<InjectedFault>> + Send + Sync>;

/// A proxy in front of an AWS. Dropping it closes it.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    upstream: String,
    client: reqwest::Client,
    hook: Option<Hook>,
    state: Mutex<State>,
    in_flight: AtomicUsize,
    idle: Notify,
    cut: Notify,
}

#[derive(Default)]
struct State {
    /// Every call since counting began, in order of arrival, without the client's retries.
    calls: Vec<String>,
    /// How often an operation has been called.
    counts: HashMap<String, usize>,
    /// The calls by the client's own id, which its retries keep.
    numbered: HashMap<String, String>,
    /// Calls whose last answer was an error.
    refused: Calls,
    rules: Vec<Rule>,
    is_cut: bool,
}

struct Rule {
    calls: Calls,
    fault: InjectedFault,
    times: usize,
    hits: BTreeMap<String, usize>,
}

impl Proxy {
    /// Starts a proxy to the AWS at `upstream`, such as `http://127.0.0.1:4566`.
    pub async fn to(upstream: &str) -> Proxy {
        Proxy::start(upstream, None).await
    }

    /// Like [`Proxy::to`], but runs `hook` for every call, the client's retries included. The hook gets the operation,
    /// may do or wait for anything, and chooses the fault of the call.
    pub async fn with_hook<F>(upstream: &str, hook: impl Fn(String) -> F + Send + Sync + 'static) -> Proxy
    where
        F: Future<Output = Option<InjectedFault>> + Send + 'static,
    {
        Proxy::start(upstream, Some(Box::new(move |operation| Box::pin(hook(operation))))).await
    }

    async fn start(upstream: &str, hook: Option<Hook>) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            client: reqwest::Client::builder().no_proxy().build().expect("a client can be made"),
            hook,
            state: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            idle: Notify::new(),
            cut: Notify::new(),
        });
        let server = tokio::spawn(serve(listener, shared.clone()));
        Proxy { address, shared, server }
    }

    /// The address for clients.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Removes all faults and restarts counting.
    pub fn reset(&self) {
        *self.shared.state() = State::default();
    }

    /// Injects a fault into each of these calls the first `times` times that it is made, the client's retries included.
    /// A call is an operation (`CreateTable`) or one call of it (`CreateTable#2`).
    pub fn inject(&self, calls: impl IntoIterator<Item = impl Into<String>>, fault: InjectedFault, times: usize) {
        let calls = calls.into_iter().map(Into::into).collect();
        self.shared.state().rules.push(Rule { calls, fault, times, hits: BTreeMap::new() });
    }

    /// Waits until a [`InjectedFault::CutAfter`] has taken effect.
    pub async fn cut(&self) {
        let cut = self.shared.cut.notified();
        if !self.shared.state().is_cut {
            cut.await;
        }
    }

    /// Waits until every forwarded call has been answered.
    pub async fn idle(&self) {
        loop {
            let idle = self.shared.idle.notified();
            if self.shared.in_flight.load(Ordering::SeqCst) == 0 {
                return;
            }
            idle.await;
        }
    }

    /// The calls that have arrived since the last reset, in order, without the client's retries.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.shared.state().calls.clone()
    }

    /// The calls of [`Proxy::calls`] that may change something.
    #[must_use]
    pub fn mutating(&self) -> Vec<String> {
        self.calls().into_iter().filter(|call| !protocol::is_read(call)).collect()
    }

    /// For each mutating operation, as many calls as have succeeded. A call that fails with a temporary error is
    /// repeated, and how often differs from run to run: deleting three groups takes three calls in every run, and a
    /// fourth in some.
    #[must_use]
    pub fn effective(&self) -> Calls {
        let state = self.shared.state();
        let mut effects: HashMap<&str, usize> = HashMap::new();
        for call in state.calls.iter().filter(|call| !state.refused.contains(*call)) {
            *effects.entry(parts(call).0).or_default() += 1;
        }
        let counts = |call: &&String| {
            let (operation, number) = parts(call);
            !protocol::is_read(call) && effects.get(operation).is_some_and(|effects| number <= *effects)
        };
        state.calls.iter().filter(counts).cloned().collect()
    }

    /// The calls that have met a fault since the last reset, by the names given to [`Proxy::inject`].
    #[must_use]
    pub fn hit(&self) -> Calls {
        self.shared.state().rules.iter().flat_map(|rule| rule.hits.keys().cloned()).collect()
    }
}

/// The operation of a call, and its number since the last reset.
pub fn parts(call: &str) -> (&str, usize) {
    let (operation, number) = call.split_once('#').expect("calls are named like `CreateTable#2`");
    (operation, number.parse().expect("a number"))
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl State {
    /// Returns the name of a call; the client's retry of a call has the same name.
    fn name(&mut self, operation: String, number: Option<String>) -> String {
        if let Some(name) = number.as_ref().and_then(|number| self.numbered.get(number)) {
            return name.clone();
        }
        let count = self.counts.entry(operation.clone()).or_default();
        *count += 1;
        let name = format!("{operation}#{count}");
        self.calls.push(name.clone());
        self.numbered.extend(number.map(|number| (number, name.clone())));
        name
    }

    fn note(&mut self, call: String, status: StatusCode) {
        if status.is_success() {
            self.refused.remove(&call);
        } else {
            self.refused.insert(call);
        }
    }

    /// Returns the fault for this call, if any.
    fn judge(&mut self, call: &str) -> Option<InjectedFault> {
        if self.is_cut {
            return Some(InjectedFault::ResetBefore);
        }
        let (operation, _) = parts(call);
        let rule = self.rules.iter_mut().find(|rule| {
            let key = if rule.calls.contains(call) { call } else { operation };
            rule.calls.contains(key) && rule.hits.get(key).is_none_or(|hits| *hits < rule.times)
        })?;
        let key = if rule.calls.contains(call) { call } else { operation };
        *rule.hits.entry(key.to_owned()).or_default() += 1;
        self.is_cut = rule.fault == InjectedFault::CutAfter;
        Some(rule.fault.clone())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    async fn forward(&self, request: Request<Bytes>) -> Response<Bytes> {
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
        response.body(answer.bytes().await.expect("a whole answer")).expect("it is a valid answer")
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        let service = service_fn(move |request| {
            let shared = shared.clone();
            async move {
                // In its own task: a call that is forwarded takes effect even if its client disconnects.
                match tokio::spawn(carry(shared, request)).await {
                    Ok(Carried::Whole(answer)) => {
                        Ok(answer.map(|body| Full::new(body).map_err(|no| match no {}).boxed()))
                    }
                    Ok(Carried::Half(answer)) => half(answer),
                    Ok(Carried::Nowhere) => std::future::pending().await,
                    Ok(Carried::Lost) | Err(_) => Err(Hangup),
                }
            }
        });
        tokio::spawn(async move {
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The outcome of a forwarded call.
enum Carried {
    Whole(Response<Bytes>),
    Half(Response<Bytes>),
    Lost,
    Nowhere,
}

/// Resets the connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection is reset")]
struct Hangup;

async fn carry(shared: Arc<Shared>, request: Request<Incoming>) -> Carried {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Carried::Lost };
    let request = Request::from_parts(parts, body.to_bytes());
    let protocol = Protocol::of(&request);
    shared.in_flight.fetch_add(1, Ordering::SeqCst);
    let operation = protocol::operation(&request);
    let (call, mut fault) = {
        let mut state = shared.state();
        let call = state.name(operation.clone(), protocol::number(&request));
        let fault = state.judge(&call);
        (call, fault)
    };
    if let Some(hook) = &shared.hook {
        fault = fault.or(hook(operation).await);
    }
    let carried = match &fault {
        None => {
            let answer = shared.forward(request).await;
            shared.state().note(call, answer.status());
            Carried::Whole(answer)
        }
        Some(InjectedFault::ResetBefore) => Carried::Lost,
        Some(InjectedFault::Hang) => Carried::Nowhere,
        Some(InjectedFault::Throttled) => Carried::Whole(protocol.throttled()),
        Some(InjectedFault::Refused(status, code, message)) => Carried::Whole(protocol.refusal(*status, code, message)),
        Some(InjectedFault::RefusedAfter(status, code, message)) => {
            shared.forward(request).await;
            Carried::Whole(protocol.refusal(*status, code, message))
        }
        Some(InjectedFault::Answered(body)) => Carried::Whole(Response::new(body.clone().into())),
        Some(InjectedFault::Reworded(texts)) => Carried::Whole(reword(shared.forward(request).await, texts)),
        Some(InjectedFault::Truncated) => Carried::Half(shared.forward(request).await),
        Some(InjectedFault::ResetAfter | InjectedFault::CutAfter) => {
            shared.forward(request).await;
            Carried::Lost
        }
    };
    if fault == Some(InjectedFault::CutAfter) {
        shared.cut.notify_waiters();
    }
    shared.in_flight.fetch_sub(1, Ordering::SeqCst);
    shared.idle.notify_waiters();
    // Answers that were in flight when the connection was cut are lost as well.
    if shared.state().is_cut { Carried::Lost } else { carried }
}

fn reword(answer: Response<Bytes>, texts: &[(String, String)]) -> Response<Bytes> {
    let (mut parts, body) = answer.into_parts();
    let text = String::from_utf8_lossy(&body).into_owned();
    let text = texts.iter().fold(text, |text, (from, to)| text.replace(from, to));
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, text.into())
}

/// Sends the whole head and half of the body, and then fails. Without a body, not even the head is sent.
fn half(answer: Response<Bytes>) -> Result<Response<BoxBody<Bytes, Hangup>>, Hangup> {
    let (parts, body) = answer.into_parts();
    if body.is_empty() {
        return Err(Hangup);
    }
    let pieces = [Ok(Frame::data(body.slice(..body.len() / 2))), Err(Hangup)];
    Ok(Response::from_parts(parts, StreamBody::new(stream::iter(pieces)).boxed()))
}
