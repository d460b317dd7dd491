//! Whose turn it is at a key: writers come one after another, and readers see what lies between two of them.
//!
//! Without it two conditional writes could both find nothing there, and a reader could find the name of bytes that an
//! overwrite has just removed.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Keys share this many locks: few enough to be nothing, enough to be rarely in each other's way.
const LOCKS: usize = 128;

/// The locks of all keys.
pub(super) struct Turns(Vec<RwLock<()>>);

/// Somebody's turn, until it is dropped.
pub(super) enum Turn<'a> {
    Reading { _guard: RwLockReadGuard<'a, ()> },
    Writing { _guards: Vec<RwLockWriteGuard<'a, ()>> },
}

impl Turns {
    pub(super) fn new() -> Turns {
        Turns((0..LOCKS).map(|_| RwLock::new(())).collect())
    }

    /// Waits until nobody writes to the key.
    pub(super) async fn reading(&self, bucket: &str, key: &str) -> Turn<'_> {
        Turn::Reading { _guard: self.0[place(bucket, key)].read().await }
    }

    /// Waits until nobody else reads or writes any of these keys.
    pub(super) async fn writing(&self, bucket: &str, keys: &[&str]) -> Turn<'_> {
        self.writing_at(keys.iter().map(|key| place(bucket, key)).collect()).await
    }

    /// The same for keys of two buckets.
    pub(super) async fn writing_both(&self, one: (&str, &str), other: (&str, &str)) -> Turn<'_> {
        self.writing_at([place(one.0, one.1), place(other.0, other.1)].into()).await
    }

    async fn writing_at(&self, places: BTreeSet<usize>) -> Turn<'_> {
        // Everybody takes them in the same order, so nobody waits for somebody who waits.
        let mut guards = Vec::with_capacity(places.len());
        for place in places {
            guards.push(self.0[place].write().await);
        }
        Turn::Writing { _guards: guards }
    }
}

fn place(bucket: &str, key: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    (bucket, key).hash(&mut hasher);
    (hasher.finish() % LOCKS as u64) as usize
}
