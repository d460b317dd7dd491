//! The line between a deployer and its cloud: it knows every call by name, and can spoil any of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

use super::protocol::{self, Protocol};

/// What can happen to a call on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It never arrives: the connection breaks before.
    Before,
    /// It takes effect and its answer is lost: the connection breaks after.
    After,
    /// It takes effect, its answer is lost, and nothing arrives any more.
    ForGood,
    /// It never arrives, and nobody says so.
    Silence,
    /// It takes effect, and half of the answer arrives.
    Truncated,
    /// It has no effect: the service is asked too much, and says so in its own words.
    Throttled,
    /// It has no effect: the service answers with this status and error.
    Refused(u16, &'static str, String),
    /// It has no effect, and the answer is this one, as if it were.
    Answered(String),
    /// It takes effect, and its answer says something else: each of the first texts is replaced by the second.
    Reworded(Vec<(String, String)>),
}

impl Trouble {
    /// A refusal in the service's words.
    pub fn refused(status: u16, code: &'static str, message: impl Into<String>) -> Trouble {
        Trouble::Refused(status, code, message.into())
    }

    /// An answer with these texts replaced.
    pub fn reworded(texts: &[(&str, &str)]) -> Trouble {
        Trouble::Reworded(texts.iter().map(|(from, to)| ((*from).into(), (*to).into())).collect())
    }
}

/// Calls, by operation (`CreateTable`) or one by one (`CreateTable#2`, the second of a run).
pub type Calls = BTreeSet<String>;

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
    /// Every call since counting began, in order of arrival, without repetitions by the client.
    calls: Vec<String>,
    /// How often an operation has been called.
    counts: HashMap<String, usize>,
    /// The calls by the client's own number for them, which a repetition keeps.
    numbered: HashMap<String, String>,
    /// Calls whose last answer was a refusal.
    refused: Calls,
    rules: Vec<Rule>,
    is_dead: bool,
}

struct Rule {
    calls: Calls,
    trouble: Trouble,
    times: usize,
    hits: BTreeMap<String, usize>,
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

    /// Counts from now on, and spoils nothing until told to.
    pub fn mend(&self) {
        *self.wire.state() = State::default();
    }

    /// Spoils each of these calls the first `times` times that it is made, repetitions by the client included.
    pub fn spoil(&self, calls: impl IntoIterator<Item = impl Into<String>>, trouble: Trouble, times: usize) {
        let calls = calls.into_iter().map(Into::into).collect();
        self.wire.state().rules.push(Rule { calls, trouble, times, hits: BTreeMap::new() });
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

    /// The calls that have arrived since counting began.
    pub fn calls(&self) -> Vec<String> {
        self.wire.state().calls.clone()
    }

    /// Those of them that change something.
    pub fn mutating(&self) -> Vec<String> {
        self.calls().into_iter().filter(|call| !protocol::is_read(call)).collect()
    }

    /// As many of those that change something as have done so. A call that is refused for the moment is made again, and
    /// how often differs from run to run: of three groups to be deleted, three calls come in every run, and a fourth in
    /// some.
    pub fn effective(&self) -> Calls {
        let state = self.wire.state();
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

    /// The calls that have been spoilt since counting began.
    pub fn spoilt(&self) -> Calls {
        self.wire.state().rules.iter().flat_map(|rule| rule.hits.keys().cloned()).collect()
    }
}

/// The operation, and the how many-th of a run.
pub fn parts(call: &str) -> (&str, usize) {
    let (operation, number) = call.split_once('#').expect("calls are named like `CreateTable#2`");
    (operation, number.parse().expect("a number"))
}

impl Drop for Line {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl State {
    /// The name of a call; a repetition by the client keeps it.
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

    /// What is to happen to this call.
    fn judge(&mut self, call: &str) -> Option<Trouble> {
        if self.is_dead {
            return Some(Trouble::Before);
        }
        let (operation, _) = parts(call);
        let rule = self.rules.iter_mut().find(|rule| {
            let key = if rule.calls.contains(call) { call } else { operation };
            rule.calls.contains(key) && rule.hits.get(key).is_none_or(|hits| *hits < rule.times)
        })?;
        let key = if rule.calls.contains(call) { call } else { operation };
        *rule.hits.entry(key.to_owned()).or_default() += 1;
        self.is_dead = rule.trouble == Trouble::ForGood;
        Some(rule.trouble.clone())
    }
}

impl Wire {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
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
        response.body(answer.bytes().await.expect("a whole answer")).expect("it was an answer before")
    }
}

async fn serve(listener: TcpListener, wire: Arc<Wire>) {
    while let Ok((stream, _)) = listener.accept().await {
        let wire = wire.clone();
        let service = service_fn(move |request| {
            let wire = wire.clone();
            async move {
                // In a task of its own: what has been let through takes effect, whoever hangs up.
                match tokio::spawn(carry(wire, request)).await {
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

/// What became of a call on the line.
enum Carried {
    Whole(Response<Bytes>),
    Half(Response<Bytes>),
    Lost,
    Nowhere,
}

/// Ends the connection.
#[derive(Debug, thiserror::Error)]
#[error("the line is cut")]
struct Hangup;

async fn carry(wire: Arc<Wire>, request: Request<Incoming>) -> Carried {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Carried::Lost };
    let request = Request::from_parts(parts, body.to_bytes());
    let protocol = Protocol::of(&request);
    wire.in_flight.fetch_add(1, Ordering::SeqCst);
    let (call, trouble) = {
        let mut state = wire.state();
        let call = state.name(protocol::operation(&request), protocol::number(&request));
        let trouble = state.judge(&call);
        (call, trouble)
    };
    let carried = match &trouble {
        None => {
            let answer = wire.forward(request).await;
            wire.state().note(call, answer.status());
            Carried::Whole(answer)
        }
        Some(Trouble::Before) => Carried::Lost,
        Some(Trouble::Silence) => Carried::Nowhere,
        Some(Trouble::Throttled) => Carried::Whole(protocol.throttled()),
        Some(Trouble::Refused(status, code, message)) => Carried::Whole(protocol.refusal(*status, code, message)),
        Some(Trouble::Answered(body)) => Carried::Whole(Response::new(body.clone().into())),
        Some(Trouble::Reworded(texts)) => Carried::Whole(reword(wire.forward(request).await, texts)),
        Some(Trouble::Truncated) => Carried::Half(wire.forward(request).await),
        Some(Trouble::After | Trouble::ForGood) => {
            wire.forward(request).await;
            Carried::Lost
        }
    };
    if trouble == Some(Trouble::ForGood) {
        wire.broken.notify_waiters();
    }
    wire.in_flight.fetch_sub(1, Ordering::SeqCst);
    wire.quiet.notify_waiters();
    // Answers that were under way when the line broke are lost as well.
    if wire.state().is_dead { Carried::Lost } else { carried }
}

fn reword(answer: Response<Bytes>, texts: &[(String, String)]) -> Response<Bytes> {
    let (mut parts, body) = answer.into_parts();
    let text = String::from_utf8_lossy(&body).into_owned();
    let text = texts.iter().fold(text, |text, (from, to)| text.replace(from, to));
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, text.into())
}

/// The whole head, half of the body, and then nothing. Where there is no body, not even the head arrives.
fn half(answer: Response<Bytes>) -> Result<Response<BoxBody<Bytes, Hangup>>, Hangup> {
    let (parts, body) = answer.into_parts();
    if body.is_empty() {
        return Err(Hangup);
    }
    let pieces = [Ok(Frame::data(body.slice(..body.len() / 2))), Err(Hangup)];
    Ok(Response::from_parts(parts, StreamBody::new(stream::iter(pieces)).boxed()))
}
