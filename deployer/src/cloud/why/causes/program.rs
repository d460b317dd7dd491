//! Causes in the program of the service.

use super::facts::has_run;
use crate::cloud::why::{
    evidence::Evidence,
    report::{Line, Report},
};
use crate::page::user_data::SETUP;

/// The exit code of bash if there is no such command. A program without one of its libraries has the same.
const NOT_FOUND: u32 = 127;

pub(super) fn command_missing(it: &Evidence) -> Option<String> {
    let end = it.last_end().filter(|end| end.is_program && end.status == NOT_FOUND)?;
    let before =
        end.words.strip_suffix(": command not found").or(end.words.strip_suffix(": No such file or directory"))?;
    let (_, program) = before.strip_prefix("run: line ")?.split_once(": ")?;
    Some(format!("its instances do not have {program}, which `run` starts: it {end}"))
}

pub(super) fn architecture(it: &Evidence) -> Option<String> {
    it.line(&["Exec format error"])
        .map(|_| format!("the program is built for another architecture than that of {}", it.instance_type))
}

pub(super) fn newer_libraries(it: &Evidence) -> Option<String> {
    let line = it.line(&["version `GLIBC_"]).filter(|line| line.text.contains("not found"))?;
    Some(format!("the program needs a newer C library than its instances have: {}", line.text))
}

pub(super) fn out_of_memory(it: &Evidence) -> Option<String> {
    let end = it.last_end()?;
    let message =
        it.line(&["memory allocation of", "Out of memory", "oom-kill", "OutOfMemory", "Cannot allocate memory"]);
    (message.is_some() || end.name == "OOM")
        .then(|| format!("the service needs more memory than {} has: it {end}", it.instance_type))
}

/// What services and KMS itself answer about a key that is denied, disabled, absent or about to be deleted.
const OF_KEYS: &[&str] =
    &["is not authorized to perform: kms:", "KMS.Disabled", "KMSDisabled", "KMSInvalidState", "KMS.NotFound"];

pub(super) fn key_unusable(it: &Evidence) -> Option<String> {
    let line = it.line(OF_KEYS).filter(|line| !["aws", "bash"].contains(&&*line.program));
    let is_of_key = |text: &&String| OF_KEYS.iter().any(|words| text.contains(words));
    let text = line.map(|line| &line.text).or(it.denial.as_ref().filter(is_of_key))?;
    Some(format!("the service cannot use a key of KMS: {text}"))
}

pub(super) fn denied(it: &Evidence) -> Option<String> {
    let line = it.line(&["is not authorized to perform"]).filter(|line| !["aws", "bash"].contains(&&*line.program));
    let text = line.map(|line| &line.text).or(it.denial.as_ref())?;
    Some(format!("the service lacks a permission: {text}"))
}

pub(super) fn port_taken(it: &Evidence) -> Option<String> {
    let line = it.line(&["Address already in use", "EADDRINUSE", "cannot listen on port"])?;
    Some(format!("the service cannot listen on port {}: {}", it.port, line.text))
}

pub(super) fn exits(it: &Evidence) -> Option<String> {
    let end = it.last_end()?;
    let restarts = it.reports.iter().map(Report::restarts).max().unwrap_or_default();
    let often = if restarts > 1 { format!(", {} times so far", restarts + 1) } else { String::new() };
    Some(match end.is_program {
        true => format!("the service {end}{often}"),
        false => format!("the service cannot be started: {}", end.words),
    })
}

/// The last output is that of a `setup` that has not ended.
pub(super) fn setting_up(it: &Evidence) -> Option<String> {
    let lines = it.lines();
    let last = lines.iter().rposition(|line| line.program == SETUP)?;
    let is_over = |line: &Line| has_run(line) || line.text.contains(" process exited");
    (!it.has_begun() && !lines[last..].iter().any(is_over)).then(|| "its `setup` is still running".into())
}
