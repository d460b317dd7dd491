//! Waiting that has an end.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

/// How often is looked.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks until there is something; `Err(how)` is how things stand until then, and said when it takes too long.
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
