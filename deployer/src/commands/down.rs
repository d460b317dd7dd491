//! `down`: remove everything the stack owns.

use std::{collections::BTreeSet, time::Instant};

use super::{Session, Wake, observer, watched};
use crate::{
    cli::{Down, Global},
    engine::{Plan, Step},
    exit::{Exit, Failure},
    programs::Programs,
    report,
};

pub async fn run(global: &Global, args: &Down) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let Some(session) = Session::open(global, Wake::Only).await? else {
        report::say("nothing to do: there is no local AWS here");
        return Ok(Exit::Done);
    };
    let page = session.page_with_orphans(&Programs::none()).await?;
    let kept = session.chosen(&page, &args.keep)?.unwrap_or_default();
    let plan = page.stack.plan_removal(&session.aws, &kept).await.map_err(|error| session.located(error))?;
    if !report::plan(&plan) || goes(&plan) == 0 {
        report::say("nothing to do: nothing of this stack is there");
        session.tally(global);
        return Ok(Exit::Done);
    }
    if !args.yes
        && report::ask(&format!("Type {} to remove all this: ", session.config.name))? != session.config.name.as_str()
    {
        report::say("nothing was changed");
        return Ok(Exit::Done);
    }
    let outcomes =
        watched(goes(&plan), async |pace, board| page.stack.remove(&session.aws, plan, &pace, &observer(&board)).await)
            .await;
    let mut exit = session.conclude(outcomes);
    if exit == Exit::Done {
        exit = read_back(&session, &kept).await?;
        report::say(format!("down in {}", report::seconds(begun.elapsed())));
    }
    session.tally(global);
    Ok(exit)
}

/// Looks once more at everything, so that "gone" is what AWS says and not what we think.
async fn read_back(session: &Session, kept: &BTreeSet<usize>) -> Result<Exit, Failure> {
    let page = session.page_with_orphans(&Programs::none()).await?;
    let left = page.stack.plan_removal(&session.aws, kept).await?;
    if goes(&left) == 0 {
        report::say("read back: nothing is left");
        return Ok(Exit::Done);
    }
    report::plan(&left);
    report::say("these are there again; the same command continues");
    Ok(Exit::Failed)
}

fn goes(plan: &Plan) -> usize {
    plan.lines.iter().filter(|line| matches!(line.step, Step::Delete { .. })).count()
}
