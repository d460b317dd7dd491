//! `ls`: every stack of the account, even those whose `stack.yaml` is lost.

use std::{collections::BTreeSet, path::PathBuf};

use super::{Wake, connect_options, find, folder_or_here, local_access, read, tally, unless_stopped};
use crate::{
    cloud::{
        aws::Aws,
        sign_in,
        stacks::{self, FoundStack, RemovalInstructions, Stacks},
    },
    commands::cli::{Global, Ls},
    config::{Config, Region},
    output::{
        exit::{Exit, Failure},
        report,
        shell::{file_option, option},
    },
};

/// Exit code 1 if the list may be incomplete.
pub async fn run(global: &Global, args: &Ls) -> Result<Exit, Failure> {
    let mut found = unless_stopped(search(global, args)).await?;
    let here = described(global)?;
    for stack in &mut found.stacks {
        stack.remove = removal(stack, found.account.as_deref(), here.as_ref(), global);
    }
    match args.json {
        true => report::answer(&report::stacks_json(&found)),
        false => report::stacks(&found),
    }
    Ok(if found.unread.is_empty() { Exit::Done } else { Exit::Failed })
}

async fn search(global: &Global, args: &Ls) -> Result<Stacks, Failure> {
    let (region, is_assumed) = region(global, args).await?;
    let Some(local) = local_access(global, &folder_or_here(global)?, region.as_str(), Wake::Only)? else {
        return Ok(Stacks::default());
    };
    let aws = Aws::connect(&connect_options(global, region.as_str(), local)).await?;
    let identified = sign_in::identify(&aws).await;
    let site = identified.map_err(|failure| if is_assumed { elsewhere(failure) } else { failure })?;
    let regions = match args.all_regions {
        true => stacks::regions(&aws).await.map_err(|fault| Failure::to("list the regions of the account", fault))?,
        false => BTreeSet::from([region.as_str().to_owned()]),
    };
    let words = if args.all_regions { "searching all regions" } else { "searching" };
    let (stacks, unread) = report::meanwhile(words, stacks::search(&aws, &regions)).await;
    tally(&aws, global);
    Ok(Stacks { account: Some(site.account), stacks, unread })
}

/// The `stack.yaml` of this folder, with its path. One with errors counts only if `--file` names it.
fn described(global: &Global) -> Result<Option<(PathBuf, Config)>, Failure> {
    let Ok(file) = find(global) else { return Ok(None) };
    match read(&file) {
        Ok(config) => Ok(Some((file, config))),
        Err(failure) if global.file.is_some() => Err(failure),
        Err(_) => Ok(None),
    }
}

/// The hint for credentials that are refused in a region that was assumed.
fn elsewhere(failure: Failure) -> Failure {
    let hint = failure.hint.clone().map(|hint| format!("{hint}; ")).unwrap_or_default();
    failure.hint(format!(
        "{hint}if they are not for the regions of {USUAL}, name a region of your partition with --region"
    ))
}

/// The region to search: `--region`, or that of `stack.yaml`, or that of the AWS configuration. Whether it is assumed,
/// because none of them names one.
async fn region(global: &Global, args: &Ls) -> Result<(Region, bool), Failure> {
    if let Some(region) = &global.region {
        return Ok((region.parse().map_err(Failure::usage)?, false));
    }
    if let Some((_, config)) = described(global)? {
        return Ok((config.region, false));
    }
    let configured = match global.local {
        true => None,
        false => sign_in::configured_region(global.profile.as_deref()).await?,
    };
    match configured {
        Some(region) => match region.parse() {
            Ok(region) => Ok((region, false)),
            Err(error) => Err(Failure::new(Exit::Config, anyhow::anyhow!("{error}"))),
        },
        None if args.all_regions || global.local => Ok((USUAL.parse().expect("it is a region"), true)),
        None => Err(Failure::usage("no region: there is no stack.yaml here, and the AWS configuration names none")
            .hint("name one with --region, or search all with --all-regions")),
    }
}

/// The region that every account of the commercial partition can use.
const USUAL: &str = "us-east-1";

/// How to remove a stack: with the `stack.yaml` of this folder if it is of this stack, or else with a minimal one.
///
/// The commands may be run later and elsewhere: the minimal description takes no other account, and they name the
/// profile.
fn removal(
    stack: &FoundStack,
    account: Option<&str>,
    here: Option<&(PathBuf, Config)>,
    global: &Global,
) -> Option<RemovalInstructions> {
    let FoundStack { name, region, .. } = stack;
    let account = account.map(|account| format!("account: \"{account}\"\n")).unwrap_or_default();
    let minimal = format!("name: {name}\nregion: {region}\n{account}");
    // The name is from a tag, which anyone with access may have written.
    let config = Config::parse("stack.yaml", &minimal).ok()?;
    if config.name.as_str() != name {
        return None;
    }
    let ours = here.filter(|(_, config)| config.name.as_str() == name);
    let (stack_yaml, mut options) = match ours {
        Some((_, config)) => {
            let elsewhere = (config.region.as_str() != region).then(|| format!(" --region {region}"));
            (None, file_option(global.file.as_deref()) + &elsewhere.unwrap_or_default())
        }
        None => (Some(minimal), format!(" --file {name}.yaml")),
    };
    options += &global.profile.as_deref().map(|profile| option("profile", profile)).unwrap_or_default();
    options += if global.local { " --local" } else { "" };
    // `up` makes the artifact bucket again: without it, `down` considers the stack removed.
    let up = (!stack.has_anchor).then(|| format!("deployer up{options}"));
    let commands = up.into_iter().chain([format!("deployer down{options}")]).collect();
    Some(RemovalInstructions { stack_yaml, commands })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::commands::cli::Cli;

    const ACCOUNT: &str = "012345678901";

    fn global(arguments: &[&str]) -> Global {
        Cli::parse_from(["deployer", "ls"].iter().chain(arguments)).global
    }

    fn removed(name: &str, has_anchor: bool, here: &str, arguments: &[&str]) -> Option<(bool, Vec<String>)> {
        let stack = FoundStack { name: name.into(), region: "us-east-1".into(), has_anchor, ..FoundStack::default() };
        let here = Config::parse("stack.yaml", here).ok().map(|config| (PathBuf::from("/x/stack.yaml"), config));
        let removal = removal(&stack, Some(ACCOUNT), here.as_ref(), &global(arguments))?;
        Some((removal.stack_yaml.is_some(), removal.commands))
    }

    #[test]
    fn a_stack_is_removed_with_its_own_description_or_a_minimal_one() {
        let here = "name: app\nregion: us-east-1\n";
        let check = |name, anchor, here, arguments: &[&str], wanted: (bool, &[&str])| {
            let (new, commands) = removed(name, anchor, here, arguments).expect("a removal");
            assert_eq!((new, commands.iter().map(String::as_str).collect::<Vec<_>>()), (wanted.0, wanted.1.to_vec()));
        };
        check("app", true, here, &[], (false, &["deployer down"]));
        check("app", true, here, &["--local"], (false, &["deployer down --local"]));
        check("app", true, here, &["--profile", "it's"], (false, &[r"deployer down --profile 'it'\''s'"]));
        check("app", true, here, &["--file", "it's"], (false, &[r"deployer down --file 'it'\''s'"]));
        let elsewhere = "name: app\nregion: eu-west-1\n";
        check("app", true, elsewhere, &[], (false, &["deployer down --region us-east-1"]));
        check("old", true, here, &[], (true, &["deployer down --file old.yaml"]));
        let profile = "deployer down --file old.yaml --profile 'prod'";
        check("old", true, here, &["--profile", "prod"], (true, &[profile]));
        check("old", false, "", &[], (true, &["deployer up --file old.yaml", "deployer down --file old.yaml"]));
    }

    #[test]
    fn credentials_that_an_assumed_region_refuses_may_be_of_another_partition() {
        let failure = |hint: &str| elsewhere(Failure::usage("refused").hint(hint)).hint.expect("a hint");
        assert!(failure("renew them").starts_with("renew them; "));
        assert!(failure("renew them").ends_with("name a region of your partition with --region"));
    }

    #[test]
    fn a_minimal_description_is_of_this_account_only() {
        let stack = FoundStack { name: "old".into(), region: "us-east-1".into(), ..FoundStack::default() };
        let text = |account| removal(&stack, account, None, &global(&[])).and_then(|it| it.stack_yaml).unwrap();
        let minimal = text(Some(ACCOUNT));
        assert_eq!(minimal, "name: old\nregion: us-east-1\naccount: \"012345678901\"\n");
        assert_eq!(Config::parse("stack.yaml", &minimal).unwrap().account.as_deref(), Some(ACCOUNT));
        assert_eq!(text(None), "name: old\nregion: us-east-1\n");
    }

    #[test]
    fn a_tag_that_is_no_name_of_a_stack_gives_no_command() {
        for name in ["a; rm -rf ~", "a\nregion: eu-west-1", "A", "", "a: b", "'a'"] {
            assert_eq!(removed(name, true, "", &[]), None, "{name:?}");
        }
    }
}
