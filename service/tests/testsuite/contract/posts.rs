//! Posts: writing, reading, and lists of them.

use std::time::Duration;

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use service::Limits;
use testkit::{InjectedFault, Proxy};

use crate::support::{TABLE, TestService, assert_refused, text, uuid};

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
    for (fault, status) in
        [(None, StatusCode::CREATED), (Some(InjectedFault::Throttled), StatusCode::SERVICE_UNAVAILABLE)]
    {
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
async fn the_longest_title_and_body_are_accepted() {
    let service = TestService::start().await;
    let longest = json!({ "title": "é".repeat(300), "body": "é".repeat(10_000) });
    assert_eq!(service.post(b"ada", longest.to_string()).await.status(), StatusCode::CREATED);
    service.end().await;
}

#[tokio::test]
async fn rows_and_objects_have_the_agreed_keys() {
    let service = TestService::start().await;
    let post = service.write(b"ada", "t").await;
    let rows = service.dynamo.scan().table_name(TABLE).send().await.unwrap();
    let row = &rows.items()[0];
    let string = |name: &str| row[name].as_s().unwrap().clone();
    assert_eq!((string("user"), string("id")), ("USER#ada".to_owned(), format!("POST#{post}")));
    assert_eq!((string("title"), string("body"), row.len()), ("t".to_owned(), String::new(), 4));
    let (_, object) = service.upload("ada", &post, "cat.jpg").await;
    let unique = object.strip_prefix(&format!("ada/{post}/")).unwrap().strip_suffix("cat.jpg").unwrap();
    assert_eq!((unique.len(), unique.matches('-').count()), (36, 4), "{object}");
    service.end().await;
}
