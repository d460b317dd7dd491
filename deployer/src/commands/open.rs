//! `open`: prints the address of a service, and opens it in a browser.

use std::io::IsTerminal as _;

use anyhow::anyhow;

use super::{Lookup, Session, Wake, no_local_aws_here, unless_stopped};
use crate::{
    commands::cli::{Global, Open},
    engine::Inputs as _,
    machine::browser,
    output::{
        exit::{Exit, Failure},
        report,
    },
    package::programs::Programs,
    page::{Front, Page},
};

/// Exit code 1 if the service has no address yet, if that is reachable from its VPC only, or if no program can open it.
pub async fn run(global: &Global, args: &Open) -> Result<Exit, Failure> {
    let session = Session::open(global, Wake::Only, Lookup::AsWritten).await?.ok_or_else(no_local_aws_here)?;
    let page = session.page(&Programs::none());
    let front = chosen(&page, args.service.as_deref())?;
    let asked = page.stack.with_needs(front.url.needs());
    let plan = unless_stopped(async { Ok(page.stack.plan(&session.aws, Some(&asked)).await?) }).await?;
    session.tally(global);
    let Some(url) = front.url_to_open(plan.outputs()) else {
        let missing = if front.address.is_some() { "elastic IP address" } else { "load balancer" };
        let error = anyhow!("{} has no address: its {missing} does not exist", front.name);
        return Err(Failure::new(Exit::Failed, error).hint("run `up` first, or `resume` if the stack is paused"));
    };
    report::answer(&format!("{url}\n"));
    if front.is_internal {
        let error = anyhow!("the address of {} is reachable from its VPC only", front.name);
        return Err(Failure::new(Exit::Failed, error).hint("open it from a machine with an address of the VPC"));
    }
    let unopened = |why: anyhow::Error| {
        Failure::new(Exit::Failed, why.context("cannot open a browser")).hint("open the address above by hand")
    };
    if !std::io::stdout().is_terminal() {
        return Err(unopened(anyhow!("stdout is not a terminal"))
            .hint("run it on a terminal; `deployer outputs` prints addresses for scripts"));
    }
    unless_stopped(async { browser::open(&url).await.map_err(unopened) }).await?;
    Ok(Exit::Done)
}

/// The service of this name, or the only one.
fn chosen<'a>(page: &'a Page, name: Option<&str>) -> Result<&'a Front, Failure> {
    let all = || page.services.iter().map(|front| front.name.as_str()).collect::<Vec<_>>().join(", ");
    let entry = name.map(|name| name.strip_prefix("services.").or(name.strip_prefix("service.")).unwrap_or(name));
    match (entry, page.services.as_slice()) {
        (_, []) => Err(Failure::usage("stack.yaml has no service").hint("only services have an address")),
        (None, [only]) => Ok(only),
        (None, _) => Err(Failure::usage("stack.yaml has several services").hint(format!("name one of: {}", all()))),
        (Some(entry), fronts) => fronts.iter().find(|front| front.name == entry).ok_or_else(|| {
            Failure::usage(format!("stack.yaml has no service {entry:?}")).hint(format!("available: {}", all()))
        }),
    }
}
