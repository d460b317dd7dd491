//! The commands; their doc comments are the help.

mod account;
mod changes;
mod export;
mod local_aws;
mod manual;
mod offline;
mod releases;
mod requests;
mod secret;
mod span;
mod state;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cloud::lease::TERM_S;

use account::{DOCTOR, LS_EXAMPLES};
pub use account::{Ls, Policy};
use changes::{ADOPT_EXAMPLES, DOWN_EXAMPLES, PAUSE_EXAMPLES, PLAN_EXAMPLES, RESUME_EXAMPLES, UP_EXAMPLES};
pub use changes::{Adopt, Down, Pause, PlanArgs, Resume, RollOutArgs, Up};
use export::{EXPORT_EXAMPLES, OUTPUTS_EXAMPLES};
pub use export::{ExportCommand, ExportTerraform, Outputs};
use local_aws::LOCAL_EXAMPLES;
pub use local_aws::{LocalCommand, LocalStart};
pub use manual::{Completions, Man};
use offline::{COST_EXAMPLES, SCHEMA_EXAMPLES};
pub use offline::{Cost, Graph, Init, Template, Validate};
pub use releases::{History, Rollback};
use requests::{INVOKE_EXAMPLES, OPEN_EXAMPLES, VERIFY_EXAMPLES};
pub use requests::{Invoke, Open, Verify};
use secret::SECRET_EXAMPLES;
pub use secret::{SecretCommand, SecretRm, SecretSet};
use state::{LOGS_EXAMPLES, STATUS_EXAMPLES, WHY_EXAMPLES};
pub use state::{Logs, Status, Why};

/// Deploys the stack of stack.yaml to AWS, or to this machine with --local, and removes it again.
///
/// There is no state file: AWS itself is the state. After an interruption, run the same command again: it converges.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    /// The command.
    pub command: Command,
    #[command(flatten)]
    /// The options of every command.
    pub global: Global,
}

/// The introduction, with commands to try first.
pub const FIRST_SCREEN: &str = "\
deployer deploys the stack that stack.yaml describes to AWS, or to this machine.
There is no state file: after an interruption, run the same command again.

  deployer init           write a stack.yaml to start from
  deployer up --local     run the stack on this machine, no account needed
  deployer up             deploy it to AWS, after showing the plan

`deployer --help` lists all commands, with examples and exit codes.";

/// The variable with the port of the local AWS.
pub const PORT_VARIABLE: &str = "DEPLOYER_LOCAL_PORT";

const EXAMPLES: &str = "\
Examples:
  deployer doctor                     check what the first `up` needs
  deployer init                       write a commented stack.yaml to start from
  deployer up --local                 the whole stack on this machine, no account needed
  deployer plan                       what `up` would change on AWS
  deployer adopt                      take over resources that another tool has made
  deployer up --yes                   deploy without confirmation
  deployer up buckets tables          only these parts and what they need
  deployer up --for 4h                for a demonstration: AWS ends the instances
  deployer cost                       what it costs a month
  deployer pause                      switch the services off, and keep the data
  deployer status --watch             the state of everything, again and again
  deployer ls --all-regions           every stack of the account
  deployer why web                    why this service is not healthy
  deployer history web                the releases of this service
  deployer rollback web               back to the release before the newest
  deployer logs web -f                its output, as it appears
  deployer open web                   its address, in a browser
  deployer policy up down             the least IAM policy for these commands
  deployer secret set app/jwt         keep a value in AWS, outside stack.yaml
  deployer verify                     make the requests of stack.yaml, and check the answers
  deployer validate                   check stack.yaml without an account
  deployer outputs --write .env       fill in a .env for a service run by hand
  deployer export terraform tf        hand the stack over to Terraform
  deployer down                       remove everything

Exit codes:
  0    done
  1    failed: what and why is on stderr; the same command continues; `why`, `status`, `doctor`: something is wrong;
       `adopt`: something that exists is not taken over
  2    there are changes (plan --detailed-exitcode)
  3    done, but tables or buckets that are no longer in stack.yaml were kept (up --delete), or their data (up --expire)
  4    a request of `verify` did not get the expected answer (verify, up --verify)
  64   wrong usage, or confirmation needed without a terminal (use --yes)
  75   another run is changing this stack (--wait waits for it to end)
  77   not signed in: no credentials, refused credentials, or no way to reach AWS
  78   stack.yaml, or a setting of the AWS configuration, is missing or has errors
  130  interrupted; the same command continues";

/// The options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The stack's description [default: the nearest stack.yaml, here or in a folder above]
    #[arg(long, global = true, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// Use the local AWS inside this program instead of an account
    #[arg(long, global = true)]
    pub local: bool,
    /// Profile of the AWS configuration
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Region to use instead of the one in stack.yaml
    #[arg(long, global = true, value_name = "REGION")]
    pub region: Option<String>,
    /// Seconds after which a call that AWS has not answered is repeated
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub timeout: u32,
    /// Apply AWS's rate limits to the local AWS as well
    #[arg(long, global = true)]
    pub paced: bool,
    /// Seconds after which the lease of a dead run expires (for tests)
    #[arg(long, global = true, hide = true, value_name = "SECONDS", default_value_t = TERM_S, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub lease: u32,
    /// When to use colours (NO_COLOR is honoured)
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
    /// Print how many calls were made, which, and how long they took
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

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create what is missing, change what differs, remove what is no longer in stack.yaml
    #[command(after_help = UP_EXAMPLES)]
    Up(Up),
    /// Show what `up` would do, without changing anything
    #[command(after_help = PLAN_EXAMPLES)]
    Plan(PlanArgs),
    /// Take over resources of this stack that another tool has made, by adding only ownership tags
    #[command(after_help = ADOPT_EXAMPLES)]
    Adopt(Adopt),
    /// Show what the stack costs a month, from a table of prices, without an account
    #[command(after_help = COST_EXAMPLES)]
    Cost(Cost),
    /// Show the state of every service, instance, function, bucket and table, and whether `plan` has changes
    #[command(after_help = STATUS_EXAMPLES)]
    Status(Status),
    /// Explain why a service or function is not healthy, with the evidence and the remedy
    #[command(after_help = WHY_EXAMPLES)]
    Why(Why),
    /// List the releases of services and functions, newest first
    History(History),
    /// Bring a service or a function back to an earlier release, program and environment included
    Rollback(Rollback),
    /// Switch the services off, so that only charges by use remain; data, functions and logs are kept
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(Pause),
    /// Bring a paused stack back as stack.yaml describes it, at another address
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(Resume),
    /// Print what services, functions and booting instances have logged, merged by time
    #[command(after_help = LOGS_EXAMPLES)]
    Logs(Logs),
    /// Invoke a function and print its answer
    #[command(after_help = INVOKE_EXAMPLES)]
    Invoke(Invoke),
    /// Print the address of a service and open it in a browser
    #[command(after_help = OPEN_EXAMPLES)]
    Open(Open),
    /// Make the requests of `verify:` in stack.yaml to the running stack, and check the answers
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(Verify),
    /// Remove everything the stack owns
    #[command(after_help = DOWN_EXAMPLES)]
    Down(Down),
    /// Keep values in AWS that services and functions read when they start, outside stack.yaml
    #[command(subcommand, after_help = SECRET_EXAMPLES)]
    Secret(SecretCommand),
    /// Print the stack's outputs, or fill them into a .env file
    #[command(after_help = OUTPUTS_EXAMPLES)]
    Outputs(Outputs),
    /// Export the stack as a configuration of another tool, which can then take it over
    #[command(subcommand, after_help = EXPORT_EXAMPLES)]
    Export(ExportCommand),
    /// List the stacks of the account, even those whose stack.yaml is lost, and how to remove them
    #[command(after_help = LS_EXAMPLES)]
    Ls(Ls),
    /// Print the least IAM policy with which commands can run, without an account
    Policy(Policy),
    /// Print the JSON Schema of stack.yaml for editors
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema,
    /// Check everything that the first `up` needs, without changing anything
    #[command(after_help = DOCTOR)]
    Doctor,
    /// Write a commented stack.yaml to start from
    Init(Init),
    /// Check stack.yaml, without credentials, network or build
    Validate(Validate),
    /// Print the dependency graph of the stack for Mermaid or Graphviz
    Graph(Graph),
    /// Print the completions for a shell
    Completions(Completions),
    /// Print the manual page, or write those of all commands into a folder
    Man(Man),
    /// The local AWS that --local uses
    #[command(subcommand, after_help = LOCAL_EXAMPLES)]
    Local(LocalCommand),
}
