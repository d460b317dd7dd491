//! Health checks: polls each target at its group's interval, and derives its health from the responses.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Compute;
use super::elb::{Reachability, TargetStatus, checked_at};
use super::state::{Health, HealthCheck};

/// The shortest interval between checks at any speed, except for new targets.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(250);

/// The shortest interval for a new target. It is checked more often until its first success, since that decides when a
/// stack is up.
const SHORTEST_FIRST: Duration = Duration::from_millis(20);

/// A health check to run.
struct Question {
    check: HealthCheck,
    place: Reachability,
    health: Health,
}

/// The counts that decide when a target's health changes.
#[derive(Default)]
struct Streak {
    passes: u32,
    fails: u32,
    /// When the last failure was counted. The frequent checks of a new target count at most once per interval.
    counted: Option<Instant>,
}

/// Checks a target until it is deregistered.
pub async fn watch(compute: Arc<Compute>, group: String, target: String, stop: CancellationToken) {
    let mut streak = Streak::default();
    loop {
        let Some(pause) = step(&compute, &group, &target, &mut streak).await else {
            return;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(pause) => (),
        }
    }
}

/// Runs one check and returns the pause after it, or `None` if the target has been removed.
async fn step(compute: &Compute, group: &str, target: &str, streak: &mut Streak) -> Option<Duration> {
    let question = match question(compute, group, target)? {
        Some(question) => question,
        None => return Some(SHORTEST_INTERVAL.min(compute.site.speed.lasts(1))),
    };
    let interval = compute.site.speed.lasts(question.check.interval_s).max(SHORTEST_INTERVAL);
    let first = compute.site.speed.takes(question.check.interval_s).max(SHORTEST_FIRST);
    let verdict = match &question.place {
        Reachability::At(address) => ask(&question.check, address.to_string()).await,
        Reachability::Blocked => Err(timed_out()),
        Reachability::Closed => Err(failed()),
    };
    if let Some(health) = streak.judge(&question, verdict, interval) {
        compute.change(|state, _| {
            let targets = state.target_groups.get_mut(group).map(|group| &mut group.targets);
            if let Some(target) = targets.and_then(|targets| targets.get_mut(target)) {
                target.health = health;
            }
        });
        compute.wake.notify_one();
        return Some(interval);
    }
    Some(if question.health == Health::Initial { first } else { interval })
}

/// Returns the next check. `Some(None)` means not now; `None` means never again.
fn question(compute: &Compute, group: &str, target: &str) -> Option<Option<Question>> {
    compute.read(|state| {
        let group = state.target_groups.get(group)?;
        let target = group.targets.get(target)?;
        let status = TargetStatus::of(state, &compute.site, group, target);
        let asked = matches!(status, TargetStatus::Healthy | TargetStatus::Unhealthy { .. } | TargetStatus::Checking);
        let place = checked_at(state, group, target).filter(|_| asked);
        Some(place.map(|place| Question { check: group.check.clone(), place, health: target.health.clone() }))
    })
}

impl Streak {
    /// Returns the new health, if this verdict changes it. A new target is healthy after a single success.
    fn judge(&mut self, question: &Question, verdict: Result<(), Health>, interval: Duration) -> Option<Health> {
        match verdict {
            Ok(()) => {
                (self.passes, self.fails, self.counted) = (self.passes + 1, 0, None);
                let enough = question.health == Health::Initial || self.passes >= question.check.healthy;
                (enough && question.health != Health::Healthy).then_some(Health::Healthy)
            }
            Err(unhealthy) => {
                self.passes = 0;
                if self.counted.is_some_and(|counted| counted.elapsed() < interval) {
                    return None;
                }
                (self.fails, self.counted) = (self.fails + 1, Some(Instant::now()));
                (self.fails >= question.check.unhealthy && question.health != unhealthy).then_some(unhealthy)
            }
        }
    }
}

fn failed() -> Health {
    unhealthy("Target.FailedHealthChecks", "Health checks failed")
}

fn timed_out() -> Health {
    unhealthy("Target.Timeout", "Request timed out")
}

fn unhealthy(reason: &str, description: &str) -> Health {
    Health::Unhealthy { reason: reason.to_owned(), description: description.to_owned() }
}

async fn ask(check: &HealthCheck, address: String) -> Result<(), Health> {
    match timeout(Duration::from_secs(check.timeout_s), status(check, address)).await {
        Err(_) => Err(timed_out()),
        Ok(None) => Err(failed()),
        Ok(Some(status)) if check.accepts(status) => Ok(()),
        Ok(Some(status)) => {
            let description = format!("Health checks failed with these codes: [{status}]");
            Err(unhealthy("Target.ResponseCodeMismatch", &description))
        }
    }
}

/// Returns the status of a target's response, on a separate connection.
async fn status(check: &HealthCheck, address: String) -> Option<u16> {
    let stream = TcpStream::connect(&address).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let request = Request::get(check.path.as_str())
        .header(header::HOST, &address)
        .header(header::USER_AGENT, "ELB-HealthChecker/2.0")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .ok()?;
    let answer = sender.send_request(request);
    tokio::pin!(answer);
    let answer = tokio::select! {
        answer = answer.as_mut() => answer,
        // The connection may end at the same moment as it delivers the response.
        _ = connection => answer.await,
    };
    Some(answer.ok()?.status().as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(health: Health) -> Question {
        let check = HealthCheck { healthy: 3, unhealthy: 2, ..HealthCheck::default() };
        Question { check, place: Reachability::Closed, health }
    }

    #[test]
    fn a_target_changes_sides_after_enough_answers_of_a_kind() {
        let mut streak = Streak::default();
        let mut judge = |health: Health, verdict| streak.judge(&asked(health), verdict, Duration::ZERO);
        assert_eq!(judge(Health::Initial, Err(failed())), None);
        assert_eq!(judge(Health::Initial, Ok(())), Some(Health::Healthy));
        assert_eq!(judge(Health::Healthy, Ok(())), None);
        assert_eq!(judge(Health::Healthy, Err(failed())), None);
        assert_eq!(judge(Health::Healthy, Err(failed())), Some(failed()));
        assert_eq!(judge(failed(), Err(timed_out())), Some(timed_out()));
        assert_eq!(judge(timed_out(), Ok(())), None);
        assert_eq!(judge(timed_out(), Ok(())), None);
        assert_eq!(judge(timed_out(), Ok(())), Some(Health::Healthy));
    }

    #[test]
    fn early_health_checks_of_a_new_target_count_once_an_interval() {
        let mut streak = Streak::default();
        let mut judge = || streak.judge(&asked(Health::Initial), Err(failed()), Duration::from_secs(3600));
        assert!((0..100).all(|_| judge().is_none()));
    }
}
