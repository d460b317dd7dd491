//! Acquires the lease for a command that changes something, waits for it, or reports its holder.

use std::time::Duration;

use anyhow::anyhow;

use super::{Session, interrupted, observer, watched};
use crate::{
    cloud::{
        aws::Aws,
        lease::{Lease, LeaseAttempt, LeaseStore, Rival},
    },
    engine::{Applied, Outcome, Plan, Stack},
    machine::signals,
    output::{
        exit::{Exit, Failure},
        report::{self, Board, Count},
    },
    page::names::StackNames,
};

/// How often to check whether the holder has finished.
const AGAIN: Duration = Duration::from_secs(1);

/// The result of waiting for the lease.
pub enum Acquisition {
    /// The lease was free.
    AtOnce(Lease),
    /// Another run held it: the state read before is out of date.
    AfterWait(Lease),
    /// The stack's bucket is absent, or has been removed meanwhile.
    NoBucket,
}

impl Session {
    /// Acquires the lease of the stack; with `--wait`, waits until it is free.
    ///
    /// Errors: another run holds the lease; the message names it.
    pub async fn acquire_lease(&self, command: &str, may_wait: bool) -> Result<Acquisition, Failure> {
        let (place, stop) = (self.lease_store(), signals::watch());
        let mut waited = false;
        loop {
            let rival =
                match Lease::take(&place, command).await.map_err(|fault| self.failed("take the lease", fault))? {
                    LeaseAttempt::Taken(lease) if waited => return Ok(Acquisition::AfterWait(lease)),
                    LeaseAttempt::Taken(lease) => return Ok(Acquisition::AtOnce(lease)),
                    LeaseAttempt::NoBucket => return Ok(Acquisition::NoBucket),
                    LeaseAttempt::Held(rival) if !may_wait => return Err(busy(&rival)),
                    LeaseAttempt::Held(rival) => rival,
                };
            if !waited {
                report::say(format!("waiting for {} to finish", rival.who));
                waited = true;
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => (),
                () = stop.cancelled() => return Err(interrupted()),
            }
        }
    }

    /// Releases the lease. If that fails, it expires.
    pub async fn release_lease(&self, lease: Option<Lease>) {
        let Some(lease) = lease else { return };
        if let Err(fault) = lease.release().await {
            report::say(format!("the lease of this run could not be released and will expire: {fault}"));
        }
    }

    /// Applies a plan under the lease, and releases the lease.
    ///
    /// Errors: the lease was lost meanwhile.
    pub async fn apply_under_lease(
        &self,
        stack: &Stack<Aws>,
        plan: Plan,
        lease: Lease,
    ) -> Result<Vec<Outcome>, Failure> {
        let applied = watched(Board::new(Count::of(plan.work(), 0)), Some(&lease), async |pace, board| {
            stack.apply(&self.aws, plan, &pace, &observer(&board)).await
        });
        let Applied { outcomes, span, .. } = applied.await;
        self.note(span);
        self.summary().note(&outcomes);
        if lease.lost().is_cancelled() {
            return Err(overtaken());
        }
        self.release_lease(Some(lease)).await;
        Ok(outcomes)
    }

    /// Removes the lease of a run that died after its last change.
    pub async fn sweep(&self) {
        if let Err(fault) = Lease::sweep(&self.lease_store()).await {
            report::say(format!("the lease of a run that died could not be removed: {fault}"));
        }
    }

    fn lease_store(&self) -> LeaseStore {
        let bucket = StackNames::of(&self.config, &self.site).artifacts();
        LeaseStore::of(&self.aws, &bucket, &self.site.account, self.lease_term)
    }
}

fn busy(rival: &Rival) -> Failure {
    let Rival { who, lasts } = rival;
    let ends = match lasts {
        Some(lasts) => format!("in {} s unless renewed", lasts.as_secs().max(1)),
        None => "soon".into(),
    };
    Failure::new(Exit::Busy, anyhow!("{who} is changing this stack")).hint(format!(
        "wait for it with --wait, or try again later; its lease ends {ends}, so a dead run does not block others"
    ))
}

/// This run could not renew its lease for a whole term, so another run may have taken the stack over.
pub fn overtaken() -> Failure {
    Failure::new(
        Exit::Busy,
        anyhow!("this run has lost its lease: it could not be renewed in time, and another run may have taken the stack over"),
    )
    .hint("the same command continues, once no other run is in progress")
}
