//! The files of `page/`, compiled in, and the content security policy of the page.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use poem::error::MethodNotAllowedError;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response, Result};

use crate::http::layers::{pack_well, takes_gzip};
use crate::http::open_graph::Head;

struct File {
    path: &'static str,
    content_type: &'static str,
    content: &'static [u8],
}

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const MANIFEST: &str = "application/manifest+json";
const PNG: &str = "image/png";

/// A file of `page/`, whose path is its name.
macro_rules! file {
    ($content_type:expr, $name:literal) => {
        File {
            path: concat!("/", $name),
            content_type: $content_type,
            content: include_bytes!(concat!("../../page/", $name)),
        }
    };
}

/// The document of every address of the page.
const DOCUMENT: &str = include_str!("../../page/index.html");
const HTML: &str = "text/html; charset=utf-8";

/// The script that keeps the page for times without a connection. Its path makes it responsible for the whole site.
const WORKER: &str = "/worker.js";

const FILES: &[File] = &[
    File { path: "/", content_type: HTML, content: DOCUMENT.as_bytes() },
    file!(STYLE, "app.css"),
    file!(SCRIPT, "address.js"),
    file!(SCRIPT, "api.js"),
    file!(SCRIPT, "app.js"),
    file!(SCRIPT, "card.js"),
    file!(SCRIPT, "composer.js"),
    file!(SCRIPT, "draft.js"),
    file!(SCRIPT, "elements.js"),
    file!(SCRIPT, "erase.js"),
    file!(SCRIPT, "feed.js"),
    file!(SCRIPT, "labels.js"),
    file!(SCRIPT, "lightbox.js"),
    file!(SCRIPT, "login.js"),
    file!(SCRIPT, "metadata.js"),
    file!(SCRIPT, "names.js"),
    file!(SCRIPT, "navigation.js"),
    file!(SCRIPT, "notice.js"),
    file!(SCRIPT, "offline.js"),
    file!(SCRIPT, "picture.js"),
    file!(SCRIPT, "session.js"),
    file!(SCRIPT, "share.js"),
    file!(SCRIPT, "state.js"),
    file!(SCRIPT, "storage.js"),
    file!(SCRIPT, "times.js"),
    file!(SCRIPT, "upload.js"),
    file!(SCRIPT, "words.js"),
    file!(SCRIPT, "worker.js"),
    file!(SVG, "icon.svg"),
    file!(PNG, "apple-touch-icon.png"),
    file!(PNG, "icon-192.png"),
    file!(PNG, "icon-512.png"),
    file!(PNG, "icon-maskable.png"),
    file!(MANIFEST, "manifest.webmanifest"),
];

/// Whether the page has a file at this path.
pub(crate) fn has(path: &str) -> bool {
    FILES.iter().any(|file| file.path == path)
}

/// The page, ready to be served.
pub(crate) struct WebPage {
    /// The content security policy. Pictures are loaded from, and uploaded to, one other origin.
    policy: String,
    /// The script at [`WORKER`], with its constants.
    worker: String,
    /// Each file compressed, once it has been requested.
    packed: Vec<OnceLock<Vec<u8>>>,
}

impl WebPage {
    pub(crate) fn new(picture_origin: &str) -> Self {
        let packed = FILES.iter().map(|_| OnceLock::new()).collect();
        Self { policy: policy(picture_origin), worker: worker(), packed }
    }

    /// Serves the page's files, and passes requests for other paths to `next`.
    pub(crate) async fn before<E: Endpoint>(&self, next: Arc<E>, request: Request) -> Result<Response> {
        let Some(place) = FILES.iter().position(|file| file.path == request.uri().path()) else {
            return Ok(next.call(request).await?.into_response());
        };
        match *request.method() {
            Method::GET | Method::HEAD => Ok(self.file(&request, place)),
            _ => Err(MethodNotAllowedError.into()),
        }
    }

    fn file(&self, request: &Request, place: usize) -> Response {
        let file = &FILES[place];
        let content: Cow<'static, [u8]> =
            if file.path == WORKER { self.worker.clone().into_bytes().into() } else { file.content.into() };
        let mut response = self.send(request, StatusCode::OK, file.content_type, content);
        let is_sent = *request.method() == Method::GET && response.status() == StatusCode::OK;
        if is_sent && takes_gzip(request.headers()) {
            let content = if file.path == WORKER { self.worker.as_bytes() } else { file.content };
            let packed = self.packed[place].get_or_init(|| pack_well(content));
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response.set_body(packed.clone());
        }
        response
    }

    /// Answers a request for an address of the page with its document, whose head describes what is there.
    pub(crate) fn document(&self, request: &Request, status: StatusCode, head: &Head) -> Response {
        self.send(request, status, HTML, head.put_into(DOCUMENT).into_bytes().into())
    }

    fn send(&self, request: &Request, status: StatusCode, content_type: &str, content: Cow<'static, [u8]>) -> Response {
        let tag = tag(&content);
        let response = Response::builder()
            .header(header::ETAG, weak(&tag))
            // Revalidated each time, sent only if a new version of the service has changed it.
            .header(header::CACHE_CONTROL, "no-cache")
            .header(header::CONTENT_SECURITY_POLICY, &self.policy)
            .content_type(content_type);
        match request.header(header::IF_NONE_MATCH) {
            Some(known) if status == StatusCode::OK && known.contains(&tag) => {
                response.status(StatusCode::NOT_MODIFIED).finish()
            }
            _ => response.status(status).body(content.into_owned()),
        }
    }
}

/// Allows only our own files and nothing inline: markup in a post always stays text.
fn policy(pictures: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; manifest-src 'self'; \
         img-src 'self' blob: {pictures}; connect-src 'self' {pictures}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// Returns the script at [`WORKER`]: its constants, and then the file. The constants change with every file of the page,
/// which makes browsers replace the worker that they have.
fn worker() -> String {
    let is_kept =
        |file: &&File| file.path != WORKER && [HTML, STYLE, SCRIPT, SVG, MANIFEST].contains(&file.content_type);
    let files = FILES.iter().filter(is_kept).map(|file| (file.path, weak(&tag(file.content))));
    let shell = serde_json::to_string(&files.collect::<BTreeMap<_, _>>()).expect("texts are JSON");
    let version = tag(shell.as_bytes());
    format!("const SHELL = {shell};\nconst VERSION = {version};\n{}", include_str!("../../page/worker.js"))
}

/// The weak form of an entity tag: compressed or not, it is the same file.
fn weak(tag: &str) -> String {
    format!("W/{tag}")
}

/// The entity tag of a version of a file, in quotes. Conditional requests may send it as weak or strong (RFC 9110,
/// section 13.1.2).
fn tag(content: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}
