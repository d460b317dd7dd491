//! Arguments of `local`, the commands for the local AWS.

use clap::{Args, Subcommand};

/// Arguments of `local`.
#[derive(Debug, Subcommand)]
pub enum LocalCommand {
    /// Start it in the background, unless it is running
    #[command(after_help = LOCAL_START)]
    Start(LocalStart),
    /// Stop it; its data is kept
    #[command(after_help = LOCAL_STOP)]
    Stop,
    /// Print its state, and the resources in it
    #[command(after_help = LOCAL_STATUS)]
    Status,
    /// Print its log
    #[command(after_help = LOCAL_LOGS)]
    Logs,
    /// Stop it and delete its data
    #[command(after_help = LOCAL_RESET)]
    Reset {
        /// Do not ask for confirmation
        #[arg(short, long)]
        yes: bool,
    },
    /// List the kinds of chaos, marking those that are on
    #[command(after_help = LOCAL_FAULTS)]
    Faults,
    /// Set the kinds of chaos, such as throttle,reset; `none` turns all off
    #[command(after_help = LOCAL_CHAOS)]
    Chaos {
        /// Kinds of chaos; `deployer local faults` lists them
        #[arg(value_name = "LIST", value_delimiter = ',', required = true)]
        kinds: Vec<String>,
        /// Seed: the same seed and calls give the same faults
        #[arg(long, value_name = "N", default_value_t = 0)]
        seed: u64,
    },
    /// Print the variables that point the AWS CLI and other clients to it, and name its DNS server and its certificate
    /// authority
    #[command(after_help = LOCAL_ENV)]
    Env,
    /// Run it in the foreground
    #[command(after_help = LOCAL_RUN)]
    Run(LocalStart),
}

pub(super) const LOCAL_EXAMPLES: &str = "\
Commands with --local start it by themselves.

Examples:
  deployer local start --account academy
  deployer local status
  deployer local chaos throttle,reset
  deployer local reset                begin again with an empty account";

const LOCAL_START: &str = "\
Examples:
  deployer local start
  deployer local start --chaos throttle,reset --seed 7
  deployer local start --account academy";

const LOCAL_STOP: &str = "\
Examples:
  deployer local stop
  deployer local stop && deployer local start --speed real";

const LOCAL_STATUS: &str = "\
Examples:
  deployer local status";

const LOCAL_LOGS: &str = "\
Examples:
  deployer local logs
  deployer local logs | grep -i error";

const LOCAL_RESET: &str = "\
Examples:
  deployer local reset                after a question
  deployer local reset --yes          in a script";

const LOCAL_FAULTS: &str = "\
Examples:
  deployer local faults
  deployer local chaos disk-full      turn one of them on";

const LOCAL_CHAOS: &str = "\
Examples:
  deployer local chaos throttle,reset --seed 7
  deployer local chaos none           turn all off";

const LOCAL_ENV: &str = "\
Examples:
  eval \"$(deployer local env)\"        for this shell
  aws s3 ls                           then lists the buckets of the local AWS";

const LOCAL_RUN: &str = "\
Examples:
  deployer local run --port 4566
  deployer local run --chaos throttle,reset --seed 7";

/// Arguments of `local start` and `local run`.
#[derive(Debug, Clone, Args)]
pub struct LocalStart {
    /// Port on 127.0.0.1; 0 picks a free one [env: DEPLOYER_LOCAL_PORT] [default: the last one used, else 4566, else a
    /// free one]
    #[arg(long)]
    pub port: Option<u16>,
    /// Kinds of chaos, such as throttle,reset; `deployer local faults` lists them
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub chaos: Vec<String>,
    /// Seed: the same seed and calls give the same faults
    #[arg(long, value_name = "N", default_value_t = 0, requires = "chaos")]
    pub seed: u64,
    /// Speed of AWS's delays: `real`, `fast`, or a factor
    #[arg(long, value_name = "real|fast|NUMBER", default_value = "fast")]
    pub speed: String,
    /// Kind of a new account: standard, academy (a Learner Lab of AWS Academy) or no-default-vpc; it is kept with the
    /// data
    #[arg(long, value_name = "KIND")]
    pub account: Option<String>,
}
