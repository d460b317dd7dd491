//! Removes programs that no release needs any more, after a roll-out.

use super::Session;
use crate::{
    engine::{Fault, Plan, Resource as _, Step, look},
    kinds::{auto_scaling_group::AutoScalingGroup, launch_template::LaunchTemplate},
    output::report,
    page::Front,
    releases::Releases,
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
pub async fn remove(session: &Session, fronts: &[&Front]) {
    for front in fronts {
        match of_service(session, front).await {
            Ok(0) => (),
            Ok(removed) => report::say(format!("{}: removed {}", front.name, programs(removed))),
            Err(fault) => report::say(format!("{}: old programs could not be removed: {fault}", front.name)),
        }
    }
}

async fn of_service(session: &Session, front: &Front) -> Result<usize, Fault> {
    let (aws, template) = (&session.aws, LaunchTemplate::named(&front.template));
    let releases = look(|| Releases::read(aws, &template, &front.place.group)).await?;
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
