//! Diagnosis of services and functions that are not healthy: `evidence` reads what AWS shows, and the first matching cause
//! of a table is reported.

mod causes;
mod evidence;
mod functions;
mod measured;
pub mod report;
mod roll_out;
mod service_log;

pub use causes::{Verdict, verdict};
pub use evidence::{
    Evidence, Group, Instance, Launch, Member, RollOut, ServiceNames, Stage, UnreadableValue, Wiring, collect,
    collect_release, failure_reason, is_denied, unread,
};
pub(in crate::cloud) use evidence::{group, instances, keep, launches, wiring};
pub use functions::{Concurrency, FunctionEvidence, FunctionNames, collect_function, function_verdict, last_error};
pub use measured::Measured;
pub use roll_out::{Judgement, Look, RollOuts, look};

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _};

use crate::{
    cloud::aws::{Aws, items},
    engine::{AT_ONCE, Fault},
};

/// The location of the reports of a service's instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reports {
    /// The artifact bucket.
    pub bucket: String,
    /// The prefix of the keys, with a trailing slash.
    pub prefix: String,
}

/// The most reports read, newest first.
const MOST_REPORTS: usize = 8;

/// Reads the newest reports written since `since_s`, newest first.
pub async fn reports(aws: &Aws, at: &Reports, since_s: i64) -> Result<Vec<report::Report>, Fault> {
    newest_reports(aws, at, since_s, MOST_REPORTS, &BTreeSet::new()).await
}

/// A report, before it is read: the time at which it was written, its instance and its stage.
pub type Written = (i64, String, String);

/// Reads those of the newest `most` reports written since `since_s` that are not known, newest first.
pub async fn newest_reports(
    aws: &Aws,
    at: &Reports,
    since_s: i64,
    most: usize,
    known: &BTreeSet<Written>,
) -> Result<Vec<report::Report>, Fault> {
    let call = aws.s3.list_objects_v2().bucket(&at.bucket).prefix(&at.prefix);
    let listed = items(call.into_paginator().send()).await?;
    let listed = listed.iter().filter_map(|object| {
        let (instance, stage) = object.key()?.strip_prefix(&at.prefix)?.split_once('/')?;
        Some((object.last_modified()?.secs(), instance.to_owned(), stage.to_owned()))
    });
    let read = newest(listed.collect(), since_s, most, known).into_iter().map(|(at_s, instance, stage)| async move {
        let key = format!("{}{instance}/{stage}", at.prefix);
        let answer = aws.s3.get_object().bucket(&at.bucket).key(key).send().await?;
        let bytes = answer.body.collect().await.map(|body| body.into_bytes()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(16 << 10)]).into_owned();
        Ok::<_, Fault>(report::Report::parse(&instance, &stage, at_s, &text))
    });
    futures::stream::iter(read).buffered(AT_ONCE).try_collect().await
}

/// Returns the unknown ones of the newest `most` reports since `since_s`, newest first.
fn newest(mut all: Vec<Written>, since_s: i64, most: usize, known: &BTreeSet<Written>) -> Vec<Written> {
    all.retain(|(at_s, ..)| *at_s >= since_s);
    all.sort_by(|a, b| b.cmp(a));
    all.truncate(most);
    all.retain(|report| !known.contains(report));
    all
}

/// Returns the instances whose service repeats the same exit, each with that exit.
pub async fn certain_ends(aws: &Aws, at: &Reports, since_s: i64) -> Result<Vec<(String, report::End)>, Fault> {
    let written = reports(aws, at, since_s).await?;
    Ok(written.iter().filter_map(|report| Some((report.instance.clone(), report::certain(report)?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_reports_that_are_not_known_are_read() {
        let written = |at_s: i64, stage: &str| (at_s, "i-1".to_owned(), stage.to_owned());
        let all = || vec![written(1, "started"), written(3, "exit"), written(2, "answers")];
        let none = BTreeSet::new();
        assert_eq!(newest(all(), 0, 2, &none), [written(3, "exit"), written(2, "answers")]);
        assert_eq!(newest(all(), 3, 2, &none), [written(3, "exit")]);
        assert_eq!(newest(all(), 0, 2, &[written(3, "exit")].into()), [written(2, "answers")]);
        let before = [written(2, "exit"), written(2, "answers")].into();
        assert_eq!(newest(all(), 0, 2, &before), [written(3, "exit")], "it was written again");
    }
}
