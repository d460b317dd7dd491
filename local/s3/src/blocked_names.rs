//! Names of deleted buckets, which AWS does not make available again at once (docs/aws.md §4.1).

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use kit::answer::Refusal;
use kit::speed::Speed;

/// How long a name stays blocked, in seconds: the short end of AWS's range of minutes.
const BLOCKED_S: u64 = 120;
/// The minimum at any speed, so that no client can rely on the name being free.
const LEAST: Duration = Duration::from_millis(300);

/// The names that are not free yet. A restart frees them all.
#[derive(Debug)]
pub(super) struct BlockedNames {
    time: Duration,
    until: Mutex<BTreeMap<String, Instant>>,
}

impl BlockedNames {
    pub(super) fn at(speed: Speed) -> BlockedNames {
        BlockedNames { time: speed.takes(BLOCKED_S).max(LEAST), until: Mutex::default() }
    }

    /// Blocks the name of a deleted bucket.
    pub(super) fn block(&self, bucket: &str) {
        let mut until = self.until.lock();
        until.insert(bucket.to_owned(), Instant::now() + self.time);
    }

    /// Refuses a name that is still blocked.
    pub(super) fn refuse(&self, bucket: &str) -> Result<(), Refusal> {
        let mut until = self.until.lock();
        let now = Instant::now();
        until.retain(|_, end| *end > now);
        if !until.contains_key(bucket) {
            return Ok(());
        }
        let text =
            "A conflicting conditional operation is currently in progress against this resource. Please try again.";
        Err(Refusal::new(409, "OperationAborted", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_name_is_free_again_after_a_while() {
        for (speed, time) in [(Speed::REAL, Duration::from_secs(BLOCKED_S)), (Speed::FAST, LEAST)] {
            let blocked_names = BlockedNames::at(speed);
            assert!(blocked_names.refuse("images").is_ok());
            blocked_names.block("images");
            assert_eq!(blocked_names.refuse("images").unwrap_err().code, "OperationAborted");
            assert!(blocked_names.refuse("other").is_ok());
            tokio::time::advance(time).await;
            assert!(blocked_names.refuse("images").is_ok());
        }
    }
}
