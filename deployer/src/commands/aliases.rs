//! The names that other tools give our commands.

use clap::{
    CommandFactory as _,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{commands::cli::Cli, output::exit::Failure};

/// A name that another tool gives to something that the deployer does.
struct CommandAlias {
    theirs: &'static [&'static str],
    /// Our name for it, or the reason why there is none.
    ours: Ours,
}

enum Ours {
    /// A command with its arguments.
    Command(&'static str),
    /// An explanation, and what to do.
    Other(&'static str, &'static str),
}

use Ours::{Command, Other};

/// Names in Terraform, OpenTofu, Pulumi, CDK, SAM, CloudFormation, kubectl, Helm and other tools.
const ALIASES: &[CommandAlias] = &[
    CommandAlias {
        theirs: &["deploy", "apply", "create", "update", "install", "upgrade", "sync"],
        ours: Command("up"),
    },
    CommandAlias {
        theirs: &["destroy", "delete", "remove", "rm", "uninstall", "teardown", "undeploy"],
        ours: Command("down"),
    },
    CommandAlias { theirs: &["diff", "preview", "refresh"], ours: Command("plan") },
    CommandAlias { theirs: &["new", "generate"], ours: Command("init") },
    CommandAlias { theirs: &["output"], ours: Command("outputs") },
    CommandAlias { theirs: &["lint", "check"], ours: Command("validate") },
    CommandAlias { theirs: &["completion", "autocomplete"], ours: Command("completions") },
    CommandAlias { theirs: &["help"], ours: Command("--help") },
    CommandAlias { theirs: &["version"], ours: Command("--version") },
    CommandAlias { theirs: &["eject"], ours: Command("export terraform DIR") },
    CommandAlias { theirs: &["import"], ours: Command("adopt") },
    CommandAlias { theirs: &["undo", "revert"], ours: Command("rollback") },
    CommandAlias { theirs: &["stop", "suspend", "hibernate"], ours: Command("pause") },
    CommandAlias { theirs: &["start", "unpause"], ours: Command("resume") },
    CommandAlias { theirs: &["price", "pricing", "estimate"], ours: Command("cost") },
    CommandAlias { theirs: &["releases"], ours: Command("history") },
    CommandAlias { theirs: &["list"], ours: Command("ls") },
    CommandAlias { theirs: &["diagnose", "explain"], ours: Command("why") },
    CommandAlias { theirs: &["tail"], ours: Command("logs") },
    CommandAlias {
        theirs: &["state", "taint", "untaint", "workspace"],
        ours: Other(
            "the deployer has no state file: AWS itself is the state",
            "`deployer plan` shows how AWS differs from stack.yaml; another stack is another `name` or --region",
        ),
    },
    CommandAlias {
        theirs: &["unlock", "force-unlock", "cancel"],
        ours: Other(
            "there is nothing to unlock: the lease of a dead run expires within about a minute",
            "run the command again, with --wait if another run is in progress",
        ),
    },
    CommandAlias {
        theirs: &["bootstrap", "login", "configure"],
        ours: Other(
            "AWS needs no preparation: `up` creates all that it needs, with the credentials of the AWS CLI",
            "sign in with the AWS CLI (such as `aws sso login`), and run `deployer up`",
        ),
    },
];

/// Explains the name that another tool gives to one of our commands, if that is why these arguments were refused.
pub fn explained(error: &clap::Error, arguments: &[String]) -> Option<Failure> {
    let word = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) if error.kind() == ErrorKind::InvalidSubcommand => word,
        _ => return None,
    };
    // `local` has commands of its own.
    let mut before = arguments.iter().take_while(|argument| *argument != word);
    if before.any(|argument| Cli::command().find_subcommand(argument).is_some()) {
        return None;
    }
    let alias = ALIASES.iter().find(|alias| alias.theirs.contains(&word.as_str()))?;
    Some(match alias.ours {
        Command(ours) => Failure::usage(format!("{word}: deployer calls it `{ours}`"))
            .hint(format!("run `deployer {ours}`; `deployer --help` lists all commands")),
        Other(reason, remedy) => Failure::usage(format!("{word}: {reason}")).hint(remedy),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn explanation(arguments: &[&str]) -> Option<String> {
        let arguments: Vec<String> = std::iter::once(&"deployer").chain(arguments).map(ToString::to_string).collect();
        let error = Cli::try_parse_from(&arguments).expect_err("no command of ours");
        explained(&error, &arguments).map(|failure| failure.error.to_string())
    }

    #[test]
    fn the_definition_of_the_commands_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_alias_names_a_command_that_exists() {
        let command = Cli::command();
        let ours = |name: &str| command.get_subcommands().any(|command| command.get_name() == name);
        for alias in ALIASES {
            for theirs in alias.theirs {
                assert!(!ours(theirs), "{theirs} is a command of ours");
            }
            if let Command(name) = alias.ours {
                let first = name.split(' ').next().expect("a command");
                assert!(ours(first) || ["--help", "--version"].contains(&first), "{name}");
            }
        }
    }

    #[test]
    fn only_unknown_commands_are_explained() {
        assert_eq!(explanation(&["destroy"]).unwrap(), "destroy: deployer calls it `down`");
        assert_eq!(explanation(&["--local", "apply", "--yes"]).unwrap(), "apply: deployer calls it `up`");
        assert!(explanation(&["state"]).unwrap().starts_with("state: the deployer has no state file"));
        assert_eq!(explanation(&["upp"]), None, "a misspelt command is left to the suggestion of the parser");
        assert_eq!(explanation(&["local", "destroy"]), None);
        assert_eq!(explanation(&["plan", "--destroy"]), None);
    }
}
