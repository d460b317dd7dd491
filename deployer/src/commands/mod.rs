//! One file per command, and files for what they share: the session, its layout, failures and connection.

mod adopt;
pub mod aliases;
pub mod cli;
mod connection;
mod cost;
mod data;
mod description;
mod doctor;
mod down;
mod expiry;
mod export;
mod failures;
mod garbage_collection;
mod graph;
mod healthy;
mod history;
mod home;
mod https;
mod images;
mod init;
mod interrupts;
mod invoke;
mod lab;
mod layout;
mod lease;
#[cfg(feature = "local")]
mod local;
mod logs;
mod ls;
mod manual;
mod open;
mod outputs;
mod pause;
mod paused;
mod plan;
mod policy;
mod receipt;
mod rollback;
mod secret;
mod session;
mod status;
mod stored_values;
mod summary;
mod timing;
mod up;
mod validate;
mod verify;
mod web_acls;
mod why;

use crate::{
    commands::cli::{Cli, Command},
    config::did_you_mean,
    machine::signals,
    output::{
        exit::{Exit, Failure},
        report,
    },
};

#[cfg(not(feature = "local"))]
use connection::no_local_aws;
use connection::{Wake, connect_options, local_access, no_local_aws_here, scale};
use description::{describe, find, folder, folder_or_here, in_account, place, read, warn_of_exposed};
use home::{check_place, pin_file};
use interrupts::{interrupted, observer, unless_stopped, watched};
use layout::offline_page;
use session::{Lookup, Session, domains, instance_types};
use summary::Summary;
use timing::tally;

/// Runs the command.
pub async fn run(cli: Cli) -> Result<Exit, Failure> {
    let global = &cli.global;
    unknown_variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
        .iter()
        .for_each(|warning| report::warning(warning));
    // From the start; the local AWS handles signals itself.
    if !matches!(cli.command, Command::Local(_)) {
        signals::watch();
    }
    match &cli.command {
        Command::Up(args) if args.json => report::events::turn_on("up"),
        Command::Down(args) if args.json => report::events::turn_on("down"),
        _ => (),
    }
    match cli.command {
        Command::Up(args) => up::run(global, &args).await,
        Command::Plan(args) => plan::run(global, &args).await,
        Command::Adopt(args) => adopt::run(global, &args).await,
        Command::Cost(args) => cost::run(global, &args),
        Command::Status(args) => status::run(global, &args).await,
        Command::Why(args) => why::run(global, &args).await,
        Command::History(args) => history::run(global, &args).await,
        Command::Rollback(args) => rollback::run(global, args).await,
        Command::Pause(args) => pause::run(global, &args).await,
        Command::Resume(args) => up::resume(global, &args).await,
        Command::Logs(args) => logs::run(global, &args).await,
        Command::Invoke(args) => invoke::run(global, &args).await,
        Command::Open(args) => open::run(global, &args).await,
        Command::Verify(args) => verify::run(global, &args).await,
        Command::Down(args) => down::run(global, &args).await,
        Command::Secret(command) => secret::run(global, &command).await,
        Command::Outputs(args) => outputs::run(global, &args).await,
        Command::Export(command) => export::run(global, &command).await,
        Command::Ls(args) => ls::run(global, &args).await,
        Command::Policy(args) => policy::run(global, &args),
        Command::Schema => {
            report::answer(&crate::config::schema::schema());
            Ok(Exit::Done)
        }
        Command::Doctor => doctor::run(global).await,
        Command::Init(args) => init::run(global, &args),
        Command::Validate(args) => validate::run(global, &args),
        Command::Graph(args) => graph::run(global, &args),
        Command::Completions(args) => Ok(manual::completions(&args)),
        Command::Man(args) => manual::man(&args),
        #[cfg(feature = "local")]
        Command::Local(command) => local::run(global, &command).await,
        #[cfg(not(feature = "local"))]
        Command::Local(_) => Err(no_local_aws()),
    }
}

/// The environment variables that the deployer reads itself.
const VARIABLES: &[&str] = &[cli::PORT_VARIABLE];

/// Warns about variables that look like ours and are not: a misspelt one would have no effect.
fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let unknown = names.filter(|name| name.starts_with("DEPLOYER_") && !VARIABLES.contains(&name.as_str()));
    let warning = |name: String| match did_you_mean(&name, VARIABLES.iter().copied()) {
        Some(meant) => format!("{name} has no effect: did you mean {meant}?"),
        None => format!("{name} has no effect: the deployer reads {}", VARIABLES.join(", ")),
    };
    let mut warnings: Vec<String> = unknown.map(warning).collect();
    warnings.sort();
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_variable_with_our_prefix_is_named() {
        let warnings = |names: &[&str]| unknown_variables(names.iter().map(|name| (*name).to_owned()));
        assert_eq!(warnings(&["DEPLOYER_LOCAL_PORT", "PATH", "AWS_PROFILE"]), [""; 0]);
        let meant = "DEPLOYER_LOCAL_PROT has no effect: did you mean DEPLOYER_LOCAL_PORT?";
        let other = "DEPLOYER_STACK has no effect: the deployer reads DEPLOYER_LOCAL_PORT";
        assert_eq!(warnings(&["DEPLOYER_STACK", "DEPLOYER_LOCAL_PROT"]), [meant, other]);
    }
}
