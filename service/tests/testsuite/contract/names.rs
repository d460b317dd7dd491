//! Names of users.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::support::{BUCKET, TABLE, TestService, assert_refused, text, url_query};

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
        let put = service.dynamo.put_item().table_name(TABLE).item("user", stored(&format!("USER#{kept}")));
        let put = put.item("id", stored(&id.key())).item("title", stored("t")).item("body", stored("b"));
        put.send().await.unwrap();
        let picture = service.s3.put_object().bucket(BUCKET).key(format!("{kept}/{id}/x\u{FFFE}.png"));
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
