//! The description: finding, reading and checking `stack.yaml`.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use crate::{
    cloud::site::Site,
    commands::cli::Global,
    config::{Config, Exposed},
    output::{
        exit::{Exit, Failure},
        report,
    },
};

/// Finds and reads `stack.yaml`, with the region of the command line if there is one.
pub(super) fn describe(global: &Global) -> Result<(PathBuf, Config), Failure> {
    let file = find(global)?;
    let config = read(&file)?;
    let Some(region) = &global.region else { return Ok((file, config)) };
    let config = config.in_region(region.parse().map_err(Failure::usage)?);
    Ok((file, config.map_err(|errors| Failure::new(Exit::Config, errors))?))
}

pub(super) fn find(global: &Global) -> Result<PathBuf, Failure> {
    if let Some(file) = &global.file {
        return std::path::absolute(file).map_err(Failure::from);
    }
    let here = std::env::current_dir()?;
    here.ancestors().map(|folder| folder.join("stack.yaml")).find(|file| file.is_file()).ok_or_else(|| {
        Failure::new(Exit::Config, anyhow!("there is no stack.yaml in {} or above", here.display()))
            .hint("go to your project's folder, or name the file with --file PATH")
    })
}

pub(super) fn read(file: &Path) -> Result<Config, Failure> {
    Config::read(file).map_err(|errors| Failure::new(Exit::Config, errors))
}

pub(super) fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("."))
}

/// The folder of `stack.yaml`, or the working directory if there is none.
pub(super) fn folder_or_here(global: &Global) -> Result<PathBuf, Failure> {
    match find(global) {
        Ok(file) => Ok(folder(&file).to_owned()),
        Err(_) if global.file.is_none() => Ok(std::env::current_dir()?),
        Err(failure) => Err(failure),
    }
}

/// `stack.yaml:LINE`, with the path relative to the working directory.
pub(super) fn place(config: &Config, file: &Path, path: &str) -> Option<String> {
    let here = std::env::current_dir().ok();
    let file = here.and_then(|here| file.strip_prefix(here).ok()).unwrap_or(file);
    config.place_of(path).map(|place| format!("{}:{}", file.display(), place.line))
}

/// The description with the roles and the limits of its account.
///
/// Errors: values that the account does not allow.
pub(super) fn in_account(config: Config, site: &Site) -> Result<Config, Failure> {
    match site.is_lab() {
        true => config.in_lab().map_err(|errors| Failure::new(Exit::Config, errors)),
        false => Ok(config),
    }
}

/// Warns of variables that look like secrets and of commands that contain one, each with its line.
pub(super) fn warn_of_exposed(config: &Config, file: &Path) {
    for Exposed { path, verb, what, remedy } in config.exposed() {
        let name = path.rsplit('.').next().unwrap_or_default();
        let place = place(config, file, &path).unwrap_or_default();
        report::warning(&format!("{place}: {name} {verb} {what}: {remedy}"));
    }
}
