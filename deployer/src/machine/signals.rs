//! Ctrl-C and SIGTERM: the first finishes the calls in flight, the second exits at once.

use std::sync::OnceLock;

use tokio_util::sync::CancellationToken;

use super::platform::Signals;
use crate::output::{exit::Exit, report};

/// Returns at the first Ctrl-C or SIGTERM, for commands with a shutdown of their own.
pub async fn stop_requested() {
    match Signals::listen() {
        Ok(mut signals) => signals.next().await,
        Err(_) => std::future::pending().await,
    }
}

/// Returns a token that the first signal cancels, shared by all parts of a command. The second signal exits: the next
/// run can continue from every state between two calls.
pub fn watch() -> CancellationToken {
    static STOP: OnceLock<CancellationToken> = OnceLock::new();
    STOP.get_or_init(|| {
        let stop = CancellationToken::new();
        if let Ok(signals) = Signals::listen() {
            tokio::spawn(heed(signals, stop.clone()));
        }
        stop
    })
    .clone()
}

async fn heed(mut signals: Signals, stop: CancellationToken) {
    signals.next().await;
    stop.cancel();
    report::say("stopping after the calls in flight; press again to exit at once");
    signals.next().await;
    std::process::exit(Exit::Interrupted as i32);
}
