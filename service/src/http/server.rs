//! Stacks the layers around the routes, and serves them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use poem::endpoint::BoxEndpoint;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, EndpointExt, Request, Response, Route};
use poem_openapi::OpenApiService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, timeout};

use crate::config::{BadSettings, Settings};
use crate::http::api::{Api, Config};
use crate::http::connection::{Paced, Rooms, Silence};
use crate::http::document::Document;
use crate::http::layers::{self, Limits};
use crate::http::page::WebPage;
use crate::http::permalinks::Permalinks;
use crate::http::query;
use crate::http::ready::Readiness;
use crate::http::waiting_room::WaitingRoom;
use crate::http::workers::Workers;
use crate::identity::author::Authors;
use crate::metrics::Metrics;
use crate::storage::clients::Clients;

/// The size limit of a request's head before it is parsed.
///
/// Requests rejected at this stage, with 431 beyond this size or 400 if they are not HTTP, are answered by hyper: not
/// in our format, and without the headers that let pages of other origins read the answer. That is harmless: browsers
/// send valid HTTP, and a page that makes a URL or header of 64 KiB sees a failure in any case.
const MAX_BUFFER_BYTES: usize = 64 * 1024;

/// The complete application.
pub fn app(
    clients: Clients,
    settings: &Settings,
    limits: &Limits,
    metrics: Arc<Metrics>,
) -> Result<BoxEndpoint<'static>, BadSettings> {
    let Clients { rows, pictures, picture_origin, .. } = clients;
    let api = Api {
        rows,
        pictures,
        lists: Arc::default(),
        readiness: Arc::new(Readiness::default()),
        login: Config::of(&settings.auth),
    };
    let page = Arc::new(WebPage::new(&picture_origin));
    let permalinks = Arc::new(Permalinks::new(api.clone(), page.clone()));
    let api = OpenApiService::new(api, "Postagram", env!("CARGO_PKG_VERSION"));
    let document = Document::of(api.clone(), &settings.auth);
    let authors = Arc::new(Authors::new(&settings.auth)?);
    let (body, senders) = (limits.body, WaitingRoom::new(limits.senders));
    let (whole, places) = (limits.whole, Arc::new(Semaphore::new(limits.requests)));
    // From the innermost to the outermost.
    let app = Route::new()
        .at("/openapi.json", document.endpoint())
        .nest("/docs", document.page())
        .nest("/", api.data(authors))
        .around(query::readable)
        .around(move |next, request| {
            let permalinks = permalinks.clone();
            async move { permalinks.before(next, request).await }
        })
        .around(move |next, request| layers::timeout(next, request, whole))
        .around(move |next, request| layers::concurrency_limit(next, request, places.clone()))
        // An incomplete request occupies no slot.
        .around(move |next, request| layers::request_limits(next, request, body, senders.clone()))
        .around(move |next, request| {
            let page = page.clone();
            async move { page.before(next, request).await }
        })
        .around(layers::gzip)
        .around(layers::error_responses)
        .around(layers::security_headers)
        .around(move |next, request| layers::access_log(next, request, metrics.clone()));
    // Boxed, because the full type is expensive to compile.
    Ok(app.boxed())
}

/// Serves this listener with these workers until `stop`, then finishes the requests in progress.
///
/// Replaces poem's own server, which waits forever for clients that are slow to send a request or to read an answer.
pub async fn serve(
    what: &'static str,
    listener: TcpListener,
    app: impl Endpoint + 'static,
    limits: &Limits,
    workers: &Workers,
    stop: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let app = Arc::new(app.map_to_response());
    let (places, rooms) = (Arc::new(Semaphore::new(limits.connections)), Rooms::new(limits));
    let connections = GracefulShutdown::new();
    tracing::info!(what, address = %listener.local_addr()?, "listening");
    tokio::pin!(stop);
    loop {
        // At the connection limit, new connections wait in the operating system's backlog.
        let accepted = async {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            () = &mut stop => break,
            accepted = accepted => accepted,
        };
        // Moves from the accepting runtime to the one that answers.
        let accepted = accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer)));
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            // Most likely out of file descriptors: some are freed when connections end.
            Err(error) => {
                tracing::warn!(cause = %error, "cannot accept a connection");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (worker, watcher, app, limits) = (workers.place(), connections.watcher(), app.clone(), limits.clone());
        let (rooms, give_way) = (rooms.clone(), Arc::new(Notify::new()));
        worker.runtime.clone().spawn(async move {
            // How a connection ends does not matter; its requests have log lines of their own.
            if let Ok(stream) = TcpStream::from_std(stream) {
                let connection = connection(stream, RemoteAddr(peer.into()), app, &limits, &rooms, &give_way);
                tokio::select! {
                    _ = watcher.watch(connection) => (),
                    () = give_way.notified() => (),
                }
            }
            drop((worker, place));
        });
    }
    drop(listener);
    if timeout(limits.drain, connections.shutdown()).await.is_err() {
        tracing::warn!(what, "stopped before every answer was given");
    }
    tracing::info!(what, "stopped");
    Ok(())
}

fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn connection<E: Endpoint<Output = Response> + 'static>(
    stream: TcpStream,
    peer: RemoteAddr,
    app: Arc<E>,
    limits: &Limits,
    rooms: &Rooms,
    give_way: &Arc<Notify>,
) -> impl GracefulConnection + use<E> {
    // Answers are small: waiting for more data would only delay them.
    let _ = stream.set_nodelay(true);
    let (stream, silence) = (Paced::new(stream, rooms, limits.reading, give_way), Silence::begin(rooms, give_way));
    let answer = service_fn(move |request| {
        silence.ends();
        let (app, peer, silence) = (app.clone(), peer.clone(), silence.clone());
        async move {
            let request = Request::from((request, LocalAddr::default(), peer, Scheme::HTTP));
            let response = hyper::Response::from(app.get_response(request).await);
            Ok::<_, Infallible>(response.map(|body| silence.behind(body)))
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        // hyper's limits are higher than ours, so that most oversized requests get an error in our format.
        .max_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), answer)
}
