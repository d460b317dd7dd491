//! The delivery of events, which are retried.

use std::sync::Arc;
use std::time::Duration;

use kit::speed::Speed;

use super::Functions;
use super::destination::{Condition, End};
use super::events::Event;
use super::function::Function;
use super::measures::Measure;

/// The delay before the first retry of an event on AWS, in seconds. Each further delay is twice as long.
const RETRY_S: u64 = 60;
/// The minimum delay here, which gives a retry a chance if something did not exist yet.
const LEAST_RETRY: Duration = Duration::from_secs(1);
/// The longest delay on AWS before the next attempt at a throttled event, in seconds. The first is 1 s, and each further
/// one twice as long.
const LONGEST_THROTTLED_S: u64 = 5 * 60;
/// The minimum delay here.
const LEAST_THROTTLED: Duration = Duration::from_millis(50);

/// The default maximum age of an event (docs/aws.md §7.5).
const OLDEST_EVENT: Duration = Duration::from_secs(6 * 3600);

impl Functions {
    /// Returns when the event has succeeded or has failed for good: after too many failures, when too old, or when the
    /// function no longer exists.
    pub(super) async fn deliver(self: &Arc<Self>, event: &Event) {
        tokio::time::sleep(event.wait()).await;
        let (mut failures, mut throttles) = (0, 0);
        // The function may have changed since the last attempt.
        while let Some(function) = self.registry.answering(&event.function) {
            let on_event = function.on_event.as_ref();
            let retries = on_event.and_then(|on_event| on_event.retries).unwrap_or(2);
            let oldest = on_event.and_then(|on_event| on_event.age_s).map_or(OLDEST_EVENT, Duration::from_secs);
            let pool = self.pool(&function);
            let end = |condition, outcome| End { event, attempts: failures, condition, outcome };
            // It would never run: Lambda gives it up at once if there is a destination.
            if function.reserved == Some(0) && function.on_failure().is_some() {
                return self.give_up(&function, end(Condition::NoConcurrency, None)).await;
            }
            let left = oldest.saturating_sub(event.age());
            if left.is_zero() {
                tracing::warn!(function = function.name, "an event was dropped: it has waited for too long");
                return self.give_up(&function, end(Condition::TooOld, None)).await;
            }
            let Ok(place) = pool.places.try_acquire() else {
                self.measure(&function, Measure::Throttles);
                tokio::time::sleep(throttled_pause(throttles, self.registry.speed()).min(left)).await;
                throttles += 1;
                continue;
            };
            throttles = 0;
            let age_ms = event.age().as_secs_f64() * 1000.0;
            Measure::AsyncEventAge.add(&self.site.metrics, &function.name, age_ms, self.registry.speed());
            let outcome = self.run(&pool, &function, event.payload.clone(), None).await;
            // Others may run while this one waits for its next attempt.
            drop(place);
            if !outcome.failed {
                return;
            }
            let error = String::from_utf8_lossy(&outcome.payload);
            tracing::warn!(function = function.name, failures, retries, %error, "an event failed");
            let Some(pause) = pause_after(failures, retries, self.registry.speed()) else {
                let end = End { event, attempts: failures + 1, condition: Condition::Retried, outcome: Some(&outcome) };
                return self.give_up(&function, end).await;
            };
            tokio::time::sleep(pause).await;
            failures += 1;
        }
    }

    /// Drops an event, which is recorded in the function's destination, if it has one.
    async fn give_up(&self, function: &Function, end: End<'_>) {
        self.measure(function, Measure::AsyncEventsDropped);
        if !self.site.record(function, end).await {
            self.measure(function, Measure::DestinationDeliveryFailures);
        }
    }
}

/// Returns the pause before the next attempt at an event that failed once more after `failures` failures; `None` if
/// there is none. The number of retries may have been lowered below that of the failures.
fn pause_after(failures: u64, retries: u64, speed: Speed) -> Option<Duration> {
    (failures < retries).then(|| speed.takes(RETRY_S).max(LEAST_RETRY) * 2_u32.pow(failures as u32))
}

/// Returns the pause before the next attempt at an event that has been throttled once more after `throttles` times.
fn throttled_pause(throttles: u32, speed: Speed) -> Duration {
    let seconds = 2_u64.saturating_pow(throttles).min(LONGEST_THROTTLED_S);
    speed.takes(seconds).max(LEAST_THROTTLED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_given_up_after_its_retries_even_if_they_were_lowered_meanwhile() {
        let pause = |failures, retries| pause_after(failures, retries, Speed::REAL).map(|pause| pause.as_secs());
        for (failures, retries, expected) in
            [(0, 2, Some(60)), (1, 2, Some(120)), (2, 2, None), (0, 0, None), (1, 0, None), (2, 1, None)]
        {
            assert_eq!(pause(failures, retries), expected, "{failures} {retries}");
        }
    }

    #[test]
    fn a_throttled_event_is_tried_again_after_a_pause_that_doubles_up_to_five_minutes() {
        for (throttles, expected) in [(0, 1), (1, 2), (8, 256), (9, 300), (63, 300), (64, 300), (u32::MAX, 300)] {
            assert_eq!(throttled_pause(throttles, Speed::REAL).as_secs(), expected, "{throttles}");
        }
        assert_eq!(throttled_pause(0, Speed::FAST), LEAST_THROTTLED);
    }
}
