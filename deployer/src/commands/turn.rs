//! Whose turn it is: a command that changes something has a lease for it, waits for one, or says who holds it.

use std::{pin::pin, time::Duration};

use anyhow::anyhow;

use super::Session;
use crate::{
    exit::{Exit, Failure},
    lease::{Answer, Lease},
    names::Names,
    report, signals,
};

/// How often is asked whether the holder has finished.
const AGAIN: Duration = Duration::from_secs(1);

/// What came of asking for a turn.
pub enum Turn {
    /// Nobody else was at work.
    Ours(Lease),
    /// Somebody was: what was seen before is out of date.
    AfterOthers(Lease),
    /// The stack's bucket is not there, or not any more.
    NoBucket,
}

impl Session {
    /// Takes the lease of the stack, or, if it may wait, waits until it can be taken.
    ///
    /// Errors: naming the holder.
    pub async fn take_turn(&self, command: &str, may_wait: bool) -> Result<Turn, Failure> {
        let mut stop = pin!(signals::stop_requested());
        let mut waited = false;
        loop {
            let holder = match Lease::take(&self.aws, &self.artifacts(), &self.site.account, command).await? {
                Answer::Taken(lease) if waited => return Ok(Turn::AfterOthers(lease)),
                Answer::Taken(lease) => return Ok(Turn::Ours(lease)),
                Answer::NoBucket => return Ok(Turn::NoBucket),
                Answer::Held(holder) if !may_wait => return Err(busy(&holder)),
                Answer::Held(holder) => holder,
            };
            if !waited {
                report::say(format!("waiting for {holder} to finish with this stack"));
                waited = true;
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => (),
                () = &mut stop => return Err(Failure::new(Exit::Interrupted, anyhow!("interrupted"))),
            }
        }
    }

    /// Ends a turn. What cannot be given back ends by itself.
    pub async fn end_turn(&self, lease: Option<Lease>) {
        let Some(lease) = lease else { return };
        if let Err(fault) = lease.release().await {
            report::say(format!("the lease of this run could not be given back and ends in a minute: {fault}"));
        }
    }

    /// Removes the lease of a run that died after its last change.
    pub async fn sweep(&self) {
        if let Err(fault) = Lease::sweep(&self.aws, &self.artifacts(), &self.site.account).await {
            report::say(format!("the lease of a run that died could not be removed: {fault}"));
        }
    }

    fn artifacts(&self) -> String {
        Names::of(&self.config, &self.site).artifacts()
    }
}

fn busy(holder: &str) -> Failure {
    Failure::new(Exit::Busy, anyhow!("{holder} is changing this stack")).hint(
        "wait for it with --wait, or try again later; if it has died, its lease ends within a minute of its last sign \
         of life",
    )
}

/// Somebody has taken the stack over, because nothing was heard of this run for a minute.
pub fn overtaken() -> Failure {
    Failure::new(
        Exit::Busy,
        anyhow!("another run has taken this stack over: nothing was heard of this one for a minute"),
    )
    .hint("the same command continues when the other one has finished")
}
