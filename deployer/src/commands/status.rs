//! `status`: the state of every service, instance, function, bucket and table on one screen.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Lookup, Session, Wake, no_local_aws_here,
    paused::{self, Intended},
    unless_stopped,
};
use crate::{
    cloud::{
        status::{self, Contents, Deployed, Drift, InstanceStatus, ServiceStatus, Status},
        why::failure_reason,
    },
    commands::cli::{Global, Status as Args},
    config::{Program, Store},
    cost::{Cost, Fleet, secrets_monthly},
    engine::{Error, Fault},
    kinds,
    machine::signals,
    output::{
        exit::{Exit, Failure},
        report,
        utc::timestamp,
    },
    package::programs::Programs,
    page::{self, Page, ResourceNames, lay_out_until},
};

/// Exit code 1 if something is not healthy.
pub async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let session = unless_stopped(Session::sign_in(global, Wake::Only)).await?.ok_or_else(no_local_aws_here)?;
    let exit = match args.watch {
        Some(seconds) => watch(&session, args, Duration::from_secs(seconds.into())).await,
        None => {
            let status = unless_stopped(async { Ok(look(&session).await) }).await?;
            show(&status, args);
            if status.healthy { Exit::Done } else { Exit::Failed }
        }
    };
    session.tally(global);
    Ok(exit)
}

/// Shows the state again and again until the user interrupts.
async fn watch(session: &Session, args: &Args, interval: Duration) -> Exit {
    let stop = signals::watch();
    loop {
        let begun = tokio::time::Instant::now();
        let read_and_rest = async {
            show(&look(session).await, args);
            tokio::time::sleep_until(begun + interval).await;
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return Exit::Interrupted,
            () = read_and_rest => (),
        }
        // The reader of the pipe has ended.
        if report::is_closed() {
            return Exit::Done;
        }
    }
}

fn show(status: &Status, args: &Args) {
    match (args.json, args.watch) {
        (true, None) => report::answer(&report::status_json(status)),
        (true, Some(_)) => report::answer(&report::status_json_line(status)),
        (false, None) => report::status(status),
        (false, Some(_)) => report::status_again(status),
    }
}

/// Reads everything once.
async fn look(session: &Session) -> Status {
    let names = page::resource_names(&session.config, &session.site);
    let (contents, drift) =
        futures::join!(status::read(&session.aws, &names, &session.site.account), drift(session, &names));
    let site = &session.site;
    Status {
        stack: session.config.name.to_string(),
        account: site.account.clone(),
        region: site.region.clone(),
        at: timestamp(report::now_s()),
        healthy: contents.is_healthy(),
        cost: cost(session, &contents, &drift),
        contents,
        drift,
        options: session.local_option(),
    }
}

/// The price of a month of the existing resources. Charges by use are left out.
fn cost(session: &Session, contents: &Contents, drift: &Drift) -> Cost {
    let of_one = |it: &ServiceStatus| {
        let (_, service) = session.config.services.iter().find(|(entry, _)| entry.as_str() == it.name)?;
        let leaving = ["shutting-down", "stopping", "stopped", "terminated"];
        let is_there = |one: &&InstanceStatus| one.state.as_deref().is_some_and(|state| !leaving.contains(&state));
        let fleet = Fleet {
            instances: u32::try_from(it.instances.iter().filter(is_there).count()).unwrap_or(u32::MAX),
            has_group: it.instances_wanted.is_some() && it.exists,
            has_balancer: it.address.is_some() && !service.is_direct && service.behind.is_none(),
            has_address: it.address.is_some() && service.is_direct,
            ..Fleet::described(service, it.zones, page::usual_bake_minutes(&session.site))
        };
        if it.unread.is_empty() { fleet.monthly() } else { None }
    };
    let monthly: Option<f64> = contents.services.iter().map(of_one).sum();
    Cost::of(monthly.zip(secrets(session, drift)).map(|(services, secrets)| services + secrets))
}

/// The monthly cost of the existing secrets that variables refer to; `None` if unknown.
fn secrets(session: &Session, drift: &Drift) -> Option<f64> {
    let seen = session.versions.lock();
    // They are looked for before changes are counted.
    let is_known = drift.unread.is_none() || !seen.is_empty() || !session.config.holds(Store::Secret);
    let count = seen.keys().filter(|(store, _)| *store == Store::Secret).count();
    is_known.then(|| secrets_monthly(u32::try_from(count).unwrap_or(u32::MAX)))
}

/// Counts the changes that a plan would show. Packages are not built for that: their programs count as unchanged.
async fn drift(session: &Session, names: &ResourceNames) -> Drift {
    let uncompared = packages(session);
    match changes(session, names, &uncompared).await {
        Ok(changes) => Drift { changes: Some(changes), uncompared, unread: None },
        Err(why) => Drift { changes: None, uncompared, unread: Some(why) },
    }
}

/// The entries whose programs Cargo builds.
fn packages(session: &Session) -> Vec<String> {
    let config = &session.config;
    let is_package = |program: &Program| matches!(program, Program::Package(_));
    let functions = config.functions.iter().filter(|(_, it)| is_package(&it.program));
    let services = config.services.iter().filter(|(_, it)| is_package(&it.program));
    let functions = functions.map(|(entry, _)| format!("functions.{entry}"));
    functions.chain(services.map(|(entry, _)| format!("services.{entry}"))).collect()
}

async fn changes(session: &Session, names: &ResourceNames, packages: &[String]) -> Result<usize, String> {
    let reason = |fault: Fault| failure_reason(&fault);
    let deployed = async { deployed(session, names, packages).await.map_err(reason) };
    let network = async { session.discover(Lookup::AsWritten).await.map_err(reason) };
    let (deployed, network) = futures::try_join!(deployed, network)?;
    let programs = programs(session, packages, deployed).await?;
    let missing = session.find_stored_values(|_| true).await.map_err(|failure| failure.error.to_string())?;
    if !missing.is_empty() {
        return Err(missing.iter().map(|failure| failure.error.to_string()).collect::<Vec<_>>().join("; "));
    }
    let page =
        || lay_out_until(&session.config, &session.site, network.as_ref(), &programs, session.wait, session.later());
    let (wanted, orphans) = futures::try_join!(wanted(session, page()), orphans(session, page()))?;
    Ok(wanted + orphans)
}

/// The programs that the packages' entries have now.
async fn deployed(session: &Session, names: &ResourceNames, packages: &[String]) -> Result<Deployed, Fault> {
    let packages: BTreeSet<&str> = packages.iter().map(String::as_str).collect();
    let functions = names.functions.iter().filter(|it| packages.contains(&*format!("functions.{}", it.entry)));
    let services = names.services.iter().filter(|it| packages.contains(&*format!("services.{}", it.service)));
    status::deployed(&session.aws, &functions.collect::<Vec<_>>(), &services.collect::<Vec<_>>()).await
}

/// Finished programs from their files, and those of packages as they are deployed.
async fn programs(session: &Session, packages: &[String], deployed: Deployed) -> Result<Programs, String> {
    let is_finished = |entry: &str| !packages.iter().any(|package| package == entry);
    let read = Programs::build(&session.config, &session.file, session.destination, is_finished, |_| ()).await;
    let mut programs = read.map_err(|failed| failed.error.to_string())?;
    deployed.functions.into_iter().for_each(|(entry, sha256)| programs.keep_function(&entry, sha256));
    deployed.services.into_iter().for_each(|(entry, sha256)| programs.keep_service(&entry, sha256));
    Ok(programs)
}

/// The number of changes to resources that `stack.yaml` describes.
async fn wanted(session: &Session, page: Page) -> Result<usize, String> {
    let all = page.stack.all();
    let mut plan = page.stack.plan(&session.aws, Some(&all)).await.map_err(|error| without_plan(&error))?;
    paused::leave(&mut plan, &page, Intended::PauseAndEnd);
    Ok(plan.work())
}

/// The number of resources that `stack.yaml` no longer describes.
async fn orphans(session: &Session, mut page: Page) -> Result<usize, String> {
    let looked = kinds::doom_orphans(&mut page.stack, &session.aws).await;
    looked.map_err(|fault| failure_reason(&fault))?;
    let lines = page.stack.plan_orphans(&session.aws).await.map_err(|error| without_plan(&error))?;
    Ok(lines.iter().filter(|line| line.step.is_work()).count())
}

/// Why there is no plan, on one line.
fn without_plan(error: &Error) -> String {
    match error {
        Error::Fault { source, .. } => format!("{error}: {}", failure_reason(source)),
        _ => error.to_string(),
    }
}
