//! The HTTP server: one port on the loopback for every API.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::{Protocol, Refusal, Response, empty, json_answer, request_id};
use crate::call::Request;
use crate::services::Services;

/// The largest body that is read: more than any artifact, less than the memory of a laptop.
const LARGEST: usize = 1 << 30;
/// How long answers under way may take when the server stops.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves until `stop` is cancelled.
pub(crate) async fn serve(listener: TcpListener, services: Arc<Services>, about: Value, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let about = Arc::new(about);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                let (services, about, stop) = (services.clone(), about.clone(), stop.clone());
                connections.spawn(connection(TokioIo::new(stream), services, about, stop));
            }
            Err(fault) => {
                // Out of file descriptors, most likely: waiting is the only cure.
                tracing::warn!(%fault, "failed to accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    connections.close();
    let _ = tokio::time::timeout(DRAIN, connections.wait()).await;
}

async fn connection(
    stream: TokioIo<tokio::net::TcpStream>,
    services: Arc<Services>,
    about: Arc<Value>,
    stop: CancellationToken,
) {
    let service = service_fn(move |request| {
        let (services, about) = (services.clone(), about.clone());
        async move { Ok::<_, std::convert::Infallible>(respond(request, &services, &about).await.map(Full::new)) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let served = builder.serve_connection(stream, service);
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

async fn respond(request: http::Request<Incoming>, services: &Services, about: &Value) -> Response {
    let head_only = request.method() == http::Method::HEAD;
    let mut answer = match read(request).await {
        Ok(request) if request.path.starts_with("/_local/") => inspect(&request.path, services, about),
        Ok(request) => services.answer(&request).await,
        Err(refusal) => refusal.answer(Protocol::RestXml),
    };
    if head_only && !answer.headers().contains_key(header::CONTENT_LENGTH) {
        *answer.body_mut() = Bytes::new();
    }
    let id = request_id();
    for name in ["x-amz-request-id", "x-amzn-requestid"] {
        if let Ok(value) = id.parse() {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

/// Reads the whole request, if it comes from this machine's own name.
///
/// A page of another site could reach this port through a name of its own that resolves to the loopback; its `Host`
/// header betrays it.
async fn read(request: http::Request<Incoming>) -> Result<Request, Refusal> {
    let (parts, body) = request.into_parts();
    let mut headers = parts.headers;
    if let (None, Some(authority)) = (headers.get(header::HOST), parts.uri.authority()) {
        // HTTP/2 says it elsewhere, and signatures are over the header.
        if let Ok(value) = authority.as_str().parse() {
            headers.insert(header::HOST, value);
        }
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_local(host) {
        let text = format!("this server answers to 127.0.0.1 and localhost, not to {host:?}");
        return Err(Refusal::new(403, "AccessDenied", text));
    }
    let body = Limited::new(body, LARGEST).collect().await.map_err(|fault| {
        if fault.is::<LengthLimitError>() {
            Refusal::new(413, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        } else {
            Refusal::new(400, "IncompleteBody", "The request body terminated unexpectedly")
        }
    })?;
    Ok(Request {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers,
        body: body.to_bytes(),
    })
}

fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    matches!(name, "127.0.0.1" | "::1" | "localhost") || name.ends_with(".localhost")
}

/// The server's own pages, which are no AWS.
fn inspect(path: &str, services: &Services, about: &Value) -> Response {
    let page = match path {
        "/_local/health" => about.clone(),
        "/_local/requests" => json!(services.journal.entries()),
        "/_local/status" => services.status(),
        _ => return empty(404),
    };
    json_answer(200, Protocol::RestJson, &page)
}

/// What `/_local/health` says.
pub(crate) fn about(dir: &std::path::Path, address: SocketAddr) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "dir": dir,
        "endpoint": format!("http://{address}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_names_are_answered() {
        for good in ["127.0.0.1:4566", "localhost", "[::1]:80", "images.localhost:1", "a.b.localhost"] {
            assert!(is_local(good), "{good}");
        }
        for bad in ["", "example.org", "127.0.0.1.example.org", "localhost.example.org:80", "xlocalhost"] {
            assert!(!is_local(bad), "{bad}");
        }
    }
}
