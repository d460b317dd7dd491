//! Readiness: whether DynamoDB and S3 answer.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::http::error::Error;
use crate::storage::pictures::Pictures;
use crate::storage::rows::Rows;

/// How long a result is cached.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// The time limit of both checks.
const PATIENCE: Duration = Duration::from_secs(2);

/// The cached result.
#[derive(Default)]
pub(crate) struct Readiness {
    /// Held by the caller that checks on behalf of all others.
    last: Mutex<Option<(Instant, Option<&'static str>)>>,
}

impl Readiness {
    /// Fails with `NotReady`, which names the first of the two services that is unavailable.
    pub(crate) async fn check(&self, rows: &Rows, pictures: &Pictures) -> Result<(), Error> {
        self.known_or(async {
            let (rows, pictures) = tokio::join!(answers("DynamoDB", rows.reach()), answers("S3", pictures.reach()));
            rows.or(pictures)
        })
        .await
    }

    /// Returns the cached result, or the result of `ask` if it is too old.
    async fn known_or(&self, ask: impl Future<Output = Option<&'static str>>) -> Result<(), Error> {
        let mut last = self.last.lock().await;
        let known = last.filter(|(since, _)| since.elapsed() < GOOD_FOR).map(|(_, missing)| missing);
        let missing = match known {
            Some(missing) => missing,
            None => {
                let missing = ask.await;
                *last = Some((Instant::now(), missing));
                missing
            }
        };
        missing.map_or(Ok(()), |missing| Err(Error::NotReady(missing)))
    }
}

/// Returns the name if the check fails or takes too long.
async fn answers(name: &'static str, call: impl Future<Output = Result<(), Error>>) -> Option<&'static str> {
    let problem = match timeout(PATIENCE, call).await {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => error.why(),
        Err(late) => late.to_string(),
    };
    tracing::warn!(cause = problem, "{name} is unavailable");
    Some(name)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_and_its_end_are_seen_when_the_cached_state_expires() {
        let (readiness, asked) = (Readiness::default(), Cell::new(0));
        let missing_when = async |missing| {
            let asking = async {
                asked.set(asked.get() + 1);
                missing
            };
            match readiness.known_or(asking).await {
                Ok(()) => None,
                Err(Error::NotReady(name)) => Some(name),
                Err(other) => panic!("{other}"),
            }
        };
        let (mut known, mut times) = (None, 0);
        for now in [None, Some("S3"), Some("DynamoDB"), None] {
            if times > 0 {
                tokio::time::advance(GOOD_FOR - Duration::from_millis(1)).await;
                assert_eq!((missing_when(now).await, asked.get()), (known, times), "a recent result is reused");
                tokio::time::advance(Duration::from_millis(1)).await;
            }
            (known, times) = (now, times + 1);
            assert_eq!((missing_when(now).await, asked.get()), (known, times), "and refreshed when it is old");
        }
    }
}
