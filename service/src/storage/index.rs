//! The order of all posts, which the table does not provide: it sorts rows by id within each user only.
//!
//! A table that fits into one answer is read again for each list. For a larger one the keys are cached, sorted by id,
//! so that a page of a list costs reading its own rows. One reader at a time refreshes them from the table when they
//! are old; writes and deletes of this instance are merged immediately. Changes by others appear after the next
//! refresh: see [`SortedKeys::fresh_for`] and [`SortedKeys::good_for`].
//!
//! For why there is no second index or second row per post, see ARCHITECTURE.md.

mod collected;
mod keys;
mod state;

use std::collections::BTreeMap;
use std::mem;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::{Mutex, MutexGuard};
use posts::{PostId, User};

use crate::http::error::Error;
use crate::storage::dynamodb::Failed;
use crate::storage::rows::{Order, Part};
use crate::storage::scan::Scan;

use keys::{SortedKeys, Stretch};
use state::{Change, Read, Reading, State};

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
            let read = SortedKeys::read(&index.0.scan, index.0.most).await;
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

#[cfg(test)]
mod tests;
