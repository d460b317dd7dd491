//! Causes while an instance boots: the fetch of the program, stored values and packages.

use crate::cloud::stored_values::Presence;
use crate::cloud::why::{
    evidence::{Evidence, UNFIT, UNREACHABLE, UnreadableValue},
    report::Line,
};

pub(super) fn user_data(it: &Evidence) -> Option<String> {
    let is_about = |line: &&Line| {
        let text = &line.text;
        text.contains("cloud-init") && (text.contains("ERROR") || text.contains("Failed") || text.contains("CRITICAL"))
            || line.program == "cloud-init"
                && (text.contains("ERROR") || text.contains("Failed") || text.contains("Unhandled"))
    };
    // An instance that reports has been set up. Reports of other instances prove nothing about it.
    let has_reported = it.reports.iter().any(|report| Some(&report.instance) == it.ill.as_ref());
    let line = it.console.iter().find(is_about).filter(|_| !has_reported)?;
    Some(format!("cloud-init failed on the instance: {}", line.text))
}

pub(super) fn disk_full(it: &Evidence) -> Option<String> {
    let line = it.line(&["No space left on device", "ENOSPC"])?;
    Some(format!("the disk of its instances is full: {}", line.text))
}

pub(super) fn no_profile(it: &Evidence) -> Option<String> {
    let newest = it.instances.iter().find(|it| it.state == "running")?;
    let lacks = it.failed_download(&["Unable to locate credentials"]).is_some() || newest.profile.is_none();
    lacks.then(|| "its instances have no role, so they cannot download the program".into())
}

fn failed_fetch(it: &Evidence, words: &[&str]) -> Option<String> {
    let line = it.failed_download(&["fatal error"])?;
    words.iter().any(|word| line.text.contains(word)).then(|| line.text.clone())
}

pub(super) fn fetch_denied(it: &Evidence) -> Option<String> {
    let line = failed_fetch(it, &["AccessDenied", "Forbidden", "403", "not authorized"])?;
    if it.has_program == Some(false) {
        return None;
    }
    Some(format!("its instances are not allowed to download the program: {line}"))
}

/// The role of a service may read its own secrets only: AWS denies it one that does not exist (docs/aws.md §23).
pub(super) fn secret_missing(it: &Evidence) -> Option<String> {
    let value = it.unreadable_value.as_ref()?;
    let what = &value.what;
    if let Some(lack) = value.presence.as_ref().and_then(Presence::lack) {
        return Some(format!("it cannot read {what}, which {lack}"));
    }
    let codes = ["ResourceNotFoundException", "ParameterNotFound", "InvalidRequestException"];
    let is_missing = codes.iter().any(|code| value.why.contains(code));
    is_missing.then(|| format!("it cannot read {what}: {}", value.why))
}

pub(super) fn secret_denied(it: &Evidence) -> Option<String> {
    let value = it.unreadable_value.as_ref().filter(|value| value.why.contains("AccessDenied"))?;
    Some(format!("its role may not read {}: {}", value.what, value.why))
}

pub(super) fn secret_unreachable(it: &Evidence) -> Option<String> {
    let is_unreachable = |value: &&UnreadableValue| UNREACHABLE.iter().any(|words| value.why.contains(words));
    let value = it.unreadable_value.as_ref().filter(is_unreachable)?;
    Some(format!("its instances do not reach the service that keeps {}: {}", value.what, value.why))
}

pub(super) fn secret_unfit(it: &Evidence) -> Option<String> {
    let value = it.unreadable_value.as_ref().filter(|value| value.why.contains(UNFIT))?;
    Some(format!("it cannot read {}: {}", value.what, value.why))
}

pub(super) fn secret_unread(it: &Evidence) -> Option<String> {
    let value = it.unreadable_value.as_ref()?;
    Some(format!("it cannot read {}: {}", value.what, value.why))
}

pub(super) fn program_missing(it: &Evidence) -> Option<String> {
    let line = match it.has_program {
        Some(false) => failed_fetch(it, &[""])?,
        _ => failed_fetch(it, &["NoSuchKey", "Not Found", "404", "NoSuchBucket"])?,
    };
    Some(format!("the program is not in the artifact bucket: {line}"))
}

pub(super) fn program_damaged(it: &Evidence) -> Option<String> {
    it.failed_download(&["did NOT match"])
        .map(|_| "the program in the artifact bucket is not the one that was built".into())
}

pub(super) fn packages(it: &Evidence) -> Option<String> {
    let line = it.failed_download(&[
        "Error: Unable to find a match",
        "Error: Failed to download metadata",
        "Error: local AWS:",
    ])?;
    Some(format!("dnf cannot install its `packages`: {}", line.text.trim_start_matches("Error: ")))
}

pub(super) fn setup(it: &Evidence) -> Option<String> {
    it.last_end().filter(|end| end.is_setup).map(|end| format!("it {end}"))
}
