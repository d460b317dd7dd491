//! `plan`: shows what `up` would do.

use super::{
    Lookup, Session, Wake, https,
    paused::{self, Intended},
};
use crate::{
    commands::cli::{Global, PlanArgs},
    output::{
        exit::{Exit, Failure},
        report::{self, Values},
    },
};

pub async fn run(global: &Global, args: &PlanArgs) -> Result<Exit, Failure> {
    let session = Session::open(global, Wake::Start, Lookup::Strict).await?.expect("`plan` starts what is not running");
    https::warn(&session);
    let programs = session.programs(&args.targets).await?;
    let (page, mut plan) = session.plan(&programs, &args.targets, &args.adopt).await?;
    paused::leave(&mut plan, &page, Intended::Pause);
    let (values, difference) = (Values::shown_if(args.show_values), session.difference(&page, &plan));
    if args.json {
        report::answer(&report::plan_json(&plan, difference, values, &|path| session.place(path)));
    } else if !report::plan(&plan, values, &|path| session.place(path)) {
        report::say(format!("nothing to do: all {} resources are up to date", plan.lines.len()));
    } else if !plan.is_empty() {
        report::say(report::difference(difference, &session.site.region));
        session.report_new_addresses(&page, &plan);
        session.report_outages(&page, &plan);
        session.report_deletions(&plan);
    }
    https::say_pending(&page, plan.outputs(), |_| false);
    let local = session.local_option();
    if let Some(since) = paused::paused_since(&page, &plan) {
        report::say(format!("paused since {since}: `deployer resume{local}` brings the services back"));
    }
    for (service, time) in paused::ended(&page, &plan) {
        report::say(format!("{service} ended at {time}: `deployer up{local}` brings it back"));
    }
    session.report_left_behind(&plan);
    session.timing(global);
    session.tally(global);
    Ok(if args.detailed_exitcode && !plan.is_empty() { Exit::Changes } else { Exit::Done })
}
