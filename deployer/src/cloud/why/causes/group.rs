//! Causes in the Auto Scaling group: roll-outs, and launches.

use crate::cloud::why::evidence::{Evidence, Stage};

/// The service is healthy again, with the release before.
pub(super) fn alarm(it: &Evidence) -> Option<String> {
    let roll_out = it.roll_out.as_ref().filter(|roll_out| roll_out.stage == Stage::Back && it.is_well())?;
    let why = roll_out.why.as_ref().filter(|_| roll_out.is_alarmed)?;
    Some(format!("AWS rolled release {} back: {why}", roll_out.release))
}

/// The same for any other reason.
pub(super) fn rolled_back(it: &Evidence) -> Option<String> {
    let roll_out = it.roll_out.as_ref().filter(|roll_out| roll_out.stage == Stage::Back && it.is_well())?;
    let undone = format!("release {} was rolled back", roll_out.release);
    Some(match (&roll_out.end, &roll_out.why) {
        (Some(end), _) => format!("{undone}: its service {end}"),
        (None, Some(why)) => format!("{undone}: {why}"),
        (None, None) => undone,
    })
}

pub(super) fn no_group(it: &Evidence) -> Option<String> {
    matches!(it.group, Some(None)).then(|| "its Auto Scaling group does not exist".into())
}

pub(super) fn suspended(it: &Evidence) -> Option<String> {
    let suspended = &it.group.as_ref()?.as_ref()?.suspended;
    let matter = ["Launch", "Terminate", "AddToLoadBalancer", "HealthCheck", "ReplaceUnhealthy"];
    let stopped: Vec<&str> = suspended.iter().map(String::as_str).filter(|it| matter.contains(it)).collect();
    (!stopped.is_empty()).then(|| format!("its Auto Scaling group has suspended processes: {}", stopped.join(", ")))
}

pub(super) fn launch_refused(it: &Evidence) -> Option<String> {
    let failure = it.launches.first()?.failure.as_ref()?;
    Some(format!("AWS refuses to launch an instance: {failure}"))
}

pub(super) fn no_instances(it: &Evidence) -> Option<String> {
    let is_empty = it.group.as_ref()?.as_ref()?.min == 0 && it.instances.iter().all(|it| it.state == "terminated");
    (is_empty && it.targets.is_empty())
        .then(|| "its Auto Scaling group has a minimum of 0, and no instance is running".into())
}

pub(super) fn impaired(it: &Evidence) -> Option<String> {
    let ill = it.instances.iter().find(|it| it.is_impaired)?;
    Some(format!("instance {} fails the status checks of EC2", ill.id))
}
