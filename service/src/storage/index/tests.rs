//! Pages of keys, while others write.

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::*;
use crate::storage::dynamodb::DynamoDb;
use crate::storage::sigv4::{Destination, Signer};

/// A table, with the number of full reads and their limit.
#[derive(Debug, Clone)]
struct Cloud {
    posts: Arc<Mutex<Vec<u64>>>,
    reads: Arc<Mutex<usize>>,
    may_be_read: Arc<Semaphore>,
    is_away: Arc<Mutex<bool>>,
}

impl HttpConnector for Cloud {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let asked: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let segment = asked["Segment"].as_u64().unwrap();
        let cloud = self.clone();
        HttpConnectorFuture::new(async move {
            if segment == 0 {
                *cloud.reads.lock() += 1;
            }
            // Writes from here on are not seen.
            let is_of_it = |number: &&u64| **number % 8 == segment;
            let items: Vec<_> = cloud.posts.lock().iter().filter(is_of_it).map(row).collect();
            cloud.may_be_read.acquire().await.unwrap().forget();
            let status = if *cloud.is_away.lock() { 500 } else { 200 };
            let body = SdkBody::from(json!({ "Items": items }).to_string());
            Ok(HttpResponse::new(status.try_into().unwrap(), body))
        })
    }
}

fn row(number: &u64) -> Value {
    json!({ "user": { "S": ada().key() }, "id": { "S": id(*number).key() } })
}

impl Cloud {
    fn of(posts: impl IntoIterator<Item = u64>) -> Self {
        let posts = Arc::new(Mutex::new(posts.into_iter().collect()));
        let may_be_read = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self { posts, reads: Arc::default(), may_be_read, is_away: Arc::default() }
    }

    fn index(&self, most: usize) -> Index {
        let (origin, path) = ("http://127.0.0.1:1".to_owned(), String::new());
        let place = Destination { origin, path, region: "us-east-1".to_owned(), service: "dynamodb".to_owned() };
        let keys = SharedCredentialsProvider::new(Credentials::new("AKID", "secret", None, None, "test"));
        let client = DynamoDb::new(SharedHttpConnector::new(self.clone()), Signer::new(place, keys), None, None);
        Index::of_at_most(most, Scan::new(client, "posts".to_owned()))
    }

    fn reads(&self) -> usize {
        *self.reads.lock()
    }
}

fn ada() -> User {
    User::parse("ada").unwrap()
}

fn id(number: u64) -> PostId {
    format!("018f2f6e-0000-7000-8000-{number:012x}").parse().unwrap()
}

async fn part(index: &Index, after: Option<u64>, order: Order, most: usize) -> (Vec<u64>, bool) {
    let part = Part { after: after.map(id), limit: None, order };
    let (posts, more) = index.stretch(&part, most).await.unwrap();
    let number = |id: PostId| u64::from_str_radix(id.to_string().rsplit('-').next().unwrap(), 16).unwrap();
    (posts.into_iter().map(|(id, _)| number(id)).collect(), more)
}

async fn all(index: &Index) -> Vec<u64> {
    part(index, None, Order::OldestFirst, 1000).await.0
}

async fn let_all_go_as_far_as_they_can() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_page_begins_after_its_cursor_in_either_order() {
    let index = Cloud::of((0..100).rev()).index(MOST_POSTS);
    use Order::{NewestFirst, OldestFirst};
    for (after, order, most, posts, more) in [
        (None, OldestFirst, 2, vec![0, 1], true),
        (Some(97), OldestFirst, 2, vec![98, 99], false),
        (Some(99), OldestFirst, 2, vec![], false),
        (None, NewestFirst, 2, vec![99, 98], true),
        (Some(2), NewestFirst, 2, vec![1, 0], false),
        (Some(0), NewestFirst, 2, vec![], false),
        (Some(1000), NewestFirst, 1, vec![99], true),
    ] {
        assert_eq!(part(&index, after, order, most).await, (posts, more), "{after:?} {order:?}");
    }
}

#[tokio::test]
async fn own_changes_show_at_once_even_if_a_read_misses_them() {
    let cloud = Cloud::of(0..10);
    let index = cloud.index(MOST_POSTS);
    assert_eq!(all(&index).await, (0..10).collect::<Vec<_>>());
    index.added(id(20), &ada());
    index.added(id(5), &ada());
    index.removed(id(0), &ada());
    let changed = vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 20];
    assert_eq!(all(&index).await, changed);
    assert_eq!(part(&index, None, Order::NewestFirst, 2).await, (vec![20, 9], true));
    // The refresh that begins now sees the old table, and ends after further changes.
    cloud.may_be_read.forget_permits(Semaphore::MAX_PERMITS);
    tokio::time::pause();
    tokio::time::advance(FRESH).await;
    assert_eq!(all(&index).await, changed);
    let_all_go_as_far_as_they_can().await;
    assert_eq!(cloud.reads(), 2);
    index.added(id(21), &ada());
    index.removed(id(1), &ada());
    cloud.may_be_read.add_permits(8);
    tokio::time::resume();
    let done = index.state().reading.as_ref().map(|reading| reading.done.clone());
    done.unwrap().await.unwrap();
    // Earlier changes are in the table or not, as the refresh found it: the fake ignores them.
    assert_eq!(all(&index).await, [0, 2, 3, 4, 5, 6, 7, 8, 9, 21]);
}

#[tokio::test]
async fn changes_by_others_show_after_a_refresh_shared_by_all_readers() {
    let cloud = Cloud::of(0..10);
    let index = cloud.index(MOST_POSTS);
    let all_ask = futures::future::join_all((0..100).map(|_| all(&index)));
    assert!(all_ask.await.iter().all(|posts| posts.len() == 10));
    assert_eq!(cloud.reads(), 1);
    cloud.posts.lock().push(10);
    tokio::time::pause();
    tokio::time::advance(FRESH - Duration::from_millis(500)).await;
    assert_eq!((all(&index).await.len(), cloud.reads()), (10, 1));
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(all(&index).await.len(), 10, "the cache is used while it is not too old");
    tokio::time::resume();
    let done = index.state().reading.as_ref().map(|reading| reading.done.clone());
    done.unwrap().await.unwrap();
    assert_eq!((all(&index).await.len(), cloud.reads()), (11, 2));
    cloud.posts.lock().push(11);
    tokio::time::pause();
    tokio::time::advance(OLDEST).await;
    tokio::time::resume();
    assert_eq!((all(&index).await.len(), cloud.reads()), (12, 3), "outdated keys are not used");
}

#[tokio::test]
async fn a_failed_read_fails_every_waiter_and_is_repeated() {
    let cloud = Cloud::of(0..10);
    let index = cloud.index(MOST_POSTS);
    *cloud.is_away.lock() = true;
    let part = Part::default();
    let asked = futures::future::join_all((0..10).map(|_| index.stretch(&part, 1))).await;
    assert!(asked.iter().all(|asked| matches!(asked, Err(Error::Unavailable(_)))), "{asked:?}");
    *cloud.is_away.lock() = false;
    assert_eq!(all(&index).await.len(), 10);
}

#[tokio::test]
async fn posts_beyond_what_is_remembered_are_read_from_the_table() {
    let cloud = Cloud::of(0..100);
    let index = cloud.index(10);
    for (after, order, posts, reads) in [
        (None, Order::NewestFirst, vec![99, 98], 1),
        (Some(91), Order::NewestFirst, vec![90, 89], 2),
        (Some(50), Order::NewestFirst, vec![49, 48], 3),
        (None, Order::OldestFirst, vec![0, 1], 4),
        (Some(95), Order::OldestFirst, vec![96, 97], 4),
    ] {
        assert_eq!(part(&index, after, order, 2).await, (posts, true), "{after:?} {order:?}");
        assert_eq!(cloud.reads(), reads, "{after:?} {order:?}");
    }
    assert_eq!(part(&index, Some(1), Order::NewestFirst, 2).await, (vec![0], false));
    assert_eq!(index.state().keys.as_ref().unwrap().posts.len(), 10);
}

#[tokio::test]
async fn unread_changes_are_bounded() {
    let cloud = Cloud::of(0..10);
    let index = cloud.index(MOST_POSTS);
    index.added(id(11), &ada());
    assert!(index.state().changes.is_empty(), "there is nothing that they could change");
    all(&index).await;
    for number in 0..2 * MOST_CHANGES as u64 {
        index.added(id(100 + number), &ada());
    }
    assert!(index.state().changes.len() <= MOST_CHANGES);
    assert_eq!(all(&index).await.len(), 10, "they are read again, and the fake does not have the others");
}
