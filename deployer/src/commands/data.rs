//! Tables and buckets that `stack.yaml` no longer describes: `up` deletes only those that are named.

use super::{Session, expiry, unless_stopped};
use crate::{
    config::ACCOUNT_REGIONAL,
    engine::{Address, Plan, Planned, Step},
    output::{
        exit::{Exit, Failure},
        report,
    },
};

/// How to confirm deletions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// Ask for each one.
    Each,
    /// Do not ask: only those named by `--delete` may be deleted.
    Never,
}

const UNNAMED: &str = "it was not named for deletion";

/// Data that was kept although it is no longer described.
#[derive(Default)]
pub struct RetainedData {
    unnamed: Vec<(Address, String)>,
    protected: Vec<Address>,
    /// Buckets and tables left as they are, because AWS would delete data under the planned settings, with a description.
    pub(super) unexpired: Vec<(Address, String)>,
}

impl Session {
    /// Rejects names that are still in `stack.yaml`, and reports names that match nothing. The latter is not an error:
    /// the resource may have been deleted already, and the same command continues.
    pub fn check_named(&self, plan: &Plan, named: &[String]) -> Result<(), Failure> {
        for name in named {
            let meant: Vec<&Planned> = plan.lines.iter().filter(|line| self.means(name, line)).collect();
            if meant.iter().any(|line| !is_unwanted(line)) {
                return Err(Failure::usage(format!("--delete {name}: it is still in stack.yaml"))
                    .hint("remove it from stack.yaml first: resources described there are never deleted"));
            }
            if meant.is_empty() {
                report::say(format!("--delete {name}: there is no such table or bucket to delete"));
            }
        }
        Ok(())
    }

    /// Removes resources with data from the plan, unless they were named for deletion.
    pub async fn keep_unnamed(
        &self,
        plan: &mut Plan,
        named: &[String],
        confirmation: Confirmation,
    ) -> Result<RetainedData, Failure> {
        let mut retained = RetainedData::default();
        for line in plan.lines.iter_mut().filter(|line| line.holds_data) {
            match &line.step {
                Step::Protected => retained.protected.push(line.address.clone()),
                Step::Delete { loss } => {
                    let is_named = named.iter().any(|name| self.means(name, line));
                    let is_confirmed =
                        is_named || (confirmation == Confirmation::Each && is_typed(line, loss.as_deref()).await?);
                    if !is_confirmed {
                        retained.unnamed.push((line.address.clone(), with(loss.as_deref())));
                        line.step = Step::Leave(UNNAMED.into());
                    }
                }
                _ => (),
            }
        }
        Ok(retained)
    }

    /// Keeps the resource of this name that is no longer in `stack.yaml`. Returns whether there was one.
    pub fn keep_orphans(&self, plan: &mut Plan, name: &str) -> bool {
        let mut found = false;
        for line in plan.lines.iter_mut().filter(|line| line.address.section.is_empty() && self.means(name, line)) {
            line.step = Step::Leave("kept".into());
            found = true;
        }
        found
    }

    /// `table.postagram-likes` as in plans, or `table.likes` or `tables.likes` as it was in `stack.yaml`.
    pub(super) fn means(&self, name: &str, line: &Planned) -> bool {
        let Some((kind, name)) = name.split_once('.') else { return false };
        let kind = kind.strip_suffix('s').unwrap_or(kind);
        kind == line.address.kind && [&*line.address.key, &line.name, self.entry_of(line)].contains(&name)
    }

    /// The name of its entry in `stack.yaml`, present or former.
    fn entry_of<'a>(&self, line: &'a Planned) -> &'a str {
        let name = line.name.strip_prefix(&format!("{}-", self.config.name)).unwrap_or(&line.name);
        let global = name.strip_suffix(ACCOUNT_REGIONAL).unwrap_or(name);
        global.strip_suffix(&format!("-{}-{}", self.site.account, self.site.region)).unwrap_or(name)
    }
}

impl RetainedData {
    /// Keeps the same resources in a later plan.
    pub fn leave(&self, plan: &mut Plan) {
        for line in &mut plan.lines {
            // A table that is settling by now is decided on again: what uses it has to wait for it.
            if matches!(line.step, Step::Update(_)) && self.unexpired.iter().any(|(left, _)| *left == line.address) {
                line.step = Step::Keep;
            }
            if matches!(line.step, Step::Delete { .. })
                && self.unnamed.iter().any(|(retained, _)| *retained == line.address)
            {
                line.step = Step::Leave(UNNAMED.into());
            }
        }
    }

    /// Reports the resources kept, and how to delete them. Returns the exit code.
    pub fn conclude(self, session: &Session, exit: Exit) -> Exit {
        let exit = expiry::conclude(&self, session, exit);
        let RetainedData { unnamed, protected, unexpired: _ } = self;
        for (address, loss) in &unnamed {
            report::say(format!("kept {address}{loss}, which is no longer in stack.yaml"));
        }
        if !unnamed.is_empty() {
            let names: Vec<String> = unnamed.iter().map(|(address, _)| format!("--delete {address}")).collect();
            let (local, names) = (session.local_option(), names.join(" "));
            report::hint(&format!("to delete it for good: deployer up{local} {names}"));
        }
        for address in &protected {
            report::say(format!("kept {address}, which is protected against deletion"));
            report::hint("put it back into stack.yaml with `protect: false`, run `up`, and remove it again");
        }
        if exit == Exit::Done && !(unnamed.is_empty() && protected.is_empty()) { Exit::Kept } else { exit }
    }
}

fn is_unwanted(line: &Planned) -> bool {
    matches!(line.step, Step::Delete { .. } | Step::Protected | Step::Leave(_) | Step::Foreign { .. })
}

/// Asks the user to type its name.
async fn is_typed(line: &Planned, loss: Option<&str>) -> Result<bool, Failure> {
    let Planned { address, name, .. } = line;
    let question = format!("{address} is no longer in stack.yaml. Type {name} to delete it{}: ", with(loss));
    Ok(unless_stopped(report::ask(&question)).await? == *name)
}

fn with(loss: Option<&str>) -> String {
    loss.map(|loss| format!(" with {loss}")).unwrap_or_default()
}
