//! `doctor`: checks the requirements of the first `up`, and changes nothing.

mod check_result;
mod cloud;
#[cfg(feature = "local")]
mod laptop;
mod programs;
mod quotas;
mod rights;

use std::path::PathBuf;

use super::{describe, offline_page, unless_stopped};
use crate::{
    commands::cli::Global,
    config::{Config, Errors},
    output::{
        counted::counted,
        exit::{Exit, Failure},
        report,
    },
};
use check_result::CheckResult;

/// A description with its file.
type Description = (PathBuf, Config);

/// Exit code 1 if something would make `up` fail.
pub async fn run(global: &Global) -> Result<Exit, Failure> {
    let (first, description) = match describe(global) {
        Ok((file, config)) => {
            let count = counted(offline_page(&config).stack.dependencies().len(), "resource");
            (CheckResult::good("stack.yaml", count), Some((file, config)))
        }
        Err(failure) if failure.exit == Exit::Config => (undescribed(&failure), None),
        Err(failure) => return Err(failure),
    };
    let checks = async {
        let (mut programs, place) = futures::join!(programs::check(global, description.as_ref()), async {
            match global.local {
                true => on_this_machine(global, description.as_ref()),
                false => Ok(cloud::check(global, description.as_ref()).await),
            }
        });
        programs.extend(place?);
        Ok(programs)
    };
    let results = unless_stopped(checks).await?;
    let results: Vec<CheckResult> = std::iter::once(first).chain(results).collect();
    results.iter().flat_map(CheckResult::lines).for_each(|line| report::line(&line));
    Ok(if results.iter().any(CheckResult::is_bad) { Exit::Failed } else { Exit::Done })
}

/// Without `stack.yaml`, or with errors in it.
fn undescribed(failure: &Failure) -> CheckResult {
    match failure.error.downcast_ref::<Errors>() {
        Some(errors) if errors.problems.iter().any(|problem| problem.place.line > 0) => {
            let (count, first) = (errors.problems.len(), &errors.problems[0]);
            let more = if count > 1 { format!(", and {} more", count - 1) } else { String::new() };
            let text = format!("line {}: {}{more}", first.place.line, first.message);
            CheckResult::bad("stack.yaml", text).remedy("`deployer validate` shows every error with its remedy")
        }
        Some(_) => CheckResult::of("stack.yaml", failure),
        None => CheckResult::unclear("stack.yaml", &failure.error).remedy("`deployer init` writes one"),
    }
}

#[cfg(feature = "local")]
fn on_this_machine(global: &Global, description: Option<&Description>) -> Result<Vec<CheckResult>, Failure> {
    laptop::check(global, description)
}

#[cfg(not(feature = "local"))]
fn on_this_machine(_: &Global, _: Option<&Description>) -> Result<Vec<CheckResult>, Failure> {
    Err(super::no_local_aws())
}
