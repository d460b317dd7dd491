//! Counts requests per target, and the responses that load balancers generate themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

/// The counts of all targets.
#[derive(Default, Clone)]
pub struct Requests(Arc<Mutex<Counts>>);

/// By target group and target.
type Counts = BTreeMap<(String, String), Arc<Count>>;

/// The counts of one target.
#[derive(Debug, Default)]
pub struct Count {
    open: AtomicUsize,
    total: AtomicU64,
}

impl Requests {
    /// Returns whether a target of a group has open requests.
    pub fn has_open(&self, group: &str, target: &str) -> bool {
        let key = (group.to_owned(), target.to_owned());
        self.counts().get(&key).is_some_and(|count| count.open() > 0)
    }

    /// Returns how many requests a group's targets have received since the last call.
    pub fn take_total(&self, group: &str) -> u64 {
        let counts = self.counts();
        let ours = counts.iter().filter(|((name, _), _)| name == group);
        ours.map(|(_, count)| count.total.swap(0, Ordering::SeqCst)).sum()
    }

    /// Returns the counts of a target, shared by everything that counts its requests.
    pub fn of(&self, group: &str, target: &str) -> Arc<Count> {
        self.counts().entry((group.to_owned(), target.to_owned())).or_default().clone()
    }

    /// Forgets a target that is no longer used.
    pub fn forget(&self, group: &str, target: &str) {
        self.counts().remove(&(group.to_owned(), target.to_owned()));
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock()
    }
}

impl Count {
    /// Returns the number of open requests.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Opens a request, which stays open until the returned value is dropped.
    pub fn begin(self: &Arc<Count>) -> Open {
        self.open.fetch_add(1, Ordering::SeqCst);
        Open(self.clone())
    }
}

/// An open request, until this is dropped.
pub struct Open(Arc<Count>);

impl Open {
    /// Counts the request as sent to the target.
    pub fn count(&self) {
        self.0.total.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The number of responses that each load balancer has generated itself, by ARN and status.
#[derive(Default, Clone)]
pub struct Tally(Arc<Mutex<Answers>>);

type Answers = BTreeMap<String, BTreeMap<u16, u64>>;

impl Tally {
    /// Counts one more response.
    pub fn add(&self, balancer: &str, status: u16) {
        *self.answers().entry(balancer.to_owned()).or_default().entry(status).or_default() += 1;
    }

    /// Returns the counts of one load balancer.
    pub fn of(&self, balancer: &str) -> BTreeMap<u16, u64> {
        self.answers().get(balancer).cloned().unwrap_or_default()
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.0.lock()
    }
}
