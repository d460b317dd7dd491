//! Arguments of the commands that send requests to a running stack: `verify`, `invoke` and `open`.

use std::path::PathBuf;

use clap::Args;

pub(super) const VERIFY_EXAMPLES: &str = "\
The steps are in stack.yaml, under `verify:`; docs/stack.md has their fields.
Exits with 4 if an answer is not as expected. Steps with `always: true` clean up
even then.

Examples:
  deployer verify                     a table of the steps, each with its time
  deployer verify --local             on this machine
  deployer verify --json | jq -r '.steps[] | \"\\(.step) \\(.result)\"'";

pub(super) const INVOKE_EXAMPLES: &str = "\
Examples:
  deployer invoke labeler --sample images/cat.jpg
  deployer invoke labeler --event event.json
  echo '{\"n\": 1}' | deployer invoke labeler --event -";

pub(super) const OPEN_EXAMPLES: &str = "\
Examples:
  deployer open --local               the only service, on this machine
  deployer open web                   this service, on AWS";

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// Print the results as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `invoke`.
#[derive(Debug, Args)]
pub struct Invoke {
    /// A function of stack.yaml
    pub function: String,
    /// The file with the event, as JSON; `-` reads it from stdin [default: {}]
    #[arg(long, value_name = "FILE")]
    pub event: Option<PathBuf>,
    /// Make the event of S3 about this object, such as `images/cat.jpg` for the bucket `images` of stack.yaml
    #[arg(long, value_name = "BUCKET/KEY", conflicts_with = "event")]
    pub sample: Option<String>,
}

/// Arguments of `open`.
#[derive(Debug, Args)]
pub struct Open {
    /// A service of stack.yaml [default: the only one]
    pub service: Option<String>,
}
