//! The keys with the changes since they were read.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{BoxFuture, Shared};
use posts::{PostId, User};

use super::MOST_CHANGES;
use super::keys::{SortedKeys, Stretch};
use crate::http::error::Error;
use crate::storage::dynamodb::Failed;
use crate::storage::rows::{Order, Part};

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) keys: Option<Arc<SortedKeys>>,
    /// This instance's changes since the reading of `keys` began, numbered in order.
    pub(super) changes: BTreeMap<PostId, (u64, Change)>,
    pub(super) number: u64,
    pub(super) reading: Option<Reading>,
}

#[derive(Debug)]
pub(super) enum Change {
    There(User),
    Gone(User),
}

pub(super) type Read = Shared<BoxFuture<'static, Result<(), Error>>>;

/// A refresh in progress.
#[derive(Debug)]
pub(super) struct Reading {
    /// The number of the first change that it may have missed.
    pub(super) since: u64,
    pub(super) done: Read,
}

impl State {
    pub(super) fn change(&mut self, id: PostId, change: impl FnOnce() -> Change) {
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
    pub(super) fn end(&mut self, read: Result<SortedKeys, Failed>) -> Result<(), Error> {
        let reading = self.reading.take();
        let keys = read.inspect_err(|error| tracing::warn!(cause = %error, "the keys of the table cannot be read"))?;
        let since = reading.map_or(0, |reading| reading.since);
        self.changes.retain(|_, (number, _)| *number >= since);
        self.keys = Some(Arc::new(keys));
        Ok(())
    }

    /// Returns the next posts of a list; `None` if the page extends beyond the cache.
    pub(super) fn stretch(&self, keys: &SortedKeys, part: &Part, most: usize) -> Option<Stretch> {
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
