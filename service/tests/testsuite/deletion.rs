//! The deletion of a post removes its pictures, whatever happens in the meantime.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::{Method, StatusCode};
use service::Limits;
use testkit::{InjectedFault, Proxy};

use crate::support::{BUCKET, TestService, assert_refused, label, put};

/// Returns a service with a post of ada's that shows one picture and has another, and the id of the post.
async fn with_pictures() -> (TestService, String) {
    let service = TestService::start().await;
    let post = service.write(b"ada", "t").await;
    for file in ["old.jpg", "new.jpg"] {
        let (address, object) = service.upload("ada", &post, file).await;
        assert_eq!(service.put(&address, "image/jpeg").await, StatusCode::OK);
        service.label("ada", &post, &object, &["Cat"]).await;
    }
    (service, post)
}

#[tokio::test]
async fn a_deletion_that_breaks_off_anywhere_orphans_no_picture_and_can_be_repeated() {
    let mut calls_of_a_deletion = 0;
    for fault in [InjectedFault::internal(), InjectedFault::internal_after()] {
        for good in 0.. {
            let (mut service, post) = with_pictures().await;
            let made = Arc::new(AtomicUsize::new(0));
            let (count, at) = (made.clone(), fault.clone());
            // Later calls never arrive, as if the service had been killed at that point.
            let cut = Proxy::with_hook(&service.endpoint, move |_| {
                let fault = match count.fetch_add(1, Ordering::Relaxed).cmp(&good) {
                    std::cmp::Ordering::Less => None,
                    std::cmp::Ordering::Equal => Some(at.clone()),
                    std::cmp::Ordering::Greater => Some(InjectedFault::internal()),
                };
                std::future::ready(fault)
            })
            .await;
            let whole = std::mem::take(&mut service.base);
            service.base = service.elsewhere_with(&cut.endpoint(), Limits::default()).await;
            let answer = service.ask(Method::DELETE, &format!("/posts/{post}"), b"ada").await;
            let survived = made.load(Ordering::Relaxed) <= good;
            let (rows, pictures) = (service.rows().await, service.objects().await.len());
            assert!(rows == 1 || pictures == 0, "after {good} calls {pictures} pictures have no post");
            service.base = whole;
            if rows == 1 {
                assert_refused(answer, 503).await;
                let again = service.ask(Method::DELETE, &format!("/posts/{post}"), b"ada").await;
                assert_eq!(again.status(), StatusCode::NO_CONTENT, "after {good} calls");
            }
            assert_eq!((service.rows().await, service.objects().await.len()), (0, 0), "after {good} calls");
            service.end().await;
            if survived {
                calls_of_a_deletion = good;
                break;
            }
        }
    }
    assert!(calls_of_a_deletion >= 6, "it is cut between all of its calls");
}

/// Deletes the post while a picture is uploaded between the listing of the pictures and the deletion of the row, and
/// labelled there or not.
async fn while_a_picture_comes(labelled: bool) {
    let (mut service, post) = with_pictures().await;
    let (address, object) = service.upload("ada", &post, "late.jpg").await;
    let (http, dynamo, id, came) =
        (service.http.clone(), service.dynamo.clone(), post.clone(), Arc::new(AtomicBool::new(false)));
    let first = came.clone();
    let watched = Proxy::with_hook(&service.endpoint, move |call| {
        let now = call == "DeleteItem" && !first.swap(true, Ordering::Relaxed);
        let (http, dynamo, id, address, object) =
            (http.clone(), dynamo.clone(), id.clone(), address.clone(), object.clone());
        async move {
            if now {
                assert_eq!(put(&http, &address, "image/jpeg").await, StatusCode::OK);
                if labelled {
                    label(&dynamo, "ada", &id, &object, &["Dog"]).await;
                }
            }
            None
        }
    })
    .await;
    service.base = service.elsewhere_with(&watched.endpoint(), Limits::default()).await;
    let answer = service.ask(Method::DELETE, &format!("/posts/{post}"), b"ada").await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert!(came.load(Ordering::Relaxed));
    assert_eq!((service.rows().await, service.objects().await.len()), (0, 0));
    service.end().await;
}

#[tokio::test]
async fn a_picture_labelled_during_the_deletion_is_deleted_as_well() {
    while_a_picture_comes(true).await;
}

#[tokio::test]
async fn a_picture_uploaded_during_the_deletion_is_deleted_as_well() {
    while_a_picture_comes(false).await;
}

#[tokio::test]
async fn the_deletion_of_a_post_that_keeps_changing_gives_up() {
    let (mut service, post) = with_pictures().await;
    let (dynamo, id, turn) = (service.dynamo.clone(), post.clone(), Arc::new(AtomicUsize::new(0)));
    let restless = Proxy::with_hook(&service.endpoint, move |call| {
        let (dynamo, id, turn) = (dynamo.clone(), id.clone(), turn.clone());
        async move {
            if call == "DeleteItem" {
                let picture = format!("ada/{id}/{}.jpg", turn.fetch_add(1, Ordering::Relaxed));
                label(&dynamo, "ada", &id, &picture, &["Dog"]).await;
            }
            None
        }
    })
    .await;
    service.base = service.elsewhere_with(&restless.endpoint(), Limits::default()).await;
    assert_refused(service.ask(Method::DELETE, &format!("/posts/{post}"), b"ada").await, 503).await;
    assert_eq!(service.rows().await, 1);
    service.end().await;
}

#[tokio::test]
async fn a_picture_with_any_key_is_deleted_with_its_post() {
    let (service, post) = with_pictures().await;
    for file in
        ["a\u{FFFF}b.png", "\u{FFFE}", "\u{1}", "a\nb", " ", "a+b %41&c=d?e#f;", "été 猫 🐱", "\"<&>'", "\u{10FFFF}"]
    {
        let key = format!("ada/{post}/{file}");
        service.s3.put_object().bucket(BUCKET).key(&key).send().await.unwrap();
    }
    let answer = service.ask(Method::DELETE, &format!("/posts/{post}"), b"ada").await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!((service.rows().await, service.objects().await.len()), (0, 0));
    service.end().await;
}
