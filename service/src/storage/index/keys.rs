//! The keys of all posts, as one read found them.

use std::mem;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use posts::{PostId, User};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::collected::Collected;
use super::{FRESH, OLDEST};
use crate::storage::dynamodb::Failed;
use crate::storage::rows::{Order, Part};
use crate::storage::scan::Scan;

/// The keys of all posts, as of the start of their refresh or later.
#[derive(Debug)]
pub(super) struct SortedKeys {
    /// Each post with the index of its author.
    pub(super) posts: Vec<(PostId, u32)>,
    pub(super) users: Vec<User>,
    /// The oldest cached post, if there are older ones.
    horizon: Option<PostId>,
    pub(super) begun: Instant,
    took: Duration,
}

/// The keys of a page of a list, and whether there are more after it.
pub(crate) type Stretch = (Vec<(PostId, User)>, bool);

impl SortedKeys {
    pub(super) async fn read(scan: &Scan, most: usize) -> Result<Self, Failed> {
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
    pub(super) fn fresh_for(&self) -> Duration {
        FRESH.max(10 * self.took)
    }

    /// The age up to which keys are used while they are refreshed.
    pub(super) fn good_for(&self) -> Duration {
        OLDEST.max(20 * self.took)
    }

    /// The posts from the page's start to the end of the list.
    pub(super) fn after(&self, part: &Part) -> Box<dyn Iterator<Item = (PostId, &User)> + '_> {
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
    pub(super) fn reaches(&self, part: &Part, posts: &[(PostId, User)]) -> bool {
        match (self.horizon, part.order) {
            (None, _) => true,
            (Some(horizon), Order::OldestFirst) => part.after.is_some_and(|after| after >= horizon),
            (Some(horizon), Order::NewestFirst) => posts.last().is_none_or(|(id, _)| *id >= horizon),
        }
    }

    /// Whether the list ends with the last cached post.
    pub(super) fn is_the_end(&self, part: &Part) -> bool {
        match (self.horizon, part.order) {
            (None, _) => true,
            (Some(horizon), Order::OldestFirst) => part.after.is_some_and(|after| after >= horizon),
            (Some(_), Order::NewestFirst) => false,
        }
    }
}
