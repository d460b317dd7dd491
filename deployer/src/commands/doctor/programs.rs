//! Whether the programs can be built: packages, Cargo, tools for another platform; finished programs.

use super::{CheckResult, Description};
use crate::{
    commands::cli::Global,
    output::exit::{Exit, Failure},
    package::programs::{Destination, Failed, Programs},
};

pub async fn check(global: &Global, description: Option<&Description>) -> Vec<CheckResult> {
    let Some((file, config)) = description else { return Vec::new() };
    let destination = if global.local { Destination::Laptop } else { Destination::Aws };
    let checked = Programs::check(config, file, destination).await;
    let check_result = |(what, result): (String, Result<String, Failed>)| match result {
        Ok(found) => CheckResult::good(&what, found),
        Err(Failed { error, .. }) => {
            let hint = error.hint();
            CheckResult::of(&what, &Failure { hint, ..Failure::new(Exit::Failed, error) })
        }
    };
    checked.into_iter().map(check_result).collect()
}
