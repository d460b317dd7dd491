//! `completions` and `man`: derived from the definition of the commands.

use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::{
    commands::cli::{Cli, Completions, Man},
    output::{
        exit::{Exit, Failure},
        report,
    },
};

/// Prints the completions.
pub fn completions(args: &Completions) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "deployer", &mut script);
    report::answer(&String::from_utf8_lossy(&script));
    Exit::Done
}

/// Prints the manual page of the deployer, or writes those of all commands.
pub fn man(args: &Man) -> Result<Exit, Failure> {
    match &args.dir {
        Some(dir) => {
            write_all(dir)?;
            report::say(format!("wrote the manual pages to {}", dir.display()));
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            report::answer(&String::from_utf8_lossy(&page));
        }
    }
    Ok(Exit::Done)
}

fn write_all(dir: &Path) -> anyhow::Result<()> {
    let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    written.with_context(|| format!("failed to write the manual pages to {}", dir.display()))
}
