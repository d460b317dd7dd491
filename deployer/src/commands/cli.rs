//! The commands; their doc comments are the help.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    cloud::{health, lease::TERM_S},
    output::{env_file::Format, graph},
};

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
  1    failed: what and why is on stderr; the same command continues; `why`, `status`, `doctor`: something is wrong
  2    there are changes (plan --detailed-exitcode)
  3    done, but tables or buckets that are no longer in stack.yaml were kept (up --delete), or objects (up --expire)
  4    a request of `verify` did not get the expected answer (verify, up --verify)
  64   wrong usage, or confirmation needed without a terminal (use --yes)
  75   another run is changing this stack (--wait waits for it to end)
  77   not signed in: no credentials, refused credentials, or no way to reach AWS
  78   stack.yaml, or a setting of the AWS configuration, is missing or has errors
  130  interrupted; the same command continues";

const UP_EXAMPLES: &str = "\
Examples:
  deployer up --local                 on this machine
  deployer up --yes --verify          deploy, then check that it works
  deployer up --yes -v                with a chart of what took how long
  deployer up --yes --json | jq -r 'select(.event == \"failed\").resource'";

const PLAN_EXAMPLES: &str = "\
Examples:
  deployer plan                       what `up` would change, and why
  deployer plan services              only these parts and what they need
  deployer plan --detailed-exitcode   exits with 2 if there are changes
  deployer plan --json | jq -r '.resources[].address'";

const WHY_EXAMPLES: &str = "\
Examples:
  deployer why                        every service and function
  deployer why web                    one of them
  deployer why --local                on this machine";

const DOWN_EXAMPLES: &str = "\
Examples:
  deployer down                       everything, after a question
  deployer down --keep bucket.images  all but this bucket, and what it needs
  deployer down --yes --json          events for scripts";

const VERIFY_EXAMPLES: &str = "\
The steps are in stack.yaml, under `verify:`; docs/stack.md has their fields.
Exits with 4 if an answer is not as expected. Steps with `always: true` clean up
even then.

Examples:
  deployer verify                     a table of the steps, each with its time
  deployer verify --local             on this machine
  deployer verify --json | jq -r '.steps[] | \"\\(.step) \\(.result)\"'";

const STATUS_EXAMPLES: &str = "\
Examples:
  deployer status                     one screen, and exit code 1 if something is not healthy
  deployer status --watch 10          again every ten seconds, until Ctrl-C
  deployer status --json | jq '.services[] | select(.healthy != true)'";

const COST_EXAMPLES: &str = "\
The figures are those of stack.yaml. Nothing is read from AWS, and no network is
used: the prices are a table with a date. `exact` follows from stack.yaml,
`assumed` names the assumption, `by use` has the unit prices.

Examples:
  deployer cost
  deployer cost --json | jq .least";

const PAUSE_EXAMPLES: &str = "\
Sets every service to no instances and removes its load balancer. A later
`deployer resume` makes a new one, which has another address.

Examples:
  deployer pause                      after showing what it removes and saves
  deployer pause --yes                in a nightly job";

const RESUME_EXAMPLES: &str = "\
Works like `up`, and also makes other changes of stack.yaml. `up` itself refuses
a paused stack.

Examples:
  deployer resume
  deployer resume --yes && deployer outputs URL";

const EXPORT_EXAMPLES: &str = "\
Nothing is changed: the configuration describes what exists, and has an import
block for each resource. Programs are written beside it.

Examples:
  deployer export terraform tf
  deployer export terraform tf --overwrite   after an `up`, once more
  cd tf && terraform init && terraform plan";

const LS_EXAMPLES: &str = "\
Examples:
  deployer ls                         the stacks of the account in this region
  deployer ls --all-regions           in every region that is enabled for the account
  deployer ls --json | jq -r '.stacks[].name'";

const LOGS_EXAMPLES: &str = "\
Examples:
  deployer logs                       the last ten minutes of everything
  deployer logs web -f --grep ERROR   new lines of one service, as they appear
  deployer logs labeler --since 2d --json";

const INVOKE_EXAMPLES: &str = "\
Examples:
  deployer invoke labeler --sample images/cat.jpg
  deployer invoke labeler --event event.json
  echo '{\"n\": 1}' | deployer invoke labeler --event -";

const OPEN_EXAMPLES: &str = "\
Examples:
  deployer open --local               the only service, on this machine
  deployer open web                   this service, on AWS";

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
    /// Switch the services off, so that only use costs; data, functions and logs are kept
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
    /// Write the stack as a configuration of another tool, which can take it over
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

/// Arguments of the commands that roll services out: `up`, `resume` and `rollback`. Each words the help in its own way
/// where it has to.
#[derive(Debug, Clone, Default, Args)]
pub struct RollOut {
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub yes: bool,
    /// Do not wait until the load balancers' targets are healthy
    #[arg(long)]
    pub no_wait: bool,
    /// Seconds that a service may take to become healthy before the command fails with the reason
    #[arg(long, value_name = "SECONDS", default_value_t = 600, conflicts_with = "no_wait")]
    pub healthy_within: u64,
    /// Wait for another run that is changing this stack instead of exiting with 75
    #[arg(long)]
    pub wait: bool,
    /// Show the values of changed variables, which may be secret
    #[arg(long)]
    pub show_values: bool,
}

impl RollOut {
    /// How long to wait for healthy targets.
    pub fn patience(&self) -> health::Wait {
        match self.no_wait {
            true => health::Wait::No,
            false => health::Wait::Within(Duration::from_secs(self.healthy_within)),
        }
    }
}

/// Arguments of `up`.
#[derive(Debug, Default, Args)]
#[command(mut_arg("healthy_within", |arg| arg.help(UP_WITHIN)))]
// Their places in the help: after `--adopt`, and after `--json`.
#[command(mut_arg("wait", |arg| arg.display_order(7)))]
#[command(mut_arg("show_values", |arg| arg.display_order(9).conflicts_with("json")))]
pub struct Up {
    /// Only these sections or entries of stack.yaml, and what they need, such as `buckets` or `tables.posts`
    pub targets: Vec<String>,
    #[command(flatten)]
    /// The options of every roll-out.
    pub roll_out: RollOut,
    /// Let AWS set the services to no instances after this time, such as `4h` or `2d`, which needs no computer of yours;
    /// the next `up` removes that, or moves it with another --for
    #[arg(long = "for", value_name = "TIME", value_parser = lifetime)]
    pub lifetime: Option<Duration>,
    /// Delete this table or bucket, which is no longer in stack.yaml, such as `table.posts`; may be repeated
    #[arg(long, value_name = "KIND.NAME")]
    pub delete: Vec<String>,
    /// Let a new or shorter `lifecycle` delete the objects of this bucket, such as `bucket.images`; may be repeated
    #[arg(long, value_name = "KIND.NAME")]
    pub expire: Vec<String>,
    /// Take over this untagged resource of the stack, such as `bucket.images`; may be repeated
    #[arg(long, value_name = "KIND.NAME")]
    pub adopt: Vec<String>,
    /// Make the requests of `verify:` in stack.yaml once it is up, and exit with 4 if an answer is not as expected
    #[arg(long, conflicts_with_all = ["targets", "no_wait"])]
    pub verify: bool,
    /// Print events on stdout, as one JSON object a line
    #[arg(long)]
    pub json: bool,
}

const UP_WITHIN: &str = "Seconds that a service may take to become healthy before `up` fails with the reason";

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// Print the results as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cost`.
#[derive(Debug, Args)]
pub struct Cost {
    /// Print JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `pause`.
#[derive(Debug, Args)]
pub struct Pause {
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub yes: bool,
    /// Wait for another run that is changing this stack instead of exiting with 75
    #[arg(long)]
    pub wait: bool,
}

/// Arguments of `resume`.
#[derive(Debug, Args)]
#[command(mut_arg("healthy_within", |arg| arg.help(RESUME_WITHIN)))]
pub struct Resume {
    #[command(flatten)]
    /// The options of every roll-out.
    pub roll_out: RollOut,
}

const RESUME_WITHIN: &str = "Seconds that a service may take to become healthy before `resume` fails with the reason";

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
    /// Show the values of changed variables, which may be secret
    #[arg(long)]
    pub show_values: bool,
}

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

/// Arguments of `why`.
#[derive(Debug, Args)]
pub struct Why {
    /// Services and functions of stack.yaml, such as `web` [default: all of them]
    pub names: Vec<String>,
}

/// Arguments of `history`.
#[derive(Debug, Args)]
#[command(after_help = HISTORY)]
pub struct History {
    /// Services and functions of stack.yaml, such as `web` [default: all of them]
    pub names: Vec<String>,
    /// Print the releases as JSON on stdout
    #[arg(long)]
    pub json: bool,
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

const HISTORY: &str = "\
Examples:
  deployer history                    every service and function
  deployer history web --json         one service, for scripts";

/// Arguments of `rollback`.
#[derive(Debug, Args)]
#[command(mut_arg("healthy_within", |arg| arg.help(ROLLBACK_WITHIN)))]
#[command(mut_arg("no_wait", |arg| arg.help(ROLLBACK_NO_WAIT)))]
#[command(after_help = ROLLBACK)]
pub struct Rollback {
    /// The service or function of stack.yaml, such as `web` [default: the only service; without services, the only
    /// function]
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// The release to go back to, as `history` numbers them [default: the one before the newest]
    #[arg(value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub release: Option<i64>,
    #[command(flatten)]
    /// The options of every roll-out.
    pub roll_out: RollOut,
}

impl Rollback {
    /// Reads a single number as the release, as in `deployer rollback 3`, unless it is a name of `stack.yaml`.
    pub fn settle(&mut self, is_name: impl Fn(&str) -> bool) {
        let alone = self.name.as_deref().filter(|name| self.release.is_none() && !is_name(name));
        if let Some(number) = alone.and_then(|name| name.parse().ok()).filter(|number| *number > 0) {
            (self.name, self.release) = (None, Some(number));
        }
    }
}

const ROLLBACK_WITHIN: &str =
    "Seconds that the service may take to become healthy before `rollback` fails with the reason";
const ROLLBACK_NO_WAIT: &str = "Do not wait until the load balancer's targets are healthy";

const ROLLBACK: &str = "\
Examples:
  deployer rollback                   the only service, to the release before the
                                      newest
  deployer rollback 3                 the same, to release 3
  deployer rollback web 3             one of several services, to release 3
  deployer rollback labeler           the code and configuration of the version before the newest

stack.yaml still describes the newer release: the next `up` brings that again.";

/// The units of a span of time, in seconds.
const UNITS: &[(char, u64)] = &[('s', 1), ('m', 60), ('h', 60 * 60), ('d', 24 * 60 * 60)];

/// Parses a span of time such as `10m` or `1h30m`.
fn span(text: &str) -> Result<Duration, String> {
    let (mut seconds, mut number) = (0_u64, String::new());
    let invalid = || "a number with a unit is needed, such as 30s, 10m, 2h or 7d".to_owned();
    for c in text.chars() {
        match UNITS.iter().find(|(unit, _)| *unit == c) {
            Some((_, unit)) => {
                let part = number.parse::<u64>().ok().and_then(|count| count.checked_mul(*unit)).ok_or_else(invalid)?;
                seconds = seconds.checked_add(part).ok_or_else(invalid)?;
                number.clear();
            }
            None => number.push(c),
        }
    }
    if number.is_empty() && seconds > 0 { Ok(Duration::from_secs(seconds)) } else { Err(invalid()) }
}

/// The shortest and the longest time of `up --for`: a new service takes minutes.
const LIFETIMES: [Duration; 2] = [Duration::from_secs(5 * 60), Duration::from_secs(365 * 24 * 60 * 60)];

/// Parses the time of `up --for`.
fn lifetime(text: &str) -> Result<Duration, String> {
    let time = span(text)?;
    let [shortest, longest] = LIFETIMES;
    if (shortest..=longest).contains(&time) { Ok(time) } else { Err("a time from 5m to 365d is needed".into()) }
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

/// Arguments of `down`.
#[derive(Debug, Args)]
pub struct Down {
    /// Do not ask for the stack's name
    #[arg(short, long)]
    pub yes: bool,
    /// Keep this resource and what it needs, such as `bucket.images`; may be repeated
    #[arg(long, value_name = "KIND.NAME")]
    pub keep: Vec<String>,
    /// Wait for another run that is changing this stack instead of exiting with 75
    #[arg(long)]
    pub wait: bool,
    /// Print events on stdout, as one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// The commands of `secret`.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Set a value, typed twice without echo, or read from stdin
    #[command(after_help = SECRET_SET_EXAMPLES)]
    Set(SecretSet),
    /// List the stack's secrets and parameters, without their values
    #[command(after_help = SECRET_LS_EXAMPLES)]
    Ls,
    /// Delete a secret, which can be restored for seven days, or a parameter for good
    #[command(after_help = SECRET_RM_EXAMPLES)]
    Rm(SecretRm),
}

/// Arguments of `secret set`.
#[derive(Debug, Args)]
pub struct SecretSet {
    /// The name, as in stack.yaml, such as `app/jwt`
    pub name: String,
    /// Use a SecureString in Parameter Store, which is free, instead of a secret
    #[arg(long)]
    pub parameter: bool,
    /// Take over an existing one that has no owner tags
    #[arg(long)]
    pub adopt: bool,
}

/// Arguments of `secret rm`.
#[derive(Debug, Args)]
pub struct SecretRm {
    /// The name, as in stack.yaml
    pub name: String,
    /// Delete a parameter instead of a secret
    #[arg(long)]
    pub parameter: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub yes: bool,
}

const SECRET_EXAMPLES: &str = "\
A variable of stack.yaml names the secret; the role of the service or function
may read it, and nothing else:
  environment: { JWT_SECRET: { secret: app/jwt } }

Examples:
  deployer secret set app/jwt
  openssl rand -hex 32 | deployer secret set app/jwt
  deployer secret ls
  deployer secret rm app/jwt";

const SECRET_SET_EXAMPLES: &str = "\
What runs keeps the value it has started with; `deployer up` rolls the new one
out. A line break at the end of stdin is not part of the value.

Examples:
  deployer secret set app/jwt
  openssl rand -hex 32 | deployer secret set app/jwt
  deployer secret set --parameter /app/db <password.txt";

const SECRET_LS_EXAMPLES: &str = "\
Examples:
  deployer secret ls                  names, and the variables that read them
  deployer secret ls --local          those of the local AWS";

const SECRET_RM_EXAMPLES: &str = "\
Refuses what a variable of stack.yaml or a deployed program still reads.

Examples:
  deployer secret rm app/jwt          after a question
  deployer secret rm --parameter /app/db --yes";

const OUTPUTS_EXAMPLES: &str = "\
Examples:
  deployer outputs                    a line NAME=value for each output
  deployer outputs URL                only this value
  deployer outputs --write .env       update this file, and keep its other lines
  eval \"$(deployer outputs --format shell)\"";

const SCHEMA_EXAMPLES: &str = "\
Examples:
  deployer schema >stack.schema.json
An editor that knows YAML then checks a stack.yaml that begins with
  # yaml-language-server: $schema=stack.schema.json";

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

const DOCTOR: &str = "\
Checks stack.yaml, build tools, credentials, region, network, rights and quotas;
with --local, what the local AWS needs. Exits with 1 if `up` would fail.

Examples:
  deployer doctor
  deployer doctor --local";

/// Arguments of `init`.
#[derive(Debug, Args)]
#[command(after_help = INIT)]
pub struct Init {
    /// The kind of stack to describe [default: postagram if there is no Cargo workspace and this release has its
    /// programs, else service]
    #[arg(long, value_enum)]
    pub template: Option<Template>,
    /// The stack's name [default: the folder's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// The templates of `init`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Template {
    /// The app of the deployer's own repository, with all kinds of resources.
    Postagram,
    /// A web service on instances behind a load balancer.
    Service,
    /// A function that a bucket notifies of uploads.
    Function,
}

const INIT: &str = "\
An existing file is never changed. The program is the Cargo package with the
name of the folder; edit `package`, or write `binary` for a finished program.

Examples:
  deployer init
  deployer init --template function --name thumbnails --region eu-west-3
  deployer init --file staging/stack.yaml
  deployer init --template postagram  the app of the deployer's repository: a
                                      release has its programs, without Rust";

/// Arguments of `validate`.
#[derive(Debug, Args)]
#[command(after_help = VALIDATE)]
pub struct Validate {
    /// Print the result as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

const VALIDATE: &str = "\
The errors and their exit code, 78, are those of `up`. Programs are neither
built nor read.

Examples:
  deployer validate
  deployer validate --file staging/stack.yaml --region eu-west-3
  deployer validate --json | jq -r '.problems[] | \"\\(.line): \\(.message)\"'";

/// Arguments of `graph`.
#[derive(Debug, Args)]
#[command(after_help = GRAPH)]
pub struct Graph {
    /// Output format
    #[arg(long, value_enum, default_value_t = graph::Format::Mermaid)]
    pub format: graph::Format,
}

const GRAPH: &str = "\
An arrow leads from a resource to one that it needs, which is created first.
Arrows that others imply are left out. AWS is not called.

Examples:
  deployer graph >stack.mmd
  deployer graph --format dot | dot -Tsvg >stack.svg";

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

const COMPLETIONS: &str = "\
Examples:
  deployer completions bash >~/.local/share/bash-completion/completions/deployer
  deployer completions zsh >~/.zfunc/_deployer
  deployer completions fish >~/.config/fish/completions/deployer.fish
  deployer completions powershell >>$PROFILE
  deployer completions elvish >>~/.config/elvish/rc.elv";

/// Arguments of `man`.
#[derive(Debug, Args)]
#[command(after_help = MAN)]
pub struct Man {
    /// Write a page for every command into this folder, which is created if it does not exist
    pub dir: Option<PathBuf>,
}

const MAN: &str = "\
Examples:
  deployer man | man -l -
  deployer man ~/.local/share/man/man1
  man deployer-up";

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

const LOCAL_EXAMPLES: &str = "\
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_stack_is_bounded() {
        assert_eq!(lifetime("4h"), Ok(Duration::from_secs(14_400)));
        assert_eq!(lifetime("5m"), Ok(LIFETIMES[0]));
        for wrong in ["4m59s", "366d", "4", ""] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_single_number_is_the_release_unless_it_is_a_name() {
        let settled = |words: &[&str]| {
            let cli = Cli::parse_from([&["deployer", "rollback"], words].concat());
            let Command::Rollback(mut args) = cli.command else { panic!("{words:?}") };
            args.settle(|name| name == "7");
            (args.name, args.release)
        };
        let named = |name: &str, release| (Some(name.to_owned()), release);
        assert_eq!(settled(&[]), (None, None));
        assert_eq!(settled(&["3"]), (None, Some(3)));
        assert_eq!(settled(&["7"]), named("7", None));
        assert_eq!(settled(&["7", "3"]), named("7", Some(3)));
        assert_eq!(settled(&["web"]), named("web", None));
        assert_eq!(settled(&["web", "3"]), named("web", Some(3)));
        for no_release in ["0", "99999999999999999999"] {
            assert_eq!(settled(&[no_release]), named(no_release, None));
        }
    }

    #[test]
    fn a_span_of_time_is_a_sum_of_numbers_with_units() {
        let seconds = |text: &str| span(text).map(|span| span.as_secs()).ok();
        assert_eq!([seconds("30s"), seconds("10m"), seconds("1h30m")], [Some(30), Some(600), Some(5400)]);
        assert_eq!(seconds("7d"), Some(604_800));
        for wrong in ["", "10", "m", "0m", "10 m", "-5m", "1w", "10m5", "99999999999999999999s", "999999999999999999d"]
        {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
