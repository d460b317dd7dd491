//! Posts known to exist, so that adding a picture to a new post needs no lookup.

use std::num::NonZeroUsize;

use lru::LruCache;
use parking_lot::{Mutex, MutexGuard};
use posts::{PostId, User};
use tokio::time::{Duration, Instant};

/// How long a post is assumed to exist after it was seen.
///
/// Another instance may delete it in the meantime. That is equivalent to deleting it this much later: upload URLs are
/// valid far longer, and the labeler removes pictures of deleted posts.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// About as many as are written in that time; beyond it, the least recently used are looked up again.
const KEPT: NonZeroUsize = NonZeroUsize::new(1000).expect("it is more than none");

/// Their owners, and when they were last seen.
#[derive(Debug)]
pub(crate) struct KnownPosts(Mutex<LruCache<PostId, (User, Instant)>>);

impl Default for KnownPosts {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KEPT)))
    }
}

impl KnownPosts {
    /// Whether this user is known to have this post. `false` means unknown.
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
        let (known, id) = (KnownPosts::default(), PostId::new());
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
