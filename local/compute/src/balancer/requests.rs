//! Counts requests per target, and the load balancer's own answers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Every target's counts.
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
    /// Whether a target of a group has requests to finish.
    pub fn has_open(&self, group: &str, target: &str) -> bool {
        let key = (group.to_owned(), target.to_owned());
        self.counts().get(&key).is_some_and(|count| count.open() > 0)
    }

    /// How many requests a group's targets have had since the last question.
    pub fn take_total(&self, group: &str) -> u64 {
        let counts = self.counts();
        let ours = counts.iter().filter(|((name, _), _)| name == group);
        ours.map(|(_, count)| count.total.swap(0, Ordering::SeqCst)).sum()
    }

    /// The counts of a target, shared by all that count.
    pub fn of(&self, group: &str, target: &str) -> Arc<Count> {
        self.counts().entry((group.to_owned(), target.to_owned())).or_default().clone()
    }

    /// Forgets a target that is no longer used.
    pub fn forget(&self, group: &str, target: &str) {
        self.counts().remove(&(group.to_owned(), target.to_owned()));
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().expect("nothing panics while it counts")
    }
}

impl Count {
    /// How many requests the target works on.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// One more request, open until the answer is dropped.
    pub fn begin(self: &Arc<Count>) -> Open {
        self.open.fetch_add(1, Ordering::SeqCst);
        Open(self.clone())
    }
}

/// A request that a target works on, until this is dropped.
pub struct Open(Arc<Count>);

impl Open {
    /// The target has been asked.
    pub fn count(&self) {
        self.0.total.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How often each load balancer has answered by itself, by its ARN and the status.
#[derive(Default, Clone)]
pub struct Tally(Arc<Mutex<Answers>>);

type Answers = BTreeMap<String, BTreeMap<u16, u64>>;

impl Tally {
    /// One more answer.
    pub fn add(&self, balancer: &str, status: u16) {
        *self.answers().entry(balancer.to_owned()).or_default().entry(status).or_default() += 1;
    }

    /// The answers of one load balancer.
    pub fn of(&self, balancer: &str) -> BTreeMap<u16, u64> {
        self.answers().get(balancer).cloned().unwrap_or_default()
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().expect("nothing panics while it counts")
    }
}
