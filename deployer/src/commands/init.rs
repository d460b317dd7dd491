//! `init`: writes a commented `stack.yaml` to start from.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use anyhow::anyhow;

use super::offline_page;
use crate::{
    commands::cli::{Global, Init as Args, Template},
    config::{Config, Name, Program, Region, template::commented},
    output::{
        counted::counted,
        exit::{Exit, Failure},
        report, shell,
    },
    package::{Architecture, Platform, Shipped, is_in_workspace},
};

/// The region of a new description, unless another is named.
const REGION: &str = "us-east-1";
/// The platform of the programs in the next step: `up --local`, or `up` where this deployer has no local AWS.
const PLATFORM: Platform = if cfg!(feature = "local") { Platform::Host } else { Platform::Aws(Architecture::X86_64) };
/// The longest name derived from a folder, so that the names of all resources fit.
const LONGEST: usize = 20;

const HEADER: &str = "\
# What `deployer up` deploys to AWS, and `deployer up --local` to this machine.
# `deployer validate` checks this file. Names below the sections are yours.

";

/// Exit code 64 if the file exists: it is never overwritten.
pub fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let shown = global.file.clone().unwrap_or_else(|| PathBuf::from("stack.yaml"));
    let file = std::path::absolute(&shown)?;
    let folder = file.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let folder = folder.unwrap_or_default();
    let name = match &args.name {
        Some(name) => name.parse().map_err(|why| Failure::usage(format!("--name {name}: {why}")))?,
        None => named_after(&folder).unwrap_or_else(|| "app".parse().expect("a name")),
    };
    let region = global.region.as_deref().unwrap_or(REGION).parse().map_err(Failure::usage)?;
    let package = if is_package(&folder) && args.name.is_none() { folder } else { name.to_string() };
    let (place, shipped) = (file.parent().unwrap_or(Path::new("")), Shipped::beside_us());
    let template = args.template.unwrap_or_else(|| usual_template(is_in_workspace(place), &shipped));
    let text = description(template, &name, &region, &package);
    let config = Config::parse(&shown.display().to_string(), &text).map_err(|errors| unfit(&name, &errors.problems))?;
    write(&file, &shown, &text)?;
    let count = counted(offline_page(&config).stack.dependencies().len(), "resource");
    report::say(format!("wrote {}: the stack {name}, {count}", shown.display()));
    let has_programs = is_in_workspace(place) || ships_all(&config, &shipped);
    if !has_programs {
        report::hint(
            "there is no Cargo.toml here or above: name a finished program with `binary`, or a service's folder with \
             `files`",
        );
    } else if args.template.is_none() && template == Template::Postagram {
        report::hint("this is Postagram, the app of this release; `--template service` describes a service of yours");
    }
    report::say(next_step(global.file.as_deref(), has_programs));
    Ok(Exit::Done)
}

/// The template without `--template`: one whose programs `up` can build, or the release has.
fn usual_template(is_in_workspace: bool, shipped: &Shipped) -> Template {
    let app = Config::parse("stack.yaml", plain(Template::Postagram));
    let has_app = app.is_ok_and(|app| ships_all(&app, shipped));
    if !is_in_workspace && has_app { Template::Postagram } else { Template::Service }
}

/// Whether the release has every program of a description that Cargo would build.
fn ships_all(config: &Config, shipped: &Shipped) -> bool {
    let functions = config.functions.values().map(|function| &function.program);
    let mut programs = functions.chain(config.services.values().map(|service| &service.program));
    programs.all(|program| match program {
        Program::Package(package) => shipped.program(package, PLATFORM).is_some(),
        Program::Binary(_) | Program::Files(_) | Program::Managed(_) => true,
    })
}

/// The command to run next. Without `--file`, `up` finds the description on its own.
fn next_step(file: Option<&Path>, has_programs: bool) -> String {
    let first = if has_programs { "" } else { "name the programs; then " };
    let option = shell::file_option(file);
    match PLATFORM {
        Platform::Host => {
            format!("next: {first}`deployer up{option} --local` runs it on this machine, no account needed")
        }
        Platform::Aws(_) => format!("next: {first}`deployer up{option}` deploys it to AWS, after showing the plan"),
    }
}

/// The text of a description.
fn description(template: Template, name: &Name, region: &Region, package: &str) -> String {
    let lines = plain(template).lines().skip_while(|line| line.starts_with('#'));
    let line = |line: &str| match line.split_once(": ") {
        Some(("name", _)) => format!("name: {name}\n"),
        Some(("region", _)) => format!("region: {region}\n"),
        Some((key, "app")) => format!("{key}: {package}\n"),
        _ => format!("{line}\n"),
    };
    HEADER.to_owned() + &commented(&lines.map(line).collect::<String>())
}

/// A template without the meanings of its fields. Its programs are the package `app`.
fn plain(template: Template) -> &'static str {
    match template {
        Template::Postagram => include_str!("../../../stack.yaml"),
        Template::Service => include_str!("templates/service.yaml"),
        Template::Function => include_str!("templates/function.yaml"),
    }
}

/// The name of a stack in this folder.
fn named_after(folder: &str) -> Option<Name> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let letters: String = folder.chars().map(plain).collect();
    let parts: Vec<&str> = letters.split('-').filter(|part| !part.is_empty()).collect();
    let name: String =
        parts.join("-").trim_start_matches(|c: char| !c.is_ascii_lowercase()).chars().take(LONGEST).collect();
    name.trim_end_matches('-').parse().ok()
}

/// Whether Cargo would name a package after this folder.
fn is_package(folder: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    folder.starts_with(|c: char| c.is_ascii_alphabetic()) && folder.chars().all(is_plain)
}

/// The error for a name with which names of resources would be invalid.
fn unfit(name: &Name, problems: &[crate::config::Problem]) -> Failure {
    let what = problems.first().map_or("the description is invalid", |problem| &problem.message);
    Failure::usage(format!("with the name {name}, {what}")).hint("choose another name with --name")
}

fn write(file: &Path, shown: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, anyhow::Error::new(error).context(format!("failed to write {}", shown.display())))
    };
    match OpenOptions::new().write(true).create_new(true).open(file) {
        Ok(mut opened) => opened.write_all(text.as_bytes()).map_err(|error| {
            // Half a description would keep the next `init` from writing a whole one.
            let _ = std::fs::remove_file(file);
            failed(error)
        }),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(Failure::new(Exit::Usage, anyhow!("{} exists already and was not changed", shown.display()))
                .hint("name another file with --file PATH, or move this one away"))
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "local")]
    fn the_next_step_names_the_file_that_was_written() {
        let step = |file: Option<&str>| next_step(file.map(Path::new), true);
        assert!(step(None).starts_with("next: `deployer up --local` runs it"));
        assert!(step(Some("other.yaml")).starts_with("next: `deployer up --file 'other.yaml' --local` runs it"));
        assert!(step(Some("it's")).starts_with(r"next: `deployer up --file 'it'\''s' --local` runs it"));
        let step = next_step(None, false);
        assert!(step.starts_with("next: name the programs; then `deployer up --local` runs it"), "{step}");
    }

    #[test]
    fn without_a_release_the_usual_template_is_a_service() {
        assert_eq!(usual_template(false, &Shipped::default()), Template::Service);
        assert_eq!(usual_template(true, &Shipped::default()), Template::Service);
    }

    #[test]
    fn a_stack_is_named_after_its_folder_as_far_as_possible() {
        let named = |folder: &str| named_after(folder).map(|name| name.to_string());
        assert_eq!(named("shop"), Some("shop".into()));
        assert_eq!(named("My_Shop (2)"), Some("my-shop-2".into()));
        assert_eq!(named("2048.game"), Some("game".into()));
        assert_eq!(named("a-folder-with-a-very-long-name"), Some("a-folder-with-a-very".into()));
        assert_eq!(named("東京"), None);
        assert!(is_package("my_shop") && !is_package("2048") && !is_package("my shop"));
    }
}
