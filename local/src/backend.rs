//! A winterbaume service whose state is kept on disk.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::HeaderMap;
use serde_json::Value;
use winterbaume_core::{MockRequest, MockService, StatefulService};
use winterbaume_iam::IamService;

use crate::answer::{Response, empty};
use crate::call::Request;
use crate::{ACCOUNT, store};

/// A service whose whole state can be taken out and put back.
pub(crate) trait Remembered: MockService {
    /// What its own type of state is.
    type View: Send;
    fn view<'a>(&'a self, region: &'a str) -> BoxFuture<'a, Self::View>;
    fn snapshot<'a>(&'a self, region: &'a str) -> BoxFuture<'a, anyhow::Result<Value>>;
    fn restore<'a>(&'a self, region: &'a str, state: Value) -> BoxFuture<'a, anyhow::Result<()>>;
    fn replace<'a>(&'a self, region: &'a str, view: Self::View) -> BoxFuture<'a, anyhow::Result<()>>;
}

// winterbaume's own trait has async methods, whose futures are known to be `Send` only for one service at a time.
macro_rules! remembered {
    ($($service:ty),*) => {$(
        impl Remembered for $service {
            type View = <$service as StatefulService>::StateView;

            fn view<'a>(&'a self, region: &'a str) -> BoxFuture<'a, Self::View> {
                Box::pin(StatefulService::snapshot(self, ACCOUNT, region))
            }

            fn snapshot<'a>(&'a self, region: &'a str) -> BoxFuture<'a, anyhow::Result<Value>> {
                Box::pin(async move { Ok(serde_json::to_value(self.view(region).await)?) })
            }

            fn restore<'a>(&'a self, region: &'a str, state: Value) -> BoxFuture<'a, anyhow::Result<()>> {
                Box::pin(async move { self.replace(region, serde_json::from_value(state)?).await })
            }

            fn replace<'a>(&'a self, region: &'a str, view: Self::View) -> BoxFuture<'a, anyhow::Result<()>> {
                Box::pin(async move { Ok(StatefulService::restore(self, ACCOUNT, region, view).await?) })
            }
        }
    )*};
}
remembered!(IamService);

/// A service, its region and the file its state is kept in.
pub(crate) struct Backend<S> {
    service: S,
    region: String,
    file: PathBuf,
}

impl<S: Remembered> Backend<S> {
    /// Puts back what an earlier server left in `file`.
    pub(crate) async fn open(service: S, region: &str, file: PathBuf) -> anyhow::Result<Arc<Backend<S>>> {
        if let Some(state) = store::read_json(&file)? {
            service.restore(region, state).await?;
        }
        let region = region.to_owned();
        Ok(Arc::new(Backend { service, region, file }))
    }

    /// Passes a request on, unsigned and under the name AWS's own hosts have.
    pub(crate) async fn call(&self, request: &Request) -> Response {
        let mut answer = call(&self.service, &self.region, request).await;
        straighten_body(&mut answer);
        answer
    }

    /// The state as the service's own type.
    pub(crate) async fn view(&self) -> S::View {
        self.service.view(&self.region).await
    }

    /// Puts another state in the place of the one there is.
    pub(crate) async fn replace(&self, view: S::View) -> anyhow::Result<()> {
        self.service.replace(&self.region, view).await
    }

    /// Returns when the state is on disk.
    pub(crate) async fn save(&self) -> anyhow::Result<()> {
        let state = self.service.snapshot(&self.region).await?;
        let file = self.file.clone();
        Ok(tokio::task::spawn_blocking(move || store::write_json(&file, &state)).await??)
    }
}

/// winterbaume reads what is percent-encoded byte by byte: its string of bytes as the text it stands for.
pub(crate) fn straight(crooked: &str) -> String {
    let bytes: Option<Vec<u8>> = crooked.chars().map(|letter| u8::try_from(letter).ok()).collect();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| crooked.to_owned())
}

/// The same of a whole answer.
pub(crate) fn straighten_body(answer: &mut Response) {
    if let Ok(text) = std::str::from_utf8(answer.body()) {
        *answer.body_mut() = Bytes::from(straight(text));
    }
}

/// Passes `request` to a winterbaume service.
pub(crate) async fn call(service: &impl MockService, region: &str, request: &Request) -> Response {
    let mut headers: HeaderMap = request.headers.clone();
    // They would take the region from here; this server has one region whatever a client signs for.
    headers.remove(http::header::AUTHORIZATION);
    let mut uri = format!("https://{}.{region}.amazonaws.com{}", service.service_name(), request.path);
    if !request.query.is_empty() {
        uri = format!("{uri}?{}", request.query);
    }
    let answer = service
        .handle(MockRequest { method: request.method.to_string(), uri, headers, body: request.body.clone() })
        .await;
    let mut response = empty(answer.status);
    *response.headers_mut() = answer.headers;
    response.headers_mut().remove(http::header::CONTENT_LENGTH);
    *response.body_mut() = answer.body;
    response
}
