//! Polling for conditions that become true eventually.

use std::time::{Duration, Instant};

/// When a test gives up: late, so that a slow machine does not cause a failure.
pub const PATIENCE: Duration = Duration::from_secs(300);
const INTERVAL: Duration = Duration::from_millis(20);

/// Polls until there is an answer, and returns it.
pub async fn eventually<T>(what: &str, poll: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_or_show(what, poll, async || String::new()).await
}

/// Polls until the condition is true.
pub async fn until(what: &str, poll: impl AsyncFnMut() -> bool) {
    until_or_show(what, poll, async || String::new()).await;
}

/// Like [`until`]. The message of a failure includes the state.
pub async fn until_or_show(what: &str, mut poll: impl AsyncFnMut() -> bool, show: impl AsyncFnOnce() -> String) {
    eventually_or_show(what, async || poll().await.then_some(()), show).await;
}

/// Like [`eventually()`]. The message of a failure includes the state.
pub async fn eventually_or_show<T>(
    what: &str,
    mut poll: impl AsyncFnMut() -> Option<T>,
    show: impl AsyncFnOnce() -> String,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = poll().await {
            return answer;
        }
        if begun.elapsed() > PATIENCE {
            panic!("still waiting for {what} {}", show().await);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
