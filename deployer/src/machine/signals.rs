//! Ctrl-C and SIGTERM: the first finishes the calls in flight, the second leaves at once.

use std::sync::OnceLock;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::output::{exit::Exit, report};

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

/// Returns at the first Ctrl-C or SIGTERM: for what ends in its own way.
pub async fn stop_requested() {
    match Signals::listen() {
        Ok(mut signals) => signals.next().await,
        Err(_) => std::future::pending().await,
    }
}

/// A token that the first signal cancels, the same for all parts of a command. The second signal ends the process:
/// every state between two calls is one from which the next run continues.
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
    report::say("stopping after the calls in flight; once more leaves at once");
    signals.next().await;
    std::process::exit(Exit::Interrupted as i32);
}
