//! Ctrl-C and SIGTERM: the first finishes the calls in flight, the second leaves at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{exit::Exit, report};

/// Ctrl-C and SIGTERM, from now on.
struct Signals(Signal, Signal);

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals(signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => (),
            _ = self.1.recv() => (),
        }
    }
}

/// Returns at the first Ctrl-C or SIGTERM.
pub async fn stop_requested() {
    match Signals::listen() {
        Ok(mut signals) => signals.next().await,
        Err(_) => std::future::pending().await,
    }
}

/// A token that the first signal cancels. The second ends the process: every state between two calls is one
/// from which the next run continues.
pub fn watch() -> CancellationToken {
    let stop = CancellationToken::new();
    let Ok(mut signals) = Signals::listen() else { return stop };
    let cancelled = stop.clone();
    tokio::spawn(async move {
        signals.next().await;
        cancelled.cancel();
        report::say("stopping after the calls in flight; once more leaves at once");
        signals.next().await;
        std::process::exit(Exit::Interrupted as i32);
    });
    stop
}
