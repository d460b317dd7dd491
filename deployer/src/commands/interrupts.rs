//! Work that a signal or a lost lease stops.

use std::future::Future;

use anyhow::anyhow;

use crate::{
    cloud::lease::Lease,
    engine::{Event, Pace},
    machine::signals,
    output::{
        exit::{Exit, Failure},
        report::Board,
    },
};

/// Handles signals and draws progress while `work` runs.
///
/// A lost lease stops the work like a signal.
pub(super) async fn watched<F>(board: Board, lease: Option<&Lease>, work: impl FnOnce(Pace, Board) -> F) -> F::Output
where
    F: Future,
{
    let pace = Pace { stop: signals::watch().child_token(), ..Pace::default() };
    let stop = pace.stop.clone();
    let lost = async {
        match lease {
            Some(lease) => lease.lost().cancelled().await,
            None => std::future::pending().await,
        }
        stop.cancel();
        std::future::pending().await
    };
    let output = tokio::select! {
        output = work(pace, board.clone()) => output,
        never = lost => never,
    };
    board.close();
    output
}

/// Reads or prompts until the user interrupts. Reading can be abandoned anywhere.
pub(super) async fn unless_stopped<T>(look: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let stop = signals::watch();
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(interrupted()),
        looked = look => looked,
    }
}

/// The error for an interruption when nothing was in progress.
pub(super) fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, anyhow!("interrupted"))
}

pub(super) fn observer(board: &Board) -> impl Fn(Event) + Send + Sync + use<> {
    let board = board.clone();
    move |event: Event| board.show(event)
}
