//! Arguments of the commands for releases: `history` and `rollback`.

use clap::Args;

use super::changes::RollOutArgs;

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
    pub roll_out: RollOutArgs,
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::commands::cli::{Cli, Command};

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
}
