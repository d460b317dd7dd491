//! Arguments of `secret`.

use clap::{Args, Subcommand};

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

pub(super) const SECRET_EXAMPLES: &str = "\
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
