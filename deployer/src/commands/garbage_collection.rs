//! Garbage collection: removes programs and versions of functions that no release needs any more, after a roll-out.

use super::Session;
use crate::{
    engine::{Fault, Plan, Resource as _, Step, look},
    kinds::{auto_scaling_group::AutoScalingGroup, function::Function, launch_template::LaunchTemplate},
    output::report,
    page::{Front, names::StackNames},
    releases::{Releases, functions::FunctionReleases},
};

/// The services that a plan brings another release.
pub fn rolled_out<'a>(plan: &Plan, fronts: &[&'a Front]) -> Vec<&'a Front> {
    let is_rolled_out = |front: &&&Front| {
        let mut groups = plan.lines.iter().filter(|line| line.address.kind == AutoScalingGroup::KIND);
        groups.any(|line| line.address.key == front.name && matches!(line.step, Step::Update(_) | Step::Pending(_)))
    };
    fronts.iter().filter(is_rolled_out).copied().collect()
}

/// Removes the programs that neither one of the newest releases nor an instance needs. Called under the lease. Failing
/// to do so only costs storage.
pub async fn remove_programs(session: &Session, fronts: &[&Front]) {
    for front in fronts {
        match of_service(session, front).await {
            Ok(0) => (),
            Ok(removed) => report::say(format!("{}: removed {}", front.name, programs(removed))),
            Err(fault) => report::say(format!("{}: old programs could not be removed: {fault}", front.name)),
        }
    }
}

/// The functions that a plan changes.
pub fn changed_functions(plan: &Plan) -> Vec<String> {
    let lines = plan.lines.iter().filter(|line| line.address.kind == Function::KIND);
    let changed = lines.filter(|line| matches!(line.step, Step::Update(_) | Step::Pending(_)));
    changed.map(|line| line.address.key.clone()).collect()
}

/// Deletes the versions of these functions that are no longer kept. Called under the lease. Failing to do so only costs
/// storage.
pub async fn delete_versions(session: &Session, entries: &[String]) {
    for entry in entries {
        match of_function(session, entry).await {
            Ok(0) => (),
            Ok(1) => report::say(format!("{entry}: deleted an old version")),
            Ok(deleted) => report::say(format!("{entry}: deleted {deleted} old versions")),
            Err(fault) => report::say(format!("{entry}: old versions could not be deleted: {fault}")),
        }
    }
}

async fn of_function(session: &Session, entry: &str) -> Result<usize, Fault> {
    let (aws, stack) = (&session.aws, session.config.name.as_str());
    let function = Function::named(&StackNames::of(&session.config, &session.site).plain(entry));
    let releases = look(|| FunctionReleases::read(aws, &function)).await?;
    let Some(releases) = releases.filter(|it| it.owner.foreign_to(stack).is_none()) else { return Ok(0) };
    let obsolete: Vec<i64> = releases.obsolete().collect();
    for number in &obsolete {
        look(|| function.delete_version(aws, *number)).await?;
    }
    Ok(obsolete.len())
}

async fn of_service(session: &Session, front: &Front) -> Result<usize, Fault> {
    let (aws, template) = (&session.aws, LaunchTemplate::named(&front.template));
    let releases = look(|| Releases::read(aws, &template, &front.names.group)).await?;
    let is_known = |releases: &Releases| releases.is_whole_of(session.config.name.as_str());
    let Some(releases) = releases.filter(is_known) else { return Ok(0) };
    let keys = look(|| front.programs.keys(aws)).await?;
    let obsolete = front.programs.obsolete(keys, &releases);
    for key in &obsolete {
        look(|| front.programs.remove(aws, key)).await?;
    }
    Ok(obsolete.len())
}

fn programs(count: usize) -> String {
    if count == 1 { "an old program".into() } else { format!("{count} old programs") }
}
