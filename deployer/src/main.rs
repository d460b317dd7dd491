//! Arguments, command, exit code.

use std::process::ExitCode;

use clap::Parser;
use deployer::{
    commands::{self, cli::Cli},
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
            // `--help` and `--version` are answers, everything else is a usage error.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            report::note_unprinted(error.print());
            return printed(exit).into();
        }
    };
    report::colours(cli.global.color);
    match commands::run(cli).await {
        Ok(exit) => printed(exit).into(),
        Err(failure) => {
            report::failure(&failure);
            failure.exit.into()
        }
    }
}

/// The exit code, unless an answer could not be printed in full: its reader would take a part for the whole.
fn printed(exit: Exit) -> Exit {
    let Some(error) = report::unprinted() else { return exit };
    report::failure(&Failure::new(Exit::Failed, anyhow::anyhow!("cannot write to stdout: {error}")));
    Exit::Failed
}
