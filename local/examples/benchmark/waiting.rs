//! Waiting with a timeout.
//!
//! `testkit::eventually` is for tests: it panics, and a release build aborts then, without removing its directories.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

/// The interval between attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Calls `look` until it returns `Ok`. `Err` describes the current state, which the error includes after a timeout.
pub async fn until<T>(what: &str, within: Duration, look: impl AsyncFn() -> Result<Result<T, String>>) -> Result<T> {
    let end = Instant::now() + within;
    loop {
        match look().await? {
            Ok(found) => return Ok(found),
            Err(how) if Instant::now() >= end => bail!("{what} takes longer than {} s: {how}", within.as_secs()),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
