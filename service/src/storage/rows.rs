//! Posts as rows of the table.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use posts::{PostId, User, attribute};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::sleep;

use crate::http::error::Error;
use crate::storage::batch_writes::BatchWrites;
use crate::storage::dynamodb::{DynamoDb, Failed};
use crate::storage::index::Index;
use crate::storage::known::KnownPosts;
use crate::storage::row::{self, Post, RawRows};
use crate::storage::scan::{Scan, go_on};
use crate::storage::single_flight::SingleFlight;

/// The maximum number of concurrent reads for lists, over all requests: with [`ENOUGH_BYTES`], this bounds their
/// memory. Others wait.
const READS: usize = 16;
/// A page of a list ends when its rows reach this size, even below the requested number. Including the read that
/// exceeds it, a page of rows written by this service stays below 1.5 MiB.
const ENOUGH_BYTES: usize = 512 * 1024;
/// The default number of posts in a page of a large table.
const USUAL: usize = 100;
/// The limit on keys per call. <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const MOST_KEYS: usize = 100;
/// The minimum number of rows per read, and the first one, while their size is unknown: 10 MiB if all have the maximum
/// size.
const LEAST_KEYS: usize = 25;
/// The most calls for a page: after many posts that others have deleted, it ends early.
const MOST_CALLS: usize = 20;
/// How often DynamoDB's unprocessed keys are requested again without progress.
const MOST_ROUNDS: u32 = 8;
/// The most pages in a row without a post.
const MOST_EMPTY_PAGES: usize = 1000;

/// A page of a list. Without a limit, as much as one read returns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Part {
    pub after: Option<PostId>,
    pub limit: Option<usize>,
    pub order: Order,
}

/// The order of posts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Order {
    #[default]
    OldestFirst,
    NewestFirst,
}

impl Order {
    /// Whether `first` is listed before `second`.
    pub(crate) fn puts(self, first: PostId, second: PostId) -> bool {
        match self {
            Self::OldestFirst => first < second,
            Self::NewestFirst => first > second,
        }
    }
}

impl Part {
    /// Whether the page starts at the beginning and has no limit.
    fn is_the_whole(&self) -> bool {
        self.after.is_none() && self.limit.is_none()
    }

    /// Whether a post is listed after the one that this page starts after.
    pub(crate) fn holds(&self, id: PostId) -> bool {
        self.after.is_none_or(|after| self.order.puts(after, id))
    }
}

/// The table for posts.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    client: DynamoDb,
    table: String,
    scan: Scan,
    snapshots: Arc<SingleFlight<(), Result<Option<Snapshot>, Error>>>,
    index: Index,
    /// The average size of rows in a large table, from the latest reads.
    row_bytes: Arc<AtomicUsize>,
    reads: Arc<Semaphore>,
    new: BatchWrites,
    known: Arc<KnownPosts>,
}

impl Rows {
    pub(crate) fn new(client: DynamoDb, table: String) -> Self {
        let scan = Scan::new(client.clone(), table.clone());
        let (index, new) = (Index::new(scan.clone()), BatchWrites::new(client.clone(), table.clone()));
        let (snapshots, reads) = (Arc::default(), Arc::new(Semaphore::new(READS)));
        let row_bytes = Arc::new(AtomicUsize::new(ENOUGH_BYTES / LEAST_KEYS));
        Self { client, table, scan, snapshots, index, row_bytes, reads, new, known: Arc::default() }
    }

    /// Adds a post, whose id is new.
    pub(crate) async fn add(&self, post: &Post<'_>) -> Result<(), Error> {
        self.new.put(item(post)).await?;
        self.index.added(post.id, &post.user);
        self.known.remember(&post.user, post.id);
        Ok(())
    }

    /// Returns a page of the posts of one user or of all.
    ///
    /// A user's own posts, posts written through this instance, and tables that fit into one answer are current. In a
    /// larger table, changes by others show later: see [`crate::storage::index`].
    pub(crate) async fn find(&self, user: Option<&User>, part: Part) -> Result<Found, Error> {
        if let Some(user) = user {
            return Ok(self.query(user, part).await?);
        }
        let small = match part.is_the_whole() {
            true => self.whole().await?.map(|answer| Found {
                answers: vec![RawRows::Page(answer)],
                part,
                end: End::Reached,
            }),
            false => self.snapshots.run(&(), || self.snapshot()).await?.map(|snapshot| snapshot.part(part)),
        };
        match small {
            Some(found) => Ok(found),
            None => self.by_index(part).await,
        }
    }

    /// Reads one post; there is none if this user does not have it.
    pub(crate) async fn post(&self, user: &User, id: PostId) -> Result<Found, Error> {
        let answers = self.rows(&[(id, user.clone())]).await?;
        Ok(Found { answers, part: Part::default(), end: End::Reached })
    }

    /// Sets the description of a post's picture, or removes it if it is empty; fails with `NoPost` unless this user has
    /// this post.
    pub(crate) async fn describe(&self, user: &User, id: PostId, alt: &str) -> Result<(), Error> {
        let mut request = json!({
            "TableName": self.table,
            "Key": key(user, id),
            // Without it, the update would create a row.
            "ConditionExpression": "attribute_exists(#id)",
            "UpdateExpression": "REMOVE #alt",
            "ExpressionAttributeNames": { "#id": attribute::ID, "#alt": attribute::ALT },
        });
        if !alt.is_empty() {
            request["UpdateExpression"] = "SET #alt = :alt".into();
            request["ExpressionAttributeValues"] = json!({ ":alt": { "S": alt } });
        }
        match self.client.perform("UpdateItem", &request).await {
            Err(failed) if failed.is_unmet_condition() => Err(Error::NoPost),
            done => Ok(done?),
        }
    }

    /// Fails with `NoPost` unless this user has this post.
    pub(crate) async fn require(&self, user: &User, id: PostId) -> Result<(), Error> {
        if self.known.holds(user, id) {
            return Ok(());
        }
        let names = json!({ "#id": attribute::ID });
        self.row(&key(user, id), "#id", &names).await?.ok_or(Error::NoPost)?;
        self.known.remember(user, id);
        Ok(())
    }

    /// Returns the picture in a row, if any; fails with `NoPost` unless this user has this post.
    pub(crate) async fn shown(&self, user: &User, id: PostId) -> Result<Option<Value>, Error> {
        let names = json!({ "#id": attribute::ID, "#image": attribute::IMAGE });
        let mut row = self.row(&key(user, id), "#id, #image", &names).await?.ok_or(Error::NoPost)?;
        Ok(row.get_mut(attribute::IMAGE).map(Value::take))
    }

    /// Removes a row unless it has another picture by now. Returns whether it is gone, even if it was before.
    pub(crate) async fn remove(&self, user: &User, id: PostId, shown: Option<Value>) -> Result<bool, Error> {
        let mut request = json!({
            "TableName": self.table,
            "Key": key(user, id),
            "ConditionExpression": "attribute_not_exists(#image)",
            "ExpressionAttributeNames": { "#image": attribute::IMAGE },
        });
        if let Some(shown) = shown {
            request["ConditionExpression"] = "attribute_not_exists(#image) OR #image = :shown".into();
            request["ExpressionAttributeValues"] = json!({ ":shown": shown });
        }
        let deleted = self.client.perform("DeleteItem", &request).await;
        // Even on failure: the deletion may have succeeded and only its answer been lost.
        self.known.forget(id);
        match deleted {
            Ok(()) => {
                self.index.removed(id, user);
                Ok(true)
            }
            Err(failed) if failed.is_unmet_condition() => Ok(false),
            Err(failed) => Err(failed.into()),
        }
    }

    /// Reads a row that does not exist, to check that the table is accessible.
    pub(crate) async fn reach(&self) -> Result<(), Error> {
        let absent = json!({ attribute::USER: { "S": "?" }, attribute::ID: { "S": "?" } });
        self.row(&absent, "#id", &json!({ "#id": attribute::ID })).await?;
        Ok(())
    }

    /// Returns these attributes of a row, if it exists.
    async fn row(&self, key: &Value, attributes: &str, names: &Value) -> Result<Option<Value>, Failed> {
        let request = json!({
            "TableName": self.table,
            "Key": key,
            "ConsistentRead": true,
            "ProjectionExpression": attributes,
            "ExpressionAttributeNames": names,
        });
        /// AWS omits the item if there is none.
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            item: Option<Map<String, Value>>,
        }
        let answer = self.client.call("GetItem", &request).await?;
        let Answer { item } = serde_json::from_slice(&answer)?;
        Ok(item.map(Value::Object))
    }

    /// Reads the whole table, if it fits into one answer.
    async fn whole(&self) -> Result<Option<Bytes>, Failed> {
        if self.scan.is_large() {
            return Ok(None);
        }
        let _turn = self.turn().await;
        self.scan.whole().await
    }

    async fn snapshot(&self) -> Result<Option<Snapshot>, Error> {
        Ok(self.whole().await?.map(Snapshot::of).transpose().map_err(Failed::from)?)
    }

    async fn query(&self, user: &User, part: Part) -> Result<Found, Failed> {
        let mut request = json!({
            "TableName": self.table,
            "ConsistentRead": true,
            "ScanIndexForward": part.order == Order::OldestFirst,
            "KeyConditionExpression": "#user = :user",
            "ExpressionAttributeNames": { "#user": attribute::USER },
            "ExpressionAttributeValues": { ":user": { "S": user.key() } },
        });
        if let Some(after) = part.after {
            request["KeyConditionExpression"] = match part.order {
                Order::OldestFirst => "#user = :user AND #id > :after",
                Order::NewestFirst => "#user = :user AND #id < :after",
            }
            .into();
            request["ExpressionAttributeNames"]["#id"] = attribute::ID.into();
            request["ExpressionAttributeValues"][":after"] = json!({ "S": after.key() });
        }
        if let Some(limit) = part.limit {
            // One more than requested shows whether there are more.
            request["Limit"] = (limit + 1).into();
        }
        let _turn = self.turn().await;
        let (mut answers, mut posts, mut size) = (Vec::new(), 0, 0);
        for _ in 0..MOST_EMPTY_PAGES {
            let page = self.client.call("Query", &request).await?;
            let more = go_on(&mut request, row::next(&page)?)?;
            answers.push(RawRows::Page(page));
            let Some(page) = answers.last().filter(|_| more) else {
                return Ok(Found { answers, part, end: End::Reached });
            };
            (posts, size) = (posts + page.posts()?.len(), size + page.len());
            let wanted = part.limit.filter(|_| size < ENOUGH_BYTES).map_or(1, |limit| limit + 1);
            if posts >= wanted {
                return Ok(Found { answers, part, end: End::Beyond });
            }
        }
        Err(Failed::Endless)
    }

    /// Returns a page of all posts of a large table: keys from the index, then their rows.
    async fn by_index(&self, part: Part) -> Result<Found, Error> {
        let wanted = part.limit.unwrap_or(USUAL);
        let (mut answers, mut rest) = (Vec::new(), part);
        let (mut posts, mut asked, mut size) = (0, 0, 0);
        for _ in 0..MOST_CALLS {
            let most = (ENOUGH_BYTES / self.row_bytes.load(Relaxed)).clamp(LEAST_KEYS, MOST_KEYS);
            // Extra keys make up for posts that no longer exist.
            let needed = if asked == posts { wanted - posts } else { LEAST_KEYS.max(wanted - posts) };
            let (keys, more) = self.index.stretch(&rest, most.min(needed)).await?;
            let Some((last, _)) = keys.last() else {
                return Ok(Found { answers, part, end: End::Reached });
            };
            rest.after = Some(*last);
            let rows = self.rows(&keys).await?;
            (posts, asked) = (posts + self.count(&rows, &keys)?, asked + keys.len());
            let bytes = rows.iter().map(RawRows::len).sum::<usize>();
            self.row_bytes.store((bytes / keys.len()).max(1), Relaxed);
            size += bytes;
            answers.extend(rows);
            if !more {
                return Ok(Found { answers, part, end: End::Reached });
            }
            if posts >= wanted || size >= ENOUGH_BYTES {
                break;
            }
        }
        let end = rest.after.map_or(End::Reached, End::After);
        Ok(Found { answers, part, end })
    }

    /// Keeps the posts that exist; the index forgets the others.
    fn count(&self, rows: &[RawRows], keys: &[(PostId, User)]) -> Result<usize, Failed> {
        let mut there = HashSet::with_capacity(keys.len());
        for rows in rows {
            there.extend(rows.posts()?.into_iter().map(|post| (post.id, post.user)));
        }
        for (id, user) in keys.iter().filter(|key| !there.contains(key)) {
            self.index.removed(*id, user);
        }
        Ok(there.len())
    }

    /// Reads these rows, except those that do not exist.
    async fn rows(&self, keys: &[(PostId, User)]) -> Result<Vec<RawRows>, Failed> {
        let _turn = self.turn().await;
        let mut asked = keys.len();
        let keys: Vec<_> = keys.iter().map(|(id, user)| key(user, *id)).collect();
        let mut wanted = json!({ &self.table: { "ConsistentRead": true, "Keys": keys } });
        let (mut answers, mut in_vain) = (Vec::new(), 0);
        while in_vain < MOST_ROUNDS {
            let answer = self.client.call("BatchGetItem", &json!({ "RequestItems": wanted })).await?;
            let left = row::unprocessed(&answer)?;
            answers.push(RawRows::Batch(answer));
            let Some(left) = left else { return Ok(answers) };
            let to_ask = left[&self.table]["Keys"].as_array().map_or(0, Vec::len);
            match to_ask {
                0 => return Err(Failed::Circle),
                _ if to_ask < asked => in_vain = 0,
                _ => {
                    // The limit on the size of an answer was reached (docs/aws.md §2.2).
                    sleep(Duration::from_millis(50 << in_vain).mul_f64(fastrand::f64())).await;
                    in_vain += 1;
                }
            }
            (wanted, asked) = (left, to_ask);
        }
        Err(Failed::Endless)
    }

    /// Waits for a free slot for a read.
    async fn turn(&self) -> SemaphorePermit<'_> {
        self.reads.acquire().await.expect("the semaphore is never closed")
    }
}

/// Posts, as ranges of `DynamoDB`'s answer.
pub(crate) struct Found {
    answers: Vec<RawRows>,
    part: Part,
    end: End,
}

/// The position after a page.
enum End {
    /// Nothing.
    Reached,
    /// More, after the last post of the page.
    Beyond,
    /// More, after this post, which may no longer exist.
    After(PostId),
}

impl Found {
    /// Returns the posts, and the post after which there are more.
    pub(crate) fn posts(&self) -> Result<(Vec<Post<'_>>, Option<PostId>), Failed> {
        let Self { answers, part, end } = self;
        let mut posts = Vec::new();
        for rows in answers {
            posts.extend(rows.posts()?.into_iter().filter(|post| part.holds(post.id)));
        }
        match part.order {
            Order::OldestFirst => posts.sort_unstable_by_key(|post| post.id),
            Order::NewestFirst => posts.sort_unstable_by_key(|post| Reverse(post.id)),
        }
        let limit = part.limit.unwrap_or(usize::MAX);
        let is_cut = posts.len() > limit;
        posts.truncate(limit);
        let next = match end {
            End::After(id) if !is_cut => Some(*id),
            End::Reached if !is_cut => None,
            _ => posts.last().map(|post| post.id),
        };
        Ok((posts, next))
    }

    /// The size of the answers in bytes.
    pub(crate) fn size(&self) -> usize {
        self.answers.iter().map(RawRows::len).sum()
    }
}

/// A table that fits into one answer, read once for all pages requested at the same time.
#[derive(Debug, Clone)]
struct Snapshot {
    answer: Bytes,
    /// The position of each post, by id.
    places: Arc<[(PostId, Range<usize>)]>,
}

impl Snapshot {
    fn of(answer: Bytes) -> Result<Self, serde_json::Error> {
        let mut places = row::places(&answer)?;
        places.sort_unstable_by_key(|(id, _)| *id);
        Ok(Self { answer, places: places.into() })
    }

    fn part(&self, part: Part) -> Found {
        let split = |is_before: fn(PostId, PostId) -> bool| {
            part.after.map(|after| self.places.partition_point(|(id, _)| is_before(*id, after)))
        };
        let places: Box<dyn Iterator<Item = &(PostId, Range<usize>)>> = match part.order {
            Order::OldestFirst => {
                let start = split(|id, after| id <= after).unwrap_or(0);
                Box::new(self.places[start..].iter())
            }
            Order::NewestFirst => {
                let end = split(|id, after| id < after).unwrap_or(self.places.len());
                Box::new(self.places[..end].iter().rev())
            }
        };
        let (mut answers, mut size, mut end) = (Vec::new(), 0, End::Reached);
        for (id, place) in places {
            if answers.len() >= part.limit.unwrap_or(usize::MAX) || size >= ENOUGH_BYTES {
                return Found { answers, part, end };
            }
            (size, end) = (size + place.len(), End::After(*id));
            answers.push(RawRows::Row(self.answer.slice(place.clone())));
        }
        Found { answers, part, end: End::Reached }
    }
}

fn key(user: &User, id: PostId) -> Value {
    json!({ attribute::USER: { "S": user.key() }, attribute::ID: { "S": id.key() } })
}

/// The row of a new post.
pub(crate) fn item(post: &Post<'_>) -> Value {
    let Post { id, user, title, body, alt, picture: _, removed: _ } = post; // only the labeler writes pictures
    let mut item = key(user, *id);
    item[attribute::TITLE] = json!({ "S": title });
    item[attribute::BODY] = json!({ "S": body });
    if let Some(alt) = alt {
        item[attribute::ALT] = json!({ "S": alt });
    }
    item
}
