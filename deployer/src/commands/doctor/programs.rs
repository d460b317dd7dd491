//! Whether the programs can be built: packages, Cargo, tools for another platform; finished programs.

use super::{Description, Finding};
use crate::{
    commands::cli::Global,
    output::exit::{Exit, Failure},
    package::programs::{Destination, Failed, Programs},
};

pub async fn check(global: &Global, description: Option<&Description>) -> Vec<Finding> {
    let Some((file, config)) = description else { return Vec::new() };
    let destination = if global.local { Destination::Laptop } else { Destination::Aws };
    let checked = Programs::check(config, file, destination).await;
    let finding = |(what, result): (String, Result<String, Failed>)| match result {
        Ok(found) => Finding::good(&what, found),
        Err(Failed { error, .. }) => {
            let hint = error.hint();
            Finding::of(&what, &Failure { hint, ..Failure::new(Exit::Failed, error) })
        }
    };
    checked.into_iter().map(finding).collect()
}
