//! The worker threads, each with its own runtime and connections.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

use crate::log;

/// Single-threaded runtimes, among which connections are distributed.
///
/// A connection and all calls made for it stay on one thread: no thread steals, awaits or wakes another's work. A
/// request costs a fifth to a third less than with work stealing (`examples/load`). In return, a long task delays
/// everything else on its thread: work of more than a millisecond belongs in `spawn_blocking`, or has to yield.
#[derive(Debug)]
pub struct Workers {
    all: Vec<Worker>,
    threads: Vec<JoinHandle<()>>,
    /// The threads end when it is dropped.
    running: Option<watch::Sender<()>>,
}

/// A runtime, and a token that each of its connections holds a copy of.
#[derive(Debug)]
struct Worker {
    runtime: Handle,
    mark: Arc<()>,
}

/// A connection's slot on a worker; it is released when dropped.
pub(crate) struct Slot {
    pub(crate) runtime: Handle,
    _mark: Arc<()>,
}

impl Workers {
    /// Uses only the current runtime.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn here() -> Self {
        Self { all: vec![Worker::new(Handle::current())], threads: Vec::new(), running: None }
    }

    /// Makes a single-threaded runtime that writes its log lines whenever it is idle.
    pub fn runtime() -> io::Result<Runtime> {
        // Blocking work is bound by processors: more threads would only use memory.
        Builder::new_current_thread().enable_all().max_blocking_threads(4).on_thread_park(log::rest).build()
    }

    /// Uses this many threads: the current runtime's and new ones. Fails if the system cannot start a thread.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn start(count: NonZeroUsize) -> io::Result<Self> {
        let running = watch::Sender::new(());
        let mut workers = Self::here();
        for _ in 1..count.get() {
            let runtime = Self::runtime()?;
            workers.all.push(Worker::new(runtime.handle().clone()));
            let mut running = running.subscribe();
            let live = move || runtime.block_on(async { while running.changed().await.is_ok() {} });
            workers.threads.push(thread::Builder::new().name("worker".to_owned()).spawn(live)?);
        }
        workers.running = Some(running);
        Ok(workers)
    }

    /// Reserves a slot on the worker with the fewest connections.
    pub(crate) fn place(&self) -> Slot {
        let fewest = self.all.iter().min_by_key(|worker| Arc::strong_count(&worker.mark));
        let Worker { runtime, mark } = fewest.expect("there is one at least");
        Slot { runtime: runtime.clone(), _mark: mark.clone() }
    }
}

impl Drop for Workers {
    /// Waits until the threads have ended and written their last log lines.
    fn drop(&mut self) {
        drop(self.running.take());
        for thread in self.threads.drain(..) {
            // A panic has been reported already.
            let _ = thread.join();
        }
    }
}

impl Worker {
    fn new(runtime: Handle) -> Self {
        Self { runtime, mark: Arc::new(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::thread::ThreadId;

    use super::*;

    async fn thread_of(place: &Slot) -> ThreadId {
        place.runtime.spawn(async { thread::current().id() }).await.unwrap()
    }

    #[tokio::test]
    async fn connections_go_to_the_worker_with_the_fewest() {
        let workers = Workers::start(NonZeroUsize::new(3).unwrap()).unwrap();
        let mut places: HashMap<ThreadId, Vec<Slot>> = HashMap::new();
        for _ in 0..12 {
            let place = workers.place();
            places.entry(thread_of(&place).await).or_default().push(place);
        }
        assert!(places.contains_key(&thread::current().id()), "this one works, too");
        assert_eq!(places.values().map(Vec::len).collect::<Vec<_>>(), [4, 4, 4]);
        // The next connection fills the gap.
        for of_one_thread in places.values_mut() {
            let left = of_one_thread.pop().unwrap();
            let thread = thread_of(&left).await;
            drop(left);
            let next = workers.place();
            assert_eq!(thread_of(&next).await, thread);
            of_one_thread.push(next);
        }
    }

    #[tokio::test]
    async fn threads_end_with_their_workers() {
        let workers = Workers::start(NonZeroUsize::new(2).unwrap()).unwrap();
        let (here, there) = (workers.place(), workers.place());
        assert_ne!(thread_of(&here).await, thread_of(&there).await);
        let waits = there.runtime.spawn(std::future::pending::<()>());
        drop(workers);
        assert!(waits.await.unwrap_err().is_cancelled(), "its runtime is gone");
    }
}
