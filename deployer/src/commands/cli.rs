//! The commands; their doc comments are the help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{cloud::lease::TERM_S, output::env_file::Format};

/// Brings the stack of stack.yaml to life on AWS, or on this machine with --local, and takes it down again.
///
/// There is no state file: AWS itself is the state. Killed anywhere and run again, it converges.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    /// What to do.
    pub command: Command,
    #[command(flatten)]
    /// What every command takes.
    pub global: Global,
}

/// The variable that names the port of the local AWS.
pub const PORT_VARIABLE: &str = "DEPLOYER_LOCAL_PORT";

const EXAMPLES: &str = "\
Examples:
  deployer up --local                 the whole stack on this machine, no account needed
  deployer plan                       what `up` would change on AWS, changing nothing
  deployer up --yes                   deploy without being asked
  deployer up buckets tables          only these parts and what they need
  deployer outputs --write .env       fill in a .env for a service run by hand
  deployer down                       remove everything

Exit codes:
  0    done
  1    failed: what and why is on stderr; the same command continues
  2    there are changes (plan --detailed-exitcode)
  3    done, but tables or buckets that are no longer in stack.yaml were kept (up --delete)
  64   wrong usage of the command line, or a question that nobody could be asked
  75   another run is changing this stack; --wait waits for it
  77   not signed in: no credentials, refused credentials, or no way to reach AWS
  78   stack.yaml, or a setting of the AWS configuration, is missing or has errors
  130  interrupted; the same command continues";

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The stack's description [default: the nearest stack.yaml, here or in a folder above]
    #[arg(long, global = true, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// Use the AWS inside this program instead of an account: real processes on this machine
    #[arg(long, global = true)]
    pub local: bool,
    /// The profile of the shared AWS configuration to use
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// The region to use instead of that in stack.yaml
    #[arg(long, global = true, value_name = "REGION")]
    pub region: Option<String>,
    /// How many seconds a call to AWS may go unanswered before it is made again
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub timeout: u32,
    /// Keep to AWS's rates with a cloud on this machine too, which has none
    #[arg(long, global = true)]
    pub paced: bool,
    /// How many seconds the lease of a run that has died holds others up: for tests
    #[arg(long, global = true, hide = true, value_name = "SECONDS", default_value_t = TERM_S, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub lease: u32,
    /// Colours on stderr; NO_COLOR is honoured
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
    /// Say more: how many calls were made, and which
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create what is missing, change what differs, remove what is no longer in stack.yaml
    Up(Up),
    /// Show what `up` would do, changing nothing
    Plan(PlanArgs),
    /// Remove everything the stack owns
    Down(Down),
    /// Print the stack's outputs, or fill them into a .env file
    Outputs(Outputs),
    /// Print the JSON Schema of stack.yaml for editors
    Schema,
    /// The AWS on this machine that --local uses
    #[command(subcommand)]
    Local(LocalCommand),
}

/// Arguments of `up`.
#[derive(Debug, Args)]
pub struct Up {
    /// Only these sections or entries of stack.yaml and what they need, such as `buckets` or `tables.posts`
    pub targets: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Do not wait until the load balancers' targets are healthy
    #[arg(long)]
    pub no_wait: bool,
    /// How many seconds a service may take to become healthy before `up` gives the reason and ends with an error
    #[arg(long, value_name = "SECONDS", default_value_t = 600, conflicts_with = "no_wait")]
    pub healthy_within: u64,
    /// Delete this table or bucket, which is no longer in stack.yaml, such as `table.posts`; may be repeated
    #[arg(long, value_name = "KIND.NAME")]
    pub delete: Vec<String>,
    /// Take over this resource, which has our name and nobody's tags, such as `bucket.images`; may be repeated
    #[arg(long, value_name = "KIND.NAME")]
    pub adopt: Vec<String>,
    /// Wait for another run that is changing this stack, rather than exit with 75
    #[arg(long)]
    pub wait: bool,
    /// Show the values of variables that change, which may be secret, and not only their names
    #[arg(long)]
    pub show_values: bool,
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Only these sections or entries of stack.yaml and what they need
    pub targets: Vec<String>,
    /// Print the plan as JSON on stdout
    #[arg(long)]
    pub json: bool,
    /// Take over this resource, as `up --adopt` does
    #[arg(long, value_name = "KIND.NAME")]
    pub adopt: Vec<String>,
    /// Exit with 2 when there are changes
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Show the values of variables that change, which may be secret, and not only their names
    #[arg(long)]
    pub show_values: bool,
}

/// Arguments of `down`.
#[derive(Debug, Args)]
pub struct Down {
    /// Do not ask for the stack's name
    #[arg(short, long)]
    pub yes: bool,
    /// Keep this resource and what it needs, such as `bucket.images`; may be repeated
    #[arg(long, value_name = "KIND.NAME")]
    pub keep: Vec<String>,
    /// Wait for another run that is changing this stack, rather than exit with 75
    #[arg(long)]
    pub wait: bool,
}

/// Arguments of `outputs`.
#[derive(Debug, Args)]
pub struct Outputs {
    /// Print the bare value of this output
    pub name: Option<String>,
    /// How to print them
    #[arg(long, value_enum, default_value_t = Format::Env)]
    pub format: Format,
    /// Update this .env file in place; all its other lines stay
    #[arg(long, value_name = "PATH", conflicts_with_all = ["name", "format"])]
    pub write: Option<PathBuf>,
}

/// Arguments of `local`.
#[derive(Debug, Subcommand)]
pub enum LocalCommand {
    /// Start it in the background, unless it runs
    Start(LocalStart),
    /// Stop it; what is stored stays
    Stop,
    /// Say whether it runs, and what runs in it
    Status,
    /// Print its log
    Logs,
    /// Stop it and forget everything stored in it
    Reset {
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// List the bad sides of AWS that `local start --chaos` can show, and which of them are on
    Faults,
    /// Show other bad sides of AWS from now on, such as throttle,reset; none ends them all
    Chaos {
        /// What to show; `deployer local faults` lists it
        #[arg(value_name = "LIST", value_delimiter = ',', required = true)]
        kinds: Vec<String>,
        /// What decides when they show: the same seed and the same calls give the same mishaps
        #[arg(long, value_name = "N", default_value_t = 0)]
        seed: u64,
    },
    /// Print the variables with which the AWS CLI and other clients reach it
    Env,
    /// Run it in the foreground
    Run(LocalStart),
}

/// Arguments of `local start` and `local run`.
#[derive(Debug, Clone, Args)]
pub struct LocalStart {
    /// The port on 127.0.0.1; 0 takes any free one [env: DEPLOYER_LOCAL_PORT] [default: the one of the last time, 4566, or a free one]
    #[arg(long)]
    pub port: Option<u16>,
    /// Bad sides of AWS to show, such as throttle,reset; `deployer local faults` lists them
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub chaos: Vec<String>,
    /// What decides when they show: the same seed and the same calls give the same mishaps
    #[arg(long, value_name = "N", default_value_t = 0, requires = "chaos")]
    pub seed: u64,
    /// How fast what takes its time on AWS goes by: `real`, `fast`, or how many times faster
    #[arg(long, value_name = "real|fast|NUMBER", default_value = "fast")]
    pub speed: String,
}
