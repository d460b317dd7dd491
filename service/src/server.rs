//! All routes under all layers, and running them.

use std::sync::Arc;
use std::time::Duration;

use poem::listener::TcpAcceptor;
use poem::middleware::Compression;
use poem::{Endpoint, EndpointExt, Response, Route, Server};
use poem_openapi::OpenApiService;
use tokio::net::TcpListener;

use crate::api::Api;
use crate::clients::Clients;
use crate::layers;
use crate::page::Page;

/// How long answers in the making may take after the service was told to stop.
const DRAIN: Duration = Duration::from_secs(20);
/// Longer than a load balancer keeps a silent connection (60 s), so that it never sends into a closing one.
const IDLE: Duration = Duration::from_secs(75);

/// Everything that answers requests.
pub fn app(clients: Clients) -> impl Endpoint<Output = Response> + 'static {
    let Clients { rows, pictures, picture_origin } = clients;
    let api = OpenApiService::new(Api { rows, pictures }, "Postagram", env!("CARGO_PKG_VERSION"))
        .description("Posts with pictures, and what is on the pictures.");
    let page = Arc::new(Page::new(&picture_origin));
    // From the innermost to the outermost.
    Route::new()
        .at("/openapi.json", api.spec_endpoint())
        .nest("/docs", api.swagger_ui())
        .nest("/", api)
        .around(layers::bounded)
        .around(move |next, request| {
            let page = page.clone();
            async move { page.before(next, request).await }
        })
        .with(Compression::new())
        .around(layers::explained)
        .around(layers::cross_origin)
        .around(layers::logged)
}

/// Answers on this listener until `stop`, then finishes what has begun.
pub async fn serve(
    listener: TcpListener,
    app: impl Endpoint + 'static,
    stop: impl Future<Output = ()>,
) -> std::io::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "listening");
    let server = Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?).idle_timeout(IDLE);
    server.run_with_graceful_shutdown(app, stop, Some(DRAIN)).await?;
    tracing::info!("stopped");
    Ok(())
}
