//! The processes of one function, which are kept for further invocations.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Functions;
use super::environment::Environment;
use super::function::Function;

/// How many invocations run at once here of a function with reserved concurrency, and of all others together: as in a new
/// account (docs/aws.md §3.4), however many the account may have.
pub(super) const CONCURRENCY: usize = 10;
/// How long to keep an idle process.
const IDLE: Duration = Duration::from_secs(300);
/// How often to look for idle processes.
const LOOK: Duration = Duration::from_secs(15);

/// The processes of one function. An update of the function retires them.
pub(super) struct Pool {
    idle: Mutex<Vec<Environment>>,
    /// The account's concurrency, or the function's reserved one.
    pub(super) places: Arc<Semaphore>,
    pub(super) retired: CancellationToken,
    /// The number of processes running an invocation.
    pub(super) working: AtomicUsize,
}

impl Functions {
    pub(super) fn pool(&self, function: &Function) -> Arc<Pool> {
        let new = || {
            let own = |reserved: usize| Arc::new(Semaphore::new(reserved.min(CONCURRENCY)));
            Arc::new(Pool {
                idle: Mutex::new(Vec::new()),
                places: function.reserved.map_or_else(|| self.places.clone(), own),
                retired: self.site.stop.child_token(),
                working: AtomicUsize::new(0),
            })
        };
        self.pools().entry(function.name.clone()).or_insert_with(new).clone()
    }

    pub(super) async fn end_idle(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => (),
                () = self.site.stop.cancelled() => return,
            }
            let pools: Vec<Arc<Pool>> = self.pools().values().cloned().collect();
            for pool in pools {
                let idle: Vec<Environment> = {
                    let mut all = pool.idle();
                    all.extract_if(.., |one| !one.lives() || one.idle_since.elapsed() > IDLE).collect()
                };
                end_all(idle).await;
            }
        }
    }

    pub(super) fn pools(&self) -> MutexGuard<'_, HashMap<String, Arc<Pool>>> {
        self.pools.lock()
    }
}

impl Pool {
    /// Takes the process that was used last, so that the others become idle and are ended.
    pub(super) fn warm(&self, function: &Function) -> Option<Environment> {
        let mut idle = self.idle();
        let fits =
            |one: &Environment| one.lives() && one.revision == function.revision && Instant::now() < one.good_until;
        let at = idle.iter().rposition(fits)?;
        Some(idle.remove(at))
    }

    pub(super) fn idle(&self) -> MutexGuard<'_, Vec<Environment>> {
        self.idle.lock()
    }
}

pub(super) async fn end_all(environments: Vec<Environment>) {
    futures::future::join_all(environments.into_iter().map(Environment::end)).await;
}
