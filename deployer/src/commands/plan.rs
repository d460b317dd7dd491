//! `plan`: shows what `up` would do.

use super::{Session, Wake};
use crate::{
    commands::cli::{Global, PlanArgs},
    output::{
        exit::{Exit, Failure},
        report::{self, Values},
    },
};

pub async fn run(global: &Global, args: &PlanArgs) -> Result<Exit, Failure> {
    let session = Session::open(global, Wake::Start).await?.expect("`plan` starts what is not running");
    let programs = session.programs(&args.targets).await?;
    let (_, plan) = session.plan(&programs, &args.targets, &args.adopt).await?;
    let values = Values::shown_if(args.show_values);
    if args.json {
        report::answer(&report::plan_json(&plan, values, &|path| session.place(path)));
    } else if !report::plan(&plan, values, &|path| session.place(path)) {
        report::say(format!("nothing to do: all {} resources are as wanted", plan.lines.len()));
    }
    session.tell_left_behind(&plan);
    session.timing(global);
    session.tally(global);
    Ok(if args.detailed_exitcode && !plan.is_empty() { Exit::Changes } else { Exit::Done })
}
