//! `policy`: prints the least IAM policy with which commands can run.

use std::path::Path;

use anyhow::{Context as _, anyhow};

use super::{describe, offline_page};
use crate::{
    commands::cli::{Global, Policy as Args},
    config::{Config, did_you_mean},
    output::{
        exit::{Exit, Failure},
        report, shell,
    },
    rights::{COMMANDS, Document, LONGEST_MANAGED, Needs, Right, Scope, documents, of_command},
};

/// The placeholder for an unknown account number.
const PLACEHOLDER: &str = "ACCOUNT_ID";

/// No call of AWS.
pub fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let chosen = chosen(&args.commands)?;
    let (_, config) = describe(global)?;
    let account = account(global, args, &config);
    let longest = if args.split.is_some() { LONGEST_MANAGED } else { usize::MAX };
    let documents = documents_of(&config, &account, &chosen, longest);
    if documents.is_empty() {
        report::say("no permission is needed: these commands do not call AWS");
        return Ok(Exit::Done);
    }
    if account == PLACEHOLDER {
        report::say(format!("replace {PLACEHOLDER} by the account's number, or name it with --account"));
    }
    match &args.split {
        None => documents.iter().for_each(print),
        Some(folder) => write(folder, &config, &documents)?,
    }
    Ok(Exit::Done)
}

/// The chosen commands, or all of them.
fn chosen(names: &[String]) -> Result<Vec<&'static Needs>, Failure> {
    if names.is_empty() {
        return Ok(COMMANDS.iter().collect());
    }
    let all = || COMMANDS.iter().map(|needs| needs.command);
    let one = |name: &String| {
        of_command(name).ok_or_else(|| {
            let failure = Failure::usage(format!("there is no command {name:?}"));
            match did_you_mean(name, all()) {
                Some(meant) => failure.hint(format!("did you mean {meant}?")),
                None => failure.hint(format!("choose from: {}", all().collect::<Vec<_>>().join(", "))),
            }
        })
    };
    names.iter().map(one).collect()
}

fn account(global: &Global, args: &Args, config: &Config) -> String {
    let of_local = global.local.then_some("000000000000");
    args.account.as_deref().or(of_local).or(config.account.as_deref()).unwrap_or(PLACEHOLDER).to_owned()
}

fn documents_of(config: &Config, account: &str, chosen: &[&'static Needs], longest: usize) -> Vec<Document> {
    let page = offline_page(config);
    let existing_role = config.roles.as_ref().map(|roles| roles.existing.to_string());
    let stack = Scope::of_stack(config.name.as_str(), account, config.region.as_str(), existing_role);
    let all = stack.of_all_stacks();
    let rights: Vec<(Right, &Scope)> = chosen
        .iter()
        .flat_map(|needs| {
            let scope = if needs.is_for_all_stacks() { &all } else { &stack };
            needs.rights(config, &page).into_iter().map(move |right| (right, scope))
        })
        .collect();
    documents(&rights, longest)
}

fn print(document: &Document) {
    report::answer(&text(document));
    let length = document.length();
    match length > LONGEST_MANAGED {
        true => {
            report::say(format!("{length} characters without white space, more than the 6144 of a managed policy"));
            report::hint(
                "--split FOLDER writes several policies; the inline policies of a role may have 10240 together",
            );
        }
        false => report::say(format!("{length} characters without white space, of the 6144 of a managed policy")),
    }
}

fn write(folder: &Path, config: &Config, documents: &[Document]) -> Result<(), Failure> {
    let failed = |path: &Path| format!("cannot write {}", path.display());
    std::fs::create_dir_all(folder).with_context(|| failed(folder)).map_err(unwritten)?;
    for (at, document) in documents.iter().enumerate() {
        let name = format!("deployer-{}-{}", config.name, at + 1);
        let file = folder.join(format!("{name}.json"));
        std::fs::write(&file, text(document)).with_context(|| failed(&file)).map_err(unwritten)?;
        let source = shell::option("policy-document", &format!("file://{}", file.display()));
        report::line(&format!("aws iam create-policy --policy-name {name}{source}"));
    }
    report::say("attach all of them to the user, group or role that runs the deployer");
    Ok(())
}

fn unwritten(error: anyhow::Error) -> Failure {
    Failure::new(Exit::Failed, anyhow!(error)).hint("name a folder that can be written to")
}

fn text(document: &Document) -> String {
    format!("{:#}\n", document.json())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::{commands::cli::Cli, kinds, rights};

    #[test]
    fn every_command_and_every_kind_has_a_row() {
        let cli = Cli::command();
        let commands: Vec<&str> = cli.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(COMMANDS.iter().map(|needs| needs.command).collect::<Vec<_>>(), commands);
        let mut kinds: Vec<&str> = kinds::KINDS.iter().map(|kind| kind.name).collect();
        kinds.sort_unstable();
        assert_eq!(rights::KINDS.iter().map(|kind| kind.kind).collect::<Vec<_>>(), kinds);
    }

    #[test]
    fn an_unknown_command_is_named_with_the_nearest() {
        let failure = chosen(&["satus".to_owned()]).unwrap_err();
        assert_eq!((failure.exit, failure.hint.as_deref()), (Exit::Usage, Some("did you mean status?")));
    }
}
