//! `adopt`: takes over resources made by another tool, by adding ownership tags.

use super::{Lookup, Session, Wake, no_local_aws_here, observer, unless_stopped, watched};
use crate::{
    commands::cli::{Adopt, Global},
    engine::{Finding, Outcome, Plan},
    output::{
        counted::counted,
        exit::{Exit, Failure},
        report::{self, Board, Count},
    },
};

/// Exit code 1 if an existing resource is not taken over: `up` would refuse it.
pub async fn run(global: &Global, args: &Adopt) -> Result<Exit, Failure> {
    let mut session = Session::open(global, Wake::Only, Lookup::Strict).await?.ok_or_else(no_local_aws_here)?;
    let adopted = adopt(&mut session, global, args).await;
    adopted.map_err(|failure| session.ended(failure))
}

/// Takes no lease, which would write an object. Adding the same tags twice is harmless, and no other command changes
/// untagged resources.
async fn adopt(session: &mut Session, global: &Global, args: &Adopt) -> Result<Exit, Failure> {
    let programs = session.programs(&[]).await?;
    let (page, plan) = session.list_owners(&programs).await?;
    match args.json {
        true => report::answer(&report::findings_json(&plan, &|path| session.place(path))),
        false => report::findings(&plan, &|path| session.place(path)),
    }
    let free = plan.of_finding(Finding::Free).count();
    if free == 0 {
        report::say("nothing to take over");
    } else {
        let question = format!("Add ownership tags to {}, and change nothing else?", counted(free, "resource"));
        if !args.yes && !unless_stopped(report::confirm(&question)).await? {
            report::say("nothing was changed");
            return Ok(Exit::Done);
        }
        let board = Board::new(Count::of(free, 0));
        let outcomes = watched(board, None, async |pace, board| {
            page.stack.take_over(&session.aws, &plan, &pace, &observer(&board)).await
        })
        .await;
        session.summary().note(&outcomes);
        if outcomes.iter().any(Outcome::is_done) {
            session.remember_home();
        }
        let exit = session.conclude(outcomes);
        if exit != Exit::Done {
            return Ok(exit);
        }
        let (free, local) = (counted(free, "resource"), session.local_option());
        report::say(format!("took over {free}; `deployer plan{local}` shows what `up` would change"));
        report::hint(
            "a tool that still manages these resources may change or delete them: remove them from its state, such as with \
             `terraform state rm`",
        );
    }
    session.timing(global);
    session.tally(global);
    Ok(refuse_rest(&plan))
}

/// Reports the number of existing resources that were not taken over.
fn refuse_rest(plan: &Plan) -> Exit {
    let rest = [Finding::Fixed, Finding::Foreign, Finding::Settling].map(|finding| plan.of_finding(finding).count());
    match rest.iter().sum::<usize>() {
        0 => Exit::Done,
        rest => {
            report::say(format!(
                "not taken over: {}; `up` refuses the stack because of them",
                counted(rest, "resource")
            ));
            report::hint("change the names in stack.yaml, or run `adopt` again once these resources can be taken over");
            Exit::Failed
        }
    }
}
