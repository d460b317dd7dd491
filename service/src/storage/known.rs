//! Posts that are known to exist, so that adding a picture to a new post needs no lookup.

use parking_lot::{Mutex, MutexGuard};
use std::num::NonZeroUsize;

use lru::LruCache;
use posts::{PostId, User};
use tokio::time::{Duration, Instant};

/// How long a post that was there counts as being there.
///
/// Another instance may delete it meanwhile. That is as if it had been deleted this much later: addresses for uploads
/// outlive it by far, and what is uploaded to a post that is gone is removed by the labeler.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// As many as may be written in that time; of more, those that were not asked for the longest are asked for again.
const KEPT: NonZeroUsize = NonZeroUsize::new(1000).expect("it is more than none");

/// Whose posts they are, and since when that is known.
#[derive(Debug)]
pub(crate) struct Known(Mutex<LruCache<PostId, (User, Instant)>>);

impl Default for Known {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KEPT)))
    }
}

impl Known {
    /// Whether this user is known to have this post. That it is not known says nothing.
    pub(crate) fn holds(&self, user: &User, id: PostId) -> bool {
        self.posts().get(&id).is_some_and(|(owner, since)| owner == user && since.elapsed() < GOOD_FOR)
    }

    pub(crate) fn remember(&self, user: &User, id: PostId) {
        self.posts().put(id, (user.clone(), Instant::now()));
    }

    pub(crate) fn forget(&self, id: PostId) {
        self.posts().pop(&id);
    }

    fn posts(&self) -> MutexGuard<'_, LruCache<PostId, (User, Instant)>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_author_of_a_post_is_cached_for_a_minute() {
        let (known, id) = (Known::default(), PostId::new());
        let [ada, bob] = ["ada", "bob"].map(|name| User::parse(name).unwrap());
        assert!(!known.holds(&ada, id));
        known.remember(&ada, id);
        assert!(known.holds(&ada, id) && !known.holds(&bob, id));
        tokio::time::advance(GOOD_FOR - Duration::from_millis(1)).await;
        assert!(known.holds(&ada, id));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!known.holds(&ada, id));
        known.remember(&ada, id);
        known.forget(id);
        assert!(!known.holds(&ada, id));
    }
}
