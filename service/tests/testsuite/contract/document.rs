//! The API document.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use service::Limits;

use crate::support::{TestService, text};

#[tokio::test]
async fn the_api_describes_itself_in_full() {
    let service = TestService::start().await;
    let answer = service.get("/openapi.json").await;
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
    let document: Value = answer.json().await.unwrap();
    assert!(text(&document["openapi"]).starts_with("3."));
    assert_eq!(document["components"]["securitySchemes"]["Author"]["name"], "Authorization");
    let paths = document["paths"].as_object().unwrap();
    let names: Vec<_> = paths.keys().collect();
    assert_eq!(
        names,
        [
            "/posts",
            "/posts/{id}",
            "/signedUrlPut",
            "/getSignedUrlPut",
            "/config",
            "/health",
            "/ready",
            "/@{user}",
            "/@{user}/{id}",
            "/@{user}/{id}/image",
            "/labels/{label}"
        ]
    );
    for (path, operation) in
        paths.iter().flat_map(|(path, all)| all.as_object().unwrap().values().map(move |it| (path, it)))
    {
        let id = text(&operation["operationId"]);
        assert!(operation["summary"].is_string(), "{path}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].is_string() && !parameter["example"].is_null(), "{id}: {parameter}");
        }
        let responses = operation["responses"].as_object().unwrap();
        let of_every_request = ["408", "413", "414", "415", "431"];
        assert!(of_every_request.iter().all(|status| responses.contains_key(*status)), "{id}: {:?}", responses.keys());
        let errors = responses.keys().map(String::as_str);
        let errors = errors.filter(|status| !status.starts_with('2') && !of_every_request.contains(status));
        let expected: &[&str] = match id.as_str() {
            "writePost" => &["401", "422", "500", "503"],
            "listPosts" => &["304", "422", "500", "503"],
            "readPost" => &["404", "422", "500", "503"],
            "authorPage" | "labelPage" => &["503"],
            "postPage" => &["404", "500", "503"],
            "postImage" => &["302", "404", "500", "503"],
            "deletePost" | "describePost" | "uploadAddress" | "uploadAddressByItsOtherName" => {
                &["401", "404", "422", "500", "503"]
            }
            "config" | "ready" => &["503"],
            "health" => &[],
            other => panic!("the errors of {other} are not listed"),
        };
        assert_eq!(errors.collect::<Vec<_>>(), expected, "{id}");
        let secured =
            ["writePost", "deletePost", "describePost", "uploadAddress", "uploadAddressByItsOtherName"].contains(&&*id);
        assert_eq!(operation["security"], if secured { json!([{ "Author": [] }]) } else { Value::Null }, "{id}");
    }
    for (status, response) in document["components"]["responses"].as_object().unwrap() {
        let example = &response["content"]["application/json; charset=utf-8"]["example"];
        assert_eq!(example["status_code"].to_string(), *status);
        assert!(example["message"].is_string() && response["description"].is_string());
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(schema["example"].is_object() || name == "Error", "{name} has no example");
    }
    let reason = &document["components"]["schemas"]["Post"]["properties"]["reason"];
    assert_eq!(reason["enum"], json!(["unsupported", "too_large", "empty", "unreadable"]));
    assert_eq!(reason["example"], "unsupported");
    let page = service.get("/docs").await;
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(page.text().await.unwrap().contains("swagger-ui.js"));
    assert!(service.get("/docs/swagger-ui.js").await.text().await.unwrap().contains("SwaggerUIBundle"));
    assert!(service.get("/docs/swagger-ui.css").await.text().await.unwrap().contains(".swagger-ui"));
    assert!(service.get("/docs/start.js").await.text().await.unwrap().contains("/openapi.json"));
    service.end().await;
}

#[tokio::test]
async fn every_error_status_is_in_the_api_document() {
    let service = TestService::start().await;
    let hurried = service.otherwise(&[], Limits { body: Duration::from_millis(50), ..Limits::default() }).await;
    let document: Value = service.get("/openapi.json").await.json().await.unwrap();
    let mut seen = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let ask_of = |base: &str, query: &str| {
                let request = service.http.request(method.clone(), format!("{base}{path}{query}"));
                request.header("Authorization", "ada").header(CONTENT_TYPE, "application/json")
            };
            let ask = |query: &str| ask_of(&service.base, query);
            let endless = reqwest::Body::wrap_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
            for (request, status) in [
                (ask("").body(vec![b' '; 64 * 1024 + 1]), "413"),
                (ask("").header("Content-Encoding", "gzip").body("{}"), "415"),
                (ask(&format!("?x={}", "x".repeat(8 * 1024))), "414"),
                (ask("").header("X-Large", "x".repeat(17 * 1024)), "431"),
                (ask_of(&hurried, "").header("Content-Length", "2").body(endless), "408"),
            ] {
                let answer = request.send().await.unwrap();
                assert_eq!(answer.status().as_str(), status, "{method} {path}");
                assert!(operation["responses"][status].is_object(), "{method} {path} may answer {status}");
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 14);
    service.end().await;
}

#[tokio::test]
async fn the_api_document_describes_the_configured_authentication() {
    let service = TestService::start().await;
    let tokens = [
        ("AUTH", "jwt"),
        ("JWT_SECRET", "0123456789abcdef0123456789abcdef"),
        ("JWT_AUDIENCE", "postagram"),
        ("JWT_CLAIM", "email"),
        ("JWT_LOGIN_URL", "https://login.example/"),
    ];
    let with_tokens = service.otherwise(&tokens, Limits::default()).await;
    for base in [&service.base, &with_tokens] {
        let read = async |path: &str| service.http.get(format!("{base}{path}")).send().await.unwrap();
        let document: Value = read("/openapi.json").await.json().await.unwrap();
        let config: Value = read("/config").await.json().await.unwrap();
        assert_eq!(document["components"]["schemas"]["Config"]["example"], config);
        let unauthorized = &document["components"]["responses"]["401"]["content"]["application/json; charset=utf-8"];
        let post = service.http.post(format!("{base}/posts")).header(CONTENT_TYPE, "application/json").body("{}");
        assert_eq!(unauthorized["example"], post.send().await.unwrap().json::<Value>().await.unwrap());
    }
    service.end().await;
}
