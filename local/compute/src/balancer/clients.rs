//! Connections of clients, and the protocols they speak.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::Front;
use super::access_log::Secured;
use super::streams::Streams;

/// How long a load balancer that shuts down waits for its open connections to finish.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);

/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The maximum number of concurrent requests on a connection of HTTP/2.
const MOST_STREAMS: u32 = 128;

/// Serves one client's connection.
pub(super) async fn converse(front: Arc<Front>, stream: TcpStream, peer: SocketAddr, stop: CancellationToken) {
    let port = stream.local_addr().map(|address| address.port()).unwrap_or_default();
    drop(stream.set_nodelay(true));
    match front.security() {
        None => speak_http1(front, stream, Side::of(peer, port, "http"), stop).await,
        Some(Err(fault)) => tracing::error!(listener = front.listener, "a connection was refused: {fault}"),
        Some(Ok(config)) => {
            let secured = secured(stream, TlsAcceptor::from(config));
            let Some(Ok(Some(stream))) = stop.run_until_cancelled(timeout(HANDSHAKE, secured)).await else { return };
            let agreed = Arc::new(front.agreed(stream.get_ref().1));
            let side = Side { secured: Some(agreed), ..Side::of(peer, port, "https") };
            match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => speak_http2(front, stream, side, stop).await,
                _ => speak_http1(front, stream, side, stop).await,
            }
        }
    }
}

/// Makes the TLS handshake. `None` if it fails. A client that sends plain HTTP gets an error page.
async fn secured(mut stream: TcpStream, acceptor: TlsAcceptor) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    let mut first = [0];
    stream.peek(&mut first).await.ok()?;
    if first[0].is_ascii_uppercase() {
        let title = "400 The plain HTTP request was sent to HTTPS port";
        let page = format!(
            "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n<center>The plain HTTP request was sent to HTTPS port</center>\r\n</body>\r\n</html>\r\n"
        );
        let head = format!(
            "HTTP/1.1 400 Bad Request\r\nServer: awselb/2.0\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            page.len()
        );
        stream.write_all((head + &page).as_bytes()).await.ok()?;
        stream.shutdown().await.ok()?;
        return None;
    }
    acceptor.accept(stream).await.inspect_err(|fault| tracing::debug!(%fault, "a TLS handshake failed")).ok()
}

/// The client's side of a connection.
#[derive(Debug, Clone)]
pub struct Side {
    pub peer: SocketAddr,
    /// The port to which the client is connected.
    pub port: u16,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The negotiated TLS parameters; `None` without TLS.
    pub secured: Option<Arc<Secured>>,
    /// Identifies the connection in access logs.
    pub connection: u64,
}

impl Side {
    pub(super) fn of(peer: SocketAddr, port: u16, scheme: &'static str) -> Side {
        Side { peer, port, scheme, secured: None, connection: fastrand::u64(..) }
    }
}

async fn speak_http1(
    front: Arc<Front>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    side: Side,
    stop: CancellationToken,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(front.route().patience);
    let answer = service_fn(move |request| {
        let (front, side) = (front.clone(), side.clone());
        async move { Ok::<_, Infallible>(front.answer(request, side).await) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), answer).with_upgrades();
    tokio::pin!(connection);
    tokio::select! {
        // How a client disconnects does not matter.
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    drop(timeout(FAREWELL, connection).await);
}

/// Ends, as an ALB does, once the client has had no stream open for the idle timeout.
async fn speak_http2(
    front: Arc<Front>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    side: Side,
    stop: CancellationToken,
) {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).max_concurrent_streams(MOST_STREAMS);
    let (streams, patience) = (Streams::default(), front.route().patience);
    let opened = streams.clone();
    let answer = service_fn(move |request| {
        let (front, side, stream) = (front.clone(), side.clone(), opened.begin());
        async move { Ok::<_, Infallible>(stream.carry(front.answer(request, side).await)) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), answer);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = streams.idle(patience) => (),
        () = stop.cancelled() => (),
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection.as_mut() => return,
        // A stream may have begun meanwhile.
        () = streams.idle(FAREWELL) => return,
        () = stop.cancelled() => (),
    }
    drop(timeout(FAREWELL, connection).await);
}
