//! Arguments of the commands that change a stack, and of `plan`.

use std::time::Duration;

use clap::Args;

use super::span::span;
use crate::cloud::health;

pub(super) const UP_EXAMPLES: &str = "\
Examples:
  deployer up --local                 on this machine
  deployer up --yes --verify          deploy, then check that it works
  deployer up --yes -v                with a chart of what took how long
  deployer up --yes --json | jq -r 'select(.event == \"failed\").resource'";

pub(super) const PLAN_EXAMPLES: &str = "\
Examples:
  deployer plan                       what `up` would change, and why
  deployer plan services              only these parts and what they need
  deployer plan --detailed-exitcode   exits with 2 if there are changes
  deployer plan --json | jq -r '.resources[].address'";

pub(super) const ADOPT_EXAMPLES: &str = "\
Lists what exists under the names of stack.yaml, and how it differs. Resources
with the tags of another stack, and records of others, are never taken over.
`up` then makes the changes; `down` removes the resources like all others.

Examples:
  deployer adopt                      the list, then a question
  deployer adopt --yes                without the question
  deployer adopt --json | jq .free    how many can be taken over, for scripts";

pub(super) const DOWN_EXAMPLES: &str = "\
Examples:
  deployer down                       everything, after a question
  deployer down --keep bucket.images  all but this bucket, and what it needs
  deployer down --yes --json          events for scripts";

pub(super) const PAUSE_EXAMPLES: &str = "\
Sets every service to no instances and removes its load balancer. A later
`deployer resume` makes a new one, which has another address.

Examples:
  deployer pause                      after showing what it removes and saves
  deployer pause --yes                in a nightly job";

pub(super) const RESUME_EXAMPLES: &str = "\
Works like `up`, and also makes other changes of stack.yaml. `up` itself refuses
a paused stack.

Examples:
  deployer resume
  deployer resume --yes && deployer outputs URL";

/// Arguments of the commands that roll services out: `up`, `resume` and `rollback`. Each words the help in its own way
/// where it has to.
#[derive(Debug, Clone, Default, Args)]
pub struct RollOutArgs {
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

impl RollOutArgs {
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
    pub roll_out: RollOutArgs,
    /// Let AWS set the services to no instances after this time, such as `4h` or `2d`, which needs no computer of yours;
    /// the next `up` removes that, or moves it with another --for
    #[arg(long = "for", value_name = "TIME", value_parser = lifetime)]
    pub lifetime: Option<Duration>,
    /// Delete this table or bucket, which is no longer in stack.yaml, such as `table.posts`; may be repeated
    #[arg(long, value_name = "KIND.NAME")]
    pub delete: Vec<String>,
    /// Let a new or shorter `lifecycle` delete objects of this bucket, such as `bucket.images`, or a new `time_to_live` rows
    /// of this table; may be repeated
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
    pub roll_out: RollOutArgs,
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

/// Arguments of `adopt`.
#[derive(Debug, Args)]
pub struct Adopt {
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub yes: bool,
    /// Print the list as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// The shortest and the longest time of `up --for`: a new service takes minutes.
const LIFETIMES: [Duration; 2] = [Duration::from_secs(5 * 60), Duration::from_secs(365 * 24 * 60 * 60)];

/// Parses the time of `up --for`.
fn lifetime(text: &str) -> Result<Duration, String> {
    let time = span(text)?;
    let [shortest, longest] = LIFETIMES;
    if (shortest..=longest).contains(&time) { Ok(time) } else { Err("a time from 5m to 365d is needed".into()) }
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
}
