//! Arguments of the commands for an account: `ls`, `policy` and `doctor`.

use std::path::PathBuf;

use clap::Args;

pub(super) const LS_EXAMPLES: &str = "\
Examples:
  deployer ls                         the stacks of the account in this region
  deployer ls --all-regions           in every region that is enabled for the account
  deployer ls --json | jq -r '.stacks[].name'";

/// Arguments of `ls`.
#[derive(Debug, Args)]
pub struct Ls {
    /// Search every region that is enabled for the account
    #[arg(long, conflicts_with = "region")]
    pub all_regions: bool,
    /// Print JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `policy`.
#[derive(Debug, Args)]
#[command(after_help = POLICY)]
pub struct Policy {
    /// The commands that the policy is for, such as `up down` [default: all of them]
    #[arg(value_name = "COMMAND")]
    pub commands: Vec<String>,
    /// The account's number [default: that of stack.yaml, else a placeholder]
    #[arg(long, value_name = "NUMBER", value_parser = account_number)]
    pub account: Option<String>,
    /// Write documents that fit into managed policies into this folder
    #[arg(long, value_name = "FOLDER")]
    pub split: Option<PathBuf>,
}

const POLICY: &str = "\
The policy is for the stack that stack.yaml describes: print it again after a
change that adds a kind of resource. Neither credentials nor AWS are used.

Examples:
  deployer policy status why logs     for those who only look
  deployer policy --account 123456789012 >policy.json
  deployer policy up down --split policies";

/// Parses the number of an account.
fn account_number(text: &str) -> Result<String, String> {
    let is_number = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { Ok(text.to_owned()) } else { Err("an account's number has twelve digits".to_owned()) }
}

pub(super) const DOCTOR: &str = "\
Checks stack.yaml, build tools, credentials, region, network, rights and quotas;
with --local, what the local AWS needs. Exits with 1 if `up` would fail.

Examples:
  deployer doctor
  deployer doctor --local";
