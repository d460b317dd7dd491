//! The HTTP server: one port on the loopback interface for every API.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header;
use http::{HeaderMap, HeaderValue, Method};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::Options;
use crate::intake::{self, Intake, Taken};
use crate::routing;
use crate::services::Services;
use chaos::{Chaos, ChaosKind};
use kit::answer::{Protocol, Refusal, Reply, Response, empty, json_answer, request_id};
use kit::call::{Call, Input, Request};
use kit::connection::{Content, Cut, Line};
use kit::speed::Speed;

/// How long to wait for responses in progress when the server stops.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves connections until `stop` is cancelled.
pub(crate) async fn serve(listener: TcpListener, services: Arc<Services>, about: Value, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let about = Arc::new(about);
    let intake = Intake::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                let (services, about, stop) = (services.clone(), about.clone(), stop.clone());
                connections.spawn(connection(stream, services, about, intake.clone(), stop));
            }
            Err(fault) => {
                // Most likely there are no file descriptors left, and all we can do is wait.
                tracing::warn!(%fault, "failed to accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    connections.close();
    let _ = tokio::time::timeout(DRAIN, connections.wait()).await;
}

async fn connection(
    stream: TcpStream,
    services: Arc<Services>,
    about: Arc<Value>,
    intake: Intake,
    stop: CancellationToken,
) {
    let cut = Cut::default();
    let line = Line::new(stream, cut.clone());
    let service = service_fn(move |request| {
        let (services, about, intake, cut) = (services.clone(), about.clone(), intake.clone(), cut.clone());
        async move {
            match respond(request, services, &about, &intake).await {
                Reply::Whole(answer) => Ok(Content::whole(answer)),
                Reply::Half(answer) => Ok(Content::half(answer)),
                Reply::Nothing => {
                    cut.now();
                    Err("cut on purpose")
                }
            }
        }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let served = builder.serve_connection(TokioIo::new(line), service);
    tokio::pin!(served);
    tokio::select! {
        ended = served.as_mut() => log_end(ended),
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            log_end(served.await);
        }
    }
}

fn log_end(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(fault) = ended {
        tracing::debug!(fault, "a connection ended badly");
    }
}

async fn respond(request: http::Request<Incoming>, services: Arc<Services>, about: &Value, intake: &Intake) -> Reply {
    let head_only = request.method() == Method::HEAD;
    let skewed = services.faults.has(ChaosKind::ClockSkew).then(|| services.now());
    let (parts, body) = request.into_parts();
    let head = intake::head(parts);
    let reply = match check_host(&head.headers) {
        Err(refusal) => Reply::Whole(refusal.answer(Protocol::RestXml)),
        Ok(()) if is_own(&head) => Reply::Whole(own(head, body, &services, about, intake).await),
        Ok(()) => answer(head, body, services, intake).await,
    };
    match reply {
        Reply::Whole(answer) => Reply::Whole(finish(answer, head_only, skewed)),
        Reply::Half(answer) => Reply::Half(finish(answer, head_only, skewed)),
        Reply::Nothing => Reply::Nothing,
    }
}

/// Answers a call. The body is only read if the head is acceptable.
async fn answer(head: Request, body: Incoming, services: Arc<Services>, intake: &Intake) -> Reply {
    let call = routing::identify(&head);
    match intake.read(&head, &call, body, |length| services.admit(&call, &head, length)).await {
        Ok(taken) => run(head, call, taken, services).await,
        Err(refusal) => Reply::Whole(services.turn_away(&refusal, &call, &head).await),
    }
}

/// Carries out a call that has been received completely, even if its client disconnects. A call that only computes
/// something ends with its client. `call` is identified by the head.
async fn run(head: Request, call: Call, body: Taken, services: Arc<Services>) -> Reply {
    let request = Request { body: body.bytes.clone(), upload: body.upload.clone(), ..head };
    // A body may contain the operation and the parameters. The head has to be identified before it, for the limit of
    // the body and for the form of a refusal.
    let call = if request.body.is_empty() { call } else { routing::identify(&request) };
    let alone = call.ends_with_its_caller();
    let task = tokio::spawn(async move {
        let reply = services.answer(&call, &request).await;
        drop(body);
        reply
    });
    let done = match alone {
        true => AbortOnDropHandle::new(task).await,
        false => task.await,
    };
    done.unwrap_or_else(|fault| {
        tracing::error!(%fault, "a call ended without an answer");
        let text = "We encountered an internal error. Please try again.";
        Reply::Whole(Refusal::new(500, "InternalError", text).answer(Protocol::RestXml))
    })
}

/// Answers a request for one of the server's own pages.
async fn own(head: Request, body: Incoming, services: &Services, about: &Value, intake: &Intake) -> Response {
    let call = Call::of("local", "", Protocol::RestJson, Input::of(Protocol::RestJson, &head));
    match intake.read(&head, &call, body, |_| Ok(None)).await {
        Ok(taken) => own_page(&Request { body: taken.bytes.clone(), ..head }, services, about),
        Err(refusal) => refusal.answer(Protocol::RestJson),
    }
}

/// Adds what every response has: the date under clock skew, and request IDs.
fn finish(mut answer: Response, head_only: bool, now: Option<OffsetDateTime>) -> Response {
    if head_only && !answer.headers().contains_key(header::CONTENT_LENGTH) {
        *answer.body_mut() = Bytes::new();
    }
    if let Some(date) = now.and_then(http_date) {
        answer.headers_mut().insert(header::DATE, date);
    }
    let id = request_id();
    for name in ["x-amz-request-id", "x-amzn-requestid"] {
        if let Ok(value) = id.parse() {
            answer.headers_mut().entry(name).or_insert(value);
        }
    }
    answer
}

/// Refuses host names that are not this machine's own.
///
/// A page of another site could reach this port through a name that resolves to the loopback address; its `Host` header
/// reveals that.
pub(crate) fn check_host(headers: &HeaderMap) -> Result<(), Refusal> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    match is_local(host) {
        true => Ok(()),
        false => {
            let text = format!("this server answers to 127.0.0.1 and localhost, not to {host:?}");
            Err(Refusal::new(403, "AccessDenied", text))
        }
    }
}

fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    matches!(name, "127.0.0.1" | "::1" | "localhost") || name.ends_with(".localhost")
}

fn http_date(now: OffsetDateTime) -> Option<HeaderValue> {
    let format =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    now.format(format).ok()?.parse().ok()
}

/// Whether a request is for the server's own pages rather than for AWS.
pub(crate) fn is_own(request: &Request) -> bool {
    request.path.starts_with("/_local/")
}

/// Answers a request for one of the server's own pages, which are not part of AWS.
pub(crate) fn own_page(request: &Request, services: &Services, about: &Value) -> Response {
    // A page in a browser can send requests here even if it cannot read the responses.
    if request.header("origin").is_some() {
        return empty(403);
    }
    match control(request, services, about) {
        Ok(Some(page)) => json_answer(200, Protocol::RestJson, &page),
        Ok(None) => empty(404),
        Err(message) => json_answer(400, Protocol::RestJson, &json!({ "message": message })),
    }
}

/// The path of the bucket names that other accounts own; the body is `{"region": "eu-west-1"}`.
const STRANGERS: &str = "/_local/strangers/";
/// The path of the domains that their parents delegate elsewhere; the body is `{"nameServers": ["ns.example.org"]}`.
const DELEGATIONS: &str = "/_local/delegations/";

/// Returns the content of a page; `None` if there is no such page.
fn control(request: &Request, services: &Services, about: &Value) -> Result<Option<Value>, String> {
    let body = || serde_json::from_slice::<Value>(&request.body).map_err(|fault| fault.to_string());
    let faults = &services.faults;
    Ok(Some(match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/_local/health") => about.clone(),
        ("GET", "/_local/requests") => json!(services.journal.entries()),
        ("GET", "/_local/permissions") => services.used_permissions(),
        ("GET", "/_local/status") => services.status(),
        ("GET", "/_local/faults") => faults.show(),
        ("POST", "/_local/faults") => faults.add(&body()?)?,
        ("DELETE", "/_local/faults") => {
            faults.clear();
            faults.show()
        }
        ("GET", "/_local/strangers") => services.strangers.show(),
        ("PUT", path) if path.starts_with(STRANGERS) => {
            let region = body()?["region"].as_str().unwrap_or("us-east-1").to_owned();
            services.strangers.take(&path[STRANGERS.len()..], &region).map_err(|fault| fault.to_string())?;
            services.strangers.show()
        }
        ("DELETE", path) if path.starts_with(STRANGERS) => {
            match services.strangers.leave(&path[STRANGERS.len()..]).map_err(|fault| fault.to_string())? {
                true => services.strangers.show(),
                false => return Ok(None),
            }
        }
        ("GET", "/_local/delegations") => json!(services.route53.delegations()),
        ("PUT", path) if path.starts_with(DELEGATIONS) => {
            let servers = body()?["nameServers"].as_array().cloned().ok_or("nameServers is a list of names")?;
            let servers = servers.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            services.route53.delegate(&path[DELEGATIONS.len()..], servers)?;
            json!(services.route53.delegations())
        }
        ("DELETE", path) if path.starts_with(DELEGATIONS) => {
            match services.route53.restore_delegation(&path[DELEGATIONS.len()..])? {
                true => json!(services.route53.delegations()),
                false => return Ok(None),
            }
        }
        ("DELETE", path) => {
            let id = path.strip_prefix("/_local/faults/").and_then(|id| id.parse().ok());
            match id.is_some_and(|id| faults.remove(id)) {
                true => faults.show(),
                false => return Ok(None),
            }
        }
        ("PUT", "/_local/chaos") => {
            let chaos: Chaos = serde_json::from_value(body()?).map_err(|fault| fault.to_string())?;
            faults.set_chaos(chaos);
            faults.show()
        }
        _ => return Ok(None),
    }))
}

/// Returns the content of `/_local/health`.
pub(crate) fn about(
    options: &Options,
    address: SocketAddr,
    speed: Speed,
    dns: SocketAddr,
    services: &Services,
) -> Value {
    let Options { dir, region, port: _ } = options;
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "dir": dir,
        "id": crate::identity(dir),
        "region": region,
        "endpoint": format!("http://{address}"),
        "dns": dns.to_string(),
        "certificate_authority": services.authority.file(),
        "speed": speed.to_string(),
        "account": services.account,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_host_names_are_answered() {
        for good in ["127.0.0.1:4566", "localhost", "[::1]:80", "images.localhost:1", "a.b.localhost"] {
            assert!(is_local(good), "{good}");
        }
        for bad in ["", "example.org", "127.0.0.1.example.org", "localhost.example.org:80", "xlocalhost"] {
            assert!(!is_local(bad), "{bad}");
        }
    }
}
