//! `up`: creates what is missing, changes what differs, removes what is no longer described.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures::FutureExt as _;

use super::{
    Lookup, Session, Wake,
    data::{Confirmation, RetainedData},
    garbage_collection,
    healthy::{Awaited, await_all, explain},
    https,
    lease::{Acquisition, overtaken},
    no_local_aws_here, observer, paused, unless_stopped, verify, watched,
};
use crate::{
    cloud::{health, lease::Lease, usual::CREATING},
    commands::cli::{Global, Resume, Up},
    config::Config,
    engine::{Address, Applied, Outcome, Outputs, Plan, Planned, Resource as _, Step, Task},
    kinds::{load_balancer::LoadBalancer, notification::Notification},
    output::{
        exit::{Exit, Failure},
        report::{self, Board, Checks, Count, Values},
        utc::timestamp,
    },
    package::programs::Programs,
    page::{Front, Page},
};

/// After this long, a new bucket is visible everywhere (docs/aws.md §2.3).
const VISIBLE_WITHIN: Duration = Duration::from_secs(120);
/// How often to check for it.
const AGAIN: Duration = Duration::from_millis(500);

pub async fn run(global: &Global, args: &Up) -> Result<Exit, Failure> {
    let session = Session::open(global, Wake::Start, Lookup::Strict).await?.expect("`up` starts what is not running");
    if args.verify {
        verify::described(&session)?;
    }
    bring(session, global, args, Mode::Up).await
}

/// `resume`: the same for a paused stack.
pub async fn resume(global: &Global, args: &Resume) -> Result<Exit, Failure> {
    let session = Session::open(global, Wake::Only, Lookup::Strict).await?.ok_or_else(no_local_aws_here)?;
    let up = Up { roll_out: args.roll_out.clone(), ..Up::default() };
    bring(session, global, &up, Mode::Resume).await
}

/// Which of the two commands runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Refuses a paused stack.
    Up,
    /// Brings it back.
    Resume,
}

impl Mode {
    fn command(self) -> &'static str {
        match self {
            Mode::Up => "up",
            Mode::Resume => "resume",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Mode::Up => "up",
            Mode::Resume => "resumed",
        }
    }
}

async fn bring(mut session: Session, global: &Global, args: &Up, mode: Mode) -> Result<Exit, Failure> {
    if args.lifetime.is_some() && session.config.services.is_empty() {
        return Err(Failure::usage("--for has no effect: stack.yaml has no service, and only services end"));
    }
    session.wait = args.roll_out.patience();
    let brought = bring_up(&mut session, global, args, mode).await;
    brought.map_err(|failure| session.ended(failure))
}

/// The time after this span, in whole seconds.
fn end(lifetime: Duration) -> Option<String> {
    timestamp(report::now_s().saturating_add(i64::try_from(lifetime.as_secs()).ok()?))
}

async fn bring_up(session: &mut Session, global: &Global, args: &Up, mode: Mode) -> Result<Exit, Failure> {
    https::warn(session);
    unless_stopped(session.check_room(&args.targets)).await?;
    let programs = session.programs(&args.targets).await?;
    // A build may take longer than the shortest lifetime.
    session.ends = args.lifetime.and_then(end);
    let Some(Agreed { page, plan, retained, lease, brought }) = agree(session, args, mode, &programs).await? else {
        report::say("nothing was changed");
        return Ok(Exit::Done);
    };
    session.remember_home();
    let chosen = session.chosen(&page, &args.targets)?;
    let fronts: Vec<&Front> =
        page.services.iter().filter(|front| chosen.as_ref().is_none_or(|chosen| front.is_among(chosen))).collect();
    let late = late_notifications(&session.config, &plan);
    let new_addresses = new_addresses(&page, &plan);
    let (outcomes, outputs) = carry_out(session, &page, plan, lease, brought, &fronts).await?;
    let is_done = |what: &Address| outcomes.iter().any(|outcome| outcome.address == *what && outcome.is_done());
    let late: Vec<_> = late.into_iter().filter(|(notification, _)| is_done(notification)).collect();
    let mut exit = session.conclude(outcomes);
    session.waterfall(global);
    session.timing(global);
    session.tally(global);
    session.sentences().iter().for_each(report::say);
    late.into_iter().for_each(|(_, words)| report::say(words));
    if exit == Exit::Done {
        super::outputs::show(&page, &outputs);
        for front in &fronts {
            front.url_to_open(&outputs).iter().for_each(|url| report::say(format!("→ {url}{}", front.reach())));
        }
        https::say_pending(&page, &outputs, |front| new_addresses.contains(&front.name));
        if let Some(ends) = session.ends.as_ref().filter(|_| !fronts.is_empty()) {
            report::say(format!("AWS ends the instances at {ends}; load balancers stay until `pause` or `down`"));
        }
        report::say(format!("{} in {}", mode.done(), report::seconds(report::worked_since(session.begun))));
    }
    if exit == Exit::Done && args.verify {
        exit = verify::all(session, &page, &outputs, Checks::Aside).await?;
    }
    Ok(retained.conclude(session, exit))
}

/// The services whose DNS record may have to be entered by hand now: their load balancer is new, or an existing
/// certificate is used, so that no earlier run has printed the record.
fn new_addresses(page: &Page, plan: &Plan) -> BTreeSet<String> {
    let creates = |line: &&Planned| line.address.kind == LoadBalancer::KIND && line.step == Step::Create;
    let created = plan.lines.iter().filter(creates).map(|line| line.address.key.clone());
    let has_named = |front: &&Front| front.https.as_ref().is_some_and(|https| https.certificate.is_none());
    created.chain(page.services.iter().filter(has_named).map(|front| front.name.clone())).collect()
}

/// Warnings for new notifications, which S3 applies only after minutes, without saying when (docs/aws.md §4.6).
fn late_notifications(config: &Config, plan: &Plan) -> Vec<(Address, String)> {
    let is_new = |line: &&Planned| {
        line.address.kind == Notification::KIND
            && matches!(line.step, Step::Create | Step::Update(_) | Step::Pending(_))
    };
    let say = |line: &Planned| {
        let bucket = &line.address.key;
        let function = &config.buckets.get(bucket.as_str())?.on_upload.as_ref()?.function;
        let words = format!(
            "S3 may take 5 minutes to start notifying {function}; earlier uploads to {bucket} are not reported"
        );
        Some((line.address.clone(), words))
    };
    plan.lines.iter().filter(is_new).filter_map(say).collect()
}

/// The changes that the user has confirmed, as read under the lease.
struct Agreed {
    page: Page,
    plan: Plan,
    retained: RetainedData,
    /// The lease; `None` if there is nothing to do.
    lease: Option<Lease>,
    /// The number of the shown changes that are done already.
    brought: usize,
}

/// Shows the changes and asks, then takes the lease and reads again: only changes that were shown are made.
async fn agree(session: &Session, args: &Up, mode: Mode, programs: &Programs) -> Result<Option<Agreed>, Failure> {
    let begun = Instant::now();
    loop {
        let (page, plan) = session.plan(programs, &args.targets, &args.adopt).await?;
        let agreed = shown_and_agreed(session, args, mode, &page, plan).await?;
        let Some((mut plan, retained)) = agreed else { return Ok(None) };
        if plan.is_empty() {
            session.sweep().await;
            return Ok(Some(Agreed { page, plan, retained, lease: None, brought: 0 }));
        }
        let (is_first, all) = (plan.is_first(), plan.work());
        if let Some(failed) = bring_anchor(session, &page, &mut plan).await {
            return Err(failed);
        }
        let brought = all - plan.work();
        match session.acquire_lease(mode.command(), args.roll_out.wait).await? {
            // Without a bucket, the stack has no resources: there is nothing to read again.
            Acquisition::AtOnce(lease) if is_first => {
                return Ok(Some(Agreed { page, plan, retained, lease: Some(lease), brought }));
            }
            Acquisition::AtOnce(lease) | Acquisition::AfterWait(lease) => {
                let agreed = agree_again(session, args, mode, programs, plan, retained).await;
                match agreed {
                    Ok(Some(Agreed { page, plan, retained, .. })) if plan.is_empty() => {
                        session.release_lease(Some(lease)).await;
                        return Ok(Some(Agreed { page, plan, retained, lease: None, brought }));
                    }
                    Ok(Some(agreed)) => return Ok(Some(Agreed { lease: Some(lease), brought, ..agreed })),
                    refused => {
                        session.release_lease(Some(lease)).await;
                        return refused;
                    }
                }
            }
            Acquisition::NoBucket if begun.elapsed() > VISIBLE_WITHIN => return Err(no_bucket()),
            Acquisition::NoBucket => unless_stopped(tokio::time::sleep(AGAIN).map(Ok)).await?,
        }
    }
}

/// Reads again under the lease. If the plan differs from the one that was shown, shows it and asks again.
async fn agree_again(
    session: &Session,
    args: &Up,
    mode: Mode,
    programs: &Programs,
    before: Plan,
    retained: RetainedData,
) -> Result<Option<Agreed>, Failure> {
    let (page, mut plan) = session.plan(programs, &args.targets, &args.adopt).await?;
    retained.leave(&mut plan);
    if plan.is_like(&before) {
        return Ok(Some(Agreed { page, plan, retained, lease: None, brought: 0 }));
    }
    report::say("the stack has changed in the meantime:");
    let (page, plan) = session.plan(programs, &args.targets, &args.adopt).await?;
    let agreed = shown_and_agreed(session, args, mode, &page, plan).await?;
    Ok(agreed.map(|(plan, retained)| Agreed { page, plan, retained, lease: None, brought: 0 }))
}

async fn shown_and_agreed(
    session: &Session,
    args: &Up,
    mode: Mode,
    page: &Page,
    mut plan: Plan,
) -> Result<Option<(Plan, RetainedData)>, Failure> {
    match (paused::paused_since(page, &plan), mode) {
        (Some(since), Mode::Up) => return Err(paused::refuse_paused(&since, session.local_option())),
        (Some(since), Mode::Resume) => report::say(format!("paused since {since}; this brings it back:")),
        (None, _) => paused::ended(page, &plan)
            .iter()
            .for_each(|(service, time)| report::say(format!("{service} ended at {time}; this brings it back:"))),
    }
    let shown = report::plan(&plan, Values::shown_if(args.roll_out.show_values), &|path| session.place(path));
    if shown {
        report::say(report::difference(session.difference(page, &plan), &session.site.region));
        session.report_new_addresses(page, &plan);
        session.report_outages(page, &plan);
        session.report_end(tasks(session, page, &plan));
    }
    session.report_left_behind(&plan);
    session.refuse_replacements(&plan)?;
    refuse_protected(&plan)?;
    session.check_named(&plan, &args.delete)?;
    if !shown {
        report::say(format!("nothing to do: all {} resources are up to date", plan.lines.len()));
    } else if !args.roll_out.yes && !unless_stopped(report::confirm("Go ahead?")).await? {
        return Ok(None);
    }
    let confirmation = if args.roll_out.yes { Confirmation::Never } else { Confirmation::Each };
    let mut retained = session.keep_unnamed(&mut plan, &args.delete, confirmation).await?;
    session.keep_data(&mut plan, &args.expire, confirmation, &mut retained).await?;
    Ok(Some((plan, retained)))
}

/// The steps of a plan, in its order, followed by the wait for healthy services.
fn tasks(session: &Session, page: &Page, plan: &Plan) -> Vec<Task> {
    let scale = session.aws.scale;
    let mut tasks = page.stack.order(plan, &|kind, step| scale.of_step(kind, step));
    if session.wait == health::Wait::No {
        return tasks;
    }
    let all: Vec<usize> = (0..tasks.len()).collect();
    for front in &page.services {
        let Address { kind, section, .. } = front.address();
        // Without a change, it is healthy already.
        let changes = |line: &Planned| line.address.section == section && line.step.is_work();
        let usual = plan.lines.iter().any(changes).then(|| scale.usual(kind, CREATING));
        let (name, is_work) = (front.address().to_string(), usual.is_some());
        tasks.push(Task { name, needs: all.clone(), is_work, usual });
    }
    tasks
}

/// Refuses to remove a service whose load balancer is protected: its security groups could not be removed either.
fn refuse_protected(plan: &Plan) -> Result<(), Failure> {
    let protected = plan.lines.iter().find(|line| line.step == Step::Protected && !line.holds_data);
    protected.map_or(Ok(()), |line| {
        let message = format!("{}: protected against deletion, so nothing was changed", line.address);
        Err(Failure::new(Exit::Failed, anyhow::anyhow!(message))
            .hint("put it back into stack.yaml with `protect: false`, run `up`, and remove it again"))
    })
}

/// Creates the bucket before the lease that it holds.
async fn bring_anchor(session: &Session, page: &Page, plan: &mut Plan) -> Option<Failure> {
    let count = Count::of(plan.work(), 0);
    let board = Board::following(count, Some(session.follow(tasks(session, page, plan))));
    let brought = watched(board, None, async |pace, board| {
        page.stack.bring_anchor(&session.aws, plan, &pace, &observer(&board)).await
    });
    let brought = brought.await?;
    session.summary().note(std::slice::from_ref(&brought));
    match brought.result {
        Some(Err(error)) => Some(session.located(error)),
        _ => None,
    }
}

fn no_bucket() -> Failure {
    Failure::new(Exit::Failed, anyhow::anyhow!("the stack's artifact bucket cannot be seen, although it has been made"))
        .hint("the same command continues")
}

async fn carry_out(
    session: &Session,
    page: &Page,
    plan: Plan,
    lease: Option<Lease>,
    brought: usize,
    fronts: &[&Front],
) -> Result<(Vec<Outcome>, Outputs), Failure> {
    let count = Count::of(brought + plan.work(), brought);
    session.see(&plan);
    let (rolled_out, changed) =
        (garbage_collection::rolled_out(&plan, fronts), garbage_collection::changed_functions(&plan));
    let board = Board::following(count, Some(session.follow(tasks(session, page, &plan))));
    let Applied { mut outcomes, outputs, span } = watched(board, lease.as_ref(), async |pace, board| {
        page.stack.apply(&session.aws, plan, &pace, &observer(&board)).await
    })
    .await;
    session.note(span);
    session.summary().note(&outcomes);
    if lease.as_ref().is_some_and(|lease| lease.lost().is_cancelled()) {
        return Err(overtaken());
    }
    if outcomes.iter().all(Outcome::is_done) {
        garbage_collection::remove_programs(session, &rolled_out).await;
        garbage_collection::delete_versions(session, &changed).await;
    }
    session.release_lease(lease).await;
    for front in fronts.iter().filter(|front| front.is_held_back(&outcomes) || front.is_refused(&outcomes)) {
        explain(session, front).await;
    }
    if let health::Wait::Within(limit) = session.wait
        && outcomes.iter().all(Outcome::is_done)
    {
        let services: Vec<Awaited> = fronts.iter().filter_map(|front| Awaited::of(front, &outputs)).collect();
        let waited = await_all(session, &services, limit).await;
        session.summary().note(&waited);
        outcomes.extend(waited);
    }
    Ok((outcomes, outputs))
}
