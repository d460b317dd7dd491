//! Settings with which AWS deletes data by itself: `up` applies one to a bucket with objects, or to a table with rows, only if
//! that is confirmed.

use anyhow::anyhow;

use super::{
    Session,
    data::{Confirmation, RetainedData},
    unless_stopped,
};
use crate::{
    engine::{Change, Fault, Plan, Planned, Resource as _, Step, Value, look},
    kinds::{
        bucket::{Bucket, Settings},
        table::Table,
    },
    output::{
        exit::{Exit, Failure},
        report,
    },
};

/// The settings of a bucket with the days after which S3 deletes objects, each with a name for these objects.
const EXPIRIES: &[(&str, &str)] = &[(OBJECTS, "objects"), ("older_versions_end_days", "older versions of objects")];

const OBJECTS: &str = "objects_end_days";

/// The state of a table that is being deleted, as `Step::Wait` has it.
const DELETING: &str = "deleting";

impl Session {
    /// Leaves a bucket or table out of the plan if its change would let AWS delete data that it holds, unless that is
    /// confirmed: by `--expire`, or by typing its name.
    pub async fn keep_data(
        &self,
        plan: &mut Plan,
        named: &[String],
        confirmation: Confirmation,
        retained: &mut RetainedData,
    ) -> Result<(), Failure> {
        let is_there = |name: &String| {
            let mut holders = plan.lines.iter().filter(|line| [Bucket::KIND, Table::KIND].contains(&line.address.kind));
            holders.any(|line| self.means(name, line))
        };
        for name in named.iter().filter(|name| !is_there(name)) {
            report::say(format!("--expire {name}: there is no such bucket or table"));
            report::hint("name it as the plan does, such as `bucket.images`");
        }
        for line in &mut plan.lines {
            let deletion = match &line.step {
                Step::Update(changes) => deletion(line.address.kind, changes),
                // The rows of a table that is being deleted can be read to the end, and are lost in any case.
                Step::Wait(state) if state != DELETING => self.awaited_deletion(line).await?,
                _ => None,
            };
            let Some(deletion) = deletion else { continue };
            if named.iter().any(|name| self.means(name, line)) {
                continue;
            }
            let Some(contents) = self.contents(line).await? else { continue };
            let words = format!("{deletion}; it holds {contents}");
            if confirmation == Confirmation::Each && is_typed(line, &words).await? {
                continue;
            }
            if let Step::Wait(state) = &line.step {
                return Err(self.undecided(line, state, &words));
            }
            retained.unexpired.push((line.address.clone(), words));
            line.step = Step::Keep;
        }
        Ok(())
    }

    /// Reports the changes of a plan that `up` makes only if they are confirmed, unless there is nothing to delete.
    pub fn report_deletions(&self, plan: &Plan) {
        for Planned { address, step, .. } in &plan.lines {
            let Step::Update(changes) = step else { continue };
            let Some(deletion) = deletion(address.kind, changes) else { continue };
            report::say(format!("{address}: {deletion}; for what it holds already, `up` needs --expire {address}"));
        }
    }

    /// What AWS would delete of a table that is settling, whose settings the plan has not read.
    async fn awaited_deletion(&self, line: &Planned) -> Result<Option<String>, Failure> {
        let wanted = match line.address.kind {
            Table::KIND => self.config.tables.get(line.address.key.as_str()),
            _ => None,
        };
        let Some(wanted) = wanted.and_then(|table| table.time_to_live.as_ref()) else { return Ok(None) };
        let table = Table { name: line.name.clone() };
        let reads = async {
            let there = look(|| table.time_to_live(&self.aws)).await;
            there.map_err(|fault| self.failed("read the time to live of a table", fault))
        };
        let there = unless_stopped(reads).await?;
        Ok((there.as_ref() != Some(wanted)).then(|| rows_deleted_by(wanted)))
    }

    /// The error for a table that is settling: it cannot be left as it is, because what uses it has to wait for it.
    fn undecided(&self, line: &Planned, state: &str, words: &str) -> Failure {
        let error = anyhow!("{} is {state}, so nothing was changed: {words}", line.address);
        let hint = format!(
            "run the same command again once the table is active, or allow this now: deployer up --expire {}",
            line.address
        );
        let place = self.place(&format!("{}.time_to_live", line.address.section));
        Failure::new(Exit::Failed, error).at(place).hint(hint)
    }

    /// What a bucket or table holds, for people; `None` if there is nothing to delete.
    async fn contents(&self, line: &Planned) -> Result<Option<String>, Failure> {
        let counted = async {
            let contents = match (line.found::<Bucket>(), line.address.kind) {
                (Some((bucket, live)), _) => look(|| self.at_risk(bucket, &live.settings, &line.step)).await,
                (None, Table::KIND) => {
                    let table = Table { name: line.name.clone() };
                    look(|| table.loss(&self.aws)).await
                }
                (None, _) => Ok(None),
            };
            contents.map_err(|fault| self.failed("count the objects or rows", fault))
        };
        unless_stopped(counted).await
    }

    /// What a bucket holds. If only older versions would be deleted, and no rule makes one of an object, `None` without any.
    async fn at_risk(&self, bucket: &Bucket, there: &Settings, step: &Step) -> Result<Option<String>, Fault> {
        let is_of_objects = matches!(step, Step::Update(changes) if sooner(changes, OBJECTS).is_some());
        if is_of_objects || there.objects_end_days.is_some() || bucket.has_rules_of_others(&self.aws).await? {
            return bucket.loss(&self.aws).await;
        }
        bucket.contents_with_older_versions(&self.aws).await
    }
}

/// What AWS would delete that it did not delete before, or later; `None` if the changes of this kind delete nothing.
fn deletion(kind: &str, changes: &[Change]) -> Option<String> {
    match kind {
        Bucket::KIND => {
            Some(ends(changes)).filter(|it| !it.is_empty()).map(|it| format!("S3 would delete {}", it.join(" and ")))
        }
        Table::KIND => {
            let change = changes.iter().find(|change| change.path == "time_to_live")?;
            let attribute = change.to.as_ref()?.open()?;
            Some(rows_deleted_by(attribute))
        }
        _ => None,
    }
}

fn rows_deleted_by(attribute: &str) -> String {
    format!("DynamoDB would delete rows whose time in `{attribute}` has passed")
}

/// The objects to be deleted sooner than before, or at all.
fn ends(changes: &[Change]) -> Vec<String> {
    let ends = EXPIRIES.iter().filter_map(|(path, what)| {
        let days = sooner(changes, path)?;
        Some(format!("{what} after {days} {}", if days == 1 { "day" } else { "days" }))
    });
    ends.collect()
}

/// The days of a rule that is new or has fewer days than before.
fn sooner(changes: &[Change], path: &str) -> Option<u32> {
    let days = |value: &Option<Value>| value.as_ref()?.open()?.parse::<u32>().ok();
    let change = changes.iter().find(|change| change.path == path)?;
    days(&change.to).filter(|wanted| days(&change.from).is_none_or(|present| *wanted < present))
}

/// Asks the user to type its name.
async fn is_typed(line: &Planned, words: &str) -> Result<bool, Failure> {
    let question = format!("{}: {words}. Type {} to allow this: ", line.address, line.name);
    Ok(unless_stopped(report::ask(&question)).await? == line.name)
}

/// Reports the buckets and tables that were left as they are. Returns the exit code.
pub fn conclude(retained: &RetainedData, session: &Session, exit: Exit) -> Exit {
    for (address, words) in &retained.unexpired {
        report::say(format!("left {address} as it is: {words}"));
    }
    if retained.unexpired.is_empty() {
        return exit;
    }
    let names: Vec<String> = retained.unexpired.iter().map(|(address, _)| format!("--expire {address}")).collect();
    let (local, names) = (session.local_option(), names.join(" "));
    report::hint(&format!("to let AWS delete them for good: deployer up{local} {names}"));
    if exit == Exit::Done { Exit::Kept } else { exit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_is_new_or_comes_sooner_deletes_more() {
        let deletes = |path: &str, from: Option<&str>, to: Option<&str>| {
            ends(&[Change::of(path, from.map(Into::into), to.map(Into::into))])
        };
        assert_eq!(deletes("objects_end_days", None, Some("30")), ["objects after 30 days"]);
        assert_eq!(deletes("objects_end_days", Some("30"), Some("1")), ["objects after 1 day"]);
        let older = deletes("older_versions_end_days", Some("7"), Some("6"));
        assert_eq!(older, ["older versions of objects after 6 days"]);
        let table = |from: Option<&str>, to: Option<&str>| {
            deletion(Table::KIND, &[Change::of("time_to_live", from.map(Into::into), to.map(Into::into))])
        };
        let rows = Some("DynamoDB would delete rows whose time in `ends` has passed".to_owned());
        assert_eq!(table(None, Some("ends")), rows);
        assert_eq!(table(Some("expires"), Some("ends")), rows);
        assert_eq!(table(Some("ends"), None), None);
        for (path, from, to) in [
            ("objects_end_days", Some("30"), Some("31")),
            ("objects_end_days", Some("30"), None),
            ("unfinished_uploads_end_days", None, Some("1")),
            ("access_logs_end_days", None, Some("90")),
        ] {
            assert_eq!(deletes(path, from, to), Vec::<String>::new(), "{path}");
            assert_eq!(deletion(Bucket::KIND, &[Change::of(path, from.map(Into::into), to.map(Into::into))]), None);
        }
    }
}
