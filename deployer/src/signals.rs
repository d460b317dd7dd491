//! Ctrl-C and SIGTERM: the first finishes the calls in flight, the second leaves at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{exit::Exit, report};

/// Returns at the first Ctrl-C or SIGTERM.
pub async fn stop_requested() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
    }
}

/// A token that the first signal cancels. The second ends the process: every state between two calls is one
/// from which the next run continues.
pub fn watch() -> CancellationToken {
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        stop_requested().await;
        cancelled.cancel();
        report::say("stopping after the calls in flight; once more leaves at once");
        stop_requested().await;
        std::process::exit(Exit::Interrupted as i32);
    });
    stop
}
