//! The order of all posts, which the table does not provide: it sorts rows by id within each user only.
//!
//! A table that fits into one answer is read again for each list. For a larger one the keys are cached, sorted by id,
//! so that a page of a list costs reading its own rows. One reader at a time refreshes them from the table when they
//! are old; writes and deletes of this instance are merged immediately. Changes by others appear after the next
//! refresh: see [`Keys::fresh_for`] and [`Keys::good_for`].
//!
//! For why there is no second index or second row per post, see ARCHITECTURE.md.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::{Mutex, MutexGuard};
use posts::{PostId, User};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::http::error::Error;
use crate::storage::dynamodb::Failed;
use crate::storage::rows::{Order, Part};
use crate::storage::scan::Scan;

/// The most posts cached, the newest ones: 20 bytes each, plus the names of their authors.
const MOST_POSTS: usize = 1_000_000;
/// The most of our own changes that are kept while the keys are unused.
const MOST_CHANGES: usize = 10_000;
/// The shortest interval between refreshes.
const FRESH: Duration = Duration::from_secs(5);
/// The greatest age of the keys, unless refreshing takes long.
const OLDEST: Duration = Duration::from_secs(60);

/// All posts in the order of their ids; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Index(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    scan: Scan,
    most: usize,
    state: Mutex<State>,
    /// Held while the whole table is read for posts that are not cached.
    selecting: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    keys: Option<Arc<Keys>>,
    /// This instance's changes since the reading of `keys` began, numbered in order.
    changes: BTreeMap<PostId, (u64, Change)>,
    number: u64,
    reading: Option<Reading>,
}

#[derive(Debug)]
enum Change {
    There(User),
    Gone(User),
}

type Read = Shared<BoxFuture<'static, Result<(), Error>>>;

/// A refresh in progress.
#[derive(Debug)]
struct Reading {
    /// The number of the first change that it may have missed.
    since: u64,
    done: Read,
}

/// The keys of all posts, as of the start of their refresh or later.
#[derive(Debug)]
struct Keys {
    /// Each post with the index of its author.
    posts: Vec<(PostId, u32)>,
    users: Vec<User>,
    /// The oldest cached post, if there are older ones.
    horizon: Option<PostId>,
    begun: Instant,
    took: Duration,
}

/// The keys of a page of a list, and whether there are more after it.
pub(crate) type Stretch = (Vec<(PostId, User)>, bool);

impl Index {
    pub(crate) fn new(scan: Scan) -> Self {
        Self::of_at_most(MOST_POSTS, scan)
    }

    fn of_at_most(most: usize, scan: Scan) -> Self {
        Self(Arc::new(Inner { scan, most, state: Mutex::default(), selecting: tokio::sync::Mutex::default() }))
    }

    /// Returns the keys of the next posts of a list, up to the limit.
    pub(crate) async fn stretch(&self, part: &Part, most: usize) -> Result<Stretch, Error> {
        if let Some(stretch) = self.known(part, most).await? {
            return Ok(stretch);
        }
        let _one_at_a_time = self.0.selecting.lock().await;
        self.select(part, most).await
    }

    /// Adds a post that this instance has written.
    pub(crate) fn added(&self, id: PostId, user: &User) {
        self.state().change(id, || Change::There(user.clone()));
    }

    /// Removes a post that this instance has deleted or found missing.
    pub(crate) fn removed(&self, id: PostId, user: &User) {
        self.state().change(id, || Change::Gone(user.clone()));
    }

    /// Returns the page from the cache; `None` if it extends beyond the cache.
    async fn known(&self, part: &Part, most: usize) -> Result<Option<Stretch>, Error> {
        let reading = {
            let mut state = self.state();
            match state.keys.clone() {
                Some(keys) if keys.begun.elapsed() < keys.fresh_for() => return Ok(state.stretch(&keys, part, most)),
                Some(keys) if keys.begun.elapsed() < keys.good_for() => {
                    let _goes_on = self.read(&mut state);
                    return Ok(state.stretch(&keys, part, most));
                }
                _ => self.read(&mut state),
            }
        };
        reading.await?;
        let state = self.state();
        let keys = state.keys.clone();
        // Evicted immediately, under heavy load.
        let keys = keys.ok_or_else(|| Error::from(Failed::Late))?;
        Ok(state.stretch(&keys, part, most))
    }

    /// Returns the refresh in progress, starting one if there is none. It continues even if every caller leaves.
    fn read(&self, state: &mut State) -> Read {
        if let Some(reading) = &state.reading {
            return reading.done.clone();
        }
        let index = self.clone();
        let task = tokio::spawn(async move {
            let read = Keys::read(&index.0.scan, index.0.most).await;
            index.state().end(read)
        });
        let done = task.map(|ended| {
            ended.unwrap_or_else(|ended| match ended.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(Failed::Late.into()),
            })
        });
        let done = done.boxed().shared();
        state.reading = Some(Reading { since: state.number, done: done.clone() });
        done
    }

    /// Reads the whole table for a page that begins or ends among posts that are not cached.
    async fn select(&self, part: &Part, most: usize) -> Result<Stretch, Error> {
        let chosen: Arc<Mutex<BTreeMap<PostId, User>>> = Arc::default();
        let (part, into) = (*part, chosen.clone());
        let take = move |posts: Vec<(PostId, User)>| {
            let mut chosen = into.lock();
            for (id, user) in posts.into_iter().filter(|(id, _)| part.holds(*id)) {
                chosen.insert(id, user);
                // One more than requested shows whether there are more.
                if chosen.len() > most + 1 {
                    match part.order {
                        Order::OldestFirst => chosen.pop_last(),
                        Order::NewestFirst => chosen.pop_first(),
                    };
                }
            }
        };
        self.0.scan.keys(take).await?;
        let chosen = mem::take(&mut *chosen.lock());
        let more = chosen.len() > most;
        let mut posts: Vec<_> = chosen.into_iter().collect();
        if part.order == Order::NewestFirst {
            posts.reverse();
        }
        posts.truncate(most);
        Ok((posts, more))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }
}

impl State {
    fn change(&mut self, id: PostId, change: impl FnOnce() -> Change) {
        if self.keys.is_none() && self.reading.is_none() {
            return;
        }
        self.changes.insert(id, (self.number, change()));
        self.number += 1;
        if self.changes.len() > MOST_CHANGES && self.reading.is_none() {
            (self.keys, self.changes) = (None, BTreeMap::new());
        }
    }

    /// Replaces the cached keys with newer ones.
    fn end(&mut self, read: Result<Keys, Failed>) -> Result<(), Error> {
        let reading = self.reading.take();
        let keys = read.inspect_err(|error| tracing::warn!(cause = %error, "the keys of the table cannot be read"))?;
        let since = reading.map_or(0, |reading| reading.since);
        self.changes.retain(|_, (number, _)| *number >= since);
        self.keys = Some(Arc::new(keys));
        Ok(())
    }

    /// Returns the next posts of a list; `None` if the page extends beyond the cache.
    fn stretch(&self, keys: &Keys, part: &Part, most: usize) -> Option<Stretch> {
        let is_changed = |id: &PostId, user: &User| {
            let change = self.changes.get(id).map(|(_, change)| change);
            matches!(change, Some(Change::There(whose) | Change::Gone(whose)) if whose == user)
        };
        let mut read = keys.after(part).filter(|(id, user)| !is_changed(id, user)).peekable();
        let own = self.changes.iter().filter_map(|(id, (_, change))| match change {
            Change::There(user) if part.holds(*id) => Some((*id, user)),
            _ => None,
        });
        let mut own: Vec<_> = own.collect();
        if part.order == Order::NewestFirst {
            own.reverse();
        }
        let mut own = own.into_iter().peekable();
        let mut posts: Vec<(PostId, User)> = Vec::with_capacity(most.min(1000));
        loop {
            let next = match (read.peek(), own.peek()) {
                (Some((a, _)), Some((b, _))) if part.order.puts(*b, *a) => own.next(),
                (Some(_), _) => read.next(),
                (None, Some(_)) => own.next(),
                (None, None) => None,
            };
            match next {
                Some((id, user)) if posts.len() < most => posts.push((id, user.clone())),
                Some(_) => return keys.reaches(part, &posts).then_some((posts, true)),
                None => return keys.is_the_end(part).then_some((posts, false)),
            }
        }
    }
}

impl Keys {
    async fn read(scan: &Scan, most: usize) -> Result<Self, Failed> {
        let begun = Instant::now();
        let collected: Arc<Mutex<Collected>> = Arc::default();
        let into = collected.clone();
        let take = move |posts| into.lock().add(posts, most);
        scan.keys(take).await?;
        let collected = mem::take(&mut *collected.lock());
        // Sorting a million takes a while, which would block the thread's other requests.
        let sorted = spawn_blocking(move || collected.sorted(most)).await;
        let (posts, users, horizon) = sorted.unwrap_or_else(|ended| resume_unwind(ended.into_panic()));
        Ok(Self { posts, users, horizon, begun, took: begun.elapsed() })
    }

    /// The age at which keys are refreshed: reading takes at most a tenth of the time.
    fn fresh_for(&self) -> Duration {
        FRESH.max(10 * self.took)
    }

    /// The age up to which keys are used while they are refreshed.
    fn good_for(&self) -> Duration {
        OLDEST.max(20 * self.took)
    }

    /// The posts from the page's start to the end of the list.
    fn after(&self, part: &Part) -> Box<dyn Iterator<Item = (PostId, &User)> + '_> {
        let entry = |(id, user): &(PostId, u32)| (*id, &self.users[*user as usize]);
        let Some(after) = part.after else {
            return match part.order {
                Order::OldestFirst => Box::new(self.posts.iter().map(entry)),
                Order::NewestFirst => Box::new(self.posts.iter().rev().map(entry)),
            };
        };
        match part.order {
            Order::OldestFirst => {
                let start = self.posts.partition_point(|(id, _)| *id <= after);
                Box::new(self.posts[start..].iter().map(entry))
            }
            Order::NewestFirst => {
                let end = self.posts.partition_point(|(id, _)| *id < after);
                Box::new(self.posts[..end].iter().rev().map(entry))
            }
        }
    }

    /// Whether no uncached post belongs before the end of this page.
    fn reaches(&self, part: &Part, posts: &[(PostId, User)]) -> bool {
        match (self.horizon, part.order) {
            (None, _) => true,
            (Some(horizon), Order::OldestFirst) => part.after.is_some_and(|after| after >= horizon),
            (Some(horizon), Order::NewestFirst) => posts.last().is_none_or(|(id, _)| *id >= horizon),
        }
    }

    /// Whether the list ends with the last cached post.
    fn is_the_end(&self, part: &Part) -> bool {
        match (self.horizon, part.order) {
            (None, _) => true,
            (Some(horizon), Order::OldestFirst) => part.after.is_some_and(|after| after >= horizon),
            (Some(_), Order::NewestFirst) => false,
        }
    }
}

/// Keys being read.
#[derive(Debug, Default)]
struct Collected {
    posts: Vec<(PostId, u32)>,
    users: HashMap<User, u32>,
    forgotten: bool,
}

impl Collected {
    fn add(&mut self, posts: Vec<(PostId, User)>, most: usize) {
        for (id, user) in posts {
            let next = u32::try_from(self.users.len()).unwrap_or(u32::MAX);
            let user = *self.users.entry(user).or_insert(next);
            self.posts.push((id, user));
        }
        if self.posts.len() > 2 * most {
            self.forget_the_oldest(most);
        }
    }

    fn forget_the_oldest(&mut self, most: usize) {
        let surplus = self.posts.len().saturating_sub(most);
        if surplus > 0 {
            self.posts.select_nth_unstable(surplus);
            self.posts.drain(..surplus);
            self.forgotten = true;
        }
    }

    fn sorted(mut self, most: usize) -> (Vec<(PostId, u32)>, Vec<User>, Option<PostId>) {
        self.forget_the_oldest(most);
        self.posts.sort_unstable();
        self.posts.shrink_to_fit();
        let mut users: Vec<_> = self.users.into_iter().collect();
        users.sort_unstable_by_key(|(_, place)| *place);
        let horizon = self.posts.first().map(|(id, _)| *id).filter(|_| self.forgotten);
        (self.posts, users.into_iter().map(|(user, _)| user).collect(), horizon)
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(all(&index).await.len(), 10, "they are read anew, and the fake never heard of the others");
    }
}
