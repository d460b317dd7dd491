//! `down`: removes everything the stack owns.

use std::{collections::BTreeSet, time::Instant};

use anyhow::anyhow;

use super::{
    Lookup, Session, Wake,
    lease::{Acquisition, overtaken},
    observer,
    receipt::Receipt,
    unless_stopped, watched,
};
use crate::{
    cloud::{
        health,
        lease::{LEASED, Lease},
        why::failure_reason,
    },
    commands::cli::{Down, Global},
    config::{DIRECT_SUFFIX, INTERNAL_SUFFIX},
    engine::{Outcome, Plan, Planned, Resource as _, Step},
    kinds::{self, security_group::SecurityGroup},
    output::{
        exit::{Exit, Failure},
        report::{self, Board, Count, Values},
    },
    package::programs::Programs,
    page::{Page, names::StackNames},
};

pub async fn run(global: &Global, args: &Down) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let Some(mut session) = Session::open(global, Wake::Only, Lookup::Lenient).await? else {
        report::say("nothing to do: there is no local AWS here");
        return Ok(Exit::Done);
    };
    // A certificate need not be issued to be removed.
    session.wait = health::Wait::No;
    loop {
        match take_down(&mut session, global, args, begun).await {
            Err(failure) if args.wait && failure.exit == Exit::Busy => report::failure(&failure),
            taken => return taken.map_err(|failure| session.ended(failure)),
        }
    }
}

async fn take_down(session: &mut Session, global: &Global, args: &Down, begun: Instant) -> Result<Exit, Failure> {
    let exit = match agree(session, args).await? {
        Agreed::Refused => {
            report::say("nothing was changed");
            return Ok(Exit::Done);
        }
        Agreed::Nothing => Exit::Done,
        Agreed::Remove(removal) => {
            let ConfirmedRemoval { page, plan, lease } = *removal;
            let receipt = Receipt::of(session, &page, &plan).await;
            let outcomes = carry_out(session, &page, plan, lease).await?;
            let mut exit = session.conclude(outcomes);
            if exit == Exit::Done {
                exit = read_back(session, &args.keep, &receipt).await?;
                report::say(format!("down in {}", report::seconds(report::worked_since(begun))));
            }
            exit
        }
    };
    if exit == Exit::Done && args.keep.is_empty() {
        session.forget_home();
    }
    session.waterfall(global);
    session.tally(global);
    Ok(exit)
}

/// The removal that the user has confirmed.
enum Agreed {
    Refused,
    Nothing,
    Remove(Box<ConfirmedRemoval>),
}

/// The resources to remove, as read under the lease.
struct ConfirmedRemoval {
    page: Page,
    plan: Plan,
    /// The lease; `None` without a bucket to hold it.
    lease: Option<Lease>,
}

/// Shows the removal and asks, then takes the lease and reads again: only resources that were shown are removed.
async fn agree(session: &Session, args: &Down) -> Result<Agreed, Failure> {
    let (page, plan) = removal(session, &args.keep).await?;
    if !report::plan(&plan, Values::Hidden, &|path| session.place(path)) {
        report::say("nothing to do: the stack has no resources");
        return Ok(Agreed::Nothing);
    }
    let scale = session.aws.scale;
    session.report_end(page.stack.removal(&plan, &|kind, step| scale.of_step(kind, step)));
    if !is_agreed(session, args, &plan).await? {
        return Ok(Agreed::Refused);
    }
    if removal_count(&plan) == 0 {
        report::say("nothing to do: everything that exists is kept");
        return Ok(Agreed::Nothing);
    }
    let (Acquisition::AtOnce(lease) | Acquisition::AfterWait(lease)) = session.acquire_lease("down", args.wait).await?
    else {
        return Ok(Agreed::Remove(Box::new(ConfirmedRemoval { page, plan, lease: None })));
    };
    match agree_again(session, args, plan).await {
        Ok(Some((page, plan))) => Ok(Agreed::Remove(Box::new(ConfirmedRemoval { page, plan, lease: Some(lease) }))),
        refused => {
            session.release_lease(Some(lease)).await;
            refused.map(|_| Agreed::Refused)
        }
    }
}

/// Reads again under the lease.
async fn agree_again(session: &Session, args: &Down, before: Plan) -> Result<Option<(Page, Plan)>, Failure> {
    let (page, plan) = removal(session, &args.keep).await?;
    if plan.is_like(&before) {
        return Ok(Some((page, plan)));
    }
    report::say("the stack has changed in the meantime:");
    report::plan(&plan, Values::Hidden, &|path| session.place(path));
    Ok(is_agreed(session, args, &plan).await?.then_some((page, plan)))
}

async fn is_agreed(session: &Session, args: &Down, plan: &Plan) -> Result<bool, Failure> {
    refuse_protected(plan)?;
    refuse_foreign(plan)?;
    let name = session.config.name.as_str();
    if args.yes || removal_count(plan) == 0 {
        return Ok(true);
    }
    let question = format!("Type {name} to remove all this: ");
    Ok(unless_stopped(report::ask(&question)).await? == name)
}

/// The bucket is removed last, right after the lease in it: if another run takes a lease in between, the bucket stays.
async fn carry_out(session: &Session, page: &Page, plan: Plan, lease: Option<Lease>) -> Result<Vec<Outcome>, Failure> {
    let scale = session.aws.scale;
    let schedule = session.follow(page.stack.removal(&plan, &|kind, step| scale.of_step(kind, step)));
    let board = Board::following(Count::of(removal_count(&plan), 0), Some(schedule.clone()));
    let mut outcomes = watched(board, lease.as_ref(), async |pace, board| {
        page.stack.remove_all_but_anchor(&session.aws, &plan, &pace, &observer(&board)).await
    })
    .await;
    session.summary().note(&outcomes);
    if lease.as_ref().is_some_and(|lease| lease.lost().is_cancelled()) {
        return Err(overtaken());
    }
    session.release_lease(lease).await;
    if outcomes.iter().all(Outcome::is_done) {
        let count = Count::of(removal_count(&plan), removal_count(&plan).saturating_sub(1));
        let last = watched(Board::following(count, Some(schedule)), None, async |pace, board| {
            page.stack.remove_anchor(&session.aws, &plan, &pace, &observer(&board)).await
        });
        let last = last.await;
        session.summary().note(last.as_slice());
        if last.iter().any(is_leased) {
            return Err(taken_over());
        }
        outcomes.extend(last);
    }
    Ok(outcomes)
}

/// Whether another run took the lease of the stack before its bucket was removed.
fn is_leased(outcome: &Outcome) -> bool {
    matches!(&outcome.result, Some(Err(error)) if error.code() == Some(LEASED))
}

fn taken_over() -> Failure {
    Failure::new(Exit::Busy, anyhow!("everything else is deleted, but another run has taken over the stack's bucket"))
        .hint("the same command continues, once no other run is in progress")
}

/// Plans the removal of everything except the resources to keep and their dependencies.
async fn removal(session: &Session, keep: &[String]) -> Result<(Page, Plan), Failure> {
    unless_stopped(look(session, keep)).await
}

async fn look(session: &Session, keep: &[String]) -> Result<(Page, Plan), Failure> {
    let mut page = session.page_with_orphans(&Programs::none()).await?;
    let unread = kinds::doom_stored_values(&mut page.stack, &session.aws).await;
    for (kind, fault) in unread {
        report::warning(&format!(
            "{kind}s of this stack could not be looked up; any that exist are left: {}",
            failure_reason(&fault)
        ));
    }
    let (wanted, unwanted): (Vec<_>, Vec<_>) =
        keep.iter().cloned().partition(|name| page.stack.select(std::slice::from_ref(name)).is_ok());
    let mut kept = session.chosen(&page, &wanted)?.unwrap_or_default();
    if !unwanted.is_empty() {
        // Orphans are found by the stack's anchor alone.
        kept.extend(page.stack.anchor());
    }
    let mut plan = page.stack.plan_removal(&session.aws, &kept).await.map_err(|error| session.located(error))?;
    let mut strangers = unwanted.iter().filter(|name| !session.keep_orphans(&mut plan, name));
    match strangers.next() {
        Some(stranger) => Err(session.unknown(&page, stranger)),
        None => {
            let names = StackNames::of(&session.config, &session.site);
            let kept = page.stack.sections(&kept).into_iter().filter_map(|section| section.strip_prefix("services."));
            kept.for_each(|entry| keep_groups(&mut plan, &names.plain(entry)));
            session.see(&plan);
            Ok((page, plan))
        }
    }
}

/// Keeps the security groups of a service that is kept, even if its network is another one than `stack.yaml` names: then
/// they count as orphans.
fn keep_groups(plan: &mut Plan, service: &str) {
    let is_of = |line: &Planned| {
        let is_orphan = line.address.kind == SecurityGroup::KIND && line.address.section.is_empty();
        is_orphan && is_group_of(&line.name, service)
    };
    plan.lines.iter_mut().filter(|line| is_of(line)).for_each(|line| line.step = Step::Leave("kept".into()));
}

/// Whether a security group is that of the load balancer of a service, or that of its instances, which ends with a port.
fn is_group_of(group: &str, service: &str) -> bool {
    let Some(rest) = group.strip_prefix(service) else { return false };
    let rest =
        [INTERNAL_SUFFIX, DIRECT_SUFFIX].into_iter().find_map(|suffix| rest.strip_prefix(suffix)).unwrap_or(rest);
    let Some(rest) = rest.strip_prefix('-') else { return false };
    // The name of a service that has the load balancer may follow the port. Names begin with a letter: `s-web-9-8080` is
    // that of a service `web-9`.
    let (port, front) = rest.split_once('-').unwrap_or((rest, ""));
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    rest == "lb" || is_port && !front.starts_with(|first: char| first.is_ascii_digit())
}

/// Reads everything once more, so that the report of the deletion is AWS's answer and not our assumption.
async fn read_back(session: &Session, keep: &[String], receipt: &Receipt) -> Result<Exit, Failure> {
    let (_, left) = removal(session, keep).await?;
    if removal_count(&left) == 0 {
        report::say(match left.lines.len() {
            0 => "read back: nothing is left".to_owned(),
            kept => format!("read back: only kept resources are left ({kept})"),
        });
        receipt.lines(&left, &session.site.region).iter().for_each(report::say);
        return Ok(Exit::Done);
    }
    report::plan(&left, Values::Hidden, &|path| session.place(path));
    report::say("these resources have reappeared; the same command continues");
    Ok(Exit::Failed)
}

/// A protected resource stops the removal of everything else: half a stack is of no use.
fn refuse_protected(plan: &Plan) -> Result<(), Failure> {
    let protected: Vec<&Planned> = plan.lines.iter().filter(|line| line.step == Step::Protected).collect();
    if protected.is_empty() {
        return Ok(());
    }
    let what = protected.iter().map(|line| line.address.to_string()).collect::<Vec<_>>().join(" and ");
    let keep = keeping(protected);
    Err(Failure::new(Exit::Failed, anyhow!("{what}: protected against deletion, so nothing was changed"))
        .hint(format!("set `protect: false` in stack.yaml and run `up` first, or keep it: `{keep}`")))
}

/// A foreign resource stops the removal of everything else: the resources that it uses could not be removed, and
/// removing its parent would remove it, too.
fn refuse_foreign(plan: &Plan) -> Result<(), Failure> {
    let foreign: Vec<Foreign> = plan.lines.iter().filter_map(Foreign::of).collect();
    if foreign.is_empty() || removal_count(plan) == 0 {
        return Ok(());
    }
    let named = foreign
        .iter()
        .map(|Foreign { line, owner, .. }| format!("{} ({}) belongs to {owner}", line.address, line.name));
    let what = named.collect::<Vec<_>>().join(" and ");
    Err(Failure::new(Exit::Failed, anyhow!("{what}, so nothing was changed")).hint(ways_on(&foreign)))
}

/// A line of the plan whose resource is not ours.
struct Foreign<'a> {
    line: &'a Planned,
    owner: &'a str,
    /// Whether it carries no ownership tags.
    is_free: bool,
}

impl<'a> Foreign<'a> {
    fn of(line: &'a Planned) -> Option<Self> {
        match &line.step {
            Step::Foreign { owner, is_free } => Some(Self { line, owner, is_free: *is_free }),
            _ => None,
        }
    }
}

/// The ways to remove the rest anyway.
fn ways_on(foreign: &[Foreign]) -> String {
    let mut ways = vec![format!("keep it, and what it needs: `{}`", keeping(foreign.iter().map(|one| one.line)))];
    // The artifact bucket has no entry in stack.yaml.
    let sections = foreign.iter().map(|one| &*one.line.address.section).filter(|section| section.contains('.'));
    let entries: BTreeSet<&str> = sections.collect();
    if !entries.is_empty() {
        let entries = entries.into_iter().collect::<Vec<_>>().join(" and ");
        ways.push(format!(
            "take {entries} out of stack.yaml, so that it no longer belongs to this stack, and run `down` again"
        ));
    }
    let free = foreign.iter().filter(|one| one.is_free);
    let adopt: String = free.map(|one| format!(" --adopt {}", one.line.address)).collect();
    if !adopt.is_empty() {
        ways.push(format!("if the untagged resources are yours, take them over first: `up{adopt}`"));
    }
    ways.join("; or ")
}

/// The command that keeps all of these.
fn keeping<'a>(lines: impl IntoIterator<Item = &'a Planned>) -> String {
    lines.into_iter().fold("down".into(), |command, line| format!("{command} --keep {}", line.address))
}

fn removal_count(plan: &Plan) -> usize {
    plan.doomed().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_of_a_service_are_not_those_of_another_whose_name_begins_with_its_name() {
        for (group, is_its) in [
            ("s-web-8080", true),
            ("s-web-8080-front", true),
            ("s-web-internal-8080", true),
            ("s-web-direct-80", true),
            ("s-web-lb", true),
            ("s-web-internal-lb", true),
            ("s-web", false),
            ("s-web-api-8080", false),
            ("s-web-9-8080", false),
            ("s-web-9-8080-front", false),
            ("s-web-api-lb", false),
            ("s-website-8080", false),
            ("s-api-8080", false),
        ] {
            assert_eq!(is_group_of(group, "s-web"), is_its, "{group}");
        }
    }
}
