//! The page at `/`: the files of `page/`, compiled in, and its content security policy.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use poem::error::MethodNotAllowedError;
use poem::http::{Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response, Result};

struct File {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

const FILES: &[File] = &[
    File { path: "/", content_type: "text/html; charset=utf-8", text: include_str!("../../page/index.html") },
    File { path: "/app.css", content_type: "text/css; charset=utf-8", text: include_str!("../../page/app.css") },
    File { path: "/app.js", content_type: "text/javascript; charset=utf-8", text: include_str!("../../page/app.js") },
    File { path: "/api.js", content_type: "text/javascript; charset=utf-8", text: include_str!("../../page/api.js") },
    File {
        path: "/metadata.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("../../page/metadata.js"),
    },
    File {
        path: "/names.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("../../page/names.js"),
    },
    File {
        path: "/picture.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("../../page/picture.js"),
    },
    File {
        path: "/session.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("../../page/session.js"),
    },
    File {
        path: "/words.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("../../page/words.js"),
    },
    File { path: "/icon.svg", content_type: "image/svg+xml", text: include_str!("../../page/icon.svg") },
    File {
        path: "/manifest.webmanifest",
        content_type: "application/manifest+json",
        text: include_str!("../../page/manifest.webmanifest"),
    },
];

/// Whether the page has a file at this path.
pub(crate) fn has(path: &str) -> bool {
    FILES.iter().any(|file| file.path == path)
}

/// The page, ready to be served.
pub(crate) struct Page {
    /// The content security policy. Pictures are loaded from, and uploaded to, one other origin.
    policy: String,
}

impl Page {
    pub(crate) fn new(picture_origin: &str) -> Self {
        Self { policy: policy(picture_origin) }
    }

    /// Serves the page's files, and passes requests for other paths to `next`.
    pub(crate) async fn before<E: Endpoint>(&self, next: Arc<E>, request: Request) -> Result<Response> {
        let Some(file) = FILES.iter().find(|file| file.path == request.uri().path()) else {
            return Ok(next.call(request).await?.into_response());
        };
        match *request.method() {
            Method::GET | Method::HEAD => Ok(self.send(file, request.header(header::IF_NONE_MATCH))),
            _ => Err(MethodNotAllowedError.into()),
        }
    }

    fn send(&self, file: &File, known: Option<&str>) -> Response {
        let tag = tag(file.text);
        let response = Response::builder()
            // A weak tag: compressed or not, it is the same page.
            .header(header::ETAG, format!("W/{tag}"))
            // Revalidated each time, sent only if a new version of the service has changed it.
            .header(header::CACHE_CONTROL, "no-cache")
            .header(header::CONTENT_SECURITY_POLICY, &self.policy)
            .content_type(file.content_type);
        match known {
            Some(known) if known.contains(&tag) => response.status(StatusCode::NOT_MODIFIED).finish(),
            _ => response.body(file.text),
        }
    }
}

/// Allows only our own files and nothing inline: markup in a post always stays text.
fn policy(pictures: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; manifest-src 'self'; \
         img-src 'self' blob: {pictures}; connect-src 'self' {pictures}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// The entity tag of a version of a file, in quotes. Conditional requests may send it as weak or strong (RFC 9110,
/// section 13.1.2).
fn tag(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}
