//! Pictures: uploads, labels and deletion.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{TABLE, TestService, assert_refused, text, url_query};

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
async fn the_reason_for_missing_labels_is_returned() {
    let service = TestService::start().await;
    let post = service.write(b"ada", "t").await;
    service.label("ada", &post, &format!("ada/{post}/x.gif"), &[]).await;
    let stored = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let update = service.dynamo.update_item().table_name(TABLE).update_expression("SET refused = :why");
    let update = update.key("user", stored("USER#ada")).key("id", stored(&format!("POST#{post}")));
    update.expression_attribute_values(":why", stored("unsupported")).send().await.unwrap();
    let shown = &service.list("/posts").await[0];
    assert_eq!((&shown["labels"], &shown["reason"]), (&json!([]), &json!("unsupported")));
    service.end().await;
}

#[tokio::test]
async fn a_removed_picture_is_returned_with_the_reason() {
    let service = TestService::start().await;
    let post = service.write(b"ada", "t").await;
    let stored = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let update = service.dynamo.update_item().table_name(TABLE).update_expression("SET image = :it, refused = :why");
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
