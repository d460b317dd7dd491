//! Arguments, command, exit code.

use std::process::ExitCode;

use clap::Parser;
use deployer::{cli::Cli, commands, exit::Exit, report};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            // `--help` and `--version` are answers, everything else is wrong usage.
            let exit = if told.use_stderr() { Exit::Usage } else { Exit::Done };
            let _ = told.print();
            return exit.into();
        }
    };
    report::colours(cli.global.color);
    match commands::run(cli).await {
        Ok(exit) => exit.into(),
        Err(failure) => {
            report::failure(&failure);
            failure.exit.into()
        }
    }
}
