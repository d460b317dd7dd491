//! `up`: create what is missing, change what differs, remove what is no longer described.

use std::time::{Duration, Instant};

use super::{Session, Wake, observer, watched};
use crate::{
    cli::{Global, Up},
    engine::{Applied, Outcome, Outputs, Pace, Plan, Progress},
    exit::{Exit, Failure},
    health,
    report::{self, Board},
    stack::{Front, Page},
};

/// A plan older than this is looked at again before it is carried out.
const FRESH: Duration = Duration::from_secs(60);
/// A service that is not healthy by now has a reason, and the user wants to know it.
const USUAL: Duration = Duration::from_secs(180);
/// When to stop waiting for a service (aws-facts §0.2, `ASG_CAPACITY`).
const LIMIT: Duration = Duration::from_secs(600);

pub async fn run(global: &Global, args: &Up) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let session = Session::open(global, Wake::Start).await?.expect("`up` starts what is not running");
    let (page, mut plan) = session.plan(&args.targets).await?;
    let planned = Instant::now();
    if !report::plan(&plan) {
        report::say(format!("nothing to do: all {} resources are as wanted", plan.lines.len()));
    } else if !args.yes && !report::confirm("Go ahead?")? {
        report::say("nothing was changed");
        return Ok(Exit::Done);
    }
    if planned.elapsed() > FRESH {
        plan.forget();
    }
    let chosen = session.chosen(&page, &args.targets)?;
    let fronts: Vec<&Front> =
        page.services.iter().filter(|front| chosen.as_ref().is_none_or(|chosen| front.is_among(chosen))).collect();
    let (outcomes, outputs) = carry_out(&session, &page, plan, &fronts, args.no_wait).await;
    let exit = session.conclude(outcomes);
    session.tally(global);
    if exit == Exit::Done {
        super::outputs::show(&page, &outputs);
        fronts.iter().filter_map(|front| front.url(&outputs)).for_each(|url| report::say(format!("→ {url}")));
        report::say(format!("up in {}", report::seconds(begun.elapsed())));
    }
    Ok(exit)
}

async fn carry_out(
    session: &Session,
    page: &Page,
    plan: Plan,
    fronts: &[&Front],
    no_wait: bool,
) -> (Vec<Outcome>, Outputs) {
    let work = plan.work();
    watched(work, async |pace, board| {
        let Applied { mut outcomes, outputs } = page.stack.apply(&session.aws, plan, &pace, &observer(&board)).await;
        if !no_wait && outcomes.iter().all(Outcome::is_done) {
            for front in fronts {
                outcomes.extend(await_healthy(session, front, &outputs, &pace, &board).await);
            }
        }
        (outcomes, outputs)
    })
    .await
}

/// Waits until enough targets of a service are healthy, as AWS reports it, and says what it waits for.
async fn await_healthy(
    session: &Session,
    front: &Front,
    outputs: &Outputs,
    pace: &Pace,
    board: &Board,
) -> Option<Outcome> {
    let (group, targets) = (outputs.get(front.group)?, outputs.get(front.target_group)?);
    let name = format!("service.{}", front.name);
    let begun = tokio::time::Instant::now();
    let mut explained = false;
    board.show_row(name.clone(), Progress::Began("waiting for healthy targets"));
    let mut rest = pace.shortest;
    loop {
        let error = match health::look(&session.aws, &targets.arn, &group.name).await {
            Ok(health) if health.is_up() => {
                board.show_row(name, Progress::Done);
                return None;
            }
            Ok(health) => {
                board.show_row(name.clone(), Progress::Waiting(health.waiting_for()));
                health.failure.clone()
            }
            Err(fault) => Some(fault),
        };
        if !explained && begun.elapsed() > USUAL {
            explained = true;
            explain(session, &targets.arn, &group.name).await;
        }
        let error = error.or_else(|| (begun.elapsed() > LIMIT).then(|| health::never_healthy(&front.name, LIMIT)));
        if let Some(fault) = error {
            board.show_row(name, Progress::Failed);
            explain(session, &targets.arn, &group.name).await;
            return Some(front.failed(fault));
        }
        tokio::select! {
            () = tokio::time::sleep(rest) => rest = rest.mul_f64(1.5).min(pace.longest),
            () = pace.stop.cancelled() => return Some(front.interrupted()),
        }
    }
}

async fn explain(session: &Session, target_group: &str, group: &str) {
    match health::reasons(&session.aws, target_group, group).await {
        Ok(reasons) => reasons.iter().for_each(|reason| report::say(format!("  {reason}"))),
        Err(fault) => report::say(format!("  the reason cannot be asked for: {fault}")),
    }
}
