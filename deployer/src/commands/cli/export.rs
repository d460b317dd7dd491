//! Arguments of `export` and `outputs`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::output::env_file::Format;

pub(super) const EXPORT_EXAMPLES: &str = "\
Nothing is changed: the configuration describes what exists, and has an import
block for each resource. Programs are written beside it.

Examples:
  deployer export terraform tf
  deployer export terraform tf --overwrite   after an `up`, once more
  cd tf && terraform init && terraform plan";

pub(super) const OUTPUTS_EXAMPLES: &str = "\
Examples:
  deployer outputs                    a line NAME=value for each output
  deployer outputs URL                only this value
  deployer outputs --write .env       update this file, and keep its other lines
  eval \"$(deployer outputs --format shell)\"";

/// Arguments of `outputs`.
#[derive(Debug, Args)]
pub struct Outputs {
    /// Print only the value of this output
    pub name: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Env)]
    pub format: Format,
    /// Update this .env file in place, keeping its other lines
    #[arg(long, value_name = "PATH", conflicts_with_all = ["name", "format"])]
    pub write: Option<PathBuf>,
}

/// Arguments of `export`.
#[derive(Debug, Subcommand)]
pub enum ExportCommand {
    /// Write a Terraform configuration (Terraform 1.5 or later) that imports every resource of the stack
    #[command(after_help = EXPORT_EXAMPLES)]
    Terraform(ExportTerraform),
}

/// Arguments of `export terraform`.
#[derive(Debug, Args)]
pub struct ExportTerraform {
    /// The folder to write into, which is created if it does not exist
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Write into the folder of an earlier export, and replace its files
    #[arg(long)]
    pub overwrite: bool,
}
