//! A post that is deleted takes its pictures along, whatever happens meanwhile.

#[path = "support/line.rs"]
mod line;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use line::{Fate, line};
use reqwest::{Method, StatusCode};
use service::Limits;
use support::{World, label, put, told};

/// A world with a post of Ada's that shows one picture and has another, and the id of the post.
async fn world() -> (World, String) {
    let world = World::new().await;
    let post = world.write(b"ada", "t").await;
    for file in ["old.jpg", "new.jpg"] {
        let (address, object) = world.upload("ada", &post, file).await;
        assert_eq!(world.put(&address, "image/jpeg").await, StatusCode::OK);
        world.label("ada", &post, &object, &["Cat"]).await;
    }
    (world, post)
}

#[tokio::test]
async fn wherever_it_breaks_off_no_picture_is_without_a_post_and_again_finishes_it() {
    let mut calls_of_a_deletion = 0;
    for fate in [Fate::Lost, Fate::Unheard] {
        for good in 0.. {
            let (mut world, post) = world().await;
            let made = Arc::new(AtomicUsize::new(0));
            let count = made.clone();
            // After so many calls nothing arrives any more, as if the service had died then.
            let cut = line(&world.endpoint, move |_| {
                let before = count.fetch_add(1, Ordering::Relaxed);
                async move {
                    match before.cmp(&good) {
                        std::cmp::Ordering::Less => Fate::Pass,
                        std::cmp::Ordering::Equal => fate,
                        std::cmp::Ordering::Greater => Fate::Lost,
                    }
                }
            })
            .await;
            let whole = std::mem::take(&mut world.base);
            world.base = world.elsewhere_with(&cut, Limits::default()).await;
            let answer = world.ask(Method::DELETE, &format!("/posts/{post}"), b"ada").await;
            let survived = made.load(Ordering::Relaxed) <= good;
            let (rows, pictures) = (world.rows().await, world.objects().await.len());
            assert!(rows == 1 || pictures == 0, "after {good} calls {pictures} pictures have no post");
            world.base = whole;
            if rows == 1 {
                told(answer, 503).await;
                let again = world.ask(Method::DELETE, &format!("/posts/{post}"), b"ada").await;
                assert_eq!(again.status(), StatusCode::NO_CONTENT, "after {good} calls");
            }
            assert_eq!((world.rows().await, world.objects().await.len()), (0, 0), "after {good} calls");
            world.end().await;
            if survived {
                calls_of_a_deletion = good;
                break;
            }
        }
    }
    assert!(calls_of_a_deletion >= 6, "it is cut between all of its calls");
}

/// Deletes the post while a picture is uploaded between the last look at the pictures and the end of the row, and
/// labelled there or not.
async fn while_a_picture_comes(labelled: bool) {
    let (mut world, post) = world().await;
    let (address, object) = world.upload("ada", &post, "late.jpg").await;
    let (http, dynamo, id, came) =
        (world.http.clone(), world.dynamo.clone(), post.clone(), Arc::new(AtomicBool::new(false)));
    let first = came.clone();
    let watched = line(&world.endpoint, move |call| {
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
            Fate::Pass
        }
    })
    .await;
    world.base = world.elsewhere_with(&watched, Limits::default()).await;
    let answer = world.ask(Method::DELETE, &format!("/posts/{post}"), b"ada").await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert!(came.load(Ordering::Relaxed));
    assert_eq!((world.rows().await, world.objects().await.len()), (0, 0));
    world.end().await;
}

#[tokio::test]
async fn a_picture_that_is_labelled_meanwhile_goes_as_well() {
    while_a_picture_comes(true).await;
}

#[tokio::test]
async fn a_picture_that_is_not_labelled_yet_goes_as_well() {
    while_a_picture_comes(false).await;
}

#[tokio::test]
async fn a_post_that_never_rests_is_not_waited_for() {
    let (mut world, post) = world().await;
    let (dynamo, id, turn) = (world.dynamo.clone(), post.clone(), Arc::new(AtomicUsize::new(0)));
    let restless = line(&world.endpoint, move |call| {
        let (dynamo, id, turn) = (dynamo.clone(), id.clone(), turn.clone());
        async move {
            if call == "DeleteItem" {
                let picture = format!("ada/{id}/{}.jpg", turn.fetch_add(1, Ordering::Relaxed));
                label(&dynamo, "ada", &id, &picture, &["Dog"]).await;
            }
            Fate::Pass
        }
    })
    .await;
    world.base = world.elsewhere_with(&restless, Limits::default()).await;
    told(world.ask(Method::DELETE, &format!("/posts/{post}"), b"ada").await, 503).await;
    assert_eq!(world.rows().await, 1);
    world.end().await;
}

#[tokio::test]
async fn a_picture_of_any_key_goes_with_its_post() {
    let (world, post) = world().await;
    for file in
        ["a\u{FFFF}b.png", "\u{FFFE}", "\u{1}", "a\nb", " ", "a+b %41&c=d?e#f;", "été 猫 🐱", "\"<&>'", "\u{10FFFF}"]
    {
        let key = format!("ada/{post}/{file}");
        world.s3.put_object().bucket(support::BUCKET).key(&key).send().await.unwrap();
    }
    let answer = world.ask(Method::DELETE, &format!("/posts/{post}"), b"ada").await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!((world.rows().await, world.objects().await.len()), (0, 0));
    world.end().await;
}
