//! Brings a function back to one of its published versions: code and configuration.

use std::sync::Arc;

use anyhow::anyhow;

use super::{SOME, by_origin};
use crate::{
    cloud::aws::Aws,
    commands::{
        Session,
        cli::{Global, Rollback},
        history::minute,
        lease::Acquisition,
        unless_stopped,
    },
    config::{REFERENCES, read_references},
    engine::{Address, Change, Error, Plan, Resource as _, Stack, Tags, look},
    kinds::{
        function::{Function, Settings},
        origin::Origin,
    },
    output::{
        exit::{Exit, Failure},
        report::{self, Values},
    },
    page::names::StackNames,
    releases::{
        changes,
        functions::{FunctionRelease, FunctionReleases},
    },
};

/// The way back to a version.
struct WayBack {
    target: FunctionRelease,
    plan: Plan,
    /// The differences of the version from the present state, for people.
    changes: Vec<Change>,
    /// The reason why there is nothing to do; `None` if there is.
    done: String,
}

pub async fn roll_back(session: &Session, global: &Global, args: &Rollback, entry: &str) -> Result<Exit, Failure> {
    let function = Function::named(&StackNames::of(&session.config, &session.site).plain(entry));
    let seen = unless_stopped(way_back(session, &function, entry, args)).await?;
    if seen.plan.is_empty() {
        session.sweep().await;
        report::say(seen.done);
        return Ok(Exit::Done);
    }
    if !is_agreed(session, args, entry, &seen).await? {
        report::say("nothing was changed");
        return Ok(Exit::Done);
    }
    let lease = match session.acquire_lease("rollback", args.roll_out.wait).await? {
        Acquisition::AtOnce(lease) | Acquisition::AfterWait(lease) => lease,
        Acquisition::NoBucket => return Err(not_deployed(entry)),
    };
    let (target, code) = match again(session, &function, entry, args, &seen).await {
        Ok(Some(read)) => read,
        ended => {
            session.release_lease(Some(lease)).await;
            report::say("nothing was changed");
            return ended.map(|_| Exit::Done);
        }
    };
    let want = Settings { zip: code, ..target.settings };
    let (stack, plan) = match unless_stopped(plan(session, &function, entry, want)).await {
        Ok(planned) => planned,
        Err(failure) => {
            session.release_lease(Some(lease)).await;
            return Err(failure);
        }
    };
    let outcomes = session.apply_under_lease(&stack, plan, lease).await?;
    let exit = session.conclude(outcomes);
    session.timing(global);
    session.tally(global);
    if exit == Exit::Done {
        report::say(format!("{entry}: release {} is in service", target.number));
        report::say("stack.yaml is unchanged: the next `up` deploys what it describes");
    }
    Ok(exit)
}

/// Reads again under the lease, and downloads the code: what belongs to no version may have changed since. If the way
/// differs from the one that was shown, shows it and asks again.
async fn again(
    session: &Session,
    function: &Function,
    entry: &str,
    args: &Rollback,
    seen: &WayBack,
) -> Result<Option<(FunctionRelease, Arc<[u8]>)>, Failure> {
    let way = unless_stopped(way_back(session, function, entry, args)).await?;
    if way.target.number != seen.target.number {
        return Err(Failure::new(Exit::Failed, anyhow!("{entry} has got other releases in the meantime"))
            .hint("look at `deployer history`, and name the release"));
    }
    if way.changes != seen.changes || !way.plan.is_like(&seen.plan) {
        report::say("the stack has changed in the meantime:");
        if !is_agreed(session, args, entry, &way).await? {
            return Ok(None);
        }
    }
    let (number, sha256) = (way.target.number, &way.target.settings.code_sha256);
    let read = unless_stopped(async { Ok(look(|| function.code_of(&session.aws, number, sha256)).await) }).await?;
    match read {
        Ok(code) => Ok(Some((way.target, code))),
        Err(fault) => {
            let failure = Failure::to(&format!("download the code of release {number} of {entry}"), fault);
            Err(failure.hint(by_origin(&way.target.origin)).at(place(session, entry)))
        }
    }
}

async fn is_agreed(session: &Session, args: &Rollback, entry: &str, way: &WayBack) -> Result<bool, Failure> {
    let values = Values::shown_if(args.roll_out.show_values);
    report::plan(&way.plan, values, &|path| session.place(path));
    report::say(title(entry, &way.target));
    report::changes(&way.changes, values);
    Ok(args.roll_out.yes || unless_stopped(report::confirm("Go ahead?")).await?)
}

async fn way_back(session: &Session, function: &Function, entry: &str, args: &Rollback) -> Result<WayBack, Failure> {
    let read = look(|| FunctionReleases::read(&session.aws, function)).await;
    let read =
        read.map_err(|fault| Failure::to(&format!("read the releases of {entry}"), fault).at(place(session, entry)))?;
    let releases = read.ok_or_else(|| not_deployed(entry))?;
    if let Some(owner) = releases.owner.foreign_to(session.config.name.as_str()) {
        let what = Address { kind: Function::KIND, key: entry.into(), section: format!("functions.{entry}") };
        let (name, is_free) = (function.name.clone(), releases.owner.is_unowned());
        return Err(session.located(Error::Foreign { what, name, owner, is_free }));
    }
    let target = target(session, entry, &releases, args.release)?.clone();
    let references = target.settings.environment.get(REFERENCES).map(|text| read_references(text));
    let release = format!("release {} of {entry}", target.number);
    session.require_stored_values(&release, references.unwrap_or_default(), &format!("functions.{entry}")).await?;
    let (_, plan) = plan(session, function, entry, target.settings.clone()).await?;
    let changes = changes::of_functions(&releases.present, &target.settings);
    let done = nothing_to_do(entry, &releases, &target);
    Ok(WayBack { target, plan, changes, done })
}

/// The plan for the function alone.
async fn plan(
    session: &Session,
    function: &Function,
    entry: &str,
    want: Settings,
) -> Result<(Stack<Aws>, Plan), Failure> {
    let mut stack = Stack::new(session.config.name.to_string(), Tags::new());
    stack.section(format!("functions.{entry}"));
    stack.add(entry, function.clone(), (), move |()| want.clone());
    let plan = stack.plan(&session.aws, None).await.map_err(|error| session.located(error))?;
    session.note(plan.span);
    session.see(&plan);
    Ok((stack, plan))
}

/// The release to go back to: the given one, or the one before the newest, so that a repeated command does not go back
/// twice.
fn target<'a>(
    session: &Session,
    entry: &str,
    releases: &'a FunctionReleases,
    wanted: Option<i64>,
) -> Result<&'a FunctionRelease, Failure> {
    let newest = releases.all.first().map(|release| release.number).unwrap_or_default();
    let found = match wanted {
        Some(number) => releases.get(number),
        None => releases.before(newest),
    };
    found.ok_or_else(|| {
        let numbers: Vec<String> = releases.all.iter().take(SOME).map(|release| release.number.to_string()).collect();
        let kept = format!("kept are {}; `deployer history {entry}` lists them", numbers.join(", "));
        match wanted {
            None => Failure::new(Exit::Failed, anyhow!("{entry} has no release before release {newest}"))
                .hint("correct the function or stack.yaml, and run `deployer up`"),
            Some(number) if (1..newest).contains(&number) => {
                Failure::new(Exit::Failed, anyhow!("release {number} of {entry} is no longer kept")).hint(kept)
            }
            Some(number) => Failure::usage(format!("{entry} has no release {number}")).hint(kept),
        }
        .at(place(session, entry))
    })
}

fn place(session: &Session, entry: &str) -> Option<String> {
    session.place(&format!("functions.{entry}"))
}

fn not_deployed(entry: &str) -> Failure {
    Failure::new(Exit::Failed, anyhow!("{entry} is not deployed")).hint("run `deployer up` first")
}

/// The release with its origin: `labels: release 3, made 2026-01-31 12:00 UTC by ada from commit 1234567`.
fn title(entry: &str, release: &FunctionRelease) -> String {
    let Origin { who, commit } = &release.origin;
    let by = who.iter().map(|who| format!(" by {who}"));
    let from = commit.iter().map(|commit| format!(" from commit {}", commit.short()));
    let origin: String = by.chain(from).collect();
    format!("{entry}: release {}, made {} UTC{origin}", release.number, minute(&release.made))
}

/// Says that the release is in service, and how to go back further.
fn nothing_to_do(entry: &str, releases: &FunctionReleases, target: &FunctionRelease) -> String {
    let in_service = format!("nothing to do: release {} of {entry} is in service", target.number);
    match releases.before(target.number) {
        Some(earlier) => format!(
            "{in_service}; to go back further, name the release, such as `deployer rollback {entry} {}`",
            earlier.number
        ),
        None => in_service,
    }
}
