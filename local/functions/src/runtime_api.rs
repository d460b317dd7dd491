//! The Lambda Runtime API, through which a function's process receives invocations and responds to them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, Method};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::{Mutex, MutexGuard};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use kit::answer::{Protocol, Refusal, Response, empty, json_answer};

/// The maximum size of a function's response in bytes.
const LARGEST: usize = 6 << 20;

/// An invocation to be passed to a process.
pub(super) struct Job {
    pub id: String,
    pub payload: Bytes,
    pub arn: String,
    pub timeout: Duration,
    pub client_context: Option<String>,
    /// Whether X-Ray traces it.
    pub is_traced: bool,
    pub reply: oneshot::Sender<Reply>,
}

/// The result of an invocation, from the process.
#[derive(Debug)]
pub(super) enum Reply {
    Response(Bytes),
    Error(Bytes),
}

/// Connects our invocations with the requests of the process.
pub(super) struct Desk {
    jobs: tokio::sync::Mutex<mpsc::Receiver<Job>>,
    current: Mutex<Option<(String, oneshot::Sender<Reply>)>>,
    /// True once the process has requested its first invocation.
    ready: watch::Sender<bool>,
    init_error: watch::Sender<Option<Bytes>>,
}

impl Desk {
    pub(super) fn new(jobs: mpsc::Receiver<Job>) -> Desk {
        Desk {
            jobs: tokio::sync::Mutex::new(jobs),
            current: Mutex::new(None),
            ready: watch::Sender::new(false),
            init_error: watch::Sender::new(None),
        }
    }

    pub(super) fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    pub(super) fn init_error(&self) -> watch::Receiver<Option<Bytes>> {
        self.init_error.subscribe()
    }

    async fn answer(&self, method: &Method, path: &str, body: Bytes) -> Response {
        const VERSION: &str = "/2018-06-01/runtime/";
        let Some(path) = path.strip_prefix(VERSION) else {
            return Refusal::new(404, "NotFound", "no such resource").answer(Protocol::RestJson);
        };
        let parts: Vec<&str> = path.split('/').collect();
        match (method, parts.as_slice()) {
            (&Method::GET, ["invocation", "next"]) => self.next().await,
            (&Method::POST, ["invocation", id, "response"]) if body.len() > LARGEST => {
                let error = json!({
                    "errorType": "Function.ResponseSizeTooLarge",
                    "errorMessage": format!("Response payload size exceeded maximum allowed payload size ({LARGEST} bytes)."),
                });
                self.reply(id, Reply::Error(Bytes::from(error.to_string())))
            }
            (&Method::POST, ["invocation", id, "response"]) => self.reply(id, Reply::Response(body)),
            (&Method::POST, ["invocation", id, "error"]) => self.reply(id, Reply::Error(body)),
            (&Method::POST, ["init", "error"]) => {
                self.init_error.send_replace(Some(body));
                accepted()
            }
            _ => Refusal::new(404, "NotFound", "no such resource").answer(Protocol::RestJson),
        }
    }

    async fn next(&self) -> Response {
        self.ready.send_replace(true);
        let Some(job) = self.jobs.lock().await.recv().await else {
            return empty(410);
        };
        let deadline = SystemTime::now() + job.timeout;
        let deadline = deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut answer = empty(200);
        let mut set = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                answer.headers_mut().insert(name, value);
            }
        };
        set("content-type", "application/json");
        set("lambda-runtime-aws-request-id", &job.id);
        set("lambda-runtime-deadline-ms", &deadline.to_string());
        set("lambda-runtime-invoked-function-arn", &job.arn);
        set("lambda-runtime-trace-id", &trace(job.is_traced));
        if let Some(context) = &job.client_context {
            set("lambda-runtime-client-context", context);
        }
        *answer.body_mut() = job.payload;
        *self.current() = Some((job.id, job.reply));
        answer
    }

    fn reply(&self, id: &str, reply: Reply) -> Response {
        let mut current = self.current();
        match current.take_if(|(running, _)| running == id) {
            Some((_, waiting)) => {
                // If the caller has timed out, the response is not needed.
                let _ = waiting.send(reply);
                accepted()
            }
            None => Refusal::new(400, "InvalidRequestID", "Invalid request ID").answer(Protocol::RestJson),
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<(String, oneshot::Sender<Reply>)>> {
        self.current.lock()
    }
}

/// The runtime API with one invocation and without a process, to try out requests.
pub struct Rehearsal {
    desk: Desk,
    _answered: oneshot::Receiver<Reply>,
}

impl Rehearsal {
    /// A runtime API with an invocation of this ID.
    pub async fn of(id: &str) -> Rehearsal {
        let (sender, jobs) = mpsc::channel(1);
        let (reply, answered) = oneshot::channel();
        let job = Job {
            id: id.to_owned(),
            payload: Bytes::from_static(b"{}"),
            arn: "arn".to_owned(),
            timeout: Duration::from_secs(3),
            client_context: None,
            is_traced: false,
            reply,
        };
        // The channel has room for one job; without its sender, there will be no other.
        let _ = sender.send(job).await;
        Rehearsal { desk: Desk::new(jobs), _answered: answered }
    }

    /// Answers a request of the process.
    pub async fn answer(&self, method: &Method, path: &str, body: Bytes) -> Response {
        self.desk.answer(method, path, body).await
    }
}

fn accepted() -> Response {
    json_answer(202, Protocol::RestJson, &json!({ "status": "OK" }))
}

/// The ID of an invocation's trace, which the runtime sets as `_X_AMZN_TRACE_ID`. Of a traced function, Lambda samples the
/// first invocation in a second and a share of the others; here, all are sampled.
fn trace(is_traced: bool) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!("Root=1-{now:08x}-{};Parent={};Sampled={}", &id[..24], &id[16..], u8::from(is_traced))
}

/// Serves a process until `stop` is cancelled.
pub(super) async fn serve(listener: TcpListener, desk: Arc<Desk>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        let _ = stream.set_nodelay(true);
        let (desk, stop) = (desk.clone(), stop.clone());
        tokio::spawn(async move {
            let service = service_fn(|request: http::Request<Incoming>| respond(request, desk.clone()));
            let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                ended = served => drop(ended),
                () = stop.cancelled() => (),
            }
        });
    }
}

async fn respond(request: http::Request<Incoming>, desk: Arc<Desk>) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(empty(400).map(Full::new)),
    };
    Ok(desk.answer(&parts.method, parts.uri.path(), body).await.map(Full::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk() -> (Desk, mpsc::Sender<Job>) {
        let (sender, jobs) = mpsc::channel(1);
        (Desk::new(jobs), sender)
    }

    fn job(id: &str) -> (Job, oneshot::Receiver<Reply>) {
        let (reply, answered) = oneshot::channel();
        let timeout = Duration::from_secs(3);
        let job = Job {
            id: id.into(),
            payload: "{}".into(),
            arn: "arn".into(),
            timeout,
            client_context: None,
            is_traced: id == "traced",
            reply,
        };
        (job, answered)
    }

    #[tokio::test]
    async fn the_id_of_a_trace_says_whether_it_is_sampled() {
        let (desk, sender) = desk();
        for (id, sampled) in [("traced", "Sampled=1"), ("other", "Sampled=0")] {
            let (job, _answered) = job(id);
            sender.send(job).await.unwrap();
            let next = desk.answer(&Method::GET, "/2018-06-01/runtime/invocation/next", Bytes::new()).await;
            let trace = next.headers()["lambda-runtime-trace-id"].to_str().unwrap().to_owned();
            assert!(trace.starts_with("Root=1-") && trace.ends_with(sampled), "{trace}");
        }
    }

    #[tokio::test]
    async fn an_invocation_is_delivered_and_answered() {
        let (desk, sender) = desk();
        let (job, answered) = job("one");
        sender.send(job).await.unwrap();
        let next = desk.answer(&Method::GET, "/2018-06-01/runtime/invocation/next", Bytes::new()).await;
        assert_eq!(next.headers()["lambda-runtime-aws-request-id"], "one");
        assert!(*desk.ready().borrow());
        let path = "/2018-06-01/runtime/invocation/one/response";
        assert_eq!(desk.answer(&Method::POST, path, "42".into()).await.status(), 202);
        assert!(matches!(answered.await.unwrap(), Reply::Response(body) if body == "42"));
        assert_eq!(desk.answer(&Method::POST, path, "42".into()).await.status(), 400);
    }

    #[tokio::test]
    async fn an_initialization_error_is_reported() {
        let (desk, _sender) = desk();
        desk.answer(&Method::POST, "/2018-06-01/runtime/init/error", "{}".into()).await;
        assert_eq!(desk.init_error().borrow().as_deref(), Some(b"{}".as_slice()));
    }
}
