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

/// Whether a file of the page is there.
pub(crate) fn has(path: &str) -> bool {
    FILES.iter().any(|file| file.path == path)
}

/// The page, ready to be sent.
pub(crate) struct Page {
    /// Pictures are shown from, and sent to, one origin that is not ours.
    policy: String,
}

impl Page {
    pub(crate) fn new(picture_origin: &str) -> Self {
        Self { policy: policy(picture_origin) }
    }

    /// Answers for the page's files, and leaves every other path to `next`.
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
            // Weak: packed or not, it is the same page in other bytes.
            .header(header::ETAG, format!("W/{tag}"))
            // Asked for each time, sent only when a new version of the service has another.
            .header(header::CACHE_CONTROL, "no-cache")
            .header(header::CONTENT_SECURITY_POLICY, &self.policy)
            .content_type(file.content_type);
        match known {
            Some(known) if known.contains(&tag) => response.status(StatusCode::NOT_MODIFIED).finish(),
            _ => response.body(file.text),
        }
    }
}

/// Only our own files run, and nothing inline: a post that holds markup stays text whatever happens.
fn policy(pictures: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; manifest-src 'self'; \
         img-src 'self' blob: {pictures}; connect-src 'self' {pictures}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// What a version of a file is called, in quotes. Whoever asks whether it is still the one he has may call it weak or
/// strong (RFC 9110, section 13.1.2).
fn tag(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}
