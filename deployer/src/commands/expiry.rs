//! Settings with which AWS deletes data by itself: `up` applies one to a bucket with objects, or to a table with rows, only if
//! that is confirmed.

use super::{
    Session,
    data::{Confirmation, RetainedData},
    unless_stopped,
};
use crate::{
    engine::{Change, Plan, Planned, Resource as _, Step, Value},
    kinds::{bucket::Bucket, table::Table},
    output::{
        exit::{Exit, Failure},
        report,
    },
};

/// The settings of a bucket with the days after which S3 deletes objects, each with a name for these objects.
const EXPIRIES: &[(&str, &str)] =
    &[("objects_end_days", "objects"), ("older_versions_end_days", "older versions of objects")];

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
            let Step::Update(changes) = &line.step else { continue };
            let Some(deletion) = deletion(line.address.kind, changes) else { continue };
            if named.iter().any(|name| self.means(name, line)) {
                continue;
            }
            let Some(contents) = self.contents(line).await? else { continue };
            let words = format!("{deletion}; it holds {contents}");
            let is_allowed = confirmation == Confirmation::Each && is_typed(line, &words).await?;
            if !is_allowed {
                retained.unexpired.push((line.address.clone(), words));
                line.step = Step::Keep;
            }
        }
        Ok(())
    }

    /// What a bucket or table holds, for people; `None` if it is empty.
    async fn contents(&self, line: &Planned) -> Result<Option<String>, Failure> {
        let counted = async {
            let contents = match (line.found::<Bucket>(), line.found::<Table>()) {
                (Some((bucket, _)), _) => bucket.loss(&self.aws).await,
                (_, Some((table, _))) => table.loss(&self.aws).await,
                (None, None) => Ok(None),
            };
            contents.map_err(|fault| self.failed("count the objects or rows", fault))
        };
        unless_stopped(counted).await
    }
}

/// What AWS would delete that it did not delete before, or later; `None` if the changes of this kind delete nothing.
fn deletion(kind: &str, changes: &[Change]) -> Option<String> {
    match kind {
        Bucket::KIND => {
            Some(sooner(changes)).filter(|it| !it.is_empty()).map(|it| format!("S3 would delete {}", it.join(" and ")))
        }
        Table::KIND => {
            let change = changes.iter().find(|change| change.path == "time_to_live")?;
            let attribute = change.to.as_ref()?.open()?;
            Some(format!("DynamoDB would delete rows whose time in `{attribute}` has passed"))
        }
        _ => None,
    }
}

/// The objects to be deleted sooner than before, or at all.
fn sooner(changes: &[Change]) -> Vec<String> {
    let days = |value: &Option<Value>| value.as_ref()?.open()?.parse::<u32>().ok();
    let sooner = EXPIRIES.iter().filter_map(|(path, what)| {
        let change = changes.iter().find(|change| change.path == *path)?;
        let wanted = days(&change.to)?;
        let is_sooner = days(&change.from).is_none_or(|present| wanted < present);
        is_sooner.then(|| format!("{what} after {wanted} {}", if wanted == 1 { "day" } else { "days" }))
    });
    sooner.collect()
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
            sooner(&[Change::of(path, from.map(Into::into), to.map(Into::into))])
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
