//! Waits for healthy services, and explains those that are not.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Session, watched};
use crate::{
    cloud::{
        health::{self, Health},
        why::{self, Judgement},
    },
    engine::{self, Fault, Outcome, Outputs, Pace, Progress},
    output::report::{self, Board, Count},
    page::Front,
};

/// Most healthy services are healthy by now; before, the reports of instances are not read.
const QUICK: Duration = Duration::from_secs(10);
/// The tolerance for clock skew when older reports are ignored.
const CLOCKS_DIFFER_S: i64 = 60;
/// The time after which a service that is not healthy has a reason worth reporting.
const USUAL: Duration = Duration::from_secs(180);

/// A service, and its existing resources.
pub struct Awaited<'a> {
    /// The service.
    pub front: &'a Front,
    /// The name of its Auto Scaling group.
    pub group: String,
    /// The ARN of its target group; `None` without a load balancer.
    pub targets: Option<String>,
}

impl Awaited<'_> {
    /// A service whose resources exist.
    pub fn of<'a>(front: &'a Front, outputs: &Outputs) -> Option<Awaited<'a>> {
        let group = outputs.get(front.group)?;
        let targets = match front.target_group {
            Some(targets) => Some(outputs.get(targets)?.arn),
            None => None,
        };
        Some(Awaited { front, group: group.name, targets })
    }

    async fn look(&self, session: &Session) -> Result<Health, Fault> {
        let (aws, names) = (&session.aws, &self.front.names);
        match (&self.targets, &names.address) {
            (None, Some(address)) => health::look_at(aws, names, address).await,
            (targets, _) => health::look(aws, targets.as_deref().unwrap_or_default(), &self.group).await,
        }
    }
}

/// Waits until all of these services are healthy. Returns those that are not.
pub async fn await_all(session: &Session, services: &[Awaited<'_>], limit: Duration) -> Vec<Outcome> {
    let count = Count { done: 0, all: services.len(), what: "healthy" };
    let board = Board::following(count, session.schedule.lock().clone());
    let waited = watched(board, None, async |pace, board| {
        let mut waited = Vec::new();
        for service in services {
            waited.extend(await_healthy(session, service, limit, &pace, &board).await);
        }
        waited
    });
    waited.await
}

/// Waits until enough targets of a service are healthy according to AWS, and reports what it waits for. For the usual
/// limit see docs/aws.md §0.2 (`ASG_CAPACITY`).
async fn await_healthy(
    session: &Session,
    service: &Awaited<'_>,
    limit: Duration,
    pace: &Pace,
    board: &Board,
) -> Option<Outcome> {
    let front = service.front;
    let name = front.address().to_string();
    let begun = tokio::time::Instant::now();
    let (mut explained, mut failed_launch) = (false, None);
    let since_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64) - CLOCKS_DIFFER_S;
    board.show_row(name.clone(), Progress::Began("waiting for healthy targets"));
    let mut rest = pace.shortest;
    loop {
        let looked = tokio::select! {
            looked = engine::look(|| service.look(session)) => looked,
            () = pace.stop.cancelled() => return Some(front.interrupted()),
        };
        let error = match looked {
            Ok(health) if health.is_up() => {
                board.show_row(name, Progress::Done);
                return None;
            }
            Ok(health) => {
                board.show_row(name.clone(), Progress::Waiting(health.waiting_for()));
                failed_launch.clone_from(&health.failed_launch);
                let ends = match begun.elapsed() > QUICK {
                    true => why::certain_ends(&session.aws, &front.names.reports, since_s).await,
                    false => Ok(Vec::new()),
                };
                // Without permission to read the reports, wait for the whole time limit.
                let mut ends = ends.unwrap_or_default().into_iter();
                let end = ends.find(|(id, _)| health.is_ill(id)).map(|(_, end)| health::hopeless(&front.name, &end));
                health.failure.or(end)
            }
            Err(fault) => Some(fault),
        };
        if !explained && begun.elapsed() > USUAL {
            explained = true;
            explain(session, front).await;
        }
        let too_late = || health::never_healthy(&front.name, limit, failed_launch.as_deref());
        if let Some(fault) = error.or_else(|| (begun.elapsed() > limit).then(too_late)) {
            board.show_row(name, Progress::Failed);
            explain(session, front).await;
            return Some(front.failed(fault));
        }
        tokio::select! {
            () = tokio::time::sleep(rest) => rest = rest.mul_f64(1.5).min(pace.longest),
            () = pace.stop.cancelled() => return Some(front.interrupted()),
        }
    }
}

/// Prints the evidence about a service that is not healthy, and remembers the cause for the end of the command. A release that
/// was given up has been judged already: its instances are leaving.
pub async fn explain(session: &Session, front: &Front) {
    let judgement = match session.aws.roll_outs.judgement(&front.names.group) {
        Some(judgement) => judgement,
        None => {
            let evidence = why::collect(&session.aws, &front.names).await;
            Judgement { verdict: why::verdict(&evidence), summary: evidence.summary() }
        }
    };
    let Judgement { verdict, summary } = judgement;
    summary.iter().for_each(|line| report::say(format!("  {line}")));
    match verdict {
        Some(verdict) => {
            report::say(format!("  {}: {}", front.name, verdict.words));
            session.remember_cause(&front.name, verdict);
        }
        None if summary.is_empty() => report::say("  AWS reports neither a failed launch nor an unhealthy instance"),
        None => (),
    }
}
