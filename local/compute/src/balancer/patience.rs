//! The patience of clients and load balancer with a target.

use std::error::Error;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::CLIENT_GONE;
use super::body::Relay;
use crate::Compute;

/// The targets that could not be reached, as indexes into the targets of one route.
#[derive(Default)]
pub(super) struct Tried {
    pub(super) generation: u64,
    pub(super) places: Vec<usize>,
}

impl Tried {
    /// Forgets the indexes if they belong to another route.
    pub(super) fn of(&mut self, generation: u64) {
        if self.generation != generation {
            (self.generation, self.places) = (generation, Vec::new());
        }
    }
}

/// A client waiting for its answer. If it disconnects first, that is counted.
pub(super) struct Waiting<'a> {
    pub(super) compute: &'a Compute,
    pub(super) balancer: &'a str,
    pub(super) is_over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.compute.count_own(self.balancer, CLIENT_GONE);
        }
    }
}

/// Returns the target's response, or `None` once the client has sent nothing for `patience`.
pub(super) async fn within_patience<T>(
    answer: impl Future<Output = T>,
    relay: &Relay,
    patience: Duration,
) -> Option<T> {
    tokio::pin!(answer);
    loop {
        let end = relay.last_active() + patience;
        tokio::select! {
            outcome = answer.as_mut() => return Some(outcome),
            () = sleep_until(end) => {
                if relay.last_active() + patience <= Instant::now() {
                    return None;
                }
            }
        }
    }
}

pub(super) fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    let timed_out = |error: &std::io::Error| error.kind() == std::io::ErrorKind::TimedOut;
    error.downcast_ref().is_some_and(timed_out) || error.source().is_some_and(is_timeout)
}
