//! The route of a request, in terms that are safe to log: never an id, a name or a user's text.

use poem::http::Method;

use crate::http::page;
use crate::http::permalinks::Permalink;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Route {
    pub method: &'static str,
    pub path: &'static str,
}

/// The paths, with their methods.
const PATHS: &[(&str, &str)] = &[
    ("/posts", "GET, POST, OPTIONS"),
    ("/signedUrlPut", "GET, OPTIONS"),
    ("/getSignedUrlPut", "GET, OPTIONS"),
    ("/config", "GET, OPTIONS"),
    ("/health", "GET, OPTIONS"),
    ("/ready", "GET, OPTIONS"),
    ("/docs", THE_DOCUMENT.1),
    ("/openapi.json", "GET, OPTIONS"),
];
const A_POST: (&str, &str) = ("/posts/:id", "GET, PATCH, DELETE, OPTIONS");
const AN_AUTHOR: (&str, &str) = ("/@:user", "GET, HEAD, OPTIONS");
const A_PERMALINK: (&str, &str) = ("/@:user/:id", "GET, HEAD, OPTIONS");
const AN_IMAGE: (&str, &str) = ("/@:user/:id/image", "GET, HEAD, OPTIONS");
const A_LABEL: (&str, &str) = ("/labels/:label", "GET, HEAD, OPTIONS");
const THE_PAGE: (&str, &str) = ("page", "GET, HEAD, OPTIONS");
const THE_DOCUMENT: (&str, &str) = ("/docs", "GET, OPTIONS");
const ELSEWHERE: (&str, &str) = ("other", "OPTIONS");

impl Route {
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        let method = match *method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::DELETE => "DELETE",
            Method::PATCH => "PATCH",
            Method::HEAD => "HEAD",
            // Preflights are answered the same way at every path.
            Method::OPTIONS => return Self { method: "OPTIONS", path: "any" },
            _ => "other",
        };
        Self { method, path: known(path).0 }
    }

    /// The methods of a path, as in the `Allow` header.
    pub(crate) fn methods_at(path: &str) -> &'static str {
        known(path).1
    }

    /// Whether nothing is at this path, whatever the method.
    pub(crate) fn is_unknown(path: &str) -> bool {
        known(path) == ELSEWHERE
    }

    /// Whether requests of this route are too frequent and uninteresting to log.
    pub(crate) fn is_chatter(&self) -> bool {
        self.method == "OPTIONS" || self.path == "/health"
    }
}

fn known(path: &str) -> (&'static str, &'static str) {
    match PATHS.iter().find(|(known, _)| *known == path) {
        Some(known) => *known,
        None if path.starts_with("/posts/") => A_POST,
        None if path.starts_with("/docs/") => THE_DOCUMENT,
        None if page::has(path) => THE_PAGE,
        None => match Permalink::of(path) {
            Some(Permalink::Author(_)) => AN_AUTHOR,
            Some(Permalink::Post(..)) => A_PERMALINK,
            Some(Permalink::Image(..)) => AN_IMAGE,
            Some(Permalink::Label(_)) => A_LABEL,
            None => ELSEWHERE,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_path_is_not_logged() {
        for (path, known) in [
            ("/posts", "/posts"),
            ("/posts/018f2f6e-0000-7000-8000-00000000000a", "/posts/:id"),
            ("/posts/a/b", "/posts/:id"),
            ("/", "page"),
            ("/app.js", "page"),
            ("/@ada", "/@:user"),
            ("/@ada/018f2f6e-0000-7000-8000-00000000000a", "/@:user/:id"),
            ("/@ada/018f2f6e-0000-7000-8000-00000000000a/image", "/@:user/:id/image"),
            ("/@ada/other", "other"),
            ("/labels/cat", "/labels/:label"),
            ("/health", "/health"),
            ("/%E9", "other"),
        ] {
            assert_eq!(Route::of(&Method::GET, path), Route { method: "GET", path: known });
        }
        assert_eq!(Route::of(&Method::OPTIONS, "/posts"), Route { method: "OPTIONS", path: "any" });
        assert_eq!(Route::of(&Method::from_bytes(b"MADEUP").unwrap(), "/x"), Route { method: "other", path: "other" });
    }
}
