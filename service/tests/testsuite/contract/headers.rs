//! Headers: security, CORS and compression.

use std::collections::BTreeMap;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};

use crate::support::{TestService, assert_refused};

#[tokio::test]
async fn a_preflight_is_answered_without_a_call_to_aws() {
    let service = TestService::start().await;
    let before = service.calls().await;
    for path in ["/posts", "/posts/7", "/signedUrlPut", "/nothing"] {
        let answer = service.ask(Method::OPTIONS, path, b"").await;
        assert!(answer.status().is_success());
        let header = |name| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("access-control-allow-origin"), "*");
        assert_eq!(header("access-control-allow-headers"), "authorization, content-type, if-none-match");
        assert_eq!(header("access-control-allow-methods"), "GET, POST, PATCH, DELETE, OPTIONS");
        assert!(header("access-control-max-age").parse::<u32>().unwrap() >= 600);
    }
    assert_eq!(service.get("/health").await.status(), StatusCode::OK);
    assert_eq!(service.calls().await, before);
    assert_eq!(service.get("/posts").await.headers()["access-control-allow-origin"], "*");
    assert_eq!(service.calls().await, before + 1);
    service.end().await;
}

#[tokio::test]
async fn the_content_security_policy_allows_the_service_and_the_bucket_only() {
    let service = TestService::start().await;
    let page = service.get("/").await;
    assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(policy.contains("connect-src 'self' http://127.0.0.1:"), "{policy}");
    let tag = page.headers()["etag"].clone();
    assert!(tag.to_str().unwrap().starts_with("W/\""), "{tag:?}: compressed or not, it is the same page");
    let html = page.text().await.unwrap();
    assert!(!html.contains("style=") && !html.contains("<style") && !html.contains(" onclick"));
    for file in [
        "/app.js",
        "/api.js",
        "/metadata.js",
        "/names.js",
        "/picture.js",
        "/words.js",
        "/app.css",
        "/icon.svg",
        "/manifest.webmanifest",
    ] {
        assert_eq!(service.get(file).await.status(), StatusCode::OK, "{file}");
    }
    let again = service.http.get(format!("{}/", service.base)).header("If-None-Match", &tag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(again.headers()["etag"], tag);
    assert_eq!(again.headers()["vary"], "accept-encoding");
    service.end().await;
}

#[tokio::test]
async fn the_worker_names_the_files_of_the_page_with_their_entity_tags() {
    let service = TestService::start().await;
    let worker = service.get("/worker.js").await;
    assert_eq!(worker.headers()[CONTENT_TYPE], "text/javascript; charset=utf-8");
    let policy = worker.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("connect-src 'self' http://127.0.0.1:"), "{policy}");
    let worker = worker.text().await.unwrap();
    let (shell, rest) = worker.strip_prefix("const SHELL = ").unwrap().split_once(";\nconst VERSION = \"").unwrap();
    assert!(rest.split_once("\";\n").is_some_and(|(version, _)| version.len() == 16), "{rest}");
    let shell: BTreeMap<String, String> = serde_json::from_str(shell).unwrap();
    for (file, tag) in &shell {
        assert_eq!(service.get(file).await.headers()["etag"].to_str().unwrap(), tag, "{file}");
    }
    let html = service.get("/").await.text().await.unwrap();
    let files = html
        .split('"')
        .filter(|part| part.starts_with('/') && [".js", ".css", ".svg"].iter().any(|it| part.ends_with(it)));
    for file in files.chain(["/", "/manifest.webmanifest"]) {
        assert!(shell.contains_key(file), "{file}");
    }
    assert!(!shell.contains_key("/worker.js"), "the browser itself keeps it");
    service.end().await;
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let service = TestService::start().await;
    for path in ["/", "/app.js", "/posts", "/posts?limit=0", "/nothing", "/health", "/config", "/docs", "/openapi.json"]
    {
        let answer = service.get(path).await;
        let header = |name| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("access-control-allow-origin"), "*", "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert!(header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert!(answer.headers().contains_key("cache-control"), "{path}");
        assert_eq!(header("x-request-id").len(), 32, "{path}");
    }
    service.end().await;
}

#[tokio::test]
async fn only_clients_over_https_get_strict_transport_security() {
    let service = TestService::start().await;
    for (protocol, kept) in [(Some("https"), true), (Some("HTTPS"), true), (Some("http"), false), (None, false)] {
        for path in ["/", "/posts?limit=0", "/nothing"] {
            let request = service.http.get(format!("{}{path}", service.base));
            let request = protocol.iter().fold(request, |request, it| request.header("X-Forwarded-Proto", *it));
            let answer = request.send().await.unwrap();
            let header = answer.headers().get("strict-transport-security").map(|it| it.to_str().unwrap().to_owned());
            assert_eq!(header.as_deref(), kept.then_some("max-age=31536000"), "{protocol:?} {path}");
        }
    }
    service.end().await;
}

#[tokio::test]
async fn answers_are_compressed_for_clients_that_accept_gzip() {
    let service = TestService::start().await;
    let ask = async |path: &str, takes: &str| {
        let request = service.http.get(format!("{}{path}", service.base)).header("Accept-Encoding", takes);
        let answer = request.send().await.unwrap();
        let header = |name| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (header("content-encoding"), header("vary"), answer.bytes().await.unwrap())
    };
    let vary = Some("accept-encoding".to_owned());
    let (plain, packed) = (ask("/app.js", "identity").await, ask("/app.js", "gzip, br").await);
    assert_eq!((plain.0, plain.1), (None, vary.clone()));
    assert_eq!((packed.0.as_deref(), packed.1), (Some("gzip"), vary));
    assert!(packed.2.starts_with(&[0x1f, 0x8b]) && packed.2.len() * 2 < plain.2.len());
    assert_eq!(ask("/posts?limit=0", "gzip").await.0, None, "errors are short");
    let packed = service.http.post(format!("{}/posts", service.base)).header("Authorization", "ada");
    assert_refused(packed.header("Content-Encoding", "gzip").body("{}").send().await.unwrap(), 415).await;
    service.end().await;
}
