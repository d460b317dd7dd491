//! The service's responses at the addresses that people share, to browsers and to other sites.

use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use super::visit::{SEED, Seed};
use crate::support::{NOWHERE, TABLE, TestService, assert_refused, url_query};

const KEY: &str = "Zoé/1/lake.jpg";

/// A service with one post, and the path of the post.
async fn with_post(post: Seed<'_>) -> (TestService, String) {
    let service = TestService::start().await;
    service.seed(&[post]).await;
    let id = service.list("/posts").await[0]["id"].as_str().unwrap().replace("POST#", "");
    (service, format!("/@Zo%C3%A9/{id}"))
}

fn with_picture<'a>(title: &'a str, body: &'a str) -> Seed<'a> {
    Seed { user: "Zoé", title, body, picture: Some((KEY.to_owned(), &["Lake"])), alt: "Blue hills", ..SEED }
}

/// Asks as a browser that follows a link, without following redirects.
async fn visit(service: &TestService, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let mut request = client.request(method, format!("{}{path}", service.base)).header("Accept", "text/html,*/*");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers()[name].to_str().unwrap()
}

#[tokio::test]
async fn a_post_has_open_graph_tags() {
    let (service, path) = with_post(with_picture("Blue hour", "The lake")).await;
    let of_site = [("Host", "postagram.example"), ("X-Forwarded-Proto", "https")];
    let answer = visit(&service, Method::GET, &path, &of_site).await;
    assert_eq!(
        (answer.status(), header(&answer, "content-type")),
        (200.try_into().unwrap(), "text/html; charset=utf-8")
    );
    assert!(header(&answer, "content-security-policy").starts_with("default-src 'none'; script-src 'self'"));
    let tag = header(&answer, "etag").to_owned();
    let html = answer.text().await.unwrap();
    for part in [
        "<title>Blue hour · Postagram</title>".to_owned(),
        "<meta property=\"og:title\" content=\"Blue hour\">".to_owned(),
        "<meta property=\"og:description\" content=\"Zoé: The lake\">".to_owned(),
        format!("<meta property=\"og:url\" content=\"https://postagram.example{path}\">"),
        format!("<meta property=\"og:image\" content=\"https://postagram.example{path}/image\">"),
        "<meta property=\"og:image:width\" content=\"640\">".to_owned(),
        "<meta property=\"og:image:alt\" content=\"Blue hills\">".to_owned(),
    ] {
        assert!(html.contains(&part), "{part} is not in {html}");
    }
    let known = [&of_site[..], &[("If-None-Match", tag.as_str())]].concat();
    assert_eq!(visit(&service, Method::GET, &path, &known).await.status(), 304);
    let head = visit(&service, Method::HEAD, &path, &of_site).await;
    assert_eq!((head.status(), header(&head, "etag")), (200.try_into().unwrap(), tag.as_str()));
    service.end().await;
}

#[tokio::test]
async fn the_tags_hold_texts_and_no_markup() {
    let evil = "\"><script>alert(1)</script><meta property=\"og:url\" content=\"https://evil.example";
    let (service, path) = with_post(with_picture(evil, evil)).await;
    let html = visit(&service, Method::GET, &path, &[]).await.text().await.unwrap();
    assert!(!html.contains("<script>alert") && !html.contains("content=\"https://evil"), "{html}");
    assert!(html.contains("&quot;&gt;&lt;script&gt;alert(1)"), "{html}");
    // Names and labels are anyone's text as well; an invalid host is not repeated.
    for path in ["/@%3Cscript%3Ealert(1)%3C%2Fscript%3E", "/labels/%22%3E%3Cscript%3Ealert(1)"] {
        let html = visit(&service, Method::GET, path, &[("Host", "evil\"><b>")]).await.text().await.unwrap();
        assert!(!html.contains("<script>alert") && !html.contains("evil"), "{html}");
    }
    service.end().await;
}

#[tokio::test]
async fn the_address_of_a_picture_stays_the_same_and_leads_to_a_signed_one() {
    let (service, path) = with_post(with_picture("Blue hour", "")).await;
    let image = format!("{path}/image");
    for method in [Method::GET, Method::HEAD] {
        let answer = visit(&service, method, &image, &[("Host", "evil.example")]).await;
        assert_eq!((answer.status(), header(&answer, "cache-control")), (302.try_into().unwrap(), "max-age=300"));
        // The location is the one that lists have: signed for the object of the row, in our bucket.
        assert_eq!(header(&answer, "location"), service.list("/posts").await[0]["image"].as_str().unwrap());
    }

    // No part of the request can change its target.
    for path in [
        format!("{image}?location=https://evil.example"),
        format!("{image}/https://evil.example"),
        "/@Zo%C3%A9/https%3A%2F%2Fevil.example/image".to_owned(),
        "/@Zo%C3%A9/..%2F..%2Fother/image".to_owned(),
        format!("{}/image", path.replace("Zo%C3%A9", "Ada")),
    ] {
        let answer = visit(&service, Method::GET, &path, &[]).await;
        let location = answer.headers().get("location").map(|it| it.to_str().unwrap().to_owned());
        let expected = path.starts_with(&format!("{image}?")).then(|| service.endpoint.clone());
        assert_eq!(location.is_some(), expected.is_some(), "{path}: {location:?}");
        assert!(location.unwrap_or_default().starts_with(&expected.unwrap_or_default()), "{path}");
    }
    service.end().await;
}

#[tokio::test]
async fn a_picture_is_served_only_while_its_post_shows_it() {
    let (service, path) = with_post(Seed { user: "Zoé", title: "No picture", ..SEED }).await;
    let image = format!("{path}/image");
    let words = async |answer: Response| assert_refused(answer, 404).await;
    assert_eq!(words(visit(&service, Method::GET, &image, &[]).await).await, "this post has no picture");
    // An upload whose labels are missing is not published yet.
    let id = path.rsplit('/').next().unwrap();
    let stored = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let update = service.dynamo.update_item().table_name(TABLE).update_expression("SET image = :image");
    let update = update.key("user", stored("USER#Zoé")).key("id", stored(&format!("POST#{id}")));
    update.expression_attribute_values(":image", stored(KEY)).send().await.unwrap();
    assert_eq!(words(visit(&service, Method::GET, &image, &[]).await).await, "this post has no picture");
    service.label("Zoé", id, KEY, &["Lake"]).await;
    assert_eq!(visit(&service, Method::GET, &image, &[]).await.status(), 302);
    assert_eq!(service.ask(Method::DELETE, &format!("/posts/{id}"), "Zoé".as_bytes()).await.status(), 204);
    assert_eq!(words(visit(&service, Method::GET, &image, &[]).await).await, "there is no such post");
    assert_eq!(visit(&service, Method::GET, &path, &[]).await.status(), 404);
    service.end().await;
}

#[tokio::test]
async fn browsers_get_the_page_while_a_post_cannot_be_read_and_programs_an_error() {
    let (mut service, path) = with_post(with_picture("Blue hour", "The lake")).await;
    service.base = service.elsewhere(None, Some(NOWHERE)).await;
    for method in [Method::GET, Method::HEAD] {
        let answer = visit(&service, method, &path, &[]).await;
        let type_and_wait = [header(&answer, "content-type"), header(&answer, "retry-after")];
        assert_eq!((answer.status().as_u16(), type_and_wait), (503, ["text/html; charset=utf-8", "2"]));
        assert_eq!(header(&answer, "cache-control"), "no-cache");
    }
    let html = visit(&service, Method::GET, &path, &[]).await.text().await.unwrap();
    assert!(html.contains("<title>Zoé · Postagram</title>") && html.contains("app.js"), "{html}");
    assert!(!html.contains("Blue hour"), "{html}");
    // The page reads the post with a call of its own, which returns the error.
    let image = visit(&service, Method::GET, &format!("{path}/image"), &[]).await;
    for answer in [service.get(&path).await, image] {
        assert_eq!(header(&answer, "retry-after"), "2");
        assert_eq!(assert_refused(answer, 503).await, "the storage cannot be reached now, please try again");
    }
    service.end().await;
}

#[tokio::test]
async fn browsers_get_the_page_where_there_is_nothing_and_programs_an_error() {
    let service = TestService::start().await;
    for path in ["/nothing", "/@ada/other", "/@ada/018f2f6e-0000-7000-8000-00000000000a"] {
        let answer = visit(&service, Method::GET, path, &[]).await;
        assert_eq!(
            (answer.status(), header(&answer, "content-type")),
            (404.try_into().unwrap(), "text/html; charset=utf-8")
        );
        assert!(answer.text().await.unwrap().contains("<title>Not found · Postagram</title>"), "{path}");
    }
    assert_eq!(assert_refused(service.get("/nothing").await, 404).await, "there is nothing here");
    assert_refused(visit(&service, Method::POST, "/nothing", &[]).await, 404).await;
    // The API's own paths have its errors for every client.
    assert_refused(visit(&service, Method::GET, "/posts?limit=0", &[]).await, 422).await;
    service.end().await;
}

#[tokio::test]
async fn a_list_is_sent_again_only_if_it_has_changed() {
    let service = TestService::start().await;
    service.write(b"ada", "First").await;
    let ask = async |path: &str, tag: &str| {
        service.http.get(format!("{}{path}", service.base)).header("If-None-Match", tag).send().await.unwrap()
    };
    let path = "/posts?limit=40&order=newest";
    let answer = service.get(path).await;
    let tag = header(&answer, "etag").to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    let again = ask(path, &tag).await;
    assert_eq!((again.status(), header(&again, "etag")), (304.try_into().unwrap(), tag.as_str()));
    assert!(again.bytes().await.unwrap().is_empty());
    assert_eq!(ask("/posts?limit=40&user=bob", &tag).await.status(), 200, "another question has another answer");
    service.write(b"ada", "Second").await;
    let changed = ask(path, &tag).await;
    assert_ne!(header(&changed, "etag"), tag);
    assert_eq!(changed.json::<Vec<Value>>().await.unwrap().len(), 2);
    // Whole lists, which the course's page reads, are as before.
    assert!(!service.get("/posts").await.headers().contains_key("etag"));
    assert_eq!(ask("/posts", "*").await.status(), 200);
    service.end().await;
}

#[tokio::test]
async fn posts_are_found_by_label() {
    let service = TestService::start().await;
    let labelled =
        |title, minutes_ago, labels| Seed { title, minutes_ago, picture: Some((KEY.to_owned(), labels)), ..SEED };
    service
        .seed(&[
            labelled("A", 5, &["Lake", "Coffee Cup"]),
            labelled("B", 4, &["Sky"]),
            Seed { title: "C", minutes_ago: 3, ..SEED },
            labelled("D", 2, &["lake"]),
            Seed { user: "Bob", ..labelled("E", 1, &["Lake"]) },
        ])
        .await;
    let titles = async |query: &[(&str, &str)]| {
        let posts = service.list(&format!("/posts?{}", url_query(query))).await;
        posts.iter().map(|post| post["title"].as_str().unwrap().to_owned()).collect::<String>()
    };
    assert_eq!(titles(&[("label", "LAKE")]).await, "ADE");
    assert_eq!(titles(&[("label", "coffee cup")]).await, "A");
    assert_eq!(titles(&[("label", "lake"), ("user", "Bob")]).await, "E");
    assert_eq!(titles(&[("label", "lak")]).await, "");
    assert_eq!(titles(&[("label", "")]).await, "ABCDE");
    // In pages, like every list.
    let mut cursor = String::new();
    for expected in ["E", "D", "A"] {
        let answer = service.get(&format!("/posts?label=lake&limit=1&order=newest&cursor={cursor}")).await;
        cursor = answer.headers().get("next-cursor").map(|it| it.to_str().unwrap().to_owned()).unwrap_or_default();
        assert_eq!(answer.json::<Value>().await.unwrap()[0]["title"], expected);
    }
    assert_eq!(cursor, "");
    service.end().await;
}

#[tokio::test]
async fn a_picture_is_described_by_its_author_only() {
    let service = TestService::start().await;
    let written = service.post(b"Ada", json!({ "title": "t", "body": "", "alt": "A \"lake\"" }).to_string()).await;
    let post: Value = written.json().await.unwrap();
    assert_eq!(post["alt"], "A \"lake\"");
    let id = post["id"].as_str().unwrap().replace("POST#", "");
    let patch = async |name: &str, id: &str, body: Value| {
        let request = service.http.patch(format!("{}/posts/{id}", service.base)).header("Authorization", name);
        request.json(&body).send().await.unwrap()
    };
    let read = async || service.get(&format!("/posts/{id}?user=Ada")).await.json::<Value>().await.unwrap();
    assert_eq!(patch("Ada", &id, json!({ "alt": "Blue hills" })).await.status(), 204);
    assert_eq!(read().await["alt"], "Blue hills");
    assert_refused(patch("Bob", &id, json!({ "alt": "Mine" })).await, 404).await;
    assert_refused(patch("", &id, json!({ "alt": "Mine" })).await, 401).await;
    for (body, why) in [
        (json!({}), "alt: it is missing"),
        (json!({ "alt": null }), "alt: it must be a string"),
        (json!({ "alt": "x".repeat(1001) }), "alt: it is longer than 1000 characters"),
    ] {
        assert_eq!(assert_refused(patch("Ada", &id, body).await, 422).await, why);
    }
    assert_eq!(patch("Ada", &id, json!({ "alt": "" })).await.status(), 204);
    assert_eq!(read().await["alt"], Value::Null, "an empty description is none");
    // No row is created for a post that does not exist.
    let nobodys = "018f2f6e-0000-7000-8000-00000000000a";
    assert_refused(patch("Ada", nobodys, json!({ "alt": "x" })).await, 404).await;
    assert_eq!(service.rows().await, 1);
    assert_eq!(
        assert_refused(service.get(&format!("/posts/{nobodys}?user=Ada")).await, 404).await,
        "there is no such post"
    );
    assert_refused(service.get(&format!("/posts/{id}?user=Bob")).await, 404).await;
    assert_eq!(
        assert_refused(service.get(&format!("/posts/{id}")).await, 422).await,
        "user: it is missing or cannot be read"
    );
    service.end().await;
}
