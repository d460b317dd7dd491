//! `verify`: makes the requests of `verify:` in `stack.yaml` against the running stack.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;

use super::{Session, unless_stopped};
use crate::{
    commands::cli::{Global, Verify as Args},
    config::{
        Config, Name,
        verify::{Request, Verify, Word},
    },
    engine::{Inputs as _, Outputs},
    machine::signals,
    output::{
        exit::{Exit, Failure},
        report::Checks,
    },
    package::programs::Programs,
    page::{Front, Page},
    verify::{Client, Values, VerifyRun},
};

/// Exit code 4 if an answer is not as expected.
pub async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let session = Session::open_existing(global).await?;
    let verify = described(&session)?;
    let page = session.page(&Programs::none());
    let asked = page.stack.with_needs(needs(verify, &page));
    let plan = unless_stopped(async { Ok(page.stack.plan(&session.aws, Some(&asked)).await?) }).await?;
    let checks = if args.json { Checks::Json } else { Checks::Answer };
    let exit = all(&session, &page, plan.outputs(), checks).await?;
    session.tally(global);
    Ok(exit)
}

/// The requests of `stack.yaml`.
///
/// Errors: it has none, or this machine cannot make one.
pub fn described(session: &Session) -> Result<&Verify, Failure> {
    let verify = session.config.verify.as_ref().ok_or_else(|| {
        Failure::usage("stack.yaml has no `verify` section").hint(
            "docs/stack.md has its fields; `deployer init --template postagram --file example.yaml` writes an example",
        )
    })?;
    refuse_internal(&session.config, verify)?;
    Ok(verify)
}

/// Refuses requests to a service with an internal load balancer: this machine is not in its VPC.
fn refuse_internal(config: &Config, verify: &Verify) -> Result<(), Failure> {
    let is_internal =
        |entry: &str| config.services.get(entry).is_some_and(|service| config.is_internal(entry, service));
    let first = || config.services.keys().next();
    let base = verify.service.as_ref().or_else(first).filter(|name| is_internal(name.as_str()));
    let refused = |(step, request): &(Name, Request)| {
        let service = match request.target.words().first() {
            Some(word) if word.is_path() => base?.to_string(),
            Some(Word::Reference(reference)) if reference.section == "services" && is_internal(&reference.entry) => {
                reference.entry.clone()
            }
            _ => return None,
        };
        Some((step.to_string(), service))
    };
    let Some((step, service)) = verify.steps.iter().find_map(refused) else { return Ok(()) };
    Err(Failure::usage(format!("verify.steps.{step} requests {service}, which is reachable from its VPC only"))
        .hint("leave out what needs that address, or run its requests from an instance in the VPC"))
}

/// Makes all requests to a stack that is up, and prints the result of each.
///
/// Errors: the stack has no address yet.
pub async fn all(session: &Session, page: &Page, outputs: &Outputs, checks: Checks) -> Result<Exit, Failure> {
    let verify = described(session)?;
    let base = match front(verify, page) {
        None => String::new(),
        Some(front) => front.url(outputs).ok_or_else(|| absent(&format!("services.{}.url", front.name)))?,
    };
    let mut references = BTreeMap::new();
    for (path, wire) in &page.verify {
        references.insert(path.clone(), wire.get(outputs).ok_or_else(|| absent(path))?);
    }
    let run = VerifyRun {
        verify,
        client: Client::new(session.aws.trust.clone()),
        folder: session.folder().to_owned(),
        stop: signals::watch(),
    };
    let mut table = checks.begin(verify.steps.iter().map(|(name, _)| name.as_str()));
    let results = run.all(Values::new(&base, references), |moment| table.show(moment)).await;
    table.close(&results);
    Ok(match results.iter().any(crate::verify::Result::is_failure) {
        _ if run.stop.is_cancelled() => Exit::Interrupted,
        true => Exit::Unverified,
        false => Exit::Done,
    })
}

/// The resources whose outputs the requests need.
fn needs(verify: &Verify, page: &Page) -> BTreeSet<usize> {
    let of_references = page.verify.values().flat_map(|wire| wire.needs());
    front(verify, page).into_iter().flat_map(|front| front.url.needs()).chain(of_references).collect()
}

/// The service that paths are requested from. If there are several, the file names one.
fn front<'a>(verify: &Verify, page: &'a Page) -> Option<&'a Front> {
    match &verify.service {
        Some(name) => page.services.iter().find(|front| front.name == name.as_str()),
        None => page.services.first(),
    }
}

fn absent(path: &str) -> Failure {
    Failure::new(Exit::Failed, anyhow!("{path} is not known: its resource does not exist")).hint("run `up` first")
}
