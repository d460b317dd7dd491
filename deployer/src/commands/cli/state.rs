//! Arguments of the commands that show the state of a stack: `status`, `why` and `logs`.

use std::time::Duration;

use clap::Args;

use super::span::span;

pub(super) const WHY_EXAMPLES: &str = "\
Examples:
  deployer why                        every service and function
  deployer why web                    one of them
  deployer why --local                on this machine";

pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  deployer status                     one screen, and exit code 1 if something is not healthy
  deployer status --watch 10          again every ten seconds, until Ctrl-C
  deployer status --json | jq '.services[] | select(.healthy != true)'";

pub(super) const LOGS_EXAMPLES: &str = "\
Examples:
  deployer logs                       the last ten minutes of everything
  deployer logs web -f --grep ERROR   new lines of one service, as they appear
  deployer logs labeler --since 2d --json";

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Print JSON on stdout; with --watch one document a line
    #[arg(long)]
    pub json: bool,
    /// Show it again after this many seconds [default: 5], until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub watch: Option<u32>,
}

/// Arguments of `why`.
#[derive(Debug, Args)]
pub struct Why {
    /// Services and functions of stack.yaml, such as `web` [default: all of them]
    pub names: Vec<String>,
}

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// Services and functions of stack.yaml, such as `web` [default: all of them]
    pub names: Vec<String>,
    /// Go on with new lines as they arrive, until interrupted
    #[arg(short, long)]
    pub follow: bool,
    /// How far to go back, such as `30s`, `10m`, `1h30m` or `7d`
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = span)]
    pub since: Duration,
    /// Only lines that contain this text
    #[arg(long, value_name = "TEXT")]
    pub grep: Option<String>,
    /// Print each line as a JSON object
    #[arg(long)]
    pub json: bool,
}
