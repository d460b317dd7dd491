//! The propagation of changed notification configurations, which S3 applies only after some minutes (docs/aws.md
//! §4.6).

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::notification::Notification;
use kit::speed::Speed;

/// How long a change takes to come into effect, in seconds.
const CHANGE_S: u64 = 300;

/// The configurations before changes that are not in effect yet. A restart puts all changes into effect.
#[derive(Debug)]
pub(super) struct Propagation {
    time: Duration,
    /// By bucket, in the order of the changes.
    before: Mutex<BTreeMap<String, Vec<Before>>>,
}

/// The configuration before a change, and until when it remains in effect.
#[derive(Debug)]
struct Before {
    until: Instant,
    notifications: Vec<Notification>,
}

impl Propagation {
    pub(super) fn at(speed: Speed) -> Propagation {
        Propagation { time: speed.takes(CHANGE_S), before: Mutex::default() }
    }

    /// Records that a bucket's configuration changes from `before` to another.
    pub(super) fn changed(&self, bucket: &str, before: Vec<Notification>) {
        let now = Instant::now();
        let mut all = self.before();
        let changes = all.entry(bucket.to_owned()).or_default();
        changes.retain(|change| change.until > now);
        changes.push(Before { until: now + self.time, notifications: before });
    }

    /// The notifications in effect for a bucket whose latest configuration is `latest`: those before the first change
    /// that is not in effect yet.
    pub(super) fn in_force(&self, bucket: &str, latest: Vec<Notification>) -> Vec<Notification> {
        let now = Instant::now();
        let all = self.before();
        let mut changes = all.get(bucket).into_iter().flatten();
        changes.find(|change| change.until > now).map_or(latest, |change| change.notifications.clone())
    }

    /// Forgets a deleted bucket.
    pub(super) fn forget(&self, bucket: &str) {
        self.before().remove(bucket);
    }

    fn before(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Before>>> {
        self.before.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(function: &str) -> Vec<Notification> {
        let function = function.to_owned();
        vec![Notification { id: String::new(), function, events: Vec::new(), filter: None }]
    }

    #[tokio::test(start_paused = true)]
    async fn the_old_configuration_is_in_force_until_a_change_takes_effect() {
        for (speed, time) in [(Speed::REAL, Duration::from_secs(300)), (Speed::FAST, Duration::from_millis(600))] {
            let propagation = Propagation::at(speed);
            let moment = Duration::from_millis(1);
            let in_force = |latest: &str| propagation.in_force("images", to(latest));
            assert_eq!(in_force("a"), to("a"));
            propagation.changed("images", Vec::new());
            tokio::time::advance(time / 2).await;
            propagation.changed("images", to("a"));
            assert_eq!(in_force("b"), []);
            assert_eq!(propagation.in_force("other", to("c")), to("c"));
            tokio::time::advance(time / 2 + moment).await;
            assert_eq!(in_force("b"), to("a"));
            tokio::time::advance(time / 2).await;
            assert_eq!(in_force("b"), to("b"));
            propagation.changed("images", to("b"));
            assert_eq!(in_force("c"), to("b"));
            propagation.forget("images");
            assert_eq!(in_force("c"), to("c"));
        }
    }
}
