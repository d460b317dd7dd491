//! `rollback`: brings a service back to an earlier release, by the same roll-out as `up` uses, or a function by an update.

mod function;

use anyhow::anyhow;

use super::{
    Session,
    healthy::{Awaited, await_all, explain},
    lease::Acquisition,
    paused, unless_stopped, why,
};
use crate::{
    cloud::{aws::Aws, health, lease::Lease},
    commands::cli::{Global, Rollback},
    engine::{Change, Observed, Outcome, Plan, Resource as _, Stack, Tags, look},
    kinds::{
        artifact::{Artifact, Content},
        auto_scaling_group::{self, AutoScalingGroup, Downtime, Template},
        origin::Origin,
    },
    output::{
        exit::{Exit, Failure},
        report::{self, Values},
    },
    package::{Commit, programs::Programs},
    page::{Front, Page},
    releases::{Release, Releases, changes},
};

pub async fn run(global: &Global, mut args: Rollback) -> Result<Exit, Failure> {
    let mut session = Session::open_existing(global).await?;
    session.wait = args.roll_out.patience();
    args.settle(|name| why::chosen(&session, &[name.to_owned()]).is_ok());
    let done = match chosen(&session, args.name.as_deref())?.strip_prefix("functions.") {
        Some(entry) => function::roll_back(&session, global, &args, entry).await,
        None => roll_back(&session, global, &args).await,
    };
    done.map_err(|failure| session.ended(failure))
}

/// The way back to a release.
struct WayBack {
    target: i64,
    /// The Auto Scaling group alone: nothing else is changed.
    stack: Stack<Aws>,
    plan: Plan,
    /// Which release it leads to, for people.
    title: String,
    /// The differences from the release in service, or from the one being rolled out.
    changes: Vec<Change>,
    /// The target groups of the instances.
    target_groups: Vec<String>,
    /// The reason why there is nothing to do; `None` if there is.
    done: String,
}

async fn roll_back(session: &Session, global: &Global, args: &Rollback) -> Result<Exit, Failure> {
    let page = session.page(&Programs::none());
    let front = service(session, &page, args.name.as_deref())?;
    let seen = unless_stopped(way_back(session, front, args)).await?;
    if seen.plan.is_empty() {
        session.sweep().await;
        report::say(seen.done);
        return Ok(Exit::Done);
    }
    if !is_agreed(session, args, &seen).await? {
        report::say("nothing was changed");
        return Ok(Exit::Done);
    }
    let lease = match session.acquire_lease("rollback", args.roll_out.wait).await? {
        Acquisition::AtOnce(lease) | Acquisition::AfterWait(lease) => lease,
        Acquisition::NoBucket => return Err(not_deployed(front)),
    };
    let way = match again(session, front, args, &seen).await {
        Ok(Some(way)) => way,
        ended => {
            session.release_lease(Some(lease)).await;
            report::say("nothing was changed");
            return ended.map(|_| Exit::Done);
        }
    };
    let (target, outcomes) = (way.target, carry_out(session, front, way, lease).await?);
    let exit = session.conclude(outcomes);
    session.timing(global);
    session.tally(global);
    session.sentences().iter().for_each(report::say);
    if exit == Exit::Done {
        report::say(format!("{}: release {target} is in service", front.name));
        report::say("stack.yaml is unchanged: the next `up` deploys what it describes");
    }
    Ok(exit)
}

/// Reads again under the lease. If the way differs from the one that was shown, shows it and asks again.
async fn again(session: &Session, front: &Front, args: &Rollback, seen: &WayBack) -> Result<Option<WayBack>, Failure> {
    let way = unless_stopped(way_back(session, front, args)).await?;
    if way.target == seen.target && way.changes == seen.changes && way.plan.is_like(&seen.plan) {
        return Ok(Some(way));
    }
    report::say("the stack has changed in the meantime:");
    Ok(is_agreed(session, args, &way).await?.then_some(way))
}

async fn is_agreed(session: &Session, args: &Rollback, way: &WayBack) -> Result<bool, Failure> {
    let values = Values::shown_if(args.roll_out.show_values);
    report::plan(&way.plan, values, &|path| session.place(path));
    report::say(&way.title);
    report::changes(&way.changes, values);
    Ok(args.roll_out.yes || unless_stopped(report::confirm("Go ahead?")).await?)
}

/// The path of the service or function of this name in `stack.yaml`, or of the only one. A service takes precedence over
/// a function of the same name.
fn chosen(session: &Session, name: Option<&str>) -> Result<String, Failure> {
    let names = name.map(str::to_owned);
    let mut chosen = why::chosen(session, names.as_slice())?;
    if name.is_none() { only(chosen) } else { Ok(chosen.swap_remove(0)) }
}

/// The only service of these paths; without services, the only function.
fn only(all: Vec<String>) -> Result<String, Failure> {
    let (services, functions): (Vec<_>, Vec<_>) = all.into_iter().partition(|path| path.starts_with("services."));
    let (kind, mut paths) = if services.is_empty() { ("function", functions) } else { ("service", services) };
    match paths.len() {
        0 => Err(Failure::usage("stack.yaml has no service or function").hint("only these have releases")),
        1 => Ok(paths.swap_remove(0)),
        _ => Err(Failure::usage(format!("stack.yaml has several {kind}s"))
            .hint(format!("name one of: {}", paths.join(", ")))),
    }
}

/// The service of this name, or the only one.
fn service<'a>(session: &Session, page: &'a Page, name: Option<&str>) -> Result<&'a Front, Failure> {
    let section = chosen(session, name)?;
    let front = page.services.iter().find(|front| format!("services.{}", front.name) == section);
    front.ok_or_else(|| Failure::usage(format!("{section} has no network to run in")))
}

async fn way_back(session: &Session, front: &Front, args: &Rollback) -> Result<WayBack, Failure> {
    let releases = session.releases(front).await?.ok_or_else(|| not_deployed(front))?;
    let group = live_group(session, front).await?;
    let target = target(session, front, &releases, args.release)?;
    require_fit(session, front, &releases, target)?;
    require_program(session, front, target).await?;
    let release = format!("release {} of {}", target.number, front.name);
    session.require_stored_values(&release, target.stored_values(), &format!("services.{}", front.name)).await?;
    let template = Template { id: releases.template.clone(), version: target.number.to_string() };
    let target_groups = group.target_groups.iter().cloned().collect();
    let (stack, plan) = plan(session, front, group, template).await?;
    // An unfinished roll-out is the present state: its changes are rolled back.
    let from = releases.roll_out.map(|it| it.release).filter(|release| *release != target.number);
    let from = from.or(releases.in_service).and_then(|number| releases.get(number));
    let changes = from.map(|from| changes::changes(from, target)).unwrap_or_default();
    let (title, done) = (title(front, target), nothing_to_do(front, &releases, target));
    Ok(WayBack { target: target.number, stack, plan, title, changes, target_groups, done })
}

/// The settings of the group as they are.
async fn live_group(session: &Session, front: &Front) -> Result<auto_scaling_group::Settings, Failure> {
    let group = AutoScalingGroup::named(&front.names.group);
    match look(|| group.read(&session.aws)).await {
        Ok(Observed::Present(live)) => match live.output.downtime {
            Downtime { paused: Some(since), .. } => Err(paused::refuse_paused(&since, session.local_option())),
            downtime if downtime.has_ended() => Err(Failure::new(Exit::Failed, anyhow!("{} has ended", front.name))
                .hint("`deployer up` brings it back")
                .without_change()),
            _ => Ok(live.settings),
        },
        Ok(Observed::Absent | Observed::Settling(_)) => Err(not_deployed(front)),
        Err(fault) => Err(session.failed("read the Auto Scaling group", fault)),
    }
}

/// The plan for the group alone, with everything but the launch template as it is.
async fn plan(
    session: &Session,
    front: &Front,
    group: auto_scaling_group::Settings,
    template: Template,
) -> Result<(Stack<Aws>, Plan), Failure> {
    let mut stack = Stack::new(session.config.name.to_string(), Tags::new());
    stack.section(format!("services.{}", front.name));
    let resource = AutoScalingGroup {
        name: front.names.group.clone(),
        names: Some(Box::new(front.names.clone())),
        back_to: Some(template.clone()),
        // The alarms may have gone off because of the release that is rolled back.
        bake: None,
        empties: false,
        ends_first: front.address.is_some(),
    };
    let want = auto_scaling_group::Settings { template, ..group };
    stack.add(front.name.clone(), resource, (), move |()| want.clone());
    let plan = stack.plan(&session.aws, None).await.map_err(|error| session.located(error))?;
    session.note(plan.span);
    session.see(&plan);
    Ok((stack, plan))
}

/// The release to go back to: the given one, or the one before the newest. The newest, not the one in service, so that
/// a repeated command does not go back twice.
fn target<'a>(
    session: &Session,
    front: &Front,
    releases: &'a Releases,
    wanted: Option<i64>,
) -> Result<&'a Release, Failure> {
    let (name, newest) = (&front.name, releases.all.first().map(|release| release.number).unwrap_or_default());
    let found = match wanted {
        Some(number) => releases.get(number),
        None => releases.before(newest),
    };
    let place = || session.place(&format!("services.{name}"));
    let existing = || {
        let numbers: Vec<String> = releases.all.iter().take(SOME).map(|release| release.number.to_string()).collect();
        format!("the newest are {}; `deployer history {name}` lists all", numbers.join(", "))
    };
    found.ok_or_else(|| match wanted {
        None => Failure::new(Exit::Failed, anyhow!("{name} has no release before release {newest}"))
            .hint("correct the service or stack.yaml, and run `deployer up`")
            .at(place()),
        Some(number) if (1..newest).contains(&number) => Failure::new(
            Exit::Failed,
            anyhow!("release {number} of {name} has been deleted (version {number} of {})", front.template),
        )
        .hint(existing())
        .at(place()),
        Some(number) => Failure::usage(format!("{name} has no release {number}")).hint(existing()).at(place()),
    })
}

/// The number of releases that a hint names.
const SOME: usize = 5;

/// Rejects a release that needs resources that `up` has replaced since: its instances would never become healthy.
fn require_fit(session: &Session, front: &Front, releases: &Releases, target: &Release) -> Result<(), Failure> {
    let (name, number) = (&front.name, target.number);
    let current = releases.in_service.and_then(|number| releases.get(number)).or(releases.all.first());
    let port = front.names.port.to_string();
    let misfit = match (target.port(), current) {
        (None, _) => Some("was not made by the deployer".to_owned()),
        (Some(own), _) if own != port => Some(format!("listens on port {own}, and the load balancer uses {port}")),
        (_, Some(it)) if it.settings.security_groups != target.settings.security_groups => {
            Some("has other security groups, which may be gone".to_owned())
        }
        (_, Some(it)) if it.settings.instance_profile != target.settings.instance_profile => {
            Some("has another instance profile, which may be gone".to_owned())
        }
        _ => None,
    };
    misfit.map_or(Ok(()), |why| {
        Err(Failure::new(Exit::Failed, anyhow!("{name} cannot go back to release {number}: it {why}"))
            .hint(by_description(target))
            .at(session.place(&format!("services.{name}"))))
    })
}

/// Checks that the program is in the bucket, unchanged: instances start nothing else.
async fn require_program(session: &Session, front: &Front, target: &Release) -> Result<(), Failure> {
    let (name, number) = (&front.name, target.number);
    let Some(program) = target.program().filter(|program| program.bucket == front.programs.bucket) else {
        return Err(Failure::new(Exit::Failed, anyhow!("release {number} of {name} names no program of this stack"))
            .hint(by_description(target)));
    };
    let (bucket, key) = (program.bucket.to_owned(), program.key.to_owned());
    let artifact = Artifact { bucket, key, content: Content::default() };
    let read = look(|| artifact.read(&session.aws)).await;
    let why = match read.map_err(|fault| session.failed("look for the program", fault))? {
        Observed::Present(live) if live.settings.sha256.as_deref() == Some(program.sha256) => return Ok(()),
        Observed::Present(_) => "has been changed",
        Observed::Absent | Observed::Settling(_) => "is no longer there",
    };
    let error = anyhow!("the program of release {number} of {name} {why} (s3://{}/{})", program.bucket, program.key);
    Err(Failure::new(Exit::Failed, error).hint(by_description(target)).at(session.place(&format!("services.{name}"))))
}

/// The remedy if a release cannot be brought back by itself.
fn by_description(release: &Release) -> String {
    by_origin(&release.origin)
}

fn by_origin(origin: &Origin) -> String {
    match &origin.commit {
        Some(Commit { hash, is_dirty: true }) => {
            let commit = Commit { hash: hash.clone(), is_dirty: false }.short();
            format!(
                "it was made from commit {commit} with uncommitted changes: check that out, make them again, and run \
                 `deployer up`"
            )
        }
        Some(commit) => format!("check out commit {}, and run `deployer up`", commit.short()),
        None => "restore stack.yaml and the program as they were, and run `deployer up`".into(),
    }
}

fn not_deployed(front: &Front) -> Failure {
    Failure::new(Exit::Failed, anyhow!("{} is not deployed on port {}", front.name, front.names.port))
        .hint("run `deployer up` first")
}

/// The release with its origin: `web: release 3, made 2026-01-31 12:00 UTC by ada from commit 1234567`.
fn title(front: &Front, release: &Release) -> String {
    let Origin { who, commit } = &release.origin;
    let by = who.iter().map(|who| format!(" by {who}"));
    let from = commit.iter().map(|commit| format!(" from commit {}", commit.short()));
    let origin: String = by.chain(from).collect();
    format!("{}: release {}, made {} UTC{origin}", front.name, release.number, report::minute(release.made_s))
}

/// Says that the release is in service, and how to go back further.
fn nothing_to_do(front: &Front, releases: &Releases, target: &Release) -> String {
    let (name, number) = (&front.name, target.number);
    let in_service = format!("nothing to do: release {number} of {name} is in service");
    match releases.before(number) {
        Some(earlier) => format!(
            "{in_service}; to go back further, name the release, such as `deployer rollback {name} {}`",
            earlier.number
        ),
        None => in_service,
    }
}

async fn carry_out(session: &Session, front: &Front, way: WayBack, lease: Lease) -> Result<Vec<Outcome>, Failure> {
    let WayBack { stack, plan, target_groups, .. } = way;
    let mut outcomes = session.apply_under_lease(&stack, plan, lease).await?;
    if front.is_refused(&outcomes) {
        explain(session, front).await;
    }
    if let health::Wait::Within(limit) = session.wait
        && outcomes.iter().all(Outcome::is_done)
    {
        let group = &front.names.group;
        // A service without a load balancer is awaited once, at its address.
        let targets = match target_groups.is_empty() {
            true => vec![None],
            false => target_groups.into_iter().map(Some).collect(),
        };
        let services = targets.into_iter().map(|targets| Awaited { front, group: group.clone(), targets });
        let waited = await_all(session, &services.collect::<Vec<_>>(), limit).await;
        session.summary().note(&waited);
        outcomes.extend(waited);
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::releases::tests::release;

    #[test]
    fn without_a_name_only_one_may_be_meant() {
        let only = |paths: &[&str]| {
            super::only(paths.iter().map(|path| (*path).to_owned()).collect()).map_err(|failure| {
                assert_eq!(failure.exit, Exit::Usage);
                failure.error.to_string()
            })
        };
        assert_eq!(only(&["services.web", "functions.f", "functions.g"]), Ok("services.web".into()));
        assert_eq!(only(&["functions.f"]), Ok("functions.f".into()));
        assert_eq!(only(&["services.a", "services.b"]), Err("stack.yaml has several services".into()));
        assert_eq!(only(&["functions.f", "functions.g"]), Err("stack.yaml has several functions".into()));
        assert_eq!(only(&[]), Err("stack.yaml has no service or function".into()));
    }

    #[test]
    fn a_release_is_made_again_from_its_commit() {
        let advice = |commit: Option<&str>| {
            let commit = commit.map(|commit| commit.parse().expect("a commit"));
            by_description(&Release { origin: Origin { who: None, commit }, ..release(1, &"ab".repeat(32), &[]) })
        };
        for (commit, expected) in [
            (Some("0123456789abcdef"), "check out commit 0123456, and run `deployer up`"),
            (
                Some("0123456789abcdef+"),
                "it was made from commit 0123456 with uncommitted changes: check that out, make them again, and run \
                 `deployer up`",
            ),
            (None, "restore stack.yaml and the program as they were, and run `deployer up`"),
        ] {
            assert_eq!(advice(commit), expected);
        }
    }
}
