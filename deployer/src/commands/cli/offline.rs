//! Arguments of the commands that need only `stack.yaml`: `init`, `validate`, `graph`, `schema` and `cost`.

use clap::{Args, ValueEnum};

use crate::output::graph;

pub(super) const COST_EXAMPLES: &str = "\
The figures are those of stack.yaml. Nothing is read from AWS, and no network is
used: the prices are a table with a date. `exact` follows from stack.yaml,
`assumed` names the assumption, `by use` has the unit prices.

Examples:
  deployer cost
  deployer cost --json | jq .least";

/// Arguments of `cost`.
#[derive(Debug, Args)]
pub struct Cost {
    /// Print JSON on stdout
    #[arg(long)]
    pub json: bool,
}

pub(super) const SCHEMA_EXAMPLES: &str = "\
Examples:
  deployer schema >stack.schema.json
An editor that knows YAML then checks a stack.yaml that begins with
  # yaml-language-server: $schema=stack.schema.json";

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
