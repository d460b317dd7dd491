//! Errors: invalid requests, and outages of AWS.

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use service::Limits;
use testkit::{InjectedFault, Proxy};

use crate::support::{NOWHERE, TABLE, TestService, assert_refused, url_query};

#[tokio::test]
async fn a_validation_error_names_the_field() {
    let service = TestService::start().await;
    let long_title = json!({ "title": "é".repeat(301), "body": "" }).to_string();
    let long_body = json!({ "title": "", "body": "é".repeat(10_001) }).to_string();
    for (body, field) in [
        ("{", "body"),
        ("", "body"),
        ("[]", "body"),
        (r#"{"body":"b"}"#, "title"),
        (r#"{"title":"t"}"#, "body"),
        (r#"{"title":3,"body":"b"}"#, "title"),
        (r#"{"title":"t","body":null}"#, "body"),
        (&long_title, "title"),
        (&long_body, "body"),
    ] {
        let message = assert_refused(service.post(b"ada", body.to_owned()).await, 422).await;
        assert!(message.starts_with(&format!("{field}: ")), "{body}: {message}");
    }
    let post = service.write(b"ada", "t").await;
    for (query, field) in [
        (format!("filetype=image/png&postId={post}"), "filename"),
        (format!("filename=a&postId={post}"), "filetype"),
        ("filename=a&filetype=image/png".to_owned(), "postId"),
        (format!("filename=&filetype=image/png&postId={post}"), "filename"),
        (format!("filename=a%0Ab&filetype=image/png&postId={post}"), "filename"),
        (format!("filename=a&filetype=text/html&postId={post}"), "filetype"),
        (format!("filename=a&filetype=image/&postId={post}"), "filetype"),
        (format!("filename=a&filetype=image/p%0Ang&postId={post}"), "filetype"),
        (format!("filename=a&filetype=image/svg%2Bxml&postId={post}"), "filetype"),
        (format!("filename=a&filetype=IMAGE/SVG&postId={post}"), "filetype"),
        (format!("filename=a&filetype=image/x%2BXML&postId={post}"), "filetype"),
        (format!("filename=a%ED%A0%80.png&filetype=image/png&postId={post}"), "filename"),
        (format!("filename=a&filetype=image/png&postId={post}%FF"), "postId"),
    ] {
        let message =
            assert_refused(service.ask(Method::GET, &format!("/signedUrlPut?{query}"), b"ada").await, 422).await;
        assert!(message.starts_with(&format!("{field}: ")), "{query}: {message}");
    }
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("cursor=7", "cursor"),
        ("user=%E9", "user"),
    ] {
        let message = assert_refused(service.get(&format!("/posts?{query}")).await, 422).await;
        assert!(message.starts_with(&format!("{field}: ")), "{query}: {message}");
    }
    for (body, field) in [
        (r#"{"title":"\ud800","body":"b"}"#, "title"),
        (r#"{"title":"t","body":"\udc00\ud800"}"#, "body"),
        ("{\"title\":\"t\",\"body\":\"a\\u0000\"}", "body"),
        ("{\"title\":\"a\u{FFFF}\",\"body\":\"b\"}", "title"),
    ] {
        let message = assert_refused(service.post(b"ada", body.to_owned()).await, 422).await;
        assert!(message.starts_with(&format!("{field}: it holds ")), "{body}: {message}");
    }
    let long_name = vec![b'u'; 501];
    assert!(assert_refused(service.post(&long_name, "{}").await, 422).await.starts_with("Authorization: "));
    service.end().await;
}

#[tokio::test]
async fn a_character_that_xml_cannot_carry_is_refused_and_named() {
    let service = TestService::start().await;
    let post = service.write(b"ada", "t").await;
    for (character, name) in [
        ('\u{FFFF}', "U+FFFF"),
        ('\u{FFFE}', "U+FFFE"),
        ('\u{FDD0}', "U+FDD0"),
        ('\u{1FFFE}', "U+1FFFE"),
        ('\u{10FFFF}', "U+10FFFF"),
        ('\u{1}', "U+0001"),
        ('\u{7F}', "U+007F"),
        ('\u{9F}', "U+009F"),
    ] {
        let refused = |answer, field: &'static str| async move {
            let message = assert_refused(answer, 422).await;
            assert!(message.starts_with(&format!("{field}: it holds {name}, ")), "{field}: {message}");
        };
        let text = format!("a{character}b");
        refused(service.post(b"ada", json!({ "title": text, "body": "" }).to_string()).await, "title").await;
        refused(service.post(b"ada", json!({ "title": "", "body": text }).to_string()).await, "body").await;
        let query = url_query(&[("filename", &format!("{text}.png")), ("filetype", "image/png"), ("postId", &post)]);
        refused(service.ask(Method::GET, &format!("/signedUrlPut?{query}"), b"ada").await, "filename").await;
        if !character.is_ascii_control() {
            refused(service.post(text.as_bytes(), r#"{"title":"t","body":"b"}"#).await, "Authorization").await;
        }
        assert_eq!(service.list(&format!("/posts?{}", url_query(&[("user", &text)]))).await, [] as [Value; 0]);
    }
    assert_eq!(service.rows().await, 1);
    // Of the control characters, a text keeps its line breaks and tabs; it also keeps every script and all characters
    // that emoji consist of.
    let text = "a\tb\r\nc \u{200F}שלום 👩\u{200D}🚀";
    let kept = service.post(b"ada", json!({ "title": "❤\u{FE0F}", "body": text }).to_string()).await;
    assert_eq!(kept.json::<Value>().await.unwrap()["body"], text);
    service.end().await;
}

#[tokio::test]
async fn an_author_is_needed_to_write_upload_and_delete() {
    let service = TestService::start().await;
    let upload = "/signedUrlPut?filename=a.jpg&filetype=image/jpeg&postId=x";
    assert_refused(service.get(upload).await, 401).await;
    assert_refused(service.http.delete(format!("{}/posts/x", service.base)).send().await.unwrap(), 401).await;
    assert_refused(service.http.post(format!("{}/posts", service.base)).send().await.unwrap(), 401).await;
    for no_name in [&b""[..], b"  "] {
        assert_refused(service.post(no_name, r#"{"title":"t","body":"b"}"#).await, 401).await;
    }
    assert_eq!(service.rows().await, 0);
    service.end().await;
}

#[tokio::test]
async fn every_other_error_has_the_same_shape() {
    let service = TestService::start().await;
    assert_refused(service.ask(Method::DELETE, "/posts/7", b"ada").await, 404).await;
    assert_refused(service.ask(Method::GET, "/signedUrlPut?filename=a&filetype=image/png&postId=7", b"ada").await, 404)
        .await;
    assert_refused(service.get("/nothing/here").await, 404).await;
    assert_refused(service.ask(Method::PUT, "/posts", b"ada").await, 405).await;
    assert_refused(service.ask(Method::POST, "/", b"ada").await, 405).await;
    assert_refused(service.post(b"ada", vec![b' '; 64 * 1024 + 1]).await, 413).await;
    assert_refused(service.post(b"ada", vec![b' '; 3 * 1024 * 1024]).await, 413).await;
    let form = service.http.post(format!("{}/posts", service.base)).header("Authorization", "ada");
    assert_refused(form.header(CONTENT_TYPE, "text/plain").body("{}").send().await.unwrap(), 415).await;
    service.end().await;
}

#[tokio::test]
async fn a_method_that_is_not_allowed_is_answered_with_those_that_are() {
    let service = TestService::start().await;
    for (method, path, allowed) in [
        (Method::PUT, "/posts", "GET, POST, OPTIONS"),
        (Method::PUT, "/posts/7", "GET, PATCH, DELETE, OPTIONS"),
        (Method::POST, "/@ada", "GET, HEAD, OPTIONS"),
        (Method::DELETE, "/labels/cat", "GET, HEAD, OPTIONS"),
        (Method::POST, "/signedUrlPut", "GET, OPTIONS"),
        (Method::DELETE, "/", "GET, HEAD, OPTIONS"),
        (Method::POST, "/docs", "GET, OPTIONS"),
        (Method::POST, "/openapi.json", "GET, OPTIONS"),
    ] {
        let answer = service.ask(method, path, b"ada").await;
        assert_eq!(answer.headers()["allow"], allowed, "{path}");
        assert_eq!(assert_refused(answer, 405).await, format!("the allowed methods are: {allowed}"));
    }
    service.end().await;
}

#[tokio::test]
async fn an_outage_is_a_503_with_retry_after() {
    let mut service = TestService::start().await;
    service.base = service.elsewhere(Some(NOWHERE), Some(NOWHERE)).await;
    for answer in [service.get("/posts").await, service.post(b"ada", r#"{"title":"t","body":"b"}"#).await] {
        assert!(answer.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
        assert_refused(answer, 503).await;
    }
    assert_eq!(service.get("/health").await.status(), StatusCode::OK);
    service.end().await;
}

#[tokio::test]
async fn throttling_is_a_503_with_retry_after_and_leaves_nothing_half_done() {
    let mut service = TestService::start().await;
    let post = service.write(b"ada", "t").await;
    let (address, object) = service.upload("ada", &post, "cat.jpg").await;
    assert_eq!(service.put(&address, "image/jpeg").await, 200);
    service.label("ada", &post, &object, &["Cat"]).await;
    let before = service.list("/posts").await;
    let whole = std::mem::take(&mut service.base);
    let delete = format!("/posts/{post}");
    let upload = format!("/signedUrlPut?filename=a.jpg&filetype=image/jpeg&postId={post}");
    for (method, path, throttled) in [
        (Method::POST, "/posts", "PutItem"),
        (Method::GET, "/posts", "Scan"),
        (Method::GET, "/posts?user=ada", "Query"),
        (Method::GET, &upload, "GetItem"),
        (Method::DELETE, &delete, "GetItem"),
        (Method::DELETE, &delete, "ListObjectsV2"),
        (Method::DELETE, &delete, "DeleteObject"),
        (Method::DELETE, &delete, "DeleteItem"),
    ] {
        let proxy = Proxy::to(&service.endpoint).await;
        proxy.inject([throttled], InjectedFault::Throttled, usize::MAX);
        service.base = service.elsewhere_with(&proxy.endpoint(), Limits::default()).await;
        let answer = match method {
            Method::POST => service.post(b"ada", r#"{"title":"t","body":"b"}"#).await,
            _ => service.ask(method.clone(), path, b"ada").await,
        };
        assert_eq!(answer.headers()["retry-after"], "2", "{method} {path}, {throttled}");
        assert_eq!(assert_refused(answer, 503).await, "the storage cannot be reached now, please try again");
        service.base.clone_from(&whole);
        assert_eq!(service.rows().await, 1, "{method} {path}, {throttled}");
        // Pictures are deleted first, and the row that owns them last.
        let pictures = if throttled == "DeleteItem" { 0 } else { 1 };
        assert_eq!(service.objects().await.len(), pictures, "{method} {path}, {throttled}");
        if pictures == 1 {
            assert_eq!(service.list("/posts").await[0]["labels"], before[0]["labels"]);
        }
    }
    assert_eq!(service.ask(Method::DELETE, &delete, b"ada").await.status(), StatusCode::NO_CONTENT);
    assert_eq!((service.rows().await, service.objects().await.len()), (0, 0));
    service.end().await;
}

#[tokio::test]
async fn a_deletion_that_fails_halfway_can_be_repeated() {
    let mut service = TestService::start().await;
    let post = service.write(b"ada", "t").await;
    let (address, _) = service.upload("ada", &post, "cat.jpg").await;
    assert_eq!(service.put(&address, "image/jpeg").await, 200);
    let delete = format!("/posts/{post}");
    let whole = std::mem::take(&mut service.base);
    service.base = service.elsewhere(Some(NOWHERE), None).await;
    assert_refused(service.ask(Method::DELETE, &delete, b"ada").await, 503).await;
    assert_eq!((service.rows().await, service.objects().await.len()), (1, 1));
    service.base = whole;
    assert!(service.ask(Method::DELETE, &delete, b"ada").await.status().is_success());
    assert_eq!((service.rows().await, service.objects().await.len()), (0, 0));
    service.end().await;
}

#[tokio::test]
async fn a_malformed_row_does_not_break_the_list() {
    let service = TestService::start().await;
    service.write(b"ada", "t").await;
    let stray = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let put = service.dynamo.put_item().table_name(TABLE).item("user", stray("x")).item("id", stray("y"));
    put.send().await.unwrap();
    assert_eq!(service.list("/posts").await.len(), 1);
    service.end().await;
}
