//! The contract of the service with the page and the labeler, as end-to-end stories against a local AWS.

mod support;

use std::time::Duration;

use futures::future::join_all;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use service::Limits;
use support::{TestService, assert_refused, text, url_query, uuid};
use testkit::{Fault, Proxy};

#[tokio::test]
async fn a_post_is_returned_as_it_was_written() {
    let service = TestService::start().await;
    let answer = service.post(b"ada", json!({ "title": "Zoé's", "body": "<b>&\n" }).to_string()).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let post: Value = answer.json().await.unwrap();
    let id = text(&post["id"]);
    assert_eq!(id.matches('#').count(), 1);
    assert!(id.starts_with("POST#"));
    let same = json!({
        "id": id, "user": "ada", "title": "Zoé's", "body": "<b>&\n", "image": null, "labels": null, "label": null
    });
    assert_eq!(post, same);
    assert_eq!(service.list("/posts").await, [same]);
    service.end().await;
}

#[tokio::test]
async fn a_list_is_always_an_array_and_new_posts_are_appended() {
    let service = TestService::start().await;
    assert_eq!(service.list("/posts").await, Vec::<Value>::new());
    let mut written = Vec::new();
    for user in [&b"ada"[..], b"bob", b"ada", b"eve"] {
        written.push(service.write(user, "t").await);
        let ids: Vec<_> = service.list("/posts").await.iter().map(uuid).collect();
        assert_eq!(ids, written);
    }
    service.end().await;
}

#[tokio::test]
async fn an_author_reads_a_new_post_at_once_under_concurrent_reads() {
    let service = TestService::start().await;
    let writes_and_looks = |user: &'static str| {
        let service = &service;
        async move {
            for _ in 0..5 {
                let id = service.write(user.as_bytes(), "t").await;
                for path in ["/posts", &format!("/posts?user={user}")] {
                    assert!(service.list(path).await.iter().any(|post| uuid(post) == id), "{user} {path}");
                }
            }
        }
    };
    join_all(["ada", "ada", "ada", "bob", "bob", "eve"].map(writes_and_looks)).await;
    assert_eq!(service.list("/posts").await.len(), 30);
    service.end().await;
}

#[tokio::test]
async fn concurrent_posts_share_calls_and_each_gets_its_own_result() {
    const POSTS: usize = 40;
    let mut service = TestService::start().await;
    let whole = std::mem::take(&mut service.base);
    let slow = |_| async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        None
    };
    for (fault, status) in [(None, StatusCode::CREATED), (Some(Fault::Throttled), StatusCode::SERVICE_UNAVAILABLE)] {
        let proxy = Proxy::with_hook(&service.endpoint, slow).await;
        if let Some(fault) = fault {
            proxy.inject(["PutItem", "BatchWriteItem"], fault, usize::MAX);
        }
        service.base = service.elsewhere_with(&proxy.endpoint(), Limits::default()).await;
        let title = |number| json!({ "title": number, "body": "b" }).to_string();
        let answers = join_all((0..POSTS).map(|number| service.post(b"ada", title(format!("{number}"))))).await;
        assert!(answers.iter().all(|answer| answer.status() == status), "{answers:?}");
        let calls = proxy.calls();
        assert!(calls.len() < POSTS && calls.contains(&"BatchWriteItem#1".to_owned()), "{calls:?}");
        service.base.clone_from(&whole);
        let mut titles: Vec<usize> =
            service.list("/posts?user=ada").await.iter().map(|post| text(&post["title"]).parse().unwrap()).collect();
        titles.sort_unstable();
        assert_eq!(titles, (0..POSTS).collect::<Vec<_>>(), "every post of the first round, none of the second");
    }
    service.end().await;
}

#[tokio::test]
async fn a_list_can_be_limited_to_one_user() {
    let service = TestService::start().await;
    let (first, _, second) =
        (service.write(b"ada", "1").await, service.write(b"bob", "2").await, service.write(b"ada", "3").await);
    for path in ["/posts?user=ada", "/posts?id_user=ada", "/posts?user=+ada+", "/posts?user=&id_user=ada"] {
        let ids: Vec<_> = service.list(path).await.iter().map(uuid).collect();
        assert_eq!(ids, [first.clone(), second.clone()], "{path}");
    }
    for (path, count) in [("/posts?user=", 3), ("/posts?id_user=", 3), ("/posts?user=nobody", 0), ("/posts?user=..", 0)]
    {
        assert_eq!(service.list(path).await.len(), count, "{path}");
    }
    service.end().await;
}

#[tokio::test]
async fn both_unicode_forms_of_an_accented_name_are_one_user() {
    let service = TestService::start().await;
    service.write(b"Zo\xe9", "latin").await;
    service.write("  Zoé ".as_bytes(), "unicode").await;
    let posts = service.list("/posts?user=Zo%C3%A9").await;
    assert_eq!(posts.len(), 2);
    assert!(posts.iter().all(|post| post["user"] == "Zoé"));
    service.end().await;
}

#[tokio::test]
async fn any_name_can_write_upload_and_delete() {
    let service = TestService::start().await;
    for name in ["a/b", "#1", "50 %, or & + ?", "Мария", "c:\\d"] {
        let post = service.write(name.as_bytes(), "t").await;
        let (address, object) = service.upload(name, &post, "my cat+dog#1.jpg").await;
        assert!(object.starts_with(&format!("{name}/{post}/")), "{object}");
        assert!(object.ends_with("my cat+dog#1.jpg"), "{object}");
        assert_eq!(service.put(&address, "image/jpeg").await, 200, "{address}");
        assert_eq!(service.objects().await, std::slice::from_ref(&object));
        service.label(name, &post, &object, &["Cat"]).await;
        let posts = service.list(&format!("/posts?{}", url_query(&[("user", name)]))).await;
        let picture = service.http.get(text(&posts[0]["image"])).send().await.unwrap();
        assert_eq!((picture.status(), picture.text().await.unwrap().as_str()), (StatusCode::OK, "picture"), "{name}");
        let gone = service.ask(Method::DELETE, &format!("/posts/{post}"), name.as_bytes()).await;
        assert_eq!(gone.status(), StatusCode::NO_CONTENT, "{name}");
        assert_eq!((service.rows().await, service.objects().await.len()), (0, 0), "{name}");
    }
    service.end().await;
}

#[tokio::test]
async fn a_picture_shows_once_it_is_labelled() {
    let service = TestService::start().await;
    let post = service.write(b"ada", "t").await;
    let (address, object) = service.upload("ada", &post, "cat.jpg").await;
    assert_eq!(service.put(&address, "image/jpeg").await, 200);
    let before = &service.list("/posts").await[0];
    assert_eq!((&before["image"], &before["labels"], &before["label"]), (&Value::Null, &Value::Null, &Value::Null));

    service.label("ada", &post, &object, &["Cat", "Animal"]).await;
    let after = &service.list("/posts").await[0];
    assert_eq!(after["labels"], json!(["Cat", "Animal"]));
    assert_eq!(after["label"], after["labels"]);
    let image = text(&after["image"]);
    assert!(image.starts_with("http://") && image.contains("response-content-type=image%2Fjpeg"), "{image}");
    let picture = service.http.get(&image).send().await.unwrap();
    assert_eq!(picture.text().await.unwrap(), "picture");
    service.end().await;
}

#[tokio::test]
async fn a_post_without_recognised_labels_has_an_empty_list() {
    let service = TestService::start().await;
    let post = service.write(b"ada", "t").await;
    let (address, object) = service.upload("ada", &post, "cat.jpg").await;
    assert_eq!(service.put(&address, "image/jpeg").await, 200);
    service.label("ada", &post, &object, &[]).await;
    let after = &service.list("/posts").await[0];
    assert_eq!(after["labels"], json!([]));
    assert!(after["image"].is_string());
    service.end().await;
}

#[tokio::test]
async fn an_upload_address_has_two_names_and_binds_the_type() {
    let service = TestService::start().await;
    let post = service.write(b"ada", "t").await;
    for path in ["/signedUrlPut", "/getSignedUrlPut"] {
        let query = url_query(&[("filename", "../x/cat.png"), ("filetype", "image/png"), ("postId", &post)]);
        let answer = service.ask(Method::GET, &format!("{path}?{query}"), b"ada").await;
        assert_eq!(answer.status(), StatusCode::OK);
        let upload: Value = answer.json().await.unwrap();
        let object = text(&upload["objectName"]);
        assert_eq!((object.matches('/').count(), object.ends_with("cat.png")), (2, true), "{object}");
        let address = text(&upload["uploadURL"]);
        assert_eq!(service.put(&address, "image/jpeg").await, 403);
        assert_eq!(service.put(&address, "image/png").await, 200);
    }
    service.end().await;
}

#[tokio::test]
async fn a_file_of_unknown_type_can_be_uploaded() {
    let service = TestService::start().await;
    let post = service.write(b"ada", "t").await;
    for unknown in ["", "application/octet-stream"] {
        let query = url_query(&[("filename", "cat"), ("filetype", unknown), ("postId", &post)]);
        let answer = service.ask(Method::GET, &format!("/signedUrlPut?{query}"), b"ada").await;
        let upload: Value = answer.json().await.unwrap();
        assert_eq!(service.put(&text(&upload["uploadURL"]), "application/octet-stream").await, 200);
    }
    service.end().await;
}

#[tokio::test]
async fn only_the_author_can_upload_and_delete() {
    let service = TestService::start().await;
    let post = service.write(b"ada", "t").await;
    let upload = format!("/signedUrlPut?filename=a.jpg&filetype=image/jpeg&postId={post}");
    assert_refused(service.ask(Method::GET, &upload, b"bob").await, 404).await;
    assert_refused(service.ask(Method::DELETE, &format!("/posts/{post}"), b"bob").await, 404).await;
    assert_eq!(service.list("/posts").await.len(), 1);
    service.end().await;
}

#[tokio::test]
async fn deleting_removes_row_and_every_picture_of_this_post_only() {
    let service = TestService::start().await;
    let (post, other) = (service.write(b"ada", "t").await, service.write(b"ada", "t").await);
    for (post, file) in [(&post, "1.jpg"), (&post, "2.jpg"), (&other, "3.jpg")] {
        let (address, _) = service.upload("ada", post, file).await;
        assert_eq!(service.put(&address, "image/jpeg").await, 200);
    }
    // Another user, whose name begins like the keys of the post's pictures.
    let nested = format!("ada/{post}");
    let theirs = service.write(nested.as_bytes(), "t").await;
    let (address, _) = service.upload(&nested, &theirs, "4.jpg").await;
    assert_eq!(service.put(&address, "image/jpeg").await, 200);
    assert_eq!(service.objects().await.len(), 4);
    assert!(service.ask(Method::DELETE, &format!("/posts/{post}"), b"ada").await.status().is_success());
    let left = service.objects().await;
    assert_eq!((left.len(), service.rows().await), (2, 2), "{left:?}");
    for (prefix, file) in [(format!("ada/{other}/"), "3.jpg"), (format!("{nested}/{theirs}/"), "4.jpg")] {
        assert!(left.iter().any(|key| key.starts_with(&prefix) && key.ends_with(file)), "{file}: {left:?}");
    }
    assert_refused(service.ask(Method::DELETE, &format!("/posts/{post}"), b"ada").await, 404).await;
    service.end().await;
}

#[tokio::test]
async fn the_pages_of_a_list_make_up_the_whole() {
    let service = TestService::start().await;
    for _ in 0..5 {
        service.write(b"ada", "t").await;
        service.write(b"bob", "t").await;
    }
    for who in ["", "user=ada&"] {
        let whole = service.list(&format!("/posts?{who}")).await;
        let mut parts = Vec::new();
        let mut cursor = String::new();
        for sizes in 1.. {
            let answer = service.get(&format!("/posts?{who}limit=2&cursor={cursor}")).await;
            assert_eq!(
                answer.headers()["access-control-expose-headers"],
                "ETag, Next-Cursor, Retry-After, X-Request-Id"
            );
            let next = answer.headers().get("next-cursor").map(|next| next.to_str().unwrap().to_owned());
            parts.extend(answer.json::<Vec<Value>>().await.unwrap());
            assert_eq!(parts.len(), whole.len().min(2 * sizes));
            match next {
                Some(next) => cursor = next,
                None => break,
            }
        }
        assert_eq!(parts, whole);
    }
    service.end().await;
}

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
async fn names_that_look_the_same_are_one_user() {
    let service = TestService::start().await;
    for name in ["Zoe\u{301} B", "Zo\u{E9}\u{A0}B", " Zo\u{E9} B "] {
        let post = service.write(name.as_bytes(), "t").await;
        let (address, object) = service.upload("Zoé B", &post, "cat.jpg").await;
        assert!(object.starts_with(&format!("Zoé B/{post}/")), "{object}");
        assert_eq!(service.put(&address, "image/jpeg").await, 200);
    }
    for name in ["Zoé B", "Zoe\u{301} B"] {
        let posts = service.list(&format!("/posts?{}", url_query(&[("user", name)]))).await;
        assert_eq!(posts.len(), 3, "{name:?}");
        assert!(posts.iter().all(|post| post["user"] == "Zoé B"));
    }
    for invisible in ["Zoé B\u{200B}", "\u{202E}Zoé B", "Zoé\u{AD} B", "Zoé B\u{FE0F}", "Zoé\u{2066} B"] {
        let message =
            assert_refused(service.post(invisible.as_bytes(), r#"{"title":"t","body":"b"}"#).await, 422).await;
        assert!(message.starts_with("Authorization: it holds U+"), "{message}");
    }
    service.end().await;
}

#[tokio::test]
async fn posts_written_under_another_spelling_of_a_name_can_be_read_and_deleted() {
    let service = TestService::start().await;
    let stored = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    for (kept, owner) in [
        ("Zoe\u{301}", "Zoe\u{301}"),
        ("Zoe\u{301}", "Zoé"),
        ("ada\u{A0}b", "ada\u{A0}b"),
        ("ada\u{200B}", "ada\u{200B}"),
        ("a\u{FFFF}b", "a\u{FFFF}b"),
    ] {
        let id = posts::PostId::new();
        let put = service.dynamo.put_item().table_name(support::TABLE).item("user", stored(&format!("USER#{kept}")));
        let put = put.item("id", stored(&id.key())).item("title", stored("t")).item("body", stored("b"));
        put.send().await.unwrap();
        let picture = service.s3.put_object().bucket(support::BUCKET).key(format!("{kept}/{id}/x\u{FFFE}.png"));
        picture.send().await.unwrap();
        for path in ["/posts".to_owned(), format!("/posts?{}", url_query(&[("user", owner)]))] {
            assert_eq!(service.list(&path).await[0]["user"], kept, "{path}");
        }
        assert_refused(service.ask(Method::DELETE, &format!("/posts/{id}"), b"eve").await, 404).await;
        let gone = service.ask(Method::DELETE, &format!("/posts/{id}"), owner.as_bytes()).await;
        assert_eq!(gone.status(), StatusCode::NO_CONTENT, "{owner:?}");
        assert_eq!((service.rows().await, service.objects().await.len()), (0, 0), "{owner:?}");
    }
    service.end().await;
}

#[tokio::test]
async fn a_removed_picture_is_returned_with_the_reason() {
    let service = TestService::start().await;
    let post = service.write(b"ada", "t").await;
    let stored = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let update =
        service.dynamo.update_item().table_name(support::TABLE).update_expression("SET image = :it, refused = :why");
    let update = update.key("user", stored("USER#ada")).key("id", stored(&format!("POST#{post}")));
    let object = format!("ada/{post}/x.heic");
    let update = update.expression_attribute_values(":it", stored(&object));
    update.expression_attribute_values(":why", stored("unsupported")).send().await.unwrap();
    let shown = &service.list("/posts").await[0];
    assert_eq!((&shown["image"], &shown["labels"], &shown["label"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!((&shown["reason"], &shown["removed"]), (&json!("unsupported"), &json!(object)));
    service.end().await;
}

#[tokio::test]
async fn the_longest_title_and_body_are_accepted() {
    let service = TestService::start().await;
    let longest = json!({ "title": "é".repeat(300), "body": "é".repeat(10_000) });
    assert_eq!(service.post(b"ada", longest.to_string()).await.status(), StatusCode::CREATED);
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
async fn a_preflight_is_answered_without_a_call_to_aws() {
    let service = TestService::start().await;
    let before = service.calls().await;
    for path in ["/posts", "/posts/7", "/signedUrlPut", "/nothing"] {
        let answer = service.ask(Method::OPTIONS, path, b"").await;
        assert!(answer.status().is_success());
        let header = |name| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("access-control-allow-origin"), "*");
        assert_eq!(header("access-control-allow-headers"), "authorization, content-type");
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
async fn an_outage_is_a_503_with_retry_after() {
    let mut service = TestService::start().await;
    let nowhere = support::nowhere().await;
    service.base = service.elsewhere(Some(&nowhere), Some(&nowhere)).await;
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
        proxy.inject([throttled], Fault::Throttled, usize::MAX);
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
    service.base = service.elsewhere(Some(&support::nowhere().await), None).await;
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
    let put = service.dynamo.put_item().table_name(support::TABLE).item("user", stray("x")).item("id", stray("y"));
    put.send().await.unwrap();
    assert_eq!(service.list("/posts").await.len(), 1);
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

#[tokio::test]
async fn rows_and_objects_have_the_agreed_keys() {
    let service = TestService::start().await;
    let post = service.write(b"ada", "t").await;
    let rows = service.dynamo.scan().table_name(support::TABLE).send().await.unwrap();
    let row = &rows.items()[0];
    let string = |name: &str| row[name].as_s().unwrap().clone();
    assert_eq!((string("user"), string("id")), ("USER#ada".to_owned(), format!("POST#{post}")));
    assert_eq!((string("title"), string("body"), row.len()), ("t".to_owned(), String::new(), 4));
    let (_, object) = service.upload("ada", &post, "cat.jpg").await;
    let unique = object.strip_prefix(&format!("ada/{post}/")).unwrap().strip_suffix("cat.jpg").unwrap();
    assert_eq!((unique.len(), unique.matches('-').count()), (36, 4), "{object}");
    service.end().await;
}

#[tokio::test]
async fn an_accented_name_uploads_and_deletes_in_either_unicode_form() {
    let service = TestService::start().await;
    let post = service.write(b"Zo\xe9", "t").await;
    let upload = format!("/signedUrlPut?filename=%C3%A9t%C3%A9+1.jpg&filetype=image/jpeg&postId={post}");
    let answer: Value = service.ask(Method::GET, &upload, b"Zo\xe9").await.json().await.unwrap();
    let object = text(&answer["objectName"]);
    assert!(object.starts_with(&format!("Zoé/{post}/")) && object.ends_with("été 1.jpg"), "{object}");
    assert_eq!(service.put(&text(&answer["uploadURL"]), "image/jpeg").await, 200);
    assert_eq!(service.objects().await, [object]);
    let gone = service.ask(Method::DELETE, &format!("/posts/{post}"), "Zoé".as_bytes()).await;
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    assert_eq!((service.rows().await, service.objects().await.len()), (0, 0));
    service.end().await;
}

#[tokio::test]
async fn a_picture_keeps_its_address_for_a_while() {
    let service = TestService::start().await;
    let post = service.write(b"ada", "t").await;
    let (address, object) = service.upload("ada", &post, "cat.jpg").await;
    assert_eq!(service.put(&address, "image/jpeg").await, 200);
    service.label("ada", &post, &object, &["Cat"]).await;
    let image = async || text(&service.list("/posts").await[0]["image"]);
    // A window may end between two reads, but not between each of three.
    let (first, second, third) = (image().await, image().await, image().await);
    assert!(first == second || second == third, "{first}\n{second}\n{third}");
    service.end().await;
}

#[tokio::test]
async fn order_newest_returns_the_newest_posts_first() {
    let service = TestService::start().await;
    for _ in 0..3 {
        service.write(b"ada", "t").await;
        service.write(b"bob", "t").await;
    }
    for who in ["", "user=ada&"] {
        let mut newest = service.list(&format!("/posts?{who}")).await;
        assert_eq!(service.list(&format!("/posts?{who}order=oldest")).await, newest);
        newest.reverse();
        assert_eq!(service.list(&format!("/posts?{who}order=newest")).await, newest);
        let (mut parts, mut cursor) = (Vec::new(), String::new());
        loop {
            let answer = service.get(&format!("/posts?{who}order=newest&limit=2&cursor={cursor}")).await;
            let next = answer.headers().get("next-cursor").map(|next| next.to_str().unwrap().to_owned());
            let part: Vec<Value> = answer.json().await.unwrap();
            assert!(part.len() <= 2);
            parts.extend(part);
            match next {
                Some(next) => cursor = next,
                None => break,
            }
        }
        assert_eq!(parts, newest);
    }
    assert!(assert_refused(service.get("/posts?order=random").await, 422).await.starts_with("order: "));
    service.end().await;
}

#[tokio::test]
async fn the_reason_for_missing_labels_is_returned() {
    let service = TestService::start().await;
    let post = service.write(b"ada", "t").await;
    service.label("ada", &post, &format!("ada/{post}/x.gif"), &[]).await;
    let stored = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let update = service.dynamo.update_item().table_name(support::TABLE).update_expression("SET refused = :why");
    let update = update.key("user", stored("USER#ada")).key("id", stored(&format!("POST#{post}")));
    update.expression_attribute_values(":why", stored("unsupported")).send().await.unwrap();
    let shown = &service.list("/posts").await[0];
    assert_eq!((&shown["labels"], &shown["reason"]), (&json!([]), &json!("unsupported")));
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
