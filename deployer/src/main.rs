//! Arguments, command, exit code.

use std::process::ExitCode;

use clap::Parser;
use deployer::{
    commands::{
        self, aliases,
        cli::{Cli, FIRST_SCREEN},
    },
    output::{
        exit::{Exit, Failure},
        report,
    },
};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            return refused(&error).into();
        }
    };
    report::colours(cli.global.color);
    match commands::run(cli).await {
        Ok(exit) => {
            report::events::summary(exit);
            printed(exit).into()
        }
        Err(failure) => {
            report::failure(&failure);
            report::events::summary(failure.exit);
            failure.exit.into()
        }
    }
}

/// Prints why the arguments were refused.
fn refused(error: &clap::Error) -> Exit {
    let arguments: Vec<String> = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    if arguments.len() <= 1 {
        FIRST_SCREEN.lines().for_each(report::say);
        return Exit::Usage;
    }
    if let Some(failure) = aliases::explained(error, &arguments) {
        report::failure(&failure);
        return failure.exit;
    }
    // `--help` and `--version` are answers, everything else is a usage error.
    let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
    report::note_unprinted(error.print());
    printed(exit)
}

/// The exit code, unless an answer could not be printed in full: its reader would take a part for the whole.
fn printed(exit: Exit) -> Exit {
    let Some(error) = report::unprinted() else { return exit };
    report::failure(&Failure::new(Exit::Failed, anyhow::anyhow!("cannot write to stdout: {error}")));
    Exit::Failed
}
