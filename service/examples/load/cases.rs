//! The requests to the service.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::fire::{ask, request};
use crate::service::Service;

/// A kind of request.
pub struct Case {
    pub name: &'static str,
    method: &'static str,
    path: &'static str,
    headers: &'static [&'static str],
    body: &'static str,
    /// Processor seconds per 1,000 requests: the target, and the figure of the Python service that this one replaces.
    pub aim: &'static str,
    pub original: &'static str,
}

/// The defaults of a case.
const CASE: Case = Case { name: "", method: "GET", path: "", headers: &[], body: "", aim: "", original: "" };

const AUTHOR: &str = "Authorization: ada";

pub const CASES: &[Case] = &[
    Case { name: "`GET /posts`", path: "/posts", aim: "0.15", original: "14.9", ..CASE },
    Case { name: "`GET /posts`, compressed", path: "/posts", headers: &["Accept-Encoding: gzip, deflate, br"], ..CASE },
    Case { name: "`GET /posts?user=`", path: "/posts?user=ada", aim: "0.08", original: "1.93", ..CASE },
    Case {
        name: "`POST /posts`",
        method: "POST",
        path: "/posts",
        headers: &[AUTHOR, "Content-Type: application/json"],
        body: r#"{"title":"A day at the sea","body":"We went there by train, and it rained all day long."}"#,
        aim: "0.05",
        original: "1.09",
    },
    Case {
        name: "`GET /signedUrlPut`",
        path: "/signedUrlPut?filename=cat.jpg&filetype=image/jpeg&postId={id}",
        headers: &[AUTHOR],
        aim: "0.02",
        original: "0.40",
        ..CASE
    },
    Case {
        name: "preflight",
        method: "OPTIONS",
        path: "/posts",
        headers: &[
            "Origin: https://example.com",
            "Access-Control-Request-Method: GET",
            "Access-Control-Request-Headers: authorization",
        ],
        aim: "0.01",
        original: "0.041",
        ..CASE
    },
    Case { name: "`GET /health`", path: "/health", ..CASE },
];

impl Case {
    /// The request as it is sent to this service.
    pub fn request(&self, service: &Service) -> Result<Vec<u8>> {
        let path = match self.path.contains("{id}") {
            true => self.path.replace("{id}", &written(service)?),
            false => self.path.to_owned(),
        };
        Ok(request(self.method, &path, self.headers, self.body))
    }
}

/// Writes a post through this service, as users do before they upload a picture, and returns its UUID.
fn written(service: &Service) -> Result<String> {
    let draft = request("POST", "/posts", &[AUTHOR, "Content-Type: application/json"], r#"{"title":"","body":""}"#);
    let post: Value = serde_json::from_slice(&ask(service.address, &draft)?)?;
    let id = post["id"].as_str().and_then(|id| id.strip_prefix("POST#"));
    Ok(id.context("the written post has no id")?.to_owned())
}
